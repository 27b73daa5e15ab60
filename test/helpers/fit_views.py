"""Photographs of a small splat model on disk, to fit another one to."""

from pathlib import Path

import numpy as np

from pad_inspection import images
from pad_inspection.dataset import TrainingView
from pad_inspection.datatypes import Camera, Gaussians
from pad_inspection.geometry import look_at
from pad_inspection.rendering.renderer import SplatScene

RADIUS_M = 0.03
SIZE_PX = 48


def ball(count=400, seed=0) -> Gaussians:
    """An opaque ball, red above and blue below, away from the origin."""
    rng = np.random.default_rng(seed)
    directions = rng.normal(size=(count, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    rgb = np.where(directions[:, 2:] > 0, [0.8, 0.2, 0.1], [0.1, 0.3, 0.7])
    return Gaussians(
        means=directions * RADIUS_M + [0.01, -0.02, 0.005],
        quats=np.tile([1.0, 0, 0, 0], (count, 1)),
        scales=np.full((count, 3), RADIUS_M / 8),
        opacities=np.full(count, 0.95),
        sh=((rgb - 0.5) / 0.28209479)[:, None],
    )


def views_around(folder: Path, count=20, size=SIZE_PX) -> list[TrainingView]:
    """Write RGBA pictures from all around and list them."""
    scene = SplatScene(ball(), 'cpu', 1)
    focal = 2.2 * size
    camera = Camera(size, size, [[focal, 0, size / 2], [0, focal, size / 2], [0, 0, 1]])
    views = []
    for number in range(count):
        height = 0.9 * (2 * (number + 0.5) / count - 1)
        angle = number * 2.4
        across = np.sqrt(1 - height**2)
        eye = 0.25 * np.array([across * np.cos(angle), across * np.sin(angle), height])
        pose = look_at(scene.center + eye, scene.center)
        rendered = scene.render(camera, pose)
        straight = rendered.image / np.maximum(rendered.alpha, 1e-3)[..., None]
        rgba = np.concatenate([straight, rendered.alpha[..., None]], axis=2)
        path = folder / f'{number:03d}.png'
        images.write(path, images.to_uint8(rgba))
        views.append(TrainingView(path.stem, path, camera, pose))
    return views
