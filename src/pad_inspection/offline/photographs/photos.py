"""Photographs of a product: found in a folder, cut out of their background, scaled down."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pad_inspection import images
from pad_inspection.dataset import WHITE_LEVEL, TrainingView
from pad_inspection.datatypes import Camera
from pad_inspection.geometry import identity, scale_camera
from pad_inspection.localization.incremental import camera_of_photograph

# More of the picture's edge than this that is neither white nor transparent is background.
_MAX_EDGE_SHARE = 0.25
# EXIF rounds; focal lengths that differ by more are those of a zoom.
_SAME_FOCAL = 1.03


@dataclass(frozen=True)
class CameraGuess:
    """Intrinsics of the photographs before mapping.

    Attributes:
        camera: of all photographs, at their size in the data set, without distortion.
        source: 'given', 'exif' or 'assumed'; only given ones are held fixed.
        full_width: of the photographs before they are scaled down, px.
    """

    camera: Camera
    source: str
    full_width: int


def find_photos(folder: Path) -> list[Path]:
    """Photographs of a folder (or of train/good in it), by name.

    Raises:
        FileNotFoundError: there are none.
        ValueError: two of them differ only in their suffix.
    """
    folder = Path(folder)
    for place in (folder / 'train' / 'good', folder):
        if place.is_dir():
            found = sorted(p for p in place.iterdir() if p.suffix.lower() in images.IMAGE_SUFFIXES)
            names = [path.stem for path in found]
            twice = sorted({name for name in names if names.count(name) > 1})
            if twice:
                raise ValueError(f'{place} holds several photographs named {twice[:3]}')
            if found:
                return found
    raise FileNotFoundError(
        f'{folder} holds no photographs (wanted {", ".join(images.IMAGE_SUFFIXES)} in it, or in '
        'train/good)'
    )


def guess_camera(paths: list[Path], given: Camera | None, max_side_px: int) -> CameraGuess:
    """Intrinsics from a file, from the first photograph's EXIF, or assumed.

    Args:
        paths: the photographs; all must have the same size.
        given: intrinsics at the photographs' size, or None.
        max_side_px: larger photographs are scaled down to this.

    Raises:
        ValueError: the photographs have different sizes, or not that of the given camera.
    """
    found = [camera_of_photograph(path) for path in paths]
    sizes = {(camera.width, camera.height) for camera, _ in found}
    if len(sizes) > 1:
        raise ValueError(
            f'the photographs have different sizes {sorted(sizes)}: take all of them with one '
            'camera, held the same way (no automatic rotation)'
        )
    width, height = sizes.pop()
    if given is not None and (given.width, given.height) != (width, height):
        raise ValueError(
            f'the photographs have {width}x{height} px, the given camera '
            f'{given.width}x{given.height}'
        )
    if given is not None:
        camera, source = Camera(width, height, given.K), 'given'
    else:
        camera, from_exif = found[0]
        source = 'exif' if from_exif else 'assumed'
        focals = sorted(other.K[0, 0] for other, _ in found)
        if focals[-1] > _SAME_FOCAL * focals[0]:
            raise ValueError(
                f'the photographs have focal lengths of {focals[0]:.0f} to {focals[-1]:.0f} px by '
                'their EXIF: take all of them without zooming'
            )
    factor = min(1.0, max_side_px / max(width, height))
    if factor < 1:
        camera = scale_camera(camera, round(width * factor), round(height * factor))
    return CameraGuess(camera, source, width)


def prepare_photos(
    paths: list[Path],
    camera: Camera,
    given: Camera | None,
    class_dir: Path,
    segment: Callable[[np.ndarray], np.ndarray] | None,
) -> list[TrainingView]:
    """Write the photographs as RGBA pictures of a data set; their poses are not known yet.

    Args:
        paths: the photographs.
        camera: of the pictures to write, without distortion.
        given: intrinsics of the photographs, whose distortion is taken out, or None.
        class_dir: the pictures go to its folder train/good.
        segment: gives the probability (H, W) that a pixel of a picture is object, for
            photographs with a background; None = they must have none.

    Returns:
        Views with the identity as pose.

    Raises:
        ValueError: a photograph shows a background and there is nothing to cut it out with.
    """
    folder = Path(class_dir) / 'train' / 'good'
    folder.mkdir(parents=True, exist_ok=True)
    size = (camera.width, camera.height)
    views = []
    for path in paths:
        image, alpha = images.read_rgba(path)
        if alpha is not None and alpha.min() == 255:
            alpha = None  # nothing is cut out
        if given is not None and np.any(given.distortion):
            image, _ = images.undistort(image, given)
            alpha = None if alpha is None else images.undistort(alpha, given)[0]
        image = images.resize(image, *size)
        if alpha is not None:
            alpha = images.resize(alpha, *size)
        elif _shows_background(image):
            if segment is None:
                raise ValueError(
                    f'{path}: the background is neither white nor transparent; remove it, or let '
                    'the segmentation network do so (--segment)'
                )
            alpha = images.to_uint8(segment(image))
        else:
            alpha = np.where(image.min(axis=2) < WHITE_LEVEL, 255, 0).astype(np.uint8)
        target = folder / f'{path.stem}.png'
        images.write(target, np.dstack([image, alpha]))
        views.append(TrainingView(path.stem, target, camera, identity()))
    return views


def _shows_background(image: np.ndarray) -> bool:
    """Whether much of the edge of a picture is not white."""
    border = np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]])
    return float((border.min(axis=1) < WHITE_LEVEL).mean()) > _MAX_EDGE_SHARE
