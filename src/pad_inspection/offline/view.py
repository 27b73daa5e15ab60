"""Look at the splats of a bundle, or at a running line, in a browser.

BUNDLE makes one self-contained HTML page; @playcanvas/splat-transform (MIT), which npm fetches on
first use, writes it. --live serves a page with the latest pictures, verdicts, pieces and health of
a running line until Ctrl-C.

Examples:
  pad view out/coupe
  pad view out/coupe --out coupe.html
  pad view --live --cameras camera_0 camera_1 camera_2
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
    parser.add_argument('bundle', type=Path, metavar='BUNDLE', nargs='?', help='model bundle')
    parser.add_argument('--out', type=Path, help='HTML file (default: out/view/<bundle>.html)')
    parser.add_argument('--live', action='store_true', help='show a running line')
    parser.add_argument('--cameras', nargs='+', default=['camera'], help='with --live: names')
    parser.add_argument('--host', default='127.0.0.1', help='with --live: address to listen on')
    parser.add_argument('--port', type=int, default=8080, help='with --live: 0 = a free one')
    parser.add_argument('--namespace', default='', help='with --live: of the line')


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
    if arguments.live == bool(arguments.bundle):
        raise ValueError('pad view wants either a BUNDLE or --live')
    if arguments.live:
        return _live(arguments)
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


def _live(arguments: argparse.Namespace) -> int:
    """Serve the page of a running line."""
    from pad_inspection.ros.graph import require_ros, ros_environment

    require_ros()
    from pad_inspection.ros import viewer_node

    os.environ.update(ros_environment())
    words = ['--ros-args', '-p', f'host:={arguments.host}', '-p', f'port:={arguments.port}']
    words += ['-p', f'cameras:={arguments.cameras}']
    if arguments.namespace:
        words += ['-r', f'__ns:=/{arguments.namespace.strip("/")}']
    return viewer_node.main(words)
