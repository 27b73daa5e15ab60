"""Pose from 2D-3D correspondences: RANSAC, non-linear refinement, covariance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pad_inspection.datatypes import Camera, Rigid3
from pad_inspection.geometry import from_matrix, project_object
from pad_inspection.localization.sfm import colmap_camera

_MIN_CORRESPONDENCES = 4
_MAX_TRIALS = 10000


@dataclass(frozen=True)
class Pose:
    """A pose with the correspondences that agree.

    Attributes:
        cam_from_object: m.
        inliers: bool (M,).
        rms_px: reprojection error over the inliers.
        covariance: (6, 6), x y z (m) then rotation about x y z (rad), camera frame; or None.
    """

    cam_from_object: Rigid3
    inliers: np.ndarray
    rms_px: float
    covariance: np.ndarray | None

    @property
    def num_inliers(self) -> int:
        """Number of correspondences that agree."""
        return int(self.inliers.sum())


def solve_pnp(
    points2d: np.ndarray,
    points3d: np.ndarray,
    camera: Camera,
    *,
    threshold_px: float,
    seed: int,
    min_inlier_ratio: float = 0.02,
) -> Pose | None:
    """Pose that most correspondences agree with, refined on these; the same at each call.

    Args:
        points2d: (M, 2) px.
        points3d: (M, 3) m, object frame.
        camera: without distortion.
        threshold_px: reprojection error of an inlier.
        seed: of RANSAC.
        min_inlier_ratio: a pose that a smaller share agrees with need not be found; the larger,
            the faster.

    Returns:
        None when there is none.
    """
    import pycolmap

    if len(points2d) < _MIN_CORRESPONDENCES:
        return None
    estimation = pycolmap.AbsolutePoseEstimationOptions()
    estimation.ransac.max_error = threshold_px
    estimation.ransac.min_inlier_ratio = min_inlier_ratio
    estimation.ransac.max_num_trials = _MAX_TRIALS
    estimation.ransac.random_seed = seed
    refinement = pycolmap.AbsolutePoseRefinementOptions()
    refinement.loss_function_scale = 1.0
    points2d = np.ascontiguousarray(points2d, np.float64)
    points3d = np.ascontiguousarray(points3d, np.float64)
    found = pycolmap.estimate_and_refine_absolute_pose(
        points2d, points3d, colmap_camera(camera), estimation, refinement
    )
    if found is None:
        return None
    matrix = found['cam_from_world'].matrix()
    if not np.isfinite(matrix).all():
        return None
    pose = from_matrix(matrix)
    distance = np.linalg.norm(project_object(camera, pose, points3d) - points2d, axis=1)
    inliers = distance < threshold_px  # of the refined pose; NaN (behind the camera) is no inlier
    if inliers.sum() < _MIN_CORRESPONDENCES:
        return None
    rms = float(np.sqrt(np.mean(distance[inliers] ** 2)))
    return Pose(pose, inliers, rms, pose_covariance(points3d[inliers], camera, pose, rms))


def pose_covariance(
    points3d: np.ndarray, camera: Camera, cam_from_object: Rigid3, rms_px: float
) -> np.ndarray | None:
    """Covariance (6, 6) of a pose by first-order propagation of the pixel noise.

    Args:
        points3d: (M, 3) m, object frame, the inliers.
        camera: without distortion.
        cam_from_object: the pose.
        rms_px: root mean square distance of the inliers, px.

    Returns:
        Order x y z (m), rotation about x y z (rad), camera frame; None when the points do not fix
        the pose.

    Source: Hartley and Zisserman, Multiple View Geometry, 2003, section 5.2.
    """
    turned = np.asarray(points3d, np.float64) @ cam_from_object.rotation.T
    x, y, z = (turned + cam_from_object.translation).T
    zero = np.zeros_like(x)
    # of the pixel by the point in the camera frame, (M, 2, 3)
    by_point = np.stack(
        [np.stack([1 / z, zero, -x / z**2], -1), np.stack([zero, 1 / z, -y / z**2], -1)], axis=1
    )
    by_point = camera.K[:2, :2] @ by_point
    a, b, c = turned.T
    # of the point by a small rotation w: w x (R X) = -[R X] w
    by_rotation = -np.stack(
        [
            np.stack([zero, -c, b], -1),
            np.stack([c, zero, -a], -1),
            np.stack([-b, a, zero], -1),
        ],
        axis=1,
    )
    jacobian = np.concatenate([by_point, by_point @ by_rotation], axis=2).reshape(-1, 6)
    freedom = len(jacobian) - 6
    information = jacobian.T @ jacobian
    if freedom < 1 or np.linalg.matrix_rank(information) < 6:
        return None
    variance = rms_px**2 * len(points3d) / freedom
    return np.linalg.inv(information) * variance
