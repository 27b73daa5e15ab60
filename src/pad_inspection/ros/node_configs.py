"""Options that belong to the nodes alone, as config dataclasses (see pad_inspection.config).

Each has ``check`` for what a single option cannot say, and ``check_start`` for what must be given
before the node can work.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pad_inspection.checked_options import CheckedOptions, option
from pad_inspection.config import DecisionConfig
from pad_inspection.ros import names
from pad_inspection.ros.belt_layout import read_layout_of
from pad_inspection.ros.plc.variable_map import read_map
from pad_inspection.ros.rig_file import read_rig


class NodeOptions(CheckedOptions):
    """What the options of all nodes have in common."""

    def check(self) -> None:
        """Check what options cannot say by themselves: names, files, what goes together.

        Raises:
            ValueError: what does not.
            FileNotFoundError: a file that is named does not exist.
        """

    def check_start(self) -> None:
        """Check that all is given that the node cannot do without.

        Raises:
            ValueError: what is missing.
        """


def check_cameras(cameras: Sequence[str]) -> None:
    """Check the names of a node's cameras."""
    if not cameras:
        raise ValueError("parameter 'cameras' is empty, wanted at least one name")
    names.check_names('cameras', cameras)


@dataclass(frozen=True)
class InspectionNodeConfig(NodeOptions):
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
    image_bits: int = option(
        16,
        'bits in use of a value of 16-bit encodings (mono16, rgb16, bayer_rggb16...); 16 also '
        'where the camera shifts 10 or 12 bits up',
        low=9,
        high=16,
    )
    allow_grey: bool = option(
        False,
        'compare grey images with a model in colour too; defects that differ in colour alone then '
        'pass',
    )
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

    def check(self) -> None:
        """See NodeOptions."""
        check_cameras(self.cameras)
        names.check_names('image_topic', [self.image_topic])
        names.check_names('image_topics', self.image_topics, unique=False)
        names.check_names('distorted_cameras', self.distorted_cameras)
        names.check_known('distorted_cameras', self.distorted_cameras, self.cameras)
        if self.image_topics and len(self.image_topics) != len(self.cameras):
            raise ValueError(
                f"parameter 'image_topics' has {len(self.image_topics)} names, wanted one for "
                f'each of {len(self.cameras)} cameras'
            )
        if self.image_topics and self.compressed:
            raise ValueError(
                "parameter 'compressed' does nothing where image_topics is given: let the names "
                'there end in /compressed'
            )
        if self.distorted_cameras and not self.rectified:
            raise ValueError("parameter 'distorted_cameras' does nothing where rectified is false")
        self._check_belt()
        if self.rig:
            read_rig(Path(self.rig), self.cameras)
        if self.bundle or self.bundles:
            self.uris()

    def _check_belt(self) -> None:
        """Check that a belt layout is there where it is needed, and only there."""
        if self.association != 'belt':
            if self.belt_layout:
                raise ValueError(
                    f"parameter 'belt_layout' does nothing where association is "
                    f'{self.association}, wanted association: belt'
                )
            return
        if not self.belt_layout:
            raise ValueError("parameter 'belt_layout' is empty, wanted a file (association: belt)")
        read_layout_of(Path(self.belt_layout), self.cameras)

    def check_start(self) -> None:
        """See NodeOptions; without autostart a bundle may be set later."""
        if self.autostart:
            self.uris()

    def uris(self) -> dict[str, str]:
        """Model URI of each product; of an only one under ''.

        Raises:
            ValueError: both or none of bundle and bundles are given, a product twice, not in the
                form product=URI, or object_type is none of them.
        """
        if bool(self.bundle) == bool(self.bundles):
            raise ValueError(
                f"parameter 'bundle' is {self.bundle!r} and 'bundles' is {list(self.bundles)}, "
                'wanted one of them: the folder of a model bundle, or "product=folder" for each '
                'product'
            )
        if self.bundle:
            return {'': self.bundle}
        found: dict[str, str] = {}
        for entry in self.bundles:
            name, equals, uri = entry.partition('=')
            if not (name.strip() and name.isprintable() and equals and uri) or name in found:
                raise ValueError(
                    f"parameter 'bundles': {entry!r}, wanted product=folder, each once"
                )
            found[name] = uri
        if self.object_type and self.object_type not in found:
            raise ValueError(
                f"parameter 'object_type' is {self.object_type!r}, 'bundles' has {sorted(found)}"
            )
        return found

    def topic_names(self) -> dict[str, str]:
        """Name of the image topic of each camera."""
        suffix = '/compressed' if self.compressed else ''
        same = f'{self.image_topic}{suffix}'
        topics = self.image_topics or [same] * len(self.cameras)
        return {camera: f'{camera}/{topic}' for camera, topic in zip(self.cameras, topics)}

    def is_rectified(self, camera: str) -> bool:
        """Whether images of a camera are rectified."""
        return self.rectified and camera not in self.distorted_cameras


@dataclass(frozen=True)
class RejectNodeConfig(NodeOptions):
    """What reject_node needs to know beside the decision rules."""

    cameras: tuple = option(('camera',), 'names of the cameras whose results are fused')
    required_cameras: tuple = option(
        (), 'cameras whose views must be judged: those of others never make up for them'
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

    def check(self, decision: DecisionConfig | None = None) -> None:
        """See NodeOptions; ``decision`` are the rules of this node, None = the defaults."""
        decision = DecisionConfig() if decision is None else decision
        check_cameras(self.cameras)
        names.check_names('required_cameras', self.required_cameras)
        names.check_known('required_cameras', self.required_cameras, self.cameras)
        self._check_gate()
        if self.forget_after < self.object_timeout:
            raise ValueError(
                f'forget_after is {self.forget_after:g} s, wanted object_timeout '
                f'({self.object_timeout:g} s) or more: late results of a decided piece would be '
                'taken for another one'
            )
        decision.check()
        if 0 < self.expected_views < decision.min_views:
            raise ValueError(
                f'decision.min_views is {decision.min_views}, but only {self.expected_views} '
                'views of an object come (expected_views): none would ever pass'
            )

    def _check_gate(self) -> None:
        """Check that an object reaches the gate after its signal."""
        if not self.belt_speed:
            return
        distance = self.gate_position - self.trigger_position
        seconds = distance / self.belt_speed - self.gate_latency - self.trigger_delay
        if seconds <= 0:
            raise ValueError(
                f'a piece gets from trigger_position {self.trigger_position:g} m to '
                f'gate_position {self.gate_position:g} m at {self.belt_speed:g} m/s before '
                f'gate_latency {self.gate_latency:g} s + trigger_delay '
                f'{self.trigger_delay:g} s are over: move the gate, or lower one of them'
            )


@dataclass(frozen=True)
class LineControllerNodeConfig(NodeOptions):
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

    def check(self) -> None:
        """See NodeOptions."""
        if self.map_file:
            read_map(Path(self.map_file), self.endpoint)

    def check_start(self) -> None:
        """See NodeOptions."""
        if not self.map_file:
            raise ValueError("parameter 'map_file' is empty, wanted a YAML file (docs/plc.md)")
