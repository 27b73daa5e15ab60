"""Poses of cameras that are fixed to each other.

A rig is one YAML file:

    cameras:                 # pose of each optical frame in any common frame, m
      left: {translation: [0, 0, 0], rotation_xyzw: [0, 0, 0, 1]}
      right: {translation: [0.3, 0, 0], rotation_xyzw: [0, 0, 0, 1]}

Cameras of other nodes may be in it too.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pad_inspection.datatypes import Rigid3
from pad_inspection.geometry import invert
from pad_inspection.ros.belt_layout import pose_of
from pad_inspection.yaml_files import read_yaml


def read_rig(path: Path, cameras: Sequence[str]) -> dict[str, Rigid3]:
    """Read the file of a rig.

    Args:
        path: YAML file.
        cameras: of this node; others in the file are left out.

    Returns:
        Camera -> cam_from_rig.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: what is wrong in it; starts with the path.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f'rig {str(path)!r} does not exist')
    try:
        return _parse(read_yaml(path), cameras)
    except ValueError as error:
        raise ValueError(f'{path}: {error}') from error


def _parse(content: Any, cameras: Sequence[str]) -> dict[str, Rigid3]:
    """See read_rig."""
    if not isinstance(content, dict) or set(content) != {'cameras'}:
        raise ValueError('wanted one mapping "cameras": name -> translation, rotation_xyzw')
    given = content['cameras']
    if not isinstance(given, dict):
        raise ValueError(f'cameras is {given!r}, wanted a mapping of names to poses')
    poses = {str(name): pose_of(pose, f'camera {name}') for name, pose in given.items()}
    found = {name: invert(pose) for name, pose in poses.items() if name in cameras}
    if len(found) < 2:
        raise ValueError(
            f'has {sorted(poses)}, wanted two or more of the cameras of this node, which are '
            f'{list(cameras)}'
        )
    return found
