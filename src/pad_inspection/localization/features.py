"""Local features by name: XFeat, ALIKED, SIFT, SuperPoint behind one interface."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from pad_inspection.config import LocalizationConfig
from pad_inspection.datatypes import LocalFeatures
from pad_inspection.localization.crops import Crop


class FeatureNetwork(Protocol):
    """A detector and descriptor of keypoints."""

    def extract(
        self, picture: np.ndarray, mask: np.ndarray | None, max_keypoints: int
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Keypoints (N, 2) px, descriptors (N, D) and scores (N,) of a picture uint8 (H, W, 3)."""


@dataclass(frozen=True)
class Extractor:
    """Local features of crops.

    Attributes:
        name: xfeat, aliked, sift or superpoint.
        network: what finds them.
        max_keypoints: of one crop.
        stands_turns: descriptors stay the same when the picture is turned by any angle, so that no
            turned copies of a query are needed.
    """

    name: str
    network: FeatureNetwork
    max_keypoints: int
    stands_turns: bool = False

    def extract(self, crop: Crop, max_keypoints: int | None = None) -> LocalFeatures:
        """Features of a crop, best first; keypoints in px of the crop.

        Args:
            crop: the picture and where keypoints may be.
            max_keypoints: fewer or more than usual.
        """
        count = self.max_keypoints if max_keypoints is None else max_keypoints
        return LocalFeatures(*self.network.extract(crop.picture, crop.mask, count))


def create_extractor(config: LocalizationConfig, device: str = 'cpu') -> Extractor:
    """Load the local features that the configuration names.

    Raises:
        FileNotFoundError: the weights are not there; the message says how to get them.
    """
    if config.features == 'xfeat':
        from pad_inspection.networks.xfeat import XFeat

        return Extractor('xfeat', XFeat(device), config.max_keypoints)
    if config.features == 'aliked':
        from pad_inspection.networks.aliked import Aliked

        return Extractor('aliked', Aliked(device), config.max_keypoints)
    if config.features == 'superpoint':
        from pad_inspection.networks.superpoint import SuperPoint
        from pad_inspection.networks.weights import user_path

        path = user_path('superpoint', config.features_weights)
        return Extractor('superpoint', SuperPoint(path, device), config.max_keypoints)
    return Extractor('sift', RootSift(), config.max_keypoints, stands_turns=True)


class RootSift:
    """SIFT of COLMAP with affine shapes; its descriptors are square roots of histograms.

    Source: Lowe, IJCV 2004; Arandjelovic and Zisserman, CVPR 2012 (RootSIFT).
    """

    def __init__(self):
        import pycolmap

        pycolmap.logging.minloglevel = int(pycolmap.logging.WARNING)
        options = pycolmap.FeatureExtractionOptions()
        options.sift.peak_threshold = 0.003
        options.sift.max_num_features = 8192
        options.sift.estimate_affine_shape = True
        options.sift.domain_size_pooling = True
        options.num_threads = 1
        self._extractor = pycolmap.FeatureExtractor.create(options, pycolmap.Device.cpu)
        self._to_matrix = pycolmap.keypoints_to_matrix

    def extract(
        self, picture: np.ndarray, mask: np.ndarray | None, max_keypoints: int
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """As FeatureNetwork.extract; scores are the keypoints' scales, larger ones first."""
        import cv2

        gray = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
        found, raw = self._extractor.extract_from_uint8_array(np.ascontiguousarray(gray))[:2]
        shapes = np.asarray(self._to_matrix(found), np.float32)  # x, y, scale, orientation
        # COLMAP's first pixel centre is (0.5, 0.5) already
        keypoints, scales = shapes[:, :2], shapes[:, 2]
        descriptors = np.asarray(raw.data, np.float32)
        length = np.linalg.norm(descriptors, axis=1, keepdims=True)
        descriptors = descriptors / np.maximum(length, 1e-6)
        keep = np.ones(len(keypoints), bool)
        if mask is not None:
            x, y = np.clip(keypoints.astype(int), 0, mask.shape[0] - 1).T
            keep = mask[y, x]
        order = np.flatnonzero(keep)
        order = order[np.argsort(-scales[order], kind='stable')][:max_keypoints]
        return keypoints[order], descriptors[order], scales[order]
