"""The inspection configuration that a bundle was calibrated with, complete or not at all.

A bundle without an option was built before the option existed. Where the option is declared with
``as_before`` its default means what was done then, or changes nothing that a threshold is for, and
takes its place; any other option could change scores, so the bundle is refused.
"""

from __future__ import annotations

from pathlib import Path

from pad_inspection.bundle import Bundle, BundleVersionError, open_bundle
from pad_inspection.checked_options import flatten, unflatten
from pad_inspection.config import InspectionConfig, from_dict


def bundle_config(bundle_path: Path) -> InspectionConfig:
    """The inspection configuration that a bundle was calibrated with.

    Raises:
        FileNotFoundError, BundleError: see bundle.open_bundle.
        BundleVersionError: the bundle lacks an option whose default is not what was done before
            it existed, so that the thresholds would not hold; or it has an unknown one.
    """
    return calibrated_config(open_bundle(bundle_path))


def calibrated_config(bundle: Bundle) -> InspectionConfig:
    """See bundle_config."""
    stored = bundle.manifest.get('config', {}).get('inspection', {})
    try:
        config = from_dict(InspectionConfig, stored)
    except ValueError as error:
        raise BundleVersionError(f'bundle {bundle.path}: {error}; build it again') from error
    lacking = [
        row for row in flatten(InspectionConfig()) if not _is_stored(stored, row[0].split('.'))
    ]
    refused = [name for name, _, meta in lacking if not meta['as_before']]
    if refused:
        raise BundleVersionError(
            f'bundle {bundle.path} was built by a version without {refused}: build it again'
        )
    # the option's own default, whatever the stored preset would make of it
    defaults = unflatten({name: default for name, default, _ in lacking})
    return from_dict(InspectionConfig, defaults, config)


def _is_stored(values, path: list[str]) -> bool:
    """Whether a nested mapping holds a value at a path."""
    for key in path:
        if not isinstance(values, dict) or key not in values:
            return False
        values = values[key]
    return True
