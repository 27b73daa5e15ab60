"""Files that appear whole or not at all, also when the disk is full."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO


@contextmanager
def replacing(path: Path, *, binary: bool = False, newline: str | None = None) -> Iterator[IO]:
    r"""Open a new file beside ``path`` that takes its name when all is written.

    When writing fails, or the caller does, there is nothing new and an old file stays. What is no
    regular file (/dev/stdout) is written at once.

    Args:
        path: the file; its folder exists.
        binary: takes bytes instead of text (UTF-8).
        newline: of open(); '' for the csv module.

    Raises:
        OSError: it cannot be written; names ``path`` and the cause.
    """
    path = Path(path).resolve()
    kind = 'b' if binary else ''
    options = {} if binary else {'encoding': 'utf-8', 'newline': newline}
    if path.exists() and not path.is_file():
        with open(path, f'w{kind}', **options) as stream:
            yield stream
        return
    part = path.with_name(f'.{path.name[:40]}.{secrets.token_hex(4)}.part')
    try:
        with open(part, f'x{kind}', **options) as stream:
            yield stream
        os.replace(part, path)
    except OSError as error:
        # an error of write() names no file, one of open() a name that nobody asked for
        if error.errno is None or error.filename not in (None, str(part)):
            raise
        raise OSError(error.errno, f'cannot write: {error.strerror}', str(path)) from error
    finally:
        part.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file (UTF-8). Raises as replacing."""
    with replacing(path) as stream:
        stream.write(text)
