"""Reads .npz files that strangers may have made: nothing is unpacked before its size is known."""

from __future__ import annotations

import math
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

MAX_BYTES = 1 << 30
"""Unpacked; a larger file is refused."""

_MAX_ARRAYS = 64
_DAMAGE = (
    ValueError, KeyError, TypeError, EOFError, OSError, MemoryError, OverflowError, RuntimeError,
    zipfile.BadZipFile, zlib.error,
)  # fmt: skip


def read_npz(path: Path, max_bytes: int = MAX_BYTES) -> Mapping[str, np.ndarray]:
    """Read all arrays of a file.

    Args:
        path: the file.
        max_bytes: that all arrays may take.

    Returns:
        Name -> array.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is damaged, holds Python objects, or would unpack to more; the message does
            not name the file.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            total = sum(entry.file_size for entry in entries)
            if len(entries) > _MAX_ARRAYS or total > max_bytes:
                raise ValueError(
                    f'{len(entries)} arrays of {total} bytes, wanted up to {_MAX_ARRAYS} of '
                    f'{max_bytes}'
                )
            return {e.filename.removesuffix('.npy'): _read(archive, e) for e in entries}
    except FileNotFoundError:
        raise
    except _DAMAGE as error:
        raise ValueError(f'{error or type(error).__name__}') from error


def _read(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> np.ndarray:
    """One array, if its header and its size go together."""
    with archive.open(entry) as stream:
        version = np.lib.format.read_magic(stream)
        headers = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }
        if version not in headers:
            raise ValueError(f'{entry.filename} has format {version}')
        shape, fortran_order, dtype = headers[version](stream)
        if dtype.hasobject:
            raise ValueError(f'{entry.filename} holds Python objects')
        # Python's integers do not overflow
        wanted = math.prod(int(side) for side in shape) * dtype.itemsize
        if stream.tell() + wanted != entry.file_size:
            raise ValueError(
                f'{entry.filename} has {entry.file_size} bytes, its header tells of {wanted}'
            )
        if wanted == 0:
            return np.empty(shape, dtype)
        flat = np.frombuffer(stream.read(), dtype)
        return flat.reshape(shape, order='F' if fortran_order else 'C').copy()
