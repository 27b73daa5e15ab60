"""Fuses the results of all views of a piece into exactly one RejectSignal, pass or reject.

    python -m pad_inspection.ros.reject_node --ros-args --params-file config/reject.yaml

Needs no model and no torch: thresholds travel in the results. A piece whose views do not all come
in time for the gate is rejected. With ``log_dir`` every verdict is stored, and what was open when
the node died is taken up by the next one.
"""

from __future__ import annotations

import sqlite3
import sys
import time
from collections.abc import Callable
from pathlib import Path

from diagnostic_msgs.msg import DiagnosticArray
from pad_msgs.msg import InspectionResultArray, ObjectTrigger, RejectSignal, StopRequest
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.clock import Clock, ClockType
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy
from std_msgs.msg import Header
from std_srvs.srv import Trigger

from pad_inspection.decision import StopRule
from pad_inspection.ros import conversions, interfaces, parameters
from pad_inspection.ros.diagnostics import status
from pad_inspection.ros.executor import QuickCallbackGroup
from pad_inspection.ros.liveliness import LivelinessWatch
from pad_inspection.ros.object_tracker import Decision, ObjectTracker, Piece
from pad_inspection.ros.reject_pictures import RejectPictures
from pad_inspection.ros.runner import run
from pad_inspection.ros.verdict_log import VerdictLog

