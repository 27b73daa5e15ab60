"""Which reference views look like the query: votes of mutual neighbours of the best keypoints."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pad_inspection.datatypes import LocalFeatures
from pad_inspection.localization.reference import NO_POINT, ReferenceModel


@dataclass(frozen=True)
class Retrieved:
    """A reference view that may show the query.

    Attributes:
        turn: index of the turned copy of the query.
        view: index of the reference view.
        votes: mutual neighbours among the best keypoints.
    """

    turn: int
    view: int
    votes: int


class VoteRetrieval:
    """Counts mutual neighbours between a query and every reference view at once."""

    def __init__(self, reference: ReferenceModel, num_keypoints: int, min_cosine: float):
        """Stack the best keypoints of the reference views.

        Args:
            reference: the views; only keypoints with a 3D point vote.
            num_keypoints: best keypoints of a view, and of the query, that vote.
            min_cosine: less similar neighbours do not vote.
        """
        import torch

        views, dimension = len(reference), reference.descriptors.shape[1]
        stacked = np.zeros((views, num_keypoints, dimension), np.float32)
        for view in range(views):
            known = reference.points_of(view) != NO_POINT
            features = reference.local_features(view)
            rows = np.flatnonzero(known)
            rows = rows[np.argsort(-features.scores[rows], kind='stable')][:num_keypoints]
            stacked[view, : len(rows)] = features.descriptors[rows]
        self._shape = stacked.shape
        self._stacked = torch.from_numpy(stacked.reshape(-1, dimension).T.copy())  # (D, C * K)
        self._min_cosine = min_cosine

    def votes(self, query: LocalFeatures) -> np.ndarray:
        """Votes int64 (C,) of the views for a query whose features are sorted by score."""
        import torch

        views, count, _ = self._shape
        descriptors = torch.from_numpy(query.descriptors[:count])  # (N, D)
        if len(descriptors) < 2:
            return np.zeros(views, np.int64)
        cosine = descriptors @ self._stacked  # (N, C * K)
        best, nearest = cosine.view(-1, views, count).max(dim=2)  # (N, C)
        # mutual where it is the largest of its column; argmax along columns would be far slower
        largest = cosine.amax(dim=0).view(views, count)  # (C, K)
        mutual = best.T >= largest.gather(1, nearest.T)  # (C, N)
        return (mutual & (best.T > self._min_cosine)).sum(dim=1).numpy()


def best_views(votes: np.ndarray, count: int) -> list[Retrieved]:
    """The pairs of turn and view with most votes, best first.

    Args:
        votes: int64 (R, C), of the views for each turned copy.
        count: how many pairs.
    """
    order = np.argsort(-votes, axis=None, kind='stable')[:count]
    turns, views = np.unravel_index(order, votes.shape)
    return [
        Retrieved(int(t), int(v), int(votes[t, v]))
        for t, v in zip(turns, views)
        if votes[t, v] > 0
    ]
