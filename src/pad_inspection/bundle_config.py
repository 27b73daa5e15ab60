"""The options that a bundle was calibrated with: what scores and thresholds depend on, all of it.

Two kinds of options are never a bundle's. Those that name files are the user's own, for such files
can hold code: the bundle only notes the SHA-256 of the file that it was calibrated with. And rules
of the decision that no threshold depends on (how many views, which margin) are the line's.

A bundle without an option was built before the option existed. Where the option is declared with
``as_before`` its default means what was done then, or changes nothing that a threshold is for, and
takes its place; any other option could change scores, so the bundle is refused.
"""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

from pad_inspection.bundle import Bundle, BundleError, BundleVersionError, open_bundle, sha256_of
from pad_inspection.checked_options import flatten, unflatten
from pad_inspection.config import BuildConfig, InspectionConfig, from_dict, to_dict

_SECTION = 'decision.'
# What the object threshold is made with (offline/object_limits).
_CALIBRATED_DECISION = ('max_false_reject_rate', 'worst_share', 'single_view_weight')
# Options outside of these sections do not change scores, so a bundle's thresholds stay valid.
_SCORING_SECTIONS = ('segmentation', 'background', 'comparison')

# a text that is no choice names a file
FILE_OPTIONS = tuple(
    name
    for name, default, meta in flatten(InspectionConfig())
    if isinstance(default, str) and not meta['choices']
)
LINE_OPTIONS = tuple(
    name
    for name, _, _ in flatten(InspectionConfig())
    if name.startswith(_SECTION) and name.removeprefix(_SECTION) not in _CALIBRATED_DECISION
)
_NOT_STORED = {*FILE_OPTIONS, *LINE_OPTIONS}


@dataclasses.dataclass(frozen=True)
class NotedFile:
    """A file of the user's that a bundle was calibrated with.

    Attributes:
        name: without folders; for people.
        sha256: hexadecimal.
    """

    name: str
    sha256: str


def stored_options(config: InspectionConfig) -> dict[str, Any]:
    """What a manifest holds of an inspection's options, nested."""
    rows = flatten(config)
    return unflatten({name: value for name, value, _ in rows if name not in _NOT_STORED})


def stored_build(config: BuildConfig) -> dict[str, Any]:
    """What a manifest holds of the options of a build, nested."""
    return {**to_dict(config), 'inspection': stored_options(config.inspection)}


def check_storable(config: InspectionConfig) -> None:
    """Check that a model can be built with options.

    Raises:
        ValueError: one of them is the line's, so that the bundle would not keep it.
    """
    defaults = {name: default for name, default, _ in flatten(InspectionConfig())}
    given = [n for n, v, _ in flatten(config) if n in LINE_OPTIONS and v != defaults[n]]
    if given:
        raise ValueError(
            f'inspection option(s) {given} are no part of a model: give them to the program that '
            'inspects (--config of pad inspect, parameters of the nodes)'
        )


def noted_files(config: InspectionConfig) -> dict[str, dict[str, str]]:
    """What a manifest notes of the files that options name: option -> name and SHA-256.

    Raises:
        FileNotFoundError: there is no such file.
    """
    paths = {n: v for n, v, _ in flatten(config) if n in FILE_OPTIONS and v}
    return {
        option: dataclasses.asdict(NotedFile(Path(path).name, _digest(option, path)))
        for option, path in paths.items()
    }


def _digest(option: str, path: str) -> str:
    """SHA-256 of a file that an option names."""
    file = Path(path).expanduser()
    if not file.is_file():
        raise FileNotFoundError(f'{option} is {path}: there is no such file')
    return sha256_of(file)


def bundle_config(bundle_path: Path) -> InspectionConfig:
    """The inspection configuration that a bundle was calibrated with.

    Options that name files are empty, and those of the line have their defaults.

    Raises:
        FileNotFoundError, BundleError: see bundle.open_bundle.
        BundleVersionError: the bundle lacks an option whose default is not what was done before
            it existed, so that the thresholds would not hold; or it has an unknown one.
    """
    return calibrated_config(open_bundle(bundle_path))


