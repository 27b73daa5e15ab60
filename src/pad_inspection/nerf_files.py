"""Camera files in the NeRF convention (transforms.json), and JSON as this project writes it.

Matrices are camera-to-world with OpenGL axes (x right, y up, z backward); intrinsics stand in the
file (``fl_x fl_y cx cy w h k1 k2 p1 p2``, or ``camera_angle_x`` alone) or in each frame.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from pad_inspection import images
from pad_inspection.datatypes import Camera, Rigid3
from pad_inspection.geometry import cam_from_world_of_opengl


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not JSON, or not an object.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f'{path} does not exist')
    try:
        content = json.loads(path.read_text(encoding='utf-8'))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f'{path} is not JSON: {error}') from error
    if not isinstance(content, dict):
        raise ValueError(f'{path} holds a {type(content).__name__}, wanted an object')
    return content


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write a JSON object so that the same content gives the same bytes."""
    Path(path).write_text(json.dumps(content, indent=1) + '\n', encoding='utf-8')


def error_text(error: Exception) -> str:
    """Text of an error for a longer message; that of a KeyError would be only the key."""
    return f'{error.args[0]!r} is missing' if isinstance(error, KeyError) else str(error)


def read_views(class_dir: Path, path: Path) -> list[tuple[Path, Camera, Rigid3]]:
    """Read picture, camera and cam_from_world of each frame; a frame's intrinsics go first.

    Args:
        class_dir: folder that the pictures' paths are relative to.
        path: transforms.json or the like.

    Raises:
        ValueError: the file does not hold what it should; the message names file and frame.
    """
    content = read_json(path)
    frames = content.get('frames')
    if not isinstance(frames, list) or not frames:
        raise ValueError(f'{path} lists no frames')
    shared = {key: value for key, value in content.items() if isinstance(value, (int, float))}
    cameras: dict[str, Camera] = {}
    views = []
    for index, frame in enumerate(frames):
        try:
            picture = _picture_path(class_dir, frame['file_path'])
            own = {k: v for k, v in frame.items() if isinstance(v, (int, float))}
            key = json.dumps(shared | own, sort_keys=True)
            # pictures of one file have one size: reading a hundred headers would only cost time
            if key not in cameras:
                cameras[key] = _camera(shared | own, picture)
            pose = cam_from_world_of_opengl(np.asarray(frame['transform_matrix'], np.float64))
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f'{path}, frame {index}: {error_text(error)}') from error
        views.append((picture, cameras[key], pose))
    return views


def _camera(values: dict[str, Any], picture: Path) -> Camera:
    """Camera of NeRF-style values; the size is the picture's where it is not given."""
    if 'w' in values:
        width, height = int(values['w']), int(values['h'])
    else:
        width, height = images.size_of(picture)
    if 'fl_x' in values:
        focal_x = float(values['fl_x'])
    else:
        focal_x = width / 2 / np.tan(float(values['camera_angle_x']) / 2)
    focal_y = float(values.get('fl_y', focal_x))
    cx, cy = float(values.get('cx', width / 2)), float(values.get('cy', height / 2))
    distortion = [float(values.get(name, 0)) for name in ('k1', 'k2', 'p1', 'p2', 'k3')]
    return Camera(width, height, [[focal_x, 0, cx], [0, focal_y, cy], [0, 0, 1]], distortion)


def _picture_path(class_dir: Path, file_path: str) -> Path:
    """Path of a frame; NeRF-synthetic leaves out the suffix .png."""
    path = class_dir / file_path
    if path.suffix.lower() in images.IMAGE_SUFFIXES:
        return path
    return path.with_name(path.name + '.png')
