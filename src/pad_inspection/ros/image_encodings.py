"""Pixels of sensor_msgs images as RGB, by the encodings of sensor_msgs/image_encodings.

Names that do not say what the channels are (8UC3, 16UC1) are refused: cv_bridge passes them on as
they are, and whoever shows them guesses. Values of 16 bits are scaled so that the highest value of
the bits in use becomes 255. YUV is BT.601 in its limited range, as OpenCV and cv_bridge take it.
"""

from __future__ import annotations

import re
from typing import NamedTuple

import numpy as np

_GENERIC = re.compile(r'^(8|16|32|64)([USF])C([1-9]\d?)?$')
_GENERIC_DTYPES = {
    ('8', 'U'): 'u1',
    ('8', 'S'): 'i1',
    ('16', 'U'): 'u2',
    ('16', 'S'): 'i2',
    ('32', 'S'): 'i4',
    ('32', 'F'): 'f4',
    ('64', 'F'): 'f8',
}
# Channels of the encodings that have 8 or 16 bits.
_PACKED = {'mono': 1, 'rgb': 3, 'bgr': 3, 'rgba': 4, 'bgra': 4}
_PACKED |= {f'bayer_{pattern}': 1 for pattern in ('rggb', 'bggr', 'gbrg', 'grbg')}
# How a pixel of each becomes RGB.
_CHANNELS = {
    'rgb': slice(None),
    'bgr': slice(None, None, -1),
    'rgba': slice(3),
    'bgra': slice(2, None, -1),
}
# OpenCV's conversion of those with half the columns of colour.
_YUV_422 = {'yuv422': 'UYVY', 'uyvy': 'UYVY', 'yuv422_yuy2': 'YUY2', 'yuyv': 'YUY2'}
# Planes one under the other: rows of bytes for two rows of the image.
_YUV_PLANES = {'nv12': 3, 'nv21': 3, 'nv24': 6}
_WANTED = (
    'wanted rgb8, bgr8, rgba8, bgra8, mono8, bayer_rggb8 (bggr, gbrg, grbg), these with 16, '
    'yuv422 (uyvy), yuv422_yuy2 (yuyv), nv12, nv21 or nv24'
)
# An image whose brightest value is a smaller share of the range cannot be judged.
_MIN_BRIGHTEST = 1 / 16


class Layout(NamedTuple):
    """How an image of an encoding lies in memory.

    Attributes:
        dtype: of a value, without byte order.
        channels: values of a pixel.
        rows_of_two: rows of memory for two rows of the image.
    """

    dtype: str
    channels: int
    rows_of_two: int = 2


class DecodedImage(NamedTuple):
    """An image as the inspection takes it.

    Attributes:
        rgb: uint8 (H, W, 3).
        is_grey: the encoding holds no colour.
    """

    rgb: np.ndarray
    is_grey: bool = False


def family_of(encoding: str) -> tuple[str, int]:
    """What pixels are and bits of a value: ('bayer_rggb', 8); ('', 0) when not to be inspected."""
    name, bits = re.fullmatch(r'(.*?)(8|16)?', encoding, re.DOTALL).groups()
    if bits and name in _PACKED:
        return name, int(bits)
    return (encoding, 8) if encoding in _YUV_422 or encoding in _YUV_PLANES else ('', 0)


def layout_of(encoding: str) -> Layout:
    """Layout of an encoding, also of one that holds measurements (32FC1).

    Raises:
        ValueError: it is not known.
    """
    family, bits = family_of(encoding)
    if family in _PACKED:
        return Layout(f'u{bits // 8}', _PACKED[family])
    if family in _YUV_422:
        return Layout('u1', 2)
    if family in _YUV_PLANES:
        return Layout('u1', 1, _YUV_PLANES[family])
    match = _GENERIC.match(encoding)
    if match and (match[1], match[2]) in _GENERIC_DTYPES:
        return Layout(_GENERIC_DTYPES[match[1], match[2]], int(match[3] or 1))
    raise ValueError(unsupported(encoding))


def unsupported(encoding: str) -> str:
    """Text of the error for an encoding that is not inspected."""
    generic = _GENERIC.match(encoding)
    cause = ', which does not say what its channels are' if generic else ''
    return f'image encoding is {encoding[:40]!r}{cause}; {_WANTED}'


