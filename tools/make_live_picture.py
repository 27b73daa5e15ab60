#!/usr/bin/env python3
"""Make docs/images/live.jpg again: the live page of the demo line after some pieces.

    .venv/bin/python tools/make_live_picture.py --pieces 4

Needs chromium (apt-get install chromium) and the demo bundle; takes a minute on a free processor.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from importlib.resources import files
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CAMERAS = ['camera_0', 'camera_1', 'camera_2']
PATIENCE_S = 3600.0


def state_of(url: str) -> dict:
    """What the page shows now."""
    with urllib.request.urlopen(f'{url}events', timeout=60) as stream:
        while not (line := stream.readline().decode()).startswith('data: '):
            pass
    return json.loads(line.removeprefix('data: '))


def shoot(url: str, state: dict, out: Path, size: str) -> None:
    """Picture of the page with this state; the browser would wait for events for ever.

    Raises:
        FileNotFoundError: there is no chromium.
        ValueError: it made no picture.
    """
    import cv2

    browser = shutil.which('chromium') or shutil.which('chromium-browser')
    if browser is None:
        raise FileNotFoundError('chromium is missing: apt-get install chromium')
    # the state cannot end the script element
    content = json.dumps(state).replace('</', '<\\/')
    given = (
        f'<base href="{url}"><script>window.EventSource = class {{ constructor() {{ setTimeout('
        f'() => this.onmessage({{data: JSON.stringify({content})}}), 10); }} }};</script>'
    )
    page = (files('pad_inspection') / 'data' / 'viewer' / 'index.html').read_text()
    with tempfile.TemporaryDirectory() as folder:
        html, png = Path(folder) / 'live.html', Path(folder) / 'live.png'
        html.write_text(page.replace('<head>', f'<head>{given}'))
        command = [browser, '--headless', '--no-sandbox', '--disable-gpu', '--hide-scrollbars']
        command += [f'--window-size={size}', '--virtual-time-budget=20000']
        done = subprocess.run(
            [*command, f'--screenshot={png}', html.as_uri()], capture_output=True, text=True
        )
        picture = cv2.imread(str(png))
    if picture is None:
        raise ValueError(f'chromium made no picture: {done.stderr[-300:]}')
    out.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(out), picture, [cv2.IMWRITE_JPEG_QUALITY, 85])
    print(f'{out}: {out.stat().st_size / 1e3:.0f} kB')


def main() -> int:
    """Command line."""
    from pad_inspection.ros.domains import ReservedDomain
    from pad_inspection.ros.graph import NodeGraph, NodeSpec

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--pieces', type=int, default=4, help='that are played')
    parser.add_argument('--port', type=int, default=8098)
    parser.add_argument('--size', default='1500,620', help='of the window, px')
    parser.add_argument('--out', type=Path, default=ROOT / 'docs' / 'images' / 'live.jpg')
    arguments = parser.parse_args()
    url = f'http://127.0.0.1:{arguments.port}/'
    judging = {
        'bundle': str(ROOT / 'demo' / 'bundle' / 'coupe'),
        'cameras': CAMERAS,
        'reliable_images': True,
        'queue_size': 10,
        'trigger_timeout': 10.0,
    }
    replay = {
        'class_dir': str(ROOT / 'demo' / 'data' / 'coupe'),
        'limit': arguments.pieces,
        'min_listeners': 2,
        'result_timeout': PATIENCE_S,
        'startup_timeout': PATIENCE_S,
    }
    specs = [
        NodeSpec('viewer_node', {'cameras': CAMERAS, 'port': arguments.port}),
        NodeSpec('inspection_node', judging),
        NodeSpec(
            'reject_node',
            {
                'cameras': CAMERAS,
                'object_timeout': PATIENCE_S,
                'forget_after': PATIENCE_S,
            },
        ),
        NodeSpec('replay_node', replay),
    ]
    with tempfile.TemporaryDirectory() as folder, ReservedDomain() as domain:
        with NodeGraph(specs, log_dir=Path(folder), domain_id=domain.id) as graph:

            def is_done() -> bool:
                time.sleep(0.5)
                try:
                    return state_of(url)['num_signals'] >= arguments.pieces
                except OSError:  # it does not listen yet
                    return False

            graph.wait_until(is_done, PATIENCE_S, f'{arguments.pieces} pieces')
            time.sleep(1.0)  # the last pictures are drawn after their results
            shoot(url, state_of(url), arguments.out, arguments.size)
    return 0


if __name__ == '__main__':
    sys.exit(main())
