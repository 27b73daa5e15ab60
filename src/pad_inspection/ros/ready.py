"""Wait until a line is ready: from then on every piece gets the verdict that it deserves.

Ready is a line whose reject_node hears an inspection node of each of its cameras, whose inspection
nodes are active, whose line_controller_node (where there is one) is connected, and where no node
reports an error. Pieces before that are rejected. The nodes say all that on /diagnostics.

Examples:
  pad ready                                     wait up to 60 s
  pad ready --timeout 300 && start_the_belt
  pad ready --namespace /line_1 --domain-id 7

Exit codes: 0 ready, 1 not within the time; what is missing is shown.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from pad_inspection.text_safety import MAX_TEXT_LENGTH, printable

# Nodes that have something to say about it.
_KINDS = {'inspection_node', 'reject_node', 'line_controller_node'}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `pad ready`."""
    parser.add_argument('--timeout', type=float, default=60.0, help='s to wait (default: 60)')
    parser.add_argument('--namespace', default='', help='of the line, e.g. /line_1')
    parser.add_argument(
        '--domain-id', type=int, help='ROS_DOMAIN_ID (default: that of the environment)'
    )


def run(arguments: argparse.Namespace) -> int:
    """`pad ready`."""
    import os

    from pad_inspection.ros.graph import require_ros, ros_environment
    from pad_inspection.ros.runner import run as run_node

    if not arguments.timeout > 0:
        raise ValueError(f'--timeout is {arguments.timeout}, wanted seconds, more than 0')
    require_ros()
    os.environ.update(ros_environment(domain_id=arguments.domain_id))
    missing: list[str] = []
    code = run_node(lambda: _node(arguments.timeout, arguments.namespace, missing), [], threads=1)
    if code or missing:
        print('not ready: ' + '; '.join(printable(text, MAX_TEXT_LENGTH) for text in missing))
        return code or 1
    print('ready')
    return 0


def _node(timeout: float, namespace: str, missing: list[str]) -> Any:
    """Node that listens until nothing is missing or the time is over.

    Args:
        timeout: s.
        namespace: of the line.
        missing: what is missing now; written.
    """
    import time

    import rclpy
    from diagnostic_msgs.msg import DiagnosticArray
    from rclpy.clock import Clock, ClockType

    from pad_inspection.ros import interfaces, parameters

    node = rclpy.create_node('ready')
    node.finished = None
    prefix = '/' + namespace.strip('/') + '/' if namespace.strip('/') else '/'
    found: dict[str, Any] = {}
    end = time.monotonic() + timeout
    missing[:] = missing_of(found)

    def is_of_line(name: str) -> bool:
        # a line without a namespace is not ready because another one with a namespace is
        return name.startswith(prefix) and '/' not in name.removeprefix(prefix)

    def silent() -> list[str]:
        publishers = node.get_publishers_info_by_topic(interfaces.DIAGNOSTICS.name)
        names = {f'{p.node_namespace.rstrip("/")}/{p.node_name}' for p in publishers}
        heard = {name.partition(':')[0] for name in found}
        return [
            f'{name} has said nothing yet'
            for name in sorted(names - heard)
            if is_of_line(name) and parameters.kind_of(name.removeprefix(prefix)) in _KINDS
        ]

    def hear(message: DiagnosticArray) -> None:
        for status in message.status:
            if is_of_line(status.name.partition(':')[0]):
                found[status.name] = status
        missing[:] = missing_of(found) + silent()
        if not missing:
            node.finished = 0

    def check() -> None:
        if time.monotonic() > end:
            node.finished = 1

    topic = interfaces.DIAGNOSTICS
    node.create_subscription(DiagnosticArray, topic.name, hear, interfaces.qos(topic))
    node.create_timer(0.1, check, clock=Clock(clock_type=ClockType.STEADY_TIME))
    return node


def missing_of(found: Mapping[str, Any]) -> list[str]:
    """What keeps a line from being ready.

    Args:
        found: the last DiagnosticStatus of each name, '<node>: <part>'.
    """
    missing = []
    parts = {name.partition(': ')[2] for name in found}
    for part, kind in (('decisions', 'reject_node'), ('inspection', 'inspection_node')):
        if part not in parts:
            missing.append(f'no {kind} is heard')
    for name, status in sorted(found.items()):
        values = {value.key: value.value for value in status.values}
        if status.level == status.ERROR:
            missing.append(f'{name}: {status.message}')
        elif name.endswith(': inspection') and status.message == 'not active':
            missing.append(f'{name}: not active')
        elif values.get('connected') == 'False':
            missing.append(f'{name}: not connected to {values.get("endpoint")}')
    return missing
