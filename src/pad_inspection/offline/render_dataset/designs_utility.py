"""Designs of the working vehicles, in the stud grid of builder.Builder."""

from __future__ import annotations

from pad_inspection.offline.render_dataset.builder import (
    BLACK,
    BLUE,
    BROWN,
    CLEAR,
    CLEAR_LIGHT_BLUE,
    CLEAR_ORANGE,
    CLEAR_RED,
    CLEAR_YELLOW,
    DARK_GREY,
    DARK_TAN,
    GREEN,
    LIGHT_GREY,
    OLIVE,
    ORANGE,
    RED,
    STUDS_FRONT,
    STUDS_LEFT,
    STUDS_RIGHT,
    TAN,
    WHITE,
    YELLOW,
    Builder,
)


def tank(b: Builder) -> None:
    """A tank with road wheels, turret and barrel."""
    b.put('30414', 0, 1, 0, BLACK, 1)
    b.put('30414', 0, 5, 0, BLACK, 1)
    b.put('11211', 0, 9, 0, BLACK, 1)
    b.plate(0, 0, 3, 1, 6, DARK_GREY)
    b.plate(0, 6, 3, 1, 6, DARK_GREY)
    b.plate(0, 1, 4, 1, 10, OLIVE)
    b.put('30414', 5, 1, 0, BLACK, 3)
    b.put('30414', 5, 5, 0, BLACK, 3)
    b.put('11211', 5, 9, 0, BLACK, 3)
    b.plate(5, 0, 3, 1, 6, DARK_GREY)
    b.plate(5, 6, 3, 1, 6, DARK_GREY)
    b.plate(5, 1, 4, 1, 10, OLIVE)
    b.plate(1, 1, 0, 4, 10, OLIVE)
    b.plate(1, 1, 1, 4, 10, OLIVE)
    b.brick(1, 2, 2, 2, 4, OLIVE)
    b.brick(3, 2, 2, 2, 4, OLIVE)
    b.brick(1, 6, 2, 2, 4, OLIVE)
    b.brick(3, 6, 2, 2, 4, OLIVE)
    b.plate(0, 1, 5, 6, 10, OLIVE)
    for y in (2, 4, 6, 8, 10):
        b.place('4032a', (-8, -24, 20 * y), LIGHT_GREY, STUDS_LEFT)
        b.place('4032a', (128, -24, 20 * y), LIGHT_GREY, STUDS_RIGHT)
    b.pair('3069b', 0, 1, 6, DARK_GREY, width=2)
    b.pair('6141', 2, 1, 6, CLEAR)
    b.pair('3023', 0, 9, 6, DARK_GREY, width=2)
    b.put('2412b', 2, 10, 6, BLACK)
    b.put('2412b', 2, 9, 6, BLACK)
    b.put('3680c02', 2, 5, 6, OLIVE)
    b.plate(1, 4, 7, 4, 4, OLIVE)
    b.brick(1, 5, 8, 4, 2, OLIVE)
    b.brick(1, 4, 8, 1, 1, OLIVE)
    b.brick(4, 4, 8, 1, 1, OLIVE)
    b.brick(1, 7, 8, 4, 1, OLIVE)
    b.put('87087', 2, 4, 8, DARK_GREY)
    b.put('87087', 3, 4, 8, DARK_GREY)
    b.place('3062b', (50, -78, 56), OLIVE, STUDS_FRONT)
    b.place('3062b', (50, -78, 32), OLIVE, STUDS_FRONT)
    b.place('3062b', (50, -78, 8), OLIVE, STUDS_FRONT)
    b.place('3062b', (50, -78, -16), BLACK, STUDS_FRONT)
    b.plate(1, 4, 11, 4, 4, OLIVE)
    b.put('4032a', 1, 5, 12, DARK_GREY)
    b.put('4740', 3, 6, 12, OLIVE)
    b.put('3062b', 4, 4, 12, DARK_GREY)
    b.put('3957a', 1, 7, 12, BLACK)


