"""Normal views on synthetic backgrounds: what a good piece could look like on the line.

Training pictures show the piece on white. Thresholds and statistics must hold in front of clutter,
so held-out pictures are turned in the image plane, put on procedural backgrounds with a soft
contact shadow, and given slightly different light and sensor noise.
"""

from __future__ import annotations

import numpy as np

from pad_inspection.datatypes import Camera, Rigid3
from pad_inspection.geometry import compose, opencv_matrix, rotation_from_axis_angle


def roll_view(
    image: np.ndarray, alpha: np.ndarray, camera: Camera, cam_from_object: Rigid3, angle_deg: float
) -> tuple[np.ndarray, np.ndarray, Rigid3]:
    """Turn a view about the camera's optical axis.

    The turned picture is exactly what the camera would see after the same roll, because a turn
    about the optical axis moves pixels by a homography and changes no parallax.

    Args:
        image: uint8 (H, W, 3) on white.
        alpha: float32 (H, W), 0 to 1.
        camera: square pixels and no distortion are assumed.
        cam_from_object: pose of the view.
        angle_deg: clockwise in the picture.

    Returns:
        Turned image, turned alpha and the pose of the turned view.
    """
    import cv2

    turned_from_cam = rotation_from_axis_angle(np.array([0.0, 0.0, np.radians(angle_deg)]))
    K = opencv_matrix(camera)
    homography = K @ turned_from_cam @ np.linalg.inv(K)
    size = (camera.width, camera.height)
    turned = cv2.warpPerspective(
        image, homography, size, flags=cv2.INTER_CUBIC, borderValue=(255, 255, 255)
    )
    turned_alpha = cv2.warpPerspective(alpha, homography, size, flags=cv2.INTER_LINEAR)
    pose = compose(Rigid3(turned_from_cam, np.zeros(3)), cam_from_object)
    return turned, np.clip(turned_alpha, 0, 1), pose


def _smooth_noise(rng: np.random.Generator, height: int, width: int, slope: float) -> np.ndarray:
    """Noise (H, W) in 0..1 whose spectrum falls with frequency^slope."""
    spectrum = np.fft.rfft2(rng.standard_normal((height, width), np.float32))
    fy, fx = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None]
    noise = np.fft.irfft2(spectrum / (1.5 / width + np.hypot(fy, fx)) ** slope, s=(height, width))
    noise -= noise.min()
    return (noise / max(noise.max(), 1e-9)).astype(np.float32)


