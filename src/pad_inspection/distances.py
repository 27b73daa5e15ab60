"""Distances between two pictures or feature maps that may be slightly misaligned."""

from __future__ import annotations

import numpy as np

# Lightness differs between normal views (light, shading) much more than hue does.
LIGHTNESS_WEIGHT = 0.3
_LAB_SCALE = 100.0
_MAX_BANK = 1500
_LEAST_PIXELS = 100
_GAMMA = 2.2
_LUMINANCE = np.array([0.2126, 0.7152, 0.0722], np.float32)
# Luminance (0 to 1) of pixels that are called dark.
_DARK = 0.02


def unit_vectors(vectors: np.ndarray) -> np.ndarray:
    """Vectors (..., D) scaled to length 1."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-6)


def weighted_lab(picture: np.ndarray, lightness_weight: float = LIGHTNESS_WEIGHT) -> np.ndarray:
    """Colour vectors float32 (h, w, 3) of RGB 0..255 in which distances are those people see.

    CIE Lab over 100 with the lightness scaled down.
    """
    import cv2

    rgb = np.clip(picture.astype(np.float32) / 255, 0, 1)
    scale = np.array([lightness_weight, 1, 1], np.float32) / _LAB_SCALE
    return cv2.cvtColor(rgb, cv2.COLOR_RGB2Lab) * scale


def same_luminance(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Two pictures float32 (h, w, 3), RGB 0..255, brought to the same luminance in each pixel.

    Light, shading and shadow multiply what a surface reflects, so that afterwards only its colour
    differs. Dark pixels say little about their colour and are changed less.

    Source: luminance of linear RGB as in ITU-R BT.709; sRGB taken as a power of 2.2.
    """
    linear = [np.clip(p.astype(np.float32) / 255, 0, 1) ** _GAMMA for p in (first, second)]
    luminance = [picture @ _LUMINANCE + _DARK for picture in linear]
    middle = np.sqrt(luminance[0] * luminance[1])
    evened = [p * (middle / y)[..., None] for p, y in zip(linear, luminance, strict=True)]
    first, second = (255 * np.clip(p, 0, 1) ** (1 / _GAMMA) for p in evened)
    return first, second


def cosine_distance(first: np.ndarray, second: np.ndarray, radius: int) -> np.ndarray:
    """1 - cosine of unit vectors (h, w, D) each, with tolerance; float32 (h, w).

    With radius r each vector is compared with the (2 r + 1)^2 nearest ones of the other picture
    and the best counts; the larger of both directions is taken, because a thing that is missing
    in one picture always finds an equal background in the other.
    """
    return _tolerant(lambda a, b: 1 - np.einsum('ijk,ijk->ij', a, b), first, second, radius)


def euclidean_distance(first: np.ndarray, second: np.ndarray, radius: int) -> np.ndarray:
    """Euclidean distance of vectors (h, w, D), with the tolerance of cosine_distance."""
    return _tolerant(lambda a, b: np.linalg.norm(a - b, axis=-1), first, second, radius)


def nearest_distance(vectors: np.ndarray, bank: np.ndarray) -> np.ndarray:
    """Euclidean distance of each vector (N, D) from the nearest one of a bank (M, D).

    Of a large bank an even sample is used.
    """
    if len(bank) > _MAX_BANK:
        bank = bank[np.linspace(0, len(bank) - 1, _MAX_BANK).astype(int)]
    squared = (bank**2).sum(axis=1) - 2 * vectors @ bank.T
    return np.sqrt(np.maximum(squared.min(axis=1) + (vectors**2).sum(axis=1), 0))


def match_brightness(query: np.ndarray, rendered: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """A rendered object in the light of the query: one gain for all channels.

    Fitted where the render is opaque, with Huber weights, so that a changed part does not count.
    One gain only: with more freedom the fit takes shading for colour.

    Args:
        query: uint8 or float32 (H, W, 3), 0..255.
        rendered: float32 (H, W, 3), 0..255, premultiplied by alpha.
        alpha: float32 (H, W).

    Returns:
        float32 (H, W, 3), premultiplied by alpha.
    """
    opaque = alpha > 0.95
    if opaque.sum() < _LEAST_PIXELS:
        return rendered
    x, y = rendered[opaque], query[opaque].astype(np.float32)
    weight, gain = np.ones(len(x), np.float32), 1.0
    for _ in range(4):
        gain = float((weight @ (x * y).sum(axis=1)) / max(weight @ (x * x).sum(axis=1), 1e-6))
        gain = min(max(gain, 0.5), 2.0)
        residual = np.linalg.norm(y - gain * x, axis=1)
        limit = 1.5 * np.median(residual) + 1e-3
        weight = np.minimum(1, limit / np.maximum(residual, 1e-6)).astype(np.float32)
    return np.clip(rendered * np.float32(gain), 0, 255)


def _tolerant(distance, first: np.ndarray, second: np.ndarray, radius: int) -> np.ndarray:
    """Smallest distance over shifts, the larger of both directions."""
    height, width = first.shape[:2]
    if radius == 0:
        return np.maximum(distance(first, second), 0).astype(np.float32)
    best = np.full((2, height, width), np.inf, np.float32)
    for dy in range(-radius, radius + 1):
        for dx in range(-radius, radius + 1):
            rows = slice(max(0, -dy), height - max(0, dy))
            columns = slice(max(0, -dx), width - max(0, dx))
            moved_rows = slice(rows.start + dy, rows.stop + dy)
            moved_columns = slice(columns.start + dx, columns.stop + dx)
            values = distance(first[rows, columns], second[moved_rows, moved_columns])
            forward, backward = best[0][rows, columns], best[1][moved_rows, moved_columns]
            np.minimum(forward, values, out=forward)
            np.minimum(backward, values, out=backward)
    return np.maximum(best.max(axis=0), 0)
