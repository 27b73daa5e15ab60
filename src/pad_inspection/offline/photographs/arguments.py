"""Options of the commands that take photographs without cameras."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_source_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments that say what is known about the photographs."""
    parser.add_argument('--camera', type=Path, help='calibrated intrinsics (JSON)')
    parser.add_argument('--board', help='marker board: COLUMNSxROWS:SQUARE_M:MARKER_M')
    parser.add_argument(
        '--object-length', type=float, metavar='M',
        help='distance of the two points of the object that are farthest apart, m',
    )  # fmt: skip
    parser.add_argument(
        '--camera-spacing', nargs=3, metavar=('PHOTO', 'PHOTO', 'M'),
        help='distance of the cameras of two photographs, m',
    )  # fmt: skip
    parser.add_argument(
        '--points', type=Path, metavar='JSON',
        help='two points marked in photographs: {"distance_m", "a": {"PHOTO": [x, y], ...}, "b"}',
    )  # fmt: skip
    parser.add_argument(
        '--sequence', type=int, metavar='N',
        help='the photographs are in order: match each with the next N only',
    )  # fmt: skip
    parser.add_argument(
        '--segment', action='store_true', help='cut the object out with the segmentation network'
    )
    parser.add_argument('--photographs-config', type=Path, help='YAML with options to change')
