"""Managed node: camera images in, one inspection result for each of them out.

    python -m pad_inspection.ros.inspection_node --ros-args --params-file config/inspection.yaml

Configure reads the parameters, loads the model and warms it up; activate accepts images;
deactivate answers the images that wait as UNDETERMINED. Subscriptions only queue; one worker
thread owns the inspector. Topics and parameters: interfaces.py and parameters.py beside this.
"""

from __future__ import annotations

import sys
import threading
import time
import uuid
from collections import Counter

from diagnostic_msgs.msg import DiagnosticArray
from pad_msgs.msg import ObjectTrigger
from pad_msgs.srv import ReloadModel
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.lifecycle import LifecycleNode, TransitionCallbackReturn
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header

from pad_inspection.datatypes import Frame, Inspection, Reason, Verdict
from pad_inspection.ros import conversions, interfaces, parameters
from pad_inspection.ros.diagnostics import status
from pad_inspection.ros.frame_queue import FrameQueue, QueuedFrame
from pad_inspection.ros.model_loading import Model, bundle_path, load_inspector, reload_result
from pad_inspection.ros.result_publisher import ResultPublisher
from pad_inspection.ros.runner import NodeFailedError, run

# On leaving, a running inspection may still take this long, s.
_FINISH_S = 30.0


