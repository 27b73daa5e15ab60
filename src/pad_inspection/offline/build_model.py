"""Structure from motion from views with known cameras: 3D points of local features, in metres.

The views are cropped to the object, neighbours by viewing direction are matched, matches off the
epipolar line are dropped, and COLMAP triangulates with fixed poses and adjusts the points only.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pad_inspection import geometry, images
from pad_inspection.config import LocalizationConfig, MappingConfig
from pad_inspection.datatypes import Camera, LocalFeatures, Rigid3
from pad_inspection.localization import crops, sfm
from pad_inspection.localization.features import create_extractor
from pad_inspection.localization.hloc_mapper import check_hloc, triangulate_with_hloc
from pad_inspection.localization.matching import create_matcher, mutual_neighbors
from pad_inspection.localization.reference import NO_POINT, ReferenceModel
from pad_inspection.localization.retrieval import ViewDescriber, create_describer
from pad_inspection.localization.sfm import SfmImage
from pad_inspection.localization.threads import torch_threads

logger = logging.getLogger(__name__)

# Alpha above which a pixel of a training view is object.
_OBJECT_ALPHA = 0.5
# Keypoints of the silhouette lie up to so far outside of the mask, px of the crop.
_MASK_MARGIN_PX = 2
# A view with fewer points is said to be badly covered.
_FEW_POINTS = 30
# A point that more than this share of the views show so far outside of the object is wrong. Some
# tolerance: parts that one view hides behind its frame, masks that miss thin parts.
_MAX_STRAY_PX = 3.0
_MAX_STRAY_SHARE = 0.03


class ModelTooPoorError(ValueError):
    """The views do not give a model to localise with; the message says why."""


@dataclass(frozen=True)
class MappingResult:
    """What mapping gives.

    Attributes:
        reference: for localisation.
        points: float32 (P, 3), m, object frame.
        colors: float32 (P, 3), RGB 0 to 1, of the points.
        report: num_points, mean_track_length, mean_reprojection_error_px, views, points_per_view
            (least, median), weak_views (names of views with few points), seconds.
    """

    reference: ReferenceModel
    points: np.ndarray
    colors: np.ndarray
    report: dict


@dataclass(frozen=True)
class ViewFeatures:
    """A training view with its features."""

    name: str
    file_name: str
    camera: Camera
    cam_from_object: Rigid3
    frame: crops.CropFrame
    features: LocalFeatures  # px of the crop
    keypoints: np.ndarray  # float64 (N, 2), px of the image
    colors: np.ndarray  # float32 (N, 3)
    weights: np.ndarray  # float32 (N,), alpha at the keypoints
    outside: np.ndarray  # float32 (H, W), distance from the object's silhouette, px
    global_descriptor: np.ndarray | None = None  # float32 (G,), of the crop


def map_views(
    views,
    config: MappingConfig,
    localization: LocalizationConfig,
    work_dir: Path,
    progress: Callable[[float, str], None] | None = None,
    device: str = 'cpu',
) -> MappingResult:
    """Map views with known cameras.

    Args:
        views: list of dataset.TrainingView.
        config: mapping options.
        localization: which features and retrieval; queries use the same. Mapping matches mutual
            neighbours whatever the matcher: the known cameras tell right matches from wrong ones.
        work_dir: the COLMAP model is written to its folder 'sfm'.
        progress: called with the share that is done (0 to 1) and a text.
        device: torch device of the networks.

    Raises:
        ModelTooPoorError: too few views or points, short tracks, large reprojection error.
        FileNotFoundError: a picture, or weights of the localisation are missing.
        ImportError: the mapper is hloc, and it is not installed.
        ValueError: a picture cannot be read, two views have the same name, or a file holds other
            weights.
    """
    begin = time.monotonic()
    if config.mapper == 'hloc':
        check_hloc()
    # queries are matched long after the mapping: say at once when they could not be
    create_matcher(localization, device)
    tell = progress or (lambda fraction, text: None)
    if len(views) < 3:
        raise ModelTooPoorError(f'{len(views)} views, wanted at least 3 and rather 50 or more')
    if len({view.name for view in views}) < len(views):
        raise ValueError('two training views have the same name')
    with torch_threads(1):
        extracted = []
        extractor = create_extractor(localization, device)
        describer = create_describer(localization, device)
        for index, view in enumerate(views):
            extracted.append(extract_view(view, extractor, localization.crop_px, describer))
            tell(0.5 * (index + 1) / len(views), f'features of view {index + 1}/{len(views)}')
        pairs = neighbor_pairs(
            [view.cam_from_object for view in extracted],
            config.num_neighbors,
            config.max_view_angle_deg,
        )
        if not pairs:
            raise ModelTooPoorError(
                f'no two views are within {config.max_view_angle_deg:g} degrees of each other'
            )
        matches = {}
        matcher = mutual_neighbors(localization)
        for index, (i, j) in enumerate(pairs):
            matches[i, j] = _verified_matches(
                extracted[i], extracted[j], matcher, config.max_epipolar_px
            )
            if index % 20 == 0:
                tell(0.5 + 0.3 * index / len(pairs), f'matches of pair {index + 1}/{len(pairs)}')
    tell(0.8, 'triangulation')
    triangulate = sfm.triangulate if config.mapper == 'pycolmap' else triangulate_with_hloc
    reconstruction = triangulate(
        [SfmImage(v.file_name, v.camera, v.keypoints, v.cam_from_object) for v in extracted],
        matches,
        config.min_triangulation_deg,
        Path(work_dir) / 'sfm',
    )
    _remove_outside(reconstruction, extracted)
    reconstruction.write(Path(work_dir) / 'sfm')
    result = _collect(extracted, reconstruction, localization, time.monotonic() - begin)
    _check(result.report, sum(map(len, matches.values())), config)
    tell(1.0, f'{result.report["num_points"]} points')
    return result


def neighbor_pairs(
    poses: list[Rigid3], num_neighbors: int, max_angle_deg: float
) -> list[tuple[int, int]]:
    """Pairs (i < j) of views that see the object from nearby directions.

    Args:
        poses: cam_from_object of each view.
        num_neighbors: nearest views that each view is paired with.
        max_angle_deg: largest angle between the viewing directions.
    """
    axes = np.stack([pose.rotation[2] for pose in poses])  # optical axes in the object frame
    angles = np.degrees(np.arccos(np.clip(axes @ axes.T, -1, 1)))
    pairs = set()
    for i in range(len(poses)):
        others = [j for j in np.argsort(angles[i], kind='stable') if j != i]
        for j in others[:num_neighbors]:
            if angles[i, j] <= max_angle_deg:
                pairs.add((min(i, int(j)), max(i, int(j))))
    return sorted(pairs)


def epipolar_distance(
    camera0: Camera,
    camera1: Camera,
    cam1_from_cam0: Rigid3,
    pixels0: np.ndarray,
    pixels1: np.ndarray,
) -> np.ndarray:
    """Distance (M,) px of matches (M, 2) from their epipolar lines, the larger of both images.

    Source: Hartley and Zisserman, Multiple View Geometry, 2003, chapter 9.
    """
    x, y, z = cam1_from_cam0.translation
    skew = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    essential = skew @ cam1_from_cam0.rotation
    fundamental = np.linalg.inv(camera1.K).T @ essential @ np.linalg.inv(camera0.K)
    ones = np.ones((len(pixels0), 1))
    points0, points1 = np.hstack([pixels0, ones]), np.hstack([pixels1, ones])
    lines1, lines0 = points0 @ fundamental.T, points1 @ fundamental
    residual = np.abs((points1 * lines1).sum(axis=1))
    lengths = np.stack([np.linalg.norm(lines[:, :2], axis=1) for lines in (lines0, lines1)])
    return residual / np.maximum(lengths.min(axis=0), 1e-12)


def extract_view(
    view, extractor, crop_px: int, describer: ViewDescriber | None = None
) -> ViewFeatures:
    """Features of a training view in a crop around its object; a global descriptor if wanted."""
    from scipy import ndimage

    image, alpha = view.load()
    rectified, camera = images.undistort(image, view.camera)
    if camera is not view.camera:
        alpha, _ = images.undistort(alpha, view.camera)
    mask = alpha > _OBJECT_ALPHA
    square = crops.square_around(mask)
    if square is None:
        raise ModelTooPoorError(
            f'view {view.name} ({view.path}) shows nothing but background: wanted the object on '
            'white or with an alpha channel'
        )
    frame = crops.frame_of(square, crop_px)
    near = images.dilate(mask, max(1, round(_MASK_MARGIN_PX * frame.scale)))
    crop = crops.cut(rectified, near, frame)
    features = extractor.extract(crop)
    keypoints = frame.to_image(features.keypoints)
    x, y = np.clip(keypoints.astype(int), 0, [camera.width - 1, camera.height - 1]).T
    return ViewFeatures(
        view.name,
        view.path.name,
        camera,
        view.cam_from_object,
        frame,
        features,
        keypoints,
        images.to_float(rectified[y, x]),
        alpha[y, x],
        ndimage.distance_transform_edt(~mask).astype(np.float32),
        None if describer is None else describer.describe(crop),
    )


def _verified_matches(
    first: ViewFeatures, second: ViewFeatures, matcher, max_epipolar_px: float
) -> np.ndarray:
    """Matches (M, 2) of two views that fit their known geometry, uint32."""
    found = matcher.match(first.features, second.features)
    if len(found):
        relative = geometry.compose(second.cam_from_object, geometry.invert(first.cam_from_object))
        distance = epipolar_distance(
            first.camera,
            second.camera,
            relative,
            first.keypoints[found[:, 0]],
            second.keypoints[found[:, 1]],
        )
        found = found[distance < max_epipolar_px]
    return np.ascontiguousarray(found, np.uint32)


def _remove_outside(reconstruction, views: list[ViewFeatures]) -> None:
    """Remove points that views show outside of the object: they are wrong matches."""
    ids = sorted(reconstruction.points3D)
    points = np.array([reconstruction.points3D[i].xyz for i in ids]).reshape(-1, 3)
    strays = np.zeros(len(ids), np.int64)
    for view in views:
        pixels = geometry.project_object(view.camera, view.cam_from_object, points)
        height, width = view.outside.shape
        with np.errstate(invalid='ignore'):
            inside = (pixels >= 0).all(axis=1) & (pixels < [width, height]).all(axis=1)
        x, y = pixels[inside].astype(int).T
        strays[inside] += view.outside[y, x] > _MAX_STRAY_PX
        strays[~inside & ~np.isfinite(pixels).all(axis=1)] += 1
    for row in np.flatnonzero(strays > _MAX_STRAY_SHARE * len(views)):
        reconstruction.delete_point3D(ids[row])


def _collect(
    views: list[ViewFeatures], reconstruction, localization: LocalizationConfig, seconds: float
) -> MappingResult:
    """Reference model, coloured points and report of a reconstruction."""
    ids = sorted(reconstruction.points3D)
    row_of = {point_id: row for row, point_id in enumerate(ids)}
    points = np.array([reconstruction.points3D[i].xyz for i in ids], np.float32).reshape(-1, 3)
    errors = np.array([reconstruction.points3D[i].error for i in ids])
    lengths = np.array([reconstruction.points3D[i].track.length() for i in ids])
    color_sum, weight_sum = np.zeros((len(ids), 3)), np.zeros(len(ids))
    point_ids = []
    for number, view in enumerate(views, 1):
        rows = np.full(len(view.keypoints), NO_POINT, np.int32)
        for index, point2d in enumerate(reconstruction.images[number].points2D):
            if point2d.has_point3D():
                rows[index] = row_of[point2d.point3D_id]
        seen = rows != NO_POINT
        # pixels on the silhouette are mixed with white: those inside count more
        weight = view.weights[seen].astype(np.float64) ** 2 + 1e-3
        np.add.at(color_sum, rows[seen], weight[:, None] * view.colors[seen])
        np.add.at(weight_sum, rows[seen], weight)
        point_ids.append(rows)
    per_view = np.array([int((rows != NO_POINT).sum()) for rows in point_ids])
    report = {
        'num_points': len(ids),
        'mean_track_length': float(lengths.mean()) if len(ids) else 0.0,
        'mean_reprojection_error_px': float(errors.mean()) if len(ids) else float('nan'),
        'views': len(views),
        'points_per_view': {'least': int(per_view.min()), 'median': int(np.median(per_view))},
        'weak_views': [v.name for v, count in zip(views, per_view) if count < _FEW_POINTS],
        'features': localization.features,
        'seconds': round(seconds, 1),
    }
    described = [v.global_descriptor for v in views if v.global_descriptor is not None]
    if not ids:
        return MappingResult(None, points, np.zeros((0, 3), np.float32), report)
    reference = ReferenceModel(
        features=localization.features,
        crop_px=localization.crop_px,
        names=tuple(view.name for view in views),
        image_sizes=np.array([[v.camera.width, v.camera.height] for v in views]),
        intrinsics=np.stack([view.camera.K for view in views]),
        poses=np.stack([geometry.to_matrix(view.cam_from_object)[:3] for view in views]),
        frames=np.stack([view.frame.image_from_crop for view in views]),
        counts=np.array([len(view.keypoints) for view in views]),
        keypoints=np.concatenate([view.features.keypoints for view in views]),
        descriptors=np.concatenate([view.features.descriptors for view in views]),
        scores=np.concatenate([view.features.scores for view in views]),
        point_ids=np.concatenate(point_ids),
        points=points,
        global_descriptors=np.stack(described) if described else None,
    )
    colors = (color_sum / weight_sum[:, None]).astype(np.float32)
    return MappingResult(reference, points, colors, report)


def _check(report: dict, num_matches: int, config: MappingConfig) -> None:
    """Raise a ModelTooPoorError when the model is not good enough to localise with."""
    count, track = report['num_points'], report['mean_track_length']
    error = report['mean_reprojection_error_px']
    hint = (
        f'({report["views"]} views, {num_matches} matches between them that fit their cameras; '
        'check that the poses belong to the pictures, and take more views, closer to each other)'
    )
    if count < config.min_points:
        raise ModelTooPoorError(f'{count} 3D points, wanted {config.min_points} {hint}')
    if track < config.min_mean_track:
        raise ModelTooPoorError(
            f'points are seen in {track:.2f} views on average, wanted {config.min_mean_track:g} '
            f'{hint}'
        )
    if error > config.max_reprojection_px:
        raise ModelTooPoorError(
            f'mean reprojection error {error:.2f} px, wanted {config.max_reprojection_px:g} {hint}'
        )
    if report['weak_views']:
        logger.warning(
            '%d of %d views have fewer than %d points: %s',
            len(report['weak_views']), report['views'], _FEW_POINTS, report['weak_views'][:5],
        )  # fmt: skip
