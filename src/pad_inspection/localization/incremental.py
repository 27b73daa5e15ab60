"""COLMAP's incremental mapping: cameras and points from matches between photographs alone."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pad_inspection.datatypes import Camera, Rigid3
from pad_inspection.geometry import from_matrix
from pad_inspection.localization.sfm import colmap_camera, fresh_database, write_database

# A pair of photographs with fewer matches that fit one geometry says nothing.
MIN_PAIR_MATCHES = 15
_MAX_ERROR_PX = 4.0
_MAX_PAIR_TRIALS = 300
_MIN_PAIR_INLIER_RATIO = 0.3


@dataclass(frozen=True)
class IncrementalModel:
    """What incremental mapping made of one connected group of photographs; free scale.

    Attributes:
        camera: intrinsics, as given or refined.
        poses: cam_from_model by index of the photograph, those that were registered.
        points: float64 (P, 3), model units.
        observations: int64 (T, 3): row of ``points``, photograph, keypoint of it.
        errors_px: float64 (P,), mean reprojection error of each point.
    """

    camera: Camera
    poses: dict[int, Rigid3]
    points: np.ndarray
    observations: np.ndarray
    errors_px: np.ndarray


def camera_of_photograph(path: Path) -> tuple[Camera, bool]:
    """Intrinsics that a photograph tells of itself.

    Args:
        path: of the picture.

    Returns:
        Camera without distortion, and whether its focal length is that of EXIF; it is 1.2 times
        the longer side else, about that of a phone's main camera.

    Raises:
        ValueError: it is not a readable picture.
    """
    import pycolmap

    try:
        camera = pycolmap.infer_camera_from_image(path)
    except (ValueError, RuntimeError) as error:
        raise ValueError(f'{path} is not a readable picture: {error}') from error
    K = camera.calibration_matrix()
    return Camera(camera.width, camera.height, K), camera.has_prior_focal_length


def verified_matches(
    camera: Camera,
    keypoints0: np.ndarray,
    keypoints1: np.ndarray,
    matches: np.ndarray,
    *,
    max_error_px: float,
    seed: int,
):
    """Matches of two photographs that fit one motion of the camera.

    Args:
        camera: of both, without distortion.
        keypoints0: (N0, 2) px.
        keypoints1: (N1, 2) px.
        matches: int (M, 2), indices into both.
        max_error_px: distance of a match from its epipolar line.
        seed: of RANSAC.

    Returns:
        pycolmap.TwoViewGeometry, or None when fewer than MIN_PAIR_MATCHES fit.
    """
    import pycolmap

    if len(matches) < MIN_PAIR_MATCHES:
        return None
    options = pycolmap.TwoViewGeometryOptions()
    options.min_num_inliers = MIN_PAIR_MATCHES
    options.detect_watermark = False
    options.ransac.max_error = max_error_px
    options.ransac.max_num_trials = _MAX_PAIR_TRIALS
    options.ransac.min_inlier_ratio = _MIN_PAIR_INLIER_RATIO
    options.ransac.random_seed = seed
    one = colmap_camera(camera)
    found = pycolmap.estimate_calibrated_two_view_geometry(
        one,
        np.ascontiguousarray(keypoints0, np.float64),
        one,
        np.ascontiguousarray(keypoints1, np.float64),
        np.ascontiguousarray(matches, np.uint32),
        options,
    )
    return found if len(found.inlier_matches) >= MIN_PAIR_MATCHES else None


def map_incrementally(
    file_names: list[str],
    keypoints: list[np.ndarray],
    camera: Camera,
    verified: dict[tuple[int, int], object],
    work_dir: Path,
    *,
    refine_intrinsics: bool,
    seed: int,
) -> list[IncrementalModel]:
    """Register photographs one after the other; the same result at each call.

    Args:
        file_names: of the photographs.
        keypoints: (N, 2) px of each.
        camera: that all of them were taken with.
        verified: what verified_matches gave, by pair of photographs.
        work_dir: for the database and the models.
        refine_intrinsics: adjust the focal length and one coefficient of the lens as well.
        seed: of everything random.

    Returns:
        Models, the one with most photographs first; a photograph may be in several. Empty when
        no two photographs could be joined.
    """
    import pycolmap

    model_dir = Path(work_dir) / 'incremental'
    database_path = fresh_database(model_dir)
    model = pycolmap.Reconstruction()
    if refine_intrinsics:
        K = camera.K
        focal = (K[0, 0] + K[1, 1]) / 2
        shared = pycolmap.Camera(
            model='SIMPLE_RADIAL', width=camera.width, height=camera.height,
            params=[focal, K[0, 2], K[1, 2], 0.0], camera_id=1,
        )  # fmt: skip
    else:
        shared = colmap_camera(camera, 1)
    model.add_camera_with_trivial_rig(shared)
    for number, name in enumerate(file_names, 1):
        model.add_image_with_trivial_frame(
            pycolmap.Image(name=name, camera_id=1, image_id=number), pycolmap.Rigid3d()
        )
    write_database(database_path, model, keypoints, verified)
    pycolmap.logging.minloglevel = int(pycolmap.logging.ERROR)
    options = pycolmap.IncrementalPipelineOptions()
    options.num_threads = 1  # the order of the sums, and so the result, do not depend on threads
    options.random_seed = seed
    options.extract_colors = False
    options.min_num_matches = MIN_PAIR_MATCHES
    options.min_model_size = 3
    options.ba_refine_focal_length = refine_intrinsics
    options.ba_refine_extra_params = refine_intrinsics
    options.mapper.abs_pose_refine_focal_length = False
    options.mapper.abs_pose_refine_extra_params = False
    options.mapper.abs_pose_max_error = _MAX_ERROR_PX
    options.mapper.filter_max_reproj_error = _MAX_ERROR_PX
    found = pycolmap.incremental_mapping(database_path, model_dir, model_dir, options)
    database_path.unlink()
    models = [_collected(one) for one in found.values()]
    return sorted(models, key=lambda one: -len(one.poses))


def _collected(reconstruction) -> IncrementalModel:
    """Plain arrays of a pycolmap.Reconstruction."""
    (camera,) = reconstruction.cameras.values()
    K = camera.calibration_matrix()
    lens = np.zeros(5)
    if camera.model.name == 'SIMPLE_RADIAL':
        lens[0] = camera.params[3]
    ids = sorted(reconstruction.points3D)
    row_of = {point_id: row for row, point_id in enumerate(ids)}
    observations = [
        (row_of[point_id], element.image_id - 1, element.point2D_idx)
        for point_id in ids
        for element in reconstruction.points3D[point_id].track.elements
    ]
    return IncrementalModel(
        Camera(camera.width, camera.height, K, lens),
        {
            number - 1: from_matrix(reconstruction.images[number].cam_from_world().matrix())
            for number in sorted(reconstruction.reg_image_ids())
        },
        np.array([reconstruction.points3D[i].xyz for i in ids]).reshape(-1, 3),
        np.array(observations, np.int64).reshape(-1, 3),
        np.array([reconstruction.points3D[i].error for i in ids]),
    )
