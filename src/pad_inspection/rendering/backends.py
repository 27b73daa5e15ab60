"""The two ways to draw Gaussians behind one interface: C++ on the CPU, gsplat on an NVIDIA GPU.

Parameters are passed as ``tensors``: means (N, 3), quats (N, 4), scales (N, 3), opacities (N,) and
sh (N, K, 3), all after activation.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Protocol

from pad_inspection.datatypes import Camera

if TYPE_CHECKING:
    import torch

    Tensors = tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]


class NoCudaError(RuntimeError):
    """CUDA was asked for, and there is no such device."""


class Backend(Protocol):
    """Draws Gaussians.

    Attributes:
        name: for people.
        device: where its tensors are, as torch names it.
    """

    name: str
    device: str

    def draw(
        self,
        tensors: Tensors,
        viewmat: torch.Tensor,
        camera: Camera,
        degree: int,
        *,
        depth: bool = False,
        scalars: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
        """Draw one view; differentiable in the tensors and the pose.

        Args:
            tensors: the Gaussians.
            viewmat: (4, 4), cam_from_object.
            camera: without distortion.
            degree: of the spherical harmonics that are used.
            depth: add a fourth channel, the alpha-weighted sum of depths.
            scalars: (N,), drawn like a colour, or None.

        Returns:
            Image (H, W, 3 or 4) premultiplied by alpha, alpha (H, W), and the alpha-weighted sum
            of the scalars (H, W) or None.
        """

    def paint(
        self, tensors: Tensors, viewmat: torch.Tensor, camera: Camera, colors: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Draw with other colours (N, 3), of any sign and size.

        Returns:
            Their alpha-weighted sum (H, W, 3), and alpha (H, W).
        """

    def color_gradient(
        self, tensors: Tensors, viewmat: torch.Tensor, camera: Camera, pull: torch.Tensor
    ) -> torch.Tensor:
        """Derivative (N, 3) of sum(image * pull (H, W, 3)) by the Gaussians' colours."""


def uses_cuda(device: str) -> bool:
    """Whether a device's name stands for CUDA here.

    Args:
        device: 'auto' (CUDA when there is any), 'cpu' or 'cuda'.

    Raises:
        ValueError: another name.
        NoCudaError: 'cuda' was asked for and there is no CUDA device.
    """
    import torch

    if device not in ('auto', 'cpu', 'cuda'):
        raise ValueError(f"device {device!r}, wanted 'auto', 'cpu' or 'cuda'")
    if device == 'cuda' and not torch.cuda.is_available():
        raise NoCudaError(
            "device 'cuda' was asked for, but torch finds no CUDA device: take 'auto' or 'cpu', "
            'or see what `nvidia-smi` and `pad doctor` say'
        )
    return device != 'cpu' and torch.cuda.is_available()


def torch_device(device: str) -> str:
    """The torch device that networks run on beside a backend, ready for them.

    Args:
        device: 'auto' (CUDA when there is any), 'cpu' or 'cuda'.

    Returns:
        'cpu' or 'cuda'.

    Raises:
        ValueError: another name.
        NoCudaError: 'cuda' was asked for and there is no CUDA device.
    """
    if not uses_cuda(device):
        return 'cpu'
    import torch

    # Thresholds that are calibrated on one device are used on another, which holds only while both
    # compute in float32: by default torch lets convolutions on CUDA round to TF32, 10 bits.
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    return 'cuda'


def create_backend(device: str, threads: int = 0) -> Backend:
    """The backend of a device.

    Args:
        device: 'auto' (CUDA when there is any), 'cpu' or 'cuda'.
        threads: of the CPU, 0 = as many as torch uses.

    Raises:
        ValueError: another name.
        NoCudaError: 'cuda' was asked for and there is no CUDA device.
        FileNotFoundError: the C++ rasterizer is not compiled.
    """
    if not uses_cuda(device):
        return CpuBackend(threads)
    from pad_inspection.rendering.gsplat_backend import GsplatBackend

    return GsplatBackend()


class CpuBackend:
    """Draws with the C++ rasterizer; see Backend."""

    name = 'cpu'
    device = 'cpu'

    def __init__(self, threads: int = 0):
        from pad_inspection.rendering import cpu_backend

        cpu_backend.variant()  # a missing library is told now, not at the first picture
        self._cpu = cpu_backend
        self._threads = threads or cpu_backend.default_threads()

    def draw(self, tensors, viewmat, camera, degree, *, depth=False, scalars=None):
        """See Backend."""
        projection, pinhole = self._project(tensors, viewmat, camera, degree)
        image, alpha = self._cpu.rasterize(projection, pinhole, depth=depth, threads=self._threads)
        if scalars is None:
            return image, alpha, None
        painted = dataclasses.replace(projection, colors=scalars[:, None].repeat(1, 3))
        drawn, _ = self._cpu.rasterize(painted, pinhole, threads=self._threads)
        return image, alpha, drawn[..., 0]

    def paint(self, tensors, viewmat, camera, colors):
        """See Backend."""
        projection, pinhole = self._project(tensors, viewmat, camera, 0)
        painted = dataclasses.replace(projection, colors=colors)
        return self._cpu.rasterize(painted, pinhole, threads=self._threads)

    def color_gradient(self, tensors, viewmat, camera, pull):
        """See Backend."""
        import torch

        colors = torch.zeros(len(tensors[0]), 3, requires_grad=True)
        image, _ = self.paint(tensors, viewmat, camera, colors)
        return torch.autograd.grad(image, colors, pull)[0]

    def _project(self, tensors, viewmat, camera: Camera, degree: int):
        """Ellipses in the image, and the image's pinhole."""
        K = camera.K
        pinhole = self._cpu.Pinhole(
            camera.width, camera.height, *(float(K[i]) for i in ((0, 0), (1, 1), (0, 2), (1, 2)))
        )
        projection = self._cpu.project(
            *tensors, viewmat, pinhole, sh_degree=degree, threads=self._threads
        )
        return projection, pinhole
