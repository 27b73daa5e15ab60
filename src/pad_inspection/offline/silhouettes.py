"""Do cameras and silhouettes agree? The visual hull answers, without any picture's colours.

Points that lie inside nearly every silhouette are the object (its visual hull). A view with a
wrong camera shows many of them outside its own silhouette, or too few inside it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pad_inspection import images
from pad_inspection.datatypes import Camera, Rigid3
from pad_inspection.geometry import camera_center, project_object

_GRID = 36


@dataclass(frozen=True)
class Silhouette:
    """The outline of the object in one view.

    Attributes:
        camera: without distortion.
        cam_from_object: pose.
        inside: bool (H, W), where the object is.
    """

    camera: Camera
    cam_from_object: Rigid3
    inside: np.ndarray


def object_center(silhouettes: list[Silhouette]) -> np.ndarray:
    """Point (3,) nearest to the rays through the middles of all silhouettes (least squares)."""
    normal, right = np.zeros((3, 3)), np.zeros(3)
    for view in silhouettes:
        ys, xs = np.nonzero(view.inside)
        pixel = np.array([xs.mean() + 0.5, ys.mean() + 0.5, 1.0])
        ray = view.cam_from_object.rotation.T @ np.linalg.inv(view.camera.K) @ pixel
        ray /= np.linalg.norm(ray)
        across = np.eye(3) - np.outer(ray, ray)
        normal += across
        right += across @ camera_center(view.cam_from_object)
    return np.linalg.lstsq(normal, right, rcond=None)[0]


def visual_hull(silhouettes: list[Silhouette], min_share: float = 0.9) -> np.ndarray:
    """Points (N, 3) on a grid that lie inside this share of the silhouettes; may be empty.

    The grid is made twice: around the centre, then around what was found.
    """
    center = object_center(silhouettes)
    half = np.full(3, max(_reach(view, center) for view in silhouettes))
    for _ in range(2):
        axes = [np.linspace(-1, 1, _GRID) * h + c for h, c in zip(half, center)]
        grid = np.stack(np.meshgrid(*axes, indexing='ij'), axis=-1).reshape(-1, 3)
        count = sum(contains(view, grid).astype(np.int32) for view in silhouettes)
        points = grid[count >= min_share * len(silhouettes)]
        if len(points) < 8:
            return points
        low, high = points.min(axis=0), points.max(axis=0)
        step = 2 * half / (_GRID - 1)
        center, half = (low + high) / 2, (high - low) / 2 + step
    return points


def agreed_hull(silhouettes: list[Silhouette], min_views: int, min_covered: float) -> np.ndarray:
    """Points (N, 3) of the object that most silhouettes agree on; empty when they do not.

    Wrong views do not cut the first, fat hull; those that disagree with it do not shape the next.

    Args:
        silhouettes: of the views.
        min_views: fewer views that agree are no agreement.
        min_covered: a view agrees when the first hull covers this share of its silhouette.
    """
    hull = visual_hull(silhouettes, 0.75)
    if len(hull) < 8:
        return hull[:0]
    agree = [s for s in silhouettes if contains(s, hull).mean() > 0.7]
    agree = [s for s in agree if covered(s, hull) >= min_covered]
    hull = visual_hull(agree) if len(agree) >= min_views else hull[:0]
    return hull if len(hull) >= 8 else hull[:0]


def contains(view: Silhouette, points: np.ndarray) -> np.ndarray:
    """Which points (N, 3) of the object frame lie inside a silhouette: bool (N,)."""
    pixels = project_object(view.camera, view.cam_from_object, points)
    height, width = view.inside.shape
    valid = np.isfinite(pixels).all(axis=1)
    x, y = np.floor(np.where(valid[:, None], pixels, -1)).astype(np.int64).T
    valid &= (x >= 0) & (x < width) & (y >= 0) & (y < height)
    result = np.zeros(len(points), bool)
    result[valid] = view.inside[y[valid], x[valid]]
    return result


def covered(view: Silhouette, points: np.ndarray) -> float:
    """Share of a silhouette near the projections of grid points (N, 3) of the visual hull."""
    height, width = view.inside.shape
    pixels = project_object(view.camera, view.cam_from_object, points)
    pixels = pixels[np.isfinite(pixels).all(axis=1)]
    x, y = np.floor(pixels).astype(np.int64).T
    valid = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    hit = np.zeros((height, width), bool)
    hit[y[valid], x[valid]] = True
    center = points.mean(axis=0)
    depth = abs((view.cam_from_object.rotation @ center + view.cam_from_object.translation)[2])
    # the grid's step is the smallest distance of points along an axis
    step = max(np.diff(np.unique(points[:, k])).min(initial=np.inf) for k in range(3))
    radius = 1.0 if not np.isfinite(step) else view.camera.K[0, 0] * step / depth
    near = images.dilate(hit, max(1, int(np.ceil(radius))))
    return float((near & view.inside).sum() / view.inside.sum())


def bounds_px(camera: Camera, cam_from_object: Rigid3, points: np.ndarray) -> np.ndarray:
    """x0, y0, x1, y1 (px) around the projections of points; NaN when one is behind the camera."""
    pixels = project_object(camera, cam_from_object, points)
    return np.concatenate([pixels.min(axis=0), pixels.max(axis=0)])


def _reach(view: Silhouette, center: np.ndarray) -> float:
    """Half size of the silhouette at the distance of the object's centre."""
    ys, xs = np.nonzero(view.inside)
    half_px = max(np.ptp(xs), np.ptp(ys)) / 2 + 1
    depth = (view.cam_from_object.rotation @ center + view.cam_from_object.translation)[2]
    return float(half_px / view.camera.K[0, 0] * abs(depth) * 1.3)
