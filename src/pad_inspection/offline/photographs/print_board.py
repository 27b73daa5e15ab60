"""Make a marker board to print, for `pad dataset cameras --board`.

Print it at its true size (no scaling), glue it to something flat, and measure a square: its true
size is what --board must say.

Example:
  pad dataset board 7x5:0.03:0.022 --out board.png
"""

from __future__ import annotations

import argparse
from pathlib import Path

from pad_inspection import images
from pad_inspection.offline.photographs.marker_board import MarkerBoard

_M_PER_INCH = 0.0254


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `pad dataset board`."""
    parser.add_argument('board', help='COLUMNSxROWS:SQUARE_M:MARKER_M')
    parser.add_argument('--out', type=Path, required=True, help='picture to write')
    parser.add_argument('--dpi', type=int, default=300, help='of the print')


def run(arguments: argparse.Namespace) -> int:
    """Run `pad dataset board`."""
    board = MarkerBoard.parse(arguments.board)
    images.write(arguments.out, board.draw(arguments.dpi / _M_PER_INCH))
    width, height = (1000 * n * board.square_m for n in (board.columns, board.rows))
    print(f'{arguments.out}: print at {arguments.dpi} dpi, {width:.0f} x {height:.0f} mm')
    return 0
