"""JPEG and PNG: what they claim, what they are, and what the format of the message says."""

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
    decoded = decompress(data, kind, max_pixels=10**6).rgb
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
            decompress(wrong, f'{kind}{"x" * 99}', max_pixels=10**6)


def test_random_damage_never_escapes():
    for kind in ('jpg', 'png'):
        good = encoded(kind)
        for _ in range(300):
            data = bytearray(good)
            for _ in range(RNG.integers(1, 20)):
                data[RNG.integers(len(data))] = RNG.integers(256)
            try:
                decoded = decompress(bytes(data), kind, max_pixels=10**6).rgb
            except ValueError:
                continue
            assert decoded.ndim == 3 and decoded.dtype == np.uint8


def stored(kind, pixels):
    """File of pixels in the order that the encoder is handed: it takes BGR for right."""
    return cv2.imencode(f'.{kind}', pixels)[1].tobytes()


PICTURE = picture(defect=True)
BGR = np.ascontiguousarray(PICTURE[..., ::-1])
GREY = np.ascontiguousarray(PICTURE[..., 0])
WIDE = PICTURE.astype(np.uint16) * 257


@pytest.mark.parametrize(
    ('label', 'kind', 'pixels'),
    [
        ('', 'png', BGR),
        ('jpeg', 'jpg', BGR),
        ('image/png', 'png', BGR),
        # the content tells JPEG from PNG
        ('jpeg', 'png', BGR),
        ('rgb8; jpeg compressed bgr8', 'jpg', BGR),
        ('bgr8; jpeg compressed bgr8', 'jpg', BGR),
        ('rgb8; png compressed bgr8', 'png', BGR),
        # red and blue were exchanged before, as the format says
        ('rgb8; jpeg compressed rgb8', 'jpg', PICTURE),
        ('bgr8; png compressed rgb8', 'png', PICTURE),
        ('rgba8; png compressed bgra8', 'png', np.dstack([BGR, GREY])),
        ('rgba8; png compressed rgba8', 'png', np.dstack([PICTURE, GREY])),
        ('rgb16; png compressed bgr16', 'png', np.ascontiguousarray(WIDE[..., ::-1])),
        ('rgb16; jpeg compressed bgr8', 'jpg', BGR),
        ('bayer_rggb8; jpeg compressed bgr8', 'jpg', BGR),
        ('yuv422; jpeg compressed bgr8', 'jpg', BGR),
    ],
)
def test_the_format_of_the_message_tells_the_order_of_colours(label, kind, pixels):
    decoded = decompress(stored(kind, pixels), label, max_pixels=10**6)
    assert not decoded.is_grey
    difference = np.abs(decoded.rgb.astype(int) - PICTURE)
    assert difference.mean() < (6 if kind == 'jpg' else 0.01)


@pytest.mark.parametrize(
    ('label', 'pixels', 'bits'),
    [
        ('png', GREY, 16),
        ('mono8; png compressed ', GREY, 16),
        ('mono8; png compressed mono8', GREY, 16),
        ('mono16; png compressed mono16', WIDE[..., 0], 16),
        ('mono16; png compressed ', WIDE[..., 0] >> 4, 12),
        ('mono16; png compressed ', GREY, 16),
    ],
)
def test_one_channel_is_grey(label, pixels, bits):
    data = stored('png', pixels)
    decoded = decompress(data, label, max_pixels=10**6, image_bits=bits)
    assert decoded.is_grey
    assert np.abs(decoded.rgb.astype(int) - GREY[..., None]).max() <= 1


@pytest.mark.parametrize('bits', [8, 16])
def test_a_mosaic_is_compressed_as_it_is(bits):
    mosaic = GREY.copy()
    mosaic[1::2, 1::2] = 30  # the blue pixels of rggb
    mosaic = mosaic if bits == 8 else mosaic.astype(np.uint16) * 257
    label = f'bayer_rggb{bits}; png compressed '
    decoded = decompress(stored('png', mosaic), label, max_pixels=10**6)
    assert not decoded.is_grey
    assert (decoded.rgb[..., 2] == 30).all() and decoded.rgb[2, 2, 0] == GREY[2, 2]


@pytest.mark.parametrize(
    ('label', 'pixels', 'bits', 'words'),
    [
        ('h264', BGR, 16, "format 'h264', wanted jpeg, png or like"),
        ('rgb8', BGR, 16, "format 'rgb8', wanted"),
        ('16UC1; compressedDepth png', WIDE[..., 0], 16, "format '16UC1; compressedDepth png'"),
        ('16UC1; png compressed ', WIDE[..., 0], 16, "'16UC1', which does not say what"),
        ('8UC3; jpeg compressed bgr8', BGR, 16, "'8UC3', which does not say what"),
        ('rgb8; jpeg compressed ', BGR, 16, 'does not tell the order of its colours'),
        ('rgb8; jpeg', BGR, 16, 'does not tell the order of its colours'),
        ('rgb8; jpeg compressed bgr8', GREY, 16, r'its file has 1 channel\(s\)'),
        ('mono8; jpeg compressed ', BGR, 16, r'its file has 3 channel\(s\)'),
        ('png', WIDE[..., 0], 12, 'image_bits is 12'),
        ('mono16; jpeg compressed ', GREY, 12, 'leaves 4 of its 12'),
        ('mono16; jpeg compressed ', GREY >> 5, 16, 'too dark'),
    ],
)
def test_formats_that_do_not_fit_are_told(label, pixels, bits, words):
    with pytest.raises(ValueError, match=words):
        decompress(stored('png', pixels), label, max_pixels=10**6, image_bits=bits)


@pytest.mark.parametrize('orientation', [3, 6])
def test_orientation_of_exif_is_not_obeyed(orientation):
    """CameraInfo is of the image as the sensor gave it."""
    image = picture()[:40]
    data = encoded('jpg', image)
    # one entry, of tag 0x0112 (orientation) and type 3 (short)
    entry = struct.pack('>HHIHH', 0x0112, 3, 1, orientation, 0)
    exif = b'Exif\0\0MM\0*' + struct.pack('>IH', 8, 1) + entry + bytes(4)
    turned = data[:2] + b'\xff\xe1' + struct.pack('>H', 2 + len(exif)) + exif + data[2:]
    as_viewers_show_it = cv2.imdecode(np.frombuffer(turned, np.uint8), cv2.IMREAD_COLOR)
    assert not np.array_equal(as_viewers_show_it[..., ::-1], decompressed(data))
    np.testing.assert_array_equal(decompressed(turned), decompressed(data))


def decompressed(data):
    return decompress(data, 'jpeg', max_pixels=10**6).rgb