def calibrated_config(bundle: Bundle) -> InspectionConfig:
    """See bundle_config."""
    stored = _mapping(bundle, _mapping(bundle, bundle.manifest, 'config'), 'inspection')
    refused = sorted(name for name in _NOT_STORED if _is_stored(stored, name.split('.')))
    if refused:
        raise BundleError(
            f'bundle {bundle.path} sets {refused}, which only the user may: it is refused'
        )
    try:
        config = from_dict(InspectionConfig, stored)
    except (ValueError, TypeError) as error:
        raise BundleVersionError(f'bundle {bundle.path}: {error}; build it again') from error
    for name, value, _ in flatten(config):
        if isinstance(value, float) and not math.isfinite(value):
            raise BundleError(f'bundle {bundle.path}: option {name} is {value}, wanted a number')
    lacking = [
        row for row in flatten(InspectionConfig()) if not _is_stored(stored, row[0].split('.'))
    ]
    refused = [n for n, _, meta in lacking if n not in _NOT_STORED and not meta['as_before']]
    if refused:
        raise BundleVersionError(
            f'bundle {bundle.path} was built by a version without {refused}: build it again'
        )
    # the option's own default, whatever the stored preset would make of it
    defaults = unflatten({name: default for name, default, _ in lacking})
    return from_dict(InspectionConfig, defaults, config)


def build_config(bundle: Bundle) -> BuildConfig:
    """The options that a bundle was built with. Raises as bundle_config."""
    inspection = calibrated_config(bundle)
    stored = {k: v for k, v in bundle.manifest['config'].items() if k != 'inspection'}
    try:
        build = from_dict(BuildConfig, stored)
    except (ValueError, TypeError) as error:
        raise BundleVersionError(f'bundle {bundle.path}: {error}; build it again') from error
    return dataclasses.replace(build, inspection=inspection)


def calibrated_files(bundle: Bundle) -> dict[str, NotedFile]:
    """The files of the user's that a bundle was calibrated with, by option.

    Raises:
        BundleError: the note is damaged.
    """
    found = {}
    for option, note in _mapping(bundle, bundle.manifest, 'weights').items():
        values = note if isinstance(note, dict) else {}
        noted = NotedFile(values.get('name'), values.get('sha256'))
        if option not in FILE_OPTIONS or not all(isinstance(v, str) for v in vars(noted).values()):
            raise BundleError(f'bundle {bundle.path}: {option!r} in its weights is damaged')
        found[option] = noted
    return found


def sections_changed(
    bundle: Bundle, calibrated: InspectionConfig, config: InspectionConfig
) -> list[str]:
    """Sections of a configuration with which a bundle's thresholds do not hold.

    Args:
        bundle: the bundle.
        calibrated: of ``calibrated_config``.
        config: what is to be used.

    Raises:
        BundleError: a section is as calibrated, but for a file that it was calibrated with and
            that is not named.
        FileNotFoundError: a file that is named does not exist.
    """
    noted = calibrated_files(bundle)
    changed = []
    for field in dataclasses.fields(InspectionConfig):
        section, used = field.name, getattr(config, field.name)
        if not dataclasses.is_dataclass(used):
            continue
        files = [n for n in FILE_OPTIONS if n.startswith(f'{section}.')]
        plain = dataclasses.replace(used, **{n.split('.')[1]: '' for n in files})
        same = plain == getattr(calibrated, section)
        scoring = section in _SCORING_SECTIONS
        others = [n for n in files if not _is_as_calibrated(bundle, n, used, noted, same, scoring)]
        if others or (scoring and not same):
            changed.append(section)
    return changed


def _is_as_calibrated(
    bundle: Bundle, option: str, used, noted: dict[str, NotedFile], same: bool, scoring: bool
) -> bool:
    """Whether an option names the file that the bundle was calibrated with, or none as there.

    ``used`` is the option's section, ``same`` whether its other options are as calibrated,
    ``scoring`` whether any file counts where none was noted.
    """
    path, note = getattr(used, option.split('.')[1]), noted.get(option)
    if note is None:
        return not (path and scoring)
    if path:
        return _digest(option, path) == note.sha256
    if same:
        raise BundleError(
            f'bundle {bundle.path} was calibrated with {option} {note.name!r} (SHA-256 '
            f'{note.sha256[:12]}...), which no bundle holds: name your copy of it in {option}'
        )
    return False


def _mapping(bundle: Bundle, values: dict[str, Any], key: str) -> dict[str, Any]:
    """A section of the manifest, {} where there is none."""
    section = values.get(key, {})
    if not isinstance(section, dict):
        raise BundleError(f'bundle {bundle.path}: {key!r} of its manifest is no mapping')
    return section


def _is_stored(values, path: list[str]) -> bool:
    """Whether a nested mapping holds a value at a path."""
    for key in path:
        if not isinstance(values, dict) or key not in values:
            return False
        values = values[key]
    return True
