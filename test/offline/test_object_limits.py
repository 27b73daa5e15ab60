import numpy as np
import pytest

from pad_inspection.config import DecisionConfig
from pad_inspection.decision import object_score
from pad_inspection.offline.object_limits import object_threshold


def test_the_limit_on_objects_holds_for_normal_ones():
    rng = np.random.default_rng(3)
    decision = DecisionConfig(max_false_reject_rate=0.1)
    limits = {n: object_threshold(np.exp(rng.normal(-1, 0.4, 400)), decision, n) for n in (1, 9)}
    for views, limit in limits.items():
        objects = np.exp(rng.normal(-1, 0.4, (4000, views)))
        rejected = np.mean([object_score(row, decision) >= limit for row in objects.tolist()])
        assert rejected == pytest.approx(0.1, abs=0.03)


def test_low_scores_do_not_widen_the_limit():
    scores = np.exp(np.random.default_rng(4).normal(0, 0.3, 200))
    lower = np.where(scores < 1, scores**4, scores)
    args = DecisionConfig(), 3
    assert object_threshold(lower, *args) == pytest.approx(
        object_threshold(scores, *args), rel=0.1
    )
