"""Writes a model bundle: whole or not at all, and never over what is no model bundle."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pad_inspection.bundle import (
    FORMAT_VERSION,
    MANIFEST,
    REQUIRED_FILES,
    SIGNATURE,
    BundleError,
    read_manifest,
    sha256_of,
)
from pad_inspection.bundle_folders import put_in_place, recover, working_folder


def check_target(path: Path) -> Path:
    """Check that a bundle can be written to a folder, before the work of making one.

    Args:
        path: new, an empty folder, a model bundle to replace, or a link to any of them.

    Returns:
        The folder that will be written: links are followed.

    Raises:
        BundleError: something else is there; it would be lost.
        OSError: the folder above cannot be written.
    """
    try:
        target = Path(path).resolve()
    except (OSError, RuntimeError) as error:
        raise BundleError(f'{path} cannot be a bundle: {error}') from error
    recover(target)
    above = next(folder for folder in target.parents if folder.exists())
    if not above.is_dir():
        raise BundleError(f'{path} cannot be a bundle: {above} is a file')
    if not os.access(above, os.W_OK | os.X_OK):
        raise PermissionError(f'{path} cannot be written: {above} is not writable')
    if target.exists():
        _check_replaceable(target)
    return target


def _check_replaceable(target: Path) -> None:
    """Raise BundleError unless a folder is empty or holds a model bundle and nothing else."""
    if not target.is_dir():
        raise BundleError(f'{target} exists and is no folder: it would be overwritten')
    found = {str(p.relative_to(target)) for p in target.rglob('*') if not _is_folder(p)}
    if not found:
        return
    try:
        manifest, _ = read_manifest(target)
    except (FileNotFoundError, BundleError) as error:
        raise BundleError(
            f'{target} exists and is no model bundle: it would be overwritten ({error})'
        ) from error
    foreign = sorted(found - set(manifest['files']) - {MANIFEST, SIGNATURE})
    if foreign:
        raise BundleError(
            f'{target} holds {len(foreign)} file(s) that are not of the bundle and would be lost '
            f'({foreign[0]!r}): move them, or choose another folder'
        )


def _is_folder(path: Path) -> bool:
    """Whether a path is a folder itself; a link to one is not."""
    return path.is_dir() and not path.is_symlink()


@contextmanager
def writing_bundle(path: Path, manifest: dict[str, Any]) -> Iterator[Path]:
    """Give a temporary folder to write the files into; on leaving it becomes the bundle.

    Every file found in the folder is listed with its checksum. The caller may still change
    ``manifest`` inside the block. A bundle at ``path`` is replaced in one step; on an error, or
    when the program is killed, it stays as it was. Of two programs the later one wins.

    Raises:
        BundleError: see check_target, or a required file was not written.
        OSError: the disk is full, or cannot be written.
    """
    target = check_target(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    with working_folder(target) as work:
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
        # what somebody put there while the bundle was made would be lost as well
        check_target(path)
        put_in_place(work, target)
