"""Which piece an image shows, by the stamps of triggers. Plain Python without ROS.

``belt.BeltAssociation`` has the same methods and goes by the position on the belt.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass

# Triggers that are kept for images that are still on their way.
_MAX_REMEMBERED = 256


@dataclass(frozen=True)
class Match:
    """Piece of an image.

    Attributes:
        object_id: its name; '' = the image is not needed for any piece.
        object_type: which product it is; '' = as the line is set.
    """

    object_id: str
    object_type: str = ''


NO_PIECE = Match('')


@dataclass(frozen=True)
class _Trigger:
    """One exposure: what, when, which cameras (empty = all)."""

    match: Match
    stamp_ns: int
    cameras: frozenset[str]


class TriggerAssociation:
    """Images and triggers of one exposure have the same stamp. Not thread-safe.

    Attributes:
        timeout: s that an image may wait for its trigger.
        ignores_unknown: whether an image without a piece is answered without an inspection.
        prefers_known: whether, of images that wait, one without a piece gives way first.
        counts: what happened, for diagnostics.
    """

    ignores_unknown = False
    prefers_known = False

    def __init__(
        self,
        timeout: float = 0.0,
        tolerance: float = 0.0,
        max_triggers: int | None = _MAX_REMEMBERED,
    ):
        """No triggers yet.

        Args:
            timeout: s that an image may wait for its trigger.
            tolerance: s by which their stamps may differ.
            max_triggers: that are remembered; None = all.
        """
        self.timeout = timeout
        self.counts: Counter[str] = Counter()
        self._tolerance_ns = round(tolerance * 1e9)
        self._triggers: deque[_Trigger] = deque(maxlen=max_triggers)

    def add_trigger(
        self,
        object_id: str,
        cameras: Sequence[str],
        stamp_ns: int,
        x: float = math.nan,
        object_type: str = '',
    ) -> None:
        """A piece is exposed by these cameras; ``cameras`` empty = all."""
        del x
        match = Match(object_id, object_type)
        self._triggers.append(_Trigger(match, stamp_ns, frozenset(cameras)))

    def find(self, camera: str, stamp_ns: int) -> Match | None:
        """Piece of the trigger that is nearest in time; None when there is none (yet).

        None too when two pieces are equally near: a guess could give one the views of the other.
        """
        matching = [
            trigger
            for trigger in self._triggers
            if abs(trigger.stamp_ns - stamp_ns) <= self._tolerance_ns
            and (not trigger.cameras or camera in trigger.cameras)
        ]
        if not matching:
            return None
        least = min(abs(trigger.stamp_ns - stamp_ns) for trigger in matching)
        nearest = [t.match for t in matching if abs(t.stamp_ns - stamp_ns) == least]
        if len({match.object_id for match in nearest}) > 1:
            self.counts['images of two pieces at once'] += 1
            return None
        return nearest[0]
