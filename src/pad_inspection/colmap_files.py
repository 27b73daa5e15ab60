"""COLMAP models as files (binary or text): cameras and poses of photographs.

Only what is needed to take over photographs with their cameras is read; the points are not.
Source: the file formats as documented by COLMAP (cameras, images). A model is in whatever unit it
was reconstructed in: scale it to metres before using it.
"""

from __future__ import annotations

import struct
from pathlib import Path

from pad_inspection.camera_checks import check_camera
from pad_inspection.datatypes import Camera, Rigid3
from pad_inspection.geometry import rotation_from_quat

# model id -> name and number of parameters, in COLMAP's order
_MODELS = {
    0: ('SIMPLE_PINHOLE', 3),
    1: ('PINHOLE', 4),
    2: ('SIMPLE_RADIAL', 4),
    3: ('RADIAL', 5),
    4: ('OPENCV', 8),
}
_COUNTS = dict(_MODELS.values())


def read_views(model_dir: Path, image_dir: Path) -> list[tuple[Path, Camera, Rigid3]]:
    """Read picture, camera and cam_from_world of each image, sorted by file name.

    Args:
        model_dir: folder with cameras.bin and images.bin (or .txt).
        image_dir: folder of the pictures.

    Raises:
        FileNotFoundError: a file of the model is missing.
        ValueError: a file is damaged, or a camera has a lens model that is not read.
    """
    binary = (model_dir / 'cameras.bin').is_file()
    suffix = 'bin' if binary else 'txt'
    for name in ('cameras', 'images'):
        if not (model_dir / f'{name}.{suffix}').is_file():
            raise FileNotFoundError(f'{model_dir} has no {name}.{suffix}')
    try:
        read_cameras, read_images = (
            (_binary_cameras, _binary_images) if binary else (_text_cameras, _text_images)
        )
        cameras = read_cameras(model_dir / f'cameras.{suffix}')
        entries = read_images(model_dir / f'images.{suffix}')
        views = [
            (image_dir / name, cameras[camera_id], Rigid3(rotation_from_quat(quat), translation))
            for name, camera_id, quat, translation in sorted(entries)
        ]
    except (struct.error, IndexError, KeyError, UnicodeDecodeError) as error:
        raise ValueError(f'{model_dir} holds no readable COLMAP model: {error!r}') from error
    if not views:
        raise ValueError(f'{model_dir} lists no images')
    return views


def _camera(model: str, width: int, height: int, values: list[float]) -> Camera:
    """Camera of a COLMAP lens model; its parameters follow OpenCV's radial formula."""
    if model not in _COUNTS:
        raise ValueError(f'lens model {model} is not read, wanted one of {sorted(_COUNTS)}')
    if len(values) != _COUNTS[model]:
        raise ValueError(
            f'lens model {model} has {len(values)} parameters, wanted {_COUNTS[model]}'
        )
    if model in ('PINHOLE', 'OPENCV'):
        fx, fy, cx, cy, *lens = values
    else:
        fx, cx, cy, *lens = values
        fy = fx
    distortion = (lens + [0.0] * 5)[:5]
    camera = Camera(width, height, [[fx, 0, cx], [0, fy, cy], [0, 0, 1]], distortion)
    check_camera(camera)
    return camera


def _binary_cameras(path: Path) -> dict[int, Camera]:
    """Cameras of cameras.bin by id."""
    data = path.read_bytes()
    (count,) = struct.unpack_from('<Q', data)
    offset, cameras = 8, {}
    for _ in range(count):
        camera_id, model_id, width, height = struct.unpack_from('<iiQQ', data, offset)
        if model_id not in _MODELS:
            raise ValueError(f'{path}: lens model {model_id} is not read; undistort the images')
        model, number = _MODELS[model_id]
        values = struct.unpack_from(f'<{number}d', data, offset + 24)
        cameras[camera_id] = _camera(model, width, height, list(values))
        offset += 24 + 8 * number
    return cameras


def _binary_images(path: Path) -> list[tuple[str, int, tuple, tuple]]:
    """Name, camera id, quaternion wxyz and translation of each image of images.bin."""
    data = path.read_bytes()
    (count,) = struct.unpack_from('<Q', data)
    offset, found = 8, []
    for _ in range(count):
        values = struct.unpack_from('<i7di', data, offset)
        offset += 64
        end = data.index(b'\0', offset)
        name = data[offset:end].decode('utf-8')
        (points,) = struct.unpack_from('<Q', data, end + 1)
        offset = end + 9 + 24 * points
        found.append((name, values[8], values[1:5], values[5:8]))
    return found


def _text_cameras(path: Path) -> dict[int, Camera]:
    """Cameras of cameras.txt by id."""
    cameras = {}
    for line in path.read_text(encoding='utf-8').splitlines():
        if line.strip() and not line.startswith('#'):
            camera_id, model, width, height, *values = line.split()
            cameras[int(camera_id)] = _camera(
                model, int(width), int(height), [float(v) for v in values]
            )
    return cameras


def _text_images(path: Path) -> list[tuple[str, int, tuple, tuple]]:
    """Name, camera id, quaternion wxyz and translation of each image of images.txt."""
    lines = [x for x in path.read_text(encoding='utf-8').splitlines() if not x.startswith('#')]
    found = []
    # every second line lists the image's points and may be empty
    for line in lines[::2]:
        if line.strip():
            words = line.split(maxsplit=9)
            numbers = [float(w) for w in words[1:8]]
            found.append((words[9].strip(), int(words[8]), tuple(numbers[:4]), tuple(numbers[4:])))
    return found
