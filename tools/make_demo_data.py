"""Render the committed demo data set again: demo/data/coupe (profile `demo`, seed 0).

Renders into out/demo_data first (a stopped run goes on there), then replaces demo/data/coupe.

Examples:
  python tools/make_demo_data.py
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CLASS = 'coupe'


def main() -> int:
    """Render and replace; 0 when it worked."""
    sys.path.insert(0, str(ROOT / 'src'))
    from pad_inspection.cli import main as pad

    work, target = ROOT / 'out' / 'demo_data', ROOT / 'demo' / 'data' / CLASS
    status = pad(
        ['dataset', 'render', '--classes', CLASS, '--profile', 'demo', '--out', str(work)]
    )
    if status or pad(['dataset', 'check', str(work / CLASS)]):
        return 1
    shutil.rmtree(target, ignore_errors=True)
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.move(work / CLASS, target)
    print(target.relative_to(ROOT))
    return 0


if __name__ == '__main__':
    sys.exit(main())
