"""The compiled C++ rasterizer: which of its libraries to load, and its functions' types.

The same sources are compiled for several instruction sets (tools/build_rasterizer.py); the best
one that this processor can run is loaded at first use. rasterizer/rasterizer.h is the interface.
"""

from __future__ import annotations

import ctypes
import os
import platform
from ctypes import POINTER, c_char_p, c_double, c_float, c_int, c_void_p
from functools import cache
from pathlib import Path

# Before the rasterizer is loaded: torch brings the OpenMP runtime that both must share.
import torch  # noqa: F401

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


class GaussianArrays(ctypes.Structure):
    """See rasterizer.h."""

    _fields_ = (
        ('count', c_int),
        ('num_bases', c_int),
        *((name, c_void_p) for name in ('means', 'quats', 'scales', 'opacities', 'sh')),
    )


class ViewSettings(ctypes.Structure):
    """See rasterizer.h."""

    _fields_ = (
        *((name, c_void_p) for name in ('viewmat', 'center')),
        *((name, c_float) for name in ('fx', 'fy', 'cx', 'cy')),
        *((name, c_int) for name in ('width', 'height')),
        *((name, c_float) for name in ('near_plane', 'far_plane', 'dilation')),
        *((name, c_int) for name in ('antialiased', 'sh_degree', 'threads')),
    )


class EllipseArrays(ctypes.Structure):
    """See rasterizer.h."""

    _fields_ = tuple(
        (name, c_void_p)
        for name in ('means2d', 'depths', 'conics', 'colors', 'opacities', 'radii')
    )


@cache
def load_library(name: str) -> ctypes.CDLL:
    """The loaded library of a variant, with its functions' types."""
    library = ctypes.CDLL(str(_FOLDER / f'_rasterizer_{name}.so'))
    p, i = c_void_p, c_int
    of_space = [POINTER(GaussianArrays), POINTER(ViewSettings)]
    ellipses = POINTER(EllipseArrays)
    signatures = {
        'pad_source_digest': (c_char_p, []),
        'pad_project_forward': (None, [*of_space, ellipses]),
        'pad_project_backward': (None, [*of_space, ellipses, ellipses] + [p] * 7),
        'pad_tile_lists_new': (p, []),
        'pad_tile_lists_free': (None, [p]),
        'pad_tile_lists_fill': (None, [p, i, i, i, ellipses, i]),
        'pad_rasterize_forward': (None, [p, i, p, p, p, i]),
        'pad_rasterize_backward': (None, [p, i, p, p, p, p, ellipses, p, i]),
        'pad_ssim': (c_double, [i, i, i, p, p, p, i]),
    }
    for function, (result, arguments) in signatures.items():
        getattr(library, function).restype = result
        getattr(library, function).argtypes = arguments
    return library


def library() -> ctypes.CDLL:
    """The loaded library; raises as ``variant``."""
    return load_library(variant())
