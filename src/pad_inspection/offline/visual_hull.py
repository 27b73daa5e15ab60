"""Shape from silhouettes: where the object can be, from masks and cameras alone.

Structure from motion finds few points on smooth plastic; the hull gives the fit a start there and
tells it which Gaussians hang in empty space.
"""

from __future__ import annotations

import numpy as np

from pad_inspection.datatypes import Camera, Rigid3
from pad_inspection.geometry import camera_center, project_object

# A silhouette is trusted up to this: masks are drawn, poses are estimated.
SLACK_PX = 2.0
# So many views must see a point outside of the object, so that one bad mask carves nothing.
_LEAST_VIEWS_OUTSIDE = 3


class VisualHull:
    """The space that no silhouette excludes."""

    def __init__(
        self, masks: list[np.ndarray], cameras: list[Camera], cam_from_object: list[Rigid3]
    ):
        """Prepare distance maps.

        Args:
            masks: bool (H, W), object = True; holes in them are filled, so that a hole is left
                to the fit and a white spot on a white background carves nothing.
            cameras: of the masks.
            cam_from_object: poses.

        Raises:
            ValueError: no mask shows any object.
        """
        import cv2

        self._views = []
        for mask, camera, pose in zip(masks, cameras, cam_from_object, strict=True):
            if not mask.any():
                continue
            outer, _ = cv2.findContours(
                mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE
            )
            filled = cv2.drawContours(np.zeros(mask.shape, np.uint8), outer, -1, 1, -1)
            # a border of background: the object may touch the edge of the picture
            framed = np.pad(filled, 1)
            inside = cv2.distanceTransform(framed, cv2.DIST_L2, 5)
            outside = cv2.distanceTransform(1 - framed, cv2.DIST_L2, 5)
            signed = (inside - outside)[1:-1, 1:-1].astype(np.float32)
            self._views.append((signed, camera, pose))
        if not self._views:
            raise ValueError(f'none of {len(masks)} masks shows an object')
        self.center, self.radius = self._bounds()

    def _bounds(self) -> tuple[np.ndarray, float]:
        """Centre (3,) m and radius m of a ball around the object."""
        normal, right = np.zeros((3, 3)), np.zeros(3)
        rays = []
        for signed, camera, pose in self._views:
            ys, xs = np.nonzero(signed > 0)
            middle = np.array([(xs.min() + xs.max()) / 2, (ys.min() + ys.max()) / 2]) + 0.5
            reach_px = np.hypot(xs + 0.5 - middle[0], ys + 0.5 - middle[1]).max()
            direction = pose.rotation.T @ np.linalg.solve(camera.K, [*middle, 1.0])
            direction /= np.linalg.norm(direction)
            across = np.eye(3) - np.outer(direction, direction)
            normal += across
            right += across @ camera_center(pose)
            rays.append((reach_px / camera.K[0, 0], pose))
        center = np.linalg.lstsq(normal, right, rcond=None)[0]
        reaches = [slope * (pose.rotation @ center + pose.translation)[2] for slope, pose in rays]
        return center, float(1.1 * np.max(reaches))

    def _distance(self, view: int, points: np.ndarray) -> np.ndarray:
        """Signed distance (N,) px of points to one silhouette, positive inside; NaN not shown."""
        signed, camera, pose = self._views[view]
        found = np.full(len(points), np.nan, np.float32)
        pixels = project_object(camera, pose, points)
        with np.errstate(invalid='ignore'):
            columns, rows = np.floor(pixels).T
            shown = (columns >= 0) & (columns < camera.width)
            shown &= (rows >= 0) & (rows < camera.height)
        found[shown] = signed[rows[shown].astype(int), columns[shown].astype(int)]
        return found

    def contains(self, points: np.ndarray) -> np.ndarray:
        """Bool (N,): fewer than three views see the point (N, 3) m outside of the object."""
        needed = min(_LEAST_VIEWS_OUTSIDE, len(self._views))
        count = np.zeros(len(points), int)
        for view in range(len(self._views)):
            count += self._distance(view, points) < -SLACK_PX
        return count < needed

    def surface_points(self, count: int, rng: np.random.Generator) -> np.ndarray:
        """Points (<= count, 3) m near the hull's surface, spread at random."""
        found, missing = [np.zeros((0, 3))], count
        for _ in range(20):
            points = self.center + self.radius * rng.uniform(-1, 1, (40 * count, 3))
            nearest = np.full(len(points), np.inf)
            for view in range(len(self._views)):
                distance = self._distance(view, points)
                nearest = np.fmin(nearest, distance)
                inside = nearest > -SLACK_PX / 2
                points, nearest = points[inside], nearest[inside]
            chosen = points[nearest < SLACK_PX][:missing]
            found.append(chosen)
            missing -= len(chosen)
            if missing <= 0:
                break
        return np.concatenate(found)
