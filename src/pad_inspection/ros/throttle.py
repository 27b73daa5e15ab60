"""Logs of one kind at most every few seconds, with the number of those left out.

rclpy throttles by the line of code, whatever it says, and takes longer to find that line than an
answer to a damaged image takes. It also raises when one line of code logs with two severities, so
each severity has a line of its own here.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable
from typing import Any


class Throttle:
    """Writes a message unless one of its kind was written a short while ago. Thread-safe."""

    def __init__(
        self, period: float, logger: Any = None, clock: Callable[[], float] = time.monotonic
    ):
        """Let the first message of each kind through.

        Args:
            period: s between two of a kind.
            logger: with methods info, warning and error, as rclpy's.
            clock: monotonic time, s.
        """
        self._period = period
        self._logger = logger
        self._clock = clock
        self._lock = threading.Lock()
        self._last: dict[Hashable, float] = {}
        self._left_out: dict[Hashable, int] = {}

    def info(self, kind: Hashable, text: str) -> None:
        """For people who look."""
        if (due := self._due(kind, text)) is not None:
            self._logger.info(due)

    def warning(self, kind: Hashable, text: str) -> None:
        """Something was not as it should be."""
        if (due := self._due(kind, text)) is not None:
            self._logger.warning(due)

    def error(self, kind: Hashable, text: str) -> None:
        """Somebody must act."""
        if (due := self._due(kind, text)) is not None:
            self._logger.error(due)

    def _due(self, kind: Hashable, text: str) -> str | None:
        """What is written now, if anything."""
        with self._lock:
            now = self._clock()
            if now - self._last.get(kind, -self._period) < self._period:
                self._left_out[kind] = self._left_out.get(kind, 0) + 1
                return None
            self._last[kind] = now
            left_out = self._left_out.pop(kind, 0)
        return f'{text} (and {left_out} more since the last such line)' if left_out else text
