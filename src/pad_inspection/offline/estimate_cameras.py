"""Cameras of photographs of one piece, from the photographs alone: incremental mapping.

The piece alone on white (or with an alpha channel), one camera, many overlapping views. Poses come
out in metres with the origin in the middle of the piece; the scale is set by the piece's longest
extent or by the distance between two of the cameras. The result is a list of training views, which
`dataset.write_transforms` stores as transforms.json.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pad_inspection import geometry
from pad_inspection.config import LocalizationConfig, MappingConfig
from pad_inspection.dataset import TrainingView
from pad_inspection.datatypes import Camera, Rigid3
from pad_inspection.localization import sfm
from pad_inspection.localization.features import create_extractor
from pad_inspection.localization.matching import MutualNeighbors, mutual_neighbors
from pad_inspection.localization.sfm import SfmImage
from pad_inspection.localization.threads import torch_threads
from pad_inspection.offline.build_model import ModelTooPoorError, extract_view

logger = logging.getLogger(__name__)

# Fewer matches of a pair are chance.
_MIN_MATCHES = 20
# Share of the points that the object's extent is measured without, at both ends: wrong ones.
_STRAY_SHARE = 0.002


@dataclass(frozen=True)
class Scale:
    """What fixes the unit of length; exactly one of the two is given.

    Attributes:
        object_length_m: longest extent of the piece.
        camera_distance: names of two views and the distance between their cameras, m.
    """

    object_length_m: float | None = None
    camera_distance: tuple[str, str, float] | None = None

    def __post_init__(self):
        if (self.object_length_m is None) == (self.camera_distance is None):
            raise ValueError('scale: wanted object_length_m or camera_distance, exactly one')
        length = self.object_length_m if self.camera_distance is None else self.camera_distance[2]
        if not 0 < length < float('inf'):
            raise ValueError(f'scale: a length of {length} m, wanted above 0')


@dataclass(frozen=True)
class CameraEstimate:
    """What the photographs gave.

    Attributes:
        views: registered views with their poses, m, in the order of the photographs.
        unregistered: names of the photographs that did not fit.
        points: float64 (P, 3), m.
        report: photographs, registered, num_points, mean_track_length,
            mean_reprojection_error_px, focal_px, seconds.
    """

    views: list[TrainingView]
    unregistered: list[str]
    points: np.ndarray
    report: dict


def estimate_cameras(
    pictures: list[Path],
    camera: Camera,
    scale: Scale,
    config: MappingConfig,
    localization: LocalizationConfig,
    work_dir: Path,
    *,
    refine_focal: bool = False,
    seed: int = 0,
    progress: Callable[[float, str], None] | None = None,
) -> CameraEstimate:
    """Estimate the cameras of photographs.

    Args:
        pictures: photographs of one piece, RGBA or on white, all by one camera.
        camera: its intrinsics; with ``refine_focal`` a guess of the focal length is enough.
        scale: what fixes the unit of length.
        config: mapping options.
        localization: which features.
        work_dir: the COLMAP model (without scale) is written to its folder 'cameras'.
        refine_focal: estimate the focal length too.
        seed: of RANSAC.
        progress: called with the share that is done (0 to 1) and a text.

    Raises:
        ModelTooPoorError: the photographs do not hang together.
        ValueError: a view that ``scale`` names is not among the registered ones; a picture cannot
            be read.
    """
    begin = time.monotonic()
    tell = progress or (lambda fraction, text: None)
    if len(pictures) < 3:
        raise ModelTooPoorError(f'{len(pictures)} photographs, wanted at least 3')
    unposed = [TrainingView(p.stem, p, camera, geometry.identity()) for p in pictures]
    with torch_threads(1):
        extractor, seen = create_extractor(localization), []
        for index, view in enumerate(unposed):
            seen.append(extract_view(view, extractor, localization.crop_px))
            tell(0.3 * (index + 1) / len(unposed), f'features of {view.name}')
        matches = _best_matches(
            [view.features.descriptors for view in seen],
            mutual_neighbors(localization),
            config.num_neighbors,
            lambda share: tell(0.3 + 0.3 * share, 'matches'),
        )
    tell(0.6, f'mapping from {len(matches)} pairs')
    model = sfm.reconstruct(
        [SfmImage(v.file_name, v.camera, v.keypoints) for v in seen],
        matches,
        config.min_triangulation_deg,
        config.max_epipolar_px,
        Path(work_dir) / 'cameras',
        refine_focal=refine_focal,
        seed=seed,
    )
    registered = 0 if model is None else model.num_reg_images()
    if registered < 3 or len(model.points3D) < config.min_points:
        raise ModelTooPoorError(
            f'{registered} of {len(pictures)} photographs fit together '
            f'({len(matches)} pairs have at least {_MIN_MATCHES} matches): take more photographs, '
            'closer to each other'
        )
    estimate = _in_meters(model, unposed, scale, time.monotonic() - begin)
    if estimate.unregistered:
        logger.warning('%d photographs did not fit', len(estimate.unregistered))
    tell(1.0, f'{registered} of {len(pictures)} photographs')
    return estimate


def _best_matches(
    descriptors: list[np.ndarray],
    matcher: MutualNeighbors,
    num_neighbors: int,
    tell: Callable[[float], None],
) -> dict[tuple[int, int], np.ndarray]:
    """Matches uint32 (M, 2) of each view with those that it has most matches with."""
    matches = {}
    for i in range(len(descriptors)):
        for j in range(i + 1, len(descriptors)):
            found = matcher.match_descriptors(descriptors[i], descriptors[j])
            if len(found) >= _MIN_MATCHES:
                matches[i, j] = np.ascontiguousarray(found, np.uint32)
        tell((i + 1) / len(descriptors))
    kept = set()
    for view in range(len(descriptors)):
        pairs = sorted((p for p in matches if view in p), key=lambda p: (-len(matches[p]), p))
        kept.update(pairs[:num_neighbors])
    return {pair: matches[pair] for pair in sorted(kept)}


def _in_meters(model, unposed: list[TrainingView], scale: Scale, seconds: float) -> CameraEstimate:
    """Poses and points of a reconstruction in metres, about the middle of the piece."""
    points = np.array([p.xyz for _, p in sorted(model.points3D.items())])
    poses = {
        view.name: geometry.from_matrix(model.images[number].cam_from_world().matrix())
        for number, view in enumerate(unposed, 1)
        if number in model.images and model.images[number].has_pose
    }
    middle = np.median(points, axis=0)
    if scale.camera_distance is not None:
        first, second, wanted = scale.camera_distance
        for name in (first, second):
            if name not in poses:
                raise ValueError(f'scale: view {name!r} is not among the {len(poses)} that fit')
        centers = [geometry.camera_center(poses[name]) for name in (first, second)]
        factor = wanted / np.linalg.norm(centers[0] - centers[1])
    else:
        factor = scale.object_length_m / longest_extent(points)
    params = next(iter(model.cameras.values())).params
    K = np.array([[params[0], 0, params[2]], [0, params[1], params[3]], [0, 0, 1]])
    camera = Camera(unposed[0].camera.width, unposed[0].camera.height, K)
    views = []
    for view in unposed:
        if view.name in poses:
            pose = poses[view.name]
            shifted = pose.rotation @ middle + pose.translation
            views.append(
                TrainingView(view.name, view.path, camera, Rigid3(pose.rotation, factor * shifted))
            )
    report = {
        'photographs': len(unposed),
        'registered': len(views),
        'num_points': len(points),
        'mean_track_length': float(model.compute_mean_track_length()),
        'mean_reprojection_error_px': float(model.compute_mean_reprojection_error()),
        'focal_px': float(params[0]),
        'seconds': round(seconds, 1),
    }
    unregistered = [view.name for view in unposed if view.name not in poses]
    return CameraEstimate(views, unregistered, factor * (points - middle), report)


def longest_extent(points: np.ndarray) -> float:
    """Largest width of points (N, 3) along any of 2000 directions, without a few strays."""
    rng = np.random.default_rng(0)
    directions = rng.normal(size=(2000, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    along = points @ directions.T  # (N, 2000)
    low, high = np.quantile(along, [_STRAY_SHARE, 1 - _STRAY_SHARE], axis=0)
    return float((high - low).max())
