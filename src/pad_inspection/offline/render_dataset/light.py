"""A light renderer with the interface of the Blender one: ray casts with a simple shading.

No Blender, no shadows, no reflections: for tests, previews and estimates of what a defect changes.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pad_inspection import images
from pad_inspection.datatypes import Camera, Rigid3
from pad_inspection.geometry import camera_center, scale_camera
from pad_inspection.offline.render_dataset.defects import lab
from pad_inspection.offline.render_dataset.idcast import Caster, Hits
from pad_inspection.offline.render_dataset.ldraw import Library
from pad_inspection.offline.render_dataset.scene import Conveyor, Scene

_SUPERSAMPLING = 2
_LAMP = np.array([0.35, -0.25, 0.9]) / np.linalg.norm([0.35, -0.25, 0.9])
_PLATE, _GAP, _RAIL, _FLOOR = (175, 177, 181), (70, 70, 72), (40, 42, 44), (120, 104, 86)
_CLEAR_SHOWS = 0.5  # share of a clear part's own colour


class LightRenderer:
    """Renders scenes by ray casting."""

    name = 'light'

    def __init__(self):
        self._scene: Scene | None = None

    def open(self, scene: Scene) -> None:
        """Take a scene."""
        self._scene = scene
        belt = scene.conveyor is not None
        arguments = (scene.library, scene.placements, scene.world_from_model)
        self._all = Caster(*arguments, belt=belt)
        self._opaque = Caster(*arguments, belt=belt, clear_parts=False)

    def render(self, cam_from_world: Rigid3, path: Path) -> None:
        """Write a picture."""
        scene = self._scene
        camera = scene.camera
        fine = scale_camera(camera, *(_SUPERSAMPLING * n for n in (camera.width, camera.height)))
        hits = self._all.hits(fine, cam_from_world)
        behind = self._opaque.hits(fine, cam_from_world)
        color = _mixed(scene.library, hits, behind)
        alpha = (hits.ids > 0).astype(np.float32)
        if scene.conveyor is not None:
            ground = _ground(scene.conveyor, fine, cam_from_world, hits)
            color = np.where(hits.ids[..., None] > 0, color, ground)
            picture = images.resize(color.astype(np.float32), camera.width, camera.height)
            images.write(path, np.rint(picture).astype(np.uint8))
            return
        size = (camera.width, camera.height)
        weight = images.resize(alpha, *size)
        premultiplied = images.resize((color * alpha[..., None]).astype(np.float32), *size)
        straight = premultiplied / np.maximum(weight, 1e-6)[..., None]
        rgba = np.concatenate([straight, 255 * weight[..., None]], axis=2)
        images.write(path, np.rint(np.clip(rgba, 0, 255)).astype(np.uint8))

    def close(self) -> None:
        """Nothing was started."""


def visible_change(
    library: Library,
    before: Caster,
    after: Caster,
    camera: Camera,
    cam_from_world: Rigid3,
    mask: np.ndarray,
) -> float:
    """Mean colour change (Delta E 1976) inside a mask (H, W) between two models; NaN when empty.

    Shadows, reflections and what clear parts let through are left out: an estimate.
    """
    if not mask.any():
        return float('nan')
    # the belt counts as a mid grey
    shaded = [
        _shaded(library, caster.hits(camera, cam_from_world), (128, 128, 128))[mask] / 255
        for caster in (before, after)
    ]
    return float(np.linalg.norm(lab(shaded[0]) - lab(shaded[1]), axis=-1).mean())


def _mixed(library: Library, hits: Hits, behind: Hits) -> np.ndarray:
    """Colour (H, W, 3) of 255 with what is behind clear parts."""
    front = _shaded(library, hits, (255, 255, 255))
    back = _shaded(library, behind, (255, 255, 255))
    clear = (hits.ids > 0) & (hits.ids != behind.ids)
    share = np.where(clear, _CLEAR_SHOWS, 1.0)[..., None]
    return front * share + back * (1 - share)


def _shaded(library: Library, hits: Hits, background) -> np.ndarray:
    """Colour (H, W, 3) of 255 under one lamp and an even surround."""
    codes, index = np.unique(hits.colors, return_inverse=True)
    table = [library.colors[c].rgb if c >= 0 else np.array(background) / 255 for c in codes]
    color = 255 * np.array(table)[index.reshape(hits.colors.shape)]
    light = 0.55 + 0.45 * np.clip(hits.normals @ _LAMP, 0, 1)
    return np.where(hits.ids[..., None] > 0, color * light[..., None], color)


def _ground(conveyor: Conveyor, camera: Camera, cam_from_world: Rigid3, hits: Hits) -> np.ndarray:
    """Colour (H, W, 3) of 255 of belt, rails and floor where no part is."""
    u, v = np.meshgrid(np.arange(camera.width) + 0.5, np.arange(camera.height) + 0.5)
    depth = np.where(np.isfinite(hits.depth), hits.depth, 10.0)
    pixels = np.stack([u, v, np.ones_like(u)], axis=-1)
    points = (pixels @ np.linalg.inv(camera.K).T * depth[..., None]) @ cam_from_world.rotation
    x, y, _ = np.moveaxis(points + camera_center(cam_from_world), -1, 0)
    color = np.empty((*x.shape, 3))
    color[:] = _FLOOR
    half = conveyor.width / 2
    color[np.abs(y) < half + 0.012] = _RAIL
    plate = np.abs(y) < half
    color[plate] = _PLATE
    color[plate & ((x - conveyor.shift) % conveyor.pitch < 0.0012)] = _GAP
    return color
