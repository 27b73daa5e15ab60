"""What the views of one piece say together about each place of its surface.

A defect stays where it is on the surface while cameras see it from several sides; a reflection or
a shadow moves on. So the anomaly map of each view is spread over the Gaussians that draw its
pixels, and from them over places that cover the surface evenly; there the views that say most
are averaged. Defects beside the silhouette are on no Gaussian: for them the views' own scores
stand (``decision.object_score``).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from pad_inspection.datatypes import Camera, Gaussians, Rigid3

if TYPE_CHECKING:
    from pad_inspection.rendering.renderer import SplatScene

# Gaussians count for the places around them that are nearer than this share of the spacing, so
# that a defect between two places is whole in one of them.
_REACH = 0.9
_RADIUS_QUANTILE = 0.99
# A view says something about a place that draws at least so many pixels of it.
_LEAST_PX = 4.0


class SurfacePlaces:
    """Places that cover the surface of a model, and the Gaussians around each.

    The places depend on the Gaussians' means and the spacing alone, so that they are the same
    wherever a model is loaded.

    Attributes:
        positions: float64 (P, 3), m, object frame.
    """

    def __init__(self, gaussians: Gaussians, spacing: float):
        """Choose the places.

        Args:
            gaussians: the model, not empty.
            spacing: of the places as a share of the object's radius, above 0.
        """
        from scipy.sparse import csr_array
        from scipy.spatial import cKDTree

        means = gaussians.means.astype(np.float64)
        center = np.median(means, axis=0)
        radius = np.quantile(np.linalg.norm(means - center, axis=1), _RADIUS_QUANTILE)
        step = max(spacing * radius, 1e-9)
        cells = np.floor((means - center) / step).astype(np.int64)
        _, cell, count = np.unique(cells, axis=0, return_inverse=True, return_counts=True)
        sums = np.zeros((len(count), 3))
        np.add.at(sums, cell.reshape(-1), means)
        self.positions = sums / count[:, None]
        near = cKDTree(self.positions).sparse_distance_matrix(
            cKDTree(means), _REACH * step, output_type='coo_matrix'
        )
        ones = np.ones(near.nnz, np.float32)
        self._pool = csr_array((ones, (near.row, near.col)), (len(count), len(means)))

    def __len__(self) -> int:
        return len(self.positions)

    def evidence(
        self, scene: SplatScene, camera: Camera, cam_from_object: Rigid3, anomaly_map: np.ndarray
    ) -> np.ndarray:
        """Mean of an anomaly map at each place.

        Args:
            scene: the same model.
            camera: without distortion.
            cam_from_object: its pose.
            anomaly_map: float32 (H, W), NaN = not compared.

        Returns:
            float32 (P,), NaN where the view hardly shows the place.
        """
        weights, weighted = scene.backproject(camera, cam_from_object, anomaly_map)
        weights, weighted = self._pool @ weights, self._pool @ weighted
        seen = weights >= _LEAST_PX
        means = np.full(len(self), np.nan, np.float32)
        means[seen] = weighted[seen] / weights[seen]
        return means

    def on_gaussians(self, values: np.ndarray) -> np.ndarray:
        """Values of places given back to the Gaussians around them.

        Args:
            values: float (P,), NaN = not known.

        Returns:
            float32 (N,), the mean of the known places around each, NaN without one.
        """
        known = np.isfinite(values)
        total = self._pool.T @ np.where(known, values, 0.0)
        count = self._pool.T @ known.astype(np.float32)
        return np.where(count > 0, total / np.maximum(count, 1), np.nan).astype(np.float32)


def visible_places(
    places: SurfacePlaces, scene: SplatScene, views: Iterable[tuple[Camera, Rigid3]]
) -> int:
    """How many places are seen in at least one of the views (camera, cam_from_object)."""
    seen = np.zeros(len(places), bool)
    for camera, cam_from_object in views:
        plain = np.zeros((camera.height, camera.width), np.float32)
        seen |= np.isfinite(places.evidence(scene, camera, cam_from_object, plain))
    return int(seen.sum())


def coverage(views: Sequence[np.ndarray], num_visible: int) -> float:
    """Share of the visible surface that some views together saw.

    Args:
        views: of each view float (P,), NaN = place not seen, as from ``SurfacePlaces.evidence``.
        num_visible: places that can be seen at all, 0 = not known.

    Returns:
        0 to 1; NaN where it is not known, or the views are not of one model.
    """
    if num_visible <= 0 or not views or len({len(view) for view in views}) != 1:
        return float('nan')
    seen = np.isfinite(np.stack(list(views))).any(axis=0)
    return min(1.0, float(seen.sum()) / num_visible)


def create_places(gaussians: Gaussians, spacing: float) -> SurfacePlaces | None:
    """Places of a model; None for a spacing of 0."""
    return SurfacePlaces(gaussians, spacing) if spacing > 0 else None


def surface_score(views: Sequence[np.ndarray], share: float) -> float:
    """Highest score of a place: the mean of the views that say most against it.

    Args:
        views: of each view float (P,) as from ``SurfacePlaces.evidence``. Views of another number
            of places than most are of another model and do not count.
        share: how many of the views are averaged. Of several views at least two are: what a
            single one sees is not confirmed. Where fewer see the place the others count with 0.

    Returns:
        0 and above; NaN when no view sees a place.
    """
    lengths = Counter(len(view) for view in views if len(view))
    if not lengths:
        return float('nan')
    common = lengths.most_common(1)[0][0]
    stack = np.stack([view for view in views if len(view) == common]).astype(np.float64)
    if not np.isfinite(stack).any():
        return float('nan')
    count = min(len(stack), max(2, int(share * len(stack))))
    highest = np.sort(np.nan_to_num(stack, nan=0.0), axis=0)[-count:]
    return float(highest.mean(axis=0).max())
