import numpy as np
import pytest

from pad_inspection.datatypes import Camera
from pad_inspection.geometry import look_at, project_object, rotation_angle_deg
from pad_inspection.localization.pnp import pose_covariance, solve_pnp

CAMERA = Camera(400, 400, np.array([[700.0, 0, 200], [0, 700, 200], [0, 0, 1]]))
POSE = look_at(np.array([0.2, 0.1, 0.2]), np.zeros(3))
OPTIONS = {'threshold_px': 4.0, 'seed': 0}


def scene(count, noise_px=0.0, wrong=0.0, seed=0):
    rng = np.random.default_rng(seed)
    points = rng.uniform(-0.05, 0.05, (count, 3))
    pixels = project_object(CAMERA, POSE, points) + rng.normal(0, noise_px, (count, 2))
    outliers = rng.permutation(count)[: int(wrong * count)]
    pixels[outliers] = rng.uniform(0, 400, (len(outliers), 2))
    return pixels, points, outliers


def test_exact_correspondences_give_the_exact_pose():
    pixels, points, _ = scene(30)
    found = solve_pnp(pixels, points, CAMERA, **OPTIONS)
    np.testing.assert_allclose(found.cam_from_object.rotation, POSE.rotation, atol=1e-6)
    np.testing.assert_allclose(found.cam_from_object.translation, POSE.translation, atol=1e-7)
    assert found.num_inliers == 30
    assert found.rms_px < 1e-4


def test_a_pose_is_found_among_nine_tenths_of_wrong_matches():
    pixels, points, outliers = scene(600, noise_px=0.5, wrong=0.9)
    found = solve_pnp(pixels, points, CAMERA, **OPTIONS)
    assert rotation_angle_deg(found.cam_from_object, POSE) < 1.0
    right = np.setdiff1d(np.arange(600), outliers)
    assert found.inliers[right].mean() > 0.95
    assert found.inliers[outliers].mean() < 0.1


def test_it_repeats():
    pixels, points, _ = scene(300, noise_px=1.0, wrong=0.7)
    first, second = (solve_pnp(pixels, points, CAMERA, **OPTIONS) for _ in range(2))
    np.testing.assert_array_equal(
        first.cam_from_object.translation, second.cam_from_object.translation
    )
    np.testing.assert_array_equal(first.inliers, second.inliers)


@pytest.mark.parametrize('count', [0, 3])
def test_too_few_correspondences_give_no_pose(count):
    pixels, points, _ = scene(count)
    assert solve_pnp(pixels, points, CAMERA, **OPTIONS) is None


def test_covariance_is_the_spread_of_estimates():
    errors = []
    for seed in range(120):
        rng = np.random.default_rng(seed)
        points = np.random.default_rng(0).uniform(-0.05, 0.05, (200, 3))
        pixels = project_object(CAMERA, POSE, points) + rng.normal(0, 0.7, (200, 2))
        found = solve_pnp(pixels, points, CAMERA, **OPTIONS)
        turn = found.cam_from_object.rotation @ POSE.rotation.T
        axis = [turn[2, 1] - turn[1, 2], turn[0, 2] - turn[2, 0], turn[1, 0] - turn[0, 1]]
        shift = found.cam_from_object.translation - POSE.translation
        errors.append(np.concatenate([shift, np.array(axis) / 2]))
    np.testing.assert_allclose(
        np.std(errors, axis=0), np.sqrt(np.diag(found.covariance)), rtol=0.3
    )


def test_points_on_a_ray_do_not_fix_a_pose():
    points = np.outer(np.linspace(-0.01, 0.01, 8), [1.0, 0, 0])
    assert pose_covariance(points, CAMERA, POSE, 1.0) is None
