import json

import numpy as np
import pytest

from pad_inspection import cli
from pad_inspection.config import PRESETS, InspectionConfig, from_dict
from pad_inspection.offline.cached_inspector import StepStore
from pad_inspection.offline.evaluate_all import chosen_classes, chosen_methods
from pad_inspection.offline.methods import ABLATIONS, METHODS, TRUTHS, method_config
from pad_inspection.offline.truth import MASK, POSE


def test_methods_by_name_and_by_group():
    names = [m.name for m in chosen_methods('paper, ours,paper')]
    assert names == ['paper', 'ours']
    assert [m.name for m in chosen_methods('presets')] == list(PRESETS)
    everything = [m.name for m in chosen_methods('all')]
    assert set(everything) == {*PRESETS, *ABLATIONS, *TRUTHS, 'paper_joined_maps'}
    with pytest.raises(ValueError, match="unknown method 'our'"):
        chosen_methods('our')
    with pytest.raises(ValueError, match='names none'):
        chosen_methods(' ,')


@pytest.mark.parametrize('name', ABLATIONS)
def test_each_ablation_changes_one_thing(name):
    own = InspectionConfig()
    changed = method_config(METHODS[name], own)
    if name == 'without_learned' and own.comparison.learned_weight == 0:
        pytest.skip('the default has no learnt comparison')
    assert changed != own
    assert changed.segmentation == own.segmentation
    assert changed.localization == own.localization


def test_truths_change_no_option():
    own = from_dict(InspectionConfig, {'segmentation': {'threshold': 0.4}})
    for name in TRUTHS:
        assert METHODS[name].truths and method_config(METHODS[name], own) == own
    assert METHODS['with_true_pose_and_mask'].truths == {POSE, MASK}


def test_published_methods_find_the_object_as_the_bundle_does():
    own = from_dict(InspectionConfig, {'segmentation': {'threshold': 0.4}})
    paper = method_config(METHODS['paper'], own)
    assert paper.segmentation == own.segmentation
    assert paper.comparison.image_score == 'max'
    assert paper.refinement.max_steps == 0
    free = method_config(METHODS['paper_background_free'], own)
    assert free.background.inpainter == 'none'
    assert method_config(METHODS['paper_silhouette_only'], own).comparison.region == 'silhouette'


def test_classes_of_a_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match='no class folders'):
        chosen_classes(tmp_path, None)
    for name in ('truck', 'car'):
        (tmp_path / name).mkdir()
        (tmp_path / name / 'test.json').write_text('{}')
    assert [p.name for p in chosen_classes(tmp_path, None)] == ['car', 'truck']
    assert [p.name for p in chosen_classes(tmp_path, 'truck')] == ['truck']
    with pytest.raises(FileNotFoundError, match='ship does not exist'):
        chosen_classes(tmp_path, 'ship')


def test_a_step_is_computed_once(tmp_path):
    store, calls = StepStore(tmp_path), []

    def compute():
        calls.append(1)
        return {'a': np.arange(3)}

    first, ms = store.get('segment', 'key', compute)
    second, again_ms = StepStore(tmp_path).get('segment', 'key', compute)
    np.testing.assert_array_equal(first['a'], second['a'])
    assert len(calls) == 1 and ms == pytest.approx(again_ms)
    store.get('segment', 'other', compute)
    assert len(calls) == 2


@pytest.mark.slow
def test_one_command_compares_methods(demo_dir, demo_bundle, tmp_path, capsys):
    arguments = [
        'evaluate-all', str(demo_dir.parent), '--out', str(tmp_path), '--bundles',
        str(demo_bundle.parent), '--classes', 'coupe', '--methods',
        'ours,with_true_pose_and_mask', '--limit', '2',
    ]  # fmt: skip
    assert cli.main(arguments) == 0
    assert 'Mean over 1 classes' in capsys.readouterr().out
    report, truth = json.loads((tmp_path / 'summary.json').read_text())
    assert report['images'] == 2 and report['localized_fraction'] == 1.0
    assert report['pose_median_px'] > 0.01 and truth['pose_median_px'] < 1e-6
    assert truth['pixel_auroc'] is None or truth['pixel_auroc'] > 0.9
    written = (tmp_path / 'seed_0' / 'coupe' / 'ours' / 'report.html').stat().st_mtime_ns
    assert cli.main(arguments) == 0  # what is there is not computed again
    again = (tmp_path / 'seed_0' / 'coupe' / 'ours' / 'report.html').stat().st_mtime_ns
    assert again == written
