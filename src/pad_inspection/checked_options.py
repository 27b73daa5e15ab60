"""Options as dataclass fields that know their unit, range and meaning, and check themselves."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import field
from typing import Any, get_type_hints


def option(
    default,
    doc: str,
    *,
    unit: str = '',
    low=None,
    high=None,
    choices=None,
    as_before: bool = False,
):
    """One tunable value: its default, what it does, its unit and what it may be.

    Args:
        default: its value when nothing else is said.
        doc: what it does, for people.
        unit: of a number.
        low: least value of a number.
        high: largest value of a number.
        choices: all values that it may have.
        as_before: the default does what was done before the option existed, or changes nothing
            that a bundle has thresholds for, so that a model bundle without it takes the default;
            else such a bundle is refused (see bundle_config). The default of such an option must
            never change.
    """
    return field(
        default=default,
        metadata={
            'doc': doc,
            'unit': unit,
            'low': low,
            'high': high,
            'choices': choices,
            'as_before': as_before,
        },
    )


_TYPES = {
    bool: 'true or false',
    int: 'a whole number',
    float: 'a number',
    str: 'a text',
    tuple: 'a list of texts',
    dict: 'a mapping',
}


class CheckedOptions:
    """Checks every option against its type, range and choices when the object is made."""

    def __post_init__(self):
        hints = get_type_hints(type(self))
        for f in dataclasses.fields(self):
            value, meta = getattr(self, f.name), f.metadata
            if dataclasses.is_dataclass(value):
                continue
            name, wanted = f'{type(self).__name__}.{f.name}', hints[f.name]
            if wanted is float and isinstance(value, int) and not isinstance(value, bool):
                try:
                    value = float(value)
                except OverflowError as error:
                    raise ValueError(f'{name} is larger than any number can be') from error
                object.__setattr__(self, f.name, value)
            if not isinstance(value, wanted) or (wanted is int and isinstance(value, bool)):
                raise ValueError(f'{name} is {value!r}, wanted {_TYPES[wanted]}')
            if wanted is tuple and not all(isinstance(item, str) for item in value):
                raise ValueError(f'{name} is {list(value)}, wanted {_TYPES[wanted]}')
            # a default may be NaN where it stands for what is not known
            if wanted is float and not math.isfinite(value) and math.isfinite(f.default):
                raise ValueError(f'{name} is {value}, wanted a finite number')
            if meta.get('choices') and value not in meta['choices']:
                raise ValueError(f'{name} is {value!r}, wanted one of {list(meta["choices"])}')
            low, high = meta.get('low'), meta.get('high')
            if (low is not None and not value >= low) or (high is not None and not value <= high):
                raise ValueError(
                    f'{name} is {value}, wanted {low} to {high} {meta["unit"]}'.strip()
                )


def flatten(config, prefix: str = '') -> list[tuple[str, Any, dict]]:
    """List (dotted name, value, metadata) of every option, in order."""
    rows = []
    for f in dataclasses.fields(config):
        value = getattr(config, f.name)
        if dataclasses.is_dataclass(value):
            rows += flatten(value, f'{prefix}{f.name}.')
        else:
            rows.append((prefix + f.name, value, dict(f.metadata)))
    return rows


def unflatten(values: dict[str, Any]) -> dict[str, Any]:
    """Nested mapping of dotted names, the inverse of flatten for from_dict."""
    nested: dict[str, Any] = {}
    for dotted, value in values.items():
        *sections, name = dotted.split('.')
        target = nested
        for section in sections:
            target = target.setdefault(section, {})
        target[name] = value
    return nested


def options_table(config_class) -> str:
    """Markdown table of every option: name, default, unit, range, what it does."""
    lines = ['| option | default | range | what |', '|---|---|---|---|']
    for name, value, meta in flatten(config_class()):
        if meta.get('choices'):
            allowed = ', '.join(map(str, meta['choices']))
        elif meta.get('low') is not None or meta.get('high') is not None:
            low = '' if meta.get('low') is None else f'{meta["low"]:g}'
            high = '' if meta.get('high') is None else f'{meta["high"]:g}'
            allowed = f'{low} .. {high}'
        else:
            allowed = ''
        unit = f' {meta["unit"]}' if meta.get('unit') else ''
        lines.append(f'| `{name}` | `{value!r}`{unit} | {allowed} | {meta.get("doc", "")} |')
    return '\n'.join(lines)
