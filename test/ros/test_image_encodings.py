"""Encodings of raw images: known pixels in, the same pixels as RGB out."""

import array
import sys

import cv2
import numpy as np
import pytest
from sensor_msgs.msg import Image

from pad_inspection.ros import conversions

RNG = np.random.default_rng(0)
# Smooth, so that what shares colours between pixels changes little.
SMOOTH = cv2.GaussianBlur(RNG.integers(0, 256, (24, 32, 3), np.uint8), (0, 0), 6)
SMOOTH = cv2.normalize(SMOOTH, None, 40, 220, cv2.NORM_MINMAX)
# One colour, none of whose channels can stand for another.
ORANGE = np.full((8, 10, 3), (200, 120, 30), np.uint8)


def message(encoding, pixels, *, height=None, width=None, padding=0, big_endian=0):
    """Image of rows of an array; each row may be followed by bytes that mean nothing."""
    rows = np.ascontiguousarray(pixels).view(np.uint8).reshape(len(pixels), -1)
    padded = np.pad(rows, ((0, 0), (0, padding)), constant_values=99)
    return Image(
        height=len(pixels) if height is None else height,
        width=pixels.shape[1] if width is None else width,
        encoding=encoding,
        step=padded.shape[1],
        is_bigendian=big_endian,
        data=array.array('B', padded.tobytes()),
    )


def mosaic(image, pattern):
    """What a sensor with this pattern of filters sees: 'rggb' is R G, then G B."""
    raw = np.empty(image.shape[:2], image.dtype)
    for index, name in enumerate(pattern):
        row, column = divmod(index, 2)
        raw[row::2, column::2] = image[row::2, column::2, 'rgb'.index(name)]
    return raw


def yuv_of(image):
    """Y, U, V as float, BT.601 in its limited range, by the definition."""
    r, g, b = np.moveaxis(image.astype(float) / 255, -1, 0)
    y = 16 + 65.481 * r + 128.553 * g + 24.966 * b
    u = 128 - 37.797 * r - 74.203 * g + 112.0 * b
    v = 128 + 112.0 * r - 93.786 * g - 18.214 * b
    return [np.rint(plane).astype(np.uint8) for plane in (y, u, v)]


def planes(encoding, image):
    """Bytes of an image in a YUV encoding, as rows."""
    y, u, v = yuv_of(image)
    if encoding == 'nv24':
        return np.concatenate([y, np.stack([u, v], -1).reshape(-1, y.shape[1])])
    if encoding in ('nv12', 'nv21'):
        pair = (u, v) if encoding == 'nv12' else (v, u)
        halves = np.stack([p[::2, ::2] for p in pair], -1).reshape(-1, y.shape[1])
        return np.concatenate([y, halves])
    shared = np.where(np.arange(y.shape[1]) % 2 == 0, u, np.roll(v, 1, axis=1))
    first = encoding in ('yuv422', 'uyvy')
    return np.stack([shared, y] if first else [y, shared], axis=-1)


@pytest.mark.parametrize('bits', [8, 16])
@pytest.mark.parametrize('pattern', ['rggb', 'bggr', 'gbrg', 'grbg'])
@pytest.mark.parametrize('padding', [0, 6])
def test_bayer(pattern, bits, padding):
    for image, most in ((ORANGE, 0), (SMOOTH, 14)):
        raw = mosaic(image, pattern)
        raw = raw if bits == 8 else raw.astype(np.uint16) * 257
        decoded = conversions.read_image(message(f'bayer_{pattern}{bits}', raw, padding=padding))
        assert not decoded.is_grey
        difference = np.abs(decoded.rgb.astype(int) - image)
        assert difference.max() <= most


@pytest.mark.parametrize(
    'encoding', ['yuv422', 'uyvy', 'yuv422_yuy2', 'yuyv', 'nv12', 'nv21', 'nv24']
)
def test_yuv(encoding):
    for image, most in ((ORANGE, 3), (SMOOTH, 24)):
        height, width = image.shape[:2]
        for padding in (0,) if encoding == 'nv24' else (0, 8):
            sent = message(
                encoding, planes(encoding, image), height=height, width=width, padding=padding
            )
            decoded = conversions.read_image(sent)
            assert decoded.rgb.shape == image.shape and not decoded.is_grey
            assert np.abs(decoded.rgb.astype(int) - image).max() <= most


@pytest.mark.parametrize('big_endian', [0, 1])
@pytest.mark.parametrize('bits', [10, 12, 16])
def test_16_bits_are_scaled_by_the_bits_in_use(bits, big_endian):
    top = 2**bits - 1
    wide = np.rint(SMOOTH / 255 * top).astype('>u2' if big_endian else '<u2')
    alpha = np.full((*wide.shape[:2], 1), 65535, wide.dtype)
    for encoding, pixels in (
        ('rgb16', wide),
        ('bgr16', wide[..., ::-1]),
        ('rgba16', np.concatenate([wide, alpha], 2, dtype=wide.dtype)),
        ('bgra16', np.concatenate([wide[..., ::-1], alpha], 2, dtype=wide.dtype)),
    ):
        sent = message(encoding, pixels, big_endian=big_endian, padding=2)
        decoded = conversions.read_image(sent, image_bits=bits)
        np.testing.assert_array_equal(decoded.rgb, SMOOTH)
    sent = message('mono16', wide[..., 1], big_endian=big_endian)
    decoded = conversions.read_image(sent, image_bits=bits)
    np.testing.assert_array_equal(decoded.rgb, SMOOTH[..., [1, 1, 1]])
    assert decoded.is_grey


def test_8_bits_have_no_byte_order():
    sent = message('bgr8', SMOOTH[..., ::-1], big_endian=1, padding=5)
    np.testing.assert_array_equal(conversions.image_to_rgb(sent), SMOOTH)
    assert sys.byteorder == 'little'


TWELVE = np.full((4, 4), 4095, np.uint16)


@pytest.mark.parametrize(
    ('sent', 'bits', 'words'),
    [
        (message('mono16', TWELVE), 10, 'values up to 4095, image_bits is 10'),
        (message('mono16', TWELVE), 16, 'values up to 4095 of 65535: too dark, or of fewer bits'),
        (message('8UC1', TWELVE), 16, "'8UC1', which does not say what its channels are"),
        (message('8UC3', ORANGE), 16, "'8UC3', which does not say what its channels are"),
        (message('16UC1', TWELVE), 16, "'16UC1', which does not say"),
        (message('32FC1', ORANGE), 16, "'32FC1', which does not say"),
        (message('BGR8', ORANGE), 16, "'BGR8'; wanted rgb8"),
        (message('mono', ORANGE), 16, "'mono'; wanted"),
        (message('bayer_rgbg8', ORANGE), 16, "'bayer_rgbg8'; wanted"),
        (message('yuv422', ORANGE[:, :5, :2]), 16, '5x8 px, yuv422 needs an even width'),
        (message('nv12', ORANGE[..., 0], height=5), 16, '10x5 px, nv12 needs even width and'),
        (message('nv12', ORANGE[..., 0]), 16, '80 bytes, wanted step >= 10 and 120 bytes'),
        (message('nv24', ORANGE[..., 0], height=2, padding=2), 16, 'nv24 image of 10 px has step'),
        (message('bayer_rggb8', ORANGE[:2, :, 0]), 16, '10x2 px, bayer_rggb8 needs 4x4'),
    ],
)
def test_what_is_not_read_is_told(sent, bits, words):
    with pytest.raises(ValueError, match=words):
        conversions.read_image(sent, image_bits=bits)
