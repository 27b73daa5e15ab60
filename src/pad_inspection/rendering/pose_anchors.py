"""What holds a pose while it is aligned photometrically: matches of features, and the rim.

Where a piece is lit otherwise than in the pictures of the model, a render alone may pull the pose
away. Both give robust squares and their normal equations for the Levenberg-Marquardt steps of
pose_refiner.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from pad_inspection.datatypes import Camera, Rigid3
from pad_inspection.geometry import invert, project_object, transform, unproject
from pad_inspection.rendering.renderer import SplatScene

# Matches err alike (the same keypoint in several views), so many of them count as one; on normal
# views in other light poses are best with this share. Standard deviation of a match, and what is
# far off, in standard deviations.
_MATCH_SHARE = 0.3
_MATCH_SIGMA_PX = 1.5
_TOLERATED = 2.0
# The same for the rim of the object, whose points err alike along whole sides.
_RIM_SHARE = 0.1
_LEAST_RIM_SIGMA_PX = 1.0
# The segmented rim is looked for so far from the drawn one, px, in steps of _RIM_STEP_PX.
_RIM_REACH_PX = 6.0
_RIM_STEP_PX = 0.5
_LEAST_RIM = 50
_LEAST_RIM_FOUND = 0.3
_EDGE_ALPHA = 0.5


def middle_of(pose: Rigid3, center: np.ndarray) -> np.ndarray:
    """Centre of the object (3,) in the camera frame, m."""
    return pose.rotation @ center + pose.translation


def motion_flow(
    points: np.ndarray, K: np.ndarray, middle: np.ndarray, unit: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """How points (3, M) of the camera frame move in the picture, x and y (M, 6) px per ``unit``.

    The motion turns them about ``middle`` and shifts them, see pose_refiner.
    """
    x, y, z = points
    middle = middle.astype(points.dtype)
    rx, ry, rz = x - middle[0], y - middle[1], z - middle[2]
    zero, reach = np.zeros_like(z), np.full_like(z, np.linalg.norm(middle))
    # motion of the point by turning about the centre, then by shifting
    dx = np.stack([zero, rz, -ry, reach, zero, zero])
    dy = np.stack([-rz, zero, rx, zero, reach, zero])
    dz = np.stack([ry, -rx, zero, zero, zero, reach])
    scale = unit.astype(points.dtype)[:, None]
    du = points.dtype.type(K[0, 0]) / z * (dx - x / z * dz) * scale
    dv = points.dtype.type(K[1, 1]) / z * (dy - y / z * dz) * scale
    return du.T, dv.T


@dataclass(frozen=True)
class Matches:
    """Points of the object that local features found in the picture; they hold the pose.

    Where a piece is lit otherwise than in the pictures of the model, shading has other edges, and
    a render alone may pull the pose away from where its features are.

    Attributes:
        points2d: float64 (N, 2), px.
        points3d: float64 (N, 3), m, object frame.
    """

    points2d: np.ndarray
    points3d: np.ndarray

    def cost(self, camera: Camera, pose: Rigid3) -> float:
        """Sum of robust squares over their variance."""
        squared = (self._residuals(camera, pose)[0] ** 2).sum(axis=1) / _MATCH_SIGMA_PX**2
        return _MATCH_SHARE * float((squared / (1 + squared / _TOLERATED**2)).sum())

    def _residuals(self, camera: Camera, pose: Rigid3) -> tuple[np.ndarray, np.ndarray]:
        """Distances (N, 2) px in the picture, and the points (N, 3) in the camera frame."""
        points = self.points3d @ pose.rotation.T + pose.translation
        return project_object(camera, pose, self.points3d) - self.points2d, points

    def normal_equations(
        self, camera: Camera, pose: Rigid3, center: np.ndarray, unit: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Matrix (6, 6) and gradient (6,) of the cost by motion in ``unit``."""
        residuals, points = self._residuals(camera, pose)
        squared = (residuals**2).sum(axis=1) / _MATCH_SIGMA_PX**2
        weight = _MATCH_SHARE / _MATCH_SIGMA_PX**2 / (1 + squared / _TOLERATED**2) ** 2
        du, dv = motion_flow(points.T, camera.K, middle_of(pose, center), unit)
        matrix = du.T @ (weight[:, None] * du) + dv.T @ (weight[:, None] * dv)
        gradient = du.T @ (weight * residuals[:, 0]) + dv.T @ (weight * residuals[:, 1])
        return 2 * matrix, 2 * gradient


