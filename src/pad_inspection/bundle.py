"""The model bundle on disk: what a product's model is made of, with checksums.

A bundle is a folder; ``manifest.json`` names every other file with its SHA-256. Nothing is read
that it does not name, and everything has a size limit. bundle_writing.py writes bundles.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from pad_inspection.bundle_folders import recover

FORMAT_VERSION = '2.0'
MANIFEST = 'manifest.json'
SIGNATURE = 'manifest.sig'
# Files that an inspection cannot do without.
REQUIRED_FILES = ('features.npz', 'gaussians.ply', 'calibration.json')
MAX_FILE_BYTES = 2 << 30
"""A larger file of a bundle is refused before it is read."""

_MAX_MANIFEST_BYTES = 1 << 20
_MAX_FILES = 1000
_MAX_DEPTH = 32
_SHA256 = re.compile('[0-9a-f]{64}')


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
        manifest_bytes: the same as it is in the file.
    """

    path: Path
    manifest: dict[str, Any]
    manifest_bytes: bytes = field(repr=False)

    @property
    def sha256(self) -> str:
        """Of manifest.json, hexadecimal; identifies the bundle."""
        return hashlib.sha256(self.manifest_bytes).hexdigest()

    def file(self, name: str) -> Path:
        """Path of a file of the bundle.

        Raises:
            BundleError: the manifest does not list it.
        """
        found = self.find(name)
        if found is None:
            raise BundleError(f'bundle {self.path} has no file {name}')
        return found

    def find(self, name: str) -> Path | None:
        """Path of a file that a bundle may have, None where the manifest does not list it."""
        return self.path / name if name in self.manifest['files'] else None


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    with open(path, 'rb') as stream:
        return hashlib.file_digest(stream, 'sha256').hexdigest()


def read_json(path: Path, max_bytes: int) -> tuple[dict[str, Any], bytes]:
    """Read a JSON object from a file of a bundle.

    Args:
        path: the file.
        max_bytes: a larger file is not read.

    Returns:
        The object, and the bytes that it was read from.

    Raises:
        OSError: it cannot be read.
        BundleError: it is larger, holds something else, or is nested too deep.
    """
    with open(path, 'rb') as stream:
        raw = stream.read(max_bytes + 1)
    if len(raw) > max_bytes:
        raise BundleError(f'{path} has more than {max_bytes} bytes: it is damaged')
    try:
        values = json.loads(raw)
    except (ValueError, RecursionError) as error:
        reason = 'it is nested too deep' if isinstance(error, RecursionError) else error
        raise BundleError(f'{path} is damaged: {reason}') from error
    if not isinstance(values, dict):
        raise BundleError(f'{path} is damaged: it holds a {type(values).__name__}, wanted {{...}}')
    if _depth(values) > _MAX_DEPTH:
        raise BundleError(f'{path} is damaged: it is nested deeper than {_MAX_DEPTH}')
    return values, raw


def _depth(values) -> int:
    """How deep lists and mappings are nested, without recursion."""
    depth, inner = 0, [values]
    while inner and depth <= _MAX_DEPTH:
        depth += 1
        inner = [
            child
            for value in inner
            for child in (value.values() if isinstance(value, dict) else value)
            if isinstance(child, dict | list)
        ]
    return depth


def read_manifest(path: Path) -> tuple[dict[str, Any], bytes]:
    """Read the manifest of a bundle of any format version; its files are not looked at.

    Args:
        path: folder of the bundle.

    Returns:
        Its content and its bytes.

    Raises:
        FileNotFoundError: the folder has none.
        BundleError: it is damaged, or no manifest of a model bundle.
    """
    manifest_path = Path(path) / MANIFEST
    if not manifest_path.is_file():
        raise FileNotFoundError(f'{path} is no model bundle: it has no {MANIFEST}')
    manifest, raw = read_json(manifest_path, _MAX_MANIFEST_BYTES)
    for key, kind in (('format_version', str), ('files', dict)):
        if not isinstance(manifest.get(key), kind):
            raise BundleError(f'{manifest_path} is damaged: it has no usable {key!r}')
    for key in ('model_id', 'model_version', 'software_version'):
        if not isinstance(manifest.get(key, ''), str):
            raise BundleError(f'{manifest_path} is damaged: {key!r} is no text')
    files = manifest['files']
    if len(files) > _MAX_FILES:
        raise BundleError(f'{manifest_path} lists {len(files)} files, wanted up to {_MAX_FILES}')
    for name, digest in files.items():
        parts = PurePosixPath(name).parts
        if not parts or name.startswith('/') or '..' in parts:
            raise BundleError(f'{manifest_path} names a file outside of the bundle: {name!r}')
        if not name.isprintable() or name in (MANIFEST, SIGNATURE):
            raise BundleError(f'{manifest_path} names a file that a bundle cannot have: {name!r}')
        if not isinstance(digest, str) or not _SHA256.fullmatch(digest):
            raise BundleError(f'{manifest_path} has no SHA-256 of {name}')
    return manifest, raw


def open_bundle(path: Path) -> Bundle:
    """Open a bundle and verify its version and every checksum.

    Checksums tell damage; who made the bundle only a signature tells (bundle_signature.py).

    Raises:
        FileNotFoundError: the folder or its manifest does not exist.
        BundleVersionError: another major format version.
        BundleError: the manifest is damaged; a file is missing, too large or its checksum differs.
    """
    path = Path(path)
    if not path.exists():
        recover(path)
    if not path.is_dir():
        raise FileNotFoundError(f'model bundle {path} does not exist (make one with: pad build)')
    manifest, raw = read_manifest(path)
    version, files = manifest['format_version'], manifest['files']
    if version.split('.')[0] != FORMAT_VERSION.split('.')[0]:
        raise BundleVersionError(
            f'{path / MANIFEST} has format {version!r}, this version reads {FORMAT_VERSION}: '
            'build the bundle again'
        )
    for name in REQUIRED_FILES:
        if name not in files:
            raise BundleError(f'{path / MANIFEST} does not list {name}')
    for name, wanted in files.items():
        file = path / name
        if not file.resolve().is_relative_to(path.resolve()):
            raise BundleError(f'{path / MANIFEST} names a file outside of the bundle: {name!r}')
        if not file.is_file():
            raise BundleError(f'{file} is missing')
        if file.stat().st_size > MAX_FILE_BYTES:
            raise BundleError(f'{file} has more than {MAX_FILE_BYTES} bytes')
        if sha256_of(file) != wanted:
            raise BundleError(f'{file} is damaged: its SHA-256 differs from the manifest')
    return Bundle(path, manifest, raw)
