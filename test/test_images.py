"""Pictures are read with a bound, and appear whole or not at all."""

import io
import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image

from pad_inspection import images
from pad_inspection.datatypes import Camera
from pad_inspection.whole_files import replacing, write_text

CAMERA = Camera(7, 5, [[9.0, 0, 3.5], [0, 9, 2.5], [0, 0, 1]])


def png_that_claims(width, height):
    """A valid small PNG file of so many black pixels."""

    def chunk(kind, data):
        return (
            struct.pack('>I', len(data)) + kind + data + struct.pack('>I', zlib.crc32(kind + data))
        )

    header = struct.pack('>IIBBBBB', width, height, 8, 2, 0, 0, 0)
    rows = zlib.compress(b'\0' * 1000)
    return (
        b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', header) + chunk(b'IDAT', rows) + chunk(b'IEND', b'')
    )


@pytest.fixture
def undecodable(monkeypatch):
    """Fail when anything is decoded."""

    def decode(*_):
        raise AssertionError('decoded')

    monkeypatch.setattr(cv2, 'imdecode', decode)


@pytest.mark.parametrize('read', [images.size_of, images.read_rgb, images.read_mask])
def test_a_huge_picture_is_refused_before_it_is_decoded(tmp_path, undecodable, read):
    path = tmp_path / 'huge.png'
    path.write_bytes(png_that_claims(30_000, 30_000))
    with pytest.raises(ValueError, match=r'huge\.png has 30000x30000 px, wanted 1 to 200000000'):
        read(path)


def test_a_picture_of_another_camera_is_refused_before_it_is_decoded(tmp_path, undecodable):
    path = tmp_path / 'a.png'
    path.write_bytes(png_that_claims(8000, 8000))
    for read in (images.read_rgba, images.read_rgb, images.read_mask):
        with pytest.raises(ValueError, match=r'a\.png has 8000x8000 px, its camera 7x5'):
            read(path, CAMERA)
    with pytest.raises(ValueError, match='view 3 has 8000x8000 px, its camera 7x5'):
        images.decode_rgb(path.read_bytes(), 'view 3', CAMERA)


def test_a_huge_file_is_not_read(tmp_path):
    path = tmp_path / 'long.png'
    images.write(path, np.zeros((5, 7, 3), np.uint8))
    with open(path, 'r+b') as stream:
        stream.truncate(10**12)  # sparse: takes no room
    with pytest.raises(ValueError, match=r'long\.png has 1000000000000 bytes, wanted at most'):
        images.read_rgb(path)


@pytest.mark.parametrize(
    'suffix, channels',
    [(suffix, channels) for suffix in images.IMAGE_SUFFIXES for channels in (1, 3)]
    + [('.png', 4), ('.tif', 4)],
)
def test_every_format_comes_back(tmp_path, suffix, channels):
    rng = np.random.default_rng(0)
    shape = (5, 7) if channels == 1 else (5, 7, channels)
    written = rng.integers(0, 255, shape, np.uint8)
    path = tmp_path / f'a{suffix}'
    images.write(path, written)
    assert images.size_of(path) == (7, 5)
    image, alpha = images.read_rgba(path, CAMERA)
    assert image.shape == (5, 7, 3) and (alpha is None) == (channels < 4)
    if suffix not in ('.jpg', '.jpeg', '.webp'):
        assert (image == (written[..., None] if channels == 1 else written[..., :3])).all()
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_size_is_that_of_the_pixels_also_where_a_phone_was_turned(tmp_path):
    path = tmp_path / 'phone.jpg'
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees when shown
    Image.fromarray(np.zeros((5, 7, 3), np.uint8)).save(path, exif=exif)
    assert images.size_of(path) == (7, 5)
    assert images.read_rgb(path, CAMERA).shape == (5, 7, 3)


@pytest.mark.parametrize(
    'data', [b'', b'\xff\xd8', b'hello', b'\x89PNG\r\n\x1a\n', b'BM', b'II*\0']
)
def test_what_is_no_picture_is_told(tmp_path, data):
    path = tmp_path / 'a.png'
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r'a\.png \(\d+ bytes\) is not a readable picture'):
        images.read_rgb(path)


@pytest.mark.filterwarnings('ignore::UserWarning')  # of the library, about damaged tags
def test_damaged_pictures_are_told_in_one_way(tmp_path):
    """Bytes changed and cut at random: a picture or a ValueError, never anything else."""
    rng = np.random.default_rng(1)
    picture = rng.integers(0, 255, (40, 60, 3), np.uint8)
    for kind in ('PNG', 'JPEG', 'BMP', 'TIFF'):
        stream = io.BytesIO()
        Image.fromarray(picture).save(stream, kind)
        whole = np.frombuffer(stream.getvalue(), np.uint8)
        for _ in range(100):
            data = whole[: rng.integers(1, len(whole) + 1)].copy()
            places = rng.integers(0, min(len(data), 200), 4)
            data[places] = rng.integers(0, 256, 4)
            try:
                images.decode_rgb(data.tobytes(), kind)
            except ValueError as error:
                assert str(error).startswith(kind)


def test_a_failed_write_leaves_nothing_and_keeps_the_old(tmp_path):
    path = tmp_path / 'a.txt'
    write_text(path, 'old')
    with pytest.raises(KeyError), replacing(path) as stream:
        stream.write('new')
        raise KeyError
    with pytest.raises(OSError, match=r'No space left on device.*a\.txt'):
        with replacing(path) as stream:
            stream.write('new')
            raise OSError(28, 'No space left on device')
    assert path.read_text() == 'old' and list(tmp_path.iterdir()) == [path]
    with pytest.raises(FileNotFoundError, match=r"No such file or directory: '.*/none/b\.txt'"):
        write_text(tmp_path / 'none' / 'b.txt', '')


def test_an_error_of_the_caller_keeps_its_own_file(tmp_path):
    with pytest.raises(FileNotFoundError, match='other'), replacing(tmp_path / 'a'):
        open(tmp_path / 'other')
    with pytest.raises(FileNotFoundError, match='^plain text$'), replacing(tmp_path / 'a'):
        raise FileNotFoundError('plain text')


def test_a_link_stays_a_link_and_a_device_a_device(tmp_path):
    target, link = tmp_path / 'target', tmp_path / 'link'
    target.write_text('old')
    link.symlink_to(target)
    write_text(link, 'new')
    assert link.is_symlink() and target.read_text() == 'new'
    write_text('/dev/null', 'x')
