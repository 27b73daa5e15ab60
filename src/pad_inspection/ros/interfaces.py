"""Topics, types, QoS and frames of the nodes, in one table; how images find their object.

    python -m pad_inspection.ros.interfaces    # prints the table of docs/ros2.md

Names are relative; ``{camera}`` stands for the camera's name, which is also its namespace.

Frames (REP 103, REP 105): ``conveyor`` (x along the belt's travel, z up),
``<camera>_optical_frame`` (x right, y down, z forward) and one for each localised piece, named as
its object_id.

Which piece an image shows: ``Header.frame_id`` is the camera's optical frame, so the identity
travels beside the image, in an ObjectTrigger. From whatever fires the cameras: it is matched by
camera name and stamp, needs no order between topics, and tells how many images a piece will have,
so that a missing one is noticed. From a light barrier: the piece is followed along the belt
(belt.py). Without a trigger a piece is named after the stamp (``stamp-<ns>``): cameras fired
together make one piece, in every inspection node alike, and reject_node must be told how many
views to expect.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path

CONVEYOR_FRAME = 'conveyor'


@dataclass(frozen=True)
class Topic:
    """One topic.

    Attributes:
        name: relative name; may hold ``{camera}``.
        message: type as ``package/msg/Name``.
        publisher: who sends it.
        depth: history that is kept for a slow reader.
        reliable: what a publisher of ours offers.
        latched: late subscribers get the last message (transient local).
        doc: what it carries.
        history: our publishers offer the last messages to late subscribers that ask for them;
            by default subscribers do not.
        lease: our publishers are known to be dead after this without a sign of life, s.
    """

    name: str
    message: str
    publisher: str
    depth: int
    doc: str
    reliable: bool = True
    latched: bool = False
    history: bool = False
    lease: float = 0.0

    def of(self, camera: str) -> str:
        """Name of this topic for one camera."""
        return self.name.format(camera=camera)

    def with_name(self, name: str) -> Topic:
        """The same kind of topic under another name."""
        return replace(self, name=name)


IMAGE = Topic(
    '{camera}/image_rect_color',
    'sensor_msgs/msg/Image',
    'camera driver, replay_node',
    10,
    'rectified image; encodings: colour, mono, Bayer, YUV, of 8 or 16 bits, see Cameras',
)
COMPRESSED_IMAGE = Topic(
    '{camera}/image_rect_color/compressed',
    'sensor_msgs/msg/CompressedImage',
    'camera driver',
    10,
    'the same as JPEG or PNG; read when the parameter `compressed` is true',
)
CAMERA_INFO = Topic(
    '{camera}/camera_info',
    'sensor_msgs/msg/CameraInfo',
    'camera driver, replay_node',
    10,
    'calibration; same stamp as the image',
)
OBJECT_TRIGGER = Topic(
    'object_trigger',
    'pad_msgs/msg/ObjectTrigger',
    'PLC adapter, replay_node',
    100,
    'which piece the cameras expose now, and how many images it will have',
    history=True,
)
RESULTS = Topic(
    '{camera}/inspection_results',
    'pad_msgs/msg/InspectionResultArray',
    'inspection_node',
    100,
    'exactly one message for each image that arrived, judged or not',
    history=True,
    lease=2.0,
)
ANOMALY_MAP = Topic(
    '{camera}/anomaly_map',
    'sensor_msgs/msg/Image',
    'inspection_node',
    1,
    '32FC1, header of the image, NaN = not inspected',
)
REFERENCE = Topic(
    '{camera}/debug/reference',
    'sensor_msgs/msg/Image',
    'inspection_node',
    10,
    'rgb8, what a good piece would look like; when subscribed or `publish_debug`',
)
OVERLAY = Topic(
    '{camera}/debug/overlay',
    'sensor_msgs/msg/Image',
    'inspection_node',
    10,
    'rgb8, image with anomaly colours, silhouette and regions; as above',
)
MASK = Topic(
    '{camera}/debug/mask',
    'sensor_msgs/msg/Image',
    'inspection_node',
    10,
    'mono8, probability of object 0..255; as above',
)
HEATMAP = Topic(
    '{camera}/debug/heatmap',
    'sensor_msgs/msg/Image',
    'inspection_node',
    10,
    'rgb8, the anomaly map in colours, black = not inspected; as above',
)
MARKERS = Topic(
    '{camera}/markers',
    'visualization_msgs/msg/MarkerArray',
    'inspection_node',
    10,
    'optical frame: piece as points, verdict as text, anomaly regions as spheres; as above',
)
BELT_STATE = Topic(
    'belt_state',
    'sensor_msgs/msg/JointState',
    'encoder driver',
    100,
    'position[0]: how far the belt has gone, m; read with `association: belt` without a speed',
)
OBJECT_TYPE = Topic(
    'object_type',
    'std_msgs/msg/String',
    'line controller',
    1,
    'product on the line, for images that arrive from now on; one without a model is rejected',
    latched=True,
)
MODEL_INFO = Topic(
    'model_info',
    'pad_msgs/msg/ModelInfo',
    'inspection_node',
    10,
    'the models in use; sent when the node becomes active and after each reload',
    latched=True,
)
REJECT_SIGNAL = Topic(
    'reject_signal',
    'pad_msgs/msg/RejectSignal',
    'reject_node',
    100,
    'exactly one for each piece, pass or reject; lifespan `signal_lifespan`',
    history=True,
    lease=2.0,
)
STOP_REQUEST = Topic(
    'stop_request',
    'pad_msgs/msg/StopRequest',
    'reject_node, line_controller_node',
    10,
    'whether this source asks for a stop of the line',
    latched=True,
)
REPLAY_STATUS = Topic(
    'replay_status',
    'pad_msgs/msg/ReplayStatus',
    'replay_node',
    1,
    'progress of a replay',
    latched=True,
)
DIAGNOSTICS = Topic(
    '/diagnostics',
    'diagnostic_msgs/msg/DiagnosticArray',
    'inspection_node, reject_node, line_controller_node',
    10,
    'state, counters, latency',
)
TF = Topic(
    '/tf',
    'tf2_msgs/msg/TFMessage',
    'inspection_node',
    100,
    'object in the optical frame, only when localised (and tf2_msgs is installed)',
)

TOPICS = (
    IMAGE,
    COMPRESSED_IMAGE,
    CAMERA_INFO,
    OBJECT_TRIGGER,
    BELT_STATE,
    OBJECT_TYPE,
    RESULTS,
    ANOMALY_MAP,
    REFERENCE,
    OVERLAY,
    MASK,
    HEATMAP,
    MARKERS,
    MODEL_INFO,
    REJECT_SIGNAL,
    STOP_REQUEST,
    REPLAY_STATUS,
    DIAGNOSTICS,
    TF,
)
RELOAD_MODEL_SERVICE = '~/reload_model'
RESET_STOP_SERVICE = '~/reset_stop'


def optical_frame(camera: str) -> str:
    """Name of a camera's optical frame."""
    return f'{camera}_optical_frame'


