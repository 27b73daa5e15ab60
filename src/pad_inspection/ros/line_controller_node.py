"""Hands each RejectSignal over to a line controller (PLC), by Modbus TCP or OPC UA.

    python -m pad_inspection.ros.line_controller_node --ros-args -p map_file:=plc_modbus.yaml

The map file says where the controller has each value; docs/plc.md is for those who program it.
The node asks the line to stop while the controller does not answer, and tells the controller to
reject while reject_node is not alive, or not alone. A signal that cannot be handed over stops the
line until ``reset_stop``.
"""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from pathlib import Path

from diagnostic_msgs.msg import DiagnosticArray
from pad_msgs.msg import RejectSignal, StopRequest
from rclpy.clock import Clock, ClockType
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy
from std_msgs.msg import Header
from std_srvs.srv import Trigger

from pad_inspection.ros import conversions, interfaces, parameters
from pad_inspection.ros.diagnostics import status
from pad_inspection.ros.liveliness import LivelinessWatch
from pad_inspection.ros.plc.handed import Handed
from pad_inspection.ros.plc.handover import Handover
from pad_inspection.ros.plc.link import make_link
from pad_inspection.ros.plc.variable_map import read_map
from pad_inspection.ros.runner import run

# How often it is looked whether the controller or reject_node is lost, s.
_CHECK_S = 0.1
# On leaving, waiting verdicts still get this long, s.
_FINISH_S = 2.0
# A message about a failure is delivered before the process ends, s.
_FLUSH_S = 1.0
# Texts of others are cut to this in ours.
_LONGEST_TEXT = 1000
# What may be counted without harm, but should not happen.
_ODDITIES = ('sequence numbers out of order', 'object ids that do not fit', 'absurd stamps')


class LineControllerNode(Node):
    """See the module's text."""

    def __init__(self):
        super().__init__('line_controller_node')
        parameters.declare(self, 'line_controller_node')
        config = parameters.read_own(self, 'line_controller_node')
        config.check_start()
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
        self._told = ('', False)
        self._started_ns = self.get_clock().now().nanoseconds
        # what other nodes ask a stop for, by their names
        self._stops: dict[str, str] = {}
        self._publish_and_subscribe()
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(_CHECK_S, self._check, clock=steady)
        self.create_timer(config.diagnostics_period, self._on_diagnostics, clock=steady)
        self._reset_stop = self.create_client(Trigger, 'reject_node/reset_stop')
        self.create_service(Trigger, interfaces.RESET_STOP_SERVICE, self._on_reset_service)
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
        except BaseException as error:
            # without this thread the controller sees no heartbeat, and rejects
            self._fault = f'handover failed: {type(error).__name__}: {error}'
            self.get_logger().fatal(self._fault)
            with contextlib.suppress(Exception):
                self._publish_stop()
                self._stop.wait_for_all_acked(Duration(seconds=_FLUSH_S))
            with contextlib.suppress(Exception):
                self._handover.close()
            self.finished = 1

    # ---- what arrives ------------------------------------------------------------------------

    def _on_signal(self, message: RejectSignal) -> None:
        """Queue a verdict."""
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
            age = (now_ns - decided_ns) / 1e9
            if age < -left:
                # nobody knows how old it is
                self._handover.counts['absurd stamps'] += 1
                return -1.0
            left -= max(0.0, age)
        valid_ns = conversions.stamp_to_ns(message.valid_until)
        return min(left, (valid_ns - now_ns) / 1e9) if valid_ns else left

    def _on_stop(self, message: StopRequest) -> None:
        """Another node asks for a stop, or takes it back."""
        if message.source == self.get_fully_qualified_name():
            return
        if message.stop:
            self._stops[message.source] = message.message[:_LONGEST_TEXT]
        else:
            self._stops.pop(message.source, None)
        self._handover.stop = bool(self._stops)
        self._wake.set()

    # ---- what is found -----------------------------------------------------------------------

    def _check(self) -> None:
        """Look whether controller and reject_node can be relied on."""
        alone = self._watch.alive == 1
        self._handover.trusted = alone and not self._ending.is_set()
        if self.finished is not None:
            # the fault of the thread that has ended stays
            return
        self._fault = self._handover.fault
        # a fault may be found before the first attempt to connect has told its cause; seconds in
        # its text do not make it another one
        kind = self._handover.refused or str(bool(self._fault))
        state = (kind, bool(self._fault and self._handover.last_error))
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
        self._handover.reset()
        if self._reset_stop.service_is_ready():
            self._reset_stop.call_async(Trigger.Request())
        else:
            self.get_logger().error('reset_stop: reject_node does not answer')

    def _on_reset_service(self, request, response):
        """The operator takes back the stop of this node."""
        del request
        response.success = True
        response.message = self._handover.reset() or 'no stop was asked for'
        self._wake.set()
        return response

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
        values['stop requested'] = '; '.join(self._stops.values())[:_LONGEST_TEXT]
        alive = self._watch.alive
        values['publishers of reject_signal'] = str(alive)
        faults = [self._fault] if self._fault else []
        if not alive:
            faults.append('reject_node is not alive')
        if alive > 1:
            faults.append(f'{alive} publishers of reject_signal are alive, wanted one')
        texts = [f'{handover.counts[n]} {n}' for n in _ODDITIES if handover.counts[n]]
        text = '; '.join(faults + texts)
        self._diagnostics.publish(
            status(self, 'line controller', text, values, warn=bool(texts), error=bool(faults))
        )


def main(args: list[str] | None = None) -> int:
    """Console script."""
    return run(LineControllerNode, args, threads=1)


if __name__ == '__main__':
    sys.exit(main())
