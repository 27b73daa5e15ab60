"""Normals of a rendered surface."""

from __future__ import annotations

import numpy as np

from pad_inspection import images
from pad_inspection.datatypes import Camera, RenderedView
from pad_inspection.geometry import unproject

# Alpha from which a pixel shows the object alone.
_OPAQUE = 0.95
_SMOOTH_PX = 1.0


def surface_normals(rendered: RenderedView, camera: Camera) -> np.ndarray:
    """Normals of a rendered surface, from its depth.

    Args:
        rendered: the model at a pose.
        camera: of the render, without distortion.

    Returns:
        float32 (H, W, 3), unit length, towards the camera, in its frame; NaN where nothing opaque
        is nearby.
    """
    import cv2

    known = (rendered.alpha > _OPAQUE) & np.isfinite(rendered.depth)
    depth = cv2.medianBlur(np.where(known, rendered.depth, 0).astype(np.float32), 5)
    known &= depth > 0
    rows, columns = np.mgrid[: camera.height, : camera.width] + 0.5
    pixels = np.stack([columns, rows], axis=-1).reshape(-1, 2)
    points = unproject(camera, pixels, np.where(known, depth, 0).reshape(-1))
    points = points.reshape(*depth.shape, 3)
    # smoothed over the object only, so that its edge does not lean to the camera
    weight = images.blur(known.astype(np.float32), _SMOOTH_PX)
    points = images.blur(points.astype(np.float32), _SMOOTH_PX)
    points = np.where(
        weight[..., None] > 1e-3, points / np.maximum(weight, 1e-3)[..., None], np.nan
    )
    normals = np.cross(np.gradient(points, axis=1), np.gradient(points, axis=0))
    length = np.linalg.norm(normals, axis=2, keepdims=True)
    normals = np.where(length > 0, normals / np.maximum(length, 1e-20), np.nan)
    return (normals * -np.sign(normals[..., 2:])).astype(np.float32)
