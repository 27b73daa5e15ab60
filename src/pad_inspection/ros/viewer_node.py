"""Shows a line in a browser: latest pictures, verdicts, pieces, health; where there is no rviz.

    python -m pad_inspection.ros.viewer_node --ros-args -p cameras:="[camera_0]" -p port:=8080

Only listens on the line. One page, state as server-sent events, pictures as JPEG.
"""

from __future__ import annotations

import math
import sys

from rclpy.node import Node

from pad_inspection.datatypes import Reason, Verdict
from pad_inspection.ros import debug_pictures, interfaces, parameters
from pad_inspection.ros.runner import run
from pad_inspection.ros.viewer_server import ViewerServer, ViewerState

# Larger pictures are shrunk: they are kept, and sent to browsers.
_MAX_SIDE_PX = 2000
_PICTURES = {'overlay': interfaces.OVERLAY, 'reference': interfaces.REFERENCE}


class ViewerNode(Node):
    """Subscribes and keeps the state; the server runs in threads of its own."""

    def __init__(self):
        super().__init__('viewer_node')
        parameters.declare(self, 'viewer_node')
        config = parameters.read_own(self, 'viewer_node')
        self._state = ViewerState(config.cameras, num_pieces=config.num_pieces)
        self._server = ViewerServer(
            self._state,
            config.host,
            config.port,
            host_names=config.host_names,
            max_connections=config.max_connections,
        )
        for camera in config.cameras:
            self._listen(interfaces.RESULTS, self._on_results, camera)
            for kind, topic in _PICTURES.items():
                self._listen(topic, self._picture_callback(camera, kind), camera, depth=1)
        self._listen(interfaces.REJECT_SIGNAL, self._on_signal)
        self._listen(interfaces.MODEL_INFO, self._on_model)
        self._listen(interfaces.DIAGNOSTICS, self._on_diagnostics)
        self._server.start()
        self.get_logger().info(f'open {self._server.url} in a browser')

    def _listen(self, topic: interfaces.Topic, callback, camera: str = '', depth=None) -> None:
        kind, profile = interfaces.message_class(topic.message), interfaces.qos(topic, depth=depth)
        self.create_subscription(kind, topic.of(camera), callback, profile)

    def close(self) -> None:
        """End the server."""
        self._server.stop()

    def _picture_callback(self, camera: str, kind: str):
        def store(message) -> None:
            picture = debug_pictures.read(
                self, f'{kind} of {camera}', message, max_side_px=_MAX_SIDE_PX
            )
            if picture is not None:
                self._state.set_picture(camera, kind, picture)

        return store

    def _on_results(self, message) -> None:
        for result in message.results:
            if result.reason == Reason.NO_PIECE:
                continue
            duration = result.processing_time
            self._state.set_result(
                result.camera_name,
                object_id=result.object_id,
                verdict=_name(Verdict, result.verdict),
                score=_finite(result.anomaly_score),
                threshold=_finite(result.threshold),
                seconds=duration.sec + duration.nanosec / 1e9,
                message=_why(result),
            )

    def _on_signal(self, message) -> None:
        self._state.add_piece(
            object_id=message.object_id,
            reject=bool(message.reject),
            score=_finite(message.anomaly_score),
            reason=_name(Reason, message.reason),
            message=message.message,
        )

    def _on_model(self, message) -> None:
        self._state.set_model(message.object_type, f'{message.object_type} {message.model_id}')

    def _on_diagnostics(self, message) -> None:
        for status in message.status:
            warn = status.level != status.OK
            self._state.set_health(status.name, status.message or 'ok', warn=warn)


def _name(kind, value: int) -> str:
    """Name of a verdict or reason; a number that nobody defined stays one."""
    try:
        return kind(value).name
    except ValueError:
        return str(value)


def _finite(value: float) -> float | None:
    """JSON knows no NaN."""
    return float(value) if math.isfinite(value) else None


def _why(result) -> str:
    """Reason and message of a result."""
    reason = _name(Reason, result.reason)
    return result.message if reason == 'NONE' else f'{reason} {result.message}'.strip()


def main(args: list[str] | None = None) -> int:
    """Console script."""
    return run(ViewerNode, args, threads=1)


if __name__ == '__main__':
    sys.exit(main())
