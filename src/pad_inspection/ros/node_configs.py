"""Options that belong to the nodes alone, as config dataclasses (see pad_inspection.config)."""

from __future__ import annotations

from dataclasses import dataclass

from pad_inspection.checked_options import CheckedOptions, option


@dataclass(frozen=True)
class InspectionNodeConfig(CheckedOptions):
    """What inspection_node needs to know beside the inspection itself."""

    bundle: str = option('', 'model bundle: a folder, file:///abs/path or package://name/path')
    bundles: tuple = option(
        (), 'instead of bundle, for several products: product=bundle, one entry for each'
    )
    require_signature: tuple = option(
        (),
        'files of public keys (pad bundle keygen): a model that is not signed with one of them is '
        'not loaded, neither at the start nor by reload_model; empty: not required',
    )
    object_type: str = option(
        '',
        'product on the line until the topic object_type says otherwise; empty: with several '
        'bundles each image is recognised',
    )
    recognition_margin: float = option(
        0.05,
        'the render of the recognised product must agree with the image by so much more than '
        'that of the next one',
        low=0.0,
        high=2.0,
    )
    cameras: tuple = option(
        ('camera',), 'names of the cameras; each is the namespace of its topics'
    )
    image_topic: str = option('image_rect_color', 'name of the image topic below the camera')
    image_topics: tuple = option(
        (),
        'where cameras differ: name of the image topic of each camera in their order, below its '
        'namespace; one that ends in /compressed holds JPEG or PNG',
    )
    rectified: bool = option(
        True, 'images are rectified: P of CameraInfo holds; false: K and D, the node undistorts'
    )
    distorted_cameras: tuple = option(
        (), 'where cameras differ: those whose images are not rectified'
    )
    compressed: bool = option(False, 'read <image_topic>/compressed')
    reliable_images: bool = option(
        False, 'ask for reliable images (a best-effort camera then delivers nothing)'
    )
    queue_size: int = option(
        1, 'images of a camera that wait; a newer one replaces the oldest', low=1, high=1000
    )
    image_buffer: int = option(
        50,
        'images of a camera that the middleware keeps while the node is busy; only what reaches '
        'the node gets a result',
        low=1,
        high=10000,
    )
    camera_info_sync: str = option(
        'exact',
        'exact: CameraInfo with the stamp of the image; latest: the last one of that camera',
        choices=('exact', 'latest'),
    )
    camera_info_timeout: float = option(
        1.0,
        'an image without CameraInfo after this time is invalid',
        unit='s',
        low=0.0,
        high=3600.0,
    )
    association: str = option(
        'trigger',
        'how an image finds its piece. trigger: ObjectTrigger with its stamp; belt: pieces are '
        'followed along the belt from the light barrier on, see belt_layout',
        choices=('trigger', 'belt'),
    )
    belt_layout: str = option('', 'YAML file of the belt: where cameras and light barrier are')
    trigger_timeout: float = option(
        0.0,
        'wait so long for the ObjectTrigger of an image; 0: none comes later than its image. '
        'Without a trigger pieces are named after the stamp (association: trigger)',
        unit='s',
        low=0.0,
        high=3600.0,
    )
    trigger_tolerance: float = option(
        0.0, 'trigger and image stamps may differ by this', unit='s', low=0.0, high=60.0
    )
    rig: str = option(
        '',
        'YAML file with the poses of cameras that are fixed to each other and fired together: a '
        'view that is not localised alone is inspected from where the others see the piece',
    )
    deadline: float = option(
        0.0,
        'from arrival to result; then the answer is UNDETERMINED (DEADLINE_MISSED), also while '
        'an inspection still runs; 0: none',
        unit='s',
        low=0.0,
        high=3600.0,
    )
    camera_timeout: float = option(
        0.0,
        'a camera that sends nothing for so long is a warning on /diagnostics; 0: never',
        unit='s',
        low=0.0,
        high=86400.0,
    )
    drift_window: int = option(
        200,
        'passed views whose scores are compared with those of calibration; 0: off',
        low=0,
        high=100000,
    )
    drift_shift: float = option(
        0.25,
        'warn when the chance that a passed view scores higher than a normal one is off 1/2 by '
        'more than this',
        low=0.0,
        high=0.5,
    )
    publish_debug: bool = option(False, 'debug images even when nobody subscribes')
    publish_tf: bool = option(True, 'poses on /tf, where tf2_msgs is installed')
    diagnostics_period: float = option(
        1.0, 'time between messages on /diagnostics', unit='s', low=0.05, high=3600.0
    )
    autostart: bool = option(True, 'configure and activate without a lifecycle manager')
    inspector: str = option(
        'pad_inspection.pipeline:Inspector',
        'class that inspects, as module:name with from_bundle(path, config); for tests',
    )

    def check_cameras(self) -> None:
        """Check what is said of the cameras.

        Raises:
            ValueError: there are none, or names do not go together.
        """
        if not self.cameras:
            raise ValueError("parameter 'cameras' is empty, wanted at least one name")
        if self.image_topics and len(self.image_topics) != len(self.cameras):
            raise ValueError(
                f"parameter 'image_topics' has {len(self.image_topics)} names, wanted one for "
                f'each of {len(self.cameras)} cameras'
            )
        unknown = sorted(set(self.distorted_cameras) - set(self.cameras))
        if unknown:
            raise ValueError(
                f"parameter 'distorted_cameras' has {unknown}, wanted some of {self.cameras}"
            )

    def topic_names(self) -> dict[str, str]:
        """Name of the image topic of each camera."""
        suffix = '/compressed' if self.compressed else ''
        same = f'{self.image_topic}{suffix}'
        names = self.image_topics or [same] * len(self.cameras)
        return {camera: f'{camera}/{name}' for camera, name in zip(self.cameras, names)}

    def is_rectified(self, camera: str) -> bool:
        """Whether images of a camera are rectified."""
        return self.rectified and camera not in self.distorted_cameras