@dataclass(frozen=True)
class Rim:
    """Points of the object's rim, and the lines in the picture on which they should lie.

    Where light from elsewhere misleads the render, the outline against the background stands.

    Attributes:
        points3d: float64 (N, 3), m, object frame.
        points2d: float64 (N, 2), px, a point of each line.
        normals: float64 (N, 2), unit vectors across the lines.
        sigma_px: standard deviation of the lines.
    """

    points3d: np.ndarray
    points2d: np.ndarray
    normals: np.ndarray
    sigma_px: float

    def cost(self, camera: Camera, pose: Rigid3) -> float:
        """Sum of robust squares over their variance."""
        squared = self._residuals(camera, pose)[0] ** 2 / self.sigma_px**2
        return _RIM_SHARE * float((squared / (1 + squared / _TOLERATED**2)).sum())

    def _residuals(self, camera: Camera, pose: Rigid3) -> tuple[np.ndarray, np.ndarray]:
        """Distances (N,) px from the lines, and the points (N, 3) in the camera frame."""
        points = self.points3d @ pose.rotation.T + pose.translation
        offset = project_object(camera, pose, self.points3d) - self.points2d
        return (offset * self.normals).sum(axis=1), points

    def normal_equations(
        self, camera: Camera, pose: Rigid3, center: np.ndarray, unit: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Matrix (6, 6) and gradient (6,) of the cost by motion in ``unit``."""
        residuals, points = self._residuals(camera, pose)
        squared = residuals**2 / self.sigma_px**2
        weight = _RIM_SHARE / self.sigma_px**2 / (1 + squared / _TOLERATED**2) ** 2
        du, dv = motion_flow(points.T, camera.K, middle_of(pose, center), unit)
        across = self.normals[:, :1] * du + self.normals[:, 1:] * dv
        matrix = across.T @ (weight[:, None] * across)
        return 2 * matrix, 2 * across.T @ (weight * residuals)


def find_rim(
    scene: SplatScene, object_probability: np.ndarray | None, camera: Camera, pose: Rigid3
) -> Rim | None:
    """Where the segmentation sees the rim that a pose draws.

    A segmentation that is too wide or too narrow all around says nothing about the pose: the
    median distance is taken off.

    Args:
        scene: the model.
        object_probability: float32 (H, W), or None.
        camera: of the picture, without distortion.
        pose: cam_from_object.

    Returns:
        None where too little of the rim is segmented within reach.
    """
    if object_probability is None:
        return None
    _, alpha, depth = scene.draw(camera, pose, depth=True)
    mask = (alpha > _EDGE_ALPHA).astype(np.uint8)
    edge = (mask > 0) & (cv2.erode(mask, np.ones((3, 3), np.uint8), borderValue=1) == 0)
    smooth = cv2.GaussianBlur(alpha, (0, 0), 1.0)
    outward = -np.stack([cv2.Sobel(smooth, cv2.CV_32F, 1, 0), cv2.Sobel(smooth, cv2.CV_32F, 0, 1)])
    length = np.linalg.norm(outward, axis=0)
    edge &= np.isfinite(depth) & (depth > 0) & (length > 1e-3)
    rows, columns = np.nonzero(edge)
    if len(rows) < _LEAST_RIM:
        return None
    normals = (outward / np.maximum(length, 1e-9))[:, rows, columns].T.astype(np.float64)
    steps = np.arange(-_RIM_REACH_PX, _RIM_REACH_PX + 1e-9, _RIM_STEP_PX)
    x, y = (
        (place[:, None] + normal[:, None] * steps).astype(np.float32)
        for place, normal in zip((columns, rows), normals.T, strict=True)
    )
    drawn, seen = (
        _crossing(cv2.remap(picture, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE))
        for picture in (alpha, np.float32(object_probability))
    )
    found = np.isfinite(drawn) & np.isfinite(seen)
    if found.sum() < max(_LEAST_RIM, _LEAST_RIM_FOUND * len(found)):
        return None
    rows, columns, normals = rows[found], columns[found], normals[found]
    drawn, seen = drawn[found], seen[found]
    pixels = np.stack([columns, rows], axis=1) + 0.5 + normals * drawn[:, None]
    in_camera = unproject(camera, pixels, depth[rows, columns].astype(np.float64))
    away = seen - drawn
    away -= np.median(away)
    # a poor segmentation scatters, and counts less
    sigma_px = max(1.4826 * float(np.median(np.abs(away))), _LEAST_RIM_SIGMA_PX)
    targets = pixels + normals * away[:, None]
    return Rim(transform(invert(pose), in_camera), targets, normals, sigma_px)


def _crossing(profiles: np.ndarray) -> np.ndarray:
    """Where profiles (N, S) from inside to outside fall below one half, nearest to the middle.

    Returns:
        (N,) px from the middle of the profile, NaN where they never do.
    """
    high, low = profiles[:, :-1], profiles[:, 1:]
    falls = (high >= _EDGE_ALPHA) & (low < _EDGE_ALPHA)
    share = (high - _EDGE_ALPHA) / np.maximum(high - low, 1e-6)
    place = (np.arange(high.shape[1]) + share) * _RIM_STEP_PX - _RIM_REACH_PX
    distance = np.where(falls, np.abs(place), np.inf)
    nearest = distance.argmin(axis=1)
    rows = np.arange(len(profiles))
    return np.where(np.isfinite(distance[rows, nearest]), place[rows, nearest], np.nan)
