"""Texts that come from outside (object ids, names, messages): safe to print, log and tabulate."""

from __future__ import annotations

import re

MAX_ID_LENGTH = 128
"""Characters of the longest object id that is taken."""
MAX_TEXT_LENGTH = 2000
"""Characters of the longest message that is printed, logged or sent."""

_MIN_LIMIT = 40
_PLAIN_NUMBER = re.compile(r'[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?|[+-]?inf|nan', re.ASCII)
# The full-width forms too: some spreadsheets fold them. After a semicolon too: it separates the
# cells where the comma is the decimal mark.
_FORMULA = re.compile(r'(^|;)(?=\s*[=+\-@\uff1d\uff0b\uff0d\uff20])')


def printable(text: object, limit: int = MAX_ID_LENGTH) -> str:
    r"""Text as one line that shows what is in it and can do nothing to its reader.

    Everything that is not printable (control characters, newlines, ANSI escapes, bidirectional
    overrides, zero-width characters, lone surrogates) is shown as \n, \x1b, \u202e. Doing it
    again changes nothing.

    Args:
        text: anything with a str().
        limit: characters of the result, at least 40; a longer text is cut and says so.

    Raises:
        ValueError: the limit is too low for the mark of a cut.
    """
    if limit < _MIN_LIMIT:
        raise ValueError(f'limit is {limit}, wanted {_MIN_LIMIT} or more')
    text = str(text)
    if len(text) <= limit and text.isprintable():
        return text
    shown = [_escaped(char) for char in text[:limit]]
    if len(text) <= limit and sum(map(len, shown)) <= limit:
        return ''.join(shown)
    mark = f'...[{len(text)} characters]'
    room = limit - len(mark)
    kept = []
    for part in shown:
        room -= len(part)
        if room < 0:
            break
        kept.append(part)
    return ''.join(kept) + mark


def file_stem(text: str) -> str:
    """Text as part of a file name: letters, digits, dot, dash and underscore, at most 80.

    Other characters become underscores, so two texts may give one name.
    """
    return re.sub(r'[^\w.-]|^\.', '_', text)[:80]


def csv_cell(value: object, limit: int = MAX_TEXT_LENGTH) -> object:
    """Value for a csv.writer: texts as printable and never a formula, anything else as it is.

    A spreadsheet takes a cell that starts with = + - @ for a formula; such a text gets an
    apostrophe in front, except a plain number.
    """
    if not isinstance(value, str):
        return value
    text = printable(value, limit)
    return text if _PLAIN_NUMBER.fullmatch(text) else _FORMULA.sub(r"\1'", text)


def _escaped(char: str) -> str:
    """One character, or its escape."""
    return char if char.isprintable() else char.encode('unicode_escape').decode('ascii')
