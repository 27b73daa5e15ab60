"""Options reach the inspection from bundles and files of others: none may be without limits."""

import math

import pytest

from pad_inspection.checked_options import flatten, unflatten
from pad_inspection.config import InspectionConfig, from_dict

NUMBERS = [
    (name, meta)
    for name, value, meta in flatten(InspectionConfig())
    if isinstance(value, int | float) and not isinstance(value, bool) and not meta['choices']
]


@pytest.mark.parametrize(('name', 'meta'), NUMBERS, ids=[name for name, _ in NUMBERS])
def test_every_number_has_both_limits_and_keeps_them(name, meta):
    assert meta['low'] is not None and meta['high'] is not None
    for value in (meta['low'] - 1, meta['high'] + 1, math.nan, math.inf):
        with pytest.raises(ValueError, match=name.split('.')[1]):
            from_dict(InspectionConfig, unflatten({name: value}))
    for value in (meta['low'], meta['high']):
        from_dict(InspectionConfig, unflatten({name: value}))


def test_a_region_that_takes_all_memory_is_refused():
    with pytest.raises(ValueError, match='min_region_px is 1000000000, wanted 1 to 10000'):
        from_dict(InspectionConfig, {'comparison': {'min_region_px': 10**9}})
