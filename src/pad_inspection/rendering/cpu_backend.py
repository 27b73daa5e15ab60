"""The C++ rasterizer behind two differentiable torch functions: projection, then rasterization.

All tensors are float32 on the CPU. A process that was forked after a first render hangs in OpenMP:
start workers with 'spawn'.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from pad_inspection.rendering.cpu_library import (
    EllipseArrays,
    GaussianArrays,
    ViewSettings,
    available_variants,
    library,
    load_library,
    variant,
)

__all__ = [
    'Pinhole',
    'Projection',
    'available_variants',
    'default_threads',
    'project',
    'rasterize',
    'ssim',
    'variant',
]

NEAR_M, FAR_M = 1e-3, 1e10
# Low-pass filter, px^2: a Gaussian never gets smaller than about a third of a pixel.
DILATION_PX2 = 0.3


def default_threads() -> int:
    """Threads that torch uses as well; OMP_NUM_THREADS limits both."""
    return torch.get_num_threads()


def _pointer(tensor: torch.Tensor | None) -> int | None:
    """Address for C; the caller keeps the tensor alive and contiguous."""
    return None if tensor is None else tensor.data_ptr()


def _plain(tensor: torch.Tensor) -> torch.Tensor:
    """Contiguous float32 CPU tensor without gradient."""
    return tensor.detach().to('cpu', torch.float32).contiguous()


class _TileLists:
    """The rasterizer's sorted tile lists of one image, kept from forward to backward."""

    _free: ClassVar[dict[str, list[_TileLists]]] = {}

    def __init__(self, name: str):
        self._name = name
        self.library = load_library(name)
        self.handle = self.library.pad_tile_lists_new()

    def __del__(self):
        self.library.pad_tile_lists_free(self.handle)

    @classmethod
    def take(cls) -> _TileLists:
        """One that is free: its buffers have grown to the size that is needed."""
        name = variant()
        free = cls._free.setdefault(name, [])
        return free.pop() if free else cls(name)

    def give_back(self) -> None:
        """Offer the buffers to the next image."""
        self._free[self._name].append(self)


@dataclass(frozen=True)
class Pinhole:
    """An image's size and intrinsics, px, first pixel centre at (0.5, 0.5)."""

    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float

    @property
    def intrinsics(self) -> tuple[float, float, float, float]:
        """fx, fy, cx, cy."""
        return self.fx, self.fy, self.cx, self.cy


def _new_ellipses(count: int) -> list[torch.Tensor]:
    """Means, depths, conics, colours and opacities of ellipses, not yet written."""
    return [torch.empty(count, *tail) for tail in ((2,), (), (3,), (3,), ())]


class _Project(torch.autograd.Function):
    """Gaussians in space -> ellipses in the image and their colours."""

    @staticmethod
    def forward(ctx, means, quats, scales, opacities, sh, viewmat, center, settings):
        inputs = [_plain(t) for t in (means, quats, scales, opacities, sh, viewmat, center)]
        ellipses = _new_ellipses(len(means))
        radii = torch.empty(len(means), 2, dtype=torch.int32)
        library().pad_project_forward(
            *_Project._in_space(inputs, settings),
            EllipseArrays(*map(_pointer, ellipses), _pointer(radii)),
        )
        ctx.save_for_backward(*inputs, *ellipses, radii)
        ctx.settings = settings
        ctx.mark_non_differentiable(radii)
        return (*ellipses, radii)

    @staticmethod
    def backward(ctx, *gradients):
        inputs, outputs = ctx.saved_tensors[:7], ctx.saved_tensors[7:]
        into = [gradient.contiguous() for gradient in gradients[:5]]
        results = [torch.empty_like(t) for t in inputs[:5]]
        of_pose = (None, None)
        if ctx.needs_input_grad[5] or ctx.needs_input_grad[6]:
            of_pose = (torch.empty(4, 4), torch.empty(3))
        library().pad_project_backward(
            *_Project._in_space(inputs, ctx.settings),
            EllipseArrays(*map(_pointer, outputs)),
            EllipseArrays(*map(_pointer, into), None),
            *map(_pointer, (*results, *of_pose)),
        )
        return (*results, *of_pose, None)

    @staticmethod
    def _in_space(inputs, settings) -> tuple[GaussianArrays, ViewSettings]:
        """The Gaussians and the view as C takes them."""
        pinhole, degree, antialiased, threads = settings
        gaussians = GaussianArrays(len(inputs[0]), inputs[4].shape[1], *map(_pointer, inputs[:5]))
        view = ViewSettings(
            *map(_pointer, inputs[5:]), *pinhole.intrinsics, pinhole.width, pinhole.height,
            NEAR_M, FAR_M, DILATION_PX2, antialiased, degree, threads,
        )  # fmt: skip
        return gaussians, view


