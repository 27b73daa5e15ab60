"""Cameras of photographs without any: pairs, scale, marker board, and the command."""

import json

import cv2
import numpy as np
import pytest

from helpers.small_map import DEMO
from pad_inspection import cli, images
from pad_inspection.config import LocalizationConfig
from pad_inspection.dataset import read_training_views
from pad_inspection.datatypes import Camera, Rigid3
from pad_inspection.geometry import (
    camera_center,
    identity,
    look_at,
    project_object,
    rotation_angle_deg,
)
from pad_inspection.offline.build_model import ModelTooPoorError
from pad_inspection.offline.photographs.estimate import (
    _check,
    _judge,
    estimate_cameras,
    seen_directions,
)
from pad_inspection.offline.photographs.marker_board import MarkerBoard, cameras_from_board
from pad_inspection.offline.photographs.options import PhotographsConfig
from pad_inspection.offline.photographs.pairs import (
    best_of_each,
    candidate_pairs,
    likeness,
    make_thumbnail,
)
from pad_inspection.offline.photographs.scale import (
    KnownScale,
    PickedPoint,
    longest_extent,
    metres_per_unit,
)

CAMERA = Camera(640, 480, np.array([[800.0, 0, 325], [0, 800, 236], [0, 0, 1]]))
BOARD = MarkerBoard(7, 5, 0.03, 0.022)


def board_views(count=9):
    """Cameras around the middle of the board, which faces them."""
    middle = np.array([0.105, 0.075, 0.0])
    angles = np.linspace(0, 2 * np.pi, count, endpoint=False)
    # from steep and from flat: views of one slant leave the focal length open
    slants = np.radians(np.linspace(15, 55, count))
    return [
        look_at(middle + 0.3 * np.array([np.cos(a) * q, np.sin(a) * q, -np.cos(s)]), middle)
        for a, s, q in zip(angles, slants, np.sin(slants))
    ]


def board_photo(pose):
    """Picture of the board: a homography of its print, as a pinhole sees a plane."""
    px_per_m = 8000
    sheet = BOARD.draw(px_per_m)
    # board px -> m -> camera; OpenCV puts the first pixel centre at (0, 0)
    to_m = np.array(
        [[1 / px_per_m, 0, 0.5 / px_per_m], [0, 1 / px_per_m, 0.5 / px_per_m], [0, 0, 1]]
    )
    K = CAMERA.K - [[0, 0, 0.5], [0, 0, 0.5], [0, 0, 0]]
    plane = np.column_stack([pose.rotation[:, 0], pose.rotation[:, 1], pose.translation])
    return cv2.warpPerspective(
        sheet, K @ plane @ to_m, (640, 480), flags=cv2.INTER_LINEAR, borderValue=(120, 130, 125)
    )


@pytest.fixture(scope='module')
def board_photos(tmp_path_factory):
    """Photographs of the board with a red block cut out by alpha, one without the board."""
    folder = tmp_path_factory.mktemp('photos')
    for number, pose in enumerate(board_views()):
        picture = board_photo(pose)
        alpha = np.zeros((480, 640), np.uint8)
        x, y = project_object(CAMERA, pose, np.array([[0.105, 0.075, 0.0]]))[0].astype(int)
        cv2.circle(alpha, (int(x), int(y)), 25, 255, -1)
        images.write(folder / f'{number:02}.png', np.dstack([picture, alpha]))
    images.write(folder / 'z.png', np.full((480, 640, 4), 128, np.uint8))
    return folder


@pytest.mark.parametrize('calibrated', [True, False])
def test_a_marker_board_gives_cameras_in_metres(board_photos, calibrated):
    paths = sorted(board_photos.glob('*.png'))
    found = cameras_from_board(paths, BOARD, CAMERA if calibrated else None)
    assert list(found.failed) == ['z']
    assert '0 corners' in found.failed['z']
    np.testing.assert_allclose(found.camera.K[0, 0], 800, rtol=1e-9 if calibrated else 0.02)
    for number, truth in enumerate(board_views()):
        pose = found.poses[f'{number:02}']
        assert rotation_angle_deg(pose, truth) < (0.3 if calibrated else 1.5)
        shift = np.linalg.norm(camera_center(pose) - camera_center(truth))
        assert shift < (0.002 if calibrated else 0.01)


