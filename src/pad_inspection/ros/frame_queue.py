"""Images that wait for their CameraInfo, their piece and the worker: one short queue a camera.

Plain Python without ROS: callbacks put, one worker takes. Every image that is put leaves exactly
once: taken, or handed back because it is needless or a newer one replaced it, or drained; one that
was taken may be held and is then taken once more. A replaced image still waits for its trigger,
without its data: its answer must name the right piece.
"""

from __future__ import annotations

import math
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from pad_inspection.ros.association import NO_PIECE, Match, TriggerAssociation
from pad_inspection.ros.belt import BeltAssociation

# How often simulated time is looked at, s.
_SIMULATED_S = 0.02
# CameraInfos that are kept for images on their way, replaced images that wait for a trigger.
_MAX_REMEMBERED = 256


@dataclass(eq=False)
class QueuedFrame:
    """One image on its way.

    Attributes:
        camera: name of the camera.
        header: of the image message.
        message: the image message, undecoded; None once a newer one replaced it.
        stamp_ns: of its header.
        arrived: time of arrival by the queue's clock, s.
        object_type: product on the line when it arrived; '' = unknown.
        info: its CameraInfo message, None while or when it is missing.
        match: its piece, None while or when nobody knows it.
        replaced: a newer image took its place; it is not inspected.
        answered: its result is out, see FrameQueue.claim_answer.
        first: what a first inspection gave, of an image that was held.
    """

    camera: str
    header: Any
    message: Any
    stamp_ns: int
    arrived: float
    object_type: str = ''
    info: Any = None
    match: Match | None = None
    replaced: bool = False
    answered: bool = False
    first: Any = None


# Images that wait, time -> s that a held one still waits; None: until one of them left
SecondsLeft = Callable[[Sequence[QueuedFrame], float], float | None]


