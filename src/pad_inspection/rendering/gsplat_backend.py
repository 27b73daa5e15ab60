"""Draws with gsplat on an NVIDIA GPU. Imported only where there is one: gsplat compiles CUDA."""

from __future__ import annotations

import torch
from gsplat import rasterization

from pad_inspection.datatypes import Camera

# As in rendering.cpu_backend, so that both draw the same.
_NEAR_M = 1e-3


class GsplatBackend:
    """Draws with gsplat; see backends.Backend."""

    name = 'gsplat'
    device = 'cuda'

    def draw(self, tensors, viewmat, camera: Camera, degree: int, *, depth=False, scalars=None):
        """See Backend."""
        bases = tensors[4][:, : (degree + 1) ** 2]
        mode = 'RGB+D' if depth else 'RGB'
        image, alpha = self._rasterize(tensors, bases, viewmat, camera, degree, mode)
        if scalars is None:
            return image, alpha, None
        colors = scalars[:, None].repeat(1, 3)
        drawn, _ = self._rasterize(tensors, colors, viewmat, camera)
        return image, alpha, drawn[..., 0]

    def paint(self, tensors, viewmat, camera: Camera, colors):
        """See Backend."""
        return self._rasterize(tensors, colors, viewmat, camera)

    def color_gradient(self, tensors, viewmat, camera: Camera, pull):
        """See Backend."""
        colors = torch.zeros(len(tensors[0]), 3, device=self.device, requires_grad=True)
        image, _ = self.paint(tensors, viewmat, camera, colors)
        return torch.autograd.grad(image, colors, pull)[0]

    def _rasterize(self, tensors, colors, viewmat, camera: Camera, degree=None, mode='RGB'):
        """Image (H, W, C) and alpha (H, W)."""
        K = torch.as_tensor(camera.K, dtype=torch.float32, device=self.device)
        image, alpha, _ = rasterization(
            *tensors[:4],
            colors,
            viewmat[None],
            K[None],
            camera.width,
            camera.height,
            sh_degree=degree,
            near_plane=_NEAR_M,
            packed=False,
            render_mode=mode,
        )
        return image[0], alpha[0, ..., 0]
