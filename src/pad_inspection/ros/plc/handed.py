"""A verdict on its way to the line controller."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from pad_inspection.datatypes import Reason, Verdict

# Characters of an object_id in messages for people.
_SHORT = 60


@dataclass(frozen=True)
class Handed:
    """A verdict on its way.

    Attributes:
        sequence, object_id, reject, verdict, reason, score, num_views, num_judged: as in the
            signal.
        valid_until: a pass is handed over as a reject after this, monotonic s.
        old: decided before this process started; an earlier one may have handed it over.
    """

    sequence: int
    object_id: str
    reject: bool
    verdict: int
    reason: int
    score: float
    num_views: int
    num_judged: int
    valid_until: float = math.inf
    old: bool = False

    @property
    def content(self) -> tuple:
        """What a signal that is sent again has in common with the first one."""
        # not a number differs from itself
        score = None if math.isnan(self.score) else self.score
        numbers = self.num_views, self.num_judged
        return self.object_id, self.reject, self.verdict, self.reason, score, *numbers

    @property
    def short_id(self) -> str:
        """The object_id for a message of one line."""
        cut = '...' if len(self.object_id) > _SHORT else ''
        return repr(self.object_id[:_SHORT]) + cut

    def as_reject(self, reason: Reason) -> Handed:
        """The same as a reject: undetermined, for this reason."""
        undetermined = int(Verdict.UNDETERMINED)
        return replace(self, reject=True, verdict=undetermined, reason=int(reason))
