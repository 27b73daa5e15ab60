import numpy as np
import pytest

from pad_inspection.config import DecisionConfig
from pad_inspection.decision import object_score
from pad_inspection.offline.object_limits import object_limits


def test_the_limit_on_objects_holds_for_normal_ones():
    rng = np.random.default_rng(3)
    decision = DecisionConfig(max_false_reject_rate=0.1)
    limits = {n: object_limits(np.exp(rng.normal(-1, 0.4, 400)), decision, n) for n in (1, 9)}
    for views, (limit, scale) in limits.items():
        objects = np.exp(rng.normal(-1, 0.4, (4000, views)))
        rejected = np.mean([object_score(row, decision) >= limit for row in objects.tolist()])
        assert rejected == pytest.approx(0.1, abs=0.03)
        assert scale == 0.0


def test_low_scores_do_not_widen_the_limit():
    scores = np.exp(np.random.default_rng(4).normal(0, 0.3, 200))
    lower = np.where(scores < 1, scores**4, scores)
    args = DecisionConfig(), 3
    assert object_limits(lower, *args)[0] == pytest.approx(
        object_limits(scores, *args)[0], rel=0.1
    )


def test_the_limit_holds_for_objects_whose_views_are_joined():
    rng = np.random.default_rng(5)
    decision = DecisionConfig(max_false_reject_rate=0.1)

    def draw(count):
        surfaces = rng.gamma(4.0, 3.0, (count, 50))
        surfaces[rng.uniform(size=surfaces.shape) < 0.4] = np.nan
        return np.exp(rng.normal(-1, 0.4, count)), surfaces

    ratios, surfaces = draw(400)
    limit, scale = object_limits(ratios, decision, 5, surfaces)
    rejected = []
    for _ in range(1000):
        ratios, surfaces = draw(5)
        rejected.append(object_score(ratios.tolist(), decision, surfaces / scale) >= limit)
    assert np.mean(rejected) == pytest.approx(0.1, abs=0.06)


def test_normal_views_without_any_difference_are_not_joined():
    limit, scale = object_limits(np.ones(9), DecisionConfig(), 3, np.zeros((9, 4)))
    assert (limit, scale) == (pytest.approx(1.0), 0.0)
