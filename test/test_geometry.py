import numpy as np
import pytest

from pad_inspection import geometry
from pad_inspection.datatypes import Camera, Rigid3

CAMERA = Camera(640, 480, np.array([[500.0, 0, 320], [0, 500, 240], [0, 0, 1]]))


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def random_pose(rng):
    return Rigid3(geometry.rotation_from_axis_angle(rng.normal(size=3)), rng.normal(size=3))


def test_compose_and_invert_cancel(rng):
    c_from_b, b_from_a, points = random_pose(rng), random_pose(rng), rng.normal(size=(5, 3))
    direct = geometry.transform(geometry.compose(c_from_b, b_from_a), points)
    stepwise = geometry.transform(c_from_b, geometry.transform(b_from_a, points))
    np.testing.assert_allclose(direct, stepwise)
    back = geometry.transform(geometry.invert(b_from_a), geometry.transform(b_from_a, points))
    np.testing.assert_allclose(back, points)


def test_project_hand_values():
    # one metre ahead, 0.1 m right, 0.2 m down: 320 + 500 * 0.1, 240 + 500 * 0.2
    pixels = geometry.project(CAMERA, np.array([[0.1, 0.2, 1.0], [0, 0, -1.0]]))
    np.testing.assert_allclose(pixels[0], [370, 340])
    assert np.isnan(pixels[1]).all()


def test_unproject_inverts_project(rng):
    points = rng.uniform([-0.3, -0.3, 0.5], [0.3, 0.3, 2.0], (20, 3))
    back = geometry.unproject(CAMERA, geometry.project(CAMERA, points), points[:, 2])
    np.testing.assert_allclose(back, points)


def test_opencv_pixel_origin_is_half_a_pixel_off():
    camera = geometry.camera_from_opencv(640, 480, [[500, 0, 319.5], [0, 500, 239.5], [0, 0, 1]])
    np.testing.assert_allclose(camera.K[:2, 2], [320, 240])
    np.testing.assert_allclose(geometry.opencv_matrix(camera)[:2, 2], [319.5, 239.5])


def test_opencv_camera_refuses_other_distortion_models():
    with pytest.raises(ValueError, match='at most 5'):
        geometry.camera_from_opencv(640, 480, CAMERA.K, [0, 0, 0, 0, 0, 0.1])


def test_scale_and_crop_follow_the_pixels(rng):
    points = rng.uniform([-0.3, -0.3, 0.5], [0.3, 0.3, 2.0], (20, 3))
    pixels = geometry.project(CAMERA, points)
    half = geometry.scale_camera(CAMERA, 320, 240)
    np.testing.assert_allclose(geometry.project(half, points), pixels / 2)
    crop = geometry.crop_camera(CAMERA, 100, 50, 200, 200)
    np.testing.assert_allclose(geometry.project(crop, points), pixels - [100, 50])


def test_quaternions_round_trip_also_at_half_turns(rng):
    rotations = [geometry.rotation_from_axis_angle(rng.normal(size=3)) for _ in range(20)]
    rotations += [np.diag([1.0, -1, -1]), np.diag([-1.0, 1, -1]), np.diag([-1.0, -1, 1])]
    for rotation in rotations:
        quat = geometry.quat_from_rotation(rotation)
        assert np.linalg.norm(quat) == pytest.approx(1)
        np.testing.assert_allclose(geometry.rotation_from_quat(quat), rotation, atol=1e-9)


def test_quaternion_hand_value():
    quarter_turn_about_z = geometry.rotation_from_axis_angle([0, 0, np.pi / 2])
    np.testing.assert_allclose(
        geometry.quat_from_rotation(quarter_turn_about_z), [np.sqrt(0.5), 0, 0, np.sqrt(0.5)]
    )


def test_rotation_angle(rng):
    pose = random_pose(rng)
    for angle in (1e-6, 0.5, 90.0, 179.0):
        turn = geometry.rotation_from_axis_angle(np.radians(angle) * np.array([0, 0.6, 0.8]))
        turned = Rigid3(turn @ pose.rotation, pose.translation)
        assert geometry.rotation_angle_deg(turned, pose) == pytest.approx(angle)


def test_opengl_cameras_round_trip(rng):
    pose = random_pose(rng)
    back = geometry.cam_from_world_of_opengl(geometry.opengl_of_cam_from_world(pose))
    np.testing.assert_allclose(geometry.to_matrix(back), geometry.to_matrix(pose), atol=1e-12)


def test_opengl_camera_looks_along_minus_z():
    # at (0, 0, 2) without rotation it looks at the origin, which is 2 m ahead in OpenCV's axes
    world_from_gl = np.eye(4)
    world_from_gl[2, 3] = 2
    cam_from_world = geometry.cam_from_world_of_opengl(world_from_gl)
    np.testing.assert_allclose(geometry.transform(cam_from_world, np.zeros((1, 3))), [[0, 0, 2]])


def test_look_at_puts_the_target_on_the_axis_with_up_upwards():
    pose = geometry.look_at([1.0, 0, 1], [0.0, 0, 0])
    target, above = geometry.transform(pose, np.array([[0.0, 0, 0], [0, 0, 0.1]]))
    np.testing.assert_allclose(target, [0, 0, np.sqrt(2)], atol=1e-12)
    assert above[1] < 0
    np.testing.assert_allclose(geometry.camera_center(pose), [1, 0, 1])


def test_look_at_straight_down_is_defined():
    pose = geometry.look_at([0.0, 0, 1], [0.0, 0, 0])
    np.testing.assert_allclose(geometry.transform(pose, np.zeros((1, 3))), [[0, 0, 1]], atol=1e-12)


def test_pose_error_px_of_a_sideways_shift():
    truth = Rigid3(np.eye(3), np.array([0, 0, 1.0]))
    shifted = Rigid3(np.eye(3), np.array([0.002, 0, 1.0]))
    assert geometry.pose_error_px(CAMERA, shifted, truth, np.zeros((4, 3))) == pytest.approx(1.0)


def test_from_matrix_refuses_what_is_no_rotation():
    with pytest.raises(ValueError, match='rotation'):
        geometry.from_matrix(np.diag([1, 1, -1, 1]))
    with pytest.raises(ValueError, match='shape'):
        geometry.from_matrix(np.eye(3))
