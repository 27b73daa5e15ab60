import numpy as np
import pytest

from pad_inspection.datatypes import Camera
from pad_inspection.geometry import look_at, project_object
from pad_inspection.offline import backgrounds

CAMERA = Camera(120, 100, np.array([[150.0, 0, 60], [0, 150, 50], [0, 0, 1]]))


@pytest.mark.parametrize('angle', [0.0, 30.0, 90.0, -135.0])
def test_a_rolled_view_fits_its_rolled_pose(angle):
    pose = look_at([0.0, -1.0, 0.3], [0.0, 0.0, 0.0])
    point = np.array([[0.12, 0.0, 0.05]])
    x, y = project_object(CAMERA, pose, point)[0]
    yy, xx = np.mgrid[0:100, 0:120] + 0.5
    spot = np.exp(-((xx - x) ** 2 + (yy - y) ** 2) / 8)
    image = np.repeat((255 * spot).astype(np.uint8)[..., None], 3, axis=2)
    turned, alpha, turned_pose = backgrounds.roll_view(
        255 - image, spot.astype(np.float32), CAMERA, pose, angle
    )
    expected = project_object(CAMERA, turned_pose, point)[0]
    weight = alpha / alpha.sum()
    np.testing.assert_allclose([(weight * xx).sum(), (weight * yy).sum()], expected, atol=0.1)
    assert turned.shape == image.shape and turned.dtype == np.uint8


def test_backgrounds_are_cluttered_and_differ_but_repeat_with_the_seed():
    made = [
        backgrounds.synthetic_background(np.random.default_rng(s), 100, 120) for s in (0, 0, 1, 2)
    ]
    np.testing.assert_array_equal(made[0], made[1])
    assert (made[0] != made[2]).mean() > 0.5
    for picture in made:
        assert picture.shape == (100, 120, 3) and picture.std() > 3


def test_the_object_stays_and_the_white_goes():
    image = np.full((100, 120, 3), 255, np.uint8)
    alpha = np.zeros((100, 120), np.float32)
    image[40:60, 40:80], alpha[40:60, 40:80] = (200, 30, 30), 1.0
    made = backgrounds.composite_on_clutter(image, alpha, np.random.default_rng(3))
    inside = made[45:55, 45:75].reshape(-1, 3).astype(float).mean(axis=0)
    np.testing.assert_allclose(inside, [200, 30, 30], rtol=0.15)
    assert (made[:20] > 250).all(axis=2).mean() < 0.5
