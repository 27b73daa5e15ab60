"""The model bundle on disk: what a product's model is made of, with checksums.

A bundle is a folder; ``manifest.json`` names every other file with its SHA-256. It is written to a
temporary folder beside the target and renamed, so that a half-written bundle is never seen.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FORMAT_VERSION = '1.0'
MANIFEST = 'manifest.json'
# Files that an inspection cannot do without.
REQUIRED_FILES = ('features.npz', 'gaussians.ply', 'calibration.json')


class BundleError(ValueError):
    """The bundle cannot be used; the message names the file and says what is wrong with it."""


class BundleVersionError(BundleError):
    """The bundle was written in a format that this version does not read."""


@dataclass(frozen=True)
class Bundle:
    """A bundle whose checksums hold.

    Attributes:
        path: its folder.
        manifest: content of manifest.json.
        sha256: of manifest.json, hexadecimal; identifies the bundle.
    """

    path: Path
    manifest: dict[str, Any]
    sha256: str

    def file(self, name: str) -> Path:
        """Path of a file of the bundle.

        Raises:
            BundleError: the manifest does not list it.
        """
        if name not in self.manifest['files']:
            raise BundleError(f'bundle {self.path} has no file {name}')
        return self.path / name


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    with open(path, 'rb') as stream:
        return hashlib.file_digest(stream, 'sha256').hexdigest()


def open_bundle(path: Path) -> Bundle:
    """Open a bundle and verify its version and every checksum.

    Raises:
        FileNotFoundError: the folder or its manifest does not exist.
        BundleVersionError: another major format version.
        BundleError: the manifest is damaged; a file is missing or its checksum differs.
    """
    path = Path(path)
    manifest_path = path / MANIFEST
    if not path.is_dir():
        raise FileNotFoundError(f'model bundle {path} does not exist (make one with: pad build)')
    if not manifest_path.is_file():
        raise FileNotFoundError(f'{path} is no model bundle: it has no {MANIFEST}')
    raw = manifest_path.read_bytes()
    try:
        manifest = json.loads(raw)
        version, files = str(manifest['format_version']), dict(manifest['files'])
    except (ValueError, KeyError, TypeError) as error:
        raise BundleError(f'{manifest_path} is damaged: {error!r}') from error
    if version.split('.')[0] != FORMAT_VERSION.split('.')[0]:
        raise BundleVersionError(
            f'{manifest_path} has format {version}, this version reads {FORMAT_VERSION}: '
            'build the bundle again'
        )
    for name in REQUIRED_FILES:
        if name not in files:
            raise BundleError(f'{manifest_path} does not list {name}')
    for name, wanted in files.items():
        file = path / name
        if not file.resolve().is_relative_to(path.resolve()):
            raise BundleError(f'{manifest_path} names a file outside of the bundle: {name}')
        if not file.is_file():
            raise BundleError(f'{file} is missing')
        if sha256_of(file) != wanted:
            raise BundleError(f'{file} is damaged: its SHA-256 differs from the manifest')
    return Bundle(path, manifest, hashlib.sha256(raw).hexdigest())


@contextmanager
def writing_bundle(path: Path, manifest: dict[str, Any]) -> Iterator[Path]:
    """Give a temporary folder to write the files into; on leaving it becomes the bundle.

    Every file found in the folder is listed with its checksum. The caller may still change
    ``manifest`` inside the block. An existing bundle at ``path`` is replaced; on an error inside
    the block it stays as it was.

    Raises:
        BundleError: ``path`` exists and is not a bundle (it would be lost), or a required file
            was not written.
    """
    path = Path(path)
    if path.exists() and not (path / MANIFEST).is_file() and any(path.iterdir()):
        raise BundleError(f'{path} exists and is no model bundle: it would be overwritten')
    path.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f'.{path.name}-', dir=path.parent))
    try:
        yield work
        names = sorted(str(p.relative_to(work)) for p in work.rglob('*') if p.is_file())
        missing = [name for name in REQUIRED_FILES if name not in names]
        if missing:
            raise BundleError(f'the bundle lacks {missing}')
        content = {
            'format_version': FORMAT_VERSION,
            **manifest,
            'files': {name: sha256_of(work / name) for name in names},
        }
        (work / MANIFEST).write_text(json.dumps(content, indent=1) + '\n')
        os.chmod(work, 0o755)
        old = path.parent / f'.{path.name}-old-{os.getpid()}'
        if path.exists():
            path.rename(old)
        work.rename(path)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(work, ignore_errors=True)
