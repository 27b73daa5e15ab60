"""Points around a model: where they are in a picture, and what views agree on."""

import numpy as np
import pytest

from helpers.splats import test_camera, view
from pad_inspection.free_space import FreeSpace, agreement
from pad_inspection.geometry import project_object

NAN = float('nan')
RADIUS = 0.05
BOX = np.array([[-RADIUS] * 3, [RADIUS] * 3])
CAMERA = test_camera(160, focal=300)
NOTHING = np.zeros((160, 160), bool), np.full((160, 160), NAN, np.float32)


def test_the_grid_reaches_beyond_the_box():
    space = FreeSpace(BOX, RADIUS, 0.1)
    assert (space.points.min(axis=0) < BOX[0]).all() and (space.points.max(axis=0) > BOX[1]).all()
    assert len(space) == len(np.unique(space.points, axis=0))
    steps = np.diff(np.unique(space.points[:, 0]))
    assert np.allclose(steps, 0.1 * RADIUS)


def test_points_are_where_the_camera_sees_them():
    space, pose = FreeSpace(BOX, RADIUS, 0.2), view(30.0)
    where = space.in_view(CAMERA, pose, *NOTHING)
    pixels = project_object(CAMERA, pose, space.points)
    inside = ((pixels >= 0) & (pixels < 160)).all(axis=1)
    assert (where.seen == inside).all() and (where.beside == inside).all()
    rows = np.arange(160.0)[:, None] * np.ones(160)
    expected = np.floor(pixels[inside, 1])
    assert np.allclose(space.evidence(where, rows)[inside], expected, atol=1.5)  # blurred
    assert np.isnan(space.evidence(where, rows)[~inside]).all()


def test_points_behind_the_object_and_behind_the_camera_are_not_seen():
    space, pose = FreeSpace(BOX, RADIUS, 0.2), view(0.0, height=0.0)
    distance = np.linalg.norm(pose.translation)
    wall = np.ones((160, 160), bool), np.full((160, 160), distance, np.float32)
    where = space.in_view(CAMERA, pose, *wall)
    depth = (space.points @ pose.rotation.T + pose.translation)[:, 2]
    assert not where.seen[depth > distance + 0.1 * RADIUS].any()
    assert where.seen[depth < distance].any() and not where.beside.any()
    turned = FreeSpace(BOX + 10.0, RADIUS, 0.2).in_view(CAMERA, pose, *NOTHING)
    assert not turned.seen.any()


def test_a_part_beside_the_object_is_where_all_views_see_it():
    space = FreeSpace(BOX, RADIUS, 0.1)
    part = np.array([0.0, 0.0, 1.1 * RADIUS])
    poses = [view(azimuth, height=0.1) for azimuth in (0.0, 50.0, 110.0, 200.0)]
    rows, columns = np.mgrid[:160, :160] + 0.5
    places, said = [], []
    for number, pose in enumerate(poses):
        x, y = project_object(CAMERA, pose, part[None])[0]
        scores = np.where(np.hypot(columns - x, rows - y) < 8, 4.0, 0.0)
        # a seam of the belt that only this view has
        scores[:, 10 + 30 * number : 16 + 30 * number] = 4.0
        places.append(space.in_view(CAMERA, pose, *NOTHING))
        said.append(space.evidence(places[-1], scores.astype(np.float32)))
    joined = agreement(said)
    best = space.points[joined.argmax()]
    assert np.linalg.norm(best - part) < 0.2 * RADIUS and joined.max() > 3
    for place, pose in zip(places, poses):
        picture = space.beside(place, joined)
        x, y = np.floor(project_object(CAMERA, pose, part[None])[0]).astype(int)
        assert picture.shape == (160, 160) and picture[y, x] > 2
        assert picture[y, x] == pytest.approx(picture.max(), rel=0.4)
        assert np.median(picture) < 0.5


def test_views_agree_by_their_geometric_mean():
    views = [np.array([4.0, NAN, 4.0, NAN]), np.array([0.0, 4.0, 4.0, NAN]),
             np.array([4.0, NAN, NAN, NAN])]  # fmt: skip
    joined = agreement(views)
    assert joined.dtype == np.float32
    assert 0 < joined[0] < 4 / 3  # one view that sees nothing there counts more than in the mean
    assert joined[1] == 0  # one view alone is not confirmed
    assert joined[2] == pytest.approx(4.0)
    assert joined[3] == 0
