"""Rendering while the Gaussians are fitted: gradients for all parameters and for densification.

Both backends give the same ``FitView``; the fit does not know which one draws.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from pad_inspection.rendering.backends import uses_cuda
from pad_inspection.rendering.cpu_backend import Pinhole


@dataclass(frozen=True)
class FitView:
    """A rendered training view.

    Attributes:
        image: (H, W, 3) on the background colour.
        alpha: (H, W).
        visible: bool (N,), Gaussians that are in the image.
        pixel_pull: call it after backward: (N,), how strongly the pixels pull at each Gaussian's
            centre, the length of the sum over pixels of the absolute gradient, per px.
    """

    image: torch.Tensor
    alpha: torch.Tensor
    visible: torch.Tensor
    pixel_pull: Callable[[], torch.Tensor]


class CpuFitRenderer:
    """Draws with the C++ rasterizer."""

    device = 'cpu'

    def __init__(self, threads: int = 0):
        """Use ``threads`` of the CPU, 0 = all that the process may use."""
        from pad_inspection.rendering import cpu_backend

        cpu_backend.variant()  # a missing library is told now
        self._cpu = cpu_backend
        self._threads = threads or cpu_backend.default_threads()

    def draw(
        self,
        gaussians: tuple[torch.Tensor, ...],
        viewmat: torch.Tensor,
        pinhole: Pinhole,
        background: torch.Tensor,
        degree: int,
    ) -> FitView:
        """Render.

        Args:
            gaussians: means (N, 3), quats (N, 4), scales (N, 3), opacities (N,), sh (N, K, 3).
            viewmat: (4, 4).
            pinhole: image size and intrinsics.
            background: (3,) colour.
            degree: of the spherical harmonics.
        """
        projection = self._cpu.project(
            *gaussians, viewmat, pinhole, sh_degree=degree, threads=self._threads
        )
        sink: dict = {}
        image, alpha = self._cpu.rasterize(
            projection, pinhole, background=background, threads=self._threads, gradient_sink=sink
        )
        return FitView(
            image,
            alpha,
            projection.radii[:, 0] > 0,
            lambda: sink['absolute_means2d_grad'].norm(dim=1),
        )

    def ssim(self, image: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Mean SSIM of two pictures (H, W, 3)."""
        return self._cpu.ssim(image, target, self._threads)


class GsplatFitRenderer:
    """Draws with gsplat on an NVIDIA GPU."""

    device = 'cuda'

    def draw(self, gaussians, viewmat, pinhole: Pinhole, background, degree: int) -> FitView:
        """Render; see CpuFitRenderer.draw."""
        from gsplat import rasterization

        means, quats, scales, opacities, sh = gaussians
        fx, fy, cx, cy = pinhole.intrinsics
        K = torch.tensor([[fx, 0, cx], [0, fy, cy], [0, 0, 1]], device=self.device)
        image, alpha, info = rasterization(
            means,
            quats,
            scales,
            opacities,
            sh[:, : (degree + 1) ** 2],
            viewmat[None],
            K[None],
            pinhole.width,
            pinhole.height,
            sh_degree=degree,
            near_plane=1e-3,
            packed=False,
            backgrounds=background[None],
            absgrad=True,
        )
        info['means2d'].retain_grad()
        return FitView(
            image[0],
            alpha[0, ..., 0],
            (info['radii'][0] > 0).all(dim=-1),
            lambda: info['means2d'].absgrad[0].norm(dim=1),
        )

    def ssim(self, image: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Mean SSIM of two pictures (H, W, 3), by separable convolutions."""
        offsets = torch.arange(-5.0, 6.0, device=image.device)
        window = torch.exp(-(offsets**2) / (2 * 1.5**2))
        window = window / window.sum()
        x, y = image.permute(2, 0, 1)[None], target.permute(2, 0, 1)[None]
        moments = torch.cat([x, y, x * x, y * y, x * y], dim=1)  # (1, 15, H, W)
        for kernel, padding in ((window[None], (0, 5)), (window[:, None], (5, 0))):
            moments = torch.nn.functional.conv2d(
                moments, kernel.expand(15, 1, *kernel.shape), padding=padding, groups=15
            )
        mx, my, xx, yy, xy = moments.split(3, dim=1)
        c1, c2 = 0.01**2, 0.03**2
        return (
            (2 * mx * my + c1)
            * (2 * (xy - mx * my) + c2)
            / ((mx**2 + my**2 + c1) * (xx - mx**2 + yy - my**2 + c2))
        ).mean()


def create_fit_renderer(device: str, threads: int = 0) -> CpuFitRenderer | GsplatFitRenderer:
    """The renderer for 'auto' (CUDA when there is any), 'cpu' or 'cuda'.

    Raises:
        ValueError: another device.
        NoCudaError: 'cuda' was asked for and there is no CUDA device.
        FileNotFoundError: the C++ rasterizer is not compiled.
    """
    return GsplatFitRenderer() if uses_cuda(device) else CpuFitRenderer(threads)
