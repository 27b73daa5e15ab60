"""Collects the views of each piece and decides it exactly once. Plain Python without ROS.

A piece becomes known by its trigger or by its first result. It is decided when the expected views
of each camera are there, or when its time is over: then views are missing and it is rejected. Its
time is ``object_timeout``, or less where the gate wants the signal earlier. A decided piece is
remembered, so that duplicates and late results never give a second signal; a new exposure under
its name is another piece.

All times are those of one clock (node_clock.py): monotonic, so that a jump of the system's clock
decides nothing, or simulated. When simulated time is set back, what is open is rejected.
"""

from __future__ import annotations

import math
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from pad_inspection.config import DecisionConfig
from pad_inspection.datatypes import Reason, Verdict
from pad_inspection.decision import ObjectVerdict, ViewResult, decide_object, seconds_to_decide
from pad_inspection.ros.node_configs import RejectNodeConfig
from pad_inspection.ros.tracked_pieces import Decided, Decision, Piece, ViewMessage

# Of two results on the same image the one with the higher rank counts.
_RANK = {Verdict.UNDETERMINED: 0, Verdict.PASS: 1, Verdict.REJECT: 2}
# Results that came under the name of a decided piece and may be of the next one of that name.
_MAX_EARLY = 64
# Exposures of one piece; more are a mistake of whoever sends them.
_MAX_TRIGGERS = 1000


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
            clock: time, s.
            on_change: told of each new piece and of each new trigger of a piece.

        Raises:
            ValueError: no piece could ever be decided in time for the gate.
        """
        self._config = config
        self._decision = decision
        self._clock = clock
        self._on_change = on_change
        self._pieces: dict[str, Piece] = {}
        self._decided: OrderedDict[str, Decided] = OrderedDict()
        self._last_now = -math.inf
        self.counts: Counter[str] = Counter()
        # why no piece may pass at the moment, by what it is about; the node fills it
        self.conflicts: dict[str, str] = {}
        if config.belt_speed > 0 and self._seconds_left(math.nan, config.trigger_delay) <= 0:
            raise ValueError(
                f'a piece gets from trigger_position {config.trigger_position:g} m to '
                f'gate_position {config.gate_position:g} m at {config.belt_speed:g} m/s before '
                f'gate_latency {config.gate_latency:g} s + trigger_delay '
                f'{config.trigger_delay:g} s are over: move the gate, or lower one of them'
            )

    def __len__(self) -> int:
        return len(self._pieces)

    def restore(self, pieces: Sequence[Piece], decided: Mapping[str, Decided]) -> None:
        """Take over from an earlier run.

        Args:
            pieces: pieces that were open; decided now if their time is over.
            decided: decided pieces by name, oldest first.
        """
        self._decided.update(decided)
        for piece in pieces:
            piece.restored = True
            self._pieces[piece.object_id] = piece
        self.counts['restored'] += len(pieces)

    def is_decided(self, object_id: str, stamp_ns: int) -> bool:
        """Whether a piece got its verdict within the last ``forget_after``, from this exposure."""
        known = self._decided.get(object_id)
        return known is not None and stamp_ns <= known.last_ns

    def on_trigger(
        self,
        object_id: str,
        stamp_ns: int,
        cameras: Sequence[str],
        expected_views: int,
        position: tuple[float, float, float],
        age: float = 0.0,
        restored: bool = False,
        fault: str = '',
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
            fault: what is wrong with the trigger: the piece is known, but will not pass.
        """
        self._notice_jump()
        piece = self._piece(object_id, stamp_ns, restored, is_trigger=True)
        if piece is None:
            return []
        cameras = tuple(sorted(set(cameras or self._config.cameras)))
        if (stamp_ns, cameras) in piece.triggers:
            return []
        if len(piece.triggers) >= _MAX_TRIGGERS:
            piece.refuse(Reason.INTERNAL_ERROR, f'more than {_MAX_TRIGGERS} triggers')
            return []
        unknown = [camera for camera in cameras if camera not in self._config.cameras]
        if unknown and not fault:
            fault = f'trigger names camera {unknown[0]!r}, wanted some of {self._config.cameras}'
        if fault:
            piece.refuse(Reason.INTERNAL_ERROR, fault)
        piece.triggers.add((stamp_ns, cameras))
        piece.announced.update(cameras)
        piece.stamp_ns, piece.position = stamp_ns, position
        piece.expected_views = max(piece.expected_views, expected_views)
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
        model: tuple[str, ...] = (),
        expected_views: int = 0,
    ) -> list[Decision]:
        """A view was inspected; gives the decision of its piece when that made it complete.

        Args:
            object_id: which piece.
            stamp_ns: of the image.
            view: what was found.
            object_threshold: the model's, NaN when unknown.
            age: time since the exposure, s.
            restored: this happened while the node was away.
            model: product, id and version of the model that judged it, empty = none.
            expected_views: images that this camera takes of the piece, 0 = as triggers say.
        """
        if not object_id:
            # nothing was due in front of the camera: no piece may become of it
            self.counts['results without a piece'] += 1
            return []
        self._notice_jump()
        result = ViewMessage(stamp_ns, view, object_threshold, model, expected_views)
        piece = self._piece(object_id, stamp_ns, restored, is_trigger=False)
        if piece is None:
            if not restored:
                self.counts['late or repeated results'] += 1
                known = self._decided[object_id]
                if stamp_ns > known.last_ns and len(known.early) < _MAX_EARLY:
                    known.early.append(result)
            return []
        if not piece.triggers and not piece.views:
            self._hurry(piece, math.nan, age)
            self._on_change(piece)
        if self._clock() < piece.deadline:
            # the gate cannot wait for what comes later
            self._take(piece, result)
        return self._decide_if_due(piece)

    def _take(self, piece: Piece, result: ViewMessage) -> None:
        """Add a result to its piece."""
        view, key = result.view, (result.view.camera_name, result.stamp_ns)
        known = piece.views.get(key)
        if known is not None and known.inspection_id != view.inspection_id:
            self.counts['images with two results'] += 1
            text = f'two nodes inspected the same image of {view.camera_name}'
            piece.refuse(Reason.CONFLICT, text)
        if known is None or _RANK[view.verdict] > _RANK[known.verdict]:
            piece.views[key] = view
        if result.model:
            piece.models.add(result.model)
        told = piece.told.get(view.camera_name, 0)
        piece.told[view.camera_name] = max(told, result.expected_views)
        if len(piece.models) > 1:
            names = ', '.join(sorted(' '.join(filter(None, model)) for model in piece.models))
            piece.refuse(Reason.CONFLICT, f'its views were judged by different models: {names}')
        threshold = result.object_threshold
        if math.isfinite(threshold) and threshold > 0:
            piece.thresholds.append(threshold)

    def on_time(self, lost_since: Mapping[str, float] | None = None) -> list[Decision]:
        """Decisions of pieces whose time is over.

        Args:
            lost_since: cameras that no living inspection node serves -> since when, s.
        """
        self._notice_jump()
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

    def confirm(self, decision: Decision) -> Decision:
        """Look at the clock once more just before the signal goes out, and count it.

        Returns:
            The decision; one that is not a pass any more when its time is over by now.
        """
        seconds_late = self._clock() - decision.deadline
        verdict = decision.verdict
        if seconds_late >= 0 and not verdict.reject:
            verdict = replace(
                verdict,
                verdict=Verdict.UNDETERMINED,
                reason=Reason.DEADLINE_MISSED,
                message=f'its time was over when it was to be told: {verdict.message}',
                reject=True,
            )
        self.counts['rejected' if verdict.reject else 'passed'] += 1
        self.counts[verdict.verdict.name.lower()] += 1
        if verdict.verdict == Verdict.UNDETERMINED:
            self.counts[f'reason {verdict.reason.name.lower()}'] += 1
        return replace(decision, verdict=verdict, seconds_late=seconds_late)

    def _notice_jump(self) -> None:
        """Reject what is open when the (simulated) clock was set back: no deadline holds."""
        now, before = self._clock(), self._last_now
        self._last_now = now
        if now >= before:
            return
        self.counts['clock set back'] += 1
        self._decided.clear()
        for piece in self._pieces.values():
            piece.refuse(Reason.DEADLINE_MISSED, 'the clock was set back')
            piece.since = piece.deadline = now

    def _piece(
        self, object_id: str, stamp_ns: int, restored: bool, *, is_trigger: bool
    ) -> Piece | None:
        """The open piece of this name, made if new; None when it is already decided."""
        now = self._clock()
        while self._decided:
            oldest, decided = next(iter(self._decided.items()))
            if now - decided.at < self._config.forget_after:
                break
            del self._decided[oldest]
        early: list[ViewMessage] = []
        if object_id in self._decided:
            if not self._is_another(self._decided[object_id], stamp_ns, is_trigger):
                return None
            self.counts['names used again'] += 1
            early = self._decided.pop(object_id).early
        if object_id not in self._pieces:
            deadline = now + self._config.object_timeout
            piece = Piece(object_id, now, deadline, stamp_ns, restored=restored)
            self._pieces[object_id] = piece
            for result in early:
                if result.stamp_ns >= stamp_ns:
                    self._take(piece, result)
        return self._pieces[object_id]

    def _is_another(self, decided: Decided, stamp_ns: int, is_trigger: bool) -> bool:
        """Whether an image or a trigger belongs to another piece of the name of a decided one.

        A trigger after all views were there does. Where views were missing it may be one of the
        same piece that came late, and so may results: they must be clearly later.
        """
        if is_trigger and decided.complete:
            return stamp_ns > decided.last_ns
        return stamp_ns > decided.last_ns + int(self._config.object_timeout * 1e9)

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

    def _expected(self, piece: Piece) -> tuple[Counter, int]:
        """Images of each camera and in all that a piece will have; none when nobody knows."""
        config = self._config
        if piece.triggers:
            cameras = piece.announced
        else:
            # each camera gives its share of what is expected of all
            each = config.expected_views // len(config.cameras)
            cameras = Counter({camera: each for camera in config.cameras if each})
        if cameras:
            # along a belt only who follows the piece knows how often each camera sees it
            cameras |= Counter(piece.told)
        total = piece.expected_views or (0 if piece.triggers else config.expected_views)
        return cameras, max(total, cameras.total())

    def _missing(self, piece: Piece) -> Counter:
        """Images without a result by camera; when nobody knows, of cameras that gave none."""
        cameras, total = self._expected(piece)
        seen = Counter(camera for camera, _ in piece.views)
        return (cameras if total else Counter(self._config.cameras)) - seen

    def _is_complete(self, piece: Piece) -> bool:
        """Whether each camera has given all its images."""
        _, total = self._expected(piece)
        return 0 < total <= len(piece.views) and not self._missing(piece)

    def _decide_if_due(self, piece: Piece) -> list[Decision]:
        """Decision of a piece that is complete or whose time is over."""
        if self._is_complete(piece) or self._clock() >= piece.deadline:
            return [self._decide(piece, self._late_text(piece))]
        return []

    def _late_text(self, piece: Piece) -> str:
        """By when the views of a piece should have come."""
        if piece.restored:
            return 'before its time was over; the node was away meanwhile'
        if piece.deadline <= piece.since:
            return 'before its time was over, which was before it was heard of'
        return f'within {piece.deadline - piece.since:.3g} s'

    def _decide(
        self, piece: Piece, when: str = '', reason: Reason = Reason.DEADLINE_MISSED
    ) -> Decision:
        """Close a piece; ``when`` and ``reason`` say why views are missing. Never raises."""
        self._pieces.pop(piece.object_id, None)
        now = self._clock()
        complete = self._is_complete(piece)
        self._decided.pop(piece.object_id, None)
        self._decided[piece.object_id] = Decided(now, piece.last_ns, complete)
        if piece.restored:
            reason = Reason.NODE_LOST
        threshold = min(piece.thresholds, default=1.0)
        try:
            verdict = decide_object(
                list(piece.views.values()),
                self._decision,
                threshold,
                self._config.required_cameras,
            )
        except Exception as error:  # one piece must not end the line
            verdict = ObjectVerdict(
                Verdict.UNDETERMINED,
                Reason.INTERNAL_ERROR,
                math.nan,
                f'cannot be decided: {type(error).__name__}: {error}',
                0,
                len(piece.views),
                True,
            )
        refused = ''
        if verdict.verdict != Verdict.REJECT:
            # a view that nobody saw may show the defect, and a pass that comes late meets another
            # piece at the gate: never a pass, whatever the rules say
            if not complete or now >= piece.deadline:
                refused = self._missing_message(piece, when)
            if piece.fault or self.conflicts:
                refused = piece.fault or '; '.join(self.conflicts.values())
                reason = piece.fault_reason if piece.fault else Reason.CONFLICT
        if refused:
            verdict = replace(
                verdict,
                verdict=Verdict.UNDETERMINED,
                reason=reason,
                message=refused,
                reject=True,
            )
        _, expected = self._expected(piece)
        verdict = replace(verdict, num_views=max(expected, len(piece.views)))
        return Decision(
            piece.object_id,
            verdict,
            threshold if piece.thresholds else math.nan,
            piece.stamp_ns,
            piece.position,
            dict(piece.views),
            tuple(sorted(self._missing(piece))) if not complete else (),
            piece.last_ns,
            complete,
            piece.deadline,
            now - piece.deadline,
            piece.restored,
        )

    def _missing_message(self, piece: Piece, when: str) -> str:
        """What is missing of an incomplete piece."""
        _, expected = self._expected(piece)
        if self._is_complete(piece):
            return f'all {len(piece.views)} views are there, but its time is over'
        if expected == 0:
            return f'{len(piece.views)} views came {when}, but no trigger said how many there are'
        missing = sorted(self._missing(piece).items())
        names = ', '.join(name if count == 1 else f'{count} of {name}' for name, count in missing)
        names = f', missing: {names}' if piece.announced and names else ''
        return f'{len(piece.views)} of {expected} views came {when}{names}'
