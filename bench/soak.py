"""Soak of the node graph: does anything get lost, or grow, when it runs for long?

    .venv/bin/python bench/soak.py --minutes 10

Three simulated cameras send 2 images a second each, fired together with a trigger for each piece,
to inspection_node and reject_node in processes of their own, over DDS. The inspector is a
stand-in that only looks at colours, so that the graph is what is tested. Every image must get
exactly one result, every piece exactly one signal, and memory must stay flat.

Writes out/bench/soak.json. Exit code 1 when something was lost, doubled or grew.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
from bench_ros import machine, run_node

from pad_inspection.datatypes import (
    Camera,
    Inspection,
    PoseEstimate,
    PoseStatus,
    Reason,
    Rigid3,
    Verdict,
)
from pad_inspection.ros.domains import ReservedDomain
from pad_inspection.ros.graph import NodeGraph, NodeSpec, ros_environment

# Share of pieces that the stand-in finds a defect on.
_DEFECT_EVERY = 7
# Memory is compared from here on, as a share of the run: caches and pools are filled by then.
_WARM_SHARE = 0.2
_MAX_GROWTH_MB = 5.0
_LAST_RESULTS_S = 30.0


class ColorInspector:
    """Rejects red pictures."""

    @classmethod
    def from_bundle(cls, path, config=None):  # noqa: D102
        return cls()

    def warm_up(self):  # noqa: D102
        pass

    @property
    def info(self):  # noqa: D102
        from pad_inspection.pipeline import ModelInfo

        return ModelInfo('colors', '1', '1.0', '', 0, 0, 0, 0.5, 1.0, 0.0, 1.0, 'cpu')

    def inspect(self, frame):  # noqa: D102
        share = float((frame.image[..., 0] > frame.image[..., 2]).mean())
        rejected = share >= 0.5
        return Inspection(
            Verdict.REJECT if rejected else Verdict.PASS,
            Reason.ANOMALY if rejected else Reason.NONE,
            pose=PoseEstimate(PoseStatus.LOCALIZED, Rigid3(np.eye(3), np.array([0, 0, 0.3]))),
            score=share,
            threshold=0.5,
            inspected_fraction=1.0,
            anomaly_map=np.full(frame.image.shape[:2], np.float32(share)),
            query=frame.image,
            camera_name=frame.camera_name,
            object_id=frame.object_id,
            stamp_ns=frame.stamp_ns,
        )


class Line:
    """Cameras, trigger and gate of the soak, in this process."""

    def __init__(self, node, cameras: list[str], size: int):
        from pad_inspection.ros import conversions, interfaces

        self._conversions, self._interfaces = conversions, interfaces
        self._node, self.cameras = node, cameras
        self.sent: set[tuple[str, int]] = set()
        self.results: Counter = Counter()
        self.signals: Counter = Counter()
        self.wrong_signals = 0
        self.verdicts: Counter = Counter()
        self._size = size
        K = np.array([[size, 0, size / 2], [0, size, size / 2], [0, 0, 1]])
        self._camera = Camera(size, size, K)
        names = [interfaces.OBJECT_TRIGGER.name]
        self._publishers = {
            interfaces.OBJECT_TRIGGER.name: self._publisher(interfaces.OBJECT_TRIGGER)
        }
        for camera in cameras:
            for topic in (interfaces.IMAGE, interfaces.CAMERA_INFO):
                names.append(topic.of(camera))
                self._publishers[names[-1]] = self._publisher(topic, camera)
            self._listen(interfaces.RESULTS, self._on_results, camera)
        self._listen(interfaces.REJECT_SIGNAL, self._on_signal)

    def _publisher(self, topic, camera=''):
        kind = self._interfaces.message_class(topic.message)
        return self._node.create_publisher(
            kind, topic.of(camera), self._interfaces.qos(topic, depth=100)
        )

    def _listen(self, topic, callback, camera=''):
        kind = self._interfaces.message_class(topic.message)
        self._node.create_subscription(
            kind, topic.of(camera), callback, self._interfaces.qos(topic, depth=1000)
        )

    def is_connected(self) -> bool:
        """Whether both nodes listen."""
        counts = {name: p.get_subscription_count() for name, p in self._publishers.items()}
        return all(
            count >= (2 if name == self._interfaces.OBJECT_TRIGGER.name else 1)
            for name, count in counts.items()
        )

    def expose(self, index: int) -> None:
        """Fire all cameras on one piece."""
        from pad_msgs.msg import ObjectTrigger
        from std_msgs.msg import Header

        stamp_ns = time.time_ns()
        stamp = self._conversions.stamp_of_ns(stamp_ns)
        trigger = ObjectTrigger(
            header=Header(stamp=stamp, frame_id=self._interfaces.CONVEYOR_FRAME),
            object_id=self.name(index),
            cameras=self.cameras,
            expected_views=len(self.cameras),
        )
        self._publishers[self._interfaces.OBJECT_TRIGGER.name].publish(trigger)
        color = (200, 20, 20) if index % _DEFECT_EVERY == 0 else (20, 20, 200)
        picture = np.full((self._size, self._size, 3), color, np.uint8)
        for camera in self.cameras:
            header = Header(stamp=stamp, frame_id=self._interfaces.optical_frame(camera))
            info = self._conversions.camera_to_info(self._camera, header)
            image = self._conversions.array_to_image(picture, 'rgb8', header)
            self.sent.add((camera, stamp_ns))
            self._publishers[self._interfaces.CAMERA_INFO.of(camera)].publish(info)
            self._publishers[self._interfaces.IMAGE.of(camera)].publish(image)

    @staticmethod
    def name(index: int) -> str:
        """Object id of the piece with this number."""
        return f'piece-{index}'

    def _on_results(self, message) -> None:
        for result in message.results:
            stamp_ns = self._conversions.stamp_to_ns(result.header.stamp)
            self.results[result.camera_name, stamp_ns] += 1
            self.verdicts[Verdict(result.verdict).name] += 1

    def _on_signal(self, message) -> None:
        self.signals[message.object_id] += 1
        number = int(message.object_id.rpartition('-')[2])
        self.wrong_signals += message.reject != (number % _DEFECT_EVERY == 0)


def resident_mb(pid: int) -> float:
    """Memory of a process, MB."""
    pages = int(Path(f'/proc/{pid}/statm').read_text().split()[1])
    return pages * os.sysconf('SC_PAGE_SIZE') / 1e6


def soak(minutes: float, rate: float, num_cameras: int, size: int) -> dict:
    """Run it; returns what is written."""
    import rclpy
    from rclpy.executors import SingleThreadedExecutor

    domain = ReservedDomain()  # until the process ends
    os.environ.update(domain.environment)
    os.environ.update(ros_environment())
    cameras = [f'camera_{index}' for index in range(num_cameras)]
    specs = [
        NodeSpec(
            'inspection_node',
            {
                'bundle': '.',
                'cameras': cameras,
                'reliable_images': True,
                'trigger_timeout': 10.0,
                'queue_size': 10,
            },
        ),
        NodeSpec('reject_node', {'cameras': cameras, 'object_timeout': 20.0}),
    ]
    rclpy.init(args=[])
    node = rclpy.create_node('soak')
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    line = Line(node, cameras, size)
    programs = {'inspection_node': (__file__,)}
    samples = []
    with (
        tempfile.TemporaryDirectory() as folder,
        NodeGraph(specs, log_dir=Path(folder), programs=programs) as graph,
    ):
        spin = lambda: executor.spin_once(timeout_sec=0.02)  # noqa: E731
        graph.wait_until(lambda: spin() or line.is_connected(), 120.0, 'nodes')
        begin, index, next_sample = time.monotonic(), 0, 0.0
        seconds = minutes * 60
        while (now := time.monotonic() - begin) < seconds:
            graph.check()
            if now >= index / rate:
                line.expose(index)
                index += 1
            if now >= next_sample:
                next_sample += max(1.0, seconds / 100)
                memory = {name: resident_mb(graph.process(name).pid) for name in graph.names}
                samples.append((now, memory))
            spin()
        end = time.monotonic() + _LAST_RESULTS_S
        while time.monotonic() < end and (
            line.results.total() < len(line.sent) or line.signals.total() < index
        ):
            spin()
        codes = graph.stop()
    executor.shutdown()
    node.destroy_node()
    rclpy.try_shutdown()
    warm = [memory for at, memory in samples if at >= _WARM_SHARE * seconds]
    growth = {name: warm[-1][name] - warm[0][name] for name in warm[0]}
    return {
        'command': ' '.join(['bench/soak.py', *sys.argv[1:]]),
        **machine(),
        'minutes': minutes,
        'cameras': num_cameras,
        'rate_hz': rate,
        'size_px': size,
        'frames_sent': len(line.sent),
        'results_received': line.results.total(),
        'frames_without_result': len(line.sent - set(line.results)),
        'frames_with_two_results': sum(count > 1 for count in line.results.values()),
        'verdicts': dict(line.verdicts),
        'pieces': index,
        'signals': line.signals.total(),
        'pieces_without_one_signal': sum(line.signals[line.name(i)] != 1 for i in range(index)),
        'wrong_signals': line.wrong_signals,
        'exit_codes': codes,
        'memory_start_mb': {n: round(v, 1) for n, v in samples[0][1].items()},
        'memory_warm_mb': {n: round(v, 1) for n, v in warm[0].items()},
        'memory_end_mb': {n: round(v, 1) for n, v in warm[-1].items()},
        'memory_growth_mb': {n: round(v, 2) for n, v in growth.items()},
    }


def faults(report: dict) -> list[str]:
    """What must not be."""
    wanted = {
        'frames_without_result': 0,
        'frames_with_two_results': 0,
        'pieces_without_one_signal': 0,
        'wrong_signals': 0,
        'results_received': report['frames_sent'],
        'signals': report['pieces'],
    }
    found = [f'{k} is {report[k]}, wanted {v}' for k, v in wanted.items() if report[k] != v]
    found += [f'{n} ended with {c}' for n, c in report['exit_codes'].items() if c]
    found += [
        f'{name} grew by {growth} MB, wanted at most {_MAX_GROWTH_MB}'
        for name, growth in report['memory_growth_mb'].items()
        if growth > _MAX_GROWTH_MB
    ]
    return found


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--minutes', type=float, default=10.0)
    parser.add_argument('--cameras', type=int, default=3)
    parser.add_argument('--rate', type=float, default=2.0, help='images per second and camera')
    parser.add_argument('--size', type=int, default=64, help='width and height, px')
    parser.add_argument('--out', type=Path, default=Path('out/bench/soak.json'))
    arguments = parser.parse_args()
    report = soak(arguments.minutes, arguments.rate, arguments.cameras, arguments.size)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(report, indent=1) + '\n')
    print(json.dumps(report, indent=1))
    found = faults(report)
    print('\n'.join(found) if found else 'nothing lost, nothing doubled, memory flat')
    return 1 if found else 0


if __name__ == '__main__':
    # NodeGraph starts this file as a node too
    sys.exit(run_node(ColorInspector) if '--ros-args' in sys.argv else main())
