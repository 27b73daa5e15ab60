"""How long ago a message came, also when the process was busy or stood still meanwhile.

The middleware notes when it received a message, but a process that is stopped receives nothing:
what was sent then looks fresh when it goes on. So a thread looks at the clock all the time; where
it has missed some of it, messages received right afterwards count as old as the gap.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping

from pad_inspection.ros.node_clock import NodeClock

_PERIOD_S = 0.05
# Gaps below this are a busy computer, not a process that stood still, s.
_GAP_S = 0.25
# What was sent during a gap has been received this long after its end, s.
_CATCH_UP_S = 0.5


class MessageAge:
    """Age of messages at this moment. One for a process is enough; thread-safe."""

    def __init__(self, clock: NodeClock):
        """Begin to watch.

        Args:
            clock: of the deadlines; how much of simulated time a wait takes is not known, so that
                ages are 0 there.
        """
        self._is_simulated = clock.is_simulated
        self._ticked = time.monotonic()
        # beginning and end of the last gap
        self._gap = (0.0, -_CATCH_UP_S)
        threading.Thread(target=self._watch, name='message age', daemon=True).start()

    def _watch(self) -> None:
        while True:
            time.sleep(_PERIOD_S)
            self._look()

    def _look(self) -> None:
        """Note that time has passed, and how much of it without this process."""
        now = time.monotonic()
        if now - self._ticked > _PERIOD_S + _GAP_S:
            self._gap = (self._ticked, now)
        self._ticked = now

    def of(self, info: Mapping) -> float:
        """Longest time that a message may have waited, s.

        Args:
            info: message info as rclpy gives it to a callback.
        """
        if self._is_simulated:
            return 0.0
        received_ns = info.get('received_timestamp') or 0
        age = max(0.0, (time.time_ns() - received_ns) / 1e9) if received_ns > 0 else 0.0
        # the callback may run before the thread after a gap
        self._look()
        now = time.monotonic()
        begin, end = self._gap
        if begin <= now - age <= end + _CATCH_UP_S:
            age = now - begin
        return age
