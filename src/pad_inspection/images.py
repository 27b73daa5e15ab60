"""Images: read, write, undistort, resize, crop, draw. The only place for these.

Pictures are uint8 (H, W, 3) RGB unless a docstring says otherwise.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import BinaryIO

import numpy as np

from pad_inspection.datatypes import Camera
from pad_inspection.geometry import opencv_matrix
from pad_inspection.whole_files import replacing

IMAGE_SUFFIXES = ('.png', '.jpg', '.jpeg', '.webp', '.bmp', '.tif', '.tiff')
MAX_PIXELS = 200_000_000
"""A larger picture is refused before it is decoded."""

# uncompressed, of four channels of 16 bits
_MAX_BYTES = 8 * MAX_PIXELS


def size_of(path: Path) -> tuple[int, int]:
    """Width and height, px, that a picture's header tells; nothing is decoded.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not a picture, or larger than MAX_PIXELS.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f'image {path} does not exist')
    with open(path, 'rb') as stream:
        return _size_in(stream, path)


def _size_in(stream: BinaryIO, name: Path | str) -> tuple[int, int]:
    """See size_of; ``name`` is for the message."""
    # Image.open would judge the size by a limit of its own, which is one for the whole process
    from PIL.BmpImagePlugin import BmpImageFile
    from PIL.JpegImagePlugin import JpegImageFile
    from PIL.PngImagePlugin import PngImageFile
    from PIL.TiffImagePlugin import TiffImageFile
    from PIL.WebPImagePlugin import WebPImageFile

    num_bytes = stream.seek(0, 2)
    for kind in (PngImageFile, JpegImageFile, BmpImageFile, TiffImageFile, WebPImageFile):
        stream.seek(0)
        try:
            width, height = kind(stream).size
            break
        except (SyntaxError, ValueError, OSError, OverflowError, TypeError):
            continue
    else:
        raise ValueError(
            f'{name} ({num_bytes} bytes) is not a readable picture, wanted PNG, JPEG, WebP, BMP '
            'or TIFF'
        )
    if not 0 < width * height <= MAX_PIXELS:
        raise ValueError(f'{name} has {width}x{height} px, wanted 1 to {MAX_PIXELS} pixels')
    if num_bytes > _MAX_BYTES:
        raise ValueError(f'{name} has {num_bytes} bytes, wanted at most {_MAX_BYTES}')
    return width, height


def read_rgba(path: Path, camera: Camera | None = None) -> tuple[np.ndarray, np.ndarray | None]:
    """Read a picture: RGB uint8 (H, W, 3) and its alpha channel uint8 (H, W) or None.

    Args:
        path: PNG, JPEG, WebP, BMP or TIFF.
        camera: that took it: a picture of another size is refused before it is decoded.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not a picture, it is empty, it has not 8 bits a channel, it is not of
            the camera's size or larger than MAX_PIXELS.
    """
    size_of(path)
    return _decode(np.fromfile(path, np.uint8), path, camera)


def decode_rgb(data: bytes, name: str, camera: Camera | None = None) -> np.ndarray:
    """Decode a picture in memory as uint8 (H, W, 3) RGB; the name is for messages.

    Raises as read_rgba; an alpha channel is put on white.
    """
    return _on_white(*_decode(np.frombuffer(data, np.uint8), name, camera))


