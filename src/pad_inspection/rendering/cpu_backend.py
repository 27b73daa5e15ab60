"""The C++ rasterizer behind two differentiable torch functions: projection, then rasterization.

The same rasterizer is compiled for several instruction sets (tools/build_rasterizer.py); the best
one that this processor can run is loaded at first use. All tensors are float32 on the CPU.

A process that was forked after a first render hangs in OpenMP: start workers with 'spawn'.
"""

from __future__ import annotations

import ctypes
import os
import platform
from ctypes import c_char_p, c_double, c_float, c_int, c_void_p
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import ClassVar

# Before the rasterizer is loaded: torch brings the OpenMP runtime that both must share.
import torch

NEAR_M, FAR_M = 1e-3, 1e10
# Low-pass filter, px^2: a Gaussian never gets smaller than about a third of a pixel.
DILATION_PX2 = 0.3

_FOLDER = Path(__file__).parent
# Best first, with the processor flags that each one needs.
_VARIANTS = {
    'avx512': {'avx512f', 'avx512bw', 'avx512cd', 'avx512dq', 'avx512vl', 'avx2', 'fma', 'bmi2'},
    'avx2': {'avx2', 'fma', 'bmi1', 'bmi2', 'f16c', 'movbe'},
    'baseline': set(),
}


@cache
def _processor_flags() -> frozenset[str]:
    """Instruction sets that the processor and the kernel offer."""
    try:
        text = Path('/proc/cpuinfo').read_text()
    except OSError:
        return frozenset()
    for line in text.splitlines():
        if line.startswith('flags'):
            return frozenset(line.split(':', 1)[1].split())
    return frozenset()


def available_variants() -> list[str]:
    """Compiled libraries that this processor can run, best first."""
    return [
        name
        for name, flags in _VARIANTS.items()
        if flags <= _processor_flags() and (_FOLDER / f'_rasterizer_{name}.so').exists()
    ]


def variant() -> str:
    """Which library is used: avx512, avx2 or baseline; PAD_RASTERIZER asks for another one.

    Raises:
        FileNotFoundError: none is compiled, or not the one asked for.
    """
    return _chosen_variant(os.environ.get('PAD_RASTERIZER', ''))


@cache
def _chosen_variant(wanted: str) -> str:
    """The variant that is used when ``wanted`` ('' = the best) is asked for."""
    available = available_variants()
    if wanted and wanted not in available:
        raise FileNotFoundError(
            f'PAD_RASTERIZER={wanted}, but the rasterizers that are compiled and run on this '
            f'{platform.machine()} processor are: {", ".join(available) or "none"}'
        )
    if not available:
        raise FileNotFoundError(
            f'no compiled rasterizer in {_FOLDER}; run python tools/build_rasterizer.py'
        )
    return wanted or available[0]


@cache
def _library(name: str) -> ctypes.CDLL:
    """The loaded library of a variant, with its functions' types."""
    library = ctypes.CDLL(str(_FOLDER / f'_rasterizer_{name}.so'))
    p, i, f = c_void_p, c_int, c_float
    size = [i, i]
    pinhole = [f] * 4
    signatures = {
        'gs_source_digest': (c_char_p, []),
        'gs_new': (p, []),
        'gs_free': (None, [p]),
        'gs_project_fwd': (
            None,
            [i] + [p] * 5 + [i, i] + [p, p] + pinhole + size + [f] * 4 + [i] + [p] * 6 + [i],
        ),
        'gs_project_bwd': (
            None,
            [i] + [p] * 5 + [i, i] + [p, p] + pinhole + size + [f, i] + [p] * 15 + [i],
        ),
        'gs_bin': (None, [p, i, *size] + [p] * 6 + [i, i]),
        'gs_raster_fwd': (None, [p, i, p, p, p, i]),
        'gs_raster_bwd': (None, [p, i] + [p] * 5 + [i] + [p] * 6 + [i]),
        'gs_ssim': (c_double, [i, i, i, p, p, p, f, i]),
    }
    for function, (result, arguments) in signatures.items():
        getattr(library, function).restype = result
        getattr(library, function).argtypes = arguments
    return library


def library() -> ctypes.CDLL:
    """The loaded library; raises as ``variant``."""
    return _library(variant())


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
        self._library = _library(name)
        self.handle = self._library.gs_new()

    def __del__(self):
        self._library.gs_free(self.handle)

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


