"""The options of a bundle are complete or refused, and never those that are the user's."""

import json

import pytest

from pad_inspection import config as options
from pad_inspection.bundle import REQUIRED_FILES, BundleError, BundleVersionError, open_bundle
from pad_inspection.bundle_config import (
    FILE_OPTIONS,
    LINE_OPTIONS,
    build_config,
    bundle_config,
    check_storable,
    noted_files,
    sections_changed,
    stored_build,
    stored_options,
)
from pad_inspection.bundle_writing import writing_bundle
from pad_inspection.checked_options import flatten
from pad_inspection.config import BuildConfig, InspectionConfig, from_dict


def bundle_with(path, inspection, **more):
    """A bundle with a stored configuration and otherwise empty files."""
    with writing_bundle(path, {'config': {'inspection': inspection}, **more}) as folder:
        for name in REQUIRED_FILES:
            (folder / name).write_text('')
    return path


def test_the_stored_configuration_is_given_back(tmp_path):
    config = from_dict(InspectionConfig, {'decision': {'worst_share': 0.5}})
    assert bundle_config(bundle_with(tmp_path / 'b', stored_options(config))) == config


def test_an_option_that_the_bundle_lacks_is_never_filled_with_a_default(tmp_path):
    values = stored_options(InspectionConfig())
    del values['comparison']['blur_sigma_px']
    with pytest.raises(BundleVersionError, match=r'comparison\.blur_sigma_px.*build it again'):
        bundle_config(bundle_with(tmp_path / 'b', values))
    with pytest.raises(BundleVersionError, match='segmentation'):
        bundle_config(bundle_with(tmp_path / 'c', {}))


def test_an_option_that_this_version_lacks_is_refused(tmp_path):
    values = stored_options(InspectionConfig())
    values['comparison'] = {**values['comparison'], 'magic': 1}
    with pytest.raises(BundleVersionError, match='magic'):
        bundle_config(bundle_with(tmp_path / 'b', values))


def as_before():
    """Names of the options that older bundles may lack."""
    rows = flatten(InspectionConfig())
    mine = {*FILE_OPTIONS, *LINE_OPTIONS}
    return [name for name, _, meta in rows if meta['as_before'] and name not in mine]


def without(values, names):
    """A stored configuration without some options."""
    values = json.loads(json.dumps(values))
    for name in names:
        section, key = name.split('.')
        del values[section][key]
    return values


def test_an_option_whose_default_is_as_before_may_be_lacking(tmp_path):
    assert 'localization.retrieval' in as_before()
    config = from_dict(InspectionConfig, {'decision': {'worst_share': 0.5}})
    stored = without(stored_options(config), as_before())
    assert bundle_config(bundle_with(tmp_path / 'b', stored)) == config
    with pytest.raises(BundleVersionError, match=r"without \['comparison\.blur_sigma_px'\]"):
        bundle_config(bundle_with(tmp_path / 'c', without(stored, ['comparison.blur_sigma_px'])))


def test_a_lacking_option_takes_its_own_default_not_that_of_the_preset(tmp_path, monkeypatch):
    preset = {**options.PRESET_VALUES['paper'], 'localization': {'retrieval': 'netvlad'}}
    monkeypatch.setitem(options.PRESET_VALUES, 'paper', preset)
    config = options.preset_config('paper')
    assert config.localization.retrieval == 'netvlad'
    stored = without(stored_options(config), ['localization.retrieval'])
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


def test_files_and_the_rules_of_the_line_are_not_stored():
    assert {'segmentation.weights', 'background.lama_weights'} <= set(FILE_OPTIONS)
    assert {'decision.margin', 'decision.reject_undetermined'} <= set(LINE_OPTIONS)
    assert 'decision.max_false_reject_rate' not in LINE_OPTIONS
    names = {name for name, _, _ in flatten(InspectionConfig())}
    stored = stored_options(InspectionConfig())
    kept = {
        f'{section}.{key}' if isinstance(values, dict) else section
        for section, values in stored.items()
        for key in (values if isinstance(values, dict) else [''])
    }
    assert kept == names - set(FILE_OPTIONS) - set(LINE_OPTIONS)
    # every option that names a file of weights is one of them
    assert {name for name in names if 'weights' in name} <= set(FILE_OPTIONS)


@pytest.mark.parametrize('name', [*FILE_OPTIONS, *LINE_OPTIONS])
def test_a_bundle_that_sets_what_only_the_user_may_is_refused(tmp_path, name):
    """No network of a stranger is loaded, and no rule of a stranger lets everything pass."""
    section, key = name.split('.')
    stored = stored_options(InspectionConfig())
    stored[section][key] = 'net.pt' if name in FILE_OPTIONS else 10.0
    with pytest.raises(BundleError, match=rf'{name}.*refused'):
        bundle_config(bundle_with(tmp_path / 'b', stored))


