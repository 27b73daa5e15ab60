"""A stud grid to build brick models on: calls name the corner of a part, not its matrix.

Grid: x = studs to the side (0 = left), y = studs to the back (0 = front bumper), h = plates up.
Each call names the lower front left corner of the part's foot print.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from pad_inspection.offline.render_dataset.ldraw import Library, Placement

STUD, PLATE_HEIGHT = 20, 8  # LDU

# Foot print (short side, long side) in studs -> part number.
BRICKS = {
    (1, 1): '3005', (1, 2): '3004', (1, 3): '3622', (1, 4): '3010', (1, 6): '3009',
    (2, 2): '3003', (2, 3): '3002', (2, 4): '3001',
}  # fmt: skip
PLATES = {
    (1, 1): '3024', (1, 2): '3023', (1, 3): '3623', (1, 4): '3710', (1, 6): '3666',
    (1, 8): '3460', (1, 10): '4477', (2, 2): '3022', (2, 3): '3021', (2, 4): '3020',
    (2, 6): '3795', (2, 8): '3034', (2, 10): '3832', (4, 4): '3031', (4, 6): '3032',
    (4, 8): '3035', (4, 10): '3030', (4, 12): '3029', (6, 10): '3033',
}  # fmt: skip
TILES = {
    (1, 1): '3070b', (1, 2): '3069b', (1, 4): '2431', (2, 2): '3068b',
}  # fmt: skip

# LDraw colour codes.
BLACK, BLUE, RED, BROWN, YELLOW, WHITE, TAN, ORANGE, GREEN = 0, 1, 4, 6, 14, 15, 19, 25, 2
LIGHT_GREY, DARK_GREY, DARK_TAN, DARK_RED, DARK_GREEN, AZURE, OLIVE = (
    71,
    72,
    28,
    320,
    288,
    321,
    330,
)
CLEAR, CLEAR_BLACK, CLEAR_RED, CLEAR_BLUE = 47, 40, 36, 33
CLEAR_LIGHT_BLUE, CLEAR_YELLOW, CLEAR_ORANGE = 41, 46, 57

# Rotations of single parts: studs to the front; studs to the right and to the left.
STUDS_FRONT = np.array([[1, 0, 0], [0, 0, -1], [0, 1, 0]], float)
STUDS_RIGHT = np.array([[0, -1, 0], [1, 0, 0], [0, 0, 1]], float)
STUDS_LEFT = np.array([[0, 1, 0], [-1, 0, 0], [0, 0, 1]], float)

# Axle plate, its top face below its origin, rim, distance of the rim from the middle of the car,
# tyre, distance of the tyre's middle from the rim's (LDU). The large rims sit on the tips of their
# pins: pushed home, the tyres would cut into a body four studs wide.
_PIN_BELOW_ORIGIN = 5
_WHEELS = {
    'small': ('4600', 0, '4624', 30, '3641', 0),
    'wide': ('6157', 8, '6014', 48, '6015', 6),
    'balloon': ('6157', 8, '6014', 48, '56890', 6),
}


class Builder:
    """Collects the parts of a model.

    Attributes:
        width: of the model, studs; mirrored parts mirror about its middle.
        placements: what has been placed so far.
    """

    def __init__(self, library: Library, width: int):
        self.library = library
        self.width = width
        self.placements: list[Placement] = []

    def place(self, part: str, position, color: int, rotation=None) -> None:
        """Place a part by its origin (3,) in LDU and its rotation (3, 3), LDraw frame."""
        matrix = np.eye(4)
        matrix[:3, :3] = np.eye(3) if rotation is None else rotation
        matrix[:3, 3] = position
        number = len(self.placements) + 1
        self.placements.append(Placement(number, f'{part}.dat', color, matrix))

    def put(self, part: str, x: int, y: int, h: int, color: int, turns: int = 0) -> None:
        """Place a part by the corner of its foot print, turned by quarter turns.

        The corner comes from the bounding box: the origin of some parts is at their bottom or at
        a stud. Parts that end between two grid lines (slopes) are rounded to the grid.
        """
        vertices = self.library.mesh(f'{part}.dat').vertices
        rotation = _quarter_turns(turns)
        corner = (vertices @ rotation.T).min(axis=0)
        corner = np.floor((corner + 5) / 10) * 10
        bottom = round(vertices[:, 1].max() / PLATE_HEIGHT) * PLATE_HEIGHT
        position = (STUD * x - corner[0], -PLATE_HEIGHT * h - bottom, STUD * y - corner[2])
        self.place(part, position, color, rotation)

    def brick(self, x: int, y: int, h: int, width: int, length: int, color: int) -> None:
        """Place a brick of width (x) by length (y) studs."""
        self._rectangle(BRICKS, x, y, h, width, length, color)

    def plate(self, x: int, y: int, h: int, width: int, length: int, color: int) -> None:
        """Place a plate of width (x) by length (y) studs."""
        self._rectangle(PLATES, x, y, h, width, length, color)

    def tile(self, x: int, y: int, h: int, width: int, length: int, color: int) -> None:
        """Place a tile (no studs) of width (x) by length (y) studs."""
        self._rectangle(TILES, x, y, h, width, length, color)

    def both(self, shape: Callable, x: int, y: int, h: int, width: int, length: int, color: int):
        """Place a brick, plate or tile and its mirror image on the other side."""
        shape(x, y, h, width, length, color)
        shape(self.width - x - width, y, h, width, length, color)

    def pair(self, part: str, x: int, y: int, h: int, color: int, turns: int = 0, width: int = 1):
        """Place a part and the same part on the other side, not turned."""
        self.put(part, x, y, h, color, turns)
        self.put(part, self.width - x - width, y, h, color, turns)

    def axle(self, y: int, h: int, wheels: str, rim: int = LIGHT_GREY) -> None:
        """Place an axle plate in the middle with rims and tyres ('small', 'wide', 'balloon').

        The plate takes level h; the arms of the large axles also take level h + 1 on both sides.
        """
        plate, top, rim_part, rim_offset, tyre, tyre_offset = _WHEELS[wheels]
        x, z = STUD * self.width / 2, STUD * (y + 1)
        origin = -PLATE_HEIGHT * (h + 1) - top
        self.place(plate, (x, origin, z), DARK_GREY)
        for side in (-1, 1):
            # the rims' outer face points to -z in their own frame
            outward = np.array([[0, 0, -side], [0, 1, 0], [side, 0, 0]], float)
            height = origin + _PIN_BELOW_ORIGIN
            self.place(rim_part, (x + side * rim_offset, height, z), rim, outward)
            tyre_x = x + side * (rim_offset + tyre_offset)
            self.place(tyre, (tyre_x, height, z), BLACK, outward)

    def _rectangle(self, table, x, y, h, width, length, color) -> None:
        """Place a rectangular part, turned so that its long side lies along its longer extent."""
        part = table.get((min(width, length), max(width, length)))
        if part is None:
            raise ValueError(f'no part of {width}x{length} studs, wanted one of {sorted(table)}')
        self.put(part, x, y, h, color, 0 if width >= length else 1)


def _quarter_turns(turns: int) -> np.ndarray:
    """Rotation (3, 3) about the vertical by quarter turns."""
    c, s = ((1, 0), (0, 1), (-1, 0), (0, -1))[turns % 4]
    return np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]], float)