def object_id_of_stamp(stamp_ns: int) -> str:
    """Name of a piece for which no trigger came."""
    return f'stamp-{stamp_ns}'


def qos(topic: Topic, *, depth: int | None = None, reliable: bool | None = None):
    """QoS profile of a topic.

    Args:
        topic: one of the table.
        depth: other history, e.g. of a subscriber that must not lose a message.
        reliable: other reliability; a best-effort subscriber fits every publisher, a reliable
            one gets nothing from a best-effort publisher.

    Returns:
        rclpy.qos.QoSProfile.
    """
    from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy

    is_reliable = topic.reliable if reliable is None else reliable
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST,
        depth=topic.depth if depth is None else depth,
        reliability=ReliabilityPolicy.RELIABLE if is_reliable else ReliabilityPolicy.BEST_EFFORT,
        durability=(
            DurabilityPolicy.TRANSIENT_LOCAL if topic.latched else DurabilityPolicy.VOLATILE
        ),
    )


def offered_qos(topic: Topic, *, depth: int | None = None):
    """QoS profile of our publishers of a topic: with history and a sign of life.

    Args:
        topic: one of the table.
        depth: other history.

    Returns:
        rclpy.qos.QoSProfile.
    """
    from rclpy.duration import Duration
    from rclpy.qos import DurabilityPolicy, LivelinessPolicy

    profile = qos(topic, depth=depth)
    if topic.history:
        profile.durability = DurabilityPolicy.TRANSIENT_LOCAL
    if topic.lease > 0:
        # automatic: the middleware's threads speak, so a busy interpreter is not a dead one
        profile.liveliness = LivelinessPolicy.AUTOMATIC
        profile.liveliness_lease_duration = Duration(seconds=topic.lease)
    return profile


def num_publishers(node, subscription) -> int:
    """Publishers that a subscription is connected with (older ROS 2: that its topic has)."""
    if hasattr(subscription, 'get_publisher_count'):
        return subscription.get_publisher_count()
    return node.count_publishers(subscription.topic_name)


def message_class(name: str):
    """Class of ``package/msg/Name``.

    Raises:
        ImportError: the package is not installed.
        ValueError: the package has no such message.
    """
    import importlib

    package, folder, kind = name.split('/')
    found = getattr(importlib.import_module(f'{package}.{folder}'), kind, None)
    if found is None:
        raise ValueError(f'{package} has no message {kind} (was it built? see docs/ros2.md)')
    return found


def package_share(package: str) -> Path:
    """Share folder of an installed ROS package.

    Raises:
        FileNotFoundError: it is not installed.
    """
    from ament_index_python.packages import get_package_share_directory

    try:
        return Path(get_package_share_directory(package))
    except (LookupError, OSError) as error:
        # wheels in a virtual environment need no sourced set-up file
        share = Path(sys.prefix) / 'share' / package
        if (share / 'package.xml').is_file():
            return share
        raise FileNotFoundError(f'ROS package {package} is not installed') from error


def topics_table() -> str:
    """Markdown table of all topics."""
    lines = ['| topic | type | published by | QoS | what |', '|---|---|---|---|---|']
    for topic in TOPICS:
        kind = 'reliable' if topic.reliable else 'best effort'
        kind += f', {topic.depth}' + (', latched' if topic.latched else '')
        kind += ', history' if topic.history else ''
        kind += f', lease {topic.lease:g} s' if topic.lease else ''
        name = topic.name.replace('{camera}', '<camera>')
        lines.append(f'| `{name}` | {topic.message} | {topic.publisher} | {kind} | {topic.doc} |')
    return '\n'.join(lines)


if __name__ == '__main__':
    print(topics_table())
