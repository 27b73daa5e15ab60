"""Keeps small copies of the overlay pictures and stores those of rejected pieces in the log.

Overlays are large and may come before or after the verdict, so this has a callback group of its
own: no signal waits for a picture.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict

import numpy as np
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.clock import Clock, ClockType
from rclpy.node import Node

from pad_inspection.ros import conversions, debug_pictures, interfaces
from pad_inspection.ros.log_writer import LogWriter
from pad_inspection.ros.tracked_pieces import Decision

# Small pictures of one camera that wait for their verdict; one takes about 30 kB.
_KEPT = 64
# A picture that has not come this long after the verdict was not made, s.
_PATIENCE_S = 5.0
_PERIOD_S = 0.5
_JPEG_QUALITY = 85


class RejectPictures:
    """See the module's text."""

    def __init__(self, node: Node, cameras: tuple[str, ...], log: LogWriter, side_px: int):
        """Subscribe; the inspection nodes then draw overlays.

        Args:
            node: whose subscriptions these are.
            cameras: names.
            log: where pictures go.
            side_px: longer side of a stored picture, px.
        """
        self._node, self._log, self._side_px = node, log, side_px
        self._lock = threading.Lock()
        self._kept: dict[str, OrderedDict[int, bytes]] = {name: OrderedDict() for name in cameras}
        self._wanted: dict[tuple[str, int], tuple[int, float]] = {}
        group = MutuallyExclusiveCallbackGroup()
        topic = interfaces.OVERLAY
        for camera in cameras:
            node.create_subscription(
                interfaces.message_class(topic.message),
                topic.of(camera),
                lambda message, camera=camera: self._on_overlay(camera, message),
                interfaces.qos(topic),
                callback_group=group,
            )
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        node.create_timer(_PERIOD_S, self.store, callback_group=group, clock=steady)

    def want(self, sequence: int, decision: Decision) -> None:
        """Store the pictures of a rejected piece as soon as they are there."""
        until = time.monotonic() + _PATIENCE_S
        with self._lock:
            for key in decision.views:
                self._wanted[key] = (sequence, until)

    def store(self) -> None:
        """Write what is wanted and there."""
        ready = []
        with self._lock:
            for (camera, stamp_ns), (sequence, until) in [*self._wanted.items()]:
                jpeg = self._kept.get(camera, {}).get(stamp_ns)
                if jpeg is not None:
                    ready.append((sequence, camera, jpeg))
                if jpeg is not None or time.monotonic() > until:
                    del self._wanted[camera, stamp_ns]
        for sequence, camera, jpeg in ready:
            self._log.add_picture(sequence, camera, jpeg)

    def _on_overlay(self, camera: str, message) -> None:
        """Keep a small copy."""
        picture = debug_pictures.read(
            self._node, f'overlay of {camera}', message, max_side_px=self._side_px
        )
        if picture is None:
            return
        jpeg = _jpeg(picture)
        kept = self._kept[camera]
        with self._lock:
            kept[conversions.stamp_to_ns(message.header.stamp)] = jpeg
            while len(kept) > _KEPT:
                kept.popitem(last=False)
        self.store()


def _jpeg(picture: np.ndarray) -> bytes:
    """JPEG of a picture uint8 (H, W, 3) RGB."""
    import cv2

    options = [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY]
    return cv2.imencode('.jpg', np.ascontiguousarray(picture[..., ::-1]), options)[1].tobytes()
