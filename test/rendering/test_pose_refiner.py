import math

import cv2
import numpy as np
import pytest

from pad_inspection.config import RefinementConfig
from pad_inspection.datatypes import Camera, Gaussians, Rigid3
from pad_inspection.geometry import look_at, pose_error_px, rotation_from_axis_angle
from pad_inspection.images import to_uint8
from pad_inspection.rendering import pose_anchors
from pad_inspection.rendering.pose_refiner import refine_pose, verify_pose
from pad_inspection.rendering.renderer import SplatScene

SIZE = 160
CAMERA = Camera(SIZE, SIZE, [[400, 0, SIZE / 2], [0, 400, SIZE / 2], [0, 0, 1]])
TRUTH = look_at(np.array([0.15, 0.1, 0.12]), np.array([0.005, 0.0, -0.003]))


def patched_box() -> Gaussians:
    """A box of 8 x 5 x 4 cm whose faces are patches of random colours."""
    rng = np.random.default_rng(0)
    half = np.array([0.04, 0.025, 0.02])
    points, colors = [], []
    for axis in range(3):
        for side in (-1, 1):
            uv = np.stack(np.meshgrid(*2 * [np.linspace(-1, 1, 26)]), axis=-1).reshape(-1, 2)
            face = np.insert(uv, axis, side, axis=1)
            palette = rng.uniform(0.1, 0.9, (5, 5, 3))
            cells = np.clip(((uv + 1) / 2 * 5).astype(int), 0, 4)
            points.append(face * half)
            colors.append(palette[cells[:, 0], cells[:, 1]])
    points, colors = np.concatenate(points), np.concatenate(colors)
    n = len(points)
    return Gaussians(
        means=points,
        quats=np.tile([1.0, 0, 0, 0], (n, 1)),
        scales=np.full((n, 3), 0.0015),
        opacities=np.full(n, 0.98),
        sh=((colors - 0.5) / 0.28209479)[:, None],
    )


@pytest.fixture(scope='module')
def scene():
    return SplatScene(patched_box(), 'cpu', 1)


@pytest.fixture(scope='module')
def points():
    return patched_box().means[::20].astype(np.float64)


@pytest.fixture(scope='module')
def drawn(scene):
    rendered = scene.render(CAMERA, TRUTH)
    return rendered, to_uint8(rendered.image + 0.4 * (1 - rendered.alpha[..., None]))


def disturbed(seed=0, turn_deg=0.8, shift_m=0.0005):
    """The true pose, turned about the object and shifted."""
    rng = np.random.default_rng(seed)
    axis = rng.normal(size=3)
    turn = rotation_from_axis_angle(axis / np.linalg.norm(axis) * np.radians(turn_deg))
    shift = rng.normal(size=3) * shift_m
    return Rigid3(
        turn @ TRUTH.rotation, turn @ (TRUTH.translation - [0, 0, 0.22]) + shift + [0, 0, 0.22]
    )


def error_px(pose, points):
    return pose_error_px(CAMERA, pose, TRUTH, points)


@pytest.mark.parametrize('seed', range(4))
def test_a_pose_that_is_pixels_off_comes_back(scene, drawn, points, seed):
    start = disturbed(seed)
    assert error_px(start, points) > 0.5
    alpha = drawn[0].alpha
    refined = refine_pose(scene, drawn[1], alpha, CAMERA, start, RefinementConfig())
    assert error_px(refined.cam_from_object, points) < 0.05
    assert refined.agreement > 0.99
    assert refined.silhouette_iou > 0.98
    assert 0 < refined.steps <= 40


def test_other_light_a_sheen_and_a_defect_hardly_pull(scene, drawn, points):
    image = drawn[1].astype(np.float32)
    rows = np.linspace(0, 40, SIZE)[:, None, None]
    lit = image * [0.7, 0.8, 0.9] + 20 + rows
    lit[70:85, 70:90] = [250, 240, 10]
    lit = np.clip(lit, 0, 255).astype(np.uint8)
    refined = refine_pose(scene, lit, None, CAMERA, disturbed(1), RefinementConfig())
    assert error_px(refined.cam_from_object, points) < 0.2
    assert refined.agreement > 0.8
    assert math.isnan(refined.silhouette_iou)


def test_a_coarse_start_reaches_farther(scene, drawn, points):
    start = disturbed(2, turn_deg=5, shift_m=0.001)
    config = RefinementConfig(coarse_factor=3)
    refined = refine_pose(scene, drawn[1], None, CAMERA, start, config)
    assert error_px(start, points) > 3
    assert error_px(refined.cam_from_object, points) < 0.05


