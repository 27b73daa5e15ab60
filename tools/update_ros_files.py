#!/usr/bin/env python3
"""Write again what is generated from the code: config/inspection.yaml and
config/line_controller.yaml, the tables of ros2.md.

Run it after a change of options or topics: .venv/bin/python tools/update_ros_files.py
With --check it writes nothing and ends with exit code 1 when something is old.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / 'src'))

from pad_inspection.ros import interfaces, parameter_docs  # noqa: E402

PLC_FILE = ROOT / 'config' / 'line_controller.yaml'
PARAMETER_FILE = ROOT / 'config' / 'inspection.yaml'
DOCS = ROOT / 'docs' / 'ros2.md'
HEADER = """\
# The nodes of an inspection line with all their parameters; values are the defaults. Copy it, set
# bundle and cameras, then: pad up --config FILE
# or: ros2 launch pad_inspection inspection.launch.py params_file:=FILE
# Lines that start with "# <option>:" keep what the model bundle was calibrated with.
# Written by tools/update_ros_files.py.
"""


PLC_HEADER = """\
# The connection to a line controller with all its parameters; values are the defaults. Add it to
# the file of the other nodes for `pad up`, or: ros2 launch pad_inspection
# line_controller.launch.py params_file:=FILE map_file:=MAP
# Written by tools/update_ros_files.py.
"""


def parameter_file() -> str:
    """Content of config/inspection.yaml."""
    kinds = ('inspection_node', 'reject_node')
    return HEADER + '\n'.join(map(parameter_docs.parameter_file_text, kinds))


def plc_file() -> str:
    """Content of config/line_controller.yaml."""
    return PLC_HEADER + parameter_docs.parameter_file_text('line_controller_node')


def docs(text: str) -> str:
    """docs/ros2.md with fresh tables between its markers.

    Raises:
        ValueError: a marker is missing.
    """
    for name, table in (
        ('topics', interfaces.topics_table()),
        ('parameters', parameter_docs.tables()),
    ):
        begin, end = f'<!-- {name}: generated -->', f'<!-- {name}: end -->'
        if begin not in text or end not in text:
            raise ValueError(f'{DOCS} lacks {begin} or {end}')
        head, _, rest = text.partition(begin)
        _, _, tail = rest.partition(end)
        text = f'{head}{begin}\n{table.strip()}\n{end}{tail}'
    return text


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--check', action='store_true', help='write nothing')
    check = parser.parse_args().check
    old = 0
    files = {
        PARAMETER_FILE: parameter_file(),
        PLC_FILE: plc_file(),
        DOCS: docs(DOCS.read_text()),
    }
    for path, wanted in files.items():
        if path.is_file() and path.read_text() == wanted:
            continue
        old += 1
        print(f'{path.relative_to(ROOT)} {"is old" if check else "written"}')
        if not check:
            path.write_text(wanted)
    return 1 if check and old else 0


if __name__ == '__main__':
    sys.exit(main())