def desert_car(b: Builder) -> None:
    """An open desert buggy with a cage."""
    b.axle(1, 1, 'balloon', RED)
    b.axle(8, 1, 'balloon', RED)
    b.plate(1, 0, 2, 2, 8, DARK_GREY)
    b.plate(1, 8, 2, 2, 4, DARK_GREY)
    b.plate(1, 3, 1, 2, 4, DARK_GREY)
    b.plate(0, 3, 3, 4, 8, TAN)
    b.plate(1, 0, 3, 2, 3, TAN)
    b.plate(1, 11, 3, 2, 1, TAN)
    b.put('3298', 1, 0, 4, ORANGE)
    b.put('4286', 0, 3, 4, TAN)
    b.put('4286', 3, 3, 4, TAN)
    b.brick(1, 3, 4, 2, 1, TAN)
    b.put('3829c01', 1, 5, 4, DARK_GREY)
    b.put('4079', 1, 6, 4, RED)
    b.both(b.brick, 0, 6, 4, 1, 4, TAN)
    b.brick(1, 8, 4, 2, 2, DARK_GREY)
    b.brick(0, 10, 4, 4, 1, TAN)
    b.both(b.plate, 0, 6, 7, 1, 3, ORANGE)
    b.both(b.brick, 0, 9, 7, 1, 1, BLACK)
    b.both(b.brick, 0, 9, 10, 1, 1, BLACK)
    b.both(b.brick, 0, 6, 8, 1, 1, BLACK)
    b.both(b.plate, 0, 6, 11, 1, 1, BLACK)
    b.both(b.plate, 0, 6, 12, 1, 1, BLACK)
    b.both(b.plate, 0, 6, 13, 1, 4, BLACK)
    b.plate(1, 6, 13, 2, 1, BLACK)
    b.plate(1, 9, 13, 2, 1, BLACK)
    b.plate(0, 6, 14, 4, 1, BLACK)
    b.plate(0, 9, 14, 4, 1, BLACK)
    for x in range(4):
        b.put('6141', x, 6, 15, CLEAR_YELLOW)
    b.put('50943', 1, 8, 7, LIGHT_GREY)
    b.plate(0, 10, 7, 4, 1, ORANGE)
    b.pair('6141', 0, 10, 8, CLEAR_RED)
    b.put('2412b', 1, 10, 8, BLACK)


def truck(b: Builder) -> None:
    """A three-axle truck with a loaded bed."""
    b.axle(2, 0, 'wide')
    b.axle(11, 0, 'wide')
    b.axle(15, 0, 'wide')
    b.plate(1, 0, 1, 2, 8, BLACK)
    b.plate(1, 8, 1, 2, 10, BLACK)
    b.plate(1, 6, 0, 2, 4, DARK_GREY)
    b.plate(0, 0, 2, 4, 6, BLACK)
    b.plate(0, 6, 2, 4, 12, BLACK)
    b.put('2877', 1, 0, 3, LIGHT_GREY)
    b.pair('4070', 0, 0, 3, BLUE)
    b.place('6141', (10, -38, -4), CLEAR_YELLOW, STUDS_FRONT)
    b.place('6141', (70, -38, -4), CLEAR_YELLOW, STUDS_FRONT)
    b.both(b.brick, 0, 1, 3, 1, 4, BLUE)
    b.brick(1, 1, 3, 2, 1, BLUE)
    b.brick(0, 5, 3, 4, 1, BLUE)
    b.put('3829c01', 1, 2, 3, WHITE)
    b.put('4079', 1, 3, 3, RED)
    b.plate(0, 0, 6, 4, 1, WHITE)
    b.both(b.plate, 0, 1, 6, 1, 4, WHITE)
    b.plate(0, 5, 6, 4, 1, WHITE)
    b.put('3823', 0, 1, 7, CLEAR_LIGHT_BLUE)
    b.both(b.brick, 0, 4, 7, 1, 2, BLUE)
    b.brick(1, 5, 7, 2, 1, BLUE)
    b.both(b.brick, 0, 4, 10, 1, 2, BLUE)
    b.brick(1, 5, 10, 2, 1, BLUE)
    b.plate(0, 2, 13, 4, 4, BLUE)
    b.put('3039', 1, 3, 14, WHITE)
    b.pair('6141', 0, 2, 14, CLEAR_ORANGE)
    b.pair('3062b', 0, 5, 14, LIGHT_GREY)
    b.pair('4589', 0, 5, 17, DARK_GREY)
    b.plate(0, 7, 3, 4, 10, LIGHT_GREY)
    b.plate(0, 17, 3, 4, 1, LIGHT_GREY)
    b.both(b.brick, 0, 7, 4, 1, 6, YELLOW)
    b.both(b.brick, 0, 13, 4, 1, 4, YELLOW)
    b.brick(1, 7, 4, 2, 1, YELLOW)
    b.brick(0, 17, 4, 4, 1, YELLOW)
    b.both(b.plate, 0, 7, 7, 1, 8, YELLOW)
    b.both(b.plate, 0, 15, 7, 1, 3, YELLOW)
    b.plate(1, 7, 7, 2, 1, YELLOW)
    b.plate(1, 17, 7, 2, 1, YELLOW)
    b.brick(1, 9, 4, 2, 2, BROWN)
    b.brick(1, 12, 4, 2, 3, DARK_TAN)
    b.put('3941', 1, 9, 7, GREEN)
    b.put('3941', 1, 15, 4, RED)
    b.pair('6141', 0, 17, 8, CLEAR_RED)


