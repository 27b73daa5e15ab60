"""Collects the views of each piece and decides it exactly once. Plain Python without ROS.

A piece becomes known by its trigger or by its first result. It is decided when all expected views
are there, or when its time is over: then views are missing and it is rejected. A decided piece is
remembered, so that duplicates and late results never give a second signal.
"""

from __future__ import annotations

import math
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from pad_inspection.config import DecisionConfig
from pad_inspection.datatypes import Reason, Verdict
from pad_inspection.decision import ObjectVerdict, ViewResult, decide_object
from pad_inspection.ros.node_configs import RejectNodeConfig

# Of two results on the same image the one with the higher rank counts.
_RANK = {Verdict.UNDETERMINED: 0, Verdict.PASS: 1, Verdict.REJECT: 2}


@dataclass(frozen=True)
class Decision:
    """What is told about one piece.

    Attributes:
        object_id: which piece.
        verdict: its verdict; num_views counts the expected views.
        threshold: limit that its score was compared with, NaN without any judged view.
        stamp_ns: time at which the piece was at ``position``.
        position: (3,) m in the conveyor frame, NaN when unknown.
        inspection_ids: results that were used.
    """

    object_id: str
    verdict: ObjectVerdict
    threshold: float
    stamp_ns: int
    position: tuple[float, float, float]
    inspection_ids: tuple[str, ...]


@dataclass
class _Piece:
    """A piece that is not decided yet."""

    object_id: str
    since: float
    stamp_ns: int
    position: tuple[float, float, float] = (math.nan,) * 3
    announced: Counter = field(default_factory=Counter)
    triggers: set[tuple[int, tuple[str, ...]]] = field(default_factory=set)
    expected_views: int = 0
    views: dict[tuple[str, int], ViewResult] = field(default_factory=dict)
    thresholds: list[float] = field(default_factory=list)


class ObjectTracker:
    """See the module's text. Not thread-safe."""

    def __init__(
        self,
        config: RejectNodeConfig,
        decision: DecisionConfig,
        clock: Callable[[], float] = time.monotonic,
    ):
        """Start without any piece.

        Args:
            config: cameras, times and the number of views of pieces without a trigger.
            decision: rules.
            clock: monotonic time, s; a jump of the system's clock must not decide pieces.
        """
        self._config = config
        self._decision = decision
        self._clock = clock
        self._pieces: dict[str, _Piece] = {}
        self._decided: OrderedDict[str, float] = OrderedDict()
        self.counts: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._pieces)

    def on_trigger(
        self,
        object_id: str,
        stamp_ns: int,
        cameras: Sequence[str],
        expected_views: int,
        position: tuple[float, float, float],
    ) -> list[Decision]:
        """A piece is exposed; gives its decision when that made it complete."""
        piece = self._piece(object_id, stamp_ns)
        if piece is None:
            return []
        cameras = tuple(sorted(cameras or self._config.cameras))
        if (stamp_ns, cameras) in piece.triggers:
            return []
        piece.triggers.add((stamp_ns, cameras))
        piece.announced.update(cameras)
        piece.stamp_ns, piece.position = stamp_ns, position
        piece.expected_views = max(piece.expected_views, expected_views, piece.announced.total())
        return self._decide_if_complete(piece)

    def on_result(
        self, object_id: str, stamp_ns: int, view: ViewResult, object_threshold: float
    ) -> list[Decision]:
        """A view was inspected; gives the decision of its piece when that made it complete."""
        if not object_id:
            # nothing was due in front of the camera: no piece may become of it
            self.counts['results without a piece'] += 1
            return []
        piece = self._piece(object_id, stamp_ns)
        if piece is None:
            self.counts['late or repeated results'] += 1
            return []
        key = (view.camera_name, stamp_ns)
        known = piece.views.get(key)
        if known is None or _RANK[view.verdict] > _RANK[known.verdict]:
            piece.views[key] = view
        if math.isfinite(object_threshold) and object_threshold > 0:
            piece.thresholds.append(object_threshold)
        return self._decide_if_complete(piece)

    def on_time(self) -> list[Decision]:
        """Decisions of pieces whose time is over."""
        limit = self._clock() - self._config.object_timeout
        late = [piece for piece in self._pieces.values() if piece.since <= limit]
        text = f'within {self._config.object_timeout:g} s'
        return [self._decide(piece, text) for piece in late]

    def on_shutdown(self) -> list[Decision]:
        """Decisions of all pieces that are still open."""
        return [self._decide(piece, 'before the node ended') for piece in [*self._pieces.values()]]

    def _piece(self, object_id: str, stamp_ns: int) -> _Piece | None:
        """The open piece of this name; None when it is already decided."""
        now = self._clock()
        while self._decided:
            oldest, decided_at = next(iter(self._decided.items()))
            if now - decided_at < self._config.forget_after:
                break
            del self._decided[oldest]
        if object_id in self._decided:
            return None
        if object_id not in self._pieces:
            self._pieces[object_id] = _Piece(object_id, now, stamp_ns)
        return self._pieces[object_id]

    def _expected(self, piece: _Piece) -> int:
        """Number of views that a piece will have; 0 when nobody knows."""
        return piece.expected_views or self._config.expected_views

    def _decide_if_complete(self, piece: _Piece) -> list[Decision]:
        expected = self._expected(piece)
        if expected == 0 or len(piece.views) < expected:
            return []
        return [self._decide(piece)]

    def _decide(self, piece: _Piece, when: str = '') -> Decision:
        """Close a piece; ``when`` says by when views should have come."""
        del self._pieces[piece.object_id]
        self._decided[piece.object_id] = self._clock()
        threshold = min(piece.thresholds, default=1.0)
        verdict = decide_object(list(piece.views.values()), self._decision, threshold)
        expected = self._expected(piece)
        complete = 0 < expected <= len(piece.views)
        if not complete and verdict.verdict != Verdict.REJECT:
            # a view that nobody saw may show the defect: never a pass, whatever the rules say
            verdict = replace(
                verdict,
                verdict=Verdict.UNDETERMINED,
                reason=Reason.DEADLINE_MISSED,
                message=self._missing_message(piece, expected, when),
                reject=True,
            )
        verdict = replace(verdict, num_views=max(expected, len(piece.views)))
        self.counts['rejected' if verdict.reject else 'passed'] += 1
        self.counts[verdict.verdict.name.lower()] += 1
        return Decision(
            piece.object_id,
            verdict,
            threshold if piece.thresholds else math.nan,
            piece.stamp_ns,
            piece.position,
            tuple(view.inspection_id for view in piece.views.values()),
        )

    def _missing_message(self, piece: _Piece, expected: int, when: str) -> str:
        """What is missing of an incomplete piece."""
        if expected == 0:
            return f'{len(piece.views)} views came {when}, but no trigger said how many there are'
        seen = Counter(camera for camera, _ in piece.views)
        missing = sorted((piece.announced - seen).elements())
        names = f', missing: {", ".join(missing)}' if missing else ''
        return f'{len(piece.views)} of {expected} views came {when}{names}'
