"""The options of a bundle are complete or refused."""

import json

import pytest

from pad_inspection import config as options
from pad_inspection.bundle import REQUIRED_FILES, BundleVersionError, writing_bundle
from pad_inspection.bundle_config import bundle_config
from pad_inspection.checked_options import flatten
from pad_inspection.config import InspectionConfig, from_dict, to_dict


def bundle_with(path, inspection):
    """A bundle with a stored configuration and otherwise empty files."""
    with writing_bundle(path, {'config': {'inspection': inspection}}) as folder:
        for name in REQUIRED_FILES:
            (folder / name).write_text('')
    return path


def test_the_stored_configuration_is_given_back(tmp_path):
    config = from_dict(InspectionConfig, {'decision': {'min_views': 3}})
    assert bundle_config(bundle_with(tmp_path / 'b', to_dict(config))) == config


def test_an_option_that_the_bundle_lacks_is_never_filled_with_a_default(tmp_path):
    values = json.loads(json.dumps(to_dict(InspectionConfig())))
    del values['comparison']['blur_sigma_px']
    with pytest.raises(BundleVersionError, match=r'comparison\.blur_sigma_px.*build it again'):
        bundle_config(bundle_with(tmp_path / 'b', values))
    with pytest.raises(BundleVersionError, match='segmentation'):
        bundle_config(bundle_with(tmp_path / 'c', {}))


def test_an_option_that_this_version_lacks_is_refused(tmp_path):
    values = to_dict(InspectionConfig())
    values['comparison'] = {**values['comparison'], 'magic': 1}
    with pytest.raises(BundleVersionError, match='magic'):
        bundle_config(bundle_with(tmp_path / 'b', values))


def as_before():
    """Names of the options that older bundles may lack."""
    return [name for name, _, meta in flatten(InspectionConfig()) if meta['as_before']]


def without(values, names):
    """A stored configuration without some options."""
    values = json.loads(json.dumps(values))
    for name in names:
        section, key = name.split('.')
        del values[section][key]
    return values


def test_an_option_whose_default_is_as_before_may_be_lacking(tmp_path):
    assert 'localization.retrieval' in as_before()
    config = from_dict(InspectionConfig, {'decision': {'min_views': 3}})
    stored = without(to_dict(config), as_before())
    assert bundle_config(bundle_with(tmp_path / 'b', stored)) == config
    with pytest.raises(BundleVersionError, match=r"without \['comparison\.blur_sigma_px'\]"):
        bundle_config(bundle_with(tmp_path / 'c', without(stored, ['comparison.blur_sigma_px'])))


def test_a_lacking_option_takes_its_own_default_not_that_of_the_preset(tmp_path, monkeypatch):
    preset = {**options.PRESET_VALUES['paper'], 'localization': {'retrieval': 'netvlad'}}
    monkeypatch.setitem(options.PRESET_VALUES, 'paper', preset)
    config = options.preset_config('paper')
    assert config.localization.retrieval == 'netvlad'
    stored = without(to_dict(config), ['localization.retrieval'])
    assert bundle_config(bundle_with(tmp_path / 'b', stored)).localization.retrieval == 'votes'


def test_the_committed_bundle_is_read_with_defaults_for_what_it_lacks(demo_bundle):
    stored = json.loads((demo_bundle / 'manifest.json').read_text())['config']['inspection']
    options_of_bundle = {
        f'{section}.{key}' if isinstance(values, dict) else section: value
        for section, values in stored.items()
        for key, value in (values.items() if isinstance(values, dict) else [(section, values)])
    }
    defaults = {name: default for name, default, _ in flatten(InspectionConfig())}
    for name, value, _ in flatten(bundle_config(demo_bundle)):
        assert value == options_of_bundle.get(name, defaults[name]), name
