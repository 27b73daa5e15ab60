"""The web page of viewer_node: what it shows, and the server. Plain Python without ROS."""

from __future__ import annotations

import io
import ipaddress
import json
import socket
import sys
import threading
from collections import deque
from collections.abc import Sequence
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from typing import Any
from urllib.parse import unquote, urlsplit

import numpy as np

from pad_inspection.text_safety import printable

_JPEG_QUALITY = 85
# Of what comes from the line under names that it chooses itself.
_MAX_HEALTH = _MAX_MODELS = 50
# Characters of a text that are kept.
_MAX_TEXT = 500
# Bytes of a request.
_MAX_HEAD = 16 * 1024
# A browser gets news at most this often, and a sign of life when there are none, s.
_NEWS_S, _ALIVE_S = 0.1, 5.0
# One that gets no thread has this long to take its answer, s.
_REFUSAL_S = 0.05
_BUSY = b'HTTP/1.0 503 Service Unavailable\r\nRetry-After: 5\r\nContent-Length: 0\r\n\r\n'
_POLICY = (
    "default-src 'none'; connect-src 'self'; img-src 'self'; script-src 'unsafe-inline'; "
    "style-src 'unsafe-inline'; frame-ancestors 'none'"
)


class ViewerState:
    """What the page shows; texts are escaped and cut. Thread-safe."""

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
        self._health: dict[str, dict] = {}
        self._num_results = self._num_signals = 0

    def _change(self) -> None:
        """Tell those that wait; the lock is held."""
        self._version += 1
        self._changed.notify_all()

    def set_result(self, camera: str, **values: Any) -> None:
        """Latest result of a camera."""
        values = _bounded(values)
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
        values = _bounded(values)
        with self._changed:
            self._pieces.appendleft(values)
            self._num_signals += 1
            self._change()

    def set_model(self, product: str, text: str) -> None:
        """Model of a product."""
        with self._changed:
            _keep(self._models, printable(product), printable(text.strip()), _MAX_MODELS)
            self._change()

    def set_health(self, name: str, text: str, *, warn: bool) -> None:
        """State of a part of a node."""
        value = _bounded({'name': name, 'text': text, 'warn': warn})
        with self._changed:
            if self._health.get(value['name']) != value:
                _keep(self._health, value['name'], value, _MAX_HEALTH)
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


def _bounded(values: dict[str, Any]) -> dict[str, Any]:
    """Values whose texts are fit to be shown; ids are shorter than other texts."""
    return {
        name: (printable(value) if name == 'object_id' else printable(value, _MAX_TEXT))
        if isinstance(value, str)
        else value
        for name, value in values.items()
    }


def _keep(kept: dict[str, Any], name: str, value: Any, most: int) -> None:
    """Set a value; the one that was there first goes when there are too many."""
    kept[name] = value
    if len(kept) > most:
        del kept[next(iter(kept))]


