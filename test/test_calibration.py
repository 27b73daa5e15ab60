import json
from dataclasses import replace

import numpy as np
import pytest

from helpers.bundle_variants import copy_of, with_calibration, with_right_checksums
from pad_inspection.bundle import BundleError, open_bundle
from pad_inspection.bundle_config import calibrated_config
from pad_inspection.calibration import Calibration
from pad_inspection.calibration_checks import check_visible_places, threshold_rank
from pad_inspection.localization.reference import ReferenceModel
from pad_inspection.offline.metrics import normal_threshold
from pad_inspection.rendering.gaussians import read_ply
from pad_inspection.rendering.renderer import SplatScene
from pad_inspection.surface import create_places, visible_places

CALIBRATION = Calibration(
    image_threshold=1.2,
    pixel_threshold=1.5,
    object_threshold=1.05,
    num_normals=3,
    normal_scores=(0.5, 1.0, 1.2),
    sources={'synthetic': 3},
    expected_residual=np.array([0.25, 0.5], np.float32),
    score_max=1.8,
    surface_threshold=0.5,
    min_agreement=0.5,
    sure_agreement=0.65,
    joined_pixel_threshold=0.7,
    joined_image_threshold=0.9,
    level_statistics={'names': ['color'], 'mean': [0.1], 'std': [0.2]},
)


def load(folder):
    npz = folder / 'calibration.npz'
    return Calibration.load(folder / 'calibration.json', npz if npz.exists() else None)


def edit(folder, **values):
    """A calibration with values that nobody checked."""
    CALIBRATION.save(folder)
    path = folder / 'calibration.json'
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def test_round_trip(tmp_path):
    CALIBRATION.save(tmp_path)
    loaded = load(tmp_path)
    assert replace(loaded, expected_residual=None) == replace(CALIBRATION, expected_residual=None)
    np.testing.assert_array_equal(loaded.expected_residual, [0.25, 0.5])


def test_no_threshold_holds_for_other_options():
    other = replace(CALIBRATION, visible_places=9).without_thresholds(keep_statistics=True)
    assert other.visible_places == 0
    assert np.isnan([other.image_threshold, other.pixel_threshold]).all()
    assert other.surface_threshold == other.joined_pixel_threshold == 0
    assert other.joined_image_threshold == 0
    assert other.level_statistics == CALIBRATION.level_statistics
    assert other.normal_scores == CALIBRATION.normal_scores
    assert CALIBRATION.without_thresholds(keep_statistics=False).level_statistics is None


def test_a_calibration_of_before_it_was_learnt_has_the_old_limit_on_sharpness(tmp_path):
    replace(CALIBRATION, min_sharpness=0.66).save(tmp_path)
    assert load(tmp_path).min_sharpness == 0.66
    path = tmp_path / 'calibration.json'
    values = json.loads(path.read_text())
    del values['min_sharpness']
    path.write_text(json.dumps(values))
    assert load(tmp_path).min_sharpness == 0.6


