"""Record, play and inspect bags (rosbag2 folders, mcap or sqlite3) without the rosbag2 tools.

record   the topics of cameras while the line runs: images, CameraInfo, triggers, belt, results.
play     a bag as cameras, at its own pace or faster; other nodes see what they saw then.
inspect  the images of a bag offline, every one of them, with a model bundle; the new bag holds
         what was recorded and, beside it, the results, anomaly maps, overlays, references and
         markers. rviz2, rerun and foxglove open it.

Bags of `ros2 bag record` are read; what is written here opens in `ros2 bag`.

Examples:
  pad bag record out/bag --cameras camera_0 camera_1
  pad bag play out/bag --rate 2
  pad bag inspect out/bag --bundle models/coupe --out out/inspected
"""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `pad bag`."""
    commands = parser.add_subparsers(dest='action', required=True, metavar='record|play|inspect')
    record = commands.add_parser('record', help='topics of cameras into a new bag')
    record.add_argument('bag', type=Path, help='folder of the bag; must not exist')
    record.add_argument('--cameras', nargs='+', required=True, help='names of the cameras')
    record.add_argument('--image-topic', default='image_rect_color', help='below the camera')
    record.add_argument('--storage', choices=('mcap', 'sqlite3'), default='mcap')
    record.add_argument('--seconds', type=float, default=0.0, help='stop then; 0 = at Ctrl-C')
    record.add_argument(
        '--reliable', action='store_true', help='lose no image (the cameras must be reliable too)'
    )
    record.add_argument('--namespace', default='', help='of the line, e.g. /line_1')
    play = commands.add_parser('play', help='a bag as cameras')
    play.add_argument('bag', type=Path, help='folder of the bag')
    play.add_argument('--rate', type=float, default=1.0, help='times as fast as recorded')
    play.add_argument('--image-topic', default='image_rect_color', help='below the camera')
    play.add_argument('--topics', nargs='+', default=[], help='only these')
    inspect = commands.add_parser('inspect', help='images of a bag, results into a new one')
    inspect.add_argument('bag', type=Path, help='folder of the bag')
    inspect.add_argument('--bundle', type=Path, required=True, help='model bundle')
    inspect.add_argument('--out', type=Path, required=True, help='new bag; must not exist')
    inspect.add_argument('--image-topic', default='image_rect_color', help='below the camera')
    inspect.add_argument(
        '--distorted', action='store_true', help='images are not rectified: K and D hold'
    )
    inspect.add_argument(
        '--image-bits', type=int, choices=range(9, 17), default=16, metavar='9..16',
        help='bits in use of a value of 16-bit images',
    )  # fmt: skip
    inspect.add_argument(
        '--allow-grey', action='store_true', help='compare grey images with a model in colour too'
    )
    inspect.add_argument(
        '--require-signature', action='append', default=[], metavar='KEY',
        help='refuse a bundle that is not signed with this public key (or one of several)',
    )  # fmt: skip
    inspect.add_argument('--storage', choices=('mcap', 'sqlite3'), default='mcap')


def run(arguments: argparse.Namespace) -> int:
    """`pad bag`."""
    from pad_inspection.ros.graph import require_ros

    require_ros()
    return {'record': _record, 'play': _play, 'inspect': _inspect}[arguments.action](arguments)


def _record(arguments: argparse.Namespace) -> int:
    """Record until Ctrl-C or the time is over."""
    import os

    from pad_inspection.ros.graph import ros_environment
    from pad_inspection.ros.names import check_names
    from pad_inspection.ros.recorder_node import RecorderNode
    from pad_inspection.ros.runner import run as run_node

    check_names('--cameras', arguments.cameras)
    os.environ.update(ros_environment())
    made = []

    def make():
        made.append(
            RecorderNode(
                arguments.bag,
                arguments.cameras,
                image_topic=arguments.image_topic,
                namespace=arguments.namespace,
                storage=arguments.storage,
                seconds=arguments.seconds,
                reliable_images=arguments.reliable,
            )
        )
        return made[0]

    code = run_node(make, [], threads=1)
    if made:
        print(f'{made[0].num_messages} messages in {arguments.bag}')
    return code


def _play(arguments: argparse.Namespace) -> int:
    """Play with replay_node in this process."""
    import os

    from pad_inspection.ros import replay_node
    from pad_inspection.ros.graph import ros_environment

    os.environ.update(ros_environment())
    values = {
        'bag': str(arguments.bag),
        'rate': arguments.rate,
        'image_topic': arguments.image_topic,
        'min_listeners': 0,
        'wait_for_model': 'false',
        'wait_for_results': 'false',
        'exit_when_done': 'true',
    }
    words = ['--ros-args']
    for name, value in values.items():
        words += ['-p', f'{name}:={value}']
    if arguments.topics:
        words += ['-p', f'topics:={list(arguments.topics)}']
    return replay_node.main(words)


def _inspect(arguments: argparse.Namespace) -> int:
    """Inspect all images of a bag."""
    from tqdm import tqdm

    from pad_inspection.ros.bag_inspection import inspect_bag

    with tqdm(unit='image', dynamic_ncols=True) as bar:
        counts = inspect_bag(
            arguments.bag,
            arguments.bundle,
            arguments.out,
            image_topic=arguments.image_topic,
            rectified=not arguments.distorted,
            image_bits=arguments.image_bits,
            allow_grey=arguments.allow_grey,
            storage=arguments.storage,
            trusted_keys=arguments.require_signature,
            on_image=lambda total: (setattr(bar, 'total', total), bar.update()),
        )
    told = ', '.join(f'{count} {name.lower()}' for name, count in sorted(counts.items()))
    print(f'{sum(counts.values())} images of {arguments.bag}: {told or "none"}; {arguments.out}')
    return 0
