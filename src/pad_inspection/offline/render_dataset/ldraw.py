"""Brick geometry from the LDraw parts library: parts as meshes, colours, placements.

An LDraw part is a text file of triangles, quads and references to other files. Its unit is the LDU
(0.4 mm), its frame right-handed with y down. ``OBJECT_FROM_LDRAW`` takes it to metres with z up.
Source: the LDraw file format and BFC extension, ldraw.org.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np

LDU = 0.4e-3  # m
OBJECT_FROM_LDRAW = np.array(
    [[LDU, 0, 0, 0], [0, 0, LDU, 0], [0, -LDU, 0, 0], [0, 0, 0, 1]], np.float64
)
# Colour code that means: the colour of the part that refers to this file.
INHERIT = 16
# Bricks of a real model touch; a gap this wide on each side shows the seams between them.
SEAM_LDU = 0.1
DEFAULT_LIBRARY = Path(__file__).parents[2] / 'data' / 'ldraw'


@dataclass(frozen=True)
class Color:
    """A colour of the library.

    Attributes:
        name: as in the library.
        rgb: sRGB, 0 to 1.
        alpha: 1 opaque, below 1 clear plastic.
        finish: '' plain, or CHROME, PEARLESCENT, RUBBER, MATTE_METALLIC, METAL...
    """

    name: str
    rgb: tuple[float, float, float]
    alpha: float = 1.0
    finish: str = ''


@dataclass(frozen=True)
class Mesh:
    """Polygons of a part, LDraw frame, LDU.

    Attributes:
        vertices: float64 (V, 3).
        faces: vertex numbers of each polygon (3 or 4), counter-clockwise seen from outside.
        colors: colour code of each polygon; INHERIT = that of the placement.
    """

    vertices: np.ndarray
    faces: tuple[tuple[int, ...], ...]
    colors: tuple[int, ...]

    @cached_property
    def triangles(self) -> np.ndarray:
        """Corners of the triangles, float64 (T, 3, 3)."""
        return self.vertices[self._triangle_faces[0]]

    @cached_property
    def triangle_colors(self) -> np.ndarray:
        """Colour code of each triangle, int64 (T,)."""
        return np.asarray(self.colors)[self._triangle_faces[1]]

    @cached_property
    def _triangle_faces(self) -> tuple[np.ndarray, np.ndarray]:
        """Vertex numbers (T, 3) of a fan of each polygon, and the polygon's number (T,)."""
        corners, numbers = [], []
        for number, face in enumerate(self.faces):
            for k in range(1, len(face) - 1):
                corners.append((face[0], face[k], face[k + 1]))
                numbers.append(number)
        return np.asarray(corners), np.asarray(numbers)

    @cached_property
    def with_seam(self) -> Mesh:
        """The mesh shrunk by SEAM_LDU on each side that is wide enough for it."""
        low, high = self.vertices.min(axis=0), self.vertices.max(axis=0)
        center, half = (low + high) / 2, np.maximum((high - low) / 2, 1e-3)
        ratio = np.where(half > 4 * SEAM_LDU, (half - SEAM_LDU) / half, 1.0)
        return replace(self, vertices=center + (self.vertices - center) * ratio)


@dataclass(frozen=True)
class Placement:
    """A part at its place in a model.

    Attributes:
        id: number of the part in the model, from 1; 0 is the background of part-ID images.
        part: file name in the library, '3001.dat'.
        color: colour code.
        model_from_part: float64 (4, 4), LDraw frame, LDU.
    """

    id: int
    part: str
    color: int
    model_from_part: np.ndarray

    def transform(self, points: np.ndarray) -> np.ndarray:
        """Take points (..., 3) of the part's frame to the model's, LDU."""
        matrix = self.model_from_part
        return points @ matrix[:3, :3].T + matrix[:3, 3]


@dataclass(frozen=True)
class Reference:
    """A line of a part file that places another file."""

    color: int
    matrix: np.ndarray
    name: str


