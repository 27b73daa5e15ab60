"""Look at the splats of a bundle, or at a running line, in a browser.

BUNDLE makes one self-contained HTML page that draws with Spark and three.js (both MIT), which npm
fetches on first use. --live serves a page with the latest pictures, verdicts, pieces and health of
a running line until Ctrl-C.

Examples:
  pad view out/coupe
  pad view out/coupe --out coupe.html
  pad view --live --cameras camera_0 camera_1 camera_2
"""

from __future__ import annotations

import argparse
import base64
import html
import json
import os
import shutil
import subprocess
from pathlib import Path

PACKAGES = ('@sparkjsdev/spark@2.2.0', 'three@0.187.0', 'esbuild@0.28.2')
_SCRIPT = Path(__file__).with_name('view_page.js')
_PAGE = """<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>{title}</title>
<style>body {{ margin: 0; overflow: hidden }}</style></head>
<body>
<script type="application/json" id="settings">{settings}</script>
<script type="text/plain" id="ply">{ply}</script>
<script>{script}</script>
</body>
</html>
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `pad view`."""
    parser.add_argument('bundle', type=Path, metavar='BUNDLE', nargs='?', help='model bundle')
    parser.add_argument('--out', type=Path, help='HTML file (default: out/view/<bundle>.html)')
    parser.add_argument('--live', action='store_true', help='show a running line')
    parser.add_argument('--cameras', nargs='+', default=['camera'], help='with --live: names')
    parser.add_argument('--host', default='127.0.0.1', help='with --live: address to listen on')
    parser.add_argument('--port', type=int, default=8080, help='with --live: 0 = a free one')
    parser.add_argument('--namespace', default='', help='with --live: of the line')


def _run(*words: str | Path, folder: Path) -> None:
    """Run a program in a folder.

    Raises:
        ValueError: it failed; the message holds the end of what it said.
    """
    command = [str(word) for word in words]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if done.returncode:
        said = (done.stderr or done.stdout).strip()[-300:]
        raise ValueError(f'`{" ".join(command)}` in {folder} failed: {said}')


def _script() -> str:
    """The page's program in one piece, made in the user's cache when it is not there."""
    cache = Path(os.environ.get('XDG_CACHE_HOME', Path.home() / '.cache')) / 'pad_inspection'
    folder = cache / 'view' / '_'.join(name.replace('/', '_') for name in PACKAGES)
    bundler = folder / 'node_modules' / '.bin' / 'esbuild'
    if not bundler.exists():
        if not shutil.which('npm'):
            raise FileNotFoundError('`pad view` needs npm: apt-get install nodejs npm')
        folder.mkdir(parents=True, exist_ok=True)
        _run(
            'npm', 'install', '--silent', '--no-audit', '--no-fund', '--prefix', folder, *PACKAGES,
            folder=folder,
        )  # fmt: skip
    source, target = folder / _SCRIPT.name, folder / 'page.js'
    shutil.copyfile(_SCRIPT, source)  # beside the packages that it imports
    _run(
        bundler, source, '--bundle', '--minify', '--format=iife', '--log-level=error',
        f'--outfile={target}', folder=folder,
    )  # fmt: skip
    return target.read_text()


def make_page(ply: bytes, script: str, title: str, center: list[float], radius: float) -> str:
    """Text of the page.

    Args:
        ply: the splat model's file.
        script: the page's program.
        title: of the page.
        center: m, what the camera turns about.
        radius: m, of the object.
    """
    settings = json.dumps({'title': title, 'center': center, 'radius': radius})
    return _PAGE.format(
        title=html.escape(title),
        settings=settings.replace('<', '\\u003c'),
        ply=base64.b64encode(ply).decode(),
        script=script.replace('</script', '<\\/script'),
    )


def run(arguments: argparse.Namespace) -> int:
    """Run `pad view`."""
    if arguments.live == bool(arguments.bundle):
        raise ValueError('pad view wants either a BUNDLE or --live')
    if arguments.live:
        return _live(arguments)
    from pad_inspection.bundle import open_bundle
    from pad_inspection.rendering.gaussians import read_ply
    from pad_inspection.rendering.renderer import SplatScene

    bundle = open_bundle(arguments.bundle)
    path = bundle.file('gaussians.ply')
    scene = SplatScene(read_ply(path), 'cpu')
    title = bundle.manifest.get('model_id', '')
    page = make_page(path.read_bytes(), _script(), title, scene.center.tolist(), scene.radius)
    out = arguments.out or Path('out/view') / f'{Path(arguments.bundle).name}.html'
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(page, encoding='utf-8')
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
