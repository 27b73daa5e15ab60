"""All that comes into an inspection node: images, calibration, triggers, belt, product.

Callbacks only queue. What cannot be queued is answered at once through ``answer``.
"""

from __future__ import annotations

import dataclasses
import math
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from geometry_msgs.msg import Point
from pad_msgs.msg import ObjectTrigger
from rclpy.lifecycle import LifecycleNode
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, JointState
from std_msgs.msg import Header, String

from pad_inspection import geometry
from pad_inspection.datatypes import Inspection, Reason
from pad_inspection.ros import conversions, interfaces
from pad_inspection.ros.association import NO_PIECE, TriggerAssociation
from pad_inspection.ros.belt import BeltAssociation
from pad_inspection.ros.belt_layout import BeltLayout, read_layout_of
from pad_inspection.ros.executor import QuickCallbackGroup
from pad_inspection.ros.frame_queue import FrameQueue, QueuedFrame
from pad_inspection.ros.message_age import MessageAge
from pad_inspection.ros.monitor import Monitor
from pad_inspection.ros.node_clock import NodeClock
from pad_inspection.ros.node_configs import InspectionNodeConfig
from pad_inspection.ros.throttle import Throttle
from pad_inspection.ros.trigger_checks import id_fault, name_fault, travel_fault, trigger_fault
from pad_inspection.text_safety import printable

_LOG_PERIOD_S = 5.0
# Of a lens; more than any model has.
_MAX_COEFFICIENTS = 100
# Message of a result of an image that was replaced.
REPLACED = 'a newer image came before this one was done'


def read_line_layout(config: InspectionNodeConfig) -> BeltLayout | None:
    """Belt of the line; None where triggers name the pieces.

    Raises:
        ValueError, FileNotFoundError: the file is missing or lacks a camera.
    """
    if config.association != 'belt':
        return None
    return read_layout_of(Path(config.belt_layout), config.cameras)


