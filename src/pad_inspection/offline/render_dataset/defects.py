"""Defects of single parts of a brick model: a changed colour, a missing part, an extra part."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from pad_inspection.offline.render_dataset.audit import Audit, box_overlap, triangles_in_box
from pad_inspection.offline.render_dataset.ldraw import INHERIT, Placement

KINDS = ('recolour', 'removed', 'added')

# Small parts that a worker could leave on a model.
EXTRA_PARTS = (
    *('3024', '6141', '3005', '3062b', '4589', '54200', '3023', '3004', '3022', '3069b'),
    *('2412b', '3003', '3710', '3039'),
)
# Colour codes that occur in the models.
PALETTE = (0, 1, 2, 4, 14, 15, 25, 71, 72, 19, 27, 321, 320, 288, 70)
MIN_COLOR_CHANGE = 28.0  # Delta E 1976
# A part within this distance of the belt carries the object; taking it away would tilt it.
SUPPORT_M = 0.5e-3
_STUD_LDU = 4.0


@dataclass(frozen=True)
class Defect:
    """What is wrong with a piece.

    Attributes:
        kind: one of KINDS.
        part_id: of the part that changed, is missing, or is extra.
        part: its file name in the library.
        color_before: its colour code in an intact piece, None for an extra part.
        color_after: its colour code now, None for a missing part.
    """

    kind: str
    part_id: int
    part: str
    color_before: int | None = None
    color_after: int | None = None


def propose(
    kind: str, audit: Audit, world_from_model: np.ndarray, rng: np.random.Generator
) -> tuple[list[Placement], Defect] | None:
    """Draw a defect; None when the draw is not possible on a real piece.

    Args:
        kind: one of KINDS.
        audit: the intact model.
        world_from_model: (4, 4), LDraw frame in LDU to the world in metres; belt at z = 0.
        rng: the only source of randomness.

    Returns:
        The parts of the defective piece, and what was done.
    """
    draw = {'recolour': _recolour, 'removed': _remove, 'added': _add}[kind]
    return draw(audit, world_from_model, rng)


def lab(rgb) -> np.ndarray:
    """CIE L*a*b* (..., 3), D65, of sRGB (..., 3) in 0..1."""
    c = np.asarray(rgb, np.float64)
    linear = np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)
    xyz_from_rgb = np.array(
        [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    )
    xyz = linear @ xyz_from_rgb.T / [0.9505, 1.0, 1.089]
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    x, y, z = np.moveaxis(f, -1, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)


def _recolour(audit, world_from_model, rng):
    """Give one part another colour."""
    library = audit.shapes.library
    index = int(rng.integers(len(audit.placements)))
    part = audit.placements[index]
    if set(library.mesh(part.part).colors) != {INHERIT}:
        return None  # a part with colours of its own would change only in places
    before = lab(library.colors[part.color].rgb)
    distance = {c: np.linalg.norm(lab(library.colors[c].rgb) - before) for c in PALETTE}
    candidates = [c for c in PALETTE if distance[c] > MIN_COLOR_CHANGE]
    color = int(rng.choice(candidates))
    placements = list(audit.placements)
    placements[index] = replace(part, color=color)
    return placements, Defect('recolour', part.id, part.part, part.color, color)


def _remove(audit, world_from_model, rng):
    """Take one part away that carries nothing."""
    index = int(rng.integers(len(audit.placements)))
    part = audit.placements[index]
    if lowest_point(audit, part, world_from_model) < SUPPORT_M:
        return None
    if audit.num_components(without=index) > audit.num_components():
        return None
    placements = [p for p in audit.placements if p.id != part.id]
    return placements, Defect('removed', part.id, part.part, part.color, None)


def _add(audit, world_from_model, rng):
    """Put one part on a free stud."""
    library = audit.shapes.library
    base = audit.placements[int(rng.integers(len(audit.placements)))]
    studs = audit.shapes.studs(base.part)
    if not studs:
        return None
    name = f'{rng.choice(EXTRA_PARTS)}.dat'
    frame = base.model_from_part @ studs[int(rng.integers(len(studs)))]
    frame[:3, :3] /= np.linalg.norm(frame[:3, :3], axis=0)
    matrix = frame @ _on_stud(audit, name, rng)
    number = max(p.id for p in audit.placements) + 1
    color = int(rng.choice(PALETTE))
    extra = Placement(number, name, color, matrix)
    if _collides(audit, extra) or lowest_point(audit, extra, world_from_model) < 0:
        return None
    contrast = lab(library.colors[color].rgb) - lab(library.colors[base.color].rgb)
    # parts of the colour below are hard cases: every second one is enough
    if np.linalg.norm(contrast) < 5 and rng.random() < 0.5:
        return None
    return [*audit.placements, extra], Defect('added', number, name, None, color)


def _on_stud(audit: Audit, name: str, rng) -> np.ndarray:
    """Matrix (4, 4) that puts a part on a stud frame, at one of its stud places, turned freely."""
    low, high = audit.shapes.body(name)
    count = np.maximum(np.round((high - low)[[0, 2]] / 20).astype(int), 1)
    shift = [(rng.integers(n) - (n - 1) / 2) * 20 for n in count]
    center = (low + high) / 2
    turn = np.eye(4)
    c, s = ((1, 0), (0, 1), (-1, 0), (0, -1))[int(rng.integers(4))]
    turn[0, 0], turn[0, 2], turn[2, 0], turn[2, 2] = c, s, -s, c
    offset = np.eye(4)
    offset[:3, 3] = [shift[0] - center[0], -high[1], shift[1] - center[2]]
    return turn @ offset


def _collides(audit: Audit, extra: Placement) -> bool:
    """Whether anything reaches into the body of an extra part."""
    library = audit.shapes.library
    low, high = audit.shapes.body(extra.part)
    # room for the studs that enter from below
    inner_low, inner_high = low + 1.0, high - np.array([1.0, _STUD_LDU + 0.6, 1.0])
    extra_from_model = np.linalg.inv(extra.model_from_part)
    box = audit.shapes.box(extra)
    for placement, other in zip(audit.placements, audit.boxes):
        if np.linalg.norm(box.center - other.center) > np.linalg.norm(box.half + other.half):
            continue
        matrix = extra_from_model @ placement.model_from_part
        triangles = library.mesh(placement.part).triangles @ matrix[:3, :3].T + matrix[:3, 3]
        if triangles_in_box(triangles, inner_low, inner_high).any():
            return True
        # inside a solid plate there are no triangles to meet
        if not audit.shapes.is_hollow(placement.part) and box_overlap(box, other) > 1.0:
            return True
    return False


def lowest_point(audit: Audit, part: Placement, world_from_model: np.ndarray) -> float:
    """Height (m) of a part's lowest point over the belt."""
    points = part.transform(audit.shapes.library.mesh(part.part).vertices)
    return float((points @ world_from_model[2, :3] + world_from_model[2, 3]).min())
