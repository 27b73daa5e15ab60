"""Limit on the score of an object, from normal views.

So many normal objects as a limit needs are not there; they are drawn from normal views.
"""

from __future__ import annotations

import math

import numpy as np

from pad_inspection.config import DecisionConfig
from pad_inspection.decision import object_score

_DRAWN_OBJECTS = 20_000


def object_threshold(ratios: np.ndarray, decision: DecisionConfig, views_per_object: int) -> float:
    """Limit on an object's score that good objects exceed with the wanted rate.

    What normal views scatter above and below their median is taken as log-normal on either side.
    Views of an object are drawn independently.

    Args:
        ratios: (N,) normal scores over the view threshold.
        decision: the wanted false reject rate, and how an object is scored.
        views_per_object: views that an object usually has.
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
    scores = [object_score(row, decision) for row in views.tolist()]
    return float(np.quantile(scores, 1 - decision.max_false_reject_rate))
