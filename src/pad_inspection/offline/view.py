"""Look at the splats of a bundle: one self-contained HTML page that any browser opens.

The page draws with Spark and three.js (both MIT), which npm fetches on first use.

Examples:
  pad view out/coupe
  pad view out/coupe --out coupe.html
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
    parser.add_argument('bundle', type=Path, metavar='BUNDLE', help='model bundle')
    parser.add_argument('--out', type=Path, help='HTML file (default: out/view/<bundle>.html)')


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
    from pad_inspection.bundle import open_bundle
    from pad_inspection.rendering.gaussians import read_ply
    from pad_inspection.rendering.renderer import SplatScene

    bundle = open_bundle(arguments.bundle)
    path = bundle.file('gaussians.ply')
    scene = SplatScene(read_ply(path), 'cpu')
    title = bundle.manifest['model_id']
    page = make_page(path.read_bytes(), _script(), title, scene.center.tolist(), scene.radius)
    out = arguments.out or Path('out/view') / f'{Path(arguments.bundle).name}.html'
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(page, encoding='utf-8')
    print(f'{out} ({out.stat().st_size / 1e6:.1f} MB): open it in a browser')
    return 0
