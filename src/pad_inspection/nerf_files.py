"""Camera files in the NeRF convention (transforms.json), and JSON as this project writes it.

Matrices are camera-to-world with OpenGL axes (x right, y up, z backward); intrinsics stand in the
file (``fl_x fl_y cx cy w h k1 k2 p1 p2 k3``, or ``camera_angle_x`` alone) or in each frame.
Lens models beyond these coefficients are refused by the key that tells of them.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from pad_inspection import images
from pad_inspection.camera_checks import check_camera
from pad_inspection.datatypes import Camera, Rigid3
from pad_inspection.geometry import cam_from_world_of_opengl

# Values of camera_model whose coefficients are read; the keys of those that are not.
_MODELS = ('OPENCV', 'PINHOLE', 'SIMPLE_PINHOLE', 'RADIAL', 'SIMPLE_RADIAL', 'PERSPECTIVE')
_OTHER_LENS_KEYS = ('is_fisheye', 'k4', 'k5', 'k6')


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
    shared = _intrinsics(content)
    cameras: dict[str, Camera] = {}
    views = []
    for index, frame in enumerate(frames):
        try:
            picture = _picture_path(class_dir, frame['file_path'])
            own = _intrinsics(frame)
            key = json.dumps(shared | own, sort_keys=True)
            # pictures of one file have one size: reading a hundred headers would only cost time
            if key not in cameras:
                cameras[key] = _camera(shared | own, picture)
            pose = cam_from_world_of_opengl(np.asarray(frame['transform_matrix'], np.float64))
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f'{path}, frame {index}: {error_text(error)}') from error
        views.append((picture, cameras[key], pose))
    return views


def _intrinsics(content: dict[str, Any]) -> dict[str, Any]:
    """What an object of the file says of the camera."""
    return {
        key: value
        for key, value in content.items()
        if isinstance(value, (int, float)) or key == 'camera_model'
    }


def _check_lens(values: dict[str, Any]) -> None:
    """Raise a ValueError that names the key of a lens model that is not read."""
    model = values.get('camera_model', 'OPENCV')
    if model not in _MODELS:
        raise ValueError(
            f'camera_model {model!r} is not read, wanted one of {list(_MODELS)}: undistort the '
            'images'
        )
    for key in _OTHER_LENS_KEYS:
        if values.get(key):
            raise ValueError(
                f'{key} is {values[key]}, of a lens model that is not read (k1 k2 p1 p2 k3 are): '
                'undistort the images'
            )


def _focal_px(values: dict[str, Any], axis: str, size: int, default: float | None) -> float:
    """Focal length along x or y; KeyError where nothing tells it."""
    if f'fl_{axis}' in values:
        return float(values[f'fl_{axis}'])
    if f'camera_angle_{axis}' in values:
        return size / 2 / np.tan(float(values[f'camera_angle_{axis}']) / 2)
    if default is None:
        raise KeyError(f'fl_{axis} (or camera_angle_{axis})')
    return default


def _camera(values: dict[str, Any], picture: Path) -> Camera:
    """Camera of NeRF-style values; the size is the picture's where it is not given."""
    _check_lens(values)
    if 'w' in values:
        width, height = int(values['w']), int(values['h'])
    else:
        width, height = images.size_of(picture)
    focal_x = _focal_px(values, 'x', width, None)
    focal_y = _focal_px(values, 'y', height, focal_x)
    cx, cy = float(values.get('cx', width / 2)), float(values.get('cy', height / 2))
    distortion = [float(values.get(name, 0)) for name in ('k1', 'k2', 'p1', 'p2', 'k3')]
    camera = Camera(width, height, [[focal_x, 0, cx], [0, focal_y, cy], [0, 0, 1]], distortion)
    check_camera(camera)
    return camera


def _picture_path(class_dir: Path, file_path: str) -> Path:
    """Path of a frame; NeRF-synthetic leaves out the suffix .png."""
    path = class_dir / file_path
    if path.suffix.lower() in images.IMAGE_SUFFIXES:
        return path
    return path.with_name(path.name + '.png')
