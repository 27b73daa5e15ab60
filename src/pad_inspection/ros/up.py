"""Start the ROS 2 nodes of a parameter file and watch them, without ros2launch.

The file is a ROS parameter file as `ros2 launch` takes it; each of its sections (inspection_node,
reject_node, line_controller_node, replay_node, with or without a namespace) is a node that is
started in a process of its own. Their output is shown; a node that dies ends the others, except
viewer_node, which is started again.

Examples:
  pad up --config config/inspection.yaml
  pad up --config config/demo.yaml --log-dir out/log
  pad up --config config/demo.yaml --check             only verify names and values

Ctrl-C ends all nodes, with exit code 0. Exit code 1: a node died. 2: bad file.
"""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `pad up`."""
    parser.add_argument('--config', type=Path, required=True, help='ROS parameter file')
    parser.add_argument('--log-dir', type=Path, help='folder for the output of the nodes')
    parser.add_argument(
        '--domain-id', type=int, help='ROS_DOMAIN_ID (default: that of the environment)'
    )
    parser.add_argument('--check', action='store_true', help='check the file, start nothing')


def run(arguments: argparse.Namespace) -> int:
    """`pad up`."""
    from pad_inspection.ros.graph import run_up, specs_of_file

    if arguments.check:
        names = [spec.name for spec in specs_of_file(arguments.config)]
        print(f'{arguments.config} is right: {", ".join(names)}')
        return 0
    return run_up(arguments.config, log_dir=arguments.log_dir, domain_id=arguments.domain_id)