@dataclass(frozen=True)
class Polygon:
    """A line of a part file that draws a triangle or quad: corners (3 or 4, 3) in LDU."""

    color: int
    corners: np.ndarray


@dataclass
class Library:
    """Reads parts and colours of an LDraw folder (``parts``, ``p`` and ``LDConfig.ldr``).

    Attributes:
        root: the folder; empty = the subset that comes with the package.
    """

    root: Path = DEFAULT_LIBRARY
    _index: dict[str, Path] = field(init=False, repr=False)
    _lines: dict[str, list] = field(init=False, repr=False, default_factory=dict)
    _meshes: dict[str, Mesh] = field(init=False, repr=False, default_factory=dict)

    def __post_init__(self):
        self.root = Path(self.root)
        if not (self.root / 'LDConfig.ldr').is_file():
            raise FileNotFoundError(f'{self.root} is no LDraw library: it has no LDConfig.ldr')
        self._index = {}
        for folder in ('p', 'parts'):
            base = self.root / folder
            for path in base.rglob('*.dat'):
                self._index[path.relative_to(base).as_posix().lower()] = path

    def __contains__(self, name: str) -> bool:
        return _key(name) in self._index

    @cached_property
    def colors(self) -> dict[int, Color]:
        """All colours by code."""
        pattern = re.compile(r'0 !COLOUR (\S+)\s+CODE\s+(\d+)\s+VALUE\s+#(\w{6})\s+EDGE\s+\S+(.*)')
        finishes = ('CHROME', 'PEARLESCENT', 'RUBBER', 'MATTE_METALLIC', 'METAL', 'GLITTER')
        found = {}
        for line in self._read(self.root / 'LDConfig.ldr'):
            match = pattern.match(line)
            if match:
                name, code, value, rest = match.groups()
                rgb = tuple(int(value[i : i + 2], 16) / 255 for i in (0, 2, 4))
                alpha = re.search(r'ALPHA\s+(\d+)', rest)
                finish = next((f for f in finishes if f in rest), '')
                opacity = int(alpha.group(1)) / 255 if alpha else 1.0
                found[int(code)] = Color(name, rgb, opacity, finish)
        return found

    def title(self, part: str) -> str:
        """First line of a part's file: what it is."""
        return self._read(self._path(part))[0][2:].strip()

    def mesh(self, part: str) -> Mesh:
        """Mesh of a part with everything it refers to.

        Raises:
            KeyError: the part, or one it refers to, is not in the library.
        """
        key = _key(part)
        if key not in self._meshes:
            polygons: list[Polygon] = []
            self._flatten(key, np.eye(4), INHERIT, False, polygons, 0)
            self._meshes[key] = _merge(polygons)
        return self._meshes[key]

    def lines(self, name: str) -> list:
        """What a file holds: Reference, Polygon, and word lists of its comments, in order."""
        key = _key(name)
        if key not in self._lines:
            self._lines[key] = _parse(self._read(self._path(key)))
        return self._lines[key]

    def _path(self, name: str) -> Path:
        """Path of a file of the library."""
        key = _key(name)
        if key not in self._index:
            raise KeyError(f'part {name} is not in the LDraw library {self.root}')
        return self._index[key]

    @staticmethod
    def _read(path: Path) -> list[str]:
        """Lines of a text file; a few old headers are not UTF-8."""
        return path.read_text(encoding='utf-8', errors='replace').splitlines()

    def _flatten(self, name, matrix, color, inverted, polygons, depth) -> None:
        """Collect the polygons of a file and of those it refers to (BFC winding rules)."""
        if depth > 30:
            raise ValueError(f'{name} refers to itself')
        flipped = inverted ^ (np.linalg.det(matrix[:3, :3]) < 0)
        clockwise, invert_next = False, False
        for line in self.lines(name):
            if isinstance(line, list):
                if line[:1] == ['BFC']:
                    clockwise = 'CW' in line or (clockwise and 'CCW' not in line)
                    invert_next = 'INVERTNEXT' in line
                continue
            own = color if line.color == INHERIT else line.color
            if isinstance(line, Reference):
                nested = matrix @ line.matrix
                inward = inverted ^ invert_next
                self._flatten(line.name, nested, own, inward, polygons, depth + 1)
            else:
                corners = line.corners @ matrix[:3, :3].T + matrix[:3, 3]
                if flipped != clockwise:
                    corners = corners[::-1]
                polygons.append(Polygon(own, corners))
            invert_next = False


