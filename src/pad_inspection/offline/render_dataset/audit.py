"""Checks a brick model: is everything connected by studs, and does nothing collide?

Parts are their oriented bounding boxes without studs, tyres are cylinders; all in LDU.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from pad_inspection.offline.render_dataset.ldraw import Library, Placement, Polygon, Reference

# Files of the library that draw a stud that goes into other parts.
_STUDS = {
    *('stud.dat', 'stud2.dat', 'stud2a.dat', 'studa.dat', 'studp01.dat', 'stud6.dat'),
    *('stud6a.dat', 'stud10.dat', 'stud13.dat', 'stud15.dat', 'stud17a.dat'),
}
_STUD_GROUP = 'stug'
# Parts whose box is not solid; boxes that overlap one of these are no proof of a collision.
_HOLLOW = (
    *('mudguard', 'windscreen', 'wheel', 'tyre', 'seat', 'steering', 'dish', 'propeller'),
    *('engine', 'spoiler', 'turntable', 'antenna', 'round', 'cone', 'bucket', 'headlight'),
    *('hinge', 'inverted', 'arch', 'slope', 'axle', 'bar ', 'tail', 'panel'),
)


@dataclass(frozen=True)
class OrientedBox:
    """A box: center (3,), axes (3, 3) as columns, half sizes (3,)."""

    center: np.ndarray
    axes: np.ndarray
    half: np.ndarray


class PartShapes:
    """Studs, bodies and kinds of parts, read once from a library."""

    def __init__(self, library: Library):
        self.library = library
        self._studs: dict[str, list[np.ndarray]] = {}
        self._bodies: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        self._titles: dict[str, str] = {}

    def studs(self, part: str) -> list[np.ndarray]:
        """Frames (4, 4) of a part's studs; the stud's base is at the origin, its tip at -y."""
        if part not in self._studs:
            self._walk(part)
        return self._studs[part]

    def body(self, part: str) -> tuple[np.ndarray, np.ndarray]:
        """Lower and upper corner (3,) of a part without its studs, in its frame."""
        if part not in self._bodies:
            self._walk(part)
        return self._bodies[part]

    def box(self, placement: Placement) -> OrientedBox:
        """Body of a placed part."""
        low, high = self.body(placement.part)
        matrix = placement.model_from_part
        center = placement.transform((low + high) / 2)
        return OrientedBox(center, matrix[:3, :3], (high - low) / 2)

    def is_hollow(self, part: str) -> bool:
        """Whether a part's box is not filled by it."""
        return any(word in self._title(part) for word in _HOLLOW)

    def is_tyre(self, part: str) -> bool:
        """Whether a part is a tyre (its axis is z)."""
        return self._title(part).lstrip('~').startswith('tyre')

    def _title(self, part: str) -> str:
        """Title of a part in lower case."""
        if part not in self._titles:
            self._titles[part] = self.library.title(part).lower()
        return self._titles[part]

    def _walk(self, part: str) -> None:
        """Collect the stud frames and the bounds of everything else."""
        studs: list[np.ndarray] = []
        corners: list[np.ndarray] = []

        def walk(name: str, matrix: np.ndarray, inside_group: bool) -> None:
            for line in self.library.lines(name):
                if isinstance(line, Polygon) and not inside_group:
                    corners.append(line.corners @ matrix[:3, :3].T + matrix[:3, 3])
                elif isinstance(line, Reference):
                    base = line.name.split('/')[-1]
                    if base in _STUDS:
                        studs.append(matrix @ line.matrix)
                    else:
                        group = inside_group or base.startswith(_STUD_GROUP)
                        walk(line.name, matrix @ line.matrix, group)

        walk(part, np.eye(4), False)
        points = np.concatenate(corners) if corners else self.library.mesh(part).vertices
        self._studs[part] = studs
        self._bodies[part] = (points.min(axis=0), points.max(axis=0))


