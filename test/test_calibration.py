import json
from dataclasses import replace

import numpy as np
import pytest

from pad_inspection.calibration import Calibration

CALIBRATION = Calibration(
    image_threshold=2.0,
    pixel_threshold=1.5,
    num_normals=3,
    normal_scores=(0.5, 1.0, 1.2),
    sources={'synthetic': 3},
    expected_residual=np.array([0.25, 0.5], np.float32),
    surface_threshold=0.5,
    joined_pixel_threshold=0.7,
    joined_image_threshold=0.9,
)


def test_round_trip(tmp_path):
    CALIBRATION.save(tmp_path)
    loaded = Calibration.load(tmp_path)
    assert loaded.image_threshold == 2.0
    assert loaded.normal_scores == (0.5, 1.0, 1.2)
    assert loaded.sources == {'synthetic': 3}
    np.testing.assert_array_equal(loaded.expected_residual, [0.25, 0.5])
    assert loaded.surface_threshold == 0.5
    assert loaded.joined_pixel_threshold == 0.7
    assert loaded.joined_image_threshold == 0.9


def test_no_threshold_holds_for_other_options():
    made = replace(CALIBRATION, level_statistics={'names': []})
    other = made.without_thresholds(keep_statistics=True)
    assert np.isnan([other.image_threshold, other.pixel_threshold]).all()
    assert other.surface_threshold == other.joined_pixel_threshold == 0
    assert other.joined_image_threshold == 0
    assert other.level_statistics == {'names': []} and other.normal_scores == made.normal_scores
    assert made.without_thresholds(keep_statistics=False).level_statistics is None


def test_a_calibration_of_before_it_was_learnt_has_the_old_limit_on_sharpness(tmp_path):
    replace(CALIBRATION, min_sharpness=0.66).save(tmp_path)
    assert Calibration.load(tmp_path).min_sharpness == 0.66
    path = tmp_path / 'calibration.json'
    values = json.loads(path.read_text())
    del values['min_sharpness']
    path.write_text(json.dumps(values))
    assert Calibration.load(tmp_path).min_sharpness == 0.6


@pytest.mark.parametrize('value', [0, float('nan'), '1'])
def test_a_limit_on_sharpness_that_lets_all_pass_is_refused(tmp_path, value):
    replace(CALIBRATION, min_sharpness=value).save(tmp_path)
    with pytest.raises(ValueError, match='min_sharpness'):
        Calibration.load(tmp_path)


def test_without_residuals_there_is_one_file(tmp_path):
    Calibration(1.0, 1.0).save(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ['calibration.json']
    assert Calibration.load(tmp_path).expected_residual is None


@pytest.mark.parametrize('value', [0, -1, float('nan'), None, '3'])
def test_a_bad_threshold_is_named(tmp_path, value):
    CALIBRATION.save(tmp_path)
    path = tmp_path / 'calibration.json'
    path.write_text(json.dumps({**json.loads(path.read_text()), 'pixel_threshold': value}))
    with pytest.raises(ValueError, match='pixel_threshold'):
        Calibration.load(tmp_path)


@pytest.mark.parametrize('content', ['', '[]', '{"image_threshold": 1}', '{"threshold": 1}'])
def test_damaged_files_are_refused(tmp_path, content):
    (tmp_path / 'calibration.json').write_text(content)
    with pytest.raises(ValueError, match=r'calibration\.json'):
        Calibration.load(tmp_path)
