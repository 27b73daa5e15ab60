"""Which piece an image shows, by the stamps of triggers. Plain Python without ROS.

``belt.BeltAssociation`` has the same methods and goes by the position on the belt.
"""

from __future__ import annotations

import math
from collections import Counter, OrderedDict, deque
from collections.abc import Sequence
from dataclasses import dataclass, field

# Triggers that are kept for images that are still on their way.
_MAX_REMEMBERED = 256
# A name that comes again so much later, by the stamps, is that of another piece.
_SAME_PIECE_NS = 60 * 10**9


@dataclass(frozen=True)
class Match:
    """Piece of an image.

    Attributes:
        object_id: its name; '' = the image is not needed for any piece.
        object_type: which product it is; '' = as the line is set.
        fault: why nobody knows which of several pieces it is; then there is no name.
        use: which piece of this name, where names come again.
    """

    object_id: str
    object_type: str = ''
    fault: str = ''
    use: int = field(default=0, compare=False)


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
        self._num_uses = 0
        # name -> stamp of its last trigger, and which piece that was
        self._uses: OrderedDict[str, tuple[int, int]] = OrderedDict()
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
        match = Match(object_id, object_type, use=self._use(object_id, stamp_ns))
        self._triggers.append(_Trigger(match, stamp_ns, frozenset(cameras)))

    def _use(self, object_id: str, stamp_ns: int) -> int:
        """Which piece of its name a trigger exposes."""
        last_ns, use = self._uses.pop(object_id, (stamp_ns, 0))
        if abs(stamp_ns - last_ns) > _SAME_PIECE_NS:
            self.counts['names used again'] += 1
            use = 0
        if not use:
            self._num_uses += 1
            use = self._num_uses
        self._uses[object_id] = (stamp_ns, use)
        while len(self._uses) > _MAX_REMEMBERED:
            self._uses.popitem(last=False)
        return use

    def find(self, camera: str, stamp_ns: int) -> Match | None:
        """Piece of the trigger that is nearest in time; None when there is none (yet).

        A match with a fault when two pieces, or two products, are equally near: a guess could give
        one the views of the other.
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
        nearest = {t.match for t in matching if abs(t.stamp_ns - stamp_ns) == least}
        if len(nearest) > 1:
            self.counts['images of two pieces at once'] += 1
            names = sorted(f'{match.object_id} {match.object_type}'.strip() for match in nearest)
            text = f'{len(names)} triggers are of its stamp, wanted one: {", ".join(names[:4])}'
            return Match('', fault=text)
        return nearest.pop()
