"""The backbones that pictures can be compared with, by name."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from pad_inspection.networks import weights

NAMES = ('efficientnet_lite0', 'efficientnet_b4', 'dino')


class Backbone(Protocol):
    """Gives feature maps of pictures.

    Attributes:
        names: of each level, each another.
        channels: of each level.
        strides: px per cell of each level; the last is a multiple of the others.
        centers_px: pixel index (first pixel = 0) under the first cell of each level.
    """

    names: tuple[str, ...]
    channels: tuple[int, ...]
    strides: tuple[int, ...]
    centers_px: tuple[float, ...]

    def features(self, pictures: np.ndarray) -> list[np.ndarray]:
        """Feature maps of pictures.

        Args:
            pictures: (B, H, W, 3) RGB 0..255, uint8 or float; H and W are multiples of the last
                stride.

        Returns:
            For each level float32 (B, H / stride, W / stride, D), not normalised.

        Raises:
            ValueError: H or W is no multiple of the last stride.
        """


def create_backbone(name: str, path: str, num_levels: int, device: str = 'cpu') -> Backbone:
    """Load a backbone.

    Args:
        name: one of NAMES.
        path: weights file; empty = the installed one, which only efficientnet_lite0 has.
        num_levels: of the features, from the finest.
        device: torch device.

    Raises:
        FileNotFoundError: the weights are not there.
        ValueError: another name, or a file with other weights.
    """
    if name == 'efficientnet_lite0':
        from pad_inspection.networks import efficientnet_lite

        return efficientnet_lite.load(path or None, num_levels, device)
    if name == 'efficientnet_b4':
        from pad_inspection.networks import efficientnet_b4

        return efficientnet_b4.load(weights.user_path(name, path), num_levels, device)
    if name == 'dino':
        from pad_inspection.networks import dino

        return dino.load(weights.user_path(name, path), num_levels, device)
    raise ValueError(f'backbone {name!r}, wanted one of: {", ".join(NAMES)}')
