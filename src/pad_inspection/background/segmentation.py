"""Which pixels of the query are object: segmentation networks behind one interface."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np

from pad_inspection import images
from pad_inspection.config import SegmentationConfig

if TYPE_CHECKING:
    from pad_inspection.networks.pyramid_decoder import PyramidDecoder


class SegmentationNetwork(Protocol):
    """A network that tells object from background."""

    def predict(self, image: np.ndarray) -> np.ndarray:
        """Probability of object, float32 (H, W) 0..1, of a picture uint8 (H, W, 3)."""


class Average:
    """The mean of several networks."""

    def __init__(self, networks: Sequence[SegmentationNetwork]):
        self._networks = networks

    def predict(self, image: np.ndarray) -> np.ndarray:
        """Probability of object, float32 (H, W) 0..1, of a picture uint8 (H, W, 3)."""
        return np.mean([network.predict(image) for network in self._networks], axis=0)


class Segmenter:
    """A network and the cleaning of what it gives."""

    def __init__(self, network: SegmentationNetwork, config: SegmentationConfig):
        self._network = network
        self._config = config

    def segment(self, image: np.ndarray) -> np.ndarray:
        """Probability of object.

        Args:
            image: uint8 (H, W, 3) RGB.

        Returns:
            float32 (H, W), 0 to 1.
        """
        probability = self._network.predict(image).astype(np.float32)
        if not self._config.single_object:
            return probability
        return keep_main_object(probability, self._config.threshold)


def create_segmenter(
    config: SegmentationConfig,
    product: PyramidDecoder | None = None,
    threads: int = 0,
    device: str = 'cpu',
) -> Segmenter | None:
    """Load the network that the configuration names; None for 'silhouette'.

    Args:
        config: which network, where its weights are, how its output is cleaned.
        product: what was trained for the product, for network 'product'.
        threads: CPU threads, 0 = all.
        device: torch device.

    Raises:
        FileNotFoundError: the weights are not there; the message says how to get them.
        ValueError: 'product' is wanted and nothing was trained.
    """
    from pad_inspection.networks import weights

    if config.network == 'silhouette':
        return None
    if config.network == 'product':
        if product is None:
            raise ValueError(
                "the model has no segmentation of its own (segmentation.network is 'product'): "
                "build it again, or choose 'isnet'"
            )
        from pad_inspection.networks.product_segmenter import ProductSegmenter

        return Segmenter(ProductSegmenter(product, device), config)
    if config.network == 'isnet':
        from pad_inspection.networks.isnet import ISNet

        path = weights.user_path('isnet', config.weights)
        sizes = dict.fromkeys((config.input_px, config.second_input_px or config.input_px))
        return Segmenter(Average([ISNet(path, px, threads, device) for px in sizes]), config)
    from pad_inspection.networks.birefnet import BiRefNet

    path = weights.user_path('birefnet', config.weights)
    return Segmenter(BiRefNet(path, device, threads), config)


def keep_main_object(probability: np.ndarray, threshold: float) -> np.ndarray:
    """Remove everything but one object: other pieces, and lines that lead away from it.

    Salient-object networks also mark grooves and rails of a conveyor. An opening cuts what is
    thinner than about 2.5% of the picture off; the largest piece that remains is the object; its
    own thin parts come back as far as they lie near it.

    Args:
        probability: float32 (H, W), 0 to 1.
        threshold: probability above which a pixel is object.

    Returns:
        float32 (H, W), zero away from the object. Unchanged when nothing survives the opening.
    """
    import cv2

    size = max(probability.shape)
    radius = max(1, round(0.0125 * size))
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    mask = (probability > threshold).astype(np.uint8)
    # outside of the picture counts as object, or pieces cut by its border would lose their corners
    opened = cv2.morphologyEx(
        cv2.copyMakeBorder(mask, radius, radius, radius, radius, cv2.BORDER_REPLICATE),
        cv2.MORPH_OPEN,
        kernel,
    )[radius:-radius, radius:-radius]
    count, labels, stats, _ = cv2.connectedComponentsWithStats(opened, connectivity=4)
    if count < 2:
        return probability
    largest = 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA]))
    near = images.dilate(labels == largest, 2 * radius)
    return np.where(near, probability, np.float32(0))
