"""Managed node: camera images in, one inspection result for each of them out.

    python -m pad_inspection.ros.inspection_node --ros-args --params-file config/inspection.yaml

Configure reads the parameters, loads the models and warms them up; activate accepts images;
deactivate answers the images that wait as UNDETERMINED. Subscriptions only queue (intake.py); one
worker thread owns the inspectors. Topics and parameters: interfaces.py and node_configs.py.
"""

from __future__ import annotations

import dataclasses
import math
import sys
import threading
import uuid
from collections.abc import Callable
from pathlib import Path

from diagnostic_msgs.msg import DiagnosticArray
from pad_msgs.msg import ObjectTrigger
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.clock import Clock, ClockType
from rclpy.lifecycle import LifecycleNode, TransitionCallbackReturn

from pad_inspection.datatypes import Frame, Inspection, Reason, Verdict
from pad_inspection.piece_views import PieceViews
from pad_inspection.ros import conversions, interfaces, parameters
from pad_inspection.ros.diagnostics import status
from pad_inspection.ros.frame_building import build_frame
from pad_inspection.ros.frame_queue import QueuedFrame
from pad_inspection.ros.intake import REPLACED, Intake, read_line_layout
from pad_inspection.ros.message_age import MessageAge
from pad_inspection.ros.model_loading import Loader, Model, load_inspector
from pad_inspection.ros.model_service import LoadingStoppedError, ModelService
from pad_inspection.ros.monitor import Monitor
from pad_inspection.ros.node_clock import NodeClock
from pad_inspection.ros.node_configs import InspectionNodeConfig
from pad_inspection.ros.result_publisher import ResultPublisher
from pad_inspection.ros.rig import Found, RigViews
from pad_inspection.ros.rig_file import read_rig
from pad_inspection.ros.runner import NodeFailedError, run
from pad_inspection.ros.throttle import Throttle
from pad_inspection.text_safety import MAX_TEXT_LENGTH, printable

# On leaving, a running inspection may still take this long, s.
_FINISH_S = 30.0
# How often late images are looked for, as a share of the deadline and in s at most.
_DEADLINE_SHARE, _DEADLINE_MAX_S = 0.1, 0.5
# The same where it is in simulated time, which runs as fast as it likes.
_SIMULATED_S = 0.02
_LOG_PERIOD_S, _HEALTH_LOG_PERIOD_S = 5.0, 60.0


