"""The options of a bundle are complete or refused."""

import json

import pytest

from pad_inspection.bundle import REQUIRED_FILES, BundleVersionError, writing_bundle
from pad_inspection.bundle_config import bundle_config
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
