"""Publishes what one inspection gave: result, anomaly map, debug pictures, markers, transform.

Pictures for people are drawn only when somebody subscribes (or `publish_debug`).
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from geometry_msgs.msg import Transform, TransformStamped, Vector3
from pad_msgs.msg import InspectionResult, InspectionResultArray
from rclpy.duration import Duration
from rclpy.lifecycle import LifecycleNode
from std_msgs.msg import Header

from pad_inspection.datatypes import Inspection
from pad_inspection.ros import conversions, interfaces
from pad_inspection.ros.model_loading import Model
from pad_inspection.ros.node_configs import InspectionNodeConfig
from pad_inspection.ros.result_messages import MAKERS
from pad_inspection.ros.throttle import Throttle
from pad_inspection.text_safety import printable

# A process that ends takes with it what was not delivered yet.
_FLUSH_S = 3.0
_LOG_PERIOD_S = 5.0


class ResultPublisher:
    """Publishers of all cameras; lifecycle publishers, silent while the node is inactive."""

    def __init__(self, node: LifecycleNode, config: InspectionNodeConfig):
        """Make the publishers."""
        self._node = node
        self._config = config
        self._throttle = Throttle(_LOG_PERIOD_S, node.get_logger())
        self._publishers: dict[tuple[str, str], Any] = {}
        for camera in config.cameras:
            for topic in (interfaces.RESULTS, *MAKERS):
                self._publishers[camera, topic.name] = node.create_lifecycle_publisher(
                    interfaces.message_class(topic.message),
                    topic.of(camera),
                    interfaces.offered_qos(topic),
                )
        self._tf = self._tf_publisher() if config.publish_tf else None

    def _tf_publisher(self):
        """Publisher on /tf; None where tf2_msgs is not installed."""
        topic = interfaces.TF
        try:
            self._tf_message = interfaces.message_class(topic.message)
        except (ImportError, ValueError):
            return None
        return self._node.create_lifecycle_publisher(
            self._tf_message, topic.name, interfaces.qos(topic)
        )

    def listeners(self) -> dict[str, str]:
        """How many subscriptions each camera's results reach, for diagnostics."""
        return {
            f'{camera}: listeners': str(publisher.get_subscription_count())
            for (camera, topic), publisher in [*self._publishers.items()]
            if topic == interfaces.RESULTS.name
        }

    def flush(self) -> None:
        """Wait a little until all results have reached their subscribers."""
        for (_, topic), publisher in self._publishers.items():
            if topic == interfaces.RESULTS.name:
                publisher.wait_for_all_acked(Duration(seconds=_FLUSH_S))

    def destroy(self) -> None:
        """Close the topics."""
        publishers = [*self._publishers.values(), *([self._tf] if self._tf else [])]
        for publisher in publishers:
            self._node.destroy_lifecycle_publisher(publisher)
        self._publishers = {}

    def publish(
        self, inspection: Inspection, message: InspectionResult, model: Model | None
    ) -> None:
        """Publish all that belongs to one image; the result goes last, when pictures are out.

        Args:
            inspection: what the pipeline found.
            message: its result message.
            model: that was used, or None.
        """
        camera, header = inspection.camera_name, message.header
        for topic, make in MAKERS.items():
            if topic is interfaces.ANOMALY_MAP or self._wanted(camera, topic):
                self._show(
                    topic.of(camera),
                    self._publishers[camera, topic.name],
                    functools.partial(make, inspection, header, model),
                )
        if self._tf is not None:
            make = functools.partial(self._transform, inspection, header)
            self._show(interfaces.TF.name, self._tf, make)
        self._publishers[camera, interfaces.RESULTS.name].publish(
            InspectionResultArray(header=header, results=[message])
        )

    def _wanted(self, camera: str, topic: interfaces.Topic) -> bool:
        """Whether somebody looks at a topic."""
        publisher = self._publishers[camera, topic.name]
        return self._config.publish_debug or publisher.get_subscription_count() > 0

    def _show(self, topic: str, publisher: Any, make: Callable[[], Any]) -> None:
        """Publish what people look at; no fault there keeps a result back."""
        try:
            made = make()
            if made is not None:
                publisher.publish(made)
        except Exception as error:
            text = printable(f'{topic} left out: {type(error).__name__}: {error}', 500)
            self._throttle.error(topic, text)

    def _transform(self, inspection: Inspection, header: Header) -> Any:
        """Message on /tf of where the piece is, None when it was not localised."""
        pose = inspection.pose.cam_from_object
        if pose is None:
            return None
        placed = conversions.pose_to_message(pose)
        p = placed.position
        transform = TransformStamped(
            header=header,
            child_frame_id=inspection.object_id or f'{inspection.camera_name}_piece',
            transform=Transform(
                translation=Vector3(x=p.x, y=p.y, z=p.z), rotation=placed.orientation
            ),
        )
        return self._tf_message(transforms=[transform])