class _Rasterize(torch.autograd.Function):
    """Ellipses -> image (H, W, 3 or 4) and alpha (H, W); the fourth channel is alpha * depth."""

    @staticmethod
    def forward(ctx, means2d, depths, conics, colors, opacities, radii, background, settings):
        pinhole, channels, threads, _ = settings
        lists = _TileLists.take()
        inputs = [_plain(t) for t in (means2d, depths, conics, colors, opacities)]
        lists.library.pad_tile_lists_fill(
            lists.handle, len(radii), pinhole.width, pinhole.height,
            EllipseArrays(*map(_pointer, inputs), _pointer(radii)), threads,
        )  # fmt: skip
        behind = torch.zeros(4)
        if background is not None:
            behind[:3] = _plain(background)
        image = torch.empty(pinhole.height, pinhole.width, channels)
        transmittance = torch.empty(pinhole.height, pinhole.width)
        lists.library.pad_rasterize_forward(
            lists.handle, channels, *map(_pointer, (behind, image, transmittance)), threads
        )
        if any(ctx.needs_input_grad):
            ctx.lists, ctx.settings, ctx.count = lists, settings, len(radii)
            ctx.save_for_backward(image, transmittance)
        else:
            lists.give_back()
        return image, 1 - transmittance

    @staticmethod
    def backward(ctx, into_image, into_alpha):
        if ctx.lists is None:
            raise RuntimeError('the gradient of a rendered image can be asked for only once')
        _, channels, threads, sink = ctx.settings
        into = [into_image.contiguous(), into_alpha.contiguous()]
        results = _new_ellipses(ctx.count)
        absolute = None if sink is None else torch.empty(ctx.count, 2)
        ctx.lists.library.pad_rasterize_backward(
            ctx.lists.handle, channels, *map(_pointer, (*ctx.saved_tensors, *into)),
            EllipseArrays(*map(_pointer, results), None), _pointer(absolute), threads,
        )  # fmt: skip
        if sink is not None:
            sink['absolute_means2d_grad'] = absolute
        ctx.lists.give_back()
        ctx.lists = None
        return (*results, None, None, None)


@dataclass(frozen=True)
class Projection:
    """Gaussians as ellipses in one image, depth along the optical axis.

    Attributes:
        means2d: (N, 2), px.
        depths: (N,), m.
        conics: (N, 3), px^-2, inverse covariance xx, xy, yy.
        colors: (N, 3), seen from the camera.
        opacities: (N,).
        radii: int32 (N, 2), px, 0 for Gaussians that are not in the image.
    """

    means2d: torch.Tensor
    depths: torch.Tensor
    conics: torch.Tensor
    colors: torch.Tensor
    opacities: torch.Tensor
    radii: torch.Tensor


def project(
    means: torch.Tensor,
    quats: torch.Tensor,
    scales: torch.Tensor,
    opacities: torch.Tensor,
    sh: torch.Tensor,
    viewmat: torch.Tensor,
    pinhole: Pinhole,
    *,
    sh_degree: int,
    antialiased: bool = False,
    threads: int = 1,
) -> Projection:
    """Project Gaussians; differentiable in all tensors.

    Args:
        means: (N, 3), m.
        quats: (N, 4), wxyz, any length.
        scales: (N, 3), m.
        opacities: (N,), 0 to 1.
        sh: (N, K, 3).
        viewmat: (4, 4), cam_from_object.
        pinhole: image size and intrinsics.
        sh_degree: bases up to this degree are used.
        antialiased: lower the opacity of Gaussians that the low-pass filter widens.
        threads: of the CPU.
    """
    rotation, translation = viewmat[:3, :3], viewmat[:3, 3]
    center = -(rotation.transpose(0, 1) @ translation)
    return Projection(
        *_Project.apply(
            means, quats, scales, opacities, sh, viewmat, center,
            (pinhole, sh_degree, int(antialiased), threads),
        )
    )  # fmt: skip


def rasterize(
    projection: Projection,
    pinhole: Pinhole,
    *,
    background: torch.Tensor | None = None,
    depth: bool = False,
    threads: int = 1,
    gradient_sink: dict | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw ellipses front to back; differentiable, except in the background.

    Args:
        projection: from ``project`` (its colours may be replaced).
        pinhole: image size.
        background: (3,) colour, None = black, so that the image is premultiplied by alpha.
        depth: add a fourth channel, the alpha-weighted sum of depths, m.
        threads: of the CPU.
        gradient_sink: backward puts 'absolute_means2d_grad' (N, 2) there, the sum over pixels of
            the absolute gradient.

    Returns:
        Image (H, W, 3 or 4) and alpha (H, W).
    """
    return _Rasterize.apply(
        projection.means2d,
        projection.depths,
        projection.conics,
        projection.colors,
        projection.opacities,
        projection.radii,
        background,
        (pinhole, 4 if depth else 3, threads, gradient_sink),
    )


class _Ssim(torch.autograd.Function):
    @staticmethod
    def forward(ctx, image, target, threads):
        height, width, channels = image.shape
        first, second = _plain(image), _plain(target)
        gradient = torch.empty_like(first) if ctx.needs_input_grad[0] else None
        value = library().pad_ssim(
            height, width, channels, *map(_pointer, (first, second, gradient)), threads
        )
        ctx.gradient = gradient
        return image.new_tensor(value)

    @staticmethod
    def backward(ctx, into):
        return ctx.gradient * into, None, None


def ssim(image: torch.Tensor, target: torch.Tensor, threads: int = 1) -> torch.Tensor:
    """Mean structural similarity, 11x11 Gaussian window, zeros outside of the image.

    Args:
        image: (H, W, C), 0 to 1; the gradient goes here.
        target: (H, W, C), 0 to 1.
        threads: of the CPU.

    Source: Wang et al. (2004), Image quality assessment: from error visibility to structural
    similarity, eq. 13, with C1 = 0.01^2, C2 = 0.03^2 and a window of sigma 1.5.
    """
    if image.shape != target.shape or image.ndim != 3:
        raise ValueError(f'ssim of shapes {tuple(image.shape)} and {tuple(target.shape)}')
    return _Ssim.apply(image, target, threads)
