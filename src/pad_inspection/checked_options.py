"""Options as dataclass fields that know their unit, range and meaning, and check themselves."""

from __future__ import annotations

import dataclasses
from dataclasses import field
from typing import get_type_hints


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
        as_before: the default does what was done before the option existed, so that a model bundle
            without it takes the default; else such a bundle is refused (see bundle_config). The
            default of such an option must never change.
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
                value = float(value)
                object.__setattr__(self, f.name, value)
            if not isinstance(value, wanted) or (wanted is int and isinstance(value, bool)):
                raise ValueError(f'{name} is {value!r}, wanted a value of type {wanted.__name__}')
            if meta.get('choices') and value not in meta['choices']:
                raise ValueError(f'{name} is {value!r}, wanted one of {list(meta["choices"])}')
            low, high = meta.get('low'), meta.get('high')
            if (low is not None and not value >= low) or (high is not None and not value <= high):
                raise ValueError(
                    f'{name} is {value}, wanted {low} to {high} {meta["unit"]}'.strip()
                )
