"""The splat model's file: PLY in the layout that Gaussian splatting programs and viewers share.

One binary little endian float32 vertex for each Gaussian: x y z, nx ny nz (unused), f_dc_0..2,
f_rest_* (all coefficients of red, then green, then blue), opacity (logit), scale_0..2 (log of the
standard deviation), rot_0..3 (quaternion wxyz).
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from pad_inspection.datatypes import Gaussians

# Keeps the logit finite for opacities that were rounded to 0 or 1.
_OPACITY_MARGIN = 1e-6
_HEADER_LIMIT = 64 * 1024
_MAX_BYTES = 1 << 30
# No product has parts of this size or that far away, m; no colour has such coefficients.
_MOST_METRES = 1000.0
_MOST_SH = 1000.0
_PLY_TYPES = {
    'char': 'i1', 'int8': 'i1', 'uchar': 'u1', 'uint8': 'u1',
    'short': '<i2', 'int16': '<i2', 'ushort': '<u2', 'uint16': '<u2',
    'int': '<i4', 'int32': '<i4', 'uint': '<u4', 'uint32': '<u4',
    'float': '<f4', 'float32': '<f4', 'double': '<f8', 'float64': '<f8',
}  # fmt: skip


def _property_names(num_rest: int) -> list[str]:
    """Names of a vertex's properties in the order of the file."""
    return [
        *('x', 'y', 'z', 'nx', 'ny', 'nz'),
        *(f'f_dc_{i}' for i in range(3)),
        *(f'f_rest_{i}' for i in range(num_rest)),
        'opacity',
        *(f'scale_{i}' for i in range(3)),
        *(f'rot_{i}' for i in range(4)),
    ]


def write_ply(path: Path, gaussians: Gaussians) -> None:
    """Write a splat model.

    Args:
        path: the file; its folder must exist.
        gaussians: the model.
    """
    n, num_bases = gaussians.sh.shape[:2]
    opacity = np.clip(gaussians.opacities, _OPACITY_MARGIN, 1 - _OPACITY_MARGIN).astype(np.float64)
    columns = [
        gaussians.means,
        np.zeros((n, 3)),
        gaussians.sh[:, 0],
        gaussians.sh[:, 1:].transpose(0, 2, 1).reshape(n, -1),
        np.log(opacity / (1 - opacity))[:, None],
        np.log(np.maximum(gaussians.scales, np.finfo(np.float32).tiny)),
        gaussians.quats,
    ]
    names = _property_names(3 * (num_bases - 1))
    header = ['ply', 'format binary_little_endian 1.0', f'element vertex {n}']
    header += [f'property float {name}' for name in names] + ['end_header', '']
    with open(path, 'wb') as file:
        file.write('\n'.join(header).encode())
        file.write(np.concatenate(columns, axis=1).astype('<f4').tobytes())


def read_ply(path: Path) -> Gaussians:
    """Read a splat model of any spherical-harmonics degree from 0 to 3.

    Args:
        path: the file.

    Returns:
        The model, after activation; quaternions are made unit length.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not a PLY of Gaussians, is cut short or larger than 1 GiB, holds NaN or
            infinity, or what no product has.
    """
    path = Path(path)
    if path.stat().st_size > _MAX_BYTES:
        raise ValueError(f'{path} has {path.stat().st_size} bytes, wanted up to {_MAX_BYTES}')
    with open(path, 'rb') as file:
        content = file.read()
    count, layout, begin = _parse_header(path, content)
    wanted = count * layout.itemsize
    if len(content) - begin < wanted:
        raise ValueError(
            f'{path} is cut short: {len(content) - begin} bytes of vertices, wanted {wanted}'
        )
    vertices = np.frombuffer(content, layout, count, begin)
    num_rest = sum(name.startswith('f_rest_') for name in layout.names)
    if num_rest not in (0, 9, 24, 45):
        raise ValueError(f'{path} has {num_rest} f_rest properties, wanted 0, 9, 24 or 45')
    needed = [name for name in _property_names(num_rest) if name not in ('nx', 'ny', 'nz')]
    missing = [name for name in needed if name not in layout.names]
    if missing:
        raise ValueError(f'{path} is no file of Gaussians, it lacks {", ".join(missing[:4])}')

    def columns(*names: str) -> np.ndarray:
        return np.stack([vertices[name] for name in names], axis=1).astype(np.float32)

    values = columns(*needed)
    if not np.isfinite(values).all():
        bad = int((~np.isfinite(values)).any(axis=1).sum())
        raise ValueError(f'{path} holds NaN or infinity in {bad} of {count} Gaussians')
    sh = columns(*(f'f_dc_{i}' for i in range(3)))[:, None]
    if num_rest:
        rest = columns(*(f'f_rest_{i}' for i in range(num_rest)))
        rest = rest.reshape(count, 3, num_rest // 3).transpose(0, 2, 1)
        sh = np.concatenate([sh, rest], axis=1)
    quats = columns(*(f'rot_{i}' for i in range(4)))
    lengths = np.linalg.norm(quats, axis=1, keepdims=True)
    if count and lengths.min() == 0:
        raise ValueError(f'{path} holds a quaternion of length 0')
    means, log_scales = columns('x', 'y', 'z'), columns('scale_0', 'scale_1', 'scale_2')
    far = np.abs(means).max(initial=0.0) > _MOST_METRES
    if far or log_scales.max(initial=0.0) > np.log(_MOST_METRES):
        raise ValueError(f'{path} holds a Gaussian larger or farther than {_MOST_METRES:g} m')
    if np.abs(sh).max(initial=0.0) > _MOST_SH:
        raise ValueError(f'{path} holds a colour coefficient above {_MOST_SH:g}')
    return Gaussians(
        means=means,
        quats=quats / lengths,
        scales=np.exp(log_scales),
        # beyond +-80 the exponential of a float32 has no number
        opacities=1 / (1 + np.exp(-np.clip(columns('opacity')[:, 0], -80, 80))),
        sh=np.ascontiguousarray(sh),
    )


def _parse_header(path: Path, content: bytes) -> tuple[int, np.dtype, int]:
    """Number of vertices, their layout, and where they begin in the file."""
    end = content.find(b'end_header\n', 0, _HEADER_LIMIT)
    if not content.startswith(b'ply') or end < 0:
        raise ValueError(f'{path} is not a PLY file')
    lines = content[:end].decode('ascii', 'replace').splitlines()
    if 'format binary_little_endian 1.0' not in lines:
        raise ValueError(f'{path} is not binary little endian, which is the layout wanted')
    elements = [line.split() for line in lines if line.startswith('element ')]
    counted = bool(elements) and re.fullmatch('[0-9]{1,12}', elements[0][-1])
    if not counted or elements[0][1:2] != ['vertex'] or len(elements[0]) != 3:
        raise ValueError(f'{path} does not begin with vertices, it has {elements[:2]}')
    fields = []
    for line in lines[lines.index(' '.join(elements[0])) + 1 :]:
        words = line.split()
        if words[:1] == ['element']:
            break
        if words[:1] != ['property']:
            continue
        if len(words) != 3 or words[1] not in _PLY_TYPES:
            raise ValueError(f'{path} has a property that Gaussians do not have: {line!r}')
        fields.append((words[2], _PLY_TYPES[words[1]]))
    if not fields or len({name for name, _ in fields}) < len(fields):
        raise ValueError(f'{path} has vertices without properties, or a property twice')
    return int(elements[0][2]), np.dtype(fields), end + len(b'end_header\n')
