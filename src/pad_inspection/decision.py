"""From the views of one object to its verdict: fail-safe rules on plain numbers, no pictures.

A view's score is divided by its threshold, so that views and cameras compare; an object's score
comes from the highest such ratios (``object_score``). What cannot be judged never becomes a PASS:
all views that an object should have are judged, or the others saw what they would have shown.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from pad_inspection.config import DecisionConfig
from pad_inspection.datatypes import Inspection, Reason, Verdict
from pad_inspection.surface import coverage, surface_score

# A view of these reasons was looked at, so that other views can show what it did not. All other
# reasons mean that nobody looked at it.
_MADE_UP_FOR = (Reason.NOT_LOCALIZED, Reason.VIEW_NOT_COVERED)


@dataclass(frozen=True)
class ViewResult:
    """What the decision needs to know of one inspected image.

    Attributes:
        verdict: PASS, REJECT or UNDETERMINED.
        reason: why.
        score: anomaly score of the image, NaN when not scored.
        threshold: threshold of the image score, NaN when not scored.
        inspection_id: identifies the result.
        camera_name: which camera.
        surface: float (P,) of Inspection.surface, or None.
        visible_places: of the Inspection.
        piece_score, piece_views: of the Inspection.
    """

    verdict: Verdict
    reason: Reason
    score: float
    threshold: float
    inspection_id: str = ''
    camera_name: str = ''
    surface: np.ndarray | None = field(default=None, compare=False, repr=False)
    visible_places: int = 0
    piece_score: float = float('nan')
    piece_views: int = 0

    @property
    def ratio(self) -> float:
        """Score over threshold; NaN when the view was not judged."""
        if self.verdict == Verdict.UNDETERMINED or not self.threshold > 0:
            return float('nan')
        return self.score / self.threshold

    @property
    def is_judged(self) -> bool:
        """Whether it was judged whole."""
        return math.isfinite(self.ratio)

    @property
    def is_partial(self) -> bool:
        """Whether it was compared, but showed only part of the object."""
        return self.reason == Reason.VIEW_NOT_COVERED and math.isfinite(self.score)


@dataclass(frozen=True)
class ObjectVerdict:
    """Verdict on one piece.

    Attributes:
        verdict: PASS, REJECT or UNDETERMINED.
        reason: why; the most frequent reason of the views that could not be judged, or ANOMALY.
        score: ``object_score`` of the judged views, NaN without any.
        message: for people.
        num_judged: views with a PASS or REJECT.
        num_views: views received.
        reject: what the gate is told; true for all but a PASS, unless configured otherwise.
            Always true where a view was never looked at.
        coverage: share of the visible surface that the views saw, NaN where it is not known.
    """

    verdict: Verdict
    reason: Reason
    score: float
    message: str
    num_judged: int
    num_views: int
    reject: bool
    coverage: float = float('nan')


def view_result(inspection: Inspection, inspection_id: str = '') -> ViewResult:
    """The part of an Inspection that the decision needs."""
    return ViewResult(
        inspection.verdict,
        inspection.reason,
        inspection.score,
        inspection.threshold,
        inspection_id,
        inspection.camera_name,
        inspection.surface,
        inspection.visible_places,
        inspection.piece_score,
        inspection.piece_views,
    )


def decide_view(
    score: float, threshold: float, inspected_fraction: float, config: DecisionConfig
) -> tuple[Verdict, Reason, str]:
    """Verdict on one image that was localised and compared.

    Args:
        score: anomaly score of the image.
        threshold: score >= threshold rejects.
        inspected_fraction: share of the rendered silhouette that was compared, 0 to 1.
        config: limits.

    Returns:
        Verdict, reason and a message for people.
    """
    if not (math.isfinite(score) and math.isfinite(threshold) and threshold > 0):
        message = f'score {score} or threshold {threshold} is not a number above 0'
        return Verdict.UNDETERMINED, Reason.INTERNAL_ERROR, message
    # an anomaly that was seen counts even when the rest of the object was not
    if score >= threshold:
        return Verdict.REJECT, Reason.ANOMALY, f'score {score:.3f} >= threshold {threshold:.3f}'
    if inspected_fraction < config.min_inspected_fraction:
        message = (
            f'only {inspected_fraction:.0%} of the object could be compared, '
            f'wanted {config.min_inspected_fraction:.0%}'
        )
        return Verdict.UNDETERMINED, Reason.VIEW_NOT_COVERED, message
    return Verdict.PASS, Reason.NONE, f'score {score:.3f} < threshold {threshold:.3f}'


def object_score(
    ratios: Sequence[float], config: DecisionConfig, surfaces: Sequence[np.ndarray] = ()
) -> float:
    """Score of an object from its views.

    A defect shows in several views of an object, a reflection in one. So the mean of the worst
    views counts, and one view alone only when it is clearly worse; and what the views say of the
    same place of the surface.

    Args:
        ratios: score over threshold of each view that was judged.
        config: how many views, and what one alone counts.
        surfaces: of these views float (P,) as in Inspection.surface, where there are any.

    Returns:
        NaN without a view.
    """
    if not len(ratios):
        return float('nan')
    worst = sorted(ratios, reverse=True)
    count = max(1, int(config.worst_share * len(worst)))
    score = max(sum(worst[:count]) / count, config.single_view_weight * worst[0])
    joined = surface_score(surfaces, config.worst_share)
    return max(score, joined) if math.isfinite(joined) else score


def joined_ratio(views: Sequence[ViewResult | Inspection]) -> float:
    """What the joined maps of a piece say, over their limit; NaN where none were joined.

    Views are joined as they come, so that what was joined of most of them counts.
    """
    most = max((view.piece_views for view in views), default=0)
    found = [v.piece_score for v in views if v.piece_views == most and v.piece_score >= 0]
    return max(found, default=float('nan'))


def decide_object(
    views: Sequence[ViewResult],
    config: DecisionConfig,
    object_threshold: float = 1.0,
    required_cameras: Sequence[str] = (),
) -> ObjectVerdict:
    """Verdict on one object from all its views.

    REJECT when the object's score, or that of its joined maps (``joined_ratio``, brought to the
    same limit), reaches ``object_threshold``, or when ``config.reject_share`` of the judged views
    reject by themselves. PASS when it does not and nothing that was to be seen is unseen
    (``_unseen``). Else UNDETERMINED.

    Args:
        views: results of all images that the object should have, in any order; may be empty.
        config: rules.
        object_threshold: limit on ``object_score``.
        required_cameras: no other view makes up for one of these cameras.

    Raises:
        ValueError: object_threshold is not a number above 0.
    """
    if not (math.isfinite(object_threshold) and object_threshold > 0):
        raise ValueError(f'object_threshold is {object_threshold}, wanted a number above 0')
    known = [view for view in views if view.is_judged]
    compared = [view for view in views if view.is_judged or view.is_partial]
    ratios = [view.ratio for view in known]
    surfaces = [view.surface for view in compared if view.surface is not None]
    score = object_score(ratios, config, surfaces)
    joined = joined_ratio(known) * object_threshold
    from_maps = bool(ratios) and joined > score
    score = joined if from_maps else score
    judged, total = len(ratios), len(views)
    anomalous = sum(ratio >= 1 for ratio in ratios)
    outvoted = anomalous > 0 and 0 < config.reject_share * judged <= anomalous
    seen = coverage(surfaces, max((view.visible_places for view in compared), default=0))

    unseen, reason = _unseen(views, seen, config, required_cameras)
    if ratios and (score >= object_threshold or outvoted):
        message = f'{anomalous} of {judged} judged views anomalous, '
        if score >= object_threshold:
            if from_maps and object_score(ratios, config, surfaces) < object_threshold:
                message += 'their maps, joined, show a defect, '
            elif object_score(ratios, config) < object_threshold:
                message += 'together they show a defect at one place of the surface, '
            message += f'score {score:.2f} >= limit {object_threshold:.2f}'
        else:
            message += f'that is enough, though score {score:.2f} < limit {object_threshold:.2f}'
        verdict, reason = Verdict.REJECT, Reason.ANOMALY
    elif not unseen:
        message = f'{judged} of {total} views judged, '
        if judged < total and not config.min_views:
            message += f'{seen:.0%} of the surface seen, '
        message += 'none anomalous'
        if anomalous:
            message = (
                f'{judged} of {total} views judged, {anomalous} anomalous, score {score:.2f} < '
                f'limit {object_threshold:.2f}'
            )
        verdict, reason = Verdict.PASS, Reason.NONE
    else:
        message = f'{judged} of {total} views judged, {unseen}'
        verdict = Verdict.UNDETERMINED
    # a view that nobody looked at may show the defect: rejected whatever the rules say
    never_seen = any(not v.is_judged and _failure(v) not in _MADE_UP_FOR for v in views)
    reject = verdict == Verdict.REJECT or (
        verdict == Verdict.UNDETERMINED and (config.reject_undetermined or never_seen)
    )
    return ObjectVerdict(verdict, reason, score, message, judged, total, reject, seen)


def _failure(view: ViewResult) -> Reason:
    """Why a view was not judged; a verdict without a usable score is an error."""
    return Reason.INTERNAL_ERROR if view.reason in (Reason.NONE, Reason.ANOMALY) else view.reason


def _unseen(
    views: Sequence[ViewResult],
    seen: float,
    config: DecisionConfig,
    required_cameras: Sequence[str],
) -> tuple[str, Reason]:
    """Why the views are not enough to let the object pass, and the reason; '' when they are."""
    failures = [view for view in views if not view.is_judged]
    judged = len(views) - len(failures)
    reasons = [_failure(view) for view in failures]
    # ties go to the reason with the higher number, the more serious one
    usual = max(set(reasons), key=lambda r: (reasons.count(r), r), default=Reason.VIEW_NOT_COVERED)
    lost = [reason for reason in reasons if reason not in _MADE_UP_FOR]
    if lost:
        worst = max(set(lost), key=lambda r: (lost.count(r), r))
        return f'{len(lost)} never looked at ({worst.name}), wanted all', usual
    if not views:
        return 'wanted at least 1', usual
    required = sorted(
        {view.camera_name for view in failures if view.camera_name in required_cameras}
    )
    if required:
        return f'wanted that of {", ".join(required)} (required_cameras)', usual
    if config.min_views:
        return (f'wanted {config.min_views}' if judged < config.min_views else ''), usual
    if not failures or seen >= config.min_coverage:
        return '', usual
    if not math.isfinite(seen):
        return 'wanted all (the model does not know how much of the surface they saw)', usual
    saw = f'they saw {seen:.0%} of the surface'
    return f'{saw}, wanted all views or {config.min_coverage:.0%}', usual


def seconds_to_decide(
    position: float, age: float, *, belt_speed: float, gate_position: float, gate_latency: float
) -> float:
    """Time that is left until the signal on a piece must be out, so that the gate acts in time.

    Args:
        position: of the piece along the belt when it was exposed, m.
        age: time since it was exposed, s; the longest that is possible is the safe value.
        belt_speed: highest speed of the belt, m/s, above 0.
        gate_position: of the gate along the belt, m.
        gate_latency: from the signal until the gate has moved, s.

    Returns:
        s; zero or negative: it is too late already.
    """
    return (gate_position - position) / belt_speed - gate_latency - age


@dataclass
class StopRule:
    """Asks for a stop of the line when too many pieces in a row are bad; holds until reset.

    Attributes:
        max_rejects: rejected pieces in a row, 0 = never.
        max_undetermined: pieces in a row that could not be judged, 0 = never.
        cause: why a stop is asked for: '', 'rejects' or 'undetermined'.
        message: the same for people.
    """

    max_rejects: int = 0
    max_undetermined: int = 0
    cause: str = ''
    message: str = ''
    _rejects: int = field(default=0, init=False)
    _undetermined: int = field(default=0, init=False)

    def update(self, verdict: ObjectVerdict) -> bool:
        """Take in the next piece; True when this one makes the line stop."""
        self._rejects = self._rejects + 1 if verdict.reject else 0
        undetermined = verdict.verdict == Verdict.UNDETERMINED
        self._undetermined = self._undetermined + 1 if undetermined else 0
        if self.cause:
            return False
        if 0 < self.max_undetermined <= self._undetermined:
            self.cause = 'undetermined'
            self.message = f'{self._undetermined} pieces in a row could not be judged'
        elif 0 < self.max_rejects <= self._rejects:
            self.cause, self.message = 'rejects', f'{self._rejects} pieces in a row were rejected'
        return bool(self.cause)

    def reset(self) -> None:
        """The line may run again; counting starts anew."""
        self.cause = self.message = ''
        self._rejects = self._undetermined = 0