class FrameQueue:
    """Pairs images with CameraInfo and piece; hands them out oldest first. Thread-safe."""

    def __init__(
        self,
        cameras: Sequence[str],
        association: TriggerAssociation | BeltAssociation | None = None,
        *,
        size: int = 1,
        exact_info: bool = True,
        info_timeout: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
        is_simulated: bool = False,
    ):
        """Make empty queues.

        Args:
            cameras: names.
            association: knows which piece an image shows; None = no triggers come.
            size: images of one camera that wait; then one is replaced.
            exact_info: CameraInfo must have the image's stamp; else the last one serves.
            info_timeout: s; afterwards the image leaves without CameraInfo.
            clock: time, s. When it is set back, the time of what waits is over.
            is_simulated: the clock runs as it likes.
        """
        self._longest_wait = _SIMULATED_S if is_simulated else math.inf
        self._association = TriggerAssociation() if association is None else association
        self._size = size
        self._exact_info = exact_info
        self._info_timeout = info_timeout
        self._clock = clock
        self._changed = threading.Condition()
        self._closed = False
        self._working: list[QueuedFrame] = []
        self._frames: dict[str, deque[QueuedFrame]] = {camera: deque() for camera in cameras}
        # replaced images whose trigger may still come
        self._unnamed: list[QueuedFrame] = []
        # inspected images that wait for other views
        self._held: dict[QueuedFrame, SecondsLeft] = {}
        self._infos: dict[str, OrderedDict[int, Any]] = {c: OrderedDict() for c in cameras}

    def __len__(self) -> int:
        with self._changed:
            return len(self._waiting())

    def put_image(
        self,
        camera: str,
        message: Any,
        stamp_ns: int,
        object_type: str = '',
        *,
        header: Any = None,
        age: float = 0.0,
    ) -> tuple[list[QueuedFrame], list[QueuedFrame]]:
        """Add an image.

        Args:
            camera: that took it.
            message: the image, undecoded.
            stamp_ns: of its header.
            object_type: product on the line; '' = unknown.
            header: of the message.
            age: time since it arrived, s.

        Returns:
            Images that it replaced and whose piece is known or will not be; itself when no
            piece needs it.
        """
        with self._changed:
            arrived = self._clock() - age
            frame = QueuedFrame(camera, header, message, stamp_ns, arrived, object_type)
            frame.match = self._association.find(camera, stamp_ns)
            if self._is_needless(frame):
                return [], [frame]
            frames, replaced = self._frames[camera], []
            frames.append(frame)
            while len(frames) > self._size:
                least = self._least(frames)
                frames.remove(least)
                least.replaced, least.message = True, None
                self._seconds_to_ready(least, self._clock())
                waits = least.match is None and self._association.timeout > 0
                (self._unnamed if waits else replaced).append(least)
                if len(self._unnamed) > _MAX_REMEMBERED:
                    replaced.append(self._unnamed.pop(0))
            self._changed.notify_all()
            return replaced, []

    def _is_needless(self, frame: QueuedFrame) -> bool:
        """Whether it is known already that no piece needs an image."""
        association = self._association
        waits = association.timeout > 0 or not association.ignores_unknown
        return frame.match == NO_PIECE or (frame.match is None and not waits)

    def _least(self, frames: deque[QueuedFrame]) -> QueuedFrame:
        """The image to give up: the oldest; where belts are followed, first one without piece."""
        if self._association.prefers_known:
            unknown = next((frame for frame in frames if frame.match is None), None)
            if unknown is not None:
                return unknown
        return frames[0]

    def put_camera_info(self, camera: str, message: Any, stamp_ns: int) -> None:
        """Add a CameraInfo."""
        with self._changed:
            infos = self._infos[camera]
            infos[stamp_ns] = message
            infos.move_to_end(stamp_ns)
            while len(infos) > _MAX_REMEMBERED:
                infos.popitem(last=False)
            self._changed.notify_all()

    def update_association(self, change: Callable[[Any], Any]) -> Any:
        """Call ``change(association)`` under the lock: a trigger, a sample of the encoder, ...

        Returns:
            What it returned. Raises what it raised.
        """
        with self._changed:
            result = change(self._association)
            self._changed.notify_all()
            return result

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
                waits = []
                heads += self._held
                # an answer costs nothing, so those that need no inspection go first
                for frame in [*self._unnamed, *sorted(heads, key=lambda f: f.arrived)]:
                    held = self._held.get(frame)
                    if held is None:
                        wait = self._seconds_to_ready(frame, now)
                    else:
                        wait = held([f for frames in self._frames.values() for f in frames], now)
                        # no patience holds once the clock was set back
                        wait = 0.0 if now < frame.arrived else wait
                    if wait is None:
                        continue
                    if wait <= 0:
                        self._remove(frame)
                        self._working.append(frame)
                        return frame
                    waits.append(wait)
                wait = min(waits, default=math.inf)
                wait = min(wait, self._longest_wait) if waits else math.inf
                self._changed.wait(wait if math.isfinite(wait) else None)
            return None

    def _remove(self, frame: QueuedFrame) -> None:
        """Take an image out of where it waits."""
        if self._held.pop(frame, None) is not None:
            return
        (self._unnamed if frame.replaced else self._frames[frame.camera]).remove(frame)

    def _seconds_to_ready(self, frame: QueuedFrame, now: float) -> float:
        """How long a frame may still wait; 0 or less: it is ready."""
        waited, wait = self._waited(frame, now), 0.0
        if frame.info is None and not frame.replaced:
            frame.info = self._find_info(frame)
            if frame.info is None:
                wait = self._info_timeout - waited
        if frame.match is None:
            frame.match = self._association.find(frame.camera, frame.stamp_ns)
            if frame.match is None:
                wait = max(wait, self._association.timeout - waited)
        is_settled = frame.match is not None and not frame.match.object_id
        return 0.0 if is_settled else wait

    @staticmethod
    def _waited(frame: QueuedFrame, now: float) -> float:
        """Time since an image arrived, s; infinite when the clock was set back meanwhile."""
        return now - frame.arrived if now >= frame.arrived else math.inf

    def age(self, frame: QueuedFrame) -> float:
        """Time since an image arrived, s; infinite when the clock was set back meanwhile."""
        return self._waited(frame, self._clock())

    def _find_info(self, frame: QueuedFrame) -> Any:
        infos = self._infos[frame.camera]
        if self._exact_info:
            return infos.get(frame.stamp_ns)
        return next(reversed(infos.values())) if infos else None

    def claim_answer(self, frame: QueuedFrame) -> bool:
        """Whether the caller is the first who answers an image; only that one may."""
        with self._changed:
            first, frame.answered = not frame.answered, True
            return first

    def give_back_answer(self, frame: QueuedFrame) -> None:
        """Tell that the answer that was claimed is not out: somebody else may answer."""
        with self._changed:
            frame.answered = False

    def expire(self, limit: float) -> list[QueuedFrame]:
        """Images that arrived ``limit`` s ago or earlier and have no answer.

        Those that wait are taken out; one that is in work is told once.
        """
        with self._changed:
            now = self._clock()
            late = [f for f in self._working if self._waited(f, now) >= limit and not f.answered]
            for frame in self._waiting():
                if self._waited(frame, now) >= limit:
                    self._seconds_to_ready(frame, now)
                    self._remove(frame)
                    late.append(frame)
            return late

    def _waiting(self) -> list[QueuedFrame]:
        """All images that are not in work."""
        frames = (frame for frames in self._frames.values() for frame in frames)
        return [*self._unnamed, *self._held, *frames]

    def hold(self, frame: QueuedFrame, first: Any, seconds_left: SecondsLeft) -> bool:
        """Put a taken image back, to be taken once more.

        Args:
            frame: the image.
            first: kept with it.
            seconds_left: how long it still waits; called by ``take``.

        Returns:
            False when its answer is out: then it is not held.
        """
        with self._changed:
            if frame.answered:
                return False
            frame.first = first
            self._working.remove(frame)
            self._held[frame] = seconds_left
            self._changed.notify_all()
            return True

    def done(self, frame: QueuedFrame) -> None:
        """Tell that a taken image was answered, or is held."""
        with self._changed:
            if frame in self._working:
                self._working.remove(frame)
            self._changed.notify_all()

    def wait_until_answered(self, timeout: float) -> bool:
        """Wait until no taken image is in work; False when that took longer than timeout s."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._working, timeout)

    def drain(self) -> list[QueuedFrame]:
        """Take out all images that wait, with what was known of them."""
        with self._changed:
            left = self._waiting()
            for frame in left:
                self._seconds_to_ready(frame, self._clock())
                self._remove(frame)
            return left

    def close(self) -> None:
        """Wake the worker for good."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
