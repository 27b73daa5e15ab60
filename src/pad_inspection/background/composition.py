"""The reference picture: the rendered object on the background of the query."""

from __future__ import annotations

import numpy as np

from pad_inspection import images
from pad_inspection.config import BackgroundConfig
from pad_inspection.datatypes import RenderedView


def compose_reference(
    rendered: RenderedView,
    background: np.ndarray,
    config: BackgroundConfig,
    silhouette_alpha: float = 0.5,
) -> np.ndarray:
    """Put the rendered object on a background.

    'alpha' composes softly, C + (1 - A) B with premultiplied colour C and opacity A, so that
    small holes show the background. 'binary' pastes the render on white, C + (1 - A), where
    A > silhouette_alpha.

    Args:
        rendered: the model at the pose of the query.
        background: uint8 (H, W, 3), the query without its object.
        config: ``composition`` chooses the way.
        silhouette_alpha: opacity above which a pixel belongs to the object ('binary').

    Returns:
        uint8 (H, W, 3).

    Raises:
        ValueError: the sizes differ.
    """
    if background.shape != rendered.image.shape:
        raise ValueError(
            f'background of shape {background.shape}, wanted {rendered.image.shape} as the render'
        )
    transparency = 1 - rendered.alpha[..., None]
    if config.composition == 'alpha':
        return images.to_uint8(rendered.image + transparency * images.to_float(background))
    inside = rendered.alpha[..., None] > silhouette_alpha
    return np.where(inside, images.to_uint8(rendered.image + transparency), background)
