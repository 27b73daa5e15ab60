"""Learnt comparison: features of query and reference picture -> probability of a defect.

The backbone is that of the other levels and stays frozen; only the decoder is learnt, from
pictures of good pieces with synthetic defects (offline/train_networks). It learns what distances
cannot tell: that gloss, other light on a face, soft edges and half a pixel of misalignment are no
defects.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch.nn import functional

from pad_inspection.networks.pyramid_decoder import PyramidDecoder, copied_to, unit_levels

# RGB of both pictures, their difference, rendered opacity and segmented probability.
_RAW_CHANNELS = 11


def level_channels(feature_channels: Sequence[int]) -> tuple[int, ...]:
    """Channels of the decoder's levels for a backbone with these feature channels."""
    doubled = [2 * c for c in feature_channels]
    return (doubled[0] + _RAW_CHANNELS, *doubled[1:])


def change_levels(
    pair: np.ndarray,
    features: Sequence[np.ndarray],
    alpha: np.ndarray,
    probability: np.ndarray,
    device: str = 'cpu',
) -> list[torch.Tensor]:
    """What the decoder sees of a query and its reference.

    Args:
        pair: float32 (2, H, W, 3), query and reference, 0 to 255.
        features: of the backbone for the pair, float32 (2, h_l, w_l, C_l), from the finest.
        alpha: float32 (H, W), rendered opacity.
        probability: float32 (H, W), of object in the query.
        device: torch device of the result.

    Returns:
        float32 (1, C, h_l, w_l) for each level; C as in ``level_channels``.
    """
    maps = unit_levels([torch.from_numpy(f).to(device).permute(0, 3, 1, 2) for f in features])
    levels = [torch.cat([m[:1], (m[:1] - m[1:]).abs()], dim=1) for m in maps]
    query, reference = (
        torch.from_numpy(np.ascontiguousarray(p)).to(device).permute(2, 0, 1)[None] / 255
        for p in pair
    )
    masks = torch.from_numpy(np.stack([alpha, probability]).astype(np.float32)).to(device)[None]
    raw = torch.cat([query, reference, (query - reference).abs(), masks], dim=1)
    raw = functional.interpolate(raw, size=levels[0].shape[-2:], mode='area')
    levels[0] = torch.cat([levels[0], raw], dim=1)
    return levels


class ChangeDecoder:
    """The learnt comparison; call ``predict``."""

    def __init__(
        self, network: PyramidDecoder, feature_channels: Sequence[int], device: str = 'cpu'
    ):
        """Take a decoder.

        Args:
            network: trained with the backbone; it is copied to the device.
            feature_channels: of the backbone.
            device: torch device.

        Raises:
            ValueError: it was trained with another backbone.
        """
        wanted = level_channels(feature_channels)
        if network.channels != wanted:
            raise ValueError(
                f'the learnt comparison takes levels of {network.channels} channels, the backbone '
                f'gives {wanted}: build the model again with this backbone'
            )
        self._network = copied_to(network, device)
        self._device = device

    def predict(
        self,
        pair: np.ndarray,
        features: Sequence[np.ndarray],
        alpha: np.ndarray,
        probability: np.ndarray,
    ) -> np.ndarray:
        """Probability of a defect, float32 (h_0, w_0), 0 to 1; arguments of ``change_levels``."""
        with torch.inference_mode():
            levels = change_levels(pair, features, alpha, probability, self._device)
            return torch.sigmoid(self._network(levels))[0, 0].cpu().numpy()
