"""line_controller_node at a simulated PLC: numbers that collide, strangers, hostile signals."""

import math
import random
import subprocess
import sys
import time

from pad_msgs.msg import RejectSignal, StopRequest
from rclpy.qos import DurabilityPolicy
from std_srvs.srv import Trigger

from helpers.plc_servers import ModbusPlc
from pad_inspection.ros import conversions, interfaces

RESET = '/line_controller_node/reset_stop'
# The worker thread ends at the piece 'the end', as by a fault of our own.
DRIVER = """
import sys
from pad_inspection.ros import line_controller_node
from pad_inspection.ros.plc.handover import Handover

write = Handover._write_verdict

def end(self):
    if self._current().object_id == 'the end':
        raise SystemExit(0)
    write(self)

Handover._write_verdict = end
sys.exit(line_controller_node.main())
"""


class Signals:
    """Plays reject_node."""

    def __init__(self, line):
        self._publisher = line.publisher(interfaces.REJECT_SIGNAL)
        self.sequence = int(time.time())

    def send(self, object_id, *, reject=False, sequence=None, **values):
        if sequence is None:
            self.sequence += 1
            sequence = self.sequence
        verdict = 2 if reject else 1
        decided_at = conversions.stamp_of_ns(time.time_ns())
        given = {'verdict': verdict, 'decided_at': decided_at, 'sequence': sequence} | values
        self._publisher.publish(RejectSignal(object_id=object_id, reject=reject, **given))


def fault(line):
    """Text of the status on /diagnostics while it is an ERROR, else ''."""
    found = line.diagnostics('line_controller_node')
    return found.message if found is not None and found.level == b'\x02' else ''


def wait_ready(line, plc):
    line.wait(lambda: not plc.rejects_by_itself and not fault(line), 'ready')


def taken(plc):
    return {t.object_id: t.reject for t in plc.taken}


def test_no_signal_is_lost_behind_the_number_of_another_one(line):
    with ModbusPlc() as plc:
        signals = Signals(line)
        path = plc.write_map(line.path / 'map.yaml')
        line.start_line_controller(map_file=str(path), diagnostics_period=0.1)
        stops = line.received[interfaces.STOP_REQUEST.name]
        line.wait_connected()
        wait_ready(line, plc)

        # the REJECT of a second reject_node has the number of a PASS that the controller has
        signals.send('p1')
        line.wait(lambda: 'p1' in taken(plc), 'first signal')
        signals.send('p2', reject=True, sequence=signals.sequence)
        line.wait(lambda: plc.rejects_by_itself and plc.values['stop_request'], 'stop')
        line.wait(lambda: "'p2' was given to 'p1' too" in fault(line), 'diagnostics')
        line.wait(lambda: stops[-1].stop, 'stop request')
        assert stops[-1].cause == StopRequest.CAUSE_CONTROLLER and "'p2'" in stops[-1].message
        # the operator has looked: by the service
        assert "'p2'" in line.call(Trigger, RESET, Trigger.Request()).message
        wait_ready(line, plc)
        line.wait(lambda: not stops[-1].stop, 'end of the stop request')
        # ... and by the controller's own button
        signals.send('p3', sequence=0)
        line.wait(lambda: plc.rejects_by_itself and 'no sequence number' in fault(line), 'stop')
        plc.reset_stop = True
        wait_ready(line, plc)

        # somebody else publishes too, without signs of life
        profile = interfaces.qos(interfaces.REJECT_SIGNAL)
        profile.durability = DurabilityPolicy.TRANSIENT_LOCAL
        other = line.node.create_publisher(RejectSignal, interfaces.REJECT_SIGNAL.name, profile)
        wanted = '2 publishers of reject_signal are alive'
        line.wait(lambda: wanted in fault(line) and plc.rejects_by_itself, 'two publishers')
        line.node.destroy_publisher(other)
        wait_ready(line, plc)


def hostile(rng):
    """A signal that nobody should send."""
    stamp = conversions.stamp_of_ns(0)
    stamp.sec, stamp.nanosec = rng.choice([-(2**31), 2**31 - 1, 0]), rng.choice([0, 2**32 - 1])
    message = RejectSignal(
        object_id=rng.choice(['', 'x' * 100_000, 'a\n\x1b[31m\0', "'; DROP TABLE", 'ü' * 40]),
        reject=rng.random() < 0.3,
        verdict=rng.choice([0, 1, 2, 255]),
        reason=rng.choice([0, 65535]),
        anomaly_score=rng.choice([math.nan, math.inf, -math.inf, 3e38]),
        num_views=rng.choice([0, 2**32 - 1]),
        num_judged=rng.choice([0, 2**32 - 1]),
        sequence=rng.choice([0, 1, 2**31, 2**32 - 1, rng.randrange(2**32)]),
        decided_at=stamp,
        valid_until=stamp if rng.random() < 0.5 else conversions.stamp_of_ns(0),
    )
    message.position.x = math.inf
    return message


def test_hostile_signals_end_nothing_and_the_end_of_the_worker_is_told(line):
    with ModbusPlc() as plc:
        signals = Signals(line)
        path = plc.write_map(line.path / 'map.yaml')
        process = subprocess.Popen(
            [sys.executable, '-c', DRIVER, '--ros-args', '-p', f'map_file:={path}']
            + ['-p', 'diagnostics_period:=0.1'],
            env=line.graph.environment,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            stops = line.listen(interfaces.STOP_REQUEST)
            line.wait(lambda: stops, 'line_controller_node')
            wait_ready(line, plc)
            rng = random.Random(1)
            for _ in range(300):
                signals._publisher.publish(hostile(rng))
                line.spin(0.002)
            for nanosec in (0, 2**32 - 1):
                # an age that nobody knows is not a young one
                absurd = conversions.stamp_of_ns(0)
                absurd.sec, absurd.nanosec = 2**31 - 1, nanosec
                signals.send(f'from the future {nanosec}', decided_at=absurd)
            signals.send('honest')
            line.wait(lambda: 'honest' in taken(plc), 'honest signal')
            assert process.poll() is None
            assert not taken(plc)['honest']
            assert taken(plc)['from the future 0'] and taken(plc)['from the future 4294967295']
            assert plc.rejects_by_itself and fault(line)
            line.call(Trigger, RESET, Trigger.Request())
            wait_ready(line, plc)

            signals.send('the end')
            line.wait(lambda: stops[-1].stop and 'handover failed' in stops[-1].message, 'stop')
            line.wait(lambda: process.poll() is not None, 'end of the node')
            assert process.returncode == 1 and plc.rejects_by_itself
            assert 'handover failed: SystemExit' in process.stderr.read()
        finally:
            process.kill()
            process.wait()
