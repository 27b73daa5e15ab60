"""The inspection configuration that a bundle was calibrated with, complete or not at all."""

from __future__ import annotations

from pathlib import Path

from pad_inspection.bundle import Bundle, BundleVersionError, open_bundle
from pad_inspection.config import InspectionConfig, flatten, from_dict


def bundle_config(bundle_path: Path) -> InspectionConfig:
    """The inspection configuration that a bundle was calibrated with.

    Raises:
        FileNotFoundError, BundleError: see bundle.open_bundle.
        BundleVersionError: the bundle knows other options than this version; with a default in
            the place of an option the thresholds would not hold.
    """
    return calibrated_config(open_bundle(bundle_path))


def calibrated_config(bundle: Bundle) -> InspectionConfig:
    """See bundle_config."""
    stored = bundle.manifest.get('config', {}).get('inspection', {})
    try:
        config = from_dict(InspectionConfig, stored)
    except ValueError as error:
        raise BundleVersionError(f'bundle {bundle.path}: {error}; build it again') from error
    lacking = [name for name, _, _ in flatten(config) if not _is_stored(stored, name.split('.'))]
    if lacking:
        raise BundleVersionError(
            f'bundle {bundle.path} was built by a version without {lacking}: build it again'
        )
    return config


def _is_stored(values, path: list[str]) -> bool:
    """Whether a nested mapping holds a value at a path."""
    for key in path:
        if not isinstance(values, dict) or key not in values:
            return False
        values = values[key]
    return True
