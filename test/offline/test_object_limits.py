import numpy as np
import pytest

from pad_inspection.config import DecisionConfig
from pad_inspection.decision import object_score
from pad_inspection.offline.object_limits import drawn_pieces, object_threshold


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


def test_drawn_pieces_hold_no_two_views_of_a_group():
    groups = ['a', 'a', 'b', 'c', 'c', 'c', 'd']
    pieces = drawn_pieces(groups, 3)
    assert pieces == drawn_pieces(groups, 3) and len(pieces) > 3
    for piece in pieces:
        assert len({groups[i] for i in piece}) == len(piece) == 3
    assert {i for piece in pieces for i in piece} == set(range(7))
    assert all(len(piece) == 4 for piece in drawn_pieces(groups, 9))
