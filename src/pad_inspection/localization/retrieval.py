"""Which reference views look like the query: votes of local features, or global descriptors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from pad_inspection.config import LocalizationConfig
from pad_inspection.datatypes import LocalFeatures
from pad_inspection.localization.crops import Crop
from pad_inspection.localization.matching import mutual_neighbors
from pad_inspection.localization.reference import NO_POINT, ReferenceModel

# Best keypoints of a view that vote.
_VOTING_KEYPOINTS = 300
# Side of the picture that a network of whole views sees, px: the input of VGG16. Its work grows
# with the square of it, and there is one picture for each turn.
_DESCRIBED_PX = 224


@dataclass(frozen=True)
class Retrieved:
    """A reference view that may show the query.

    Attributes:
        turn: index of the turned copy of the query.
        view: index of the reference view.
        score: how much they look alike: votes, or a cosine.
    """

    turn: int
    view: int
    score: float


class Retrieval(Protocol):
    """Ranks pairs of a turned copy of the query and a reference view.

    Attributes:
        needs_turns: it tells nothing of a view that is turned in its plane, even where the local
            features stand turns.
    """

    needs_turns: bool

    def retrieve(
        self, crops: Sequence[Crop], features: Sequence[LocalFeatures], count: int
    ) -> list[Retrieved]:
        """The pairs that look alike most, best first.

        Args:
            crops: turned copies of the query.
            features: local features of each, sorted by score.
            count: how many pairs.
        """


class ViewNetwork(Protocol):
    """Describes a whole picture."""

    def describe(self, picture: np.ndarray) -> np.ndarray:
        """Descriptor float32 (G,) of unit length of a picture uint8 (H, W, 3)."""


@dataclass(frozen=True)
class ViewDescriber:
    """Descriptors of whole crops.

    Attributes:
        network: what describes them.
    """

    network: ViewNetwork

    def describe(self, crop: Crop) -> np.ndarray:
        """Descriptor float32 (G,) of unit length."""
        import cv2

        size = (_DESCRIBED_PX, _DESCRIBED_PX)
        return self.network.describe(cv2.resize(crop.picture, size, interpolation=cv2.INTER_AREA))


class VoteRetrieval:
    """Counts mutual neighbours between a query and every reference view at once."""

    needs_turns = False

    def __init__(
        self,
        reference: ReferenceModel,
        num_keypoints: int,
        min_cosine: float,
        device: str = 'cpu',
    ):
        """Stack the best keypoints of the reference views.

        Args:
            reference: the views; only keypoints with a 3D point vote.
            num_keypoints: best keypoints of a view, and of the query, that vote.
            min_cosine: less similar neighbours do not vote.
            device: torch device that counts: the product of all descriptors is most of the work.
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
        stacked = torch.from_numpy(stacked.reshape(-1, dimension).T.copy())  # (D, C * K)
        self._stacked, self._device = stacked.to(device), device
        self._min_cosine = min_cosine

    def votes(self, query: LocalFeatures) -> np.ndarray:
        """Votes int64 (C,) of the views for a query whose features are sorted by score."""
        import torch

        views, count, _ = self._shape
        descriptors = torch.from_numpy(query.descriptors[:count]).to(self._device)  # (N, D)
        if len(descriptors) < 2:
            return np.zeros(views, np.int64)
        cosine = descriptors @ self._stacked  # (N, C * K)
        best, nearest = cosine.view(-1, views, count).max(dim=2)  # (N, C)
        # mutual where it is the largest of its column; argmax along columns would be far slower
        largest = cosine.amax(dim=0).view(views, count)  # (C, K)
        mutual = best.T >= largest.gather(1, nearest.T)  # (C, N)
        return (mutual & (best.T > self._min_cosine)).sum(dim=1).cpu().numpy()

    def retrieve(
        self, crops: Sequence[Crop], features: Sequence[LocalFeatures], count: int
    ) -> list[Retrieved]:
        """See Retrieval; a view without votes is none."""
        del crops
        votes = np.stack([self.votes(query) for query in features])
        return [item for item in best_views(votes, count) if item.score > 0]


class DescriptorRetrieval:
    """Compares descriptors of whole views by their cosine."""

    needs_turns = True

    def __init__(self, reference: ReferenceModel, describer: ViewDescriber):
        """Take the descriptors of the reference views.

        Args:
            reference: the views, with global descriptors.
            describer: as they were described with.

        Raises:
            ValueError: the reference has none.
        """
        if reference.global_descriptors is None:
            raise ValueError(
                'the model holds no descriptors of whole views, for it was built with '
                "localization.retrieval = 'votes': build it again with the configured retrieval, "
                "or set localization.retrieval to 'votes'"
            )
        self._descriptors = reference.global_descriptors.astype(np.float32)  # (C, G)
        self._describer = describer

    def cosines(self, crop: Crop) -> np.ndarray:
        """Cosines float32 (C,) of a crop and the views.

        Raises:
            ValueError: the views were described by another network.
        """
        descriptor = self._describer.describe(crop)
        size = self._descriptors.shape[1]
        if len(descriptor) != size:
            raise ValueError(
                f'localization.retrieval_weights give {len(descriptor)} numbers, the model was '
                f'built with others that give {size}: build it again or name those'
            )
        return self._descriptors @ descriptor

    def retrieve(
        self, crops: Sequence[Crop], features: Sequence[LocalFeatures], count: int
    ) -> list[Retrieved]:
        """See Retrieval."""
        del features
        return best_views(np.stack([self.cosines(crop) for crop in crops]), count)


def best_views(scores: np.ndarray, count: int) -> list[Retrieved]:
    """The pairs of turn and view with the highest scores, best first.

    Args:
        scores: (R, C), of the views for each turned copy.
        count: how many pairs.
    """
    order = np.argsort(-scores, axis=None, kind='stable')[:count]
    turns, views = np.unravel_index(order, scores.shape)
    return [Retrieved(int(t), int(v), float(scores[t, v])) for t, v in zip(turns, views)]


def create_describer(config: LocalizationConfig, device: str = 'cpu') -> ViewDescriber | None:
    """Load what describes whole views, or None where the configured retrieval needs none.

    Raises:
        FileNotFoundError: the weights are not there; the message says how to get them.
        ValueError: the file holds other weights.
    """
    if config.retrieval == 'votes':
        return None
    from pad_inspection.networks.netvlad import NetVlad
    from pad_inspection.networks.weights import user_path

    return ViewDescriber(NetVlad(user_path('netvlad', config.retrieval_weights), device))


def create_retrieval(
    reference: ReferenceModel, config: LocalizationConfig, device: str = 'cpu'
) -> Retrieval:
    """Prepare the retrieval that the configuration names.

    Raises:
        FileNotFoundError: weights are missing.
        ValueError: the file holds other weights, or the reference was built for another retrieval.
    """
    describer = create_describer(config, device)
    if describer is None:
        min_cosine = mutual_neighbors(config).min_cosine
        return VoteRetrieval(reference, _VOTING_KEYPOINTS, min_cosine, device)
    return DescriptorRetrieval(reference, describer)
