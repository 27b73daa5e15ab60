"""Maps of one piece joined: on its surface and beside it."""

from dataclasses import replace

import numpy as np
import pytest

from helpers.splats import random_gaussians, test_camera, view
from pad_inspection.config import ComparisonConfig
from pad_inspection.geometry import project_object
from pad_inspection.joined_views import PosedMap, ViewJoiner, _upper_half, create_joiner
from pad_inspection.rendering.renderer import SplatScene

NAN = float('nan')
RADIUS = 0.05
SPOT = RADIUS * np.array([np.cos(0.6), np.sin(0.6), 0.0])
CAMERA = test_camera(160, focal=300)
AZIMUTHS = (0.0, 35.0, 70.0, 215.0)
CONFIG = ComparisonConfig(joined_spacing=0.1, joined_share=0.75)


@pytest.fixture(scope='module')
def scene():
    gaussians = random_gaussians(8000, degree=0, radius=RADIUS, size=0.0012)
    # a ball whose far side is hidden
    directions = gaussians.means / np.linalg.norm(gaussians.means, axis=1, keepdims=True)
    gaussians = replace(
        gaussians, means=directions * np.float32(RADIUS), opacities=np.full(8000, 0.95)
    )
    return gaussians, SplatScene(gaussians, device='cpu', threads=1)


@pytest.fixture(scope='module')
def joiner(scene):
    return ViewJoiner(scene[1], scene[0], CONFIG)


def spot_at(pose, point, radius=5.0):
    """bool (160, 160): pixels around a point of the object."""
    x, y = project_object(CAMERA, pose, point[None])[0]
    rows, columns = np.mgrid[:160, :160] + 0.5
    return np.hypot(columns - x, rows - y) < radius


def test_a_defect_that_all_see_stays_and_a_reflection_of_one_view_goes(joiner):
    poses = [view(a, height=0.02) for a in AZIMUTHS]
    maps = [np.full((160, 160), 0.1, np.float32) for _ in poses]
    for index in range(3):  # the last camera looks at the other side
        maps[index][spot_at(poses[index], SPOT)] = 3.0
    glare = spot_at(poses[1], RADIUS * np.array([np.cos(0.6), 0.0, np.sin(0.6)]))
    maps[1][glare] = 3.0
    joined = joiner.join([PosedMap(CAMERA, p, m) for p, m in zip(poses, maps)])
    for index in range(3):
        here = spot_at(poses[index], SPOT, 3.0)
        assert joined[index].dtype == np.float32 and joined[index].shape == (160, 160)
        assert joined[index][here].mean() > 1.2
    assert joined[1][glare].mean() < 0.8 * joined[1][spot_at(poses[1], SPOT, 5.0)].mean()
    # what the object hides does not show
    assert joined[3].max() < 0.5


def test_a_faint_view_is_helped_by_the_others(joiner):
    poses = [view(a, height=0.02) for a in AZIMUTHS[:3]]
    maps = [np.where(spot_at(p, SPOT), 3.0, 0.1).astype(np.float32) for p in poses]
    maps[2][:] = 0.1
    joined = joiner.join([PosedMap(CAMERA, p, m) for p, m in zip(poses, maps)])
    here = spot_at(poses[2], SPOT, 3.0)
    assert joined[2][here].mean() > 3 * maps[2][here].mean()


def test_a_part_that_sticks_out_is_joined_beside_the_silhouette(joiner):
    part = np.array([0.0, 0.0, 1.2 * RADIUS])
    poses = [view(a, height=0.02) for a in AZIMUTHS]
    maps = [np.where(spot_at(p, part), 3.0, 0.1).astype(np.float32) for p in poses]
    maps[0][spot_at(poses[0], np.array([0.0, 1.2 * RADIUS, 0.0]))] = 3.0
    joined = joiner.join([PosedMap(CAMERA, p, m) for p, m in zip(poses, maps)])
    for pose, one in zip(poses, joined):
        assert one[spot_at(pose, part, 3.0)].mean() > 1.5
    alone = spot_at(poses[0], np.array([0.0, 1.2 * RADIUS, 0.0]), 3.0)
    assert joined[0][alone].mean() < 0.6 * joined[0][spot_at(poses[0], part, 3.0)].mean()


def test_what_was_not_compared_stays_unknown(joiner):
    poses = [view(a) for a in AZIMUTHS[:2]]
    maps = [np.full((160, 160), 0.1, np.float32) for _ in poses]
    maps[0][:, :40] = NAN
    joined = joiner.join([PosedMap(CAMERA, p, m) for p, m in zip(poses, maps)])
    assert np.isnan(joined[0][:, :40]).all() and np.isfinite(joined[0][:, 40:]).all()
    assert np.isfinite(joined[1]).all()


def test_one_view_alone_stays_as_it_is(joiner):
    own = np.random.default_rng(0).random((160, 160)).astype(np.float32)
    assert (joiner.join([PosedMap(CAMERA, view(0.0), own)])[0] == own).all()
    assert joiner.join([]) == []


def test_options_may_ask_for_none(scene):
    gaussians, splats = scene
    assert create_joiner(splats, gaussians, ComparisonConfig(joined_share=0.0)) is None
    assert isinstance(create_joiner(splats, gaussians, CONFIG), ViewJoiner)


def test_the_half_of_the_views_that_says_most_is_averaged():
    views = [
        np.array([1.0, 4.0, NAN, NAN]),
        np.array([2.0, NAN, NAN, 3.0]),
        np.array([3.0, 2.0, NAN, NAN]),
        np.array([4.0, NAN, NAN, NAN]),
        np.array([5.0, NAN, NAN, NAN]),
    ]
    np.testing.assert_array_equal(_upper_half(views), [4.0, 3.0, NAN, 3.0])
