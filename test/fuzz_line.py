"""Throws hostile messages at inspection_node and reject_node, and honest objects between them.

    python test/fuzz_line.py --messages 10000 --seed 0 --minutes 10    # make fuzz

Once with triggers and once along a belt. At the end both nodes must be alive, every honest
object must have exactly one signal, the right one, no defective one may have passed, and the
memory of the nodes must not have grown without bound. The same seed
sends the same messages. Exit code 1: something of it does not hold.
"""

import argparse
import array
import math
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from builtin_interfaces.msg import Duration, Time
from pad_msgs.msg import InspectionResult, InspectionResultArray, ObjectTrigger
from pad_msgs.srv import ReloadModel
from sensor_msgs.msg import JointState
from std_msgs.msg import String
from tqdm import tqdm

from helpers.random_messages import SPECIALS, Random
from helpers.ros_line import Line
from helpers.ros_line import camera as small_camera
from pad_inspection.ros import conversions, interfaces
from pad_inspection.ros.monitor import resident_mb

S = 10**9
# Forged results come on a topic of their own: a second publisher on that of a camera that is
# inspected is noticed, and nothing passes.
CAMERAS, FORGED = ['a', 'b'], 'forged'
PRODUCT = 'small'
IDS = ['', 'p', 'a' * 300, 'q' * 100_000, '\u00e4\u2603', 'x\ny', '\x1b[31m', '../../etc/passwd']
IDS += ["'; DROP TABLE verdicts;--", 'nul\x01', '=1+1', ' ', '\u202e']
URIS = ['/', '/dev/zero', 'file:///etc/passwd', 'package://\u2603/x', 'http://x']
URIS += ['../' * 5000, 'q' * 100_000, '\x1b[31m\n']
SECONDS = [0, 1, -(2**31), 2**31 - 1, 1_800_000_000]
POSITIONS = [*SPECIALS, 3e38, 0.0, -1.0, 1e6]
FLOATS = [*SPECIALS[:5], 3e38, -3e38]
HONEST_NS = 1_750_000_000 * S
# An honest object comes after so many messages.
EVERY = 250
AFTERWARDS = 20
MOST_GROWTH_MB = 300