def test_no_steps_leave_the_pose(scene, drawn):
    start = disturbed()
    refined = refine_pose(scene, drawn[1], None, CAMERA, start, RefinementConfig(max_steps=0))
    assert refined.steps == 0
    assert refined.cam_from_object is start


def test_refining_repeats_to_the_bit(scene, drawn):
    twice = [
        refine_pose(scene, drawn[1], None, CAMERA, disturbed(), RefinementConfig())
        for _ in range(2)
    ]
    assert np.array_equal(*(r.cam_from_object.rotation for r in twice))
    assert np.array_equal(*(r.cam_from_object.translation for r in twice))


def test_verification_tells_the_right_pose_from_wrong_ones(scene, drawn):
    rendered, image = drawn
    agreement, iou = verify_pose(scene, image, rendered.alpha, CAMERA, TRUTH)
    assert agreement > 0.97 and iou > 0.95
    # the silhouette of a box looks the same upside down, its colours do not
    upside_down = Rigid3(TRUTH.rotation @ np.diag([1.0, -1.0, -1.0]), TRUTH.translation)
    assert verify_pose(scene, image, rendered.alpha, CAMERA, upside_down)[0] < 0.6
    turned = disturbed(0, turn_deg=40)
    wrong_agreement, wrong_iou = verify_pose(scene, image, rendered.alpha, CAMERA, turned)
    assert wrong_agreement < 0.6 and wrong_iou < iou - 0.05


def test_an_object_outside_of_the_picture_agrees_with_nothing(scene, drawn):
    beside = Rigid3(TRUTH.rotation, TRUTH.translation + [0.5, 0, 0])
    refined = refine_pose(scene, drawn[1], drawn[0].alpha, CAMERA, beside, RefinementConfig())
    assert refined.agreement == -1
    assert refined.silhouette_iou == 0


def test_a_picture_of_another_size_is_refused(scene, drawn):
    for function in (refine_pose, verify_pose):
        extra = (RefinementConfig(),) if function is refine_pose else ()
        with pytest.raises(ValueError, match='image has shape'):
            function(scene, drawn[1][:50], None, CAMERA, TRUTH, *extra)


def test_the_rim_holds_a_pose_where_the_light_misleads(scene, drawn, points):
    rendered, picture = drawn
    # the inside tells of a piece that lies two pixels farther to the right
    moved = np.roll(picture, 2, axis=1) + np.random.default_rng(0).normal(0, 60, picture.shape)
    inside = rendered.alpha[..., None] > 0.9
    misled = np.where(inside, np.clip(moved, 0, 255), picture).astype(np.uint8)
    without = refine_pose(scene, misled, None, CAMERA, TRUTH, RefinementConfig())
    held = refine_pose(scene, misled, rendered.alpha, CAMERA, TRUTH, RefinementConfig())
    pulled, kept = (error_px(found.cam_from_object, points) for found in (without, held))
    assert pulled > 1 and kept < 0.8 * pulled


def test_the_rim_is_found_where_it_is_segmented(scene, drawn, points):
    alpha = drawn[0].alpha
    here = pose_anchors.find_rim(scene, alpha, CAMERA, TRUTH)
    assert len(here.points3d) > 100 and here.cost(CAMERA, TRUTH) < 0.05
    off = disturbed()
    there = pose_anchors.find_rim(scene, alpha, CAMERA, off)
    assert there.cost(CAMERA, TRUTH) < 0.5 * there.cost(CAMERA, off)
    np.testing.assert_allclose(np.linalg.norm(there.normals, axis=1), 1, atol=1e-6)
    # too wide all around says nothing about the pose
    wide = cv2.dilate(alpha, np.ones((5, 5), np.uint8))
    pose = refine_pose(scene, drawn[1], wide, CAMERA, TRUTH, RefinementConfig()).cam_from_object
    assert error_px(pose, points) < 0.2


def test_what_is_hardly_segmented_has_no_rim(scene, drawn):
    alpha = drawn[0].alpha
    half = alpha.copy()
    half[:, : np.nonzero(alpha > 0.5)[1].max() - 15] = 0
    for probability in (None, np.zeros_like(alpha), half):
        assert pose_anchors.find_rim(scene, probability, CAMERA, TRUTH) is None
