"""Segmentation that knows one product: a frozen backbone and a decoder from the product's bundle.

`pad build` trains the decoder on photographs of the product put on synthetic lines, with blocks
attached as unseen added parts (offline/train_networks).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch.nn import functional

from pad_inspection import images
from pad_inspection.networks import efficientnet_lite
from pad_inspection.networks.pyramid_decoder import PyramidDecoder, copied_to, unit_levels

INPUT_PX = 320
LEVELS = len(efficientnet_lite.TAPS)
# The finest level sees the colours as well.
CHANNELS = (efficientnet_lite.CHANNELS[0] + 3, *efficientnet_lite.CHANNELS[1:])


def segmentation_levels(
    picture: np.ndarray, features: Sequence[np.ndarray], device: str = 'cpu'
) -> list[torch.Tensor]:
    """What the decoder sees.

    Args:
        picture: uint8 (INPUT_PX, INPUT_PX, 3).
        features: of the backbone, float32 (1, h_l, w_l, C_l), from the finest.
        device: torch device of the result.

    Returns:
        float32 (1, C, h_l, w_l) for each level; C as in CHANNELS.
    """
    levels = unit_levels([torch.from_numpy(f).to(device).permute(0, 3, 1, 2) for f in features])
    color = torch.from_numpy(picture).to(device).permute(2, 0, 1)[None].float() / 255
    color = functional.interpolate(color, size=levels[0].shape[-2:], mode='area')
    levels[0] = torch.cat([levels[0], color], dim=1)
    return levels


class ProductSegmenter:
    """The network; call ``predict``."""

    def __init__(self, decoder: PyramidDecoder, device: str = 'cpu'):
        """Take a decoder of CHANNELS.

        Args:
            decoder: it is copied to the device.
            device: torch device.

        Raises:
            FileNotFoundError: the backbone's weights are not installed.
            ValueError: the decoder was made for something else.
        """
        if decoder.channels != CHANNELS:
            raise ValueError(
                f'the segmentation takes levels of {decoder.channels} channels, wanted '
                f'{CHANNELS}: build the model again'
            )
        self._decoder = copied_to(decoder, device)
        self._backbone = efficientnet_lite.load(None, LEVELS, device)
        self._device = device

    def predict(self, image: np.ndarray) -> np.ndarray:
        """Probability of object, float32 (H, W) 0..1, of a picture uint8 (H, W, 3)."""
        height, width = image.shape[:2]
        picture = images.resize(image, INPUT_PX, INPUT_PX)
        features = self._backbone.features(picture[None])
        with torch.inference_mode():
            logits = self._decoder(segmentation_levels(picture, features, self._device))
            probability = torch.sigmoid(logits)[0, 0].cpu().numpy()
        return images.resize(probability, width, height)
