"""How fast images travel, and what inspection_node adds without an inspection.

    .venv/bin/python bench/bench_ros.py --cameras 1 3 9 --rate 20 --seconds 5

For each number of cameras a process sends images at a fixed rate. First they are only received:
share that arrives and time from sending to the callback. Then inspection_node is between, with an
inspector that does nothing: time from sending to the result, results on images sent.

Writes out/bench/ros.json.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np

from pad_inspection.datatypes import Camera, Inspection, Reason, Verdict
from pad_inspection.ros.domains import ReservedDomain
from pad_inspection.ros.graph import NodeGraph, NodeSpec, ros_environment


class NoInspector:
    """Inspector that only answers."""

    @classmethod
    def from_bundle(cls, path, config=None):  # noqa: D102
        return cls()

    def warm_up(self):  # noqa: D102
        pass

    @property
    def info(self):  # noqa: D102
        from pad_inspection.pipeline import ModelInfo

        nan = float('nan')
        return ModelInfo('none', '', '', '', 0, 0, 0, nan, 1.0, nan, nan, 'cpu')

    def inspect(self, frame):  # noqa: D102
        return Inspection(
            Verdict.UNDETERMINED,
            Reason.NOT_LOCALIZED,
            'bench',
            camera_name=frame.camera_name,
            object_id=frame.object_id,
            stamp_ns=frame.stamp_ns,
        )


def names(count: int) -> list[str]:
    return [f'camera_{index}' for index in range(count)]


def send(count: int, rate: float, seconds: float, size: int) -> None:
    """Sender process: images with CameraInfo, stamped with the time of sending."""
    import rclpy
    from std_msgs.msg import Header

    from pad_inspection.ros import conversions, interfaces

    rclpy.init()
    node = rclpy.create_node('bench_sender')
    publishers = {}
    for camera in names(count):
        for topic in (interfaces.IMAGE, interfaces.CAMERA_INFO):
            publishers[camera, topic.name] = node.create_publisher(
                interfaces.message_class(topic.message), topic.of(camera), interfaces.qos(topic)
            )
    picture = np.random.default_rng(0).integers(0, 256, (size, size, 3), np.uint8)
    camera_model = Camera(
        size, size, np.array([[size, 0, size / 2], [0, size, size / 2], [0, 0, 1]])
    )
    image = conversions.array_to_image(picture, 'rgb8', Header())
    info = conversions.camera_to_info(camera_model, Header())
    while any(publisher.get_subscription_count() == 0 for publisher in publishers.values()):
        time.sleep(0.05)
    time.sleep(1.0)  # the other end must know this one too
    begin, total = time.monotonic(), round(rate * seconds)
    for index in range(total):
        time.sleep(max(0.0, begin + index / rate - time.monotonic()))
        for camera in names(count):
            stamp_ns = time.time_ns()
            for message, topic in ((info, interfaces.CAMERA_INFO), (image, interfaces.IMAGE)):
                message.header = Header(stamp=conversions.stamp_of_ns(stamp_ns))
                publishers[camera, topic.name].publish(message)
    time.sleep(2.0)
    print(total * count)


def receive(count: int, rate: float, seconds: float, size: int, domain_id: int, node: bool):
    """Receive images, or results with inspection_node between; returns a row of numbers."""
    import rclpy

    from pad_inspection.ros import conversions, interfaces

    env = ros_environment(domain_id=domain_id)
    os.environ.update(env)
    words = [__file__, '--send', str(count), '--rate', str(rate), '--seconds', str(seconds)]
    rclpy.init(args=[])
    me = rclpy.create_node('bench_receiver')
    delays_ms = []

    def arrived(message):
        delays_ms.append((time.time_ns() - conversions.stamp_to_ns(message.header.stamp)) / 1e6)

    topics = (interfaces.RESULTS,) if node else (interfaces.IMAGE, interfaces.CAMERA_INFO)
    for camera in names(count):
        for topic in topics:
            me.create_subscription(
                interfaces.message_class(topic.message),
                topic.of(camera),
                arrived if topic is not interfaces.CAMERA_INFO else lambda _: None,
                interfaces.qos(topic, depth=100),
            )
    specs = []
    if node:
        values = {'cameras': names(count), 'bundle': '.'}
        specs = [NodeSpec('inspection_node', {**values, 'queue_size': 5})]
    with tempfile.TemporaryDirectory() as folder:
        programs = {'inspection_node': (__file__,)}
        with NodeGraph(specs, log_dir=Path(folder), domain_id=domain_id, programs=programs):
            sender = subprocess.Popen(
                [sys.executable, *words, '--size', str(size)], stdout=subprocess.PIPE, env=env
            )
            while sender.poll() is None:
                rclpy.spin_once(me, timeout_sec=0.1)
    sent = int(sender.stdout.read())
    me.destroy_node()
    rclpy.shutdown()
    return {
        'cameras': count,
        'what': 'to the result' if node else 'transport',
        'sent': sent,
        'received': len(delays_ms),
        'median_ms': round(float(np.median(delays_ms)), 1) if delays_ms else None,
        'p95_ms': round(float(np.percentile(delays_ms, 95)), 1) if delays_ms else None,
    }


def run_node(inspector_class: type) -> int:
    """Be an inspection_node with a stand-in for the inspector; returns its exit code."""
    from pad_inspection.ros import inspection_node
    from pad_inspection.ros.model_loading import load_inspector

    return inspection_node.main(load=partial(load_inspector, inspector_class=inspector_class))


def machine() -> dict:
    """When, on what, and at which commit something was measured."""
    processor = platform.processor() or platform.machine()
    for line in Path('/proc/cpuinfo').read_text().splitlines():
        if line.startswith('model name'):
            processor = line.partition(':')[2].strip()
            break
    commit = subprocess.run(
        ['git', 'rev-parse', '--short', 'HEAD'], capture_output=True, text=True, check=False
    ).stdout.strip()
    return {
        'date': str(datetime.date.today()),
        'processor': processor,
        'cores': os.cpu_count(),
        'load_average': [round(value, 1) for value in os.getloadavg()],
        'commit': commit,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--cameras', type=int, nargs='+', default=[1, 3, 9])
    parser.add_argument('--rate', type=float, default=20.0, help='images per second and camera')
    parser.add_argument('--seconds', type=float, default=5.0)
    parser.add_argument('--size', type=int, default=800, help='width and height, px')
    parser.add_argument('--out', type=Path, default=Path('out/bench/ros.json'))
    parser.add_argument('--send', type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.send:
        send(arguments.send, arguments.rate, arguments.seconds, arguments.size)
        return
    report = {
        'command': ' '.join(['bench/bench_ros.py', *sys.argv[1:]]),
        **machine(),
        'size_px': arguments.size,
        'rate_hz': arguments.rate,
        'seconds': arguments.seconds,
        'rows': [],
    }
    print(json.dumps({name: value for name, value in report.items() if name != 'rows'}))
    for count in arguments.cameras:
        for node in (False, True):
            with ReservedDomain() as domain:
                row = receive(
                    count, arguments.rate, arguments.seconds, arguments.size, domain.id, node
                )
            report['rows'].append(row)
            print(json.dumps(row), flush=True)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(report, indent=1) + '\n')


if __name__ == '__main__':
    # NodeGraph starts this file as a node too
    sys.exit(run_node(NoInspector) if '--ros-args' in sys.argv else main())
