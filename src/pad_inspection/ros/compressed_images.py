"""JPEG and PNG pictures of CompressedImage messages; sizes are checked before anything is decoded.

A damaged or hostile file of a few bytes may claim to be gigabytes large.
"""

from __future__ import annotations

import struct

import numpy as np

_PNG = b'\x89PNG\r\n\x1a\n'
_JPEG = b'\xff\xd8'
# Markers of JPEG that begin a frame and so tell its size; those without a length after them.
_FRAME_MARKERS = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
_BARE_MARKERS = {0x01, *range(0xD0, 0xD9)}


def decompress(data, kind: str, *, max_pixels: int) -> np.ndarray:
    """Picture uint8 (H, W, 3) RGB of a JPEG or PNG.

    Args:
        data: its bytes (anything with the buffer protocol).
        kind: format as the message tells, for the error.
        max_pixels: larger pictures are refused.

    Raises:
        ValueError: it cannot be decoded, or is too large.
    """
    import cv2

    raw = bytes(data)
    size = picture_size(raw)
    if size is None:
        raise ValueError(
            f'compressed image of {len(raw)} bytes ({kind[:40]!r}) cannot be decoded, wanted JPEG '
            'or PNG'
        )
    width, height = size
    if not 0 < width * height <= max_pixels:
        raise ValueError(f'image size is {width}x{height} px, wanted 1x1 to {max_pixels} pixels')
    try:
        picture = cv2.imdecode(np.frombuffer(raw, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error:
        picture = None
    if picture is None:
        raise ValueError(
            f'compressed image of {len(raw)} bytes ({kind[:40]!r}) is damaged: it says '
            f'{width}x{height} px and cannot be decoded'
        )
    return np.ascontiguousarray(picture[..., ::-1])


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
