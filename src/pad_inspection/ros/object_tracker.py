"""Collects the views of each piece and decides it exactly once. Plain Python without ROS.

A piece becomes known by its trigger or by its first result. It is decided when all expected views
are there, or when its time is over: then views are missing and it is rejected. Its time is
``object_timeout``, or less where the gate wants the signal earlier. A decided piece is remembered,
so that duplicates and late results never give a second signal.

All times are those of a monotonic clock: a jump of the system's clock decides nothing.
"""

from __future__ import annotations

import math
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from pad_inspection.config import DecisionConfig
from pad_inspection.datatypes import Reason, Verdict
from pad_inspection.decision import ObjectVerdict, ViewResult, decide_object, seconds_to_decide
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
        views: what was found in each image, by camera and stamp.
        missing: cameras of announced images without a result, sorted.
        seconds_late: by which the signal misses the piece's deadline; negative: in time.
        restored: the piece was open, or passed, while this node was away.
    """

    object_id: str
    verdict: ObjectVerdict
    threshold: float
    stamp_ns: int
    position: tuple[float, float, float]
    views: dict[tuple[str, int], ViewResult]
    missing: tuple[str, ...]
    seconds_late: float
    restored: bool

    @property
    def inspection_ids(self) -> tuple[str, ...]:
        """Results that were used."""
        return tuple(view.inspection_id for view in self.views.values())


@dataclass
class Piece:
    """A piece that is not decided yet; what the journal keeps is all but views and thresholds.

    Attributes:
        object_id: which piece.
        since: when it was first heard of, s.
        deadline: its signal must be out then, s.
        stamp_ns, position: of the last trigger.
        announced: images by camera.
        triggers: stamp and cameras of each trigger.
        expected_views: images in all, 0 = nobody said.
        restored: see Decision.
        views, thresholds: what came.
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
    views: dict[tuple[str, int], ViewResult] = field(default_factory=dict)
    thresholds: list[float] = field(default_factory=list)


