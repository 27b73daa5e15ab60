"""JPEG and PNG of CompressedImage messages; sizes are checked before anything is decoded.

A damaged or hostile file of a few bytes may claim to be gigabytes large. What the pixels mean is
in the message's format, as compressed_image_transport writes it: 'ENCODING; jpeg compressed
TARGET'. ENCODING is that of the camera; TARGET tells the order in which the channels were handed
to the encoder, which takes bgr8 for right: after 'compressed rgb8' red and blue of the file are
exchanged. The file may be JPEG or PNG whichever of them the format names; a format without ';'
says nothing of the pixels, and the file alone decides.
"""

from __future__ import annotations

import re
import struct

import numpy as np

from pad_inspection.ros import image_encodings
from pad_inspection.ros.image_encodings import DecodedImage

_PNG = b'\x89PNG\r\n\x1a\n'
_JPEG = b'\xff\xd8'
# Markers of JPEG that begin a frame and so tell its size; those without a length after them.
_FRAME_MARKERS = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
_BARE_MARKERS = {0x01, *range(0xD0, 0xD9)}
_CODEC = re.compile('jpe?g|png', re.IGNORECASE)


def decompress(data, label: str, *, max_pixels: int, image_bits: int = 16) -> DecodedImage:
    """Decode a JPEG or PNG. EXIF is not obeyed: CameraInfo is of the image as it was read out.

    Args:
        data: its bytes (anything with the buffer protocol).
        label: format of the message.
        max_pixels: larger pictures are refused.
        image_bits: see image_encodings.to_rgb.

    Raises:
        ValueError: it cannot be decoded, is too large, or label and content contradict.
    """
    import cv2

    raw = bytes(data)
    encoding, target = _parsed(label)
    size = picture_size(raw)
    if size is None:
        raise ValueError(
            f'compressed image of {len(raw)} bytes ({label[:40]!r}) cannot be decoded, wanted '
            'JPEG or PNG'
        )
    width, height = size
    if not 0 < width * height <= max_pixels:
        raise ValueError(f'image size is {width}x{height} px, wanted 1x1 to {max_pixels} pixels')
    try:
        pixels = cv2.imdecode(np.frombuffer(raw, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        pixels = None
    if pixels is None:
        raise ValueError(
            f'compressed image of {len(raw)} bytes ({label[:40]!r}) is damaged: it says '
            f'{width}x{height} px and cannot be decoded'
        )
    pixels = pixels[..., 0] if pixels.shape[2:] == (1,) else pixels
    if encoding.endswith('16') and pixels.dtype == np.uint8:
        _check_squeezed(pixels, encoding, image_bits)
    decoded = _decoded_encoding(pixels, encoding, target, label)
    image_encodings.check_size(decoded, width, height)
    return image_encodings.to_rgb(pixels, decoded, image_bits=image_bits)


def _parsed(label: str) -> tuple[str, str]:
    """Encoding of the camera and of what was compressed, '' where the format does not tell.

    Raises:
        ValueError: the format is not one of JPEG or PNG images.
    """
    encoding, separator, codec = label.partition(';')
    encoding, codec = (encoding.strip(), codec) if separator else ('', encoding)
    if 'compresseddepth' in label.lower() or (label.strip() and not _CODEC.search(codec)):
        raise ValueError(
            f"compressed image has format {label[:60]!r}, wanted jpeg, png or like 'bgr8; jpeg "
            "compressed bgr8'"
        )
    if encoding and not image_encodings.family_of(encoding)[0]:
        raise ValueError(image_encodings.unsupported(encoding))
    target = re.search(r'compressed\s+(\w+)', codec)
    return encoding, target[1] if target else ''


def _decoded_encoding(pixels: np.ndarray, encoding: str, target: str, label: str) -> str:
    """Encoding of the decoded pixels, (H, W) or (H, W, C) in the order of OpenCV's decoder."""
    bits = 8 * pixels.dtype.itemsize
    family = image_encodings.family_of(encoding)[0]
    channels = 1 if pixels.ndim == 2 else pixels.shape[2]
    if channels == 1 and (not family or family == 'mono' or family.startswith('bayer')):
        return f'{family or "mono"}{bits}'
    if channels == 1 or family == 'mono':
        raise ValueError(
            f'compressed image has format {label[:60]!r}, but its file has {channels} channel(s)'
        )
    order = target[:3] if encoding else 'bgr'
    if order not in ('bgr', 'rgb'):
        raise ValueError(
            f'compressed image has format {label[:60]!r}, which does not tell the order of its '
            "colours, wanted like 'bgr8; jpeg compressed bgr8'"
        )
    return f'{order}{"a" if channels == 4 else ""}{bits}'


def _check_squeezed(pixels: np.ndarray, encoding: str, image_bits: int) -> None:
    """Check an image of 16 bits that was compressed with 8: the upper ones are left."""
    if image_bits < 16:
        raise ValueError(
            f'{encoding} image was compressed with 8 bits, which leaves {image_bits - 8} of its '
            f'{image_bits}: send PNG or 8 bits'
        )
    image_encodings.check_brightest(int(pixels.max()), 255, encoding, image_bits)


def picture_size(data: bytes) -> tuple[int, int] | None:
    """Width and height, px, that a JPEG or PNG claims; None when it is neither."""
    if data.startswith(_PNG):
        has_header = len(data) >= 24 and data[12:16] == b'IHDR'
        return struct.unpack('>II', data[16:24]) if has_header else None
    return _jpeg_size(data) if data.startswith(_JPEG) else None


def _jpeg_size(data: bytes) -> tuple[int, int] | None:
    """Size in the first frame header of a JPEG."""
    at = len(_JPEG)
    while at + 9 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF or marker in _BARE_MARKERS:
            at += 1 if marker == 0xFF else 2
            continue
        length, height, width = struct.unpack('>HxHH', data[at + 2 : at + 9])
        if marker in _FRAME_MARKERS:
            return width, height
        at += 2 + length
    return None
