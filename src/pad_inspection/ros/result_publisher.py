"""Publishes what one inspection gave: result, anomaly map, debug pictures, markers, transform.

Pictures for people are drawn only when somebody subscribes (or `publish_debug`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from geometry_msgs.msg import Point, Transform, TransformStamped, Vector3
from pad_msgs.msg import InspectionResult, InspectionResultArray
from rclpy.duration import Duration
from rclpy.lifecycle import LifecycleNode
from std_msgs.msg import ColorRGBA, Header
from visualization_msgs.msg import Marker, MarkerArray

from pad_inspection import drawing, geometry
from pad_inspection.datatypes import Inspection
from pad_inspection.ros import conversions, interfaces
from pad_inspection.ros.node_configs import InspectionNodeConfig

_CAMERA_TOPICS = (
    interfaces.RESULTS,
    interfaces.ANOMALY_MAP,
    interfaces.REFERENCE,
    interfaces.OVERLAY,
    interfaces.MASK,
    interfaces.MARKERS,
)
# A process that ends takes with it what was not delivered yet.
_FLUSH_S = 3.0


class ResultPublisher:
    """Publishers of all cameras; lifecycle publishers, silent while the node is inactive."""

    def __init__(self, node: LifecycleNode, config: InspectionNodeConfig):
        """Make the publishers."""
        self._node = node
        self._config = config
        self._publishers: dict[tuple[str, str], Any] = {}
        for camera in config.cameras:
            for topic in _CAMERA_TOPICS:
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

    def publish(self, inspection: Inspection, message: InspectionResult, info) -> None:
        """Publish all that belongs to one image; the result goes last, when pictures are out.

        Args:
            inspection: what the pipeline found.
            message: its result message.
            info: pipeline.ModelInfo, or None.
        """
        camera, header = inspection.camera_name, message.header
        if inspection.anomaly_map is not None:
            scores = np.ascontiguousarray(inspection.anomaly_map, np.float32)
            self._send(camera, interfaces.ANOMALY_MAP, scores, '32FC1', header)
        if inspection.reference is not None and self._wanted(camera, interfaces.REFERENCE):
            self._send(camera, interfaces.REFERENCE, inspection.reference, 'rgb8', header)
        if inspection.object_mask is not None and self._wanted(camera, interfaces.MASK):
            mask = np.rint(np.clip(inspection.object_mask, 0, 1) * 255).astype(np.uint8)
            self._send(camera, interfaces.MASK, mask, 'mono8', header)
        if inspection.query is not None and self._wanted(camera, interfaces.OVERLAY):
            limits = _color_limits(info)
            overlay = drawing.overlay_picture(inspection, **limits)
            self._send(camera, interfaces.OVERLAY, overlay, 'rgb8', header)
        if self._wanted(camera, interfaces.MARKERS):
            markers = _markers(inspection, header)
            self._publishers[camera, interfaces.MARKERS.name].publish(markers)
        self._send_transform(inspection, header)
        self._publishers[camera, interfaces.RESULTS.name].publish(
            InspectionResultArray(header=header, results=[message])
        )

    def _wanted(self, camera: str, topic: interfaces.Topic) -> bool:
        """Whether somebody looks at a topic."""
        publisher = self._publishers[camera, topic.name]
        return self._config.publish_debug or publisher.get_subscription_count() > 0

    def _send(
        self,
        camera: str,
        topic: interfaces.Topic,
        picture: np.ndarray,
        encoding: str,
        header: Header,
    ) -> None:
        """Publish a picture."""
        self._publishers[camera, topic.name].publish(
            conversions.array_to_image(picture, encoding, header)
        )

    def _send_transform(self, inspection: Inspection, header: Header) -> None:
        """Publish where the piece is, when it was localised."""
        pose = inspection.pose.cam_from_object
        if self._tf is None or pose is None:
            return
        placed = conversions.pose_to_message(pose)
        p = placed.position
        transform = TransformStamped(
            header=header,
            child_frame_id=inspection.object_id,
            transform=Transform(
                translation=Vector3(x=p.x, y=p.y, z=p.z), rotation=placed.orientation
            ),
        )
        self._tf.publish(self._tf_message(transforms=[transform]))


def _color_limits(info) -> dict[str, float]:
    """Scores that map to no colour and to the strongest: what normal pictures have, and twice."""
    if info is None or not info.score_max > info.score_min:
        return {}
    low = 0.5 * (info.score_min + info.score_max)
    return {'score_low': low, 'score_high': 2 * info.score_max}


def _markers(inspection: Inspection, header: Header) -> MarkerArray:
    """Spheres at the anomaly regions that lie on the object's surface, in the optical frame."""
    markers = [Marker(header=header, ns='anomaly', action=Marker.DELETEALL)]
    pose = inspection.pose.cam_from_object
    regions = [r for r in inspection.regions if r.peak_in_object is not None]
    if pose is not None and regions:
        points = geometry.transform(pose, np.array([r.peak_in_object for r in regions]))
        for index, (x, y, z) in enumerate(points):
            marker = Marker(header=header, ns='anomaly', id=index, type=Marker.SPHERE)
            marker.pose.position = Point(x=float(x), y=float(y), z=float(z))
            size = 0.02 * float(z)
            marker.scale = Vector3(x=size, y=size, z=size)
            marker.color = ColorRGBA(r=0.9, g=0.1, b=0.1, a=0.8)
            markers.append(marker)
    return MarkerArray(markers=markers)
