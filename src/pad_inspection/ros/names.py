"""Names of cameras, topics and products in parameters: what ROS takes, each once."""

from __future__ import annotations

import re
from collections.abc import Sequence

MAX_LENGTH = 100
"""Characters of the longest name; ROS and DDS have limits on whole topic names."""
_NAME = re.compile(r'[A-Za-z][A-Za-z0-9_]*(/[A-Za-z_][A-Za-z0-9_]*)*', re.ASCII)


def check_names(parameter: str, names: Sequence[str], *, unique: bool = True) -> None:
    """Check names that become parts of topic names.

    Args:
        parameter: what holds them, for the error.
        names: may be none.
        unique: whether none may be there twice.

    Raises:
        ValueError: the first that is wrong.
    """
    for name in names:
        if not _NAME.fullmatch(name) or len(name) > MAX_LENGTH:
            raise ValueError(
                f'parameter {parameter!r} has {name[:MAX_LENGTH]!r}, wanted a ROS name: letters, '
                f'digits and underscores, a letter first, single slashes between, at most '
                f'{MAX_LENGTH} characters'
            )
    if unique:
        check_unique(parameter, names)


def check_unique(parameter: str, names: Sequence[str]) -> None:
    """Check that no name is there twice.

    Raises:
        ValueError: one is.
    """
    for index, name in enumerate(names):
        if name in names[:index]:
            raise ValueError(f'parameter {parameter!r} has {name!r} twice, wanted each once')


def check_known(parameter: str, names: Sequence[str], known: Sequence[str]) -> None:
    """Check that all names are among others.

    Raises:
        ValueError: some are not.
    """
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ValueError(f'parameter {parameter!r} has {unknown}, wanted some of {list(known)}')