class ObjectTracker:
    """See the module's text. Not thread-safe."""

    def __init__(
        self,
        config: RejectNodeConfig,
        decision: DecisionConfig,
        clock: Callable[[], float] = time.monotonic,
        on_change: Callable[[Piece], None] = lambda piece: None,
    ):
        """Start without any piece.

        Args:
            config: cameras, times and the number of views of pieces without a trigger.
            decision: rules.
            clock: monotonic time, s.
            on_change: told of each new piece and of each new trigger of a piece.

        Raises:
            ValueError: no piece could ever be decided in time for the gate.
        """
        self._config = config
        self._decision = decision
        self._clock = clock
        self._on_change = on_change
        self._pieces: dict[str, Piece] = {}
        self._decided: OrderedDict[str, float] = OrderedDict()
        self.counts: Counter[str] = Counter()
        if config.belt_speed > 0 and self._seconds_left(math.nan, config.trigger_delay) <= 0:
            raise ValueError(
                f'a piece gets from trigger_position {config.trigger_position:g} m to '
                f'gate_position {config.gate_position:g} m at {config.belt_speed:g} m/s before '
                f'gate_latency {config.gate_latency:g} s + trigger_delay '
                f'{config.trigger_delay:g} s are over: move the gate, or lower one of them'
            )

    def __len__(self) -> int:
        return len(self._pieces)

    def restore(self, pieces: Sequence[Piece], decided: Sequence[tuple[str, float]]) -> None:
        """Take over from an earlier run.

        Args:
            pieces: pieces that were open; decided now if their time is over.
            decided: ids of decided pieces and how long ago that was, s, oldest first.
        """
        now = self._clock()
        for object_id, age in decided:
            self._decided[object_id] = now - max(0.0, age)
        for piece in pieces:
            piece.restored = True
            self._pieces[piece.object_id] = piece
        self.counts['restored'] += len(pieces)

    def is_decided(self, object_id: str) -> bool:
        """Whether a piece got its verdict within the last ``forget_after``."""
        return object_id in self._decided

    def on_trigger(
        self,
        object_id: str,
        stamp_ns: int,
        cameras: Sequence[str],
        expected_views: int,
        position: tuple[float, float, float],
        age: float = 0.0,
        restored: bool = False,
    ) -> list[Decision]:
        """A piece is exposed; gives its decision when that made it complete, or came too late.

        Args:
            object_id: which piece.
            stamp_ns: of the exposure.
            cameras: that expose; empty = all.
            expected_views: images of the piece in all, 0 = those of its triggers.
            position: (3,) m in the conveyor frame, NaN when unknown.
            age: longest time since the exposure that is possible, s.
            restored: this happened while the node was away.
        """
        piece = self._piece(object_id, stamp_ns, restored)
        if piece is None:
            return []
        cameras = tuple(sorted(cameras or self._config.cameras))
        if (stamp_ns, cameras) in piece.triggers:
            return []
        piece.triggers.add((stamp_ns, cameras))
        piece.announced.update(cameras)
        piece.stamp_ns, piece.position = stamp_ns, position
        piece.expected_views = max(piece.expected_views, expected_views, piece.announced.total())
        self._hurry(piece, position[0], age)
        self._on_change(piece)
        return self._decide_if_due(piece)

    def on_result(
        self,
        object_id: str,
        stamp_ns: int,
        view: ViewResult,
        object_threshold: float,
        age: float = 0.0,
        restored: bool = False,
    ) -> list[Decision]:
        """A view was inspected; gives the decision of its piece when that made it complete.

        Args:
            object_id: which piece.
            stamp_ns: of the image.
            view: what was found.
            object_threshold: the model's, NaN when unknown.
            age: time since the exposure, s.
            restored: this happened while the node was away.
        """
        if not object_id:
            # nothing was due in front of the camera: no piece may become of it
            self.counts['results without a piece'] += 1
            return []
        piece = self._piece(object_id, stamp_ns, restored)
        if piece is None:
            if not restored:
                self.counts['late or repeated results'] += 1
            return []
        if not piece.triggers and not piece.views:
            self._hurry(piece, math.nan, age)
            self._on_change(piece)
        if self._clock() >= piece.deadline:
            # the gate cannot wait for what comes now
            return self._decide_if_due(piece)
        key = (view.camera_name, stamp_ns)
        known = piece.views.get(key)
        if known is None or _RANK[view.verdict] > _RANK[known.verdict]:
            piece.views[key] = view
        if math.isfinite(object_threshold) and object_threshold > 0:
            piece.thresholds.append(object_threshold)
        return self._decide_if_due(piece)

    def on_time(self, lost_since: Mapping[str, float] | None = None) -> list[Decision]:
        """Decisions of pieces whose time is over.

        Args:
            lost_since: cameras that no living inspection node serves -> since when, s.
        """
        now = self._clock()
        decisions = []
        for piece in [*self._pieces.values()]:
            lost = sorted(
                camera
                for camera, since in (lost_since or {}).items()
                if camera in self._missing(piece)
                and now - max(since, piece.since) >= self._config.inspection_grace
            )
            if now >= piece.deadline:
                decisions.append(self._decide(piece, self._late_text(piece)))
            elif lost:
                text = f'and no inspection node of {", ".join(lost)} is alive'
                decisions.append(self._decide(piece, text, Reason.NODE_LOST))
        return decisions

    def seconds_to_next(self) -> float:
        """Time until the next piece must be decided, s; infinite without any."""
        deadline = min((piece.deadline for piece in self._pieces.values()), default=math.inf)
        return deadline - self._clock()

    def on_shutdown(self) -> list[Decision]:
        """Decisions of all pieces that are still open."""
        return [self._decide(piece, 'before the node ended') for piece in [*self._pieces.values()]]

    def _piece(self, object_id: str, stamp_ns: int, restored: bool) -> Piece | None:
        """The open piece of this name, made if new; None when it is already decided."""
        now = self._clock()
        while self._decided:
            oldest, decided_at = next(iter(self._decided.items()))
            if now - decided_at < self._config.forget_after:
                break
            del self._decided[oldest]
        if object_id in self._decided:
            return None
        if object_id not in self._pieces:
            deadline = now + self._config.object_timeout
            self._pieces[object_id] = Piece(object_id, now, deadline, stamp_ns, restored=restored)
        return self._pieces[object_id]

    def _seconds_left(self, position: float, age: float) -> float:
        """Time to decide a piece exposed ``age`` s ago at ``position`` m (NaN: unknown)."""
        config = self._config
        return seconds_to_decide(
            position if math.isfinite(position) else config.trigger_position,
            age,
            belt_speed=config.belt_speed,
            gate_position=config.gate_position,
            gate_latency=config.gate_latency,
        )

    def _hurry(self, piece: Piece, position: float, age: float) -> None:
        """Bring the deadline of a piece forward to what its gate and its age want."""
        now, age = self._clock(), max(age, self._config.trigger_delay)
        piece.deadline = min(piece.deadline, now - age + self._config.object_timeout)
        if self._config.belt_speed > 0:
            piece.deadline = min(piece.deadline, now + self._seconds_left(position, age))

    def _expected(self, piece: Piece) -> int:
        """Number of views that a piece will have; 0 when nobody knows."""
        return piece.expected_views or self._config.expected_views

    def _missing(self, piece: Piece) -> list[str]:
        """Cameras of images without a result; without a trigger those that gave none."""
        seen = Counter(camera for camera, _ in piece.views)
        announced = piece.announced or Counter(self._config.cameras)
        return sorted((announced - seen).elements())

    def _decide_if_due(self, piece: Piece) -> list[Decision]:
        """Decision of a piece that is complete or whose time is over."""
        expected = self._expected(piece)
        if 0 < expected <= len(piece.views) or self._clock() >= piece.deadline:
            return [self._decide(piece, self._late_text(piece))]
        return []

    def _late_text(self, piece: Piece) -> str:
        """By when the views of a piece should have come."""
        seconds = max(0.0, piece.deadline - piece.since)
        if piece.restored:
            return 'before its time was over; the node was away meanwhile'
        return f'within {seconds:.3g} s'

    def _decide(
        self, piece: Piece, when: str = '', reason: Reason = Reason.DEADLINE_MISSED
    ) -> Decision:
        """Close a piece; ``when`` and ``reason`` say why views are missing."""
        del self._pieces[piece.object_id]
        now = self._clock()
        self._decided[piece.object_id] = now
        if piece.restored:
            reason = Reason.NODE_LOST
        threshold = min(piece.thresholds, default=1.0)
        verdict = decide_object(list(piece.views.values()), self._decision, threshold)
        expected = self._expected(piece)
        complete = 0 < expected <= len(piece.views)
        if (not complete or now >= piece.deadline) and verdict.verdict != Verdict.REJECT:
            # a view that nobody saw may show the defect, and a pass that comes late meets another
            # piece at the gate: never a pass, whatever the rules say
            verdict = replace(
                verdict,
                verdict=Verdict.UNDETERMINED,
                reason=reason,
                message=self._missing_message(piece, expected, when),
                reject=True,
            )
        verdict = replace(verdict, num_views=max(expected, len(piece.views)))
        self.counts['rejected' if verdict.reject else 'passed'] += 1
        self.counts[verdict.verdict.name.lower()] += 1
        if verdict.verdict == Verdict.UNDETERMINED:
            self.counts[f'reason {verdict.reason.name.lower()}'] += 1
        return Decision(
            piece.object_id,
            verdict,
            threshold if piece.thresholds else math.nan,
            piece.stamp_ns,
            piece.position,
            dict(piece.views),
            tuple(self._missing(piece)) if not complete else (),
            now - piece.deadline,
            piece.restored,
        )

    def _missing_message(self, piece: Piece, expected: int, when: str) -> str:
        """What is missing of an incomplete piece."""
        if 0 < expected <= len(piece.views):
            return f'all {expected} views are there, but its time is over'
        if expected == 0:
            return f'{len(piece.views)} views came {when}, but no trigger said how many there are'
        missing = self._missing(piece) if piece.announced else []
        names = f', missing: {", ".join(missing)}' if missing else ''
        return f'{len(piece.views)} of {expected} views came {when}{names}'