class InspectionNode(LifecycleNode):
    """See the module's text."""

    def __init__(self, load: Loader = load_inspector):
        """Read the parameters.

        Args:
            load: makes an inspector of a bundle.

        Raises:
            ValueError: a bad parameter.
        """
        super().__init__('inspection_node')
        parameters.declare(self, 'inspection_node', self._why_fixed)
        self.finished: int | None = None
        self._config: InspectionNodeConfig = parameters.read_own(self, 'inspection_node')
        self._clock_of_line = NodeClock(self)
        self._age = MessageAge(self._clock_of_line)
        # a jump of the system's clock must not hold up deadlines
        self._steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._monitor = self._new_monitor()
        self._intake: Intake | None = None
        self._results: ResultPublisher | None = None
        self._rig: RigViews | None = None
        self._pieces = PieceViews()
        self._worker: threading.Thread | None = None
        self._deadline_timer = None
        self._throttle = Throttle(_LOG_PERIOD_S, self.get_logger())
        self._deadline_group = MutuallyExclusiveCallbackGroup()
        self._is_stopping: Callable[[], bool] = lambda: False
        self._models = ModelService(
            self, lambda name: self._monitor.forget_scores(name), lambda: self._is_stopping(), load
        )
        trigger, diagnostics = interfaces.OBJECT_TRIGGER, interfaces.DIAGNOSTICS
        self._triggers = self.create_publisher(
            ObjectTrigger, trigger.name, interfaces.offered_qos(trigger)
        )
        self._diagnostics = self.create_publisher(
            DiagnosticArray, diagnostics.name, interfaces.qos(diagnostics)
        )
        self.create_timer(
            self._config.diagnostics_period, self._publish_diagnostics, clock=self._steady
        )

    def _why_fixed(self) -> str:
        """Why parameters cannot be set now; '' = they can."""
        _, state = self._state_machine.current_state
        if state == 'unconfigured':
            return ''
        return f'the node is {state}: deactivate and clean up first'

    def start(self, is_stopping: Callable[[], bool]) -> None:
        """Configure and activate when the parameters say so.

        Args:
            is_stopping: whether the node was told to end; then it goes no further.

        Raises:
            NodeFailedError: it did not work; nobody else would try again.
        """
        self._is_stopping = is_stopping
        if not self._config.autostart:
            return
        for transition in (self.trigger_configure, self.trigger_activate):
            if is_stopping():
                return
            if transition() != TransitionCallbackReturn.SUCCESS and not is_stopping():
                raise NodeFailedError('could not be started, see the message above')

    # ---- lifecycle ------------------------------------------------------------------------

    def on_configure(self, state) -> TransitionCallbackReturn:
        """Read parameters, load and warm up the models, open the topics."""
        try:
            self._config = parameters.read_own(self, 'inspection_node')
            layout = read_line_layout(self._config)
            self._rig = _rig(self._config)
            self._pieces = PieceViews()
            self._monitor = self._new_monitor()
            self._models.configure(self._config)
            self._results = ResultPublisher(self, self._config)
            announce = self._triggers.publish
            self._intake = Intake(
                self,
                self._config,
                self._monitor,
                self._answer,
                announce,
                layout,
                self._clock_of_line,
                self._age,
            )
        except LoadingStoppedError as error:
            self.get_logger().info(str(error))
            self._release()
            return TransitionCallbackReturn.FAILURE
        except Exception as error:  # rclpy would swallow the message
            kind = '' if isinstance(error, (ValueError, OSError)) else f'{type(error).__name__}: '
            self.get_logger().error(f'cannot configure: {kind}{error}')
            self._release()
            return TransitionCallbackReturn.FAILURE
        if self._config.deadline > 0:
            longest = _SIMULATED_S if self._clock_of_line.is_simulated else _DEADLINE_MAX_S
            self._deadline_timer = self.create_timer(
                min(longest, _DEADLINE_SHARE * self._config.deadline),
                self._on_deadline,
                callback_group=self._deadline_group,
                clock=self._steady,
            )
        self._worker = threading.Thread(target=self._work, name='inspection', daemon=True)
        self._worker.start()
        return super().on_configure(state)

    def on_activate(self, state) -> TransitionCallbackReturn:
        """Accept images."""
        result = super().on_activate(state)
        self._monitor.restart_cameras()
        self._intake.open()
        self._models.announce()
        models = self._models.models
        ids = ', '.join(repr(models.get(name).info.model_id) for name in models.names)
        self.get_logger().info(f'active: model {ids}, cameras {", ".join(self._config.cameras)}')
        return result

    def on_deactivate(self, state) -> TransitionCallbackReturn:
        """Accept no more images; answer those that wait; let a running inspection end."""
        self._answer_all('the node was deactivated')
        return super().on_deactivate(state)

    def on_cleanup(self, state) -> TransitionCallbackReturn:
        """Let go of the models and the topics."""
        self._release()
        return super().on_cleanup(state)

    def on_shutdown(self, state) -> TransitionCallbackReturn:
        """As deactivate and cleanup, from any state."""
        self.close()
        # a worker that died stays a failure
        self.finished = self.finished or 0
        return super().on_shutdown(state)

    def on_error(self, state) -> TransitionCallbackReturn:
        """Back to unconfigured after an unexpected failure of a transition."""
        self.get_logger().error(f'a transition from {state.label} failed')
        if self._intake is not None:
            self._intake.shut()
        self._release()
        return TransitionCallbackReturn.SUCCESS

    def close(self) -> None:
        """Answer what waits and end the worker; the node is no longer usable."""
        self._answer_all('the node was shut down')
        if self._results is not None:
            self._results.flush()
        self._release()

    def _answer_all(self, text: str) -> None:
        """Accept no more images, answer those that wait, let a running inspection end."""
        if self._intake is None:
            return
        self._intake.shut()
        # the image in work may be held for other views, which then are gone
        for _ in range(2):
            for frame in self._intake.queue.drain():
                self._answer(frame, Reason.FRAME_DROPPED, text)
            self._intake.queue.wait_until_answered(_FINISH_S)

    def _release(self) -> None:
        """End the worker, close topics, drop the models."""
        if self._deadline_timer is not None:
            self.destroy_timer(self._deadline_timer)
            self._deadline_timer = None
        if self._intake is not None:
            self._intake.destroy()
        if self._worker is not None:
            self._worker.join(_FINISH_S)
            self._worker = None
        self._intake = None
        if self._results is not None:
            self._results.destroy()
            self._results = None
        self._models.release()

    # ---- worker ------------------------------------------------------------------------------

    def _work(self) -> None:
        """Inspect queued images until the queue is closed."""
        queue, frame = self._intake.queue, None
        try:
            while (frame := queue.take()) is not None:
                try:
                    self._inspect(frame)
                except Exception as error:  # the line must go on, and each image be answered
                    text = printable(f'{type(error).__name__}: {error}', MAX_TEXT_LENGTH)
                    self.get_logger().error(f'inspection failed: {text}')
                    self._answer(frame, Reason.INTERNAL_ERROR, text)
                finally:
                    queue.done(frame)
        except BaseException as error:  # nobody inspects any more, and nobody else would tell
            # before anything that may fail: the process ends, and its sign of life with it
            self.finished = 1
            text = printable(f'{type(error).__name__}: {error}', MAX_TEXT_LENGTH)
            self.get_logger().fatal(f'the worker has died, the node ends: {text}')
            if frame is not None:
                self._answer(frame, Reason.INTERNAL_ERROR, text)

    def _inspect(self, queued: QueuedFrame) -> None:
        """Inspect one image and publish all that comes of it."""
        if self._is_late(queued):
            self._answer(queued, Reason.DEADLINE_MISSED, self._late_message(queued))
            return
        if queued.match is not None and queued.match.fault:
            self._answer(queued, Reason.CONFLICT, queued.match.fault)
            return
        if queued.replaced:
            self._answer(queued, Reason.FRAME_DROPPED, REPLACED)
            return
        if self._intake.is_needless(queued):
            self._answer(queued, Reason.NO_PIECE, 'no piece needs this image')
            return
        found = self._look_again(queued) if queued.first is not None else self._look(queued)
        if found is None:
            return
        _, inspection, product, model = found
        inspection = self._intake.place(queued, inspection, product)
        if model is not None:
            # before the deadline is looked at: it takes time as well
            inspection = self._pieces.add(model.inspector, inspection, _use(queued))
        if self._is_late(queued) and inspection.verdict != Verdict.UNDETERMINED:
            inspection = dataclasses.replace(
                inspection,
                verdict=Verdict.UNDETERMINED,
                reason=Reason.DEADLINE_MISSED,
                message=self._late_message(queued),
            )
        self._publish(queued, inspection, product, model)

    def _look(self, queued: QueuedFrame) -> Found | None:
        """Inspect an image by itself; None when it was answered, or is held for other views."""
        try:
            frame = self._frame(queued)
        except ValueError as error:
            self._answer(queued, Reason.IMAGE_INVALID, str(error))
            return None
        announced = queued.match.object_type if queued.match else ''
        product = announced or queued.object_type
        found = Found(frame, *self._models.models.inspect(frame, product, _use(queued)))
        rig = self._rig
        if rig is None:
            return found
        rig.note(found)
        if rig.can_help(found) and self._intake.queue.hold(
            queued, found, lambda waiting, now: rig.seconds_left(queued, waiting, now)
        ):
            self._monitor.count('waited for other views')
            return None
        return found

    def _look_again(self, queued: QueuedFrame) -> Found:
        """Inspect an image that was held from where the other views saw the piece."""
        again = self._rig.inspect_again(queued.first)
        if again is None:
            return queued.first
        self._monitor.count('inspected from the pose in other views')
        return again

    def _frame(self, queued: QueuedFrame) -> Frame:
        """Frame of a queued image.

        Raises:
            ValueError: image or calibration cannot be used.
        """
        config = self._config
        if queued.info is None:
            # a damaged image is told first
            conversions.read_image(queued.message, image_bits=config.image_bits)
            raise ValueError(
                f'no CameraInfo on {queued.camera}/camera_info for this image within '
                f'{config.camera_info_timeout:g} s ({config.camera_info_sync} stamp)'
            )
        return build_frame(
            queued.message,
            queued.info,
            camera_name=queued.camera,
            object_id=self._intake.object_id(queued),
            rectified=config.is_rectified(queued.camera),
            image_bits=config.image_bits,
            allow_grey=config.allow_grey,
        )

    def _is_late(self, queued: QueuedFrame) -> bool:
        limit = self._config.deadline
        return limit > 0 and self._intake.queue.age(queued) > limit

    def _late_message(self, queued: QueuedFrame) -> str:
        waited = self._intake.queue.age(queued)
        return f'{waited:.3f} s since arrival, deadline {self._config.deadline:g} s'

    def _on_deadline(self) -> None:
        """Answer images in time even while the worker is busy with another one."""
        intake = self._intake
        for frame in () if intake is None else intake.queue.expire(self._config.deadline):
            self._answer(frame, Reason.DEADLINE_MISSED, self._late_message(frame))

    # ---- results -----------------------------------------------------------------------------

    def _answer(self, queued: QueuedFrame, reason: Reason, text: str) -> None:
        """Publish the result of an image that was not inspected."""
        inspection = Inspection(
            Verdict.UNDETERMINED,
            reason,
            text,
            camera_name=queued.camera,
            object_id=self._intake.object_id(queued),
            stamp_ns=queued.stamp_ns,
        )
        if reason != Reason.NO_PIECE:
            kind, line = (queued.camera, reason), f'{queued.camera}: {reason.name}: {text}'
            self._throttle.warning(kind, printable(line, MAX_TEXT_LENGTH))
        models = self._models.models
        self._publish(queued, inspection, '', None if models is None else models.get())

    def _publish(
        self, queued: QueuedFrame, inspection: Inspection, product: str, model: Model | None
    ) -> None:
        """Publish a result and its pictures, unless the image was answered before; count it."""
        if not self._intake.queue.claim_answer(queued):
            return
        try:
            seconds = self._publish_claimed(queued, inspection, product, model)
        except BaseException:
            # nothing is out yet: whoever handles this may answer
            self._intake.queue.give_back_answer(queued)
            raise
        self._monitor.on_result(inspection, seconds, product)

    def _publish_claimed(
        self, queued: QueuedFrame, inspection: Inspection, product: str, model: Model | None
    ) -> float:
        """Publish a result and its pictures; tells how long it took since the arrival, s."""
        # 0 when simulated time was set back meanwhile
        seconds = max(0.0, self._clock_of_line.now() - queued.arrived)
        info = None if model is None else model.info
        message = conversions.result_to_message(
            inspection,
            queued.header,
            inspection_id=str(uuid.uuid4()),
            model=info,
            object_threshold=math.nan if info is None else info.object_threshold,
            seconds=seconds,
            object_type=product,
            expected_views=self._intake.views_per_camera,
        )
        self._results.publish(inspection, message, model)
        return seconds

    def _new_monitor(self) -> Monitor:
        """Monitor with the limits of the parameters."""
        config = self._config
        return Monitor(
            config.cameras,
            camera_timeout=config.camera_timeout,
            drift_window=config.drift_window,
            drift_shift=config.drift_shift,
            clock=self._clock_of_line.now,
        )

    def _publish_diagnostics(self) -> None:
        """State, counters, latency; cameras; drift of each model."""
        intake, models, monitor = self._intake, self._models.models, self._monitor
        infos = {} if models is None else {n: models.get(n).info for n in models.names}
        extra = {'model': ', '.join(info.model_id for info in infos.values())}
        is_open, queued = False, 0
        if intake is not None:
            is_open, queued = intake.is_open, len(intake.queue)
            counts = intake.queue.update_association(lambda association: {**association.counts})
            extra |= {name: str(count) for name, count in counts.items()}
        if (results := self._results) is not None:
            extra |= results.listeners()
        reports = [
            monitor.inspection_report(active=is_open, queued=queued, extra=extra),
            monitor.camera_report(active=is_open),
            *(monitor.drift_report(name, info.normal_scores) for name, info in infos.items()),
        ]
        for report in reports:
            self._diagnostics.publish(
                status(self, report.part, report.text, report.values, warn=report.warn)
            )
            if report.warn:
                self.get_logger().warning(report.text, throttle_duration_sec=_HEALTH_LOG_PERIOD_S)


def _use(queued: QueuedFrame) -> int:
    """Which piece of its name an image shows."""
    return queued.match.use if queued.match is not None else 0


def _rig(config: InspectionNodeConfig) -> RigViews | None:
    """Views that help each other, where the parameters name a rig."""
    if not config.rig:
        return None
    return RigViews(
        read_rig(Path(config.rig), config.cameras),
        tolerance=config.trigger_tolerance,
        patience=config.trigger_timeout,
    )


def main(args: list[str] | None = None, load: Loader = load_inspector) -> int:
    """Console script; ``load`` makes an inspector of a bundle."""
    return run(lambda: InspectionNode(load), args, threads=4)


if __name__ == '__main__':
    sys.exit(main())
