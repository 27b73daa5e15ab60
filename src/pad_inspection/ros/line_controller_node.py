"""Hands each RejectSignal over to a line controller (PLC), by Modbus TCP or OPC UA.

    python -m pad_inspection.ros.line_controller_node --ros-args -p map_file:=plc_modbus.yaml

The map file says where the controller has each value; docs/plc.md is for those who program it.
The node asks the line to stop while the controller does not answer, and tells the controller to
reject while reject_node is not alive.
"""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path

from diagnostic_msgs.msg import DiagnosticArray
from pad_msgs.msg import RejectSignal, StopRequest
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy
from std_msgs.msg import Header
from std_srvs.srv import Trigger

from pad_inspection.ros import conversions, interfaces, parameters
from pad_inspection.ros.diagnostics import status
from pad_inspection.ros.liveliness import LivelinessWatch
from pad_inspection.ros.plc.handover import Handed, Handover
from pad_inspection.ros.plc.link import make_link
from pad_inspection.ros.plc.variable_map import read_map
from pad_inspection.ros.runner import run

# How often it is looked whether the controller or reject_node is lost, s.
_CHECK_S = 0.1
# On leaving, waiting verdicts still get this long, s.
_FINISH_S = 2.0


class LineControllerNode(Node):
    """See the module's text."""

    def __init__(self):
        super().__init__('line_controller_node')
        parameters.declare(self, 'line_controller_node')
        config = parameters.read_own(self, 'line_controller_node')
        if not config.map_file:
            raise ValueError("parameter 'map_file' is empty, wanted a YAML file (docs/plc.md)")
        self.finished: int | None = None
        self._config = config
        variables = read_map(Path(config.map_file), config.endpoint)
        self._endpoint = variables.endpoint
        self._handover = Handover(
            make_link(variables, config.request_timeout),
            variables,
            config,
            on_reset=self._on_reset,
            on_error=self._on_error,
        )
        self._fault = ''
        self._told = (False, False)
        self._started_ns = self.get_clock().now().nanoseconds
        self._stops: dict[str, StopRequest] = {}
        self._publish_and_subscribe()
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(_CHECK_S, self._check, clock=steady)
        self.create_timer(config.diagnostics_period, self._on_diagnostics, clock=steady)
        self._reset_stop = self.create_client(Trigger, 'reject_node/reset_stop')
        self._wake, self._ending = threading.Event(), threading.Event()
        self._worker = threading.Thread(target=self._work, name='handover', daemon=True)
        self._publish_stop()
        self._worker.start()

    def _publish_and_subscribe(self) -> None:
        """Topics."""
        stop = interfaces.STOP_REQUEST
        self._stop = self.create_publisher(StopRequest, stop.name, interfaces.qos(stop))
        self._diagnostics = self.create_publisher(
            DiagnosticArray, interfaces.DIAGNOSTICS.name, interfaces.qos(interfaces.DIAGNOSTICS)
        )
        self.create_subscription(StopRequest, stop.name, self._on_stop, interfaces.qos(stop))
        profile = interfaces.qos(interfaces.REJECT_SIGNAL)
        # signals that were sent while this node was away count too
        profile.durability = DurabilityPolicy.TRANSIENT_LOCAL
        subscription = self.create_subscription(
            RejectSignal, interfaces.REJECT_SIGNAL.name, self._on_signal, profile
        )
        self._watch = LivelinessWatch(self, interfaces.REJECT_SIGNAL, subscription)

    def close(self) -> None:
        """Hand over what waits, for a moment; then tell the controller that nothing will come."""
        self._ending.set()
        self._wake.set()
        self._worker.join(
            _FINISH_S + self._config.request_timeout * 10 + self._config.retry_period
        )

    def _work(self) -> None:
        """The thread that talks to the controller."""
        try:
            while not self._ending.is_set():
                self._wake.wait(self._handover.step())
                self._wake.clear()
            end = time.monotonic() + _FINISH_S
            while self._handover.connected and len(self._handover) and time.monotonic() < end:
                time.sleep(self._handover.step())
            self._handover.close()
        except Exception as error:
            # without this thread the controller sees no heartbeat, and rejects
            self.get_logger().fatal(f'handover failed: {type(error).__name__}: {error}')
            self.finished = 1

    # ---- what arrives ------------------------------------------------------------------------

    def _on_signal(self, message: RejectSignal) -> None:
        """Queue a verdict."""
        if not message.sequence:
            self.get_logger().error(
                f'signal on {message.object_id!r} has no sequence: it cannot be handed over, the '
                'controller must reject the piece',
                throttle_duration_sec=5.0,
            )
            self._handover.counts['signals without sequence'] += 1
            return
        self._handover.put(
            Handed(
                message.sequence,
                message.object_id,
                message.reject,
                message.verdict,
                message.reason,
                float(message.anomaly_score),
                message.num_views,
                message.num_judged,
                time.monotonic() + self._lifetime(message),
                conversions.stamp_to_ns(message.decided_at) < self._started_ns,
            )
        )
        self._wake.set()

    def _lifetime(self, message: RejectSignal) -> float:
        """How long a pass is worth handing over from now, s."""
        now_ns = self.get_clock().now().nanoseconds
        left = self._config.verdict_lifetime
        decided_ns = conversions.stamp_to_ns(message.decided_at)
        if decided_ns:
            left -= max(0, now_ns - decided_ns) / 1e9
        valid_ns = conversions.stamp_to_ns(message.valid_until)
        return min(left, (valid_ns - now_ns) / 1e9) if valid_ns else left

    def _on_stop(self, message: StopRequest) -> None:
        """Another node asks for a stop, or takes it back."""
        if message.source == self.get_fully_qualified_name():
            return
        self._stops[message.source] = message
        self._handover.stop = any(request.stop for request in self._stops.values())
        self._wake.set()

    # ---- what is found -----------------------------------------------------------------------

    def _check(self) -> None:
        """Look whether controller and reject_node can be relied on."""
        self._handover.trusted = self._watch.lost_since is None and not self._ending.is_set()
        self._fault = self._handover.fault
        # a fault may be found before the first attempt to connect has told its cause
        state = (bool(self._fault), bool(self._fault and self._handover.last_error))
        if state != self._told:
            self._told = state
            self._publish_stop()

    def _publish_stop(self) -> None:
        """Tell whether the line should stop because of the controller."""
        if self._fault:
            self.get_logger().error(f'stop of the line asked for: {self._fault}')
        else:
            self.get_logger().info('no stop asked for')
        cause = StopRequest.CAUSE_CONTROLLER if self._fault else StopRequest.CAUSE_NONE
        self._stop.publish(
            StopRequest(
                header=Header(stamp=self.get_clock().now().to_msg()),
                source=self.get_fully_qualified_name(),
                stop=bool(self._fault),
                cause=cause,
                message=self._fault,
            )
        )

    def _on_reset(self) -> None:
        """The controller takes the stop back."""
        if self._reset_stop.service_is_ready():
            self._reset_stop.call_async(Trigger.Request())
        else:
            self.get_logger().error('reset_stop: reject_node does not answer')

    def _on_error(self, text: str) -> None:
        self.get_logger().warning(text, throttle_duration_sec=5.0)

    def _on_diagnostics(self) -> None:
        """Connection, counters, faults."""
        handover = self._handover
        values = {name: str(count) for name, count in sorted(handover.counts.items())}
        values['endpoint'] = self._endpoint
        values['connected'] = str(handover.connected)
        values['waiting'] = str(len(handover))
        values['trusted'] = str(handover.trusted)
        values['stop requested'] = '; '.join(r.message for r in self._stops.values() if r.stop)
        texts = [self._fault] if self._fault else []
        if not handover.trusted:
            texts.append('reject_node is not alive')
        text = '; '.join(texts)
        self._diagnostics.publish(status(self, 'line controller', text, values, error=bool(texts)))


def main(args: list[str] | None = None) -> int:
    """Console script."""
    return run(LineControllerNode, args, threads=1)


if __name__ == '__main__':
    sys.exit(main())
