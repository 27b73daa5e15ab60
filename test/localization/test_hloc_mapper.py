"""The optional peer: a clear error without it; with it, the same output."""

import importlib.util

import pytest

from helpers.small_map import DEMO
from pad_inspection import cli
from pad_inspection.config import LocalizationConfig, MappingConfig
from pad_inspection.dataset import read_training_views
from pad_inspection.offline.build_model import map_views

HLOC = all(importlib.util.find_spec(name) for name in ('hloc', 'h5py'))


@pytest.mark.skipif(HLOC, reason='hloc is installed')
def test_without_hloc_the_build_says_how_to_get_it(tmp_path, capsys):
    code = cli.main(['build', str(DEMO), '--out', str(tmp_path / 'bundle'), '--mapper', 'hloc'])
    assert code == 2
    error = capsys.readouterr().err
    assert 'hloc' in error and 'github.com/cvg/Hierarchical-Localization' in error
    assert not (tmp_path / 'bundle').exists()


@pytest.mark.skipif(not HLOC, reason='hloc is not installed')
def test_hloc_gives_the_same_kind_of_map(tmp_path):
    views = read_training_views(DEMO)[:12]
    few = {'min_points': 50, 'min_mean_track': 2.0, 'max_view_angle_deg': 60.0}
    ours, theirs = (
        map_views(views, MappingConfig(mapper=name, **few), LocalizationConfig(), tmp_path / name)
        for name in ('pycolmap', 'hloc')
    )
    assert theirs.report['num_points'] == pytest.approx(ours.report['num_points'], rel=0.2)
    assert theirs.report['mean_reprojection_error_px'] < 1.5
    assert theirs.reference.names == ours.reference.names
    assert (tmp_path / 'hloc' / 'sfm' / 'points3D.bin').is_file()