def test_the_command_writes_a_data_set(board_photos, tmp_path, capsys):
    out = tmp_path / 'product'
    arguments = [str(board_photos), '--board', '7x5:0.03:0.022', '--out', str(out)]
    assert cli.main(['dataset', 'cameras', *arguments]) == 0
    assert '9 of 10 photographs' in capsys.readouterr().out
    report = json.loads((out / 'cameras.json').read_text())
    assert report['intrinsics'] == 'calibrated'
    assert report['mean_reprojection_error_px'] < 0.5
    views = read_training_views(out)
    assert len(views) == 9
    for view, truth in zip(views, board_views()):
        assert rotation_angle_deg(view.cam_from_object, truth) < 1.5
        assert 0 < (view.load()[1] > 0.5).mean() < 0.02
    assert cli.main(['dataset', 'cameras', *arguments]) == 2
    assert 'holds a data set already' in capsys.readouterr().err


@pytest.mark.parametrize(
    ('arguments', 'said'),
    [
        ([], 'wanted exactly one'),
        (['--object-length', '0.1', '--camera-spacing', '00', '01', '0.1'], 'wanted exactly one'),
        (['--object-length', '-1'], 'wanted more than 0 m'),
        (['--camera-spacing', '00', '01', 'far'], 'wants metres'),
        (['--camera-spacing', '00', '00.png', '0.1'], 'no photographs'),
        (['--board', '7x5'], 'wanted COLUMNSxROWS'),
        (['--board', '7x5:0.03:0.022', '--object-length', '0.1'], 'name no other length'),
        (['--board', '9x9:0.03:0.022:DICT_4X4_50'], 'is seen in 0 of 10 photographs'),
    ],
)
def test_bad_arguments_are_explained(board_photos, tmp_path, capsys, arguments, said):
    code = cli.main(['dataset', 'cameras', str(board_photos), '--out', str(tmp_path), *arguments])
    assert code == 2
    assert said in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_photographs_that_do_not_go_together_are_refused(board_photos, tmp_path, capsys):
    images.write(tmp_path / 'a.png', np.full((40, 60, 3), 90, np.uint8))
    run = ['dataset', 'cameras', str(tmp_path), '--object-length', '0.1', '--out']
    assert cli.main([*run, str(tmp_path / 'out')]) == 2
    assert 'neither white nor transparent' in capsys.readouterr().err
    images.write(tmp_path / 'b.png', np.full((60, 40, 3), 90, np.uint8))
    assert cli.main([*run, str(tmp_path / 'out')]) == 2
    assert 'different sizes' in capsys.readouterr().err
    images.write(tmp_path / 'b.jpg', np.full((60, 40, 3), 90, np.uint8))
    assert cli.main([*run, str(tmp_path / 'out')]) == 2
    assert 'several photographs named' in capsys.readouterr().err
    assert not (tmp_path / 'out').exists()


def test_a_board_to_print(tmp_path, capsys):
    out = tmp_path / 'board.png'
    assert cli.main(['dataset', 'board', '7x5:0.03:0.022', '--out', str(out)]) == 0
    assert '210 x 150 mm' in capsys.readouterr().out
    assert len(BOARD.detect(images.read_rgb(out))[0]) == 24


def test_lengths_set_the_scale():
    # a model in units of 1/10 m of a stick from (0, 0, 0) to (0, 0, 0.2) m
    camera = CAMERA
    poses = {
        'a': look_at(np.array([3.0, 0, 1]), np.array([0, 0, 1.0])),
        'b': look_at(np.array([0, 3.0, 1]), np.array([0, 0, 1.0])),
    }
    ends = np.array([[0, 0, 0.0], [0, 0, 2.0]])
    points = np.linspace(*ends, 2001) + np.random.default_rng(0).normal(0, 0.01, (2001, 3))
    spacing = KnownScale(camera_spacing=('a', 'b', 0.3 * np.sqrt(2)))
    assert metres_per_unit(spacing, camera, poses, points, points) == pytest.approx(0.1)
    assert longest_extent(points) == pytest.approx(2, abs=0.03)
    length = KnownScale(object_length_m=0.2)
    assert metres_per_unit(length, camera, poses, points, points) == pytest.approx(0.1, rel=0.02)
    marks = [
        PickedPoint({n: project_object(camera, p, end[None])[0] for n, p in poses.items()})
        for end in ends
    ]
    marked = KnownScale(point_distance=(*marks, 0.2))
    assert metres_per_unit(marked, camera, poses, points, points) == pytest.approx(0.1)
    marks[1].pixels['b'][0] += 60
    with pytest.raises(ValueError, match='do not meet'):
        metres_per_unit(marked, camera, poses, points, points)
    with pytest.raises(ValueError, match='has no camera'):
        unknown = KnownScale(camera_spacing=('a', 'c', 0.1))
        metres_per_unit(unknown, camera, poses, points, points)


