"""A headless Chromium that opens a page, waits for its title and takes a picture of it."""

import base64
import itertools
import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import cv2
import numpy as np

PROGRAM = shutil.which('chromium') or shutil.which('chromium-browser')
_FLAGS = (
    '--headless', '--no-sandbox', '--disable-gpu', '--enable-unsafe-swiftshader', '--disable-quic',
    '--no-first-run', '--disable-background-networking', '--disable-component-update',
    '--disable-sync', '--remote-debugging-pipe',
)  # fmt: skip


class _Pipe:
    """Chromium's debugging protocol: JSON messages that end with a zero byte, on fd 3 and 4."""

    def __init__(self, user_dir: str, size: tuple[int, int]):
        to_chromium, self._write = os.pipe()
        self._read, from_chromium = os.pipe()
        # the shell puts the pipes where Chromium wants them
        words = [
            PROGRAM,
            *_FLAGS,
            f'--user-data-dir={user_dir}',
            '--window-size={},{}'.format(*size),
        ]
        redirect = f'exec "$@" 3<&{to_chromium} 4>&{from_chromium}'
        self._process = subprocess.Popen(
            ['bash', '-c', redirect, 'bash', *words],
            pass_fds=(to_chromium, from_chromium),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(to_chromium)
        os.close(from_chromium)
        self._rest, self._numbers = b'', itertools.count(1)

    def ask(self, method: str, session: str | None = None, **parameters) -> dict:
        """Call a method and wait for its result."""
        message = {'id': next(self._numbers), 'method': method, 'params': parameters}
        if session:
            message['sessionId'] = session
        os.write(self._write, json.dumps(message).encode() + b'\0')
        while True:
            answer = self._next()
            if answer.get('id') == message['id']:
                if 'error' in answer:
                    raise RuntimeError(f'{method}: {answer["error"]}')
                return answer['result']

    def _next(self) -> dict:
        while b'\0' not in self._rest:
            more = os.read(self._read, 1 << 16)
            if not more:
                raise RuntimeError('Chromium ended')
            self._rest += more
        first, self._rest = self._rest.split(b'\0', 1)
        return json.loads(first)

    def close(self) -> None:
        os.close(self._write)
        os.close(self._read)
        self._process.terminate()
        self._process.wait()


def screenshot(page: Path, ready: str, size: tuple[int, int] = (320, 240)) -> np.ndarray:
    """Picture uint8 (H, W, 3) RGB of a page, once its title ends with ``ready``."""
    # the browser's processes may still write while the folder is removed
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as user_dir:
        pipe = _Pipe(user_dir, size)
        try:
            target = pipe.ask('Target.createTarget', url='about:blank')['targetId']
            session = pipe.ask('Target.attachToTarget', targetId=target, flatten=True)['sessionId']
            pipe.ask('Page.navigate', session, url=page.resolve().as_uri())
            # runs in the page and resolves there: no waiting by the clock
            wait = (
                'new Promise((done) => { const look = () => document.title.endsWith('
                f'{json.dumps(ready)}) ? done() : requestAnimationFrame(look); look(); }})'
            )
            pipe.ask('Runtime.evaluate', session, expression=wait, awaitPromise=True)
            data = pipe.ask('Page.captureScreenshot', session, format='png')['data']
        finally:
            pipe.close()
    encoded = np.frombuffer(base64.b64decode(data), np.uint8)
    return cv2.imdecode(encoded, cv2.IMREAD_COLOR)[..., ::-1]
