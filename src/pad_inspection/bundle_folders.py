"""A folder that is replaced as a whole: there always is the old one or the new one.

A new folder is filled beside its target as ``.NAME.<8 hex>.writing`` and exchanged with it in one
step of the file system. Where there is no such step the old one steps aside as
``.NAME.<8 hex>.old`` for a moment; what a killed program left of either is found by ``recover``.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2
# What a file system without the step answers.
_NOT_OFFERED = (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EXDEV)


@contextmanager
def working_folder(path: Path) -> Iterator[Path]:
    """Give a new folder beside ``path``; what is still there on leaving is removed.

    Raises:
        OSError: it cannot be made.
    """
    work = path.parent / f'.{path.name}.{secrets.token_hex(4)}.writing'
    # as long as it is locked no other program takes it for a leftover
    with _locked(path.parent):
        work.mkdir(mode=0o755)
        lock = _lock(work)
    try:
        yield work
    finally:
        shutil.rmtree(work, ignore_errors=True)
        os.close(lock)


def put_in_place(work: Path, path: Path) -> None:
    """Give a complete folder its name; what had the name is removed.

    Raises:
        OSError: it cannot be renamed; what had the name keeps it.
    """
    _sync(work)
    with _locked(path.parent):
        _recover(path)
        if not path.exists():
            work.rename(path)
        elif not _exchange(work, path):
            old = path.parent / f'.{path.name}.{secrets.token_hex(4)}.old'
            path.rename(old)
            try:
                work.rename(path)
            except OSError:
                old.rename(path)
                raise
            shutil.rmtree(old, ignore_errors=True)
    _sync_folder(path.parent)


def recover(path: Path) -> None:
    """Put a folder back that a killed program left aside, and remove what it left half done."""
    path = Path(path)
    if not path.parent.is_dir() or not _leftovers(path):
        return
    try:
        with _locked(path.parent):
            _recover(path)
    except OSError:
        # a folder that may only be read: whoever misses the target says so
        return


def _leftovers(path: Path) -> list[Path]:
    """What was left beside a folder, the newest last."""
    pattern = re.compile(re.escape(f'.{path.name}.') + r'[0-9a-f]{8}\.(old|writing)')
    found = [p for p in path.parent.iterdir() if pattern.fullmatch(p.name) and p.is_dir()]
    return sorted(found, key=lambda p: p.stat().st_mtime_ns)


def _recover(path: Path) -> None:
    """See recover; the folder above is locked."""
    leftovers = _leftovers(path)
    aside = [p for p in leftovers if p.suffix == '.old']
    if aside and not path.exists():
        aside.pop().rename(path)
    for folder in [*aside, *(p for p in leftovers if p.suffix == '.writing')]:
        if _is_left(folder):
            shutil.rmtree(folder, ignore_errors=True)


def _is_left(folder: Path) -> bool:
    """Whether no program works in a folder any more."""
    try:
        with _locked(folder, wait=False):
            return True
    except OSError:
        return False


@contextmanager
def _locked(folder: Path, *, wait: bool = True) -> Iterator[None]:
    """Hold the lock of a folder."""
    lock = _lock(folder, wait=wait)
    try:
        yield
    finally:
        os.close(lock)


def _lock(folder: Path, *, wait: bool = True) -> int:
    """Lock a folder until the descriptor is closed; it goes with the process, so none is left."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _exchange(first: Path, second: Path) -> bool:
    """Let two folders change names in one step; False where the file system has no such step."""
    rename = getattr(ctypes.CDLL(None, use_errno=True), 'renameat2', None)
    if rename is None:
        return False
    names = os.fsencode(first), os.fsencode(second)
    if rename(_AT_FDCWD, names[0], _AT_FDCWD, names[1], ctypes.c_uint(_RENAME_EXCHANGE)) == 0:
        return True
    code = ctypes.get_errno()
    if code in _NOT_OFFERED:
        return False
    raise OSError(code, os.strerror(code), str(second))


def _sync(folder: Path) -> None:
    """Have the disk hold all of a folder before its name says that it is complete."""
    for path in folder.rglob('*'):
        if path.is_file():
            with open(path, 'rb') as stream:
                os.fsync(stream.fileno())
    _sync_folder(folder)


def _sync_folder(folder: Path) -> None:
    """Have the disk hold the names of a folder."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
