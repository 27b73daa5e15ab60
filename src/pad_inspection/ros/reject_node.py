"""Fuses the results of all views of a piece into exactly one RejectSignal, pass or reject.

    python -m pad_inspection.ros.reject_node --ros-args --params-file config/reject.yaml

Needs no model and no torch: thresholds travel in the results. A piece whose views do not all come
in time for the gate is rejected. With ``log_dir`` every verdict is stored, after its signal went
out, and what was open when the node died is taken up by the next one.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from pad_msgs.msg import InspectionResultArray, ObjectTrigger, RejectSignal, StopRequest
from rclpy.clock import Clock, ClockType
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy
from std_msgs.msg import Header
from std_srvs.srv import Trigger

from pad_inspection.decision import ObjectVerdict, StopRule
from pad_inspection.ros import conversions, interfaces, parameters
from pad_inspection.ros.diagnostics import status
from pad_inspection.ros.executor import QuickCallbackGroup
from pad_inspection.ros.line_memory import LineMemory
from pad_inspection.ros.liveliness import LivelinessWatch
from pad_inspection.ros.message_age import MessageAge
from pad_inspection.ros.node_clock import NodeClock
from pad_inspection.ros.object_tracker import ObjectTracker
from pad_inspection.ros.reject_pictures import RejectPictures
from pad_inspection.ros.runner import run
from pad_inspection.ros.signal_messages import fill_verdict, signal_message, stripped
from pad_inspection.ros.throttle import Throttle
from pad_inspection.ros.tracked_pieces import Decision
from pad_inspection.ros.trigger_checks import id_fault, trigger_fault
from pad_inspection.text_safety import MAX_TEXT_LENGTH, printable

# It is looked whose time is over when the next deadline comes, at least and at most so often, s.
_SOONEST_S, _LATEST_S = 0.001, 0.2
# The same where deadlines are in simulated time, which runs as fast as it likes.
_SIMULATED_S = 0.01
# A process that ends takes with it what was not delivered yet, s.
_FLUSH_S = 3.0
# What was sent while this node was away arrives within this time after its start, s.
_HISTORY_S = 20.0
# A signal this much behind its deadline is counted as late, s.
_LATE_S = 0.02
_LOG_PERIOD_S = 5.0
_CAUSES = {
    '': StopRequest.CAUSE_NONE,
    'rejects': StopRequest.CAUSE_REJECTS,
    'undetermined': StopRequest.CAUSE_UNDETERMINED,
}


class RejectNode(Node):
    """See the module's text."""

    def __init__(self):
        super().__init__('reject_node')
        parameters.declare(self, 'reject_node')
        config = parameters.read_own(self, 'reject_node')
        self._config = config
        self.finished: int | None = None
        self._clock_of_line = NodeClock(self)
        self._age = MessageAge(self._clock_of_line)
        self._throttle = Throttle(_LOG_PERIOD_S, self.get_logger())
        self._memory = self._open_memory()
        self._tracker = ObjectTracker(
            config,
            parameters.read_decision(self),
            self._clock_of_line.now,
            on_change=lambda piece: self._remembered(lambda memory: memory.save_open(piece)),
        )
        self._stop_rule = StopRule(config.stop_after_rejects, config.stop_after_undetermined)
        # never repeats after a restart without a log either: fewer than one piece a second pass
        self._sequence = 0 if self._memory is None else self._memory.last_sequence
        self._sequence = self._sequence or int(time.time())
        # a jump of the system's clock must not hold up deadlines
        self._steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._quick = QuickCallbackGroup()
        self._make_publishers()
        self._results = {camera: self._subscribe(camera) for camera in config.cameras}
        self._subscribe(None)
        self._watches = {
            camera: LivelinessWatch(self, interfaces.RESULTS, subscription)
            for camera, subscription in self._results.items()
        }
        self._pictures: RejectPictures | None = None
        self._history: list = []
        self._timer = self._create_timer(_LATEST_S, self._on_time)
        self._create_timer(config.diagnostics_period, self._on_diagnostics)
        self.create_service(
            Trigger,
            interfaces.RESET_STOP_SERVICE,
            self._on_reset_stop,
            callback_group=self._quick,
        )
        if self._memory is not None:
            self._take_over(self._memory)
        self._publish_stop()

    # ---- set-up ------------------------------------------------------------------------------

    def _open_memory(self) -> LineMemory | None:
        """What outlives this node; None where nothing does."""
        if not self._config.log_dir:
            return None
        memory = LineMemory(self._config, simulated=self._clock_of_line.is_simulated)
        for fault in memory.faults():
            self.get_logger().error(f'{fault}; signals go on')
        return memory

    def _make_publishers(self) -> None:
        """Signals, stop requests, diagnostics."""
        signal_qos = interfaces.offered_qos(interfaces.REJECT_SIGNAL)
        if self._config.signal_lifespan > 0:
            signal_qos.lifespan = Duration(seconds=self._config.signal_lifespan)
        self._signals = self.create_publisher(
            RejectSignal, interfaces.REJECT_SIGNAL.name, signal_qos
        )
        self._stops = self.create_publisher(
            StopRequest, interfaces.STOP_REQUEST.name, interfaces.qos(interfaces.STOP_REQUEST)
        )
        self._diagnostics = self.create_publisher(
            DiagnosticArray, interfaces.DIAGNOSTICS.name, interfaces.qos(interfaces.DIAGNOSTICS)
        )

    def _subscribe(self, camera: str | None, *, history: bool = False):
        """Subscription of a camera's results, or of the triggers (camera None).

        Args:
            camera: name or None.
            history: of what was sent while this node was away; only publishers that keep history
                are heard, so the other kind of subscription is needed too.
        """
        topic = interfaces.OBJECT_TRIGGER if camera is None else interfaces.RESULTS
        profile = interfaces.qos(topic)
        if history:
            profile.durability = DurabilityPolicy.TRANSIENT_LOCAL

        def take(message, info) -> None:
            away = _seconds_since(info) if history else None
            try:
                if camera is None:
                    self._on_trigger(message, info, away)
                else:
                    self._on_results(camera, message, info, away)
            except Exception as error:  # one message must not end the line
                self._tracker.counts['messages that failed'] += 1
                text = f'{topic.of(camera or "")}: {type(error).__name__}: {error}'
                self._throttle.error('failed', printable(text, 500))

        return self.create_subscription(
            interfaces.message_class(topic.message),
            topic.of(camera or ''),
            take,
            profile,
            callback_group=self._quick,
        )

    def _create_timer(self, period: float, callback: Callable[[], None]):
        """Timer of the steady clock, period in s."""
        return self.create_timer(period, callback, callback_group=self._quick, clock=self._steady)

    def _take_over(self, memory: LineMemory) -> None:
        """Go on where the last process ended."""
        config = self._config
        pieces = memory.open_pieces()
        decided = memory.decided(self._clock_of_line.now(), config.forget_after)
        self._tracker.restore(pieces, decided)
        for sequence, decided_ns, decision in memory.unsent():
            self._send(decision, sequence, decided_ns)
        self._stop_rule.cause, _, self._stop_rule.message = memory.stop.partition(': ')
        if pieces:
            self.get_logger().warning(f'{len(pieces)} pieces were open when the last node ended')
        # a new log has no gap to fill: what passed before is not its business
        if not memory.is_new:
            self._history = [
                self._subscribe(camera, history=True) for camera in (None, *config.cameras)
            ]
            self._history_timer = self._create_timer(_HISTORY_S, self._end_history)
        if config.log_max_pictures:
            self._pictures = RejectPictures(
                self, config.cameras, memory.writer, config.log_picture_px
            )

    def _end_history(self) -> None:
        """From now on the live subscriptions say all."""
        self._history_timer.cancel()
        for subscription in self._history:
            self.destroy_subscription(subscription)
        self._history = []

    def close(self) -> None:
        """Reject the pieces that are still open; nobody else will."""
        self._publish(self._tracker.on_shutdown())
        self._signals.wait_for_all_acked(Duration(seconds=_FLUSH_S))
        if self._pictures is not None:
            self._pictures.store()
        if self._memory is not None:
            self._memory.close()

    # ---- what arrives ------------------------------------------------------------------------

    def _is_past(self, object_id: str, stamp_ns: int, away: float | None) -> bool:
        """Whether history tells of a piece that the last node has decided."""
        if away is None or self._memory is None:
            return False
        return self._tracker.is_decided(object_id, stamp_ns) or self._memory.was_decided(
            object_id, stamp_ns
        )

    def _refuse_id(self, what: str, object_id: str) -> bool:
        """Whether an object_id cannot be used; a piece of that name gets no signal."""
        fault = id_fault(object_id)
        if fault:
            self._tracker.counts[f'{what} with a bad object_id'] += 1
            text = f'{what} ignored: {fault}'
            self._throttle.error(what, text)
        return bool(fault)

    def _on_trigger(self, message: ObjectTrigger, info, away: float | None) -> None:
        """A piece is exposed; ``away``: this was so many seconds ago, before this node started."""
        if self._refuse_id('trigger', message.object_id):
            return
        stamp_ns = conversions.stamp_to_ns(message.header.stamp)
        if self._is_past(message.object_id, stamp_ns, away):
            return
        age = self._age.of(info) if away is None else away
        if self._config.synchronized_stamps:
            age = max(age, (self.get_clock().now().nanoseconds - stamp_ns) / 1e9)
        p = message.position
        position = (p.x, p.y, p.z)
        fault = trigger_fault(message)
        if fault:
            # the piece is there: it gets its signal, which will not be a pass
            position = (math.nan,) * 3
            self._tracker.counts['bad triggers'] += 1
            text = f'trigger of {printable(message.object_id)} refused: {fault}'
            self._throttle.error('bad trigger', text)
        self._publish(
            self._tracker.on_trigger(
                message.object_id,
                stamp_ns,
                () if fault else message.cameras,
                0 if fault else message.expected_views,
                position,
                age,
                restored=away is not None,
                fault=fault,
            )
        )

    def _on_results(
        self, camera: str, message: InspectionResultArray, info, away: float | None
    ) -> None:
        """An image was inspected; ``away``: as above."""
        since_arrival = self._age.of(info) if away is None else away
        for result in message.results:
            stamp_ns = conversions.stamp_to_ns(result.header.stamp)
            if result.object_id and self._refuse_id('result', result.object_id):
                continue
            if result.camera_name != camera:
                self._tracker.counts['results of another camera'] += 1
                text = f'result of {result.camera_name!r} on the topic of {camera} ignored'
                self._throttle.error('camera', printable(text, 200))
                continue
            if self._is_past(result.object_id, stamp_ns, away):
                continue
            duration = result.processing_time
            model = (result.object_type, result.model_id, result.model_version)
            self._publish(
                self._tracker.on_result(
                    result.object_id,
                    stamp_ns,
                    conversions.view_result_of_message(result),
                    result.object_threshold,
                    since_arrival + duration.sec + duration.nanosec / 1e9,
                    restored=away is not None,
                    model=model if result.model_id else (),
                    expected_views=result.expected_views,
                )
            )

    def _on_time(self) -> None:
        self._note_conflicts()
        self._publish(self._tracker.on_time(self._lost_since()))

    def _note_conflicts(self) -> None:
        """See who else publishes what only one node may: then nothing passes."""
        alive = {f'results of {name}': watch.alive for name, watch in self._watches.items()}
        # with this one; one that was killed counts until the middleware gives it up
        alive['reject signals'] = self.count_publishers(interfaces.REJECT_SIGNAL.name)
        for what, count in alive.items():
            if count > 1 and what not in self._tracker.conflicts:
                text = f'{count} nodes publish the {what}, wanted 1: nothing passes meanwhile'
                self._tracker.conflicts[what] = text
                self.get_logger().error(text)
            elif count <= 1:
                self._tracker.conflicts.pop(what, None)

    def _lost_since(self) -> dict[str, float]:
        """Cameras that no living inspection node serves, and since when by the clock, s."""
        now, monotonic = self._clock_of_line.now(), time.monotonic()
        found = {camera: watch.lost_since for camera, watch in self._watches.items()}
        return {
            camera: now - (monotonic - since)
            for camera, since in found.items()
            if since is not None
        }

    def _on_reset_stop(self, request, response):
        """The operator, or the line controller, lets the line run again."""
        del request
        response.success = True
        response.message = self._stop_rule.message or 'no stop was asked for'
        self._stop_rule.reset()
        self._publish_stop()
        return response

    # ---- what is sent ------------------------------------------------------------------------

    def _publish(self, decisions: list[Decision]) -> None:
        """Send one signal for each decided piece; look again when the next is due."""
        for decision in decisions:
            self._sequence += 1
            try:
                verdict = self._send(decision, self._sequence, self.get_clock().now().nanoseconds)
            except Exception as error:  # a signal that is not out must not go unnoticed
                self.finished = 1
                text = f'{decision.object_id}: {type(error).__name__}: {error}'
                self.get_logger().fatal(
                    f'a signal could not be sent, the node ends: {printable(text, 500)}'
                )
                continue
            # pieces of the past say nothing about how the line runs now
            if not decision.restored and self._stop_rule.update(verdict):
                self._publish_stop()
        latest = _SIMULATED_S if self._clock_of_line.is_simulated else _LATEST_S
        wait = min(max(self._tracker.seconds_to_next(), _SOONEST_S), latest)
        self._timer.timer_period_ns = int(wait * 1e9)
        self._timer.reset()

    def _send(self, decision: Decision, sequence: int, decided_ns: int) -> ObjectVerdict:
        """Send one signal, then store it; gives the verdict that was told."""
        try:
            signal = signal_message(self._config, sequence, decided_ns, decision)
        except Exception as error:  # the piece must get its signal
            text = f'its signal could not be filled in: {type(error).__name__}: {error}'
            self.get_logger().error(printable(f'{decision.object_id}: {text}', MAX_TEXT_LENGTH))
            decision = stripped(decision, text)
            signal = signal_message(self._config, sequence, decided_ns, decision)
        told = self._tracker.confirm(decision)
        verdict = told.verdict
        if verdict is not decision.verdict:
            fill_verdict(signal, verdict)
        logged = self._remembered(lambda memory: memory.before_signal(sequence, decided_ns, told))
        self._signals.publish(signal)
        self._remembered(lambda memory: memory.after_signal(logged))
        if verdict.reject and self._pictures is not None:
            self._pictures.want(sequence, told)
        text = f'{printable(decision.object_id)}: {"reject" if verdict.reject else "pass"} '
        text += f'({verdict.verdict.name}, {verdict.reason.name}: {signal.message})'
        if told.seconds_late > _LATE_S and not decision.restored:
            self._tracker.counts['late signals'] += 1
            text += f'; {told.seconds_late:.3f} s too late'
        self.get_logger().info(text)
        return verdict

    def _remembered(self, action: Callable[[LineMemory], Any]) -> Any:
        """Do something with what outlives the node; a fault there keeps no signal back."""
        if self._memory is None:
            return None
        try:
            return action(self._memory)
        except Exception as error:  # of the disk, of what is written
            self._tracker.counts['journal failures'] += 1
            text = f'the journal cannot be written: {type(error).__name__}: {error}'
            self._throttle.error('journal', printable(text, 500))
            return None

    def _publish_stop(self) -> None:
        """Tell whether the line should stop, and remember it."""
        rule = self._stop_rule
        if rule.cause:
            self.get_logger().error(f'stop of the line asked for: {rule.message}')
        state = f'{rule.cause}: {rule.message}' if rule.cause else ''
        self._remembered(lambda memory: memory.set_stop(state))
        self._stops.publish(
            StopRequest(
                header=Header(stamp=self.get_clock().now().to_msg()),
                source=self.get_fully_qualified_name(),
                stop=bool(rule.cause),
                cause=_CAUSES[rule.cause],
                message=rule.message,
            )
        )

    # ---- diagnostics -------------------------------------------------------------------------

    def _on_diagnostics(self) -> None:
        """Counters and faults."""
        counts, lost = self._tracker.counts, sorted(self._lost_since())
        values = {name: str(count) for name, count in sorted(counts.items())}
        values['open'] = str(len(self._tracker))
        values['last sequence'] = str(self._sequence)
        values['without inspection node'] = ', '.join(lost)
        values['stop requested'] = self._stop_rule.message
        decided = counts['passed'] + counts['rejected']
        texts = []
        if counts['undetermined'] > 0.5 * decided:
            texts.append(f'{counts["undetermined"]} of {decided} pieces could not be judged')
        if counts['journal failures']:
            texts.append('the journal cannot be written')
        if counts['late signals']:
            texts.append(f'{counts["late signals"]} signals were too late for the gate')
        faults = [self._stop_rule.message] if self._stop_rule.cause else []
        faults += self._tracker.conflicts.values()
        if lost:
            faults.append(f'no inspection node of {", ".join(lost)} is alive')
        if self._memory is not None:
            values |= {name: str(n) for name, n in sorted(self._memory.counts().items())}
            texts += self._memory.faults()
        text = '; '.join(faults + texts)
        self._diagnostics.publish(
            status(self, 'decisions', text, values, warn=bool(texts), error=bool(faults))
        )


def _seconds_since(info) -> float:
    """Age of a message by the clocks of its sender and of this computer, s."""
    return max(0.0, (time.time_ns() - info['source_timestamp']) / 1e9)


def main(args: list[str] | None = None) -> int:
    """Console script."""
    return run(RejectNode, args, threads=2)


if __name__ == '__main__':
    sys.exit(main())