def loader(b: Builder) -> None:
    """A wheel loader with a bucket."""
    b.axle(4, 1, 'balloon', YELLOW)
    b.axle(10, 1, 'balloon', YELLOW)
    b.plate(1, 3, 2, 2, 10, DARK_GREY)
    b.plate(1, 6, 1, 2, 4, DARK_GREY)
    b.plate(1, 12, 1, 2, 2, DARK_GREY)
    b.plate(0, 6, 3, 4, 8, YELLOW)
    b.plate(1, 3, 3, 2, 3, YELLOW)
    b.plate(1, 13, 2, 2, 1, YELLOW)
    b.brick(0, 10, 4, 4, 2, YELLOW)
    b.brick(0, 12, 4, 4, 2, YELLOW)
    b.plate(0, 10, 7, 4, 4, YELLOW)
    b.put('2412b', 1, 13, 8, BLACK)
    b.put('2412b', 1, 12, 8, BLACK)
    b.put('3062b', 0, 11, 8, DARK_GREY)
    b.put('3062b', 0, 11, 11, DARK_GREY)
    b.pair('6141', 0, 13, 8, CLEAR_RED)
    b.brick(0, 6, 4, 4, 1, YELLOW)
    b.both(b.brick, 0, 7, 4, 1, 3, YELLOW)
    b.put('3829c01', 1, 7, 4, DARK_GREY)
    b.put('4079', 1, 8, 4, BLACK)
    b.put('3823', 0, 6, 7, CLEAR_LIGHT_BLUE)
    b.brick(0, 9, 7, 4, 1, CLEAR_LIGHT_BLUE)
    b.brick(0, 9, 10, 4, 1, YELLOW)
    b.plate(0, 6, 13, 4, 4, YELLOW)
    b.put('3062b', 3, 9, 14, CLEAR_ORANGE)
    b.brick(1, 4, 4, 2, 2, YELLOW)
    b.plate(1, 2, 7, 2, 4, DARK_GREY)
    b.plate(1, 2, 6, 2, 2, DARK_GREY)
    b.brick(1, 2, 3, 2, 1, DARK_GREY)
    b.plate(0, 2, 2, 4, 1, DARK_GREY)
    b.plate(-1, 0, 1, 2, 3, YELLOW)
    b.plate(1, 0, 1, 2, 3, YELLOW)
    b.plate(3, 0, 1, 2, 3, YELLOW)
    b.brick(-1, 2, 2, 1, 1, YELLOW)
    b.brick(4, 2, 2, 1, 1, YELLOW)
    b.put('3040b', -1, 0, 2, YELLOW)
    b.put('3040b', 4, 0, 2, YELLOW)
    b.put('54200', 0, 0, 2, LIGHT_GREY)
    b.put('54200', 1, 0, 2, LIGHT_GREY)
    b.put('54200', 2, 0, 2, LIGHT_GREY)
    b.put('54200', 3, 0, 2, LIGHT_GREY)
