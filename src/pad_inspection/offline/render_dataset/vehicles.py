"""The nine brick vehicles of the benchmark: own designs, made of official part numbers."""

from __future__ import annotations

from collections.abc import Callable

from pad_inspection.offline.render_dataset import designs_cars, designs_utility
from pad_inspection.offline.render_dataset.builder import Builder
from pad_inspection.offline.render_dataset.ldraw import Library, Placement

# class -> how it is built, and its width in studs
_DESIGNS: dict[str, tuple[Callable[[Builder], None], int]] = {
    'police_car': (designs_cars.police_car, 4),
    'coupe': (designs_cars.coupe, 4),
    'amphibious_car': (designs_cars.amphibious, 4),
    'offroad_car': (designs_cars.offroad, 4),
    'tank': (designs_utility.tank, 6),
    'desert_car': (designs_utility.desert_car, 4),
    'truck': (designs_utility.truck, 4),
    'loader': (designs_utility.loader, 4),
    'racing_car': (designs_cars.racing_car, 4),
}
CLASSES = tuple(_DESIGNS)


def build(library: Library, name: str) -> list[Placement]:
    """Build a vehicle. Raises as check_name."""
    check_name(name)
    design, width = _DESIGNS[name]
    builder = Builder(library, width)
    design(builder)
    return builder.placements


def check_name(name: str) -> None:
    """Raise a ValueError when there is no class of this name."""
    if name not in _DESIGNS:
        raise ValueError(f'there is no class {name!r}, wanted one of {", ".join(CLASSES)}')
