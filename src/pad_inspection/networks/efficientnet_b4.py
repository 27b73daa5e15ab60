"""EfficientNet-B4 as a feature extractor, with the weights file that the PAD methods use.

The file ``efficientnet-b4-6ed6700e.pth`` belongs to the project EfficientNet-PyTorch; the loader
of EfficientNet-lite is made from that project and reads it.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pad_inspection.networks import efficientnet_lite

# Source: OmniposeAD and its successors compare the outputs of these MBConv blocks.
TAPS = (1, 5, 9, 21)
CHANNELS = (24, 32, 56, 160)
STRIDES = (2, 4, 8, 16)
CENTERS_PX = (0.5, 1.5, 3.5, 7.5)
IMAGENET_MEAN = 255 * np.array([0.485, 0.456, 0.406])
IMAGENET_STD = 255 * np.array([0.229, 0.224, 0.225])


def load(
    path: Path, num_levels: int = len(TAPS), device: str = 'cpu'
) -> efficientnet_lite.EfficientNetFeatures:
    """Load EfficientNet-B4.

    Args:
        path: weights file.
        num_levels: how many of the taps, from the finest.
        device: torch device.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file does not hold this network's weights.
    """
    network = efficientnet_lite.load_network('efficientnet-b4', path)
    return efficientnet_lite.EfficientNetFeatures(
        network,
        TAPS[:num_levels],
        CHANNELS[:num_levels],
        STRIDES[:num_levels],
        CENTERS_PX[:num_levels],
        IMAGENET_MEAN,
        IMAGENET_STD,
        device,
    )
