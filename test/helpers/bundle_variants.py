"""Variants of a model bundle whose checksums are right, as a stranger would make them."""

import hashlib
import json
import shutil


def copy_of(bundle, path):
    """A copy of a bundle."""
    shutil.copytree(bundle, path)
    return path


def with_manifest(path, change):
    """Let ``change`` change the manifest of a bundle."""
    file = path / 'manifest.json'
    manifest = json.loads(file.read_text())
    change(manifest)
    file.write_text(json.dumps(manifest))
    return path


def with_options(path, **options):
    """Set options of the inspection in the manifest, section__name=value."""

    def change(manifest):
        for name, value in options.items():
            section, key = name.split('__')
            manifest['config']['inspection'][section][key] = value

    return with_manifest(path, change)


def with_right_checksums(path, *more):
    """Give the manifest the checksums that the listed files have now, and list more files."""

    def change(manifest):
        for name in [*manifest['files'], *more]:
            if (path / name).is_file():
                digest = hashlib.sha256((path / name).read_bytes()).hexdigest()
                manifest['files'][name] = digest

    return with_manifest(path, change)


def with_calibration(path, **values):
    """Set values of calibration.json."""
    file = path / 'calibration.json'
    file.write_text(json.dumps({**json.loads(file.read_text()), **values}))
    return with_right_checksums(path)
