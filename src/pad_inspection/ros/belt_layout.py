"""Where cameras and light barrier stand along the belt, and how it moves: one YAML file a line.

    speed: 0.25                # m/s; leave it out where an encoder publishes belt_state
    trigger_position: -0.4     # m, light barrier
    cameras:
      left: {position: 0.0}    # m, x at which the camera looks
      top: {position: 0.3, window: 0.08}

Positions are x of the frame ``conveyor``. Instead of ``position`` a camera may have its pose
``conveyor_from_camera: {translation: [x, y, z], rotation_xyzw: [x, y, z, w]}`` (optical frame).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pad_inspection import geometry
from pad_inspection.checked_options import CheckedOptions, option
from pad_inspection.config import from_dict
from pad_inspection.datatypes import Rigid3
from pad_inspection.yaml_files import read_yaml


@dataclass(frozen=True)
class BeltOptions(CheckedOptions):
    """What the file says beside the cameras."""

    speed: float = option(
        0.0,
        'constant speed of the belt; 0: samples on belt_state tell',
        unit='m/s',
        low=-20.0,
        high=20.0,
    )
    max_speed: float = option(
        5.0,
        'encoder samples that need more than this mean that it was reset',
        unit='m/s',
        low=0.001,
        high=100.0,
    )
    max_extrapolation: float = option(
        0.2,
        'after the last encoder sample its speed is believed this long',
        unit='s',
        low=0.0,
        high=60.0,
    )
    trigger_position: float = option(
        math.nan, 'where a piece is when its trigger has no position (light barrier)', unit='m'
    )
    window: float = option(
        0.05,
        'a piece is in front of a camera within +- this of its position',
        unit='m',
        low=0.0001,
        high=10.0,
    )
    views_per_camera: int = option(
        1, 'images of a piece from each camera; further ones are not inspected', low=1, high=1000
    )
    unannounced: str = option(
        'ignore',
        'images without an announced piece: ignore (answered NO_PIECE), or inspect; what is '
        'localised then becomes a piece and is announced on object_trigger',
        choices=('ignore', 'inspect'),
    )
    expected_views: int = option(
        0, 'images of a piece that was announced that way; 0: one of each camera', low=0, high=1000
    )


@dataclass(frozen=True)
class Station:
    """One camera at the belt.

    Attributes:
        position: x at which it looks, m.
        window: m; a piece within +- this of ``position`` is in front of it.
        conveyor_from_camera: pose of the optical frame, or None.
    """

    position: float
    window: float
    conveyor_from_camera: Rigid3 | None = None


@dataclass(frozen=True)
class BeltLayout(BeltOptions):
    """Options of a line and its cameras by name."""

    cameras: dict = field(default_factory=dict)

    @property
    def sees_unannounced(self) -> bool:
        """Whether images without an announced piece are inspected."""
        return self.unannounced == 'inspect'


def read_layout(path: Path) -> BeltLayout:
    """Read a line's file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: not YAML, an unknown key or a bad value; the message names the file.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f'belt layout {path} does not exist')
    try:
        return layout_of(read_yaml(path))
    except ValueError as error:
        raise ValueError(f'{path}: {error}') from error


def read_layout_of(path: Path, cameras: Sequence[str]) -> BeltLayout:
    """Read a line's file that must have some cameras.

    Raises:
        FileNotFoundError, ValueError: see read_layout; or it lacks a camera.
    """
    layout = read_layout(path)
    missing = sorted(set(cameras) - set(layout.cameras))
    if missing:
        raise ValueError(f'{path} has no camera {", ".join(missing)}')
    return layout


def layout_of(values: Any) -> BeltLayout:
    """Layout of the content of a file.

    Raises:
        ValueError: what is wrong with it.
    """
    if not isinstance(values, dict) or not isinstance(values.get('cameras'), dict):
        raise ValueError(f'belt layout is {values!r}, wanted options and a mapping "cameras"')
    if not values['cameras']:
        raise ValueError('belt layout has no cameras')
    options = from_dict(BeltOptions, {k: v for k, v in values.items() if k != 'cameras'})
    stations = {
        str(name): _station(str(name), content, options.window)
        for name, content in values['cameras'].items()
    }
    return BeltLayout(**vars(options), cameras=stations)


def _station(name: str, content: Any, window: float) -> Station:
    """Station of one camera."""
    wanted = {'position', 'window', 'conveyor_from_camera'}
    if not isinstance(content, dict) or not set(content) <= wanted:
        raise ValueError(f'camera {name} is {content!r}, wanted some of {sorted(wanted)}')
    pose = content.get('conveyor_from_camera')
    pose = None if pose is None else pose_of(pose, f'camera {name}: conveyor_from_camera')
    position = content.get('position')
    if position is None and pose is not None:
        position = _looks_at(name, pose)
    window = content.get('window', window)
    for what, value in (('position', position), ('window', window)):
        if not isinstance(value, int | float) or not math.isfinite(value):
            raise ValueError(f'camera {name}: {what} is {value!r}, wanted metres')
    if not window > 0:
        raise ValueError(f'camera {name}: window is {window} m, wanted more than 0')
    return Station(float(position), float(window), pose)


def pose_of(content: Any, what: str) -> Rigid3:
    """Pose from translation and rotation_xyzw.

    Raises:
        ValueError: it is not in that form; begins with ``what``.
    """
    try:
        x, y, z, w = (float(value) for value in content['rotation_xyzw'])
        translation = np.array(content['translation'], np.float64)
        return Rigid3(geometry.rotation_from_quat(np.array([w, x, y, z])), translation)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f'{what} is {content!r}, wanted translation [x, y, z] and rotation_xyzw '
            f'[x, y, z, w] ({error})'
        ) from error


def _looks_at(name: str, conveyor_from_camera: Rigid3) -> float:
    """X at which the optical axis meets the belt (z = 0), m."""
    center, axis = conveyor_from_camera.translation, conveyor_from_camera.rotation[:, 2]
    if axis[2] >= -1e-6 or center[2] <= 0:
        raise ValueError(f'camera {name} does not look down at the belt, give its position')
    return float(center[0] - axis[0] * center[2] / axis[2])