@dataclass(frozen=True)
class RejectNodeConfig(CheckedOptions):
    """What reject_node needs to know beside the decision rules."""

    cameras: tuple = option(('camera',), 'names of the cameras whose results are fused')
    required_cameras: tuple = option(
        (), 'cameras whose views must be judged: those of others never make up for them'
    )
    belt_layout: str = option(
        '',
        'YAML file of the belt, as in inspection_node where association is belt: how many images '
        'of a piece each camera takes',
    )
    expected_views: int = option(
        0,
        'images of a piece without a trigger; 0: such a piece is rejected when its time is over',
        low=0,
        high=1000,
    )
    object_timeout: float = option(
        5.0,
        'from the exposure of a piece to its signal; views that are missing then reject it',
        unit='s',
        low=0.01,
        high=3600.0,
    )
    signal_lifespan: float = option(
        0.0,
        'a signal is not delivered later than this, and valid_until says so; 0: no limit',
        unit='s',
        low=0.0,
        high=3600.0,
    )
    belt_speed: float = option(
        0.0,
        'highest speed of the belt; with it each signal is sent in time for the gate; 0: only '
        'object_timeout holds',
        unit='m/s',
        low=0.0,
        high=100.0,
    )
    gate_position: float = option(
        1.0, 'x of the gate in the conveyor frame', unit='m', low=-1000.0, high=1000.0
    )
    trigger_position: float = option(
        0.0,
        'x of a piece at its exposure, where no trigger says it',
        unit='m',
        low=-1000.0,
        high=1000.0,
    )
    gate_latency: float = option(
        0.1,
        'from the signal until the gate has moved: transport, scan of the controller, actuator',
        unit='s',
        low=0.0,
        high=60.0,
    )
    trigger_delay: float = option(
        0.0,
        'longest time from an exposure until its trigger arrives here',
        unit='s',
        low=0.0,
        high=60.0,
    )
    synchronized_stamps: bool = option(
        False,
        'triggers are stamped by a clock that is synchronised with this computer: the age of a '
        'trigger counts, at least trigger_delay',
    )
    inspection_grace: float = option(
        1.0,
        'open pieces are rejected when no inspection node of a missing view is alive for so long',
        unit='s',
        low=0.05,
        high=3600.0,
    )
    stop_after_rejects: int = option(
        0, 'rejected pieces in a row that ask for a stop of the line; 0: never', low=0, high=10000
    )
    stop_after_undetermined: int = option(
        0,
        'pieces in a row that could not be judged and ask for a stop of the line; 0: never',
        low=0,
        high=10000,
    )
    log_dir: str = option(
        '',
        'folder of the verdict log, which also carries open pieces over a restart; empty: none',
    )
    log_max_verdicts: int = option(
        100000, 'older verdicts are deleted from the log', low=1000, high=100000000
    )
    log_max_pictures: int = option(
        1000, 'pictures of rejects that are kept; 0: none are made', low=0, high=1000000
    )
    log_picture_px: int = option(
        480, 'longer side of a picture of a reject', unit='px', low=64, high=4096
    )
    forget_after: float = option(
        600.0,
        'an object_id may come again after this; until then late results are ignored',
        unit='s',
        low=1.0,
        high=864000.0,
    )
    diagnostics_period: float = option(
        1.0, 'time between messages on /diagnostics', unit='s', low=0.05, high=3600.0
    )


