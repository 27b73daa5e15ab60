"""Which pixels are compared, which are hidden background, and where an anomaly map stands out."""

from __future__ import annotations

import numpy as np

from pad_inspection import images
from pad_inspection.config import ComparisonConfig
from pad_inspection.datatypes import AnomalyRegion, Camera, Rigid3

SILHOUETTE_ALPHA = 0.5
_EDGE_PX = 2
# Probability of object from which surroundings count fully.
_SEEN = 0.5
# Share of a score that is left where the surroundings have it as well, and the most that is taken
# off (spreads of normal views): light does no more, a large defect does.
_COMMON = 0.3
_MOST_COMMON = 1.0


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
    foreign part there must not be taken for background. A rail that the segmentation follows from
    the surroundings to the border of the picture is background beyond them: no part of a piece
    goes on like that, and without it nothing would tell that the line has rails.

    Args:
        alpha: float32 (H, W), rendered opacity.
        object_probability: float32 (H, W), segmentation of the query, or None.
        config: what is compared.
        dilation_px: by how much the object is grown.
    """
    silhouette = alpha > SILHOUETTE_ALPHA
    seen = silhouette if object_probability is None else silhouette | (object_probability > 0.5)
    if config.region != 'surroundings':
        return images.dilate(seen, dilation_px)
    around = images.dilate(silhouette, surroundings_px(silhouette, config.surroundings))
    return around | images.dilate(seen & ~_reaches_border(seen & ~around), dilation_px)


def _reaches_border(mask: np.ndarray) -> np.ndarray:
    """The connected parts of a mask (H, W) that the border of the picture cuts, bool (H, W)."""
    import cv2

    _, labels = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
    border = np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])
    return mask & np.isin(labels, border)


def surroundings_px(silhouette: np.ndarray, share: float) -> int:
    """Width of the surroundings of a silhouette (H, W), px: a share of its longer side."""
    box = images.mask_bbox(silhouette)
    return 0 if box is None else round(share * max(box[2] - box[0], box[3] - box[1]))


def local_contrast(scores: np.ndarray, compared: np.ndarray, share: float) -> np.ndarray:
    """Scores (H, W) without what the surroundings of a place have as well.

    Other light changes whole faces of the object, a defect a part of one.

    Args:
        scores: 0 where nothing was compared.
        compared: bool (H, W).
        share: sigma of the surroundings over the longer side of the compared region.
    """
    box = images.mask_bbox(compared)
    if box is None:
        return scores
    sigma = share * max(box[2] - box[0], box[3] - box[1])
    around = images.blur(scores, sigma)
    around = around / np.maximum(images.blur(compared.astype(np.float32), sigma), 1e-3)
    return np.maximum(scores - np.minimum(around, _MOST_COMMON), _COMMON * scores)


def find_regions(
    anomaly_map: np.ndarray,
    threshold: float,
    min_region_px: int,
    *,
    depth: np.ndarray | None = None,
    camera: Camera | None = None,
    cam_from_object: Rigid3 | None = None,
) -> tuple[AnomalyRegion, ...]:
    """Connected regions at and above a threshold, by falling highest score.

    Args:
        anomaly_map: float32 (H, W), NaN = not compared.
        threshold: of the map.
        min_region_px: smaller regions are left out.
        depth: float32 (H, W) m, NaN where nothing is; with camera and pose it gives the place of
            the peak on the object.
        camera: intrinsics of the map.
        cam_from_object: pose.
    """
    import cv2

    from pad_inspection.geometry import invert, transform, unproject

    scores = np.nan_to_num(anomaly_map, nan=-np.inf)
    above = (scores >= threshold).astype(np.uint8)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(above, connectivity=8)
    regions = []
    for index in range(1, count):
        x, y, width, height, area = (int(value) for value in stats[index])
        if area < min_region_px:
            continue
        window = np.s_[y : y + height, x : x + width]
        inside = labels[window] == index
        values = np.where(inside, scores[window], -np.inf)
        peak_y, peak_x = np.unravel_index(int(np.argmax(values)), values.shape)
        place = None
        if depth is not None and camera is not None and cam_from_object is not None:
            z = depth[y + peak_y, x + peak_x]
            if np.isfinite(z):
                pixel = np.array([[x + peak_x + 0.5, y + peak_y + 0.5]])
                in_cam = unproject(camera, pixel, np.array([z]))
                place = tuple(map(float, transform(invert(cam_from_object), in_cam)[0]))
        regions.append(
            AnomalyRegion(
                (x, y, x + width, y + height),
                area,
                float(values.max()),
                float(scores[window][inside].mean()),
                place,
            )
        )
    return tuple(sorted(regions, key=lambda region: -region.max_score))
