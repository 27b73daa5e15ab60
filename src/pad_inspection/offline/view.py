"""Look at the splats of a bundle: one self-contained HTML page that any browser opens.

The page is made by @playcanvas/splat-transform (MIT), which npm fetches on first use.

Examples:
  pad view out/coupe
  pad view out/coupe --out coupe.html
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
from pathlib import Path

SPLAT_TRANSFORM = '@playcanvas/splat-transform@2.7.1'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `pad view`."""
    parser.add_argument('bundle', type=Path, metavar='BUNDLE', help='model bundle')
    parser.add_argument('--out', type=Path, help='HTML file (default: out/view/<bundle>.html)')


def _tool() -> Path:
    """The converter's program, fetched into the user's cache when it is not there."""
    cache = Path(os.environ.get('XDG_CACHE_HOME', Path.home() / '.cache')) / 'pad_inspection'
    folder = cache / SPLAT_TRANSFORM.replace('/', '_')
    program = folder / 'node_modules' / '.bin' / 'splat-transform'
    if program.exists():
        return program
    if not shutil.which('npm'):
        raise FileNotFoundError('`pad view` needs npm: apt-get install nodejs npm')
    folder.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        [
            'npm',
            'install',
            '--silent',
            '--no-audit',
            '--no-fund',
            '--prefix',
            folder,
            SPLAT_TRANSFORM,
        ],
        capture_output=True,
        text=True,
    )
    if done.returncode or not program.exists():
        raise FileNotFoundError(f'npm could not install {SPLAT_TRANSFORM}: {done.stderr[-300:]}')
    return program


def run(arguments: argparse.Namespace) -> int:
    """Run `pad view`."""
    from pad_inspection.bundle import open_bundle

    bundle = open_bundle(arguments.bundle)
    out = arguments.out or Path('out/view') / f'{Path(arguments.bundle).name}.html'
    out.parent.mkdir(parents=True, exist_ok=True)
    command = [_tool(), '-w', '-g', 'cpu', bundle.file('gaussians.ply'), out]
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    if done.returncode or not out.is_file():
        raise ValueError(f'the page could not be made: {(done.stderr or done.stdout)[-300:]}')
    print(f'{out} ({out.stat().st_size / 1e6:.1f} MB): open it in a browser')
    return 0
