"""JPEG and PNG: what they claim, and what they are."""

import struct
import zlib

import cv2
import numpy as np
import pytest

from helpers.small_dataset import picture
from pad_inspection.ros.compressed_images import decompress, picture_size

RNG = np.random.default_rng(0)


def encoded(kind, image=None, **options):
    image = picture() if image is None else image
    return cv2.imencode(f'.{kind}', image[..., ::-1], *options.values())[1].tobytes()


@pytest.mark.parametrize('shape', [(1, 1), (7, 300), (480, 640)])
@pytest.mark.parametrize('kind', ['jpg', 'png'])
def test_size_and_picture(kind, shape):
    image = RNG.integers(0, 256, (*shape, 3), np.uint8)
    data = encoded(kind, image)
    assert picture_size(data) == (shape[1], shape[0])
    decoded = decompress(data, kind, max_pixels=10**6)
    assert decoded.shape == image.shape
    if kind == 'png':
        np.testing.assert_array_equal(decoded, image)


def test_progressive_jpeg_with_restarts():
    options = [cv2.IMWRITE_JPEG_PROGRESSIVE, 1, cv2.IMWRITE_JPEG_RST_INTERVAL, 2]
    assert picture_size(encoded('jpg', options=options)) == (64, 64)


def test_a_file_that_claims_to_be_huge_is_refused():
    header = struct.pack('>IIBBBBB', 60_000, 60_000, 8, 2, 0, 0, 0)
    chunk = b'IHDR' + header
    bomb = b'\x89PNG\r\n\x1a\n' + struct.pack('>I', 13) + chunk
    bomb += struct.pack('>I', zlib.crc32(chunk))
    with pytest.raises(ValueError, match='60000x60000'):
        decompress(bomb, 'png', max_pixels=10**8)


@pytest.mark.parametrize('kind', ['jpg', 'png'])
def test_damaged_files_are_told(kind):
    data = encoded(kind)
    for wrong in (b'', b'\xff\xd8', b'GIF89a', data[:20], bytes(100)):
        with pytest.raises(ValueError, match='bytes'):
            decompress(wrong, 'x' * 99, max_pixels=10**6)


def test_random_damage_never_escapes():
    for kind in ('jpg', 'png'):
        good = encoded(kind)
        for _ in range(300):
            data = bytearray(good)
            for _ in range(RNG.integers(1, 20)):
                data[RNG.integers(len(data))] = RNG.integers(256)
            try:
                decoded = decompress(bytes(data), kind, max_pixels=10**6)
            except ValueError:
                continue
            assert decoded.ndim == 3 and decoded.dtype == np.uint8
