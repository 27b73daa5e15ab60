"""Anomaly maps of one piece from what all of its views say.

What a picture shows at a place is mixed with what all views show there: on the surface the mean
of that half of the views that says most (``surface.SurfacePlaces``), beside the silhouette the
agreement of the views on a place in space (``free_space.FreeSpace``). A reflection stands out in
one view and is weakened; a faint defect that several views hint at is strengthened; what a view
cannot see because the object is in front of it does not show there either.

The idea of joining the changes that views show in a splat model is that of MV3DCD (CVPR 2025) and
O-SCD (CVPR 2026), where a scalar of each Gaussian is optimised; here it is averaged.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pad_inspection.config import ComparisonConfig
from pad_inspection.datatypes import Camera, Gaussians, Rigid3
from pad_inspection.free_space import FreeSpace, PointsInView, agreement
from pad_inspection.regions import SILHOUETTE_ALPHA
from pad_inspection.surface import SurfacePlaces

if TYPE_CHECKING:
    from pad_inspection.rendering.renderer import SplatScene

# Share of the drawn Gaussians that some view knows, for a pixel to be joined.
_LEAST_KNOWN = 0.5


@dataclass(frozen=True)
class PosedMap:
    """An anomaly map and where it was seen from.

    Attributes:
        camera: without distortion.
        cam_from_object: its pose.
        anomaly_map: float32 (H, W), NaN = not compared.
    """

    camera: Camera
    cam_from_object: Rigid3
    anomaly_map: np.ndarray


@dataclass(frozen=True)
class SeenMap:
    """A view with what it says against the places of the surface and the points around it."""

    view: PosedMap
    silhouette: np.ndarray
    surface: np.ndarray
    where: PointsInView
    free: np.ndarray


class ViewJoiner:
    """Joins the anomaly maps of the views of one piece. Not thread-safe."""

    def __init__(self, scene: SplatScene, gaussians: Gaussians, config: ComparisonConfig):
        """Prepare for a model.

        Args:
            scene: the model.
            gaussians: the same.
            config: how much the joined maps count, and how far places are apart.
        """
        self._scene = scene
        self._share = config.joined_share
        # finer than the places of the verdict, which travel in the result of each view
        self._places = SurfacePlaces(gaussians, config.joined_spacing)
        self._space = FreeSpace(scene.box, scene.radius, config.joined_spacing)

    def join(self, views: Sequence[PosedMap]) -> list[np.ndarray]:
        """Anomaly maps of the views of one piece, each with what the others say.

        Args:
            views: in any order. One alone stays as it is.

        Returns:
            float32 (H, W) for each view, NaN where the view's own map is NaN.
        """
        if len(views) < 2:
            return [view.anomaly_map for view in views]
        return self.join_seen([self.see(view) for view in views])

    def join_seen(self, seen: Sequence[SeenMap]) -> list[np.ndarray]:
        """As ``join``, of two views or more that were looked at before."""
        surface = _upper_half([one.surface for one in seen])
        on_gaussians = self._places.on_gaussians(surface)
        free = agreement([one.free for one in seen])
        return [self._mixed(one, on_gaussians, free) for one in seen]

    def see(self, view: PosedMap) -> SeenMap:
        """What a view says on its own, for ``join_seen``."""
        place = view.camera, view.cam_from_object
        _, alpha, depth = self._scene.draw(*place, depth=True)
        silhouette = alpha > SILHOUETTE_ALPHA
        where = self._space.in_view(*place, silhouette, depth)
        return SeenMap(
            view,
            silhouette,
            self._places.evidence(self._scene, *place, view.anomaly_map),
            where,
            self._space.evidence(where, view.anomaly_map),
        )

    def _mixed(self, seen: SeenMap, on_gaussians: np.ndarray, free: np.ndarray) -> np.ndarray:
        """The map of a view with the joined ones."""
        view = seen.view
        on_surface, known = self._scene.paint(view.camera, view.cam_from_object, on_gaussians)
        own = view.anomaly_map
        joined = self._space.beside(seen.where, free)
        inside = np.where(known > _LEAST_KNOWN, on_surface, own)
        joined = np.where(seen.silhouette, inside, joined)
        return ((1 - self._share) * own + self._share * joined).astype(np.float32)


def create_joiner(
    scene: SplatScene, gaussians: Gaussians, config: ComparisonConfig
) -> ViewJoiner | None:
    """A joiner for a model; None where the options ask for none."""
    return ViewJoiner(scene, gaussians, config) if config.joined_share > 0 else None


def _upper_half(views: Sequence[np.ndarray]) -> np.ndarray:
    """Mean (P,) of that half of several arrays (P,) that is highest, NaN aside; NaN where all are.

    Two at least are averaged where two are known. A defect in a corner shows in some of the views
    that look there, a reflection in one.
    """
    stack = np.stack(views).astype(np.float64)
    known = np.isfinite(stack)
    count = known.sum(axis=0)
    half = np.maximum((count + 1) // 2, np.minimum(count, 2))
    falling = -np.sort(-np.where(known, stack, -np.inf), axis=0)
    counted = np.arange(len(stack))[:, None] < half
    total = np.where(counted, falling, 0).sum(axis=0)
    return np.where(count > 0, total / np.maximum(half, 1), np.nan)