class InspectionNode(LifecycleNode):
    """See the module's text."""

    def __init__(self):
        super().__init__('inspection_node')
        parameters.declare(self, 'inspection_node')
        self.finished: int | None = None
        self._config = parameters.read_own(self, 'inspection_node')
        self._model: Model | None = None
        self._model_lock = threading.Lock()
        self._loading = threading.Lock()
        self._queue: FrameQueue | None = None
        self._worker: threading.Thread | None = None
        self._active = False
        # held while an image is queued: none slips in behind a deactivation
        self._gate = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._last_seconds = float('nan')
        # images must arrive while a service loads a model
        self._image_group = MutuallyExclusiveCallbackGroup()
        self._reload_group = MutuallyExclusiveCallbackGroup()
        self._subscriptions_made: list = []
        self._results: ResultPublisher | None = None
        self._model_info = self.create_publisher(
            interfaces.message_class(interfaces.MODEL_INFO.message),
            interfaces.MODEL_INFO.name,
            interfaces.qos(interfaces.MODEL_INFO),
        )
        self._diagnostics = self.create_publisher(
            DiagnosticArray, interfaces.DIAGNOSTICS.name, interfaces.qos(interfaces.DIAGNOSTICS)
        )
        self.create_service(
            ReloadModel,
            interfaces.RELOAD_MODEL_SERVICE,
            self._on_reload,
            callback_group=self._reload_group,
        )
        self.create_timer(self._config.diagnostics_period, self._publish_diagnostics)

    def start(self) -> None:
        """Configure and activate when the parameters say so.

        Raises:
            NodeFailedError: it did not work; nobody else would try again.
        """
        if not self._config.autostart:
            return
        for transition in (self.trigger_configure, self.trigger_activate):
            if transition() != TransitionCallbackReturn.SUCCESS:
                raise NodeFailedError('could not be started, see the message above')

    # ---- lifecycle ------------------------------------------------------------------------

    def on_configure(self, state) -> TransitionCallbackReturn:
        """Read parameters, load and warm up the model, open the topics."""
        try:
            self._config = parameters.read_own(self, 'inspection_node')
            if not self._config.cameras:
                raise ValueError("parameter 'cameras' is empty, wanted at least one name")
            self._model = self._load(self._config.bundle)
            self._open_topics()
        except Exception as error:  # rclpy would swallow the message
            kind = '' if isinstance(error, (ValueError, OSError)) else f'{type(error).__name__}: '
            self.get_logger().error(f'cannot configure: {kind}{error}')
            self._close_topics()
            self._model = None
            return TransitionCallbackReturn.FAILURE
        self._worker = threading.Thread(target=self._work, name='inspection', daemon=True)
        self._worker.start()
        return super().on_configure(state)

    def on_activate(self, state) -> TransitionCallbackReturn:
        """Accept images."""
        result = super().on_activate(state)
        self._active = True
        self._publish_model_info()
        self.get_logger().info(
            f'active: model {self._model.inspector.info.model_id!r}, '
            f'cameras {", ".join(self._config.cameras)}'
        )
        return result

    def on_deactivate(self, state) -> TransitionCallbackReturn:
        """Accept no more images; answer those that wait; let a running inspection end."""
        self._stop_accepting()
        for frame in self._queue.drain():
            self._answer(frame, Reason.FRAME_DROPPED, 'the node was deactivated')
        self._queue.wait_until_answered(_FINISH_S)
        return super().on_deactivate(state)

    def on_cleanup(self, state) -> TransitionCallbackReturn:
        """Let go of the model and the topics."""
        self._release()
        return super().on_cleanup(state)

    def on_shutdown(self, state) -> TransitionCallbackReturn:
        """As deactivate and cleanup, from any state."""
        self.close()
        self.finished = 0
        return super().on_shutdown(state)

    def on_error(self, state) -> TransitionCallbackReturn:
        """Back to unconfigured after an unexpected failure of a transition."""
        self.get_logger().error(f'a transition from {state.label} failed')
        self._stop_accepting()
        self._release()
        return TransitionCallbackReturn.SUCCESS

    def close(self) -> None:
        """Answer what waits and end the worker; the node is no longer usable."""
        self._stop_accepting()
        if self._queue is not None:
            for frame in self._queue.drain():
                self._answer(frame, Reason.FRAME_DROPPED, 'the node was shut down')
            self._queue.wait_until_answered(_FINISH_S)
        if self._results is not None:
            self._results.flush()
        self._release()

    def _stop_accepting(self) -> None:
        """Ignore images from now on."""
        with self._gate:
            self._active = False

    def _release(self) -> None:
        """End the worker, close topics, drop the model."""
        if self._queue is not None:
            self._queue.close()
        if self._worker is not None:
            self._worker.join(_FINISH_S)
            self._worker = None
        self._close_topics()
        self._model = None

    def _open_topics(self) -> None:
        """Make queue, publishers and subscriptions."""
        config = self._config
        self._queue = FrameQueue(
            config.cameras,
            size=config.queue_size,
            exact_info=config.camera_info_sync == 'exact',
            info_timeout=config.camera_info_timeout,
            trigger_timeout=config.trigger_timeout,
            trigger_tolerance=config.trigger_tolerance,
        )
        self._results = ResultPublisher(self, config)
        image_class, suffix = (
            (CompressedImage, '/compressed') if config.compressed else (Image, '')
        )
        depth = max(interfaces.IMAGE.depth, config.queue_size)
        for camera in config.cameras:
            topics = (
                (
                    image_class,
                    interfaces.IMAGE.with_name(f'{camera}/{config.image_topic}{suffix}'),
                    lambda message, camera=camera: self._on_image(camera, message),
                ),
                (
                    CameraInfo,
                    interfaces.CAMERA_INFO.with_name(interfaces.CAMERA_INFO.of(camera)),
                    lambda message, camera=camera: self._on_camera_info(camera, message),
                ),
            )
            for message_class, topic, callback in topics:
                profile = interfaces.qos(topic, depth=depth, reliable=config.reliable_images)
                self._subscribe(message_class, topic, profile, callback)
        trigger = interfaces.OBJECT_TRIGGER
        self._subscribe(ObjectTrigger, trigger, interfaces.qos(trigger), self._on_trigger)

    def _subscribe(self, message_class, topic, profile, callback) -> None:
        """Make a subscription that a cleanup closes."""
        self._subscriptions_made.append(
            self.create_subscription(
                message_class, topic.name, callback, profile, callback_group=self._image_group
            )
        )

    def _close_topics(self) -> None:
        """Undo _open_topics."""
        for subscription in self._subscriptions_made:
            self.destroy_subscription(subscription)
        self._subscriptions_made = []
        if self._results is not None:
            self._results.destroy()
            self._results = None

    # ---- messages in (callbacks only queue) -------------------------------------------------

    def _on_image(self, camera: str, message: Image | CompressedImage) -> None:
        stamp_ns = conversions.stamp_to_ns(message.header.stamp)
        with self._gate:
            # rclpy delivers messages whatever the lifecycle state is
            if not self._active:
                self._counts['ignored while inactive'] += 1
                return
            self._counts['received'] += 1
            replaced = self._queue.put_image(camera, message, stamp_ns)
        for frame in replaced:
            self._answer(
                frame, Reason.FRAME_DROPPED, 'a newer image came before this one was done'
            )

    def _on_camera_info(self, camera: str, message: CameraInfo) -> None:
        stamp_ns = conversions.stamp_to_ns(message.header.stamp)
        self._queue.put_camera_info(camera, message, stamp_ns)

    def _on_trigger(self, message: ObjectTrigger) -> None:
        stamp_ns = conversions.stamp_to_ns(message.header.stamp)
        if message.object_id:
            self._queue.put_trigger(message.object_id, message.cameras, stamp_ns)

    # ---- worker ------------------------------------------------------------------------------

    def _work(self) -> None:
        """Inspect queued images until the queue is closed."""
        queue = self._queue
        while (frame := queue.take()) is not None:
            try:
                self._inspect(frame)
            except Exception as error:  # the line must go on, and each image be answered
                self.get_logger().error(f'inspection failed: {type(error).__name__}: {error}')
                self._answer(frame, Reason.INTERNAL_ERROR, f'{type(error).__name__}: {error}')
            finally:
                queue.done()

    def _inspect(self, queued: QueuedFrame) -> None:
        """Inspect one image and publish all that comes of it."""
        if self._is_late(queued):
            self._answer(queued, Reason.DEADLINE_MISSED, self._late_message(queued))
            return
        try:
            frame = self._frame(queued)
        except ValueError as error:
            self._answer(queued, Reason.IMAGE_INVALID, str(error))
            return
        with self._model_lock:
            model = self._model
        inspection = model.inspector.inspect(frame)
        if self._is_late(queued) and inspection.verdict != Verdict.UNDETERMINED:
            inspection = _undetermined(
                inspection, Reason.DEADLINE_MISSED, self._late_message(queued)
            )
        self._publish(queued, inspection, model)

    def _frame(self, queued: QueuedFrame) -> Frame:
        """Frame of a queued image.

        Raises:
            ValueError: image or calibration cannot be used.
        """
        if queued.stamp_ns == 0:
            raise ValueError('the image has no stamp: set header.stamp to the acquisition time')
        picture = conversions.image_to_rgb(queued.message)
        if queued.info is None:
            raise ValueError(
                f'no CameraInfo on {queued.camera}/camera_info for this image within '
                f'{self._config.camera_info_timeout:g} s ({self._config.camera_info_sync} stamp)'
            )
        camera = conversions.camera_from_info(queued.info, rectified=self._config.rectified)
        if picture.shape[:2] != (camera.height, camera.width):
            raise ValueError(
                f'image is {picture.shape[1]}x{picture.shape[0]} px, its CameraInfo says '
                f'{camera.width}x{camera.height} px'
            )
        return Frame(picture, camera, queued.stamp_ns, queued.camera, self._object_id(queued))

    def _object_id(self, queued: QueuedFrame) -> str:
        return queued.object_id or interfaces.object_id_of_stamp(queued.stamp_ns)

    def _is_late(self, queued: QueuedFrame) -> bool:
        limit = self._config.deadline
        return limit > 0 and time.monotonic() - queued.arrived > limit

    def _late_message(self, queued: QueuedFrame) -> str:
        waited = time.monotonic() - queued.arrived
        return f'{waited:.3f} s since arrival, deadline {self._config.deadline:g} s'

    def _answer(self, queued: QueuedFrame, reason: Reason, text: str) -> None:
        """Publish the result of an image that was not inspected."""
        inspection = Inspection(
            Verdict.UNDETERMINED,
            reason,
            text,
            camera_name=queued.camera,
            object_id=self._object_id(queued),
            stamp_ns=queued.stamp_ns,
        )
        with self._model_lock:
            model = self._model
        self.get_logger().warning(
            f'{queued.camera}: {reason.name}: {text}', throttle_duration_sec=5.0
        )
        self._publish(queued, inspection, model)

    def _publish(self, queued: QueuedFrame, inspection: Inspection, model: Model | None) -> None:
        """Publish a result, its pictures and count it."""
        seconds = time.monotonic() - queued.arrived
        info = None if model is None else model.inspector.info
        message = conversions.result_to_message(
            inspection,
            queued.message.header,
            inspection_id=str(uuid.uuid4()),
            model=info,
            object_threshold=float('nan') if info is None else info.object_threshold,
            seconds=seconds,
        )
        self._results.publish(inspection, message, info)
        self._last_seconds = seconds
        self._counts['answered'] += 1
        key = inspection.verdict if inspection.reason == Reason.NONE else inspection.reason
        self._counts[key.name.lower()] += 1

    # ---- model -------------------------------------------------------------------------------

    def _load(self, uri: str) -> Model:
        """Load a model. Raises as bundle_path and load_inspector."""
        path = bundle_path(uri)
        begin = time.monotonic()
        overrides = parameters.read_inspection(self)
        inspector = load_inspector(self._config.inspector, path, overrides)
        self.get_logger().info(f'loaded {path} in {time.monotonic() - begin:.1f} s')
        return Model(inspector, path, Header(stamp=self.get_clock().now().to_msg()))

    def _publish_model_info(self) -> None:
        model = self._model
        if model is not None:
            self._model_info.publish(
                conversions.model_info_to_message(model.inspector.info, model.loaded_at)
            )

    def _on_reload(self, request, response):
        """Load another model beside the running one and swap it in between two images."""
        response.result, response.message = self._reload(request.model_uri, response)
        model = self._model
        if model is not None:
            response.model = conversions.model_info_to_message(
                model.inspector.info, model.loaded_at
            )
        text = f'reload_model {request.model_uri!r}: {response.message}'
        # two lines on purpose: rclpy raises when one line logs with different severities
        if response.result == response.RESULT_SUCCESS:
            self.get_logger().info(text)
        else:
            self.get_logger().error(text)
        return response

    def _reload(self, uri: str, codes) -> tuple[int, str]:
        """Result code and message of a reload; the old model stays on failure."""
        current = self._model
        if current is None:
            return codes.RESULT_NOT_CONFIGURED, 'the node is not configured'
        if not self._loading.acquire(blocking=False):
            return codes.RESULT_BUSY, 'another reload is under way'
        try:
            model = self._load(uri or str(current.path))
        except Exception as error:  # a service must answer
            return reload_result(error), str(error) or type(error).__name__
        finally:
            self._loading.release()
        with self._model_lock:
            self._model = model
        self._publish_model_info()
        return codes.RESULT_SUCCESS, f'model {model.inspector.info.model_id!r} is in use'

    # ---- diagnostics -------------------------------------------------------------------------

    def _publish_diagnostics(self) -> None:
        """State, counters and latency."""
        queue, counts = self._queue, self._counts
        received, answered = counts['received'], counts['answered']
        bad = answered - counts['pass'] - counts['anomaly']
        warn = self._active and answered > 0 and bad > 0.5 * answered
        text = 'active' if self._active else 'not active'
        if warn:
            text = f'{bad} of {answered} images could not be judged'
        values = {
            **{name: str(count) for name, count in sorted(counts.items())},
            'queued': str(0 if queue is None else len(queue)),
            'unanswered': str(received - answered),
            'last_seconds': f'{self._last_seconds:.3f}',
            'model': '' if self._model is None else self._model.inspector.info.model_id,
        }
        self._diagnostics.publish(status(self, 'inspection', text, values, warn=warn))


def _undetermined(inspection: Inspection, reason: Reason, text: str) -> Inspection:
    """The same inspection without its verdict."""
    import dataclasses

    return dataclasses.replace(
        inspection, verdict=Verdict.UNDETERMINED, reason=reason, message=text
    )


def main(args: list[str] | None = None) -> int:
    """Console script."""
    return run(InspectionNode, args, threads=3)


if __name__ == '__main__':
    sys.exit(main())
