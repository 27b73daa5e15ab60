"""How well a splat model shows views that it was not fitted to."""

from __future__ import annotations

import numpy as np

from pad_inspection import images
from pad_inspection.datatypes import Gaussians

_SOLID = 0.5
_BORDER_PX = 5


def measure_quality(
    gaussians: Gaussians, views: list, *, device: str = 'auto', threads: int = 0
) -> dict[str, float]:
    """Compare renders on white with photographs on white.

    Args:
        gaussians: the model.
        views: list of dataset.TrainingView.
        device: 'auto', 'cpu' or 'cuda'.
        threads: of the CPU, 0 = all.

    Returns:
        Means over the views: psnr (whole picture) and psnr_object (inside the silhouette dilated
        by 5 px) in dB, ssim, alpha_iou (alpha above 0.5 in both), hole_alpha (rendered alpha where
        nothing is, inside the silhouette's convex hull; 0 when no view has such a place).
    """
    import torch

    from pad_inspection.rendering.fit_renderer import create_fit_renderer
    from pad_inspection.rendering.renderer import SplatScene

    scene = SplatScene(gaussians, device, threads)
    renderer = create_fit_renderer(device, threads)
    rows = []
    for view in views:
        rgb, alpha = view.load()
        rendered = scene.render(view.camera, view.cam_from_object)
        shown = np.clip(rendered.image + (1 - rendered.alpha[..., None]), 0, 1)
        wanted = images.to_float(rgb)
        squares = ((shown - wanted) ** 2).mean(axis=2)
        solid, drawn = alpha > _SOLID, rendered.alpha > _SOLID
        near = images.dilate(solid, _BORDER_PX)
        to = renderer.device
        ssim = renderer.ssim(torch.as_tensor(shown, device=to), torch.as_tensor(wanted, device=to))
        rows.append(
            {
                'psnr': _decibel(squares.mean()),
                'psnr_object': _decibel(squares[near].mean()) if near.any() else float('nan'),
                'ssim': float(ssim),
                'alpha_iou': (solid & drawn).sum() / max((solid | drawn).sum(), 1),
                'hole_alpha': _mean_or_nan(rendered.alpha[_hull(solid) & (alpha == 0)]),
            }
        )
    return {key: _mean_of_known([row[key] for row in rows]) for key in rows[0]}


def _hull(mask: np.ndarray) -> np.ndarray:
    """Convex hull of a bool mask (H, W), as a mask."""
    import cv2

    filled = np.zeros(mask.shape, np.uint8)
    points = cv2.findNonZero(mask.astype(np.uint8))
    if points is not None:
        cv2.fillConvexPoly(filled, cv2.convexHull(points), 1)
    return filled > 0


def _mean_or_nan(values: np.ndarray) -> float:
    return float(values.mean()) if values.size else float('nan')


def _mean_of_known(values: list[float]) -> float:
    """Mean of what is not NaN; 0 when nothing is known."""
    known = np.asarray(values, float)
    known = known[~np.isnan(known)]
    return float(known.mean()) if known.size else 0.0


def _decibel(mean_square: float) -> float:
    """Peak signal-to-noise ratio of a mean squared error of values 0 to 1."""
    return float(-10 * np.log10(max(mean_square, 1e-12)))
