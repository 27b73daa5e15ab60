"""The clock that deadlines are measured by: monotonic, or simulated with ``use_sim_time``."""

from __future__ import annotations

import time

from rclpy.node import Node


class NodeClock:
    """Time of a node for deadlines and patience.

    Monotonic, so that a jump of the system's clock decides nothing; with ``use_sim_time`` that of
    /clock, which may stand still, run fast, or be set back (then no deadline holds any more).

    Attributes:
        is_simulated: whether it follows /clock.
    """

    def __init__(self, node: Node):
        """Follow a node's clock; whether it is simulated is settled here."""
        self._clock = node.get_clock()
        self.is_simulated = bool(node.get_parameter('use_sim_time').value)

    def now(self) -> float:
        """Time, s, of an origin of its own."""
        if self.is_simulated:
            return self._clock.now().nanoseconds / 1e9
        return time.monotonic()