def synthetic_background(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """A cluttered background, uint8 (H, W, 3): surfaces that meet at sharp edges, as belt, rail,
    floor and machine parts do, each with plates, tiles or blotches.

    Args:
        rng: source of everything random.
        height: px.
        width: px.
    """
    y, x = np.mgrid[0:height, 0:width].astype(np.float32) / max(height, width)
    picture = _surface(rng, x, y)
    for _ in range(int(rng.choice([0, 1, 2, 3, 4], p=[0.15, 0.2, 0.25, 0.25, 0.15]))):
        if rng.random() < 0.5:
            tone = rng.uniform(0.02, 0.9) * (1 + rng.uniform(-0.1, 0.1, 3))
            draw_band(picture, rng.uniform(0.1, 0.9, 2) * [width, height], tone, rng)
        else:
            angle, offset = rng.uniform(0, 2 * np.pi), rng.uniform(0.1, 0.9)
            across = (x - 0.5) * np.cos(angle) + (y - 0.5) * np.sin(angle) + 0.5
            beyond = across > offset
            picture[beyond] = _surface(rng, x, y)[beyond]
    return np.rint(np.clip(picture, 0, 1) * 255).astype(np.uint8)


def draw_band(picture: np.ndarray, through, tone, rng: np.random.Generator) -> None:
    """Draw a straight rail or beam into a picture, brighter along one edge.

    Args:
        picture: float32 (H, W, 3), 0 to 1; changed.
        through: (x, y), px, a point of the band.
        tone: (3,), its colour.
        rng: source of everything random.
    """
    height, width = picture.shape[:2]
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    angle, size = rng.uniform(0, 2 * np.pi), max(height, width)
    across = ((x - through[0]) * np.cos(angle) + (y - through[1]) * np.sin(angle)) / size
    half = rng.uniform(0.008, 0.06)
    across += rng.uniform(-half, half)
    band = np.abs(across) < half
    edge = 1 + rng.uniform(-0.3, 1.5) * (across > rng.uniform(0, half))
    picture[band] = np.clip(tone * edge[band][:, None], 0, 1)


def _surface(rng: np.random.Generator, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """One surface, float32 (H, W, 3) 0..1; x and y (H, W) are 0..1 along the longer side."""
    height, width = x.shape
    angle = rng.uniform(0, np.pi)
    along = x * np.cos(angle) + y * np.sin(angle)
    across = -x * np.sin(angle) + y * np.cos(angle)
    kind = rng.choice(['plates', 'tiles', 'blotches'], p=[0.5, 0.3, 0.2])
    gray = rng.uniform(0.15, 0.8)
    color = gray * (1 + rng.uniform(-0.05, 0.05, 3) * (1 if kind == 'plates' else 4))
    shade = 1 + rng.uniform(-0.5, 0.5) * along + rng.uniform(-0.5, 0.5) * across
    noise = _smooth_noise(rng, height, width, rng.uniform(0.8, 1.8))
    shade *= 0.85 + 0.3 * noise
    if kind == 'plates':
        # brushed metal mirrors lamps as broad bright stripes and spots
        sheen = _smooth_noise(rng, height, width, rng.uniform(1.5, 2.5))
        shade *= 1 + rng.uniform(0, 0.9) * (2 * sheen - 1)
    picture = (shade[..., None] * color).astype(np.float32)
    period = rng.uniform(0.06, 0.4)
    seam = np.mod(along + rng.uniform(0, 1), period) < rng.uniform(0.003, 0.012)
    if kind == 'tiles':
        seam |= np.mod(across + rng.uniform(0, 1), period) < 0.008
    if kind == 'blotches':
        blotches = _smooth_noise(rng, height, width, 1.5) > rng.uniform(0.45, 0.6)
        picture[blotches] *= rng.uniform(0.4, 1.4, 3)
    else:
        picture[seam] *= rng.uniform(0.1, 1.8)
    return picture


def composite_on_clutter(
    image: np.ndarray, alpha: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Put a view on a synthetic background with a contact shadow, other light and noise.

    Args:
        image: uint8 (H, W, 3), the view on white.
        alpha: float32 (H, W).
        rng: source of everything random.

    Returns:
        uint8 (H, W, 3).
    """
    import cv2

    height, width = alpha.shape
    background = synthetic_background(rng, height, width).astype(np.float32)
    size = max(height, width)
    shift = rng.uniform(-0.03, 0.03, 2) * size
    shifted = cv2.warpAffine(
        alpha, np.float32([[1, 0, shift[0]], [0, 1, shift[1]]]), (width, height)
    )
    shadow = cv2.GaussianBlur(shifted, (0, 0), rng.uniform(0.01, 0.04) * size)
    background *= 1 - rng.uniform(0.15, 0.6) * shadow[..., None]
    # straight colour of the object: the picture is on white, so the white part is taken off
    weight = alpha[..., None]
    foreground = image.astype(np.float32) - 255 * (1 - weight)
    gain = rng.uniform(0.92, 1.06) * (1 + rng.uniform(-0.02, 0.02, 3))
    mixed = foreground * gain + background * (1 - weight)
    mixed += rng.normal(0, rng.uniform(0.5, 2.0), mixed.shape)
    return np.rint(np.clip(mixed, 0, 255)).astype(np.uint8)