@dataclass(frozen=True)
class ReplayNodeConfig(CheckedOptions):
    """What replay_node plays, and how."""

    class_dir: str = option('', 'dataset folder whose test images are played')
    bag: str = option('', 'rosbag2 folder (mcap or sqlite3) to play instead')
    topics: tuple = option((), 'topics of the bag to play; empty: images, CameraInfo and triggers')
    limit: int = option(0, 'play at most so many pieces; 0: all', low=0)
    rate: float = option(2.0, 'pieces per second; of a bag: speed factor', low=0.001, high=1000.0)
    max_in_flight: int = option(
        1, 'images sets without all results before the replay waits; 0: never waits', low=0
    )
    result_timeout: float = option(
        60.0,
        'a result that has not come after this counts as lost',
        unit='s',
        low=0.1,
        high=86400.0,
    )
    startup_timeout: float = option(
        120.0, 'the other nodes must be ready after this', unit='s', low=0.1, high=86400.0
    )
    min_listeners: int = option(
        1, 'subscribers to the triggers and images that must be there before playing', low=0
    )
    wait_for_model: bool = option(
        True, 'play only when an inspection node has announced its model'
    )
    wait_for_results: bool = option(True, 'false: only play, results are none of its business')
    exit_when_done: bool = option(False, 'end the node after the last result')
    image_topic: str = option('image_rect_color', 'name of the image topic below the camera')


@dataclass(frozen=True)
class ViewerNodeConfig(CheckedOptions):
    """What viewer_node shows, and where."""

    cameras: tuple = option(('camera',), 'names of the cameras that are shown')
    host: str = option(
        '127.0.0.1',
        'address to listen on; 0.0.0.0 shows the line to everybody in the network, without a '
        'password',
    )
    port: int = option(8080, 'port of the web page; 0: a free one', low=0, high=65535)
    num_pieces: int = option(20, 'pieces that are listed', low=1, high=1000)


@dataclass(frozen=True)
class LineControllerNodeConfig(CheckedOptions):
    """How line_controller_node talks to the line controller (PLC)."""

    map_file: str = option(
        '', 'YAML file with protocol, endpoint and variables of the line controller'
    )
    endpoint: str = option('', 'address of the line controller; empty: that of map_file')
    request_timeout: float = option(
        0.5, 'the line controller must answer a request within', unit='s', low=0.01, high=60.0
    )
    poll_period: float = option(
        0.02, 'time between looks for the acknowledge', unit='s', low=0.001, high=10.0
    )
    heartbeat_period: float = option(0.2, 'time between beats', unit='s', low=0.01, high=60.0)
    retry_period: float = option(
        0.5, 'time between attempts to connect', unit='s', low=0.01, high=600.0
    )
    fault_timeout: float = option(
        2.0,
        'no answer, no acknowledge or no beat of the line controller for so long is a fault: the '
        'line is asked to stop',
        unit='s',
        low=0.05,
        high=3600.0,
    )
    verdict_lifetime: float = option(
        5.0,
        'a pass that could not be handed over within this is handed over as a reject: the gate '
        'has acted without it',
        unit='s',
        low=0.05,
        high=3600.0,
    )
    diagnostics_period: float = option(
        1.0, 'time between messages on /diagnostics', unit='s', low=0.05, high=3600.0
    )
