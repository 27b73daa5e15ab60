"""Give a render the light of the picture that it is compared with.

The pictures that a model was fitted to were taken with the lamps in one place of the object's
frame; a piece that lies on another side is lit from another one. What lamps far away do to a
matt surface depends on its normal alone, so a render is relit by a smooth function of the normal:
a factor for the light that falls on it, and a term for white gloss. Both are the same for all
colour channels, so that no colour can be explained away, and are fitted robustly to the whole
object, so that a defect is not either.

Source: Ramamoorthi and Hanrahan (2001), An Efficient Representation for Irradiance Environment
Maps: nine spherical harmonics describe the light on a matt surface.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from pad_inspection import images
from pad_inspection.datatypes import Camera, RenderedView
from pad_inspection.geometry import unproject

# Alpha from which a pixel shows the object alone.
_OPAQUE = 0.95
_SMOOTH_PX = 1.0
_FACTOR_BASES, _GLOSS_BASES = 9, 4
# Fewer pixels say too little about the light.
_LEAST_PIXELS = 300
_MOST_PIXELS = 4000
_ROUNDS = 8
# Residuals beyond this many robust standard deviations count little.
_TOLERATED = 2.0
_LEAST_SPREAD = 1e-3
# Pull of the coefficients to no change, in units of the mean of the normal equations' diagonal.
_DAMPING = 1e-4


def relight(rendered: RenderedView, camera: Camera, query: np.ndarray) -> RenderedView:
    """The render in the light of a picture.

    Args:
        rendered: the model at the pose of the query.
        camera: of both, without distortion.
        query: uint8 (H, W, 3).

    Returns:
        The render with another ``image``; unchanged where the object is too small to tell.

    Raises:
        ValueError: the query is not of the render's size.
    """
    if query.shape[:2] != rendered.alpha.shape:
        raise ValueError(
            f'query {query.shape} and render {rendered.alpha.shape}: wanted the same height '
            'and width'
        )
    opaque = (rendered.alpha > _OPAQUE) & np.isfinite(rendered.depth)
    normals = surface_normals(rendered, camera)
    known = opaque & np.isfinite(normals).all(axis=2)
    if known.sum() < _LEAST_PIXELS:
        return rendered
    bases = _bases(normals[known])
    shown = rendered.image[known] / rendered.alpha[known, None]
    every = -(-len(shown) // _MOST_PIXELS)
    wanted = images.to_float(query)[known]
    factors, gloss = _fit_light(bases[::every], shown[::every], wanted[::every])
    relit = shown * (bases @ factors)[:, None] + (bases[:, :_GLOSS_BASES] @ gloss)[:, None]
    # half transparent pixels of the edge get the light of the surface beside them
    field = np.zeros((*known.shape, 3), np.float32)
    field[known] = relit - shown
    weight = images.blur(known.astype(np.float32), _SMOOTH_PX)
    spread = images.blur(field, _SMOOTH_PX) / np.maximum(weight, 1e-6)[..., None]
    change = np.where(known[..., None], field, spread * (weight > 0.05)[..., None])
    image = rendered.image + change * rendered.alpha[..., None]
    image = np.clip(image, 0, rendered.alpha[..., None]).astype(np.float32)
    return dataclasses.replace(rendered, image=image)


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


def _bases(normals: np.ndarray) -> np.ndarray:
    """Polynomials up to degree 2 of unit vectors (N, 3): (N, 9)."""
    x, y, z = normals.astype(np.float64).T
    one = np.ones_like(x)
    return np.stack([one, x, y, z, x * y, y * z, x * z, x * x - y * y, 3 * z * z - 1], axis=1)


def _fit_light(
    bases: np.ndarray, shown: np.ndarray, wanted: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Coefficients (9,) of the factor and (4,) of the gloss, by reweighted least squares.

    Args:
        bases: (N, 9).
        shown: (N, 3), colour of the render.
        wanted: (N, 3), colour of the picture.
    """
    gloss = bases[:, :_GLOSS_BASES]
    rows = np.concatenate(
        [np.concatenate([bases * shown[:, c : c + 1], gloss], axis=1) for c in range(3)]
    )
    values = wanted.T.reshape(-1).astype(np.float64)
    unchanged = np.zeros(rows.shape[1])
    unchanged[0] = 1
    found, weights = unchanged, np.ones(len(rows))
    for _ in range(_ROUNDS):
        weighted = rows * weights[:, None]
        normal = weighted.T @ rows
        damping = _DAMPING * np.trace(normal) / len(normal) * np.eye(len(normal))
        right = weighted.T @ (values - rows @ unchanged)
        found = unchanged + np.linalg.solve(normal + damping, right)
        residuals = np.abs(values - rows @ found)
        spread = 1.4826 * np.median(residuals) + _LEAST_SPREAD
        weights = 1 / (1 + (residuals / (_TOLERATED * spread)) ** 2)
    return found[:_FACTOR_BASES], found[_FACTOR_BASES:]
