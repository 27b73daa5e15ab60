import runpy
from pathlib import Path

import pytest
import yaml

from pad_inspection import checked_options, config
from pad_inspection.config import BuildConfig, DecisionConfig, InspectionConfig


def test_defaults_are_the_preset_ours():
    assert config.preset_config('ours') == InspectionConfig()


@pytest.mark.parametrize('preset', config.PRESETS)
def test_every_preset_is_valid_and_named(preset):
    assert config.preset_config(preset).preset == preset


def test_presets_keep_the_published_choices():
    paper = config.preset_config('paper')
    assert paper.background.composition == 'binary'
    assert paper.comparison.image_score == 'max'
    assert paper.refinement.max_steps == 0
    assert config.preset_config('splatpose_plus').background.inpainter == 'none'


def test_a_fit_profile_sets_the_defaults_and_values_override_it():
    made = config.from_dict(BuildConfig, {'fit': {'profile': 'paper', 'iterations': 20}})
    assert (made.fit.iterations, made.fit.densify_interval, made.fit.sh_degree) == (20, 1000, 3)
    assert config.from_dict(BuildConfig, {'fit': {'profile': 'fast'}}) == BuildConfig()
    with pytest.raises(ValueError, match='paper'):
        config.from_dict(BuildConfig, {'fit': {'profile': 'slow'}})


def test_unknown_preset():
    with pytest.raises(ValueError, match='unknown preset'):
        config.preset_config('theirs')


def test_unknown_key_is_named_with_what_is_wanted():
    with pytest.raises(ValueError, match='thresold.*threshold'):
        config.from_dict(InspectionConfig, {'segmentation': {'thresold': 0.5}})


@pytest.mark.parametrize(
    'values',
    [
        {'decision': {'min_views': -1}},
        {'decision': {'min_views': 1.5}},
        {'decision': {'min_views': True}},
        {'decision': {'margin': 'big'}},
        {'decision': {'margin': float('nan')}},
        {'segmentation': {'network': 'unet99'}},
        {'segmentation': 5},
    ],
)
def test_bad_values_raise(values):
    with pytest.raises(ValueError, match='wanted|wants'):
        config.from_dict(InspectionConfig, values)


def test_integers_serve_as_floats():
    assert config.from_dict(DecisionConfig, {'margin': 2}).margin == 2.0


def test_a_preset_in_a_mapping_sets_the_defaults_and_values_override_it():
    made = config.from_dict(
        InspectionConfig, {'preset': 'paper', 'comparison': {'blur_sigma_px': 1.0}}
    )
    assert made.comparison.image_score == 'max'
    assert made.comparison.blur_sigma_px == 1.0
    build = config.from_dict(BuildConfig, {'inspection': {'preset': 'paper'}})
    assert build.inspection == config.preset_config('paper')


def test_dictionary_and_flat_names_round_trip():
    made = config.from_dict(InspectionConfig, {'decision': {'min_views': 3}})
    assert config.from_dict(InspectionConfig, config.to_dict(made)) == made
    flat = {name: value for name, value, _ in checked_options.flatten(made)}
    assert flat['decision.min_views'] == 3
    assert config.from_dict(InspectionConfig, checked_options.unflatten(flat)) == made


def test_yaml_file(tmp_path):
    path = tmp_path / 'c.yaml'
    path.write_text(yaml.safe_dump({'decision': {'min_views': 2}}))
    assert config.load_yaml(InspectionConfig, path).decision.min_views == 2
    path.write_text('decision: {views: 2}')
    with pytest.raises(ValueError, match=r'c\.yaml.*views'):
        config.load_yaml(InspectionConfig, path)
    path.write_text('{')
    with pytest.raises(ValueError, match=r'c\.yaml'):
        config.load_yaml(InspectionConfig, path)
    with pytest.raises(FileNotFoundError, match='none'):
        config.load_yaml(InspectionConfig, tmp_path / 'none.yaml')


def test_every_option_is_documented():
    for name, _, meta in checked_options.flatten(BuildConfig()):
        assert meta.get('doc'), name
    assert '| `decision.min_views` | `0` |' in checked_options.options_table(InspectionConfig)


def test_the_options_page_is_up_to_date():
    root = Path(__file__).resolve().parent.parent
    page = runpy.run_path(str(root / 'tools' / 'make_options_doc.py'))['page']()
    assert (root / 'docs' / 'options.md').read_text() == page, 'run `make docs`'