@dataclass
class Audit:
    """Connections and collisions of a model.

    Attributes:
        shapes: of the library that the model was built from.
        placements: the model.
    """

    shapes: PartShapes
    placements: list[Placement]

    @cached_property
    def boxes(self) -> list[OrientedBox]:
        """Body of each part."""
        return [self.shapes.box(p) for p in self.placements]

    @cached_property
    def connections(self) -> set[tuple[int, int]]:
        """Index pairs of parts that hold each other.

        A stud of one is inside the other's body, or their bodies overlap (pins, wheels).
        """
        found = set()
        for a, placement in enumerate(self.placements):
            for stud in self.shapes.studs(placement.part):
                frame = placement.model_from_part @ stud
                up = -frame[:3, 1] / np.linalg.norm(frame[:3, 1])
                tip = frame[:3, 3] + 2.0 * up
                for b, box in enumerate(self.boxes):
                    inside = (np.abs(box.axes.T @ (tip - box.center)) < box.half + 0.3).all()
                    if b != a and inside:
                        found.add((min(a, b), max(a, b)))
            for b in range(a + 1, len(self.placements)):
                if box_overlap(self.boxes[a], self.boxes[b]) > 1.5:
                    found.add((a, b))
        return found

    def num_components(self, without: int | None = None) -> int:
        """Number of connected groups of parts, with one part (index) taken away if given."""
        neighbors: list[list[int]] = [[] for _ in self.placements]
        for a, b in self.connections:
            neighbors[a].append(b)
            neighbors[b].append(a)
        seen = set() if without is None else {without}
        groups = 0
        for start in range(len(self.placements)):
            if start in seen:
                continue
            groups += 1
            stack = [start]
            seen.add(start)
            while stack:
                for other in neighbors[stack.pop()]:
                    if other not in seen:
                        seen.add(other)
                        stack.append(other)
        return groups

    def collisions(self, tolerance: float = 1.2) -> list[tuple[int, int]]:
        """Index pairs of parts that are inside each other by more than ``tolerance`` LDU."""
        solid = [not self.shapes.is_hollow(p.part) for p in self.placements]
        tyre = [self.shapes.is_tyre(p.part) for p in self.placements]
        found = []
        for a in range(len(self.placements)):
            for b in range(a + 1, len(self.placements)):
                if box_overlap(self.boxes[a], self.boxes[b]) <= tolerance:
                    continue
                if solid[a] and solid[b]:
                    found.append((a, b))
                elif tyre[a] != tyre[b]:
                    wheel, other = (a, b) if tyre[a] else (b, a)
                    if self._tyre_hits(wheel, other, tolerance):
                        found.append((a, b))
        return found

    def _tyre_hits(self, wheel: int, other: int, tolerance: float) -> bool:
        """Whether triangles of a part reach into a tyre; rims and axles with pins are meant to."""
        part = self.placements[other]
        title = self.shapes.library.title(part.part).lower()
        if 'wheel' in title:
            return False
        tyre_from_model = np.linalg.inv(self.placements[wheel].model_from_part)
        points = part.transform(self.shapes.library.mesh(part.part).triangles)
        points = points @ tyre_from_model[:3, :3].T + tyre_from_model[:3, 3]
        _, high = self.shapes.body(self.placements[wheel].part)
        radius, width = high[0] - tolerance, high[2] - tolerance
        # boxes inscribed in the cylinder
        for angle in np.radians([15, 30, 45, 60, 75]):
            half = np.array([radius * np.cos(angle), radius * np.sin(angle), width])
            if triangles_in_box(points, -half, half).any():
                return True
        return False


def box_overlap(a: OrientedBox, b: OrientedBox) -> float:
    """Smallest overlap of two boxes over the 15 separating axes, LDU; not above 0 = apart."""
    axes = np.concatenate(
        [a.axes.T, b.axes.T, np.cross(a.axes.T[:, None], b.axes.T[None]).reshape(9, 3)]
    )
    length = np.linalg.norm(axes, axis=1)
    axes = axes[length > 1e-3] / length[length > 1e-3, None]
    reach = np.abs(axes @ a.axes) @ a.half + np.abs(axes @ b.axes) @ b.half
    return float((reach - np.abs(axes @ (a.center - b.center))).min())


def triangles_in_box(triangles: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Which triangles (T, 3, 3) intersect the open box from low to high (3,): bool (T,).

    Source: Akenine-Moller (2001), separating axes of a triangle and a box.
    """
    half = (high - low) / 2
    t = triangles - (low + high) / 2
    hit = ~((t.min(axis=1) >= half).any(axis=1) | (t.max(axis=1) <= -half).any(axis=1))
    index = np.flatnonzero(hit)
    t = t[index]
    edges = np.roll(t, -1, axis=1) - t
    normal = np.cross(edges[:, 0], edges[:, 1])
    keep = np.abs((normal * t[:, 0]).sum(axis=1)) < np.abs(normal) @ half
    for k in range(3):
        for unit in np.eye(3):
            axis = np.cross(edges[:, k], unit)
            reach = np.abs(axis) @ half
            spread = np.einsum('nij,nj->ni', t, axis)
            keep &= ~((spread.min(axis=1) >= reach) | (spread.max(axis=1) <= -reach))
    hit[index] = keep
    return hit
