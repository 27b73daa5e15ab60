"""Small splat models for tests."""

import numpy as np

from pad_inspection.datatypes import Camera, Gaussians
from pad_inspection.geometry import look_at


def random_gaussians(count=60, degree=3, seed=0, radius=0.05, size=0.008) -> Gaussians:
    """Gaussians in a ball about the origin, with colours that differ by direction."""
    rng = np.random.default_rng(seed)
    bases = (degree + 1) ** 2
    sh = rng.normal(size=(count, bases, 3)) * np.where(np.arange(bases) == 0, 0.8, 0.15)[:, None]
    quats = rng.normal(size=(count, 4))
    directions = rng.normal(size=(count, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    return Gaussians(
        means=directions * radius * rng.uniform(0.1, 1, (count, 1)) ** (1 / 3),
        quats=quats / np.linalg.norm(quats, axis=1, keepdims=True),
        scales=size * np.exp(rng.normal(size=(count, 3)) * 0.4),
        opacities=rng.uniform(0.3, 0.95, count),
        sh=sh,
    )


def test_camera(size=40, focal=None) -> Camera:
    """A square camera whose principal point is not quite in the middle."""
    focal = size * 1.6 if focal is None else focal
    K = np.array([[focal, 0, size / 2 + 0.7], [0, focal * 1.02, size / 2 - 0.4], [0, 0, 1]])
    return Camera(size, size, K)


test_camera.__test__ = False


def view(azimuth_deg=30.0, distance=0.25, height=0.1):
    """cam_from_object of a camera that looks at the origin."""
    angle = np.radians(azimuth_deg)
    return look_at(
        np.array([distance * np.cos(angle), distance * np.sin(angle), height]), np.zeros(3)
    )
