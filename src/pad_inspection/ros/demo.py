"""The whole inspection over ROS 2, with cameras that are played from test pictures.

Builds a model bundle from the training pictures (--fast: takes the committed one), starts
inspection_node, reject_node and replay_node as separate processes, listens to them over DDS, and
prints one line for each piece: truth, verdict, score (over threshold), reason, time per picture.
Writes into --out: report.json, overlays/<piece>_<camera>.png, contact_sheet.png, log/.

Labels of the test pictures are read only here, after the verdicts.

Examples:
  pad demo --out out/demo                     builds the bundle first (some minutes)
  pad demo --out out/demo --fast              with the committed bundle
  pad demo --data my_data/mug --bundle models/mug --out out/mug --limit 5

Exit code 0 when each picture sent got its result and each piece its signal, else 1.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pad_inspection.ros.demo_report import DemoReport
    from pad_inspection.ros.observer import Observed

_DATA = Path('demo/data/coupe')
_BUNDLE = Path('demo/bundle/coupe')
# Limits for a slow and busy machine: loading a model, one picture, all views of one piece, s.
_START_S, _FRAME_S, _PIECE_S = 300.0, 180.0, 900.0
# After the last result: for signals and pictures that are still on their way, s.
_LAST_S = 10.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `pad demo`."""
    parser.add_argument('--data', type=Path, default=_DATA, help=f'data set (default {_DATA})')
    parser.add_argument('--out', type=Path, default=Path('out/demo'), help='folder for results')
    bundle = parser.add_mutually_exclusive_group()
    bundle.add_argument('--bundle', type=Path, help='use this model bundle, build none')
    bundle.add_argument('--fast', action='store_true', help=f'use the committed bundle {_BUNDLE}')
    parser.add_argument('--iterations', type=int, help='steps of the Gaussian fit')
    parser.add_argument('--limit', type=int, default=0, help='play only so many pieces')
    parser.add_argument(
        '--domain-id', type=int, help='ROS_DOMAIN_ID (default: one that nobody uses)'
    )


def run(arguments: argparse.Namespace) -> int:
    """`pad demo`."""
    from pad_inspection.ros.graph import NodeDiedError, require_ros

    require_ros()
    if arguments.fast:
        bundle = _BUNDLE
    elif arguments.bundle:
        bundle = arguments.bundle
    else:
        bundle = arguments.out / 'bundle'
        _build(arguments.data, bundle, arguments.iterations)
    try:
        report = run_demo_graph(
            bundle,
            arguments.data,
            arguments.out,
            limit=arguments.limit,
            domain_id=arguments.domain_id,
        )
    except (NodeDiedError, TimeoutError) as error:
        print(f'pad demo: {error}', file=sys.stderr)
        return 1
    if not report.complete:
        print('pad demo: results or signals were lost, see log/', file=sys.stderr)
    return 0 if report.complete else 1


def _build(data: Path, bundle: Path, iterations: int | None) -> None:
    """Build the bundle as `pad build` does."""
    from pad_inspection.offline import build

    parser = argparse.ArgumentParser()
    build.add_arguments(parser)
    words = [str(data), '--out', str(bundle)]
    words += [] if iterations is None else ['--iterations', str(iterations)]
    bundle.parent.mkdir(parents=True, exist_ok=True)
    build.run(parser.parse_args(words))


