"""Which photographs show the same side of the object, and which matches between them hold.

Parts repeat: the left and the right of a vehicle, rows of studs. Photographs of different sides
then match well, and mapping joins them without any sign of it. So each pair is also compared as
pictures: what the matches put on top of each other must look alike there, silhouettes included.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from pad_inspection import images
from pad_inspection.localization.incremental import MIN_PAIR_MATCHES, verified_matches
from pad_inspection.localization.matching import Matcher, MutualNeighbors
from pad_inspection.offline.build_model import ViewFeatures
from pad_inspection.offline.photographs.options import PhotographsConfig

# Side of the pictures that are compared, and blur against small parallax, px.
_THUMBNAIL_PX = 160
_THUMBNAIL_BLUR_PX = 1.5
_AFFINE_ERROR_PX = 3.0
_LEAST_OVERLAP_PX = 50


@dataclass(frozen=True)
class Thumbnail:
    """A small picture of the object.

    Attributes:
        picture: float32 (H, W, 3), 0 to 1, blurred.
        alpha: float32 (H, W), 0 to 1.
        scale: thumbnail px per px of the photograph.
    """

    picture: np.ndarray
    alpha: np.ndarray
    scale: float


@dataclass(frozen=True)
class PairLikeness:
    """How alike two photographs look where matches put them on top of each other.

    Attributes:
        correlation: of the colours inside both silhouettes, -1 to 1.
        overlap: intersection over union of the silhouettes, 0 to 1.
    """

    correlation: float
    overlap: float

    @property
    def score(self) -> float:
        """Larger is more alike."""
        return self.correlation * self.overlap


UNLIKE = PairLikeness(-1.0, 0.0)


def make_thumbnail(image: np.ndarray, alpha: np.ndarray) -> Thumbnail:
    """Thumbnail of a photograph uint8 (H, W, 3) with alpha float32 (H, W)."""
    height, width = image.shape[:2]
    scale = _THUMBNAIL_PX / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    small = images.resize(images.to_float(image), *size)
    return Thumbnail(images.blur(small, _THUMBNAIL_BLUR_PX), images.resize(alpha, *size), scale)


def likeness(
    first: Thumbnail, second: Thumbnail, points0: np.ndarray, points1: np.ndarray
) -> PairLikeness:
    """Compare two photographs after an affine map that their matches suggest.

    Args:
        first: thumbnail.
        second: thumbnail of the same scale.
        points0: matched points (M, 2) px of the first photograph.
        points1: (M, 2) px of the second.
    """
    if len(points0) < 3:
        return UNLIKE
    # OpenCV puts the first pixel centre at (0, 0)
    source = (points0 * first.scale - 0.5).astype(np.float32)
    target = (points1 * second.scale - 0.5).astype(np.float32)
    cv2.setRNGSeed(0)
    matrix, _ = cv2.estimateAffine2D(source, target, ransacReprojThreshold=_AFFINE_ERROR_PX)
    if matrix is None:
        return UNLIKE
    height, width = second.alpha.shape
    warped = cv2.warpAffine(first.picture, matrix, (width, height))
    inside0 = cv2.warpAffine(first.alpha, matrix, (width, height)) > 0.5
    inside1 = second.alpha > 0.5
    both = inside0 & inside1
    if both.sum() < _LEAST_OVERLAP_PX:
        return UNLIKE
    a = warped[both] - warped[both].mean(axis=0)
    b = second.picture[both] - second.picture[both].mean(axis=0)
    norm = float(np.sqrt((a * a).sum() * (b * b).sum()))
    correlation = float((a * b).sum()) / norm if norm > 1e-9 else 0.0
    return PairLikeness(correlation, float(both.sum() / (inside0 | inside1).sum()))


def candidate_pairs(count: int, sequence_window: int) -> list[tuple[int, int]]:
    """Pairs (i < j) of ``count`` photographs: all, or those close to each other in the order.

    Args:
        count: number of photographs.
        sequence_window: how many following photographs each is paired with; 0 = all.
    """
    reach = count if sequence_window == 0 else sequence_window
    return [(i, j) for i in range(count) for j in range(i + 1, min(i + reach, count - 1) + 1)]


def match_pairs(
    views: list[ViewFeatures],
    thumbnails: list[Thumbnail],
    nearest: MutualNeighbors,
    matcher: Matcher,
    config: PhotographsConfig,
    *,
    seed: int,
    progress: Callable[[float, str], None] = lambda fraction, text: None,
) -> dict[tuple[int, int], object]:
    """Pairs that show the same side, with their verified matches.

    Args:
        views: photographs with features, in the order in which they were taken.
        thumbnails: of the same photographs.
        nearest: finds the pairs.
        matcher: matches the pairs that were found.
        config: limits.
        seed: of RANSAC.
        progress: called with a share and a text.

    Returns:
        pycolmap.TwoViewGeometry by pair of photographs.
    """
    camera = views[0].camera
    candidates = candidate_pairs(len(views), config.sequence_window)
    scores: dict[tuple[int, int], float] = {}
    for number, (i, j) in enumerate(candidates):
        if number % 200 == 0:
            progress(0.5 * number / len(candidates), f'pair {number + 1}/{len(candidates)}')
        found = nearest.match(views[i].features, views[j].features)
        if len(found) < MIN_PAIR_MATCHES:
            continue
        alike = likeness(
            thumbnails[i],
            thumbnails[j],
            views[i].keypoints[found[:, 0]],
            views[j].keypoints[found[:, 1]],
        )
        if alike.correlation >= config.min_correlation and alike.overlap >= config.min_overlap:
            scores[i, j] = alike.score
    chosen = best_of_each(scores, len(views), config.num_neighbors)
    verified = {}
    for number, (i, j) in enumerate(chosen):
        progress(0.5 + 0.5 * number / len(chosen), f'matches of pair {number + 1}/{len(chosen)}')
        found = verified_matches(
            camera,
            views[i].keypoints,
            views[j].keypoints,
            matcher.match(views[i].features, views[j].features),
            max_error_px=config.max_epipolar_px,
            seed=seed,
        )
        if found is not None:
            verified[i, j] = found
    return verified


def best_of_each(
    scores: dict[tuple[int, int], float], count: int, num_neighbors: int
) -> list[tuple[int, int]]:
    """Pairs that are among the best ``num_neighbors`` of one of their photographs, in order."""
    partners: list[list[tuple[float, tuple[int, int]]]] = [[] for _ in range(count)]
    for pair, score in scores.items():
        for photo in pair:
            partners[photo].append((-score, pair))
    return sorted({pair for own in partners for _, pair in sorted(own)[:num_neighbors]})
