"""Part-ID images by ray casting, and the exact masks of defects that follow from them.

Every pixel's ray through its centre is cast against the same triangles that are rendered.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pad_inspection.datatypes import Camera, Rigid3
from pad_inspection.geometry import camera_center
from pad_inspection.offline.render_dataset.defects import Defect
from pad_inspection.offline.render_dataset.ldraw import Library, Placement

BACKGROUND = 0
# Half side of the square that stands for the belt, m.
_PLANE_M = 5.0


@dataclass(frozen=True)
class Hits:
    """What the rays of a picture meet first.

    Attributes:
        ids: int32 (H, W), part ID, BACKGROUND where no part is.
        colors: int32 (H, W), colour code of the surface, -1 where no part is.
        normals: float32 (H, W, 3), world frame, unit length, turned towards the camera.
        depth: float32 (H, W), m along the optical axis, infinity where nothing is.
    """

    ids: np.ndarray
    colors: np.ndarray
    normals: np.ndarray
    depth: np.ndarray


class Caster:
    """Casts rays against a placed model.

    Args:
        library: of the parts.
        placements: the model.
        world_from_model: (4, 4), LDraw frame in LDU to the world in metres.
        clear_parts: whether parts of clear plastic are there.
        belt: whether the plane z = 0 hides what is below it.
    """

    def __init__(
        self,
        library: Library,
        placements: list[Placement],
        world_from_model: np.ndarray,
        *,
        clear_parts: bool = True,
        belt: bool = True,
    ):
        from embreex.mesh_construction import TriangleMesh
        from embreex.rtcore_scene import EmbreeScene

        triangles, ids, colors = [], [], []
        for placement in placements:
            if not clear_parts and library.colors[placement.color].alpha < 1:
                continue
            mesh = library.mesh(placement.part).with_seam
            own = mesh.triangle_colors
            triangles.append(placement.transform(mesh.triangles))
            ids.append(np.full(len(own), placement.id, np.int32))
            colors.append(np.where(own == 16, placement.color, own).astype(np.int32))
        world = np.concatenate(triangles) @ world_from_model[:3, :3].T + world_from_model[:3, 3]
        if belt:
            a = _PLANE_M
            plane = [[[-a, -a, 0], [a, -a, 0], [a, a, 0]], [[-a, -a, 0], [a, a, 0], [-a, a, 0]]]
            world = np.concatenate([world, plane])
            ids.append(np.zeros(2, np.int32))
            colors.append(np.full(2, -1, np.int32))
        # the last entry is read where a ray meets nothing (triangle -1)
        self._ids = np.append(np.concatenate(ids), np.int32(BACKGROUND))
        self._colors = np.append(np.concatenate(colors), np.int32(-1))
        self._scene = EmbreeScene()
        self._mesh = TriangleMesh(self._scene, np.ascontiguousarray(world, np.float32))

    def ids(self, camera: Camera, cam_from_world: Rigid3) -> np.ndarray:
        """Part-ID image, int32 (H, W)."""
        origins, directions, _ = _rays(camera, cam_from_world)
        first = self._scene.run(origins, directions, query='INTERSECT')
        return self._ids[first].reshape(camera.height, camera.width)

    def hits(self, camera: Camera, cam_from_world: Rigid3) -> Hits:
        """Everything about the first surfaces."""
        origins, directions, forward = _rays(camera, cam_from_world)
        result = self._scene.run(origins, directions, query='INTERSECT', output=1)
        first, normals = result['primID'], result['Ng']
        shape = (camera.height, camera.width)
        length = np.linalg.norm(normals, axis=1, keepdims=True)
        normals = normals / np.maximum(length, 1e-20)
        normals *= -np.sign((normals * directions).sum(axis=1, keepdims=True))
        depth = np.where(first >= 0, result['tfar'] * forward, np.inf).astype(np.float32)
        return Hits(
            self._ids[first].reshape(shape),
            self._colors[first].reshape(shape),
            normals.astype(np.float32).reshape(*shape, 3),
            depth.reshape(shape),
        )


class MaskCaster:
    """Masks of a defect: pixels that show another part than in an intact piece.

    Clear parts let light through: a pixel also counts when what is behind them differs.
    """

    def __init__(
        self,
        library: Library,
        intact: list[Placement],
        defective: list[Placement],
        defect: Defect,
        world_from_model: np.ndarray,
    ):
        self._changed_id = defect.part_id if defect.kind == 'recolour' else None
        self._pairs = [
            tuple(
                Caster(library, parts, world_from_model, clear_parts=clear)
                for parts in (intact, defective)
            )
            for clear in (True, False)
        ]

    def mask(self, camera: Camera, cam_from_world: Rigid3) -> np.ndarray:
        """Mask of the defect, bool (H, W)."""
        found = np.zeros((camera.height, camera.width), bool)
        for intact, defective in self._pairs:
            before = intact.ids(camera, cam_from_world)
            after = defective.ids(camera, cam_from_world)
            found |= before != after
            if self._changed_id is not None:
                found |= after == self._changed_id
        return found


def _rays(camera: Camera, cam_from_world: Rigid3) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Origins and unit directions float32 (H*W, 3), world, and depth per unit length (H*W,)."""
    u, v = np.meshgrid(np.arange(camera.width) + 0.5, np.arange(camera.height) + 0.5)
    pixels = np.stack([u.ravel(), v.ravel(), np.ones(u.size)], axis=1)
    rays = pixels @ np.linalg.inv(camera.K).T
    length = np.linalg.norm(rays, axis=1)
    directions = (rays / length[:, None]) @ cam_from_world.rotation
    origins = np.broadcast_to(camera_center(cam_from_world), directions.shape)
    return (
        np.ascontiguousarray(origins, np.float32),
        np.ascontiguousarray(directions, np.float32),
        1 / length,
    )