def parse_ldr(text: str, library: Library) -> list[Placement]:
    """Read a model (.ldr or .mpd): its parts with sub-models flattened.

    Raises:
        ValueError: it places no part, or names a part that the library does not have.
    """
    files: dict[str, list[str]] = {}
    current = 'main'
    for line in text.splitlines():
        match = re.match(r'0\s+FILE\s+(.*)', line.strip())
        if match:
            current = _key(match.group(1).strip())
        files.setdefault(current, []).append(line)
    models = {name: _parse(lines) for name, lines in files.items()}
    # lines before the first FILE are a header, not a model
    first = next((name for name in models if name != 'main'), 'main')
    found: list[Placement] = []

    def place(name: str, matrix: np.ndarray, color: int) -> None:
        for line in models[name]:
            if not isinstance(line, Reference):
                continue
            own = color if line.color == INHERIT else line.color
            if line.name in models:
                place(line.name, matrix @ line.matrix, own)
            elif line.name in library:
                found.append(Placement(len(found) + 1, line.name, own, matrix @ line.matrix))
            else:
                raise ValueError(f'part {line.name} is not in the LDraw library {library.root}')

    place(first, np.eye(4), 7)
    if not found:
        raise ValueError('the model places no part (no line of type 1)')
    return found


def format_ldr(placements: list[Placement], title: str) -> str:
    """Text of a model that any LDraw program opens."""
    lines = [f'0 {title}']
    for p in placements:
        values = [*p.model_from_part[:3, 3], *p.model_from_part[:3, :3].ravel()]
        numbers = ' '.join(f'{round(v, 5):g}' for v in values)
        lines.append(f'1 {p.color} {numbers} {p.part}')
    return '\n'.join(lines) + '\n'


def _key(name: str) -> str:
    """Library key of a file name; LDraw mixes cases and slashes."""
    return name.lower().replace('\\', '/')


def _parse(lines: list[str]) -> list:
    """References, polygons and comment words of a file; lines (type 2) and type 5 are left out."""
    parsed: list = []
    for words in filter(None, (line.split() for line in lines)):
        kind = words[0]
        if kind == '0':
            parsed.append(words[1:])
        elif kind == '1':
            values = np.array([float(w) for w in words[2:14]])
            matrix = np.eye(4)
            matrix[:3, 3], matrix[:3, :3] = values[:3], values[3:].reshape(3, 3)
            parsed.append(Reference(_code(words[1]), matrix, _key(' '.join(words[14:]))))
        elif kind in ('3', '4'):
            count = int(kind)
            corners = np.array([float(w) for w in words[2 : 2 + 3 * count]]).reshape(count, 3)
            parsed.append(Polygon(_code(words[1]), corners))
    return parsed


def _code(word: str) -> int:
    """Colour code, decimal or direct (0x2RRGGBB)."""
    return int(word, 16) if word.lower().startswith('0x') else int(word)


def _merge(polygons: list[Polygon]) -> Mesh:
    """Mesh of polygons with common corners merged; polygons that collapse are left out."""
    points = np.round(np.concatenate([p.corners for p in polygons]), 2)
    vertices, inverse = np.unique(points, axis=0, return_inverse=True)
    numbers = iter(inverse.ravel().tolist())
    faces, colors = [], []
    for polygon in polygons:
        face = [next(numbers) for _ in polygon.corners]
        face = [v for i, v in enumerate(face) if v != face[i - 1]]
        if len(face) >= 3 and len(set(face)) == len(face):
            faces.append(tuple(face))
            colors.append(polygon.color)
    return Mesh(vertices, tuple(faces), tuple(colors))