def test_ordered_photographs_are_paired_with_the_next_ones():
    assert candidate_pairs(4, 0) == [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)]
    assert candidate_pairs(4, 2) == [(0, 1), (0, 2), (1, 2), (1, 3), (2, 3)]
    scores = {(0, 1): 0.9, (0, 2): 0.8, (1, 2): 0.7, (2, 3): 0.1}
    # 0 and 1 choose each other, 2 chooses 0, 3 has only 2
    assert best_of_each(scores, 4, 1) == [(0, 1), (0, 2), (2, 3)]


def test_likeness_tells_the_same_side_from_another():
    views = read_training_views(DEMO)
    first, other = (make_thumbnail(*views[i].load()) for i in (0, 60))
    corners = np.array([[100.0, 100], [300, 110], [200, 290], [120, 250]])
    same = likeness(first, first, corners, corners)
    assert same.correlation > 0.99 and same.overlap > 0.99
    assert likeness(first, other, corners, corners).score < 0.5 * same.score
    assert likeness(first, other, corners[:2], corners[:2]).score == 0


def half_of_the_views():
    """Demo views from the directions around one side, without their poses, and the true ones."""
    views = read_training_views(DEMO)
    rays = np.stack([camera_center(view.cam_from_object) for view in views])
    rays /= np.linalg.norm(rays, axis=1, keepdims=True)
    near = [view for view, ray in zip(views, rays) if ray @ rays[30] > np.cos(np.radians(48))]
    withheld = [type(v)(v.name, v.path, v.camera, identity()) for v in near]
    return withheld, {view.name: view.cam_from_object for view in near}


@pytest.mark.slow
def test_cameras_of_real_pictures_are_found(tmp_path):
    views, truth = half_of_the_views()
    first, second = views[0].name, views[-1].name
    spacing = np.linalg.norm(camera_center(truth[first]) - camera_center(truth[second]))
    found = estimate_cameras(
        views,
        KnownScale(camera_spacing=(first, second, float(spacing))),
        PhotographsConfig(min_photos=8),
        LocalizationConfig(features='aliked'),
        tmp_path,
        fixed_intrinsics=True,
    )
    report = found.report
    assert report['registered'] == len(found.poses) >= 11
    assert report['num_points'] > 500 and report['mean_track_length'] > 2.5
    assert report['mean_reprojection_error_px'] < 1.6
    assert report['covered']['least'] > 0.97
    # turns between views do not depend on the choice of the object frame
    base = views[0].name
    for name, pose in found.poses.items():
        ours = Rigid3(pose.rotation @ found.poses[base].rotation.T, np.zeros(3))
        theirs = Rigid3(truth[name].rotation @ truth[base].rotation.T, np.zeros(3))
        assert rotation_angle_deg(ours, theirs) < 6
    distances = [np.linalg.norm(camera_center(pose)) for pose in found.poses.values()]
    assert np.median(distances) == pytest.approx(0.235, rel=0.15)


class Model:
    """What _judge and _check look at, from true cameras or from wrong ones."""

    camera = None
    errors_px = np.ones(1)

    def __init__(self, camera, poses):
        self.camera, self.poses = camera, poses


@pytest.mark.parametrize('folded', [False, True])
def test_silhouettes_find_out_when_the_back_was_taken_for_the_front(folded):
    views = read_training_views(DEMO)[::2]
    masks = [view.load()[1] > 0.5 for view in views]
    poses = {i: view.cam_from_object for i, view in enumerate(views)}
    if folded:
        half_turn = np.diag([-1.0, -1.0, 1.0])
        for i, pose in poses.items():
            if camera_center(pose)[0] < 0:
                poses[i] = Rigid3(pose.rotation @ half_turn, pose.translation)
    config = PhotographsConfig()
    model = Model(views[0].camera, poses)
    judged = _judge(model, masks, config)
    if not folded:
        assert judged.faults == {} and min(judged.covered.values()) > 0.99
        _check(model, judged, views, {}, config)
        return
    with pytest.raises(ModelTooPoorError, match='silhouettes'):
        _check(model, judged, views, {}, config)


def test_seen_directions():
    axes = [look_at(0.3 * np.array(d, float), np.zeros(3)) for d in ([1, 0, 0], [-1, 0, 0])]
    # a cap of 30 degrees holds (1 - cos 30) / 2 of the sphere
    assert seen_directions(axes[:1]) == pytest.approx(0.067, abs=0.003)
    assert seen_directions(axes) == pytest.approx(0.134, abs=0.006)
