"""Tells a signal that was sent again from another one with the same number.

reject_node numbers its signals; one that is sent again after a crash keeps number and content. A
number with another content comes from a second reject_node, or from a stranger.
"""

from __future__ import annotations

from collections import OrderedDict
from enum import StrEnum

from pad_inspection.ros.plc.handed import Handed

# Numbers that are remembered.
_REMEMBERED = 1000


class Seen(StrEnum):
    """What a sequence number says about its signal."""

    NEW = 'new'
    OUT_OF_ORDER = 'out of order'
    REPEATED = 'repeated'
    OTHER = 'given to another signal'


def is_behind(sequence: int, other: int) -> bool:
    """Whether a number comes before another one; numbers wrap around at 2**32."""
    return 0 < (other - sequence) % 2**32 < 2**31


class SequenceNumbers:
    """The numbers of the last signals."""

    def __init__(self):
        self._seen: OrderedDict[int, Handed] = OrderedDict()
        self._last: int | None = None

    def see(self, verdict: Handed) -> tuple[Seen, Handed]:
        """Take note of a signal.

        Args:
            verdict: with a number that is not 0.

        Returns:
            What its number says, and the first signal that had it.
        """
        known = self._seen.setdefault(verdict.sequence, verdict)
        if known is not verdict:
            same = known.content == verdict.content
            return (Seen.REPEATED if same else Seen.OTHER), known
        while len(self._seen) > _REMEMBERED:
            self._seen.popitem(last=False)
        if self._last is not None and is_behind(verdict.sequence, self._last):
            return Seen.OUT_OF_ORDER, verdict
        self._last = verdict.sequence
        return Seen.NEW, verdict