class _Project(torch.autograd.Function):
    """Gaussians in space -> ellipses in the image and their colours."""

    @staticmethod
    def forward(ctx, means, quats, scales, opacities, sh, viewmat, center, settings):
        pinhole, degree, antialiased, threads = settings
        lib = library()
        n = len(means)
        inputs = [_plain(t) for t in (means, quats, scales, opacities, sh, viewmat, center)]
        means2d, depths = torch.empty(n, 2), torch.empty(n)
        conics, colors, visible_opacities = torch.empty(n, 3), torch.empty(n, 3), torch.empty(n)
        radii = torch.empty(n, 2, dtype=torch.int32)
        outputs = (means2d, depths, conics, colors, visible_opacities, radii)
        lib.gs_project_fwd(
            n, *map(_pointer, inputs[:5]), sh.shape[1], degree, *map(_pointer, inputs[5:]),
            *pinhole.intrinsics, pinhole.width, pinhole.height,
            NEAR_M, FAR_M, DILATION_PX2, 0.0, antialiased, *map(_pointer, outputs), threads,
        )  # fmt: skip
        ctx.save_for_backward(*inputs, conics, colors, radii)
        ctx.settings = settings
        ctx.mark_non_differentiable(radii)
        return outputs

    @staticmethod
    def backward(ctx, *gradients):
        *inputs, conics, colors, radii = ctx.saved_tensors
        pinhole, degree, antialiased, threads = ctx.settings
        n, num_bases = inputs[4].shape[:2]
        into = [g.contiguous() for g in gradients[:5]]
        results = [torch.empty_like(t) for t in inputs[:5]]
        of_pose = (None, None)
        if ctx.needs_input_grad[5] or ctx.needs_input_grad[6]:
            of_pose = (torch.empty(4, 4), torch.empty(3))
        library().gs_project_bwd(
            n, *map(_pointer, inputs[:5]), num_bases, degree, *map(_pointer, inputs[5:]),
            *pinhole.intrinsics, pinhole.width, pinhole.height, DILATION_PX2, antialiased,
            *map(_pointer, (conics, colors, radii)), *map(_pointer, into),
            *map(_pointer, results), *map(_pointer, of_pose), threads,
        )  # fmt: skip
        return (*results, *of_pose, None)


class _Rasterize(torch.autograd.Function):
    """Ellipses -> image (H, W, 3 or 4) and alpha (H, W); the fourth channel is alpha * depth."""

    @staticmethod
    def forward(ctx, means2d, depths, conics, colors, opacities, radii, background, settings):
        pinhole, channels, threads, _ = settings
        lib = library()
        lists = _TileLists.take()
        inputs = [_plain(t) for t in (means2d, depths, conics, colors, opacities)]
        n = len(radii)
        lib.gs_bin(
            lists.handle, n, pinhole.width, pinhole.height, *map(_pointer, inputs),
            _pointer(radii), channels, threads,
        )  # fmt: skip
        image = torch.empty(pinhole.height, pinhole.width, channels)
        transmittance = torch.empty(pinhole.height, pinhole.width)
        behind = torch.zeros(4) if background is None else torch.zeros(4).index_copy(
            0, torch.arange(3), _plain(background)
        )  # fmt: skip
        lib.gs_raster_fwd(
            lists.handle, channels, _pointer(behind), _pointer(image), _pointer(transmittance),
            threads,
        )  # fmt: skip
        if any(ctx.needs_input_grad):
            ctx.lists = lists
            ctx.save_for_backward(image, transmittance, behind)
            ctx.count, ctx.settings = n, settings
        else:
            lists.give_back()
        return image, 1 - transmittance

    @staticmethod
    def backward(ctx, into_image, into_alpha):
        image, transmittance, behind = ctx.saved_tensors
        _, channels, threads, sink = ctx.settings
        n = ctx.count
        of_means2d, of_depths, of_conics = torch.empty(n, 2), torch.empty(n), torch.empty(n, 3)
        of_colors, of_opacities = torch.empty(n, 3), torch.empty(n)
        absolute = None if sink is None else torch.empty(n, 2)
        into_image, into_alpha = into_image.contiguous(), into_alpha.contiguous()
        lists = ctx.lists
        lists._library.gs_raster_bwd(
            lists.handle, channels, _pointer(behind), _pointer(image), _pointer(transmittance),
            _pointer(into_image), _pointer(into_alpha), absolute is not None,
            _pointer(of_means2d), _pointer(absolute), _pointer(of_conics), _pointer(of_colors),
            _pointer(of_depths), _pointer(of_opacities), threads,
        )  # fmt: skip
        if sink is not None:
            sink['absolute_means2d_grad'] = absolute
        lists.give_back()
        ctx.lists = None
        return of_means2d, of_depths, of_conics, of_colors, of_opacities, None, None, None


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
        value = library().gs_ssim(
            height, width, channels, _pointer(first), _pointer(second), _pointer(gradient), 1.0,
            threads,
        )  # fmt: skip
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