def _decode(
    data: np.ndarray, name: Path | str, camera: Camera | None
) -> tuple[np.ndarray, np.ndarray | None]:
    """See read_rgba."""
    import cv2

    size = _size_in(io.BytesIO(data), name)
    if camera is not None and size != (camera.width, camera.height):
        raise ValueError(
            f'{name} has {size[0]}x{size[1]} px, its camera {camera.width}x{camera.height}'
        )
    try:
        image = cv2.imdecode(data, cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        raise ValueError(f'{name} ({data.size} bytes) cannot be decoded: {error.err}') from error
    if image is None or image.shape[1::-1] != size:
        raise ValueError(f'{name} ({data.size} bytes) is damaged: it cannot be decoded')
    if image.dtype != np.uint8:
        raise ValueError(f'{name} has {image.dtype} pixels, wanted 8 bits a channel')
    if image.ndim == 2:
        return np.repeat(image[..., None], 3, axis=2), None
    alpha = np.ascontiguousarray(image[..., 3]) if image.shape[2] == 4 else None
    return np.ascontiguousarray(image[..., 2::-1]), alpha


def read_rgb(path: Path, camera: Camera | None = None) -> np.ndarray:
    """Read a picture as RGB; an alpha channel is put on white. Arguments and errors: read_rgba."""
    return _on_white(*read_rgba(path, camera))


def _on_white(image: np.ndarray, alpha: np.ndarray | None) -> np.ndarray:
    """RGB of what read_rgba gave."""
    return image if alpha is None else on_background(image, alpha, 255)


def read_mask(path: Path, camera: Camera | None = None) -> np.ndarray:
    """Read a mask as bool (H, W): any channel above 127. Arguments and errors: read_rgba."""
    return (read_rgba(path, camera)[0] > 127).any(axis=2)


def write(path: Path, image: np.ndarray, *, small: bool = False) -> None:
    """Write uint8 (H, W), (H, W, 3) RGB or (H, W, 4) RGBA; the suffix names the format.

    Args:
        path: the file.
        image: the picture.
        small: spend time on a smaller PNG.

    The file appears whole or not at all.

    Raises:
        ValueError: not such an array.
        OSError: it cannot be written; names the file.
    """
    import cv2

    image = np.asarray(image)
    if image.dtype != np.uint8 or not (
        image.ndim == 2 or (image.ndim == 3 and image.shape[2] in (3, 4))
    ):
        raise ValueError(f'cannot write a picture of shape {image.shape} and type {image.dtype}')
    if image.ndim == 3:
        order = [2, 1, 0] if image.shape[2] == 3 else [2, 1, 0, 3]
        image = np.ascontiguousarray(image[..., order])
    path = Path(path)
    flags = [cv2.IMWRITE_PNG_COMPRESSION, 9] if small else []
    ok, data = cv2.imencode(path.suffix, image, flags)
    if not ok:
        raise ValueError(f'cannot encode a picture as {path.suffix!r}')
    with replacing(path, binary=True) as stream:
        stream.write(data)


def on_background(image: np.ndarray, alpha: np.ndarray, background) -> np.ndarray:
    """Put straight-alpha uint8 RGB (H, W, 3) with alpha uint8 (H, W) on a colour or picture."""
    weight = alpha[..., None].astype(np.float32) / 255
    mixed = image * weight + np.asarray(background, np.float32) * (1 - weight)
    return np.rint(mixed).astype(np.uint8)


def to_uint8(image: np.ndarray) -> np.ndarray:
    """Float picture in 0..1 -> uint8, clipped and rounded."""
    return np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8)


def to_float(image: np.ndarray) -> np.ndarray:
    """Picture uint8 -> float32 in 0..1."""
    return np.asarray(image, np.float32) / 255


def undistort(image: np.ndarray, camera: Camera) -> tuple[np.ndarray, Camera]:
    """Rectify a picture; returns it with a camera of the same K without distortion."""
    if not np.any(camera.distortion):
        return image, camera
    import cv2

    rectified = cv2.undistort(image, opencv_matrix(camera), camera.distortion)
    return rectified, Camera(camera.width, camera.height, camera.K)


def resize(image: np.ndarray, width: int, height: int) -> np.ndarray:
    """Resize (H, W) or (H, W, C) of uint8 or float32; area averaging when shrinking."""
    import cv2

    if image.shape[:2] == (height, width):
        return image
    shrinks = width * height < image.shape[0] * image.shape[1]
    return cv2.resize(
        image, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    )


def mask_bbox(mask: np.ndarray, pad: int = 0) -> tuple[int, int, int, int] | None:
    """x0, y0, x1, y1 (half-open, px) around the true pixels, grown by pad; None when empty."""
    ys, xs = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(ys):
        return None
    height, width = mask.shape
    return (
        max(0, int(xs[0]) - pad),
        max(0, int(ys[0]) - pad),
        min(width, int(xs[-1]) + 1 + pad),
        min(height, int(ys[-1]) + 1 + pad),
    )


def dilate(mask: np.ndarray, radius_px: int) -> np.ndarray:
    """Grow a bool mask (H, W) by a disc of this radius."""
    if radius_px < 1:
        return mask
    import cv2

    size = 2 * radius_px + 1
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))
    return cv2.dilate(mask.astype(np.uint8), kernel).astype(bool)


def blur(image: np.ndarray, sigma_px: float) -> np.ndarray:
    """Gaussian blur of float32 (H, W); 0 leaves it as it is."""
    import cv2

    if sigma_px <= 0:
        return image
    return cv2.GaussianBlur(image.astype(np.float32), (0, 0), sigma_px)


def outline(image: np.ndarray, mask: np.ndarray, color, thickness: int = 1) -> np.ndarray:
    """Copy of a picture with the borders of a bool mask drawn in an RGB colour."""
    import cv2

    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    return cv2.drawContours(image.copy(), contours, -1, tuple(map(int, color)), thickness)
