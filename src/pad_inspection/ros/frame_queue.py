"""Images that wait for their CameraInfo, their trigger and the worker: one short queue a camera.

Plain Python without ROS: callbacks put, one worker takes. Every image that is put leaves exactly
once: taken, or handed back because a newer one replaced it, or drained.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

# Triggers and CameraInfos that are kept for images that are still on their way.
_MAX_REMEMBERED = 256


@dataclass
class QueuedFrame:
    """One image on its way.

    Attributes:
        camera: name of the camera.
        message: the image message, undecoded.
        stamp_ns: of its header.
        arrived: monotonic time of arrival, s.
        info: its CameraInfo message, None while or when it is missing.
        object_id: of its trigger, None while or when it is missing.
    """

    camera: str
    message: Any
    stamp_ns: int
    arrived: float
    info: Any = None
    object_id: str | None = None


@dataclass(frozen=True)
class _Trigger:
    """One exposure: who, when, which cameras (empty = all)."""

    object_id: str
    stamp_ns: int
    cameras: frozenset[str]


class FrameQueue:
    """Pairs images with CameraInfo and trigger; hands them out oldest first. Thread-safe."""

    def __init__(
        self,
        cameras: Sequence[str],
        *,
        size: int = 1,
        exact_info: bool = True,
        info_timeout: float = 1.0,
        trigger_timeout: float = 0.0,
        trigger_tolerance: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
    ):
        """Make empty queues.

        Args:
            cameras: names.
            size: images of one camera that wait; then the oldest is replaced.
            exact_info: CameraInfo must have the image's stamp; else the last one serves.
            info_timeout: s; afterwards the image leaves without CameraInfo.
            trigger_timeout: s; afterwards the image leaves without an object_id.
            trigger_tolerance: s by which the stamps of trigger and image may differ.
            clock: monotonic time, s.
        """
        self._size = size
        self._exact_info = exact_info
        self._info_timeout = info_timeout
        self._trigger_timeout = trigger_timeout
        self._tolerance_ns = round(trigger_tolerance * 1e9)
        self._clock = clock
        self._changed = threading.Condition()
        self._closed = False
        self._in_work = 0
        self._frames: dict[str, deque[QueuedFrame]] = {camera: deque() for camera in cameras}
        self._infos: dict[str, OrderedDict[int, Any]] = {c: OrderedDict() for c in cameras}
        self._triggers: deque[_Trigger] = deque(maxlen=_MAX_REMEMBERED)

    def __len__(self) -> int:
        with self._changed:
            return sum(len(frames) for frames in self._frames.values())

    def put_image(self, camera: str, message: Any, stamp_ns: int) -> list[QueuedFrame]:
        """Add an image; returns those that it replaced."""
        with self._changed:
            frames, replaced = self._frames[camera], []
            while len(frames) >= self._size:
                replaced.append(frames.popleft())
            frames.append(QueuedFrame(camera, message, stamp_ns, self._clock()))
            self._changed.notify_all()
            return replaced

    def put_camera_info(self, camera: str, message: Any, stamp_ns: int) -> None:
        """Add a CameraInfo."""
        with self._changed:
            infos = self._infos[camera]
            infos[stamp_ns] = message
            infos.move_to_end(stamp_ns)
            while len(infos) > _MAX_REMEMBERED:
                infos.popitem(last=False)
            self._changed.notify_all()

    def put_trigger(self, object_id: str, cameras: Sequence[str], stamp_ns: int) -> None:
        """Add a trigger; ``cameras`` empty = all."""
        with self._changed:
            self._triggers.append(_Trigger(object_id, stamp_ns, frozenset(cameras)))
            self._changed.notify_all()

    def take(self) -> QueuedFrame | None:
        """Wait for the next image that is complete or has waited long enough.

        The caller says ``done()`` when it has been answered.

        Returns:
            None when the queue was closed.
        """
        with self._changed:
            while not self._closed:
                now = self._clock()
                heads = [frames[0] for frames in self._frames.values() if frames]
                waits = {}
                for frame in sorted(heads, key=lambda f: f.arrived):
                    wait = self._seconds_to_ready(frame, now)
                    if wait <= 0:
                        self._frames[frame.camera].popleft()
                        self._in_work += 1
                        return frame
                    waits[frame.camera] = wait
                self._changed.wait(min(waits.values(), default=None))
            return None

    def _seconds_to_ready(self, frame: QueuedFrame, now: float) -> float:
        """How long a frame may still wait; 0 or less: it is ready."""
        waited, wait = now - frame.arrived, 0.0
        if frame.info is None:
            frame.info = self._find_info(frame)
            if frame.info is None:
                wait = self._info_timeout - waited
        if frame.object_id is None:
            frame.object_id = self._find_object(frame)
            if frame.object_id is None:
                wait = max(wait, self._trigger_timeout - waited)
        return wait

    def _find_info(self, frame: QueuedFrame) -> Any:
        infos = self._infos[frame.camera]
        if self._exact_info:
            return infos.get(frame.stamp_ns)
        return next(reversed(infos.values())) if infos else None

    def _find_object(self, frame: QueuedFrame) -> str | None:
        matching = [
            trigger
            for trigger in self._triggers
            if abs(trigger.stamp_ns - frame.stamp_ns) <= self._tolerance_ns
            and (not trigger.cameras or frame.camera in trigger.cameras)
        ]
        nearest = min(
            matching, key=lambda trigger: abs(trigger.stamp_ns - frame.stamp_ns), default=None
        )
        return None if nearest is None else nearest.object_id

    def done(self) -> None:
        """Tell that a taken image was answered."""
        with self._changed:
            self._in_work -= 1
            self._changed.notify_all()

    def wait_until_answered(self, timeout: float) -> bool:
        """Wait until no taken image is in work; False when that took longer than timeout s."""
        with self._changed:
            return self._changed.wait_for(lambda: self._in_work == 0, timeout)

    def drain(self) -> list[QueuedFrame]:
        """Take out all images that wait, with what was known of them."""
        with self._changed:
            left = []
            for frames in self._frames.values():
                for frame in frames:
                    self._seconds_to_ready(frame, self._clock())
                    left.append(frame)
                frames.clear()
            return left

    def close(self) -> None:
        """Wake the worker for good."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
