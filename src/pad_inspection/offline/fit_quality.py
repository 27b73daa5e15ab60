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
        by 5 px) in dB, ssim, alpha_iou (alpha above 0.5 in both).
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
                'psnr_object': _decibel(squares[near].mean()) if near.any() else np.nan,
                'ssim': float(ssim),
                'alpha_iou': (solid & drawn).sum() / max((solid | drawn).sum(), 1),
            }
        )
    return {key: float(np.nanmean([row[key] for row in rows])) for key in rows[0]}


def _decibel(mean_square: float) -> float:
    """Peak signal-to-noise ratio of a mean squared error of values 0 to 1."""
    return float(-10 * np.log10(max(mean_square, 1e-12)))
