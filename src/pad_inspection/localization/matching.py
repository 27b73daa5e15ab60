"""Matching of local features: mutual nearest neighbours, or LightGlue."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from pad_inspection.config import LocalizationConfig
from pad_inspection.datatypes import LocalFeatures

# Least cosine of mutual neighbours that suits the features, and largest ratio of the distances to
# the nearest and the second neighbour (1 = no ratio test).
_LIMITS = {
    'xfeat': (0.82, 1.0),
    'aliked': (0.7, 1.0),
    'superpoint': (0.7, 1.0),
    'sift': (0.0, 0.85),
}


class Matcher(Protocol):
    """Matches the features of two crops of the same size."""

    def match(self, first: LocalFeatures, second: LocalFeatures) -> np.ndarray:
        """int64 (M, 2): indices into both."""


class MutualNeighbors:
    """Mutual nearest neighbours of unit descriptors, with a least cosine and a ratio test."""

    def __init__(self, min_cosine: float, max_ratio: float = 1.0):
        """Set the limits.

        Args:
            min_cosine: less similar neighbours are no matches.
            max_ratio: largest distance to the nearest neighbour relative to the second one.
        """
        self.min_cosine = min_cosine
        self._max_ratio = max_ratio

    def match(self, first: LocalFeatures, second: LocalFeatures) -> np.ndarray:
        """int64 (M, 2): indices into both."""
        return self.match_descriptors(first.descriptors, second.descriptors)

    def match_descriptors(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """Match descriptors (N0, D) and (N1, D) of unit length; int64 (M, 2)."""
        import torch

        if min(len(first), len(second)) < 2:
            return np.zeros((0, 2), np.int64)
        # torch's product: numpy's would wake all cores for a tenth of a millisecond each
        cosine = (torch.from_numpy(first) @ torch.from_numpy(second).T).numpy()  # (N0, N1)
        nearest = cosine.argmax(axis=1)  # (N0,)
        index = np.arange(len(first))
        best = cosine[index, nearest]
        # comparing with the columns' largest values is far cheaper than argmax along them
        found = (best >= cosine.max(axis=0)[nearest]) & (best > self.min_cosine)
        if self._max_ratio < 1:
            cosine[index, nearest] = -1
            second_best = cosine.max(axis=1)
            # distance of unit vectors: sqrt(2 - 2 cosine)
            near, far = (np.sqrt(np.maximum(2 - 2 * c, 0)) for c in (best, second_best))
            found &= near < self._max_ratio * far
        return np.stack([index[found], nearest[found]], axis=1)


class LearnedMatcher:
    """LightGlue or LighterGlue."""

    def __init__(self, network, size_px: int):
        """Wrap a network.

        Args:
            network: networks.lightglue.LightGlue.
            size_px: side of the crops.
        """
        self._network = network
        self._size_px = size_px

    def match(self, first: LocalFeatures, second: LocalFeatures) -> np.ndarray:
        """int64 (M, 2): indices into both."""
        return self._network.match(
            first.keypoints, first.descriptors, second.keypoints, second.descriptors, self._size_px
        )[0]


def mutual_neighbors(config: LocalizationConfig) -> MutualNeighbors:
    """Mutual neighbours with the limits that suit the configured features."""
    cosine, ratio = _LIMITS[config.features]
    return MutualNeighbors(config.min_cosine or cosine, ratio)


def create_matcher(config: LocalizationConfig, device: str = 'cpu') -> Matcher:
    """Load the matcher that the configuration names.

    Raises:
        FileNotFoundError: the weights are not there; the message says how to get them.
        ValueError: there is no such matcher for these features, or the file holds other weights.
    """
    if config.matcher == 'mutual_nn':
        return mutual_neighbors(config)
    from pad_inspection.networks.lightglue import LightGlue

    network = LightGlue(config.features, device, config.matcher_weights)
    return LearnedMatcher(network, config.crop_px)