class Fuzz:
    """One line under fire."""

    def __init__(self, line, belt, seed):
        self.line, self.belt, self.random = line, belt, Random(seed)
        self.honest = {}

    def start(self):
        line, options = self.line, {}
        if self.belt:
            layout = line.path / 'belt.yaml'
            layout.write_text(
                'trigger_position: -0.1\ncameras:\n  a: {position: 0.0}\n  b: {position: 0.3}\n'
            )
            options = {'association': 'belt', 'belt_layout': str(layout)}
            line.publisher(interfaces.BELT_STATE)
        for camera in CAMERAS:
            line.publisher(interfaces.IMAGE, camera)
            line.publisher(interfaces.CAMERA_INFO, camera)
        line.publisher(interfaces.OBJECT_TRIGGER)
        line.publisher(interfaces.OBJECT_TYPE)
        line.start_inspection(
            cameras=CAMERAS,
            trigger_timeout=0.5,
            camera_info_timeout=0.5,
            queue_size=1000,
            object_type=PRODUCT,
            **options,
        )
        line.start_reject(
            cameras=[*CAMERAS, FORGED],
            object_timeout=5.0,
            inspection_grace=600.0,
            log_dir=str(line.path / 'log_dir'),
            belt_speed=0.001,
            gate_position=900.0,
            forget_after=5.0,
            stop_after_rejects=5,
        )
        line.publisher(interfaces.RESULTS, FORGED)
        line.wait_connected()

    def stamp(self):
        nanoseconds = self.random.pick([0, 1, 999_999_999, 2**32 - 1])
        return Time(sec=self.random.pick(SECONDS), nanosec=nanoseconds)

    def hostile(self):
        random, line = self.random, self.line
        kinds = [self.image, self.info, self.trigger, self.result, self.object_type]
        kinds += [self.belt_sample] if self.belt else []
        random.pick(kinds)(random, line, random.pick(CAMERAS))

    def image(self, random, line, camera):
        header = line.header(camera)
        if random(0.3):
            header.stamp = self.stamp()
        line.publisher(interfaces.IMAGE, camera).publish(random.image(line.image(header=header)))
        if random(0.5):
            info = random.info(conversions.camera_to_info(small_camera(), header))
            line.publisher(interfaces.CAMERA_INFO, camera).publish(info)

    def info(self, random, line, camera):
        header = line.header(camera)
        header.stamp = self.stamp()
        info = random.info(conversions.camera_to_info(small_camera(), header))
        line.publisher(interfaces.CAMERA_INFO, camera).publish(info)

    def trigger(self, random, line, camera):
        message = ObjectTrigger(
            object_id=random.pick(IDS),
            cameras=random.pick([[], CAMERAS, ['nobody'], [camera] * 3, ['\u2603' * 1000]]),
            expected_views=random.pick([0, 1, 3, 2**32 - 1]),
            object_type=random.pick(['', 'x', '\u2603' * 100]),
        )
        message.header.stamp = self.stamp()
        p = message.position
        p.x, p.y, p.z = (float(random.pick(POSITIONS)) for _ in range(3))
        line.publisher(interfaces.OBJECT_TRIGGER).publish(message)

    def result(self, random, line, camera):
        message = InspectionResult(
            object_id=random.pick(IDS),
            camera_name=random.pick([FORGED, camera, '', '\u2603']),
            verdict=random.pick([0, 1, 2, 3, 255]),
            reason=random.pick([0, 1, 100, 104, 107, 999, 65535]),
            inspection_id=random.pick(IDS),
            model_id=random.pick(['', 'a', 'b\n']),
            anomaly_score=random.pick(FLOATS),
            threshold=random.pick(FLOATS),
            object_threshold=random.pick(FLOATS),
            piece_score=random.pick(FLOATS),
            piece_views=random.pick([0, 1, 65535]),
            visible_places=random.pick([0, 1, 2**32 - 1]),
            processing_time=Duration(sec=random.pick(SECONDS), nanosec=2**32 - 1),
        )
        message.header.stamp = self.stamp()
        if random(0.3):
            values = [float(random.pick(FLOATS)) for _ in range(random.pick([0, 1, 7, 500]))]
            message.surface = array.array('f', values)
        array_ = InspectionResultArray(results=[message] * random.pick([0, 1, 3]))
        line.publisher(interfaces.RESULTS, FORGED).publish(array_)

    def object_type(self, random, line, camera):
        line.publisher(interfaces.OBJECT_TYPE).publish(String(data=random.pick([*IDS, 'truck'])))

    def belt_sample(self, random, line, camera):
        message = JointState()
        message.header.stamp = self.stamp()
        message.position = [float(random.pick(POSITIONS)) for _ in range(random.pick([0, 1, 2]))]
        line.publisher(interfaces.BELT_STATE).publish(message)

    def reload(self):
        """Ask for a model that does not exist; tells whether that was refused."""
        request = ReloadModel.Request(
            model_uri=self.random.pick(URIS), object_type=self.random.pick(['', *IDS])
        )
        answer = self.line.call(ReloadModel, '/inspection_node/reload_model', request)
        return answer.result != ReloadModel.Response.RESULT_SUCCESS

    def send_honest(self, seconds):
        """An object, every second one with a defect in one image."""
        line, number = self.line, len(self.honest)
        name, defect = f'honest-{number}', bool(number % 2)
        self.honest[name] = defect
        begin_ns = HONEST_NS + number * 60 * S
        line.publisher(interfaces.OBJECT_TYPE).publish(String(data=''))
        if not self.belt:
            line.trigger(name, begin_ns, CAMERAS, product=PRODUCT)
            for camera in CAMERAS:
                message = line.image(
                    defect and camera == 'b', header=line.header(camera, begin_ns)
                )
                line.send(message, name=camera)
            line.spin(seconds)
            return
        # the belt goes on 0.1 m/s; the object is before a after 1 s, before b after 4 s
        for tenth in range(-1, 2):
            self.move(begin_ns, tenth / 10)
        # an encoder tells all the time, so also before the trigger
        line.spin(seconds)
        line.trigger(name, begin_ns, CAMERAS, x=-0.1, product=PRODUCT)
        line.spin(seconds)
        for camera, at in (('a', 1.0), ('b', 4.0)):
            for moment in (at - 0.01, at + 0.01):
                self.move(begin_ns, moment)
            line.spin(seconds / 2)
            stamp_ns = begin_ns + round(at * S)
            message = line.image(defect and camera == 'b', header=line.header(camera, stamp_ns))
            line.send(message, name=camera)
            line.spin(seconds)

    def move(self, begin_ns, seconds):
        """Sample of the encoder; all honest objects are on one belt, which never stands still."""
        stamp_ns = begin_ns + round(seconds * S)
        message = JointState(position=[(stamp_ns - HONEST_NS) / S * 0.1])
        message.header.stamp = conversions.stamp_of_ns(stamp_ns)
        self.line.publisher(interfaces.BELT_STATE).publish(message)


