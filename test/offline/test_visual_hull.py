import numpy as np
import pytest

from pad_inspection.datatypes import Camera
from pad_inspection.geometry import look_at, project_object
from pad_inspection.offline.visual_hull import VisualHull

CENTER, RADIUS = np.array([0.02, -0.01, 0.03]), 0.04
SIZE = 80
CAMERA = Camera(SIZE, SIZE, [[140, 0, SIZE / 2], [0, 140, SIZE / 2], [0, 0, 1]])


def ring(count=16):
    """Poses around a ball, from above and below."""
    poses = []
    for number in range(count):
        angle = 2 * np.pi * number / count
        eye = CENTER + 0.3 * np.array([np.cos(angle), np.sin(angle), 0.8 * (-1) ** number])
        poses.append(look_at(eye, CENTER))
    return poses


def silhouettes(poses):
    """Masks of the ball: a ray hits it when it passes near enough."""
    masks = []
    columns, rows = np.meshgrid(np.arange(SIZE) + 0.5, np.arange(SIZE) + 0.5)
    for pose in poses:
        rays = np.stack([columns, rows, np.ones_like(rows)], axis=-1) @ np.linalg.inv(CAMERA.K).T
        rays /= np.linalg.norm(rays, axis=-1, keepdims=True)
        middle = pose.rotation @ CENTER + pose.translation
        miss = np.linalg.norm(np.cross(rays, middle), axis=-1)
        masks.append(miss < RADIUS)
    return masks


@pytest.fixture(scope='module')
def hull():
    poses = ring()
    return VisualHull(silhouettes(poses), [CAMERA] * len(poses), poses)


def test_centre_and_radius(hull):
    np.testing.assert_allclose(hull.center, CENTER, atol=1e-3)
    assert RADIUS < hull.radius < 1.3 * RADIUS


def test_what_is_inside(hull):
    rng = np.random.default_rng(0)
    directions = rng.normal(size=(200, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    assert hull.contains(CENTER + 0.95 * RADIUS * directions).all()
    assert not hull.contains(CENTER + 1.6 * RADIUS * directions).any()


def test_one_wrong_mask_carves_nothing():
    poses = ring()
    masks = silhouettes(poses)
    masks[3] = np.roll(masks[3], 30, axis=1)
    hull = VisualHull(masks, [CAMERA] * len(poses), poses)
    assert hull.contains(CENTER[None])[0]


def test_a_white_spot_in_a_mask_carves_nothing():
    poses = ring()
    masks = silhouettes(poses)
    for mask, pose in zip(masks, poses):
        x, y = project_object(CAMERA, pose, CENTER[None])[0].astype(int)
        mask[y - 3 : y + 4, x - 3 : x + 4] = False
    hull = VisualHull(masks, [CAMERA] * len(poses), poses)
    assert hull.contains(CENTER[None])[0]


def test_surface_points_are_near_the_surface(hull):
    points = hull.surface_points(100, np.random.default_rng(0))
    assert points.shape == (100, 3)
    distance = np.linalg.norm(points - CENTER, axis=1)
    # a pixel is 0.3 m / 140 = 2 mm; the hull is a little larger than the ball
    assert distance.min() > RADIUS - 0.006
    assert distance.max() < 1.4 * RADIUS


def test_empty_masks_are_refused():
    with pytest.raises(ValueError, match='none of 2 masks'):
        VisualHull([np.zeros((SIZE, SIZE), bool)] * 2, [CAMERA] * 2, ring(2))
