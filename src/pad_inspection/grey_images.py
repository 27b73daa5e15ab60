"""Colour or grey: what a model was made from, and what a camera sends.

Without colour a defect that differs in colour alone cannot be seen, and the others score lower. So
a grey image is compared with a model in colour only where somebody has allowed it.
"""

from __future__ import annotations

import numpy as np

from pad_inspection.datatypes import Frame, Gaussians

# A model in colour has visible Gaussians whose channels differ by more, of 0 to 1. The channels of
# one that was fitted to grey images are equal; those of a grey product in colour are not.
_MIN_CHROMA, _CHROMA_PERCENTILE = 0.02, 99
_VISIBLE_OPACITY = 0.3
# An image with less contrast (black, saturated, lens covered) has no colour to show.
_MIN_CONTRAST = 16
# Constant of the first spherical harmonic.
_SH_0 = 0.28209479177387814


def model_has_colour(gaussians: Gaussians) -> bool:
    """Whether a model was made from images in colour."""
    colors = _SH_0 * gaussians.sh[gaussians.opacities > _VISIBLE_OPACITY, 0]
    if not len(colors):
        return False
    return bool(np.percentile(np.ptp(colors, axis=1), _CHROMA_PERCENTILE) > _MIN_CHROMA)


def has_equal_channels(image: np.ndarray) -> bool:
    """Whether an image uint8 (H, W, 3) shows something, and nothing of it in colour.

    The noise of a colour sensor makes channels differ also where the scene is grey.
    """
    first = image[..., :1]
    # most images in colour are known by few of their pixels
    if (image[::16, ::16] != first[::16, ::16]).any() or (image != first).any():
        return False
    return int(first.max()) - int(first.min()) >= _MIN_CONTRAST


def grey_fault(frame: Frame, in_colour: bool) -> str:
    """Why a frame must not be compared with a model; '' when it may.

    Args:
        frame: the image.
        in_colour: model_has_colour of the model.
    """
    if not in_colour or frame.allow_grey:
        return ''
    if frame.is_grey:
        cause = 'is grey by its encoding'
    elif has_equal_channels(frame.image):
        cause = 'is grey: its channels are equal everywhere'
    else:
        return ''
    return (
        f'the image {cause}, the model is in colour: set the camera to colour, or allow it and '
        'lose defects of colour (parameter allow_grey, option --allow-grey)'
    )
