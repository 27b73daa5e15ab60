"""Which pixels of a query are compared, how much they count, and which are hidden background."""

from __future__ import annotations

import numpy as np

from pad_inspection import images
from pad_inspection.config import ComparisonConfig

SILHOUETTE_ALPHA = 0.5
_EDGE_PX = 2
# Probability of object from which surroundings count fully.
_SEEN = 0.5


def region_weight(
    alpha: np.ndarray, object_probability: np.ndarray | None, config: ComparisonConfig
) -> np.ndarray:
    """How much each pixel counts, float32 (H, W): 0 outside of the compared region.

    The union holds the missing parts (in the silhouette only), the added parts (segmented only)
    and the rest. The surroundings are there for added parts that the segmentation misses. Along
    the silhouette a small error of the pose shows as a large difference, so that a band there
    counts less.
    """
    silhouette = alpha > SILHOUETTE_ALPHA
    if config.region == 'image':
        return np.ones(alpha.shape, np.float32)
    region = silhouette
    if config.region == 'union' and object_probability is not None:
        region = silhouette | (object_probability > 0.5)
    elif config.region == 'surroundings':
        region = images.dilate(silhouette, surroundings_px(silhouette, config.surroundings))
    weight = region.astype(np.float32)
    if config.region == 'surroundings' and object_probability is not None:
        # a part is added where something unlike the background is also seen as object
        seen = np.clip(images.blur(object_probability.astype(np.float32), 1.0) / _SEEN, 0, 1)
        floor = config.unsegmented_weight
        weight = np.where(silhouette, weight, weight * (floor + (1 - floor) * seen))
    if config.edge_weight < 1:
        inner = ~images.dilate(~silhouette, _EDGE_PX)
        band = images.dilate(silhouette, _EDGE_PX) & ~inner
        weight[band] *= config.edge_weight
        weight = np.where(region, images.blur(weight, 1.0), 0)
    return weight


def hole_mask(
    alpha: np.ndarray,
    object_probability: np.ndarray | None,
    config: ComparisonConfig,
    dilation_px: int,
) -> np.ndarray:
    """What must be inpainted in the query to get its background, bool (H, W).

    Everything that may be object, grown a little, and the surroundings when they are compared: a
    foreign part there must not be taken for background.

    Args:
        alpha: float32 (H, W), rendered opacity.
        object_probability: float32 (H, W), segmentation of the query, or None.
        config: what is compared.
        dilation_px: by how much the object is grown.
    """
    silhouette = alpha > SILHOUETTE_ALPHA
    seen = silhouette if object_probability is None else silhouette | (object_probability > 0.5)
    hole = images.dilate(seen, dilation_px)
    if config.region == 'surroundings':
        hole |= images.dilate(silhouette, surroundings_px(silhouette, config.surroundings))
    return hole


def surroundings_px(silhouette: np.ndarray, share: float) -> int:
    """Width of the surroundings of a silhouette (H, W), px: a share of its longer side."""
    box = images.mask_bbox(silhouette)
    return 0 if box is None else round(share * max(box[2] - box[0], box[3] - box[1]))