class Intake:
    """Subscriptions of one configuration, and the queue that they fill."""

    def __init__(
        self,
        node: LifecycleNode,
        config: InspectionNodeConfig,
        monitor: Monitor,
        answer: Callable[[QueuedFrame, Reason, str], None],
        announce: Callable[[ObjectTrigger], None],
        layout: BeltLayout | None,
        clock: NodeClock,
        age: MessageAge,
    ):
        """Subscribe; images are ignored until ``open`` is called.

        Args:
            node: to subscribe with.
            config: which cameras, how they are paired.
            monitor: counts.
            answer: publishes the result of an image that is not inspected.
            announce: publishes the trigger of a piece that was seen unannounced.
            layout: of the belt; None = triggers name the pieces.
            clock: of deadlines and patience.
            age: of messages.
        """
        self._node = node
        self._config = config
        self._monitor = monitor
        self._answer = answer
        self._announce = announce
        self._layout = layout
        self._throttle = Throttle(_LOG_PERIOD_S, node.get_logger())
        self._clock, self._age = clock, age
        self._object_type = config.object_type
        # held while an image is queued: none slips in behind a deactivation
        self._gate = threading.Lock()
        self._is_open = False
        if self._layout is not None:
            association = BeltAssociation(self._layout, config.trigger_timeout)
            if not math.isfinite(self._layout.trigger_position):
                node.get_logger().warning(
                    'the belt layout has no trigger_position: triggers without a position are '
                    'refused'
                )
        else:
            association = TriggerAssociation(config.trigger_timeout, config.trigger_tolerance)
        self.queue = FrameQueue(
            config.cameras,
            association,
            size=config.queue_size,
            exact_info=config.camera_info_sync == 'exact',
            info_timeout=config.camera_info_timeout,
            clock=clock.now,
            is_simulated=clock.is_simulated,
        )
        self._group = QuickCallbackGroup()
        self._subscriptions: list = []
        for camera, name in config.topic_names().items():
            kind = CompressedImage if name.endswith('/compressed') else Image
            self._subscribe_camera(kind, interfaces.IMAGE, name, self._on_image, camera)
            info = interfaces.CAMERA_INFO
            self._subscribe_camera(CameraInfo, info, info.of(camera), self._on_info, camera)
        self._subscribe(interfaces.OBJECT_TRIGGER, self._on_trigger)
        self._subscribe(interfaces.OBJECT_TYPE, self._on_object_type)
        if self._layout is not None:
            self._subscribe(interfaces.BELT_STATE, self._on_belt)

    def _subscribe_camera(self, kind, topic, name: str, callback, camera: str) -> None:
        """Subscribe to images or CameraInfo of a camera."""
        profile = interfaces.qos(
            topic,
            depth=max(self._config.image_buffer, self._config.queue_size),
            reliable=self._config.reliable_images,
        )
        self._add(kind, name, lambda message, info: callback(camera, message, info), profile)

    def _subscribe(self, topic: interfaces.Topic, callback) -> None:
        """Subscribe to a topic of the line."""
        kind = interfaces.message_class(topic.message)
        self._add(kind, topic.name, lambda message, _: callback(message), interfaces.qos(topic))

    def _add(self, kind, name: str, callback, profile) -> None:
        """Subscribe; a message that cannot be handled ends nothing."""

        def take(message, info) -> None:
            try:
                callback(message, info)
            except Exception as error:  # one message must not end the line
                self._monitor.count('messages that failed')
                text = printable(f'{name}: {type(error).__name__}: {error}', 500)
                self._throttle.error(('failed', name), text)

        self._subscriptions.append(
            self._node.create_subscription(kind, name, take, profile, callback_group=self._group)
        )

    # ---- life -------------------------------------------------------------------------------

    @property
    def is_open(self) -> bool:
        """Whether images are accepted."""
        return self._is_open

    def open(self) -> None:
        """Accept images from now on."""
        self._is_open = True

    def shut(self) -> None:
        """Accept no image from now on."""
        with self._gate:
            self._is_open = False

    def destroy(self) -> None:
        """Wake the worker for good and close the topics."""
        self.queue.close()
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)
        self._subscriptions = []

    # ---- messages ---------------------------------------------------------------------------

    def _on_image(self, camera: str, message: Image | CompressedImage, info) -> None:
        stamp_ns, age = conversions.stamp_to_ns(message.header.stamp), self._age.of(info)
        with self._gate:
            # rclpy delivers messages whatever the lifecycle state is
            if not self._is_open:
                self._monitor.count('ignored while inactive')
                return
            self._monitor.on_image(camera)
            if self._layout is not None and stamp_ns > 0:
                arrived = self._clock.now() - age
                self.queue.update_association(lambda b: b.note_clock(camera, stamp_ns, arrived))
            replaced, needless = self.queue.put_image(
                camera,
                message,
                stamp_ns,
                self._object_type,
                header=message.header,
                age=age,
            )
        for frame in replaced:
            self._answer(frame, Reason.FRAME_DROPPED, REPLACED)
        for frame in needless:
            self._answer(frame, Reason.NO_PIECE, 'no piece needs this image')

    def _on_info(self, camera: str, message: CameraInfo, _) -> None:
        if len(message.d) > _MAX_COEFFICIENTS:
            # some are kept, so that they must be small
            text = f'd has {len(message.d)} values, wanted {_MAX_COEFFICIENTS} at most'
            self._refuse('camera_info', f'{camera}: {text}')
            return
        self.queue.put_camera_info(camera, message, conversions.stamp_to_ns(message.header.stamp))

    def _on_trigger(self, message: ObjectTrigger) -> None:
        fault = id_fault(message.object_id) or trigger_fault(message)
        if fault:
            self._refuse('trigger', fault)
            return
        stamp_ns = conversions.stamp_to_ns(message.header.stamp)
        self._change(
            lambda association: association.add_trigger(
                message.object_id,
                message.cameras,
                stamp_ns,
                message.position.x,
                message.object_type,
            )
        )

    def _on_belt(self, message: JointState) -> None:
        fault = travel_fault(message)
        if fault:
            self._refuse('belt_state', fault)
            return
        stamp_ns, travel = conversions.stamp_to_ns(message.header.stamp), message.position[0]
        self._change(lambda belt: belt.add_travel(stamp_ns, travel))

    def _refuse(self, what: str, fault: str) -> None:
        """Count and log a message that is not used."""
        self._monitor.count(f'{what}: refused')
        self._throttle.error(what, f'{what} refused: {fault}')

    def _change(self, change: Callable[[Any], None]) -> None:
        """Tell the association something; nonsense is counted and logged."""
        try:
            self.queue.update_association(change)
        except ValueError as error:
            self._refuse('trigger', str(error))

    def _on_object_type(self, message: String) -> None:
        fault = name_fault('data', message.data) if message.data else ''
        if fault:
            self._refuse('object_type', fault)
            return
        if message.data != self._object_type:
            self._node.get_logger().info(f'product on the line is now {message.data!r}')
        self._object_type = message.data

    @property
    def views_per_camera(self) -> int:
        """Images of a piece that each camera takes along the belt; 0 = as triggers say."""
        return 0 if self._layout is None else self._layout.views_per_camera

    # ---- pieces -----------------------------------------------------------------------------

    def object_id(self, queued: QueuedFrame) -> str:
        """Piece of an image; '' where the belt has none there."""
        if queued.match is not None:
            return queued.match.object_id
        if self._layout is not None:
            return ''
        return interfaces.object_id_of_stamp(queued.stamp_ns)

    def is_needless(self, queued: QueuedFrame) -> bool:
        """Whether no piece needs an image that was taken from the queue."""
        if queued.match is None:
            return self._layout is not None and not self._layout.sees_unannounced
        return queued.match == NO_PIECE

    def place(self, queued: QueuedFrame, inspection: Inspection, product: str) -> Inspection:
        """Give what was seen on the belt without a trigger to a piece; announce a new one."""
        pose = inspection.pose.cam_from_object
        if queued.match is not None or self._layout is None or pose is None:
            return inspection
        station = self._layout.cameras[queued.camera]
        x, y, z = station.position, math.nan, math.nan
        if station.conveyor_from_camera is not None:
            placed = geometry.compose(station.conveyor_from_camera, pose).translation
            x, y, z = (float(value) for value in placed)
        match, is_new = self.queue.update_association(
            lambda belt: belt.sight(queued.camera, queued.stamp_ns, x, product)
        )
        # so that its later images are known to be of the same piece
        queued.match = match
        if is_new:
            stamp = conversions.stamp_of_ns(queued.stamp_ns)
            trigger = ObjectTrigger(
                header=Header(stamp=stamp, frame_id=interfaces.CONVEYOR_FRAME),
                object_id=match.object_id,
                expected_views=self._layout.expected_views,
                position=Point(x=x, y=y, z=z),
                object_type=product,
            )
            self._announce(trigger)
        return dataclasses.replace(inspection, object_id=match.object_id)
