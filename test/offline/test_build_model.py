import numpy as np
import pytest

from helpers.small_map import DEMO, small_map
from pad_inspection import images
from pad_inspection.config import LocalizationConfig, MappingConfig, from_dict
from pad_inspection.dataset import TrainingView, read_training_views
from pad_inspection.datatypes import Camera, Rigid3
from pad_inspection.geometry import (
    compose,
    invert,
    look_at,
    project_object,
    rotation_from_axis_angle,
)
from pad_inspection.localization.reference import NO_POINT
from pad_inspection.offline.build_model import (
    ModelTooPoorError,
    epipolar_distance,
    map_views,
    neighbor_pairs,
)

CAMERA = Camera(400, 400, np.array([[700.0, 0, 200], [0, 700, 200], [0, 0, 1]]))


def circle_of_views(count):
    """Poses around the z axis, 360 / count degrees apart."""
    angles = np.arange(count) * 2 * np.pi / count
    return [look_at(np.array([np.cos(a), np.sin(a), 0.0]), np.zeros(3)) for a in angles]


def test_neighbors_are_the_nearest_within_the_angle():
    poses = circle_of_views(12)  # 30 degrees apart
    assert len(neighbor_pairs(poses, 2, 45)) == 12
    assert neighbor_pairs(poses, 2, 45)[0] == (0, 1)
    assert len(neighbor_pairs(poses, 4, 45)) == 12
    assert len(neighbor_pairs(poses, 4, 65)) == 24
    assert neighbor_pairs(poses, 4, 20) == []


def test_epipolar_distance_is_zero_for_a_seen_point_and_grows_across_the_line():
    first, second = circle_of_views(12)[:2]
    relative = compose(second, invert(first))
    points = np.random.default_rng(0).uniform(-0.05, 0.05, (20, 3))
    pixels0 = project_object(CAMERA, first, points)
    pixels1 = project_object(CAMERA, second, points)
    np.testing.assert_allclose(
        epipolar_distance(CAMERA, CAMERA, relative, pixels0, pixels1), 0, atol=1e-9
    )
    # both cameras are level: epipolar lines are nearly rows, so 3 px down is about 3 px off
    moved = epipolar_distance(CAMERA, CAMERA, relative, pixels0, pixels1 + [0, 3])
    np.testing.assert_allclose(moved, 3, rtol=0.1)


def test_a_map_of_real_views_is_accurate():
    result, work_dir = small_map()
    report = result.report
    assert report['num_points'] == len(result.points) == result.reference.num_points3d > 3000
    assert report['mean_track_length'] > 2.2
    assert report['mean_reprojection_error_px'] < 1.5
    assert report['views'] == 40
    assert report['weak_views'] == []
    # the object is about 11 x 4 x 5 cm
    extent = np.ptp(result.points, axis=0)
    assert (extent < 0.13).all() and extent.max() > 0.09
    for name in ('cameras.bin', 'images.bin', 'points3D.bin'):
        assert (work_dir / 'sfm' / name).is_file()


def test_points_project_onto_their_keypoints_and_inside_the_object():
    reference = small_map()[0].reference
    views = read_training_views(DEMO)[::2]
    for row in (0, 13, 27):
        ids = reference.points_of(row)
        seen = ids != NO_POINT
        points = reference.points[ids[seen]]
        pixels = project_object(reference.camera(row), reference.cam_from_object(row), points)
        keypoints = reference.frame(row).to_image(reference.local_features(row).keypoints[seen])
        error = np.linalg.norm(pixels - keypoints, axis=1)
        assert error.max() < 4.5
        assert np.median(error) < 1.2
        alpha = views[row].load()[1]
        x, y = np.clip(pixels.astype(int), 0, 399).T
        near = images.dilate(alpha > 0.5, 4)
        assert near[y, x].mean() > 0.99


def test_colors_are_those_of_the_pictures():
    result, _ = small_map()
    assert result.colors.shape == result.points.shape
    assert result.colors.dtype == np.float32
    assert result.colors.min() >= 0 and result.colors.max() <= 1
    # a dark red car: red leads, nothing is white paper
    red, green, blue = result.colors.mean(axis=0)
    assert red > green + 0.03 and red > blue + 0.03
    assert (result.colors.min(axis=1) > 0.95).mean() < 0.01


def test_mapping_repeats_and_tells_its_progress(tmp_path):
    views = read_training_views(DEMO)[:8]
    config = from_dict(MappingConfig, {'min_points': 1, 'min_mean_track': 1.0})
    seen = []
    first = map_views(
        views, config, LocalizationConfig(), tmp_path / 'a', lambda f, text: seen.append((f, text))
    )
    second = map_views(views, config, LocalizationConfig(), tmp_path / 'b')
    np.testing.assert_array_equal(first.points, second.points)
    np.testing.assert_array_equal(first.colors, second.colors)
    fractions = [fraction for fraction, _ in seen]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0
    assert all(text for _, text in seen)


def test_too_few_views_are_refused(tmp_path):
    views = read_training_views(DEMO)[:2]
    with pytest.raises(ModelTooPoorError, match='2 views, wanted at least 3'):
        map_views(views, MappingConfig(), LocalizationConfig(), tmp_path)


def test_a_missing_matcher_is_told_before_the_work(tmp_path):
    views = read_training_views(DEMO)[:8]
    options = LocalizationConfig(matcher='lightglue', matcher_weights=str(tmp_path / 'no.pth'))
    with pytest.raises(FileNotFoundError, match=r'no\.pth .*does not exist'):
        map_views(views, MappingConfig(), options, tmp_path)


def test_views_that_are_too_far_apart_are_refused(tmp_path):
    views = read_training_views(DEMO)[:6]
    config = from_dict(MappingConfig, {'max_view_angle_deg': 1.0})
    with pytest.raises(ModelTooPoorError, match='no two views are within 1 degrees'):
        map_views(views, config, LocalizationConfig(), tmp_path)


def test_poses_of_other_pictures_are_refused_with_a_reason(tmp_path):
    views = read_training_views(DEMO)[:10]
    turn = Rigid3(rotation_from_axis_angle([0, 0, 1.0]), np.zeros(3))
    wrong = [
        TrainingView(v.name, v.path, v.camera, compose(turn, v.cam_from_object) if i % 2 else
                     v.cam_from_object)
        for i, v in enumerate(views)
    ]  # fmt: skip
    with pytest.raises(ModelTooPoorError, match=r'3D points, wanted 300 .*poses belong to the'):
        map_views(wrong, MappingConfig(), LocalizationConfig(), tmp_path)


def test_an_empty_picture_is_named(tmp_path):
    views = read_training_views(DEMO)[:4]
    images.write(tmp_path / 'white.png', np.full((400, 400, 3), 255, np.uint8))
    views[2] = TrainingView(
        'blank', tmp_path / 'white.png', views[2].camera, views[2].cam_from_object
    )
    with pytest.raises(ModelTooPoorError, match=r'view blank .*nothing but background'):
        map_views(views, MappingConfig(), LocalizationConfig(), tmp_path)


def test_two_views_of_one_name_are_refused(tmp_path):
    views = read_training_views(DEMO)[:3]
    with pytest.raises(ValueError, match='same name'):
        map_views([*views, views[0]], MappingConfig(), LocalizationConfig(), tmp_path)
