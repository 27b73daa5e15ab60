import numpy as np
import pytest

from helpers.small_map import small_map
from pad_inspection.datatypes import Camera, Rigid3
from pad_inspection.geometry import compose, identity, rotation_from_axis_angle, transform
from pad_inspection.localization.alignment import (
    bounds_fault,
    nearest_views,
    silhouette,
    similarity,
    spread,
    turn_deg,
)
from pad_inspection.localization.crops import square_around


@pytest.fixture(scope='module')
def reference():
    return small_map()[0].reference


def test_similarity_of_a_known_turn_scale_and_shift():
    rng = np.random.default_rng(0)
    source = rng.normal(size=(10, 2))
    angle = np.radians(40)
    linear = 3 * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    found = similarity(source, source @ linear.T + [5, -2])
    np.testing.assert_allclose(found, np.column_stack([linear, [5, -2]]), atol=1e-12)


def test_turn_is_the_rotation_about_the_optical_axis():
    turned = Rigid3(rotation_from_axis_angle([0, 0, np.radians(30)]), np.zeros(3))
    assert turn_deg(turned, identity()) == pytest.approx(30)
    assert turn_deg(identity(), turned) == pytest.approx(-30)


def test_nearest_views_of_a_view_start_with_itself(reference):
    pose, camera = reference.cam_from_object(7), reference.camera(7)
    views, frame = nearest_views(reference, pose, camera, 4)
    assert views[0] == 7
    assert len(views) <= 4
    np.testing.assert_allclose(frame.image_from_crop, reference.frames[7], rtol=1e-2, atol=0.5)


def test_nearest_crop_follows_an_in_plane_turn(reference):
    camera = reference.camera(7)
    roll = Rigid3(rotation_from_axis_angle([0, 0, np.radians(50)]), np.zeros(3))
    views, frame = nearest_views(reference, compose(roll, reference.cam_from_object(7)), camera, 4)
    assert views[0] == 7
    x, y = frame.image_from_crop[:, 0]
    assert np.degrees(np.arctan2(y, x)) == pytest.approx(50, abs=1)


def test_silhouette_covers_the_object_of_a_reference_view(reference):
    mask = silhouette(reference, reference.cam_from_object(3), reference.camera(3))
    x, y, side = square_around(mask)
    np.testing.assert_allclose([[x, y]], reference.frame(3).to_image([[256, 256]]), atol=8)
    assert side == pytest.approx(reference.frame(3).scale * 512, rel=0.15)


def test_spread_counts_places_not_points(reference):
    pose, camera = reference.cam_from_object(0), reference.camera(0)
    one_place = np.tile([[200.3, 200.3]], (50, 1))
    assert spread(reference, pose, camera, one_place) == 1
    wide = np.stack(np.meshgrid(np.arange(100, 300, 20), [150.0]), -1).reshape(-1, 2)
    assert spread(reference, pose, camera, wide) == 10


@pytest.mark.parametrize(
    ('shift', 'fault'),
    [
        ([0, 0, 0], ''),
        ([0, 0, -1], 'behind the camera'),
        ([0, 0, 9], 'the reference views saw it from'),
        ([0.3, 0, 0], 'outside of the image'),
    ],
)
def test_impossible_poses_are_named(reference, shift, fault):
    pose = reference.cam_from_object(0)
    moved = Rigid3(pose.rotation, pose.translation + shift)
    camera = reference.camera(0)
    assert isinstance(camera, Camera)
    assert transform(pose, reference.center[None])[0, 2] > 0.1
    found = bounds_fault(moved, camera, reference)
    assert fault in found
    assert bool(fault) == bool(found)
