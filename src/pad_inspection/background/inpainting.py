"""What is behind the object: filling the hole that it leaves in the query."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from pad_inspection import images
from pad_inspection.config import BackgroundConfig

_MARGIN = 0.35
_MIN_MARGIN_PX = 24


class Filler(Protocol):
    """A method that fills holes of pictures."""

    def inpaint(self, image: np.ndarray, hole_mask: np.ndarray) -> np.ndarray:
        """Fill the hole (bool (H, W)) of a picture uint8 (H, W, 3); returns uint8 (H, W, 3)."""


class Inpainter:
    """Fills the hole in a crop around it, reduced in size, and puts the result back.

    Neither the pixels far from the hole nor its finest detail change what is compared, and the
    cost grows with the area of the hole.
    """

    def __init__(self, filler: Filler, max_px: int):
        """Wrap a method.

        Args:
            filler: the method.
            max_px: longest side that it gets to see; larger crops are reduced.
        """
        self._filler = filler
        self._max_px = max_px

    def inpaint(self, image: np.ndarray, hole_mask: np.ndarray) -> np.ndarray:
        """Fill the hole of a picture.

        Args:
            image: uint8 (H, W, 3).
            hole_mask: bool (H, W), true = fill.

        Returns:
            uint8 (H, W, 3); outside of the hole it is the input. A hole that leaves nothing to
            go by is filled with grey.

        Raises:
            ValueError: the sizes differ.
        """
        if image.shape[:2] != hole_mask.shape:
            raise ValueError(
                f'picture of shape {image.shape} and hole mask of shape {hole_mask.shape}, '
                'wanted the same height and width'
            )
        box = images.mask_bbox(hole_mask)
        if box is None:
            return image.copy()
        if hole_mask.all():
            return np.full_like(image, 127)
        pad = max(_MIN_MARGIN_PX, round(_MARGIN * max(box[2] - box[0], box[3] - box[1])))
        x0, y0, x1, y1 = images.mask_bbox(hole_mask, pad)
        crop, hole = image[y0:y1, x0:x1], hole_mask[y0:y1, x0:x1]
        if hole.all():  # the margin lies outside of the picture
            x0, y0, y1, x1 = 0, 0, *hole_mask.shape
            crop, hole = image, hole_mask
        filled = self._fill_reduced(crop, hole)
        result = image.copy()
        result[y0:y1, x0:x1][hole] = filled[hole]
        return result

    def _fill_reduced(self, crop: np.ndarray, hole: np.ndarray) -> np.ndarray:
        """Fill a crop at a size of at most max_px."""
        height, width = hole.shape
        factor = self._max_px / max(height, width)
        if factor >= 1:
            return self._filler.inpaint(np.ascontiguousarray(crop), hole)
        small_size = max(1, round(width * factor)), max(1, round(height * factor))
        # colours of the hole must not leak into the small pixels at its border
        known = (~hole).astype(np.float32)
        weight = images.resize(known, *small_size)
        mean = images.resize(crop * known[..., None], *small_size)
        small = mean / np.maximum(weight, 1e-3)[..., None]
        small_hole = weight < 0.5
        filled = self._filler.inpaint(np.rint(np.clip(small, 0, 255)).astype(np.uint8), small_hole)
        return images.resize(filled, width, height)


class PatchMatchFiller:
    """Copies patches of the surroundings; keeps texture and is deterministic by its seed."""

    def __init__(self, patch_px: int = 5, seed: int = 0):
        self._patch_px, self._seed = patch_px, seed

    def inpaint(self, image: np.ndarray, hole_mask: np.ndarray) -> np.ndarray:
        """Fill the hole (bool (H, W)) of a picture uint8 (H, W, 3); returns uint8 (H, W, 3)."""
        import patchmatch

        if min(hole_mask.shape) < 2 * self._patch_px or _too_full(hole_mask, self._patch_px):
            return TeleaFiller().inpaint(image, hole_mask)
        patchmatch.set_random_seed(self._seed)
        mask = hole_mask.astype(np.uint8)
        return patchmatch.inpaint(np.ascontiguousarray(image), mask, patch_size=self._patch_px)


class TeleaFiller:
    """Smooth continuation of the borders (Telea 2004); fast."""

    def __init__(self, radius_px: float = 3.0):
        self._radius_px = radius_px

    def inpaint(self, image: np.ndarray, hole_mask: np.ndarray) -> np.ndarray:
        """Fill the hole (bool (H, W)) of a picture uint8 (H, W, 3); returns uint8 (H, W, 3)."""
        import cv2

        mask = hole_mask.astype(np.uint8)
        return cv2.inpaint(np.ascontiguousarray(image), mask, self._radius_px, cv2.INPAINT_TELEA)


def create_inpainter(config: BackgroundConfig, device: str = 'cpu') -> Inpainter | None:
    """The inpainter that the configuration names; None for 'none'.

    Args:
        config: which one, where its weights are, at what size it works.
        device: torch device of LaMa; the others are no networks.

    Raises:
        FileNotFoundError: LaMa's weights are not there.
    """
    if config.inpainter == 'none':
        return None
    if config.inpainter == 'lama':
        from pad_inspection.networks import weights
        from pad_inspection.networks.lama import Lama

        filler: Filler = Lama(weights.user_path('lama', config.lama_weights), device)
    elif config.inpainter == 'telea':
        filler = TeleaFiller()
    else:
        filler = PatchMatchFiller()
    return Inpainter(filler, config.max_inpaint_px)


def _too_full(hole_mask: np.ndarray, patch_px: int) -> bool:
    """Whether no whole patch outside of the hole is left to copy."""
    import cv2

    known = (~hole_mask).astype(np.uint8)
    return not cv2.erode(known, np.ones((patch_px, patch_px), np.uint8), borderValue=0).any()
