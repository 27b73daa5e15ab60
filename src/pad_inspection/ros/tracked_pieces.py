"""What is known of a piece: while it is open, when it is decided, and afterwards. Plain data."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field

from pad_inspection.datatypes import Reason
from pad_inspection.decision import ObjectVerdict, ViewResult


@dataclass(frozen=True)
class Decision:
    """What is told about one piece.

    Attributes:
        object_id: which piece.
        verdict: its verdict; num_views counts the expected views.
        threshold: limit that its score was compared with, NaN without any judged view.
        stamp_ns: time at which the piece was at ``position``.
        position: (3,) m in the conveyor frame, NaN when unknown.
        views: what was found in each image, by camera and stamp.
        missing: cameras of announced images without a result, sorted.
        last_ns: latest stamp that is known of it.
        complete: all its views were there.
        deadline: its signal must be out then, s of the tracker's clock.
        seconds_late: by which the signal misses the deadline; negative: in time.
        restored: the piece was open, or passed, while this node was away.
    """

    object_id: str
    verdict: ObjectVerdict
    threshold: float
    stamp_ns: int
    position: tuple[float, float, float] = (math.nan,) * 3
    views: dict[tuple[str, int], ViewResult] = field(default_factory=dict)
    missing: tuple[str, ...] = ()
    last_ns: int = 0
    complete: bool = False
    deadline: float = math.inf
    seconds_late: float = 0.0
    restored: bool = False

    @property
    def inspection_ids(self) -> tuple[str, ...]:
        """Results that were used."""
        return tuple(view.inspection_id for view in self.views.values())


@dataclass
class Piece:
    """A piece that is not decided yet; the journal keeps what does not come from its views.

    Attributes:
        object_id: which piece.
        since: when it was first heard of, s.
        deadline: its signal must be out then, s.
        stamp_ns, position: of the last trigger.
        announced: images by camera.
        triggers: stamp and cameras of each trigger.
        expected_views: images in all, 0 = nobody said.
        restored: see Decision.
        fault: why it must not pass, whatever its views say; '' = nothing.
        fault_reason: the same as a Reason.
        views, thresholds: what came.
        told: images in all that cameras take of it, where their results say so.
        models: id and version of each model that judged a view.
    """

    object_id: str
    since: float
    deadline: float
    stamp_ns: int
    position: tuple[float, float, float] = (math.nan,) * 3
    announced: Counter = field(default_factory=Counter)
    triggers: set[tuple[int, tuple[str, ...]]] = field(default_factory=set)
    expected_views: int = 0
    restored: bool = False
    fault: str = ''
    fault_reason: Reason = Reason.NONE
    views: dict[tuple[str, int], ViewResult] = field(default_factory=dict)
    thresholds: list[float] = field(default_factory=list)
    models: set[tuple[str, ...]] = field(default_factory=set)
    told: dict[str, int] = field(default_factory=dict)

    @property
    def last_ns(self) -> int:
        """Latest stamp that is known of it."""
        stamps = [stamp for stamp, _ in self.triggers] + [stamp for _, stamp in self.views]
        return max(stamps, default=self.stamp_ns)

    def refuse(self, reason: Reason, text: str) -> None:
        """It must not pass; the first cause stays."""
        if not self.fault:
            self.fault, self.fault_reason = text, reason


@dataclass
class ViewMessage:
    """A result as it came.

    Attributes:
        stamp_ns: of the image.
        view: what was found.
        object_threshold: the model's, NaN when unknown.
        model: product, id and version of the model that judged it, empty = none.
        expected_views: images that its camera takes of the piece, 0 = as triggers say.
    """

    stamp_ns: int
    view: ViewResult
    object_threshold: float
    model: tuple[str, ...]
    expected_views: int = 0


@dataclass
class Decided:
    """What is remembered of a decided piece.

    Attributes:
        at: when, s.
        last_ns: latest stamp that is known of it.
        complete: all its views were there: a later exposure is of another piece.
        early: results of later images, which may be of the next piece of its name.
    """

    at: float
    last_ns: int
    complete: bool
    early: list[ViewMessage] = field(default_factory=list)
