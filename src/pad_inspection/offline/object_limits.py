"""Limits on the score of an object, from normal views.

So many normal objects as a limit needs are not there; they are drawn from normal views. What a
view scores scatters above and below its median as log-normal on either side. What views say of
places of the surface is drawn as it is, several views of one photograph among them: they err
alike, as the views of a piece do that show the same face in the same light.
"""

from __future__ import annotations

import math

import numpy as np

from pad_inspection.config import DecisionConfig
from pad_inspection.decision import object_score
from pad_inspection.surface import surface_score

_DRAWN_OBJECTS = 20_000
# Drawing places takes longer, and their scores scatter less.
_DRAWN_SURFACES = 1000


def object_limits(
    ratios: np.ndarray,
    decision: DecisionConfig,
    views_per_object: int,
    surfaces: np.ndarray | None = None,
) -> tuple[float, float]:
    """Limit on an object's score that good objects exceed with the wanted rate, and a scale.

    The scale brings what views say together of a place of the surface to the size of what they
    score: good objects exceed the same limit in either with the wanted rate.

    Args:
        ratios: (N,) normal scores over the view threshold.
        decision: the wanted false reject rate, and how an object is scored.
        views_per_object: views that an object usually has.
        surfaces: float (V, P), surface evidence of normal views, or None.

    Returns:
        The limit, and the scale of surface evidence, 0 without any.
    """
    logs = np.log(np.maximum(ratios, 1e-6))
    middle = np.median(logs)
    spreads = [
        math.sqrt(float((side**2).mean())) if len(side) else 0.0
        for side in (logs[logs > middle] - middle, logs[logs < middle] - middle)
    ]
    rng = np.random.default_rng(0)
    drawn = rng.standard_normal((_DRAWN_OBJECTS, views_per_object))
    views = np.exp(middle + drawn * np.where(drawn > 0, *spreads))
    scores = np.array([object_score(row, decision) for row in views.tolist()])
    wanted = 1 - decision.max_false_reject_rate
    limit = float(np.quantile(scores, wanted))
    if surfaces is None:
        return limit, 0.0
    joined = _drawn_surface_scores(surfaces, decision, views_per_object, rng)
    if not len(joined) or not joined.max() > 0:
        return limit, 0.0
    scale = float(np.quantile(joined, wanted)) / limit
    both = np.maximum(scores, rng.choice(joined, len(scores)) / scale)
    return float(np.quantile(both, wanted)), scale


def _drawn_surface_scores(
    surfaces: np.ndarray, decision: DecisionConfig, count: int, rng: np.random.Generator
) -> np.ndarray:
    """Surface scores of drawn objects of ``count`` views (fewer where there are fewer)."""
    scores = np.array(
        [
            surface_score(surfaces[rng.permutation(len(surfaces))[:count]], decision.worst_share)
            for _ in range(_DRAWN_SURFACES)
        ]
    )
    return scores[np.isfinite(scores)]
