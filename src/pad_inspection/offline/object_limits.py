"""Limits for objects, from normal views.

So many normal objects as a limit needs are not there; they are drawn from normal views.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from pad_inspection.config import DecisionConfig
from pad_inspection.decision import object_score

_DRAWN_OBJECTS = 20_000
# Objects whose pictures are joined, which takes a second each.
_DRAWN_PIECES = 10


def drawn_pieces(groups: Sequence[str], views_per_object: int) -> list[list[int]]:
    """Normal views that stand together for an object, no two of the same group.

    Args:
        groups: of each view.
        views_per_object: views of each, fewer where there are fewer groups.

    Returns:
        Indices of the views of each drawn object; the same ones at each call.
    """
    rng = np.random.default_rng(0)
    names = sorted(set(groups))
    members = {name: [i for i, group in enumerate(groups) if group == name] for name in names}
    return [
        [
            int(rng.choice(members[names[n]]))
            for n in rng.permutation(len(names))[:views_per_object]
        ]
        for _ in range(_DRAWN_PIECES)
    ]


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
