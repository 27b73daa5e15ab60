"""Fuses the results of all views of a piece into exactly one RejectSignal, pass or reject.

    python -m pad_inspection.ros.reject_node --ros-args --params-file config/reject.yaml

Needs no model and no torch: thresholds travel in the results. A piece whose views do not all come
in time is rejected.
"""

from __future__ import annotations

import sys

from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import Point
from pad_msgs.msg import InspectionResultArray, ObjectTrigger, RejectSignal
from rclpy.duration import Duration
from rclpy.node import Node
from std_msgs.msg import Header

from pad_inspection.ros import conversions, interfaces, parameters
from pad_inspection.ros.diagnostics import status
from pad_inspection.ros.object_tracker import Decision, ObjectTracker
from pad_inspection.ros.runner import run

# How often it is checked whose time is over, as a share of object_timeout and in s at most.
_CHECK_SHARE, _CHECK_MAX_S = 0.1, 0.25
# A process that ends takes with it what was not delivered yet, s.
_FLUSH_S = 3.0


class RejectNode(Node):
    """See the module's text."""

    def __init__(self):
        super().__init__('reject_node')
        parameters.declare(self, 'reject_node')
        config = parameters.read_own(self, 'reject_node')
        if not config.cameras:
            raise ValueError("parameter 'cameras' is empty, wanted at least one name")
        self._config = config
        self._tracker = ObjectTracker(config, parameters.read_decision(self))
        signal_qos = interfaces.qos(interfaces.REJECT_SIGNAL)
        if config.signal_lifespan > 0:
            signal_qos.lifespan = Duration(seconds=config.signal_lifespan)
        self._signals = self.create_publisher(
            RejectSignal, interfaces.REJECT_SIGNAL.name, signal_qos
        )
        self._diagnostics = self.create_publisher(
            DiagnosticArray, interfaces.DIAGNOSTICS.name, interfaces.qos(interfaces.DIAGNOSTICS)
        )
        trigger = interfaces.OBJECT_TRIGGER
        self.create_subscription(
            ObjectTrigger, trigger.name, self._on_trigger, interfaces.qos(trigger)
        )
        results = interfaces.RESULTS
        for camera in config.cameras:
            self.create_subscription(
                InspectionResultArray,
                results.of(camera),
                self._on_results,
                interfaces.qos(results),
            )
        self.create_timer(min(_CHECK_MAX_S, _CHECK_SHARE * config.object_timeout), self._on_time)
        self.create_timer(config.diagnostics_period, self._publish_diagnostics)

    def close(self) -> None:
        """Reject the pieces that are still open; nobody else will."""
        self._publish(self._tracker.on_shutdown())
        self._signals.wait_for_all_acked(Duration(seconds=_FLUSH_S))

    def _on_trigger(self, message: ObjectTrigger) -> None:
        if not message.object_id:
            self.get_logger().warning('trigger without object_id ignored')
            return
        p = message.position
        self._publish(
            self._tracker.on_trigger(
                message.object_id,
                conversions.stamp_to_ns(message.header.stamp),
                message.cameras,
                message.expected_views,
                (p.x, p.y, p.z),
            )
        )

    def _on_results(self, message: InspectionResultArray) -> None:
        for result in message.results:
            self._publish(
                self._tracker.on_result(
                    result.object_id,
                    conversions.stamp_to_ns(result.header.stamp),
                    conversions.view_result_of_message(result),
                    result.object_threshold,
                )
            )

    def _on_time(self) -> None:
        self._publish(self._tracker.on_time())

    def _publish(self, decisions: list[Decision]) -> None:
        """Send one signal for each decided piece."""
        for decision in decisions:
            self._signals.publish(self._signal(decision))
            verdict = decision.verdict
            self.get_logger().info(
                f'{decision.object_id}: {"reject" if verdict.reject else "pass"} '
                f'({verdict.verdict.name}, {verdict.reason.name}: {verdict.message})'
            )

    def _signal(self, decision: Decision) -> RejectSignal:
        """Message of a decision."""
        verdict = decision.verdict
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
            position=Point(x=float(x), y=float(y), z=float(z)),
        )
        if self._config.signal_lifespan > 0:
            now = self.get_clock().now() + Duration(seconds=self._config.signal_lifespan)
            signal.valid_until = now.to_msg()
        return signal

    def _publish_diagnostics(self) -> None:
        counts = self._tracker.counts
        values = {name: str(count) for name, count in sorted(counts.items())}
        values['open'] = str(len(self._tracker))
        decided = counts['passed'] + counts['rejected']
        warn = decided > 0 and counts['undetermined'] > 0.5 * decided
        text = f'{counts["undetermined"]} of {decided} pieces could not be judged' if warn else ''
        self._diagnostics.publish(status(self, 'decisions', text, values, warn=warn))


def main(args: list[str] | None = None) -> int:
    """Console script."""
    return run(RejectNode, args, threads=1)


if __name__ == '__main__':
    sys.exit(main())
