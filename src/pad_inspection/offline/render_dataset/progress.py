"""Progress of a long run: one line that is rewritten on a terminal, few lines elsewhere."""

from __future__ import annotations

import sys
import threading
import time
from typing import TextIO

_WIDTH = 24


class Progress:
    """Counts finished steps and says how long the rest will take.

    Args:
        total: number of steps.
        stream: where it is shown.
    """

    def __init__(self, total: int, stream: TextIO = sys.stderr):
        self._total = total
        self._stream = stream
        self._start = time.monotonic()
        self._done = 0
        self._shown = -1
        self._lock = threading.Lock()

    def step(self, name: str) -> None:
        """Count a step; may be called from several threads."""
        with self._lock:
            self._done += 1
            share = self._done / max(self._total, 1)
            each = (time.monotonic() - self._start) / self._done
            left = max(0.0, each * (self._total - self._done))
            text = f'{self._done}/{self._total} {share:4.0%}, {duration(left)} left, {name}'
            if self._stream.isatty():
                bar = '#' * round(_WIDTH * share)
                self._stream.write(f'\r[{bar:<{_WIDTH}}] {text}\x1b[K')
                if self._done == self._total:
                    self._stream.write('\n')
            elif int(20 * share) != self._shown:
                self._shown = int(20 * share)
                self._stream.write(text + '\n')
            self._stream.flush()


def duration(seconds: float) -> str:
    """A time span for people: '42 s', '3 min 5 s', '2 h 10 min'."""
    seconds = round(seconds)
    if seconds < 60:
        return f'{seconds} s'
    if seconds < 3600:
        return f'{seconds // 60} min {seconds % 60} s'
    return f'{seconds // 3600} h {seconds % 3600 // 60} min'
