"""Points around a model, where an added part may stick out, and what views say of them.

An added part beside the silhouette is on no Gaussian, but it is at one place in space: every
camera that sees the place sees the part. What stands out in one picture alone (a seam or a rail of
the belt) has no place where all agree. That is the idea of the visual hull (Laurentini, IEEE PAMI
1994), with anomaly scores instead of silhouettes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pad_inspection import images
from pad_inspection.datatypes import Camera, Rigid3
from pad_inspection.geometry import project, transform

# Added parts reach so far beyond the box of the model, as a share of its radius.
_REACH = 0.25
# A point this close behind the surface (share of the radius) counts as lying on it.
_DEPTH_SLACK = 0.02
_BLUR_PX = 1.5
# Added to scores before their geometric mean, so that one view without any score does not decide
# alone; in spreads of normal views.
_FLOOR = 0.05


@dataclass(frozen=True)
class PointsInView:
    """Where the points of a FreeSpace are in a picture.

    Attributes:
        shape: (H, W) of the picture.
        rows, columns: int32 (Q,), pixel of each point, clipped to the picture.
        seen: bool (Q,), in the picture and not hidden by the object.
        beside: bool (Q,), seen, and the object is not behind the point.
        cell_px: odd, about the size of a cell of the grid in the picture.
    """

    shape: tuple[int, int]
    rows: np.ndarray
    columns: np.ndarray
    seen: np.ndarray
    beside: np.ndarray
    cell_px: int


class FreeSpace:
    """A regular grid of points in and around the box of a model.

    Attributes:
        points: float64 (Q, 3), m, object frame.
    """

    def __init__(self, box: np.ndarray, radius: float, spacing: float):
        """Lay the grid.

        Args:
            box: float (2, 3), m, lowest and highest corner of the object.
            radius: m, of the object.
            spacing: of the points as a share of the radius, above 0.
        """
        self._step = spacing * radius
        self._slack = _DEPTH_SLACK * radius
        low, high = box[0] - _REACH * radius, box[1] + _REACH * radius
        axes = [np.arange(a, b + self._step, self._step) for a, b in zip(low, high)]
        self.points = np.stack(np.meshgrid(*axes, indexing='ij'), axis=-1).reshape(-1, 3)

    def __len__(self) -> int:
        return len(self.points)

    def in_view(
        self, camera: Camera, cam_from_object: Rigid3, silhouette: np.ndarray, depth: np.ndarray
    ) -> PointsInView:
        """Project the points and tell which of them the object hides.

        Args:
            camera: without distortion.
            cam_from_object: its pose.
            silhouette: bool (H, W), rendered.
            depth: float32 (H, W), m, rendered, NaN where nothing is.
        """
        in_cam = transform(cam_from_object, self.points)
        distance = in_cam[:, 2]
        pixels = np.nan_to_num(project(camera, in_cam), nan=-1.0)  # NaN: behind the camera
        columns, rows = np.floor(pixels).astype(np.int64).T
        inside = (columns >= 0) & (rows >= 0)
        inside &= (columns < camera.width) & (rows < camera.height)
        # views are kept until their piece is complete: half the memory
        columns = columns.clip(0, camera.width - 1).astype(np.int32)
        rows = rows.clip(0, camera.height - 1).astype(np.int32)
        on_object = silhouette[rows, columns]
        surface = np.nan_to_num(depth[rows, columns], nan=np.inf)
        seen = inside & (~on_object | (distance <= surface + self._slack))
        middle = float(np.median(distance))
        cell = math.ceil(self._step * camera.K[0, 0] / max(middle, 1e-9))
        return PointsInView(silhouette.shape, rows, columns, seen, seen & ~on_object, cell | 1)

    def evidence(self, where: PointsInView, anomaly_map: np.ndarray) -> np.ndarray:
        """What a view says against each point.

        Args:
            where: of ``in_view``.
            anomaly_map: float32 (H, W), NaN = not compared, which counts as 0.

        Returns:
            float32 (Q,), NaN where the view does not see the point.
        """
        scores = images.blur(np.nan_to_num(anomaly_map, nan=0.0).astype(np.float32), _BLUR_PX)
        values = np.maximum(scores[where.rows, where.columns], 0)
        return np.where(where.seen, values, np.float32(np.nan))

    def beside(self, where: PointsInView, joined: np.ndarray) -> np.ndarray:
        """Picture of what is known of the points: the highest one on the ray of each pixel.

        Args:
            where: the view.
            joined: float (Q,) of ``agreement``.

        Returns:
            float32 (H, W), 0 where no point is beside the object.
        """
        import cv2

        picture = np.zeros(where.shape, np.float32)
        place = where.beside
        np.maximum.at(picture, (where.rows[place], where.columns[place]), joined[place])
        size = (where.cell_px, where.cell_px)
        return cv2.blur(cv2.dilate(picture, np.ones(size, np.uint8)), size)


def agreement(views: Sequence[np.ndarray]) -> np.ndarray:
    """How far all views speak against each point: the geometric mean of those that see it.

    Args:
        views: of each view float (Q,) of ``FreeSpace.evidence``, at least one.

    Returns:
        float32 (Q,), 0 and above; 0 where fewer than two views or less than half of them see it.
    """
    stack = np.stack(views).astype(np.float64)
    known = np.isfinite(stack)
    count = known.sum(axis=0)
    logs = np.log(np.where(known, stack, 0.0) + _FLOOR)
    mean = np.exp(np.where(known, logs, 0).sum(axis=0) / np.maximum(count, 1)) - _FLOOR
    enough = count >= max(2, math.ceil(len(views) / 2))
    return np.where(enough, np.maximum(mean, 0), 0).astype(np.float32)