def run_demo_graph(
    bundle: Path,
    class_dir: Path,
    out_dir: Path,
    *,
    limit: int = 0,
    domain_id: int | None = None,
    programs: Mapping[str, Sequence[str]] | None = None,
    show: Callable[[str], None] = print,
) -> DemoReport:
    """Play a data set through the node graph and write what comes of it.

    Args:
        bundle: model bundle.
        class_dir: data set with test images.
        out_dir: gets report.json, overlays/, contact_sheet.png and log/.
        limit: pieces at most; 0 = all.
        domain_id: ROS_DOMAIN_ID; None = one that nobody uses, on this computer alone.
        programs: see graph.NodeGraph.
        show: prints a line.

    Raises:
        FileNotFoundError, ValueError: bundle or data set is missing or damaged.
        graph.NodeDiedError: a node ended by itself; the message holds its last lines.
    """
    if domain_id is None:
        from pad_inspection.ros.domains import ReservedDomain

        with ReservedDomain() as domain:
            os.environ.update(domain.environment)
            return run_demo_graph(
                bundle,
                class_dir,
                out_dir,
                limit=limit,
                domain_id=domain.id,
                programs=programs,
                show=show,
            )
    from pad_inspection.dataset import read_test_images
    from pad_inspection.ros.demo_report import DemoReport, outcome_of, tell_report, write_report
    from pad_inspection.ros.graph import NodeGraph, NodeSpec, ros_environment
    from pad_inspection.ros.replay_source import DatasetSource

    bundle, class_dir, out_dir = Path(bundle), Path(class_dir), Path(out_dir)
    if not bundle.is_dir():
        raise FileNotFoundError(f'model bundle {bundle} does not exist (make one with: pad build)')
    source = DatasetSource(class_dir, 'image_rect_color', limit)
    truth = {image.object_id: image.defect for image in read_test_images(class_dir)}
    log_dir = out_dir / 'log'
    log_dir.mkdir(parents=True, exist_ok=True)
    for old in log_dir.glob('*.log'):
        old.unlink()
    # this process takes part in the graph too
    os.environ.update(ros_environment(domain_id=domain_id, log_dir=log_dir))

    judging = {
        'bundle': str(bundle.resolve()),
        'cameras': source.cameras,
        'reliable_images': True,
        'queue_size': 2,
        'trigger_timeout': 10.0,
    }
    replay = {
        'class_dir': str(class_dir.resolve()),
        'limit': limit,
        'rate': 20.0,
        'min_listeners': 2,
        'result_timeout': _FRAME_S,
        'startup_timeout': _START_S,
    }
    specs = [
        NodeSpec('inspection_node', judging),
        NodeSpec(
            'reject_node',
            # signs of life come late where an inspection takes all processors
            {
                'cameras': source.cameras,
                'object_timeout': _PIECE_S,
                'forget_after': _PIECE_S,
                'inspection_grace': 30.0,
            },
        ),
    ]
    begin = time.monotonic()
    graph = NodeGraph(specs, log_dir=log_dir, domain_id=domain_id, programs=programs)
    with _Observing(source.cameras) as (observer, spin), graph:
        show(f'starting the nodes on ROS_DOMAIN_ID {domain_id}, logs in {log_dir}')
        graph.wait_until(
            lambda: _spin_until(spin, lambda: _ready(observer)), _START_S, 'inspection_node ready'
        )
        seconds_to_ready = time.monotonic() - begin
        show(f'model {observer.seen.models[-1]!r} loaded in {seconds_to_ready:.1f} s')
        graph.start(NodeSpec('replay_node', replay))
        _watch(graph, spin, observer.seen, source.num_frames, source.num_objects)
        seconds = time.monotonic() - begin
        _settle(spin, observer.seen)
        seen = observer.seen
    ids = list(dict.fromkeys(object_id for object_id, _, _ in source.exposures))
    objects = [outcome_of(object_id, truth[object_id], seen) for object_id in ids]
    report = DemoReport(
        objects=objects,
        frames_sent=seen.frames_sent,
        results_received=len(seen.views),
        reject_signals=len(seen.signals),
        right=sum(piece.right for piece in objects),
        seconds=round(seconds, 2),
        seconds_to_ready=round(seconds_to_ready, 2),
        model=seen.models[-1],
    )
    write_report(report, seen, out_dir)
    tell_report(report, out_dir, show)
    return report


class _Observing:
    """rclpy with an ObserverNode and a function that spins it a little."""

    def __init__(self, cameras: list[str]):
        self._cameras = cameras

    def __enter__(self):
        import rclpy
        from rclpy.executors import SingleThreadedExecutor
        from rclpy.signals import SignalHandlerOptions

        from pad_inspection.ros.observer import ObserverNode

        # Ctrl-C must reach Python as usual, the nodes are ended by the graph
        rclpy.init(args=[], signal_handler_options=SignalHandlerOptions.NO)
        self._node = ObserverNode(self._cameras)
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self._node)
        return self._node, lambda: self._executor.spin_once(timeout_sec=0.1)

    def __exit__(self, *_):
        import rclpy

        self._executor.shutdown()
        self._node.destroy_node()
        rclpy.try_shutdown()


def _spin_until(spin: Callable[[], None], condition: Callable[[], bool]) -> bool:
    """Spin once, then tell whether the condition holds."""
    spin()
    return condition()


def _ready(observer) -> bool:
    """Whether the model is announced and all topics that are listened to have a publisher."""
    return bool(observer.seen.models) and not observer.missing_publishers()


def _watch(graph, spin, seen: Observed, num_frames: int, num_objects: int) -> None:
    """Show progress until all results and signals are there, or the replay has given up."""
    from tqdm import tqdm

    last_news = time.monotonic()
    with tqdm(total=num_frames, desc='inspect', unit='image', dynamic_ncols=True) as bar:
        while len(seen.views) < num_frames or len(seen.signals) < num_objects:
            before = len(seen.views), len(seen.signals)
            spin()
            graph.check()
            now = time.monotonic()
            if (len(seen.views), len(seen.signals)) != before:
                last_news = now
                bar.update(len(seen.views) - bar.n)
            if seen.replay_finished and now - last_news > _LAST_S:
                break


def _settle(spin, seen: Observed) -> None:
    """Wait for the last pictures and the replay's own count."""

    def missing() -> bool:
        pictures = all(
            (view.camera, view.stamp_ns, 'overlay') in seen.pictures
            for view in seen.views
            if view.has_pictures
        )
        return not (pictures and seen.replay_finished)

    end = time.monotonic() + _LAST_S
    while missing() and time.monotonic() < end:
        spin()