@pytest.mark.parametrize(
    ('inspection', 'message'),
    [
        (None, 'no mapping'),
        ('x', 'no mapping'),
        ({'preset': []}, 'build it again'),
        ({'segmentation': None}, 'wants a mapping'),
        ({'comparison': {'color_weight': float('inf')}}, 'color_weight is inf'),
        ({'comparison': {'color_weight': '1'}}, 'color_weight'),
    ],
)
def test_a_damaged_section_is_one_clear_error(tmp_path, inspection, message):
    with pytest.raises(BundleError, match=message):
        bundle_config(bundle_with(tmp_path / 'b', inspection))
    with pytest.raises(BundleError, match='config'):
        bundle_config(bundle_with(tmp_path / 'b', {}, config='x'))


def test_the_options_of_the_build_come_back(tmp_path):
    build = from_dict(BuildConfig, {'seed': 3, 'inspection': {'comparison': {'input_px': 256}}})
    path = bundle_with(tmp_path / 'b', {}, config=stored_build(build))
    assert build_config(open_bundle(path)) == build
    stored = {**stored_build(build), 'magic': 1}
    with pytest.raises(BundleVersionError, match='magic'):
        build_config(open_bundle(bundle_with(tmp_path / 'c', {}, config=stored)))


def test_a_build_with_a_rule_of_the_line_is_refused_before_it_begins():
    check_storable(InspectionConfig())
    config = from_dict(InspectionConfig, {'decision': {'margin': 2.0, 'worst_share': 0.5}})
    with pytest.raises(ValueError, match=r"\['decision\.margin'\].*no part of a model"):
        check_storable(config)


class TestOwnNetworks:
    """A bundle that was calibrated with a network of the user's."""

    def config(self, path, **more):
        values = {'network': 'birefnet', 'weights': str(path), **more}
        return from_dict(InspectionConfig, {'segmentation': values})

    @pytest.fixture
    def network(self, tmp_path):
        (tmp_path / 'net.onnx').write_text('a network')
        return tmp_path / 'net.onnx'

    @pytest.fixture
    def opened(self, tmp_path, network):
        config = self.config(network)
        path = bundle_with(tmp_path / 'b', stored_options(config), weights=noted_files(config))
        assert str(tmp_path) not in (path / 'manifest.json').read_text()
        return open_bundle(path)

    def changed(self, opened, config):
        return sections_changed(opened, bundle_config(opened.path), config)

    def test_the_same_file_at_any_place_is_as_calibrated(self, opened, network, tmp_path):
        copy = tmp_path / 'elsewhere.onnx'
        copy.write_bytes(network.read_bytes())
        assert self.changed(opened, self.config(network)) == []
        assert self.changed(opened, self.config(copy)) == []

    def test_another_file_or_other_options_lose_the_thresholds(self, opened, network, tmp_path):
        other = tmp_path / 'other.onnx'
        other.write_text('another network')
        assert self.changed(opened, self.config(other)) == ['segmentation']
        assert self.changed(opened, self.config(network, threshold=0.4)) == ['segmentation']
        assert self.changed(opened, InspectionConfig()) == ['segmentation']

    def test_without_the_file_the_option_is_named(self, opened):
        with pytest.raises(BundleError, match=r'name your copy of it in segmentation\.weights'):
            self.changed(opened, bundle_config(opened.path))
        with pytest.raises(FileNotFoundError, match=r'segmentation\.weights is nothing\.onnx'):
            self.changed(opened, self.config('nothing.onnx'))

    def test_a_file_that_was_not_noted_loses_the_thresholds(self, tmp_path, network):
        path = bundle_with(tmp_path / 'b', stored_options(InspectionConfig()))
        own = from_dict(InspectionConfig, {'segmentation': {'weights': str(network)}})
        assert self.changed(open_bundle(path), own) == ['segmentation']
        # which matcher is used changes no score
        own = from_dict(InspectionConfig, {'localization': {'matcher_weights': str(network)}})
        assert self.changed(open_bundle(path), own) == []

    @pytest.mark.parametrize('note', ['x', {}, {'name': 'a', 'sha256': 1}])
    def test_a_damaged_note_is_refused(self, tmp_path, note):
        stored = stored_options(InspectionConfig())
        path = bundle_with(tmp_path / 'b', stored, weights={'segmentation.weights': note})
        with pytest.raises(BundleError, match='weights is damaged'):
            self.changed(open_bundle(path), InspectionConfig())

    def test_a_build_with_a_file_that_is_not_there_does_not_begin(self):
        with pytest.raises(FileNotFoundError, match=r'segmentation\.weights'):
            noted_files(self.config('nothing.onnx'))
