"""The web page of viewer_node: what it shows, and the server. Plain Python without ROS."""

from __future__ import annotations

import json
import threading
from collections import OrderedDict, deque
from collections.abc import Sequence
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from typing import Any
from urllib.parse import unquote, urlsplit

import numpy as np

_JPEG_QUALITY = 85
_MAX_HEALTH = 50
# A browser gets news at most this often, and a sign of life when there are none, s.
_NEWS_S, _ALIVE_S = 0.1, 5.0


class ViewerState:
    """What the page shows. Thread-safe."""

    def __init__(self, cameras: Sequence[str], num_pieces: int = 20):
        """Nothing seen yet.

        Args:
            cameras: names, in the order of the page.
            num_pieces: pieces that are listed.
        """
        self._changed = threading.Condition()
        self._version = 0
        self._closed = False
        self._cameras: dict[str, dict[str, Any]] = {name: {'pictures': {}} for name in cameras}
        self._pictures: dict[tuple[str, str], np.ndarray] = {}
        self._pieces: deque[dict] = deque(maxlen=num_pieces)
        self._models: dict[str, str] = {}
        self._health: OrderedDict[str, dict] = OrderedDict()
        self._num_results = self._num_signals = 0

    def _change(self) -> None:
        """Tell those that wait; the lock is held."""
        self._version += 1
        self._changed.notify_all()

    def set_result(self, camera: str, **values: Any) -> None:
        """Latest result of a camera."""
        with self._changed:
            if camera in self._cameras:
                self._cameras[camera] |= values
                self._num_results += 1
                self._change()

    def set_picture(self, camera: str, kind: str, picture: np.ndarray) -> None:
        """Latest picture, uint8 (H, W, 3) RGB; it is encoded when a browser asks."""
        with self._changed:
            self._pictures[camera, kind] = picture
            self._change()
            self._cameras[camera]['pictures'][kind] = self._version

    def add_piece(self, **values: Any) -> None:
        """A piece was decided."""
        with self._changed:
            self._pieces.appendleft(values)
            self._num_signals += 1
            self._change()

    def set_model(self, product: str, text: str) -> None:
        """Model of a product."""
        with self._changed:
            self._models[product] = text.strip()
            self._change()

    def set_health(self, name: str, text: str, *, warn: bool) -> None:
        """State of a part of a node."""
        with self._changed:
            value = {'name': name, 'text': text, 'warn': warn}
            if self._health.get(name) != value:
                self._health[name] = value
                while len(self._health) > _MAX_HEALTH:
                    self._health.popitem(last=False)
                self._change()

    def snapshot(self) -> tuple[int, dict]:
        """Version and JSON-able state."""
        with self._changed:
            cameras = {n: {**v, 'pictures': dict(v['pictures'])} for n, v in self._cameras.items()}
            return self._version, {
                'cameras': cameras,
                'pieces': list(self._pieces),
                'models': list(self._models.values()),
                'health': list(self._health.values()),
                'num_results': self._num_results,
                'num_signals': self._num_signals,
            }

    def picture(self, camera: str, kind: str) -> np.ndarray | None:
        """Latest picture, or None."""
        with self._changed:
            return self._pictures.get((camera, kind))

    def wait_for_news(self, version: int, timeout: float) -> bool:
        """Wait until the state is newer than ``version``; False when closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._version != version, timeout)
            return not self._closed

    def close(self) -> None:
        """Wake all that wait for good."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    @property
    def is_closed(self) -> bool:
        """Whether the viewer ends."""
        return self._closed


class ViewerServer:
    """HTTP server in threads of its own."""

    def __init__(self, state: ViewerState, host: str, port: int):
        """Bind.

        Args:
            state: what is shown.
            host: address to listen on; 127.0.0.1 = this machine only.
            port: 0 = a free one.

        Raises:
            ValueError: the address cannot be used.
        """
        self._state = state
        page = (files('pad_inspection') / 'data' / 'viewer' / 'index.html').read_bytes()
        handler = type('Handler', (_Handler,), {'state': state, 'page': page})
        try:
            self._server = ThreadingHTTPServer((host, port), handler)
        except OSError as error:
            raise ValueError(f'cannot listen on {host}:{port}: {error}') from error
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def url(self) -> str:
        """Address of the page."""
        host, port = self._server.server_address[:2]
        return f'http://{host}:{port}/'

    def start(self) -> None:
        """Serve from now on."""
        self._thread.start()

    def stop(self) -> None:
        """End; browsers lose their connection."""
        self._state.close()
        if self._thread.is_alive():
            self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    """One request; ``state`` and ``page`` are set by ViewerServer."""

    state: ViewerState
    page: bytes
    # a browser that hangs must not hold a thread for ever, s
    timeout = 60

    def do_GET(self) -> None:
        """Page, events or a picture."""
        parts = [unquote(part) for part in urlsplit(self.path).path.strip('/').split('/')]
        try:
            if parts == ['']:
                self._send(self.page, 'text/html; charset=utf-8')
            elif parts == ['events']:
                self._send_events()
            elif len(parts) == 3 and parts[0] == 'picture':
                self._send_picture(parts[1], parts[2])
            else:
                self.send_error(HTTPStatus.NOT_FOUND)
        except (BrokenPipeError, ConnectionResetError, TimeoutError):
            self.close_connection = True

    def _send(self, body: bytes, kind: str) -> None:
        self.send_response(HTTPStatus.OK)
        self.send_header('Content-Type', kind)
        self.send_header('Content-Length', str(len(body)))
        self.send_header('Cache-Control', 'no-store')
        self.send_header('Content-Security-Policy', "frame-ancestors 'none'")
        self.end_headers()
        self.wfile.write(body)

    def _send_picture(self, camera: str, kind: str) -> None:
        import cv2

        picture = self.state.picture(camera, kind)
        if picture is None:
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        options = [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY]
        _, data = cv2.imencode('.jpg', np.ascontiguousarray(picture[..., ::-1]), options)
        self._send(data.tobytes(), 'image/jpeg')

    def _send_events(self) -> None:
        """State at once and after each change, until either side ends."""
        self.send_response(HTTPStatus.OK)
        self.send_header('Content-Type', 'text/event-stream')
        self.send_header('Cache-Control', 'no-store')
        self.end_headers()
        while not self.state.is_closed:
            version, state = self.state.snapshot()
            self.wfile.write(f'data: {json.dumps(state)}\n\n'.encode())
            self.wfile.flush()
            # many changes at once are one message
            threading.Event().wait(_NEWS_S)
            self.state.wait_for_news(version, _ALIVE_S)

    def log_message(self, format: str, *args: Any) -> None:
        """Requests are not worth a line in the log."""
