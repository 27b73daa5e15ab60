"""What a renderer gets: parts at their places, a look of the surroundings, and a camera.

World frame: metres, z up. On the conveyor x is the direction of travel and the belt is z = 0.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np

from pad_inspection.datatypes import Camera, Rigid3
from pad_inspection.offline.render_dataset.ldraw import Library, Placement

FLOORS = ('tiles', 'concrete', 'wood')
BELTS = ('steel', 'dark', 'blue')


@dataclass(frozen=True)
class Conveyor:
    """A belt of plates between two rails, over a floor.

    Attributes:
        shift: of the plates along x, m.
        belt: one of BELTS.
        floor: one of FLOORS.
        floor_seed: of the floor's texture and its position.
        width: of the plates, m.
        pitch: of the plates, m.
        length: of the belt, m.
        floor_drop: floor below the belt, m.
    """

    shift: float = 0.0
    belt: str = 'steel'
    floor: str = 'tiles'
    floor_seed: int = 0
    width: float = 0.16
    pitch: float = 0.04
    length: float = 1.2
    floor_drop: float = 0.06


@dataclass(frozen=True)
class Lighting:
    """Lamps: a white surround and three large area lights, as factors of their usual power.

    Attributes:
        surround: radiance of the surround.
        key, left, right: factor of the power of the lamp above and of those at the sides.
    """

    surround: float = 0.55
    key: float = 1.0
    left: float = 1.0
    right: float = 1.0


@dataclass(frozen=True)
class Scene:
    """Everything but the camera's pose.

    Attributes:
        library: of the parts.
        placements: the model.
        world_from_model: float64 (4, 4), LDraw frame in LDU to the world in metres.
        camera: intrinsics.
        samples: light paths per pixel.
        conveyor: surroundings, or None for an object alone on nothing (RGBA pictures).
        lighting: lamps.
        seed: of the light paths.
    """

    library: Library
    placements: list[Placement]
    world_from_model: np.ndarray
    camera: Camera
    samples: int
    conveyor: Conveyor | None = None
    lighting: Lighting = field(default_factory=Lighting)
    seed: int = 0


class RenderError(RuntimeError):
    """A picture could not be rendered; the message says why."""


class Renderer(Protocol):
    """Turns scenes into pictures."""

    name: str

    def open(self, scene: Scene) -> None:
        """Take a scene; the pictures that follow are of it."""

    def render(self, cam_from_world: Rigid3, path: Path) -> None:
        """Write a PNG: RGBA with straight alpha without a conveyor, RGB with one.

        Raises:
            RenderError: it failed; another try may succeed.
        """

    def close(self) -> None:
        """End what was started."""