class ViewerServer:
    """HTTP server in threads of its own."""

    def __init__(
        self,
        state: ViewerState,
        host: str,
        port: int,
        *,
        host_names: Sequence[str] = (),
        max_connections: int = 64,
    ):
        """Bind.

        Args:
            state: what is shown.
            host: address to listen on; 127.0.0.1 = this machine only.
            port: 0 = a free one.
            host_names: names under which browsers may ask for the page, besides addresses,
                localhost and the name of this computer.
            max_connections: at once; half of them may be pages, which hold one each.

        Raises:
            ValueError: the address cannot be used.
        """
        self._state = state
        page = (files('pad_inspection') / 'data' / 'viewer' / 'index.html').read_bytes()
        names = {name.lower() for name in ('localhost', host, socket.gethostname(), *host_names)}
        own = {
            'state': state,
            'page': page,
            'names': frozenset(names),
            'pages': threading.BoundedSemaphore(max(1, max_connections // 2)),
        }
        try:
            self._server = _Server((host, port), type('Handler', (_Handler,), own))
        except OSError as error:
            raise ValueError(f'cannot listen on {host}:{port}: {error}') from error
        self._server.free = threading.BoundedSemaphore(max_connections)
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


class _Server(ThreadingHTTPServer):
    """A thread for each connection, up to ``free`` of them."""

    daemon_threads = True
    # connections that wait to be accepted; the 5 of the default are lost in a burst
    request_queue_size = 128
    free: threading.BoundedSemaphore

    def process_request(self, request, client_address) -> None:
        """Give a connection its thread, or tell that there is none left."""
        if not self.free.acquire(blocking=False):
            self._refuse(request)
            return
        try:
            super().process_request(request, client_address)
        except BaseException:
            self.free.release()
            raise

    def process_request_thread(self, request, client_address) -> None:
        """In the thread."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self.free.release()

    def _refuse(self, request: socket.socket) -> None:
        """503 without a thread."""
        try:
            request.settimeout(_REFUSAL_S)
            request.sendall(_BUSY)
        except OSError:
            pass
        _take_rest(request)
        self.shutdown_request(request)

    def handle_error(self, request, client_address) -> None:
        """A connection that breaks is everyday; anything else is a fault of ours."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


def _take_rest(connection: socket.socket) -> None:
    """Read some of what is still unread: closed before that, the answer is lost on its way."""
    try:
        connection.settimeout(_REFUSAL_S)
        connection.shutdown(socket.SHUT_WR)
        connection.recv(1 << 20)
    except OSError:
        pass


class _Handler(BaseHTTPRequestHandler):
    """One request; what is not here is set by ViewerServer."""

    state: ViewerState
    page: bytes
    names: frozenset[str]
    pages: threading.BoundedSemaphore
    server_version, sys_version = 'pad_inspection', ''
    # a browser that hangs must not hold a thread for long, s
    timeout = 20

    def handle(self) -> None:
        """One request with a head of bounded length; no request here has a body."""
        lines, room = [], _MAX_HEAD
        while not lines or lines[-1] not in (b'', b'\n', b'\r\n'):
            lines.append(self.rfile.readline(room + 1))
            room -= len(lines[-1])
            if room < 0:
                self.requestline = self.command = ''
                self.request_version = self.protocol_version
                self.send_error(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
                self.wfile.flush()
                _take_rest(self.connection)
                return
        self.rfile.close()
        self.rfile = io.BytesIO(b''.join(lines))
        super().handle()

    def do_GET(self) -> None:
        """Page, events or a picture."""
        if not self._is_for_us():
            self.send_error(
                HTTPStatus.MISDIRECTED_REQUEST,
                explain='This computer is not known by that name; the parameter host_names of '
                'viewer_node lists names.',
            )
            return
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

    def _is_for_us(self) -> bool:
        """Whether a browser asked for this computer.

        A foreign page whose name was pointed here (DNS rebinding) could read everything else: to
        the browser it would be of one origin with this page. An address cannot be pointed
        anywhere.
        """
        hosts = self.headers.get_all('Host') or []
        if len(hosts) != 1 or not self.path.startswith('/'):
            return False
        try:
            host = urlsplit(f'//{hosts[0]}').hostname or ''
        except ValueError:
            return False
        if host in self.names:
            return True
        try:
            ipaddress.ip_address(host)
        except ValueError:
            return False
        return True

    def _send(self, body: bytes, kind: str) -> None:
        self.send_response(HTTPStatus.OK)
        self.send_header('Content-Type', kind)
        self.send_header('Content-Length', str(len(body)))
        self.send_header('Cache-Control', 'no-store')
        self.send_header('X-Content-Type-Options', 'nosniff')
        self.send_header('Content-Security-Policy', _POLICY)
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
        if not self.pages.acquire(blocking=False):
            self.send_error(HTTPStatus.SERVICE_UNAVAILABLE)
            return
        try:
            self._send_news()
        finally:
            self.pages.release()

    def _send_news(self) -> None:
        """See _send_events."""
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
