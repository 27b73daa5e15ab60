import numpy as np
import pytest

from helpers.small_map import small_map
from pad_inspection.datatypes import LocalFeatures
from pad_inspection.localization.reference import NO_POINT
from pad_inspection.localization.retrieval import VoteRetrieval, best_views


@pytest.fixture(scope='module')
def reference():
    return small_map()[0].reference


def test_a_view_votes_for_itself(reference):
    retrieval = VoteRetrieval(reference, 100, 0.82)
    for view in (0, 11, 39):
        votes = retrieval.votes(reference.local_features(view))
        assert votes.shape == (40,)
        assert votes.argmax() == view


def test_votes_are_those_of_a_slow_count(reference):
    known = np.flatnonzero(reference.points_of(5) != NO_POINT)
    features = reference.local_features(5)
    rows = known[np.argsort(-features.scores[known], kind='stable')][:50]
    query = reference.local_features(6)
    cosine = query.descriptors[:50] @ features.descriptors[rows].T
    slow = sum(
        cosine[:, j].argmax() == i and cosine[i, j] > 0.82
        for i, j in enumerate(cosine.argmax(axis=1))
    )
    assert VoteRetrieval(reference, 50, 0.82).votes(query)[5] == slow


def test_a_query_without_features_gets_no_votes(reference):
    empty = LocalFeatures(np.zeros((0, 2)), np.zeros((0, 64)), np.zeros(0))
    assert not VoteRetrieval(reference, 50, 0.82).votes(empty).any()


def test_best_views_are_sorted_and_have_votes():
    found = best_views(np.array([[1, 0, 7], [0, 9, 0]]), 5)
    assert [(f.turn, f.view, f.votes) for f in found] == [(1, 1, 9), (0, 2, 7), (0, 0, 1)]
    assert len(best_views(np.array([[1, 0, 7], [0, 9, 0]]), 2)) == 2
