import numpy as np
import pytest

from pad_inspection.datatypes import Rigid3
from pad_inspection.geometry import compose, look_at, rotation_angle_deg, rotation_from_axis_angle
from pad_inspection.localization.multi_view import agreeing_poses

CENTER = np.zeros(3)
# three cameras around the middle of the rig, 0.4 m away
RIG = [
    look_at(0.4 * np.array([np.cos(a), np.sin(a), 0.8]), np.zeros(3))
    for a in np.radians([0, 70, 160])
]
RIG_FROM_OBJECT = Rigid3(rotation_from_axis_angle([0.1, 0.5, 2.0]), np.array([0.02, -0.01, 0.03]))
SURE = dict.fromkeys(range(3), 0.9)


def seen(index, turn_deg=0.0):
    """The pose that a view gives, turned about the object's z axis when it is wrong."""
    turn = Rigid3(rotation_from_axis_angle([0, 0, np.radians(turn_deg)]), np.zeros(3))
    return compose(compose(RIG[index], RIG_FROM_OBJECT), turn)


def test_one_view_tells_where_the_others_see_the_object():
    (group,) = agreeing_poses({1: seen(1)}, RIG, CENTER, SURE)
    assert group.views == (1,)
    for index, cam_from_rig in enumerate(RIG):
        found, wanted = group.cam_from_object(cam_from_rig), seen(index)
        np.testing.assert_allclose(found.rotation, wanted.rotation, atol=1e-9)
        np.testing.assert_allclose(found.translation, wanted.translation, atol=1e-9)


def test_views_that_agree_form_one_group_led_by_the_most_confident():
    poses = {0: seen(0), 1: seen(1, 2.0), 2: seen(2, 1.0)}
    (group,) = agreeing_poses(poses, RIG, CENTER, {0: 0.7, 1: 0.95, 2: 0.8})
    assert group.views == (0, 1, 2)
    assert rotation_angle_deg(group.cam_from_object(RIG[1]), seen(1, 2.0)) < 1e-6


@pytest.mark.parametrize('flipped', [0, 1, 2])
def test_a_flipped_view_is_outvoted_however_sure_it_is(flipped):
    poses = {i: seen(i, 180.0 if i == flipped else 0.0) for i in range(3)}
    groups = agreeing_poses(poses, RIG, CENTER, {**SURE, flipped: 1.0})
    assert groups[0].views == tuple(i for i in range(3) if i != flipped)
    assert groups[1].views == (flipped,)


def test_two_views_that_contradict_each_other_stay_apart():
    groups = agreeing_poses({0: seen(0), 2: seen(2, 90.0)}, RIG, CENTER, {0: 0.6, 2: 0.8})
    assert [group.views for group in groups] == [(2,), (0,)]


def test_a_shifted_view_does_not_agree():
    moved = Rigid3(seen(1).rotation, seen(1).translation + [0.05, 0, 0])
    groups = agreeing_poses({0: seen(0), 1: moved, 2: seen(2)}, RIG, CENTER, SURE)
    assert groups[0].views == (0, 2)


def test_nothing_localised_gives_no_pose():
    assert agreeing_poses({}, RIG, CENTER, {}) == []