def memory(line):
    """MB of each node."""
    return {name: resident_mb(line.graph.process(name).pid) for name in line.graph.names}


def run(belt, messages, seed, seconds, folder):
    """One flood; returns what does not hold."""
    mode = 'belt' if belt else 'trigger'
    with Line(folder) as line:
        fuzz = Fuzz(line, belt, seed)
        fuzz.start()
        line.spin(1.0)
        before, end, sent, faults = memory(line), time.monotonic() + seconds, 0, []
        bar = tqdm(total=messages, desc=f'{mode}, seed {seed}', unit='message')
        while sent < messages and time.monotonic() < end:
            fuzz.hostile()
            sent += 1
            bar.update()
            if sent % EVERY == 0:
                # what the encoder is said to tell resets the belt: not while an object is on it
                line.spin(0.5 if belt else 0.0)
                fuzz.send_honest(0.05)
                faults += [] if fuzz.reload() else ['a nonsensical model was loaded']
                line.graph.check()
            if sent % 20 == 0:
                line.spin(0.01)
        bar.close()
        if sent < messages:
            print(f'{mode}: the time was over after {sent} of {messages} messages')
        line.spin(6.0)
        flooded = len(fuzz.honest)
        for _ in range(AFTERWARDS):
            fuzz.send_honest(0.1)
        signals = line.received[interfaces.REJECT_SIGNAL.name]
        told = {}

        def all_told():
            told.clear()
            for message in signals:
                told.setdefault(message.object_id, []).append(message)
            return set(fuzz.honest) <= set(told)

        line.wait(all_told, 'signal of each honest object')
        line.graph.check()
        after = memory(line)
    twice = [name for name in fuzz.honest if len(told[name]) > 1]
    passed = [n for n, defect in fuzz.honest.items() if defect and not told[n][0].reject]
    wrong = [name for name, defect in fuzz.honest.items() if told[name][0].reject != defect]
    faults += [f'{len(names)} honest objects {what}: {names[:3]}' for what, names in (
        ('have two signals', twice), ('are defective and passed', passed),
        ('are judged wrong', wrong),
    ) if names]  # fmt: skip
    wrong_messages = [told[name][0].message for name in wrong[:3]]
    faults += [f'for example: {text}' for text in wrong_messages]
    faults += [
        f'{name} grew from {before[name]:.0f} to {mb:.0f} MB'
        for name, mb in after.items()
        if not math.isfinite(mb) or mb > before[name] + MOST_GROWTH_MB
    ]
    grown = ', '.join(f'{name} {before[name]:.0f} -> {mb:.0f} MB' for name, mb in after.items())
    print(
        f'{mode}: {sent} hostile messages, {len(signals)} signals; {flooded} honest objects '
        f'meanwhile, {AFTERWARDS} afterwards; {grown}'
    )
    return [f'{mode}: {fault}' for fault in faults]


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--messages', type=int, default=10_000, help='of each association mode')
    parser.add_argument('--seed', type=int, default=0, help='of the messages')
    parser.add_argument('--minutes', type=float, default=10.0, help='for each mode, at most')
    parser.add_argument('--mode', choices=('trigger', 'belt'), help='only this one')
    arguments = parser.parse_args()
    faults = []
    for mode in ('trigger', 'belt'):
        if arguments.mode in (None, mode):
            with tempfile.TemporaryDirectory(prefix='pad_fuzz_') as folder:
                faults += run(
                    mode == 'belt',
                    arguments.messages,
                    arguments.seed,
                    60 * arguments.minutes,
                    Path(folder),
                )
    for fault in faults:
        print(f'fault: {fault}', file=sys.stderr)
    return 1 if faults else 0


if __name__ == '__main__':
    sys.exit(main())