def check_size(encoding: str, width: int, height: int) -> None:
    """Check that an image can have this size in its encoding.

    Raises:
        ValueError: it shares colours between pixels that are not there.
    """
    family, _ = family_of(encoding)
    odd_width, odd_height = width % 2, height % 2
    if (family in _YUV_422 and odd_width) or (
        family in ('nv12', 'nv21') and (odd_width or odd_height)
    ):
        wanted = 'an even width' if family in _YUV_422 else 'even width and height'
        raise ValueError(f'image size is {width}x{height} px, {encoding} needs {wanted}')
    if family.startswith('bayer') and min(width, height) < 4:
        raise ValueError(f'image size is {width}x{height} px, {encoding} needs 4x4 and more')


def to_rgb(pixels: np.ndarray, encoding: str, *, image_bits: int = 16) -> DecodedImage:
    """RGB of the pixels of an image; may share their memory.

    Args:
        pixels: (rows, W) or (rows, W, C) in native byte order, as layout_of says.
        encoding: of sensor_msgs/image_encodings.
        image_bits: bits that values of 16-bit encodings use; 16 also where a camera shifts its 10
            or 12 bits up.

    Raises:
        ValueError: the encoding is not inspected, or values do not fit the bits.
    """
    import cv2

    family, bits = family_of(encoding)
    if not family:
        raise ValueError(unsupported(encoding))
    if family in _YUV_422:
        code = getattr(cv2, f'COLOR_YUV2RGB_{_YUV_422[family]}')
        return DecodedImage(cv2.cvtColor(np.ascontiguousarray(pixels), code))
    if family == 'nv24':
        return DecodedImage(_nv24_to_rgb(pixels))
    if family in _YUV_PLANES:
        code = getattr(cv2, f'COLOR_YUV2RGB_{family.upper()}')
        return DecodedImage(cv2.cvtColor(np.ascontiguousarray(pixels), code))
    # without alpha, which is no brightness
    pixels = pixels[..., _CHANNELS[family]] if family in _CHANNELS else pixels
    if bits == 16:
        pixels = _to_8_bits(pixels, encoding, image_bits)
    if family == 'mono':
        return DecodedImage(np.repeat(pixels[..., None], 3, axis=2), is_grey=True)
    if family.startswith('bayer'):
        # ROS names the first row and the second one, as OpenCV's newer names do
        code = getattr(cv2, f'COLOR_Bayer{family[-4:].upper()}2RGB')
        return DecodedImage(cv2.cvtColor(np.ascontiguousarray(pixels), code))
    return DecodedImage(np.ascontiguousarray(pixels))


def _nv24_to_rgb(pixels: np.ndarray) -> np.ndarray:
    """RGB of a plane Y (H, W) and, below it, U and V in turn for each pixel, (2 H, W)."""
    import cv2

    height, width = pixels.shape[0] // 3, pixels.shape[1]
    y, uv = pixels[:height], pixels[height:].reshape(height, width, 2)
    # each pixel twice: two columns then share one U and one V, as in YUY2
    twice = np.stack([y, uv[..., 0], y, uv[..., 1]], axis=-1).reshape(height, 2 * width, 2)
    rgb = cv2.cvtColor(np.ascontiguousarray(twice), cv2.COLOR_YUV2RGB_YUY2)
    return np.ascontiguousarray(rgb[:, ::2])


def _to_8_bits(pixels: np.ndarray, encoding: str, image_bits: int) -> np.ndarray:
    """Values of so many bits, uint16, as uint8 over the same range."""
    limit, brightest = 2**image_bits - 1, int(pixels.max())
    if brightest > limit:
        raise ValueError(
            f'{encoding} image has values up to {brightest}, image_bits is {image_bits} '
            f'(up to {limit})'
        )
    check_brightest(brightest, limit, encoding, image_bits)
    table = np.rint(np.arange(limit + 1) * (255 / limit)).astype(np.uint8)
    return table[pixels]


def check_brightest(brightest: int, limit: int, encoding: str, image_bits: int) -> None:
    """Check that an image of a 16-bit camera uses its range.

    Args:
        brightest: its highest value.
        limit: highest value of the range.
        encoding: of the image.
        image_bits: as the node was told.

    Raises:
        ValueError: it is so dark that nothing can be judged; mostly 10 or 12 bits taken as 16.
    """
    if brightest < limit * _MIN_BRIGHTEST:
        raise ValueError(
            f'{encoding} image has values up to {brightest} of {limit}: too dark, or of fewer '
            f'bits than image_bits {image_bits}'
        )