# It is looked whose time is over when the next deadline comes, at least and at most so often, s.
_SOONEST_S, _LATEST_S = 0.001, 0.2
# A process that ends takes with it what was not delivered yet, s.
_FLUSH_S = 3.0
# What was sent while this node was away arrives within this time after its start, s.
_HISTORY_S = 20.0
# Time between the log's housekeepings, s.
_MAINTENANCE_S = 2.0
# A signal this much behind its deadline is counted as late, s.
_LATE_S = 0.02
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
        if not config.cameras:
            raise ValueError("parameter 'cameras' is empty, wanted at least one name")
        self._config = config
        self._tracker = ObjectTracker(
            config, parameters.read_decision(self), on_change=self._save_open
        )
        self._stop_rule = StopRule(config.stop_after_rejects, config.stop_after_undetermined)
        self._continues = False
        self._log = self._open_log()
        # never repeats after a restart without a log either: fewer than one piece a second pass
        self._sequence = int(time.time()) if self._log is None else self._log.last_sequence()
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
        if self._log is not None:
            self._take_over(self._log)
        self._publish_stop()

    # ---- set-up ------------------------------------------------------------------------------

    def _open_log(self) -> VerdictLog | None:
        """The verdict log, None when there is none."""
        config = self._config
        if not config.log_dir:
            return None
        log = VerdictLog(
            Path(config.log_dir),
            max_verdicts=config.log_max_verdicts,
            max_pictures=config.log_max_pictures,
        )
        # a new log has no gap to fill: what passed before is not its business; noted before
        # anybody can hear of this node, so that the next one knows
        self._continues = bool(log.state('started'))
        log.set_state('started', 'yes')
        if log.damaged is not None:
            self.get_logger().error(f'the verdict log was damaged; it is kept as {log.damaged}')
        return log

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
        callback: Callable = self._on_trigger if camera is None else self._on_results
        if history:
            profile.durability = DurabilityPolicy.TRANSIENT_LOCAL
            callback = self._on_past_trigger if camera is None else self._on_past_results
        return self.create_subscription(
            interfaces.message_class(topic.message),
            topic.of(camera or ''),
            callback,
            profile,
            callback_group=self._quick,
        )

    def _create_timer(self, period: float, callback: Callable[[], None]):
        """Timer of the steady clock, period in s."""
        return self.create_timer(period, callback, callback_group=self._quick, clock=self._steady)

    def _take_over(self, log: VerdictLog) -> None:
        """Go on where the last process ended."""
        config = self._config
        pieces = log.open_pieces()
        self._tracker.restore(pieces, log.recent(config.forget_after))
        for verdict in log.unsent():
            self._send(verdict.sequence, verdict.decided_ns, verdict.decision())
        self._stop_rule.cause, _, self._stop_rule.message = log.state('stop').partition(': ')
        if pieces:
            self.get_logger().warning(f'{len(pieces)} pieces were open when the last node ended')
        if self._continues:
            self._history = [
                self._subscribe(camera, history=True) for camera in (None, *config.cameras)
            ]
            self._history_timer = self._create_timer(_HISTORY_S, self._end_history)
        # no signal waits for the disk
        self.create_timer(
            _MAINTENANCE_S,
            self._maintain_log,
            callback_group=MutuallyExclusiveCallbackGroup(),
            clock=self._steady,
        )
        if config.log_max_pictures:
            self._pictures = RejectPictures(self, config.cameras, log, config.log_picture_px)

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
        if self._log is not None:
            self._log.close()

    # ---- what arrives ------------------------------------------------------------------------

    def _is_past(self, object_id: str, stamp_ns: int, away: float | None) -> bool:
        """Whether history tells of a piece that the last node has decided."""
        if away is None or self._log is None:
            return False
        return self._tracker.is_decided(object_id) or self._log.was_decided(object_id, stamp_ns)

    def _on_trigger(self, message: ObjectTrigger, away: float | None = None) -> None:
        """A piece is exposed; ``away``: this was so many seconds ago, before this node started."""
        if not message.object_id:
            self.get_logger().warning(
                'trigger without object_id ignored', throttle_duration_sec=5.0
            )
            return
        stamp_ns = conversions.stamp_to_ns(message.header.stamp)
        if self._is_past(message.object_id, stamp_ns, away):
            return
        age = away or 0.0
        if self._config.synchronized_stamps:
            age = max(age, (self.get_clock().now().nanoseconds - stamp_ns) / 1e9)
        p = message.position
        self._publish(
            self._tracker.on_trigger(
                message.object_id,
                stamp_ns,
                message.cameras,
                message.expected_views,
                (p.x, p.y, p.z),
                age,
                restored=away is not None,
            )
        )

    def _on_results(self, message: InspectionResultArray, away: float | None = None) -> None:
        """An image was inspected; ``away``: as above."""
        for result in message.results:
            stamp_ns = conversions.stamp_to_ns(result.header.stamp)
            if self._is_past(result.object_id, stamp_ns, away):
                continue
            duration = result.processing_time
            self._publish(
                self._tracker.on_result(
                    result.object_id,
                    stamp_ns,
                    conversions.view_result_of_message(result),
                    result.object_threshold,
                    (away or 0.0) + duration.sec + duration.nanosec / 1e9,
                    restored=away is not None,
                )
            )

    def _on_past_trigger(self, message: ObjectTrigger, info) -> None:
        self._on_trigger(message, _seconds_since(info))

    def _on_past_results(self, message: InspectionResultArray, info) -> None:
        self._on_results(message, _seconds_since(info))

    def _on_time(self) -> None:
        self._publish(self._tracker.on_time(self._lost_since()))

    def _lost_since(self) -> dict[str, float]:
        """Cameras that no living inspection node serves, and since when, monotonic s."""
        found = {camera: watch.lost_since for camera, watch in self._watches.items()}
        return {camera: since for camera, since in found.items() if since is not None}

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
        """Store and send one signal for each decided piece; look again when the next is due."""
        for decision in decisions:
            self._sequence += 1
            decided_ns = self.get_clock().now().nanoseconds
            self._store(self._sequence, decided_ns, decision)
            self._send(self._sequence, decided_ns, decision)
            # pieces of the past say nothing about how the line runs now
            if not decision.restored and self._stop_rule.update(decision.verdict):
                self._publish_stop()
        wait = min(max(self._tracker.seconds_to_next(), _SOONEST_S), _LATEST_S)
        self._timer.timer_period_ns = int(wait * 1e9)
        self._timer.reset()

    def _send(self, sequence: int, decided_ns: int, decision: Decision) -> None:
        """Send one signal."""
        verdict = decision.verdict
        self._signals.publish(self._signal(sequence, decided_ns, decision))
        self._logged(lambda log: log.mark_sent(sequence))
        if verdict.reject and self._pictures is not None:
            self._pictures.want(sequence, decision)
        text = f'{decision.object_id}: {"reject" if verdict.reject else "pass"} '
        text += f'({verdict.verdict.name}, {verdict.reason.name}: {verdict.message})'
        if decision.seconds_late > _LATE_S and not decision.restored:
            self._tracker.counts['late signals'] += 1
            text += f'; {decision.seconds_late:.3f} s too late'
        self.get_logger().info(text)

    def _signal(self, sequence: int, decided_ns: int, decision: Decision) -> RejectSignal:
        """Message of a decision."""
        config, verdict = self._config, decision.verdict
        x, y, z = decision.position
        signal = RejectSignal(
            header=Header(
                stamp=conversions.stamp_of_ns(decision.stamp_ns),
                frame_id=interfaces.CONVEYOR_FRAME,
            ),
            object_id=decision.object_id,
            reject=verdict.reject,
            verdict=int(verdict.verdict),
            reason=int(verdict.reason),
            message=verdict.message,
            anomaly_score=float(verdict.score),
            threshold=float(decision.threshold),
            num_views=verdict.num_views,
            num_judged=verdict.num_judged,
            inspection_ids=list(decision.inspection_ids),
            sequence=sequence % 2**32,
            decided_at=conversions.stamp_of_ns(decided_ns),
        )
        signal.position.x, signal.position.y, signal.position.z = float(x), float(y), float(z)
        if config.signal_lifespan > 0:
            valid_ns = decided_ns + int(config.signal_lifespan * 1e9)
            signal.valid_until = conversions.stamp_of_ns(valid_ns)
        if config.belt_speed > 0 and x == x:
            travel_ns = int((config.gate_position - x) / config.belt_speed * 1e9)
            signal.gate_at = conversions.stamp_of_ns(max(0, decision.stamp_ns + travel_ns))
        return signal

    def _publish_stop(self) -> None:
        """Tell whether the line should stop, and remember it."""
        rule = self._stop_rule
        if rule.cause:
            self.get_logger().error(f'stop of the line asked for: {rule.message}')
        state = f'{rule.cause}: {rule.message}' if rule.cause else ''
        self._logged(lambda log: log.set_state('stop', state))
        self._stops.publish(
            StopRequest(
                header=Header(stamp=self.get_clock().now().to_msg()),
                source=self.get_fully_qualified_name(),
                stop=bool(rule.cause),
                cause=_CAUSES[rule.cause],
                message=rule.message,
            )
        )

    def _save_open(self, piece: Piece) -> None:
        self._logged(lambda log: log.save_open(piece))

    def _store(self, sequence: int, decided_ns: int, decision: Decision) -> None:
        self._logged(lambda log: log.add(sequence, decided_ns, decision))

    def _maintain_log(self) -> None:
        self._logged(lambda log: log.maintain())

    def _logged(self, action: Callable[[VerdictLog], None]) -> None:
        """Do something with the log; a full disk must not keep signals back."""
        if self._log is None:
            return
        try:
            action(self._log)
        except (sqlite3.Error, OSError) as error:
            self._tracker.counts['log failures'] += 1
            self.get_logger().error(
                f'the verdict log cannot be written: {error}', throttle_duration_sec=10.0
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
        if self._pictures is not None:
            values['picture failures'] = str(self._pictures.failures)
        decided = counts['passed'] + counts['rejected']
        texts = []
        if counts['undetermined'] > 0.5 * decided:
            texts.append(f'{counts["undetermined"]} of {decided} pieces could not be judged')
        if counts['late signals']:
            texts.append(f'{counts["late signals"]} signals were too late for the gate')
        if counts['log failures']:
            texts.append('the verdict log cannot be written')
        faults = [self._stop_rule.message] if self._stop_rule.cause else []
        if lost:
            faults.append(f'no inspection node of {", ".join(lost)} is alive')
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
