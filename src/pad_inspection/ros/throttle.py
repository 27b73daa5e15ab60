"""Logs of one kind at most every few seconds, with the number of those left out.

rclpy throttles by the line of code, whatever it says, and takes longer to find that line than an
answer to a damaged image takes.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable


class Throttle:
    """Decides whether a message of a kind is due. Thread-safe."""

    def __init__(self, period: float, clock: Callable[[], float] = time.monotonic):
        """Let the first message of each kind through.

        Args:
            period: s between two of a kind.
            clock: monotonic time, s.
        """
        self._period = period
        self._clock = clock
        self._lock = threading.Lock()
        self._last: dict[Hashable, float] = {}
        self._left_out: dict[Hashable, int] = {}

    def pass_on(self, kind: Hashable, write: Callable[[str], object], text: str) -> None:
        """Write a text unless one of its kind was written a short while ago."""
        with self._lock:
            now = self._clock()
            if now - self._last.get(kind, -self._period) < self._period:
                self._left_out[kind] = self._left_out.get(kind, 0) + 1
                return
            self._last[kind] = now
            left_out = self._left_out.pop(kind, 0)
        write(f'{text} (and {left_out} more since the last such line)' if left_out else text)