def test_without_residuals_there_is_one_file(tmp_path):
    replace(CALIBRATION, expected_residual=None).save(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ['calibration.json']
    assert load(tmp_path).expected_residual is None


def test_what_could_not_be_loaded_is_not_saved(tmp_path):
    with pytest.raises(ValueError, match='image_threshold'):
        replace(CALIBRATION, image_threshold=float('nan')).save(tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    'value', [0, -1, float('nan'), float('inf'), None, '3', True, [1], 10**400]
)
@pytest.mark.parametrize(
    'name', ['image_threshold', 'pixel_threshold', 'object_threshold', 'min_sharpness']
)
def test_a_threshold_that_is_no_number_above_0_is_named(tmp_path, name, value):
    edit(tmp_path, **{name: value})
    with pytest.raises(ValueError, match=name):
        load(tmp_path)


@pytest.mark.parametrize(
    ('name', 'values'),
    {
        'surface_threshold': [-1, float('nan'), 1e9, 1.9],
        'joined_image_threshold': [-1, float('nan'), 1e9],
        'joined_pixel_threshold': [-1, float('nan'), 1e9],
        'pixel_threshold': [1e9, 1.9],
        'image_threshold': [1e9, 1.3, 1.1],
        'object_threshold': [1e9, 3.0],
        'score_max': [1e9, float('nan')],
        'visible_places': [-1, 1.5, True],
        'min_inliers': ['x', -1, 1.5, True],
        'min_agreement': [float('nan'), -2, 1.01, 0.4, 0.7],
        'sure_agreement': [float('nan'), -1.1, 2],
        'min_silhouette_iou': [float('nan'), -0.1, 1.1],
        'min_sharpness': [1e-9, 0.49, 1.1],
        'num_normals': [2, 4, 3.0],
        'wanted_false_reject_rate': [0, 0.9, float('nan')],
        'false_reject_bound': [-1, 2],
        'normal_scores': [
            ['a', 'b', 'c'],
            [1.2, 1.0, 0.5],
            [0.5, 1.2],
            [-1, 1, 1.2],
            [1, None, 2],
        ],
        'sources': [[], {'a': 'b'}, {'a': -1}, {'a': True}],
        'level_statistics': [
            None,
            {'x': 1},
            [],
            {'names': ['a'], 'mean': [0.1], 'std': [float('nan')]},
            {'names': ['a'], 'mean': [-0.1], 'std': [0.1]},
            {'names': ['a'], 'mean': [0.1, 0.2], 'std': [0.1]},
            {'names': ['a', 'a'], 'mean': [0.1, 0.2], 'std': [0.1, 0.1]},
            {'names': [], 'mean': [], 'std': []},
            {'names': 'a', 'mean': 'b', 'std': 'c'},
            {'names': ['a'], 'mean': [True], 'std': [0.1]},
        ],
        'evil': [1],
        'expected_residual': [[0.1, 0.2]],
    }.items(),
)
def test_what_no_calibration_gives_is_refused(tmp_path, name, values):
    for value in values:
        edit(tmp_path, **{name: value})
        with pytest.raises(ValueError, match=name) as caught:
            load(tmp_path)
        assert '\n' not in str(caught.value) and len(str(caught.value)) < 400


@pytest.mark.parametrize('value', [float('nan'), float('inf'), -0.5, 100.0])
def test_residuals_that_would_hide_defects_are_refused(tmp_path, value):
    CALIBRATION.save(tmp_path)
    np.savez(tmp_path / 'calibration.npz', expected_residual=np.array([0.5, value], np.float32))
    with pytest.raises(ValueError, match='expected_residual'):
        load(tmp_path)


@pytest.mark.parametrize('array', [np.zeros((2, 2)), np.zeros(2, int), np.array(['a'])])
def test_residuals_of_another_kind_are_refused(tmp_path, array):
    CALIBRATION.save(tmp_path)
    np.savez(tmp_path / 'calibration.npz', expected_residual=array)
    with pytest.raises(ValueError, match=r'calibration\.npz is not a calibration'):
        load(tmp_path)


@pytest.mark.parametrize(
    'content', ['', '[]', '{"image_threshold": 1}', '{"threshold": 1}', '[' * 100_000, 'null']
)
def test_damaged_files_are_refused(tmp_path, content):
    (tmp_path / 'calibration.json').write_text(content)
    with pytest.raises(ValueError, match=r'calibration\.json'):
        load(tmp_path)


def test_the_threshold_lies_right_above_the_score_of_a_rank():
    # 19 of 20 scores are below a threshold that rejects 1 of 20 good views
    assert threshold_rank(19, 0.05) == 19
    assert threshold_rank(39, 0.05) == 38
    assert threshold_rank(3, 0.05) == 3


class TestOfBundle:
    """A calibration is checked with the bundle that it is of."""

    def load(self, path):
        bundle = open_bundle(path)
        return Calibration.of_bundle(bundle, calibrated_config(bundle))

    def test_that_of_the_demo_holds(self, demo_bundle):
        assert self.load(demo_bundle).num_normals > 40

    def test_only_listed_files_are_read(self, demo_bundle, tmp_path):
        path = copy_of(demo_bundle, tmp_path / 'b')
        manifest = json.loads((path / 'manifest.json').read_text())
        del manifest['files']['calibration.npz']
        (path / 'manifest.json').write_text(json.dumps(manifest))
        np.savez(path / 'calibration.npz', expected_residual=np.full(22000, 1e4, np.float32))
        assert self.load(path).expected_residual is None
        with pytest.raises(BundleError, match='expected_residual'):
            self.load(with_right_checksums(path, 'calibration.npz'))

    @pytest.mark.parametrize(
        'values',
        [
            {'image_threshold': 1e9},
            {'object_threshold': 1e9},
            {'surface_threshold': 1e9},
            {'sure_agreement': -1.0, 'min_agreement': -1.0},
            {'min_agreement': -1.0},
            {'min_inliers': 0},
        ],
    )
    def test_a_stranger_cannot_let_all_pass(self, demo_bundle, tmp_path, values):
        path = with_calibration(copy_of(demo_bundle, tmp_path / 'b'), **values)
        with pytest.raises(BundleError, match=next(iter(values))):
            self.load(path)

    def test_another_rate_with_the_threshold_of_it_is_refused(self, demo_bundle, tmp_path):
        scores = self.load(demo_bundle).normal_scores
        wider = {
            'wanted_false_reject_rate': 0.01,
            'image_threshold': float(normal_threshold(np.array(scores), 0.01).threshold),
        }
        path = with_calibration(copy_of(demo_bundle, tmp_path / 'b'), **wider)
        with pytest.raises(BundleError, match='wanted_false_reject_rate'):
            self.load(path)

    def test_statistics_of_distances_that_cannot_be_are_refused(self, demo_bundle, tmp_path):
        path = copy_of(demo_bundle, tmp_path / 'b')
        statistics = json.loads((path / 'calibration.json').read_text())['level_statistics']
        statistics['std'] = [1e9] * len(statistics['std'])
        with pytest.raises(BundleError, match='level_statistics of features_2'):
            self.load(with_calibration(path, level_statistics=statistics))


@pytest.fixture(scope='module')
def demo_model(demo_bundle):
    """Places, scene and views of the model of the demo."""
    gaussians = read_ply(demo_bundle / 'gaussians.ply')
    views = ReferenceModel.load(demo_bundle / 'features.npz').views
    return create_places(gaussians, 0.05), SplatScene(gaussians, 'cpu'), views


def showing(number):
    return replace(CALIBRATION, visible_places=number)


@pytest.mark.parametrize('number', [0.3, 0.8, 1.01])
def test_a_piece_cannot_be_said_to_show_less_surface_than_it_has(demo_model, number):
    """Else any view would make up for those that nobody could judge."""
    number = round(number * len(demo_model[0]))
    with pytest.raises(ValueError, match=f'visible_places is {number}, wanted'):
        check_visible_places(showing(number), *demo_model)


def test_visible_places_as_they_are_hold(demo_model):
    places, scene, views = demo_model
    seen = visible_places(places, scene, views)
    for number in (0, seen, len(places)):
        check_visible_places(showing(number), *demo_model)
    check_visible_places(showing(7), None, scene, views)
