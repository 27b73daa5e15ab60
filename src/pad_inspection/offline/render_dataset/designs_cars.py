"""Designs of the passenger cars, in the stud grid of builder.Builder."""

from __future__ import annotations

from pad_inspection.offline.render_dataset.builder import (
    AZURE,
    BLACK,
    BLUE,
    BROWN,
    CLEAR,
    CLEAR_BLACK,
    CLEAR_BLUE,
    CLEAR_LIGHT_BLUE,
    CLEAR_ORANGE,
    CLEAR_RED,
    CLEAR_YELLOW,
    DARK_GREEN,
    DARK_GREY,
    DARK_RED,
    LIGHT_GREY,
    RED,
    STUDS_FRONT,
    TAN,
    WHITE,
    YELLOW,
    Builder,
)


def police_car(b: Builder) -> None:
    """A saloon with a light bar and tinted screens."""
    b.axle(2, 0, 'small')
    b.axle(10, 0, 'small')
    b.plate(0, 4, 0, 4, 6, BLACK)
    b.plate(1, 0, 0, 2, 2, BLACK)
    b.plate(1, 12, 0, 2, 2, BLACK)
    b.plate(1, 0, 1, 2, 8, BLACK)
    b.plate(1, 8, 1, 2, 6, BLACK)
    b.both(b.plate, 0, 4, 1, 1, 6, BLUE)
    b.both(b.plate, 0, 0, 1, 1, 2, BLACK)
    b.both(b.plate, 0, 12, 1, 1, 2, BLACK)
    b.put('3788', 0, 2, 2, WHITE)
    b.put('3788', 0, 10, 2, WHITE)
    b.pair('4070', 0, 0, 2, WHITE)
    b.put('2877', 1, 0, 2, DARK_GREY)
    b.brick(0, 1, 2, 4, 1, WHITE)
    b.place('6141', (10, -30, -4), CLEAR_YELLOW, STUDS_FRONT)
    b.place('6141', (70, -30, -4), CLEAR_YELLOW, STUDS_FRONT)
    b.both(b.brick, 0, 4, 2, 1, 6, WHITE)
    b.brick(0, 12, 2, 4, 1, WHITE)
    b.brick(0, 13, 2, 4, 1, WHITE)
    b.put('3829c01', 1, 5, 2, WHITE)
    b.put('4079', 1, 7, 2, BLUE)
    b.plate(0, 2, 4, 4, 2, WHITE)
    b.plate(0, 10, 4, 4, 2, WHITE)
    b.tile(1, 0, 5, 2, 2, WHITE)
    b.both(b.plate, 0, 0, 5, 1, 2, WHITE)
    b.plate(0, 12, 5, 4, 2, WHITE)
    b.put('3823', 0, 4, 5, CLEAR_BLACK)
    b.put('3823', 0, 10, 5, CLEAR_BLACK, 2)
    b.both(b.brick, 0, 7, 5, 1, 2, WHITE)
    b.both(b.brick, 0, 7, 8, 1, 2, WHITE)
    b.plate(0, 5, 11, 4, 6, WHITE)
    b.plate(0, 8, 12, 4, 1, BLACK)
    b.put('3062b', 0, 8, 13, CLEAR_BLUE)
    b.put('3062b', 3, 8, 13, CLEAR_RED)
    b.put('2412b', 1, 8, 13, LIGHT_GREY)
    b.pair('6141', 0, 13, 6, CLEAR_RED)
    b.put('3957a', 3, 10, 12, BLACK)


def coupe(b: Builder) -> None:
    """A two-door coupe with a rear spoiler."""
    b.axle(2, 0, 'small')
    b.axle(9, 0, 'small')
    b.plate(0, 4, 0, 4, 4, BLACK)
    b.plate(0, 8, 0, 4, 1, BLACK)
    b.plate(0, 0, 0, 4, 2, BLACK)
    b.plate(1, 11, 0, 2, 2, BLACK)
    b.plate(1, 0, 1, 2, 6, BLACK)
    b.plate(1, 6, 1, 2, 6, BLACK)
    b.plate(0, 12, 1, 4, 1, DARK_GREY)
    b.both(b.plate, 0, 4, 1, 1, 4, DARK_RED)
    b.both(b.plate, 0, 8, 1, 1, 1, DARK_RED)
    b.both(b.plate, 0, 0, 1, 1, 2, DARK_RED)
    b.both(b.plate, 0, 11, 1, 1, 1, DARK_RED)
    b.put('3788', 0, 2, 2, DARK_RED)
    b.put('3788', 0, 9, 2, DARK_RED)
    b.both(b.brick, 0, 4, 2, 1, 4, DARK_RED)
    b.both(b.brick, 0, 8, 2, 1, 1, DARK_RED)
    b.put('3040b', 0, 0, 2, DARK_RED)
    b.put('3040b', 3, 0, 2, DARK_RED)
    b.put('3039', 1, 0, 2, DARK_RED)
    b.brick(0, 11, 2, 4, 1, DARK_RED)
    b.brick(0, 12, 2, 4, 1, DARK_RED)
    b.put('3829c01', 1, 5, 2, DARK_RED)
    b.put('4079', 1, 6, 2, TAN)
    b.plate(0, 2, 4, 4, 2, DARK_RED)
    b.tile(1, 2, 5, 2, 2, BLACK)
    b.plate(0, 9, 4, 4, 2, DARK_RED)
    b.pair('6141', 0, 1, 5, CLEAR)
    b.put('3823', 0, 4, 5, CLEAR)
    b.both(b.plate, 0, 8, 5, 1, 3, DARK_RED)
    b.both(b.brick, 0, 8, 6, 1, 1, DARK_RED)
    b.plate(0, 8, 9, 4, 1, BLACK)
    b.plate(0, 8, 10, 4, 1, BLACK)
    b.plate(0, 5, 11, 4, 4, DARK_RED)
    b.put('3298', 0, 9, 6, DARK_RED, 2)
    b.put('3298', 2, 9, 6, DARK_RED, 2)
    b.plate(0, 9, 9, 4, 1, BLACK)
    b.tile(0, 9, 10, 4, 1, BLACK)
    b.put('30925', 1, 12, 5, BLACK, 2)
    b.pair('6141', 0, 12, 5, CLEAR_RED)


def amphibious(b: Builder) -> None:
    """An open amphibious car with a roll bar and a propeller."""
    b.axle(2, 1, 'wide', WHITE)
    b.axle(9, 1, 'wide', WHITE)
    b.plate(1, 4, 0, 2, 4, WHITE)
    b.plate(1, 4, 1, 2, 4, WHITE)
    b.plate(1, 0, 2, 2, 6, AZURE)
    b.plate(1, 6, 2, 2, 6, AZURE)
    b.plate(1, 11, 1, 2, 2, AZURE)
    b.plate(0, 12, 2, 4, 1, AZURE)
    b.plate(0, 0, 3, 4, 12, AZURE)
    b.plate(0, 12, 3, 4, 1, AZURE)
    b.both(b.brick, 0, 3, 4, 1, 6, AZURE)
    b.both(b.brick, 0, 9, 4, 1, 4, AZURE)
    b.put('3039', 1, 0, 4, WHITE)
    b.pair('3040b', 0, 0, 4, AZURE)
    b.brick(0, 2, 4, 4, 1, AZURE)
    b.brick(1, 11, 4, 2, 1, DARK_GREY)
    b.put('2458', 1, 12, 4, DARK_GREY, 2)
    b.put('3829c01', 1, 4, 4, YELLOW)
    b.put('4079', 1, 6, 4, DARK_GREY)
    b.put('4079', 1, 9, 4, DARK_GREY)
    b.plate(0, 1, 7, 4, 2, YELLOW)
    b.put('3823', 0, 2, 8, CLEAR_LIGHT_BLUE)
    b.both(b.plate, 0, 4, 7, 1, 8, YELLOW)
    b.plate(0, 12, 7, 4, 1, YELLOW)
    b.both(b.brick, 0, 8, 8, 1, 1, BLACK)
    b.both(b.brick, 0, 8, 11, 1, 1, BLACK)
    b.plate(0, 8, 14, 4, 1, BLACK)
    b.pair('6141', 0, 8, 15, CLEAR_ORANGE)
    b.both(b.plate, 0, 10, 8, 1, 2, DARK_GREY)
    b.place('65768', (40, -46, 270), YELLOW)
    b.pair('6141', 0, 1, 8, CLEAR)
    b.put('3957a', 3, 12, 8, BLACK)


def offroad(b: Builder) -> None:
    """A high off-road car with a roof rack."""
    b.axle(2, 1, 'balloon', YELLOW)
    b.axle(9, 1, 'balloon', YELLOW)
    b.plate(1, 0, 2, 2, 8, BLACK)
    b.plate(1, 8, 2, 2, 6, BLACK)
    b.plate(1, 4, 1, 2, 4, BLACK)
    b.plate(0, 0, 3, 4, 2, BLACK)
    b.plate(0, 2, 3, 4, 10, DARK_GREEN)
    b.plate(0, 12, 3, 4, 2, BLACK)
    b.both(b.tile, 0, 0, 4, 1, 1, DARK_GREY)
    b.put('2877', 1, 1, 4, LIGHT_GREY)
    b.pair('4070', 0, 1, 4, DARK_GREEN)
    b.place('6141', (10, -46, 16), CLEAR, STUDS_FRONT)
    b.place('6141', (70, -46, 16), CLEAR, STUDS_FRONT)
    b.brick(0, 2, 4, 4, 2, DARK_GREEN)
    b.plate(0, 1, 7, 4, 2, DARK_GREEN)
    b.tile(1, 3, 7, 2, 1, BLACK)
    b.both(b.plate, 0, 3, 7, 1, 1, DARK_GREEN)
    b.tile(1, 1, 8, 2, 2, BLACK)
    b.both(b.brick, 0, 4, 4, 1, 4, DARK_GREEN)
    b.both(b.brick, 0, 8, 4, 1, 4, DARK_GREEN)
    b.brick(0, 12, 4, 4, 1, DARK_GREEN)
    b.put('3829c01', 1, 5, 4, WHITE)
    b.put('4079', 1, 7, 4, TAN)
    b.both(b.plate, 0, 5, 7, 1, 8, TAN)
    b.plate(1, 12, 7, 2, 1, TAN)
    b.both(b.plate, 0, 4, 7, 1, 1, TAN)
    b.put('3823', 0, 4, 8, CLEAR)
    b.both(b.brick, 0, 7, 8, 1, 1, DARK_GREEN)
    b.both(b.brick, 0, 7, 11, 1, 1, DARK_GREEN)
    b.both(b.brick, 0, 12, 8, 1, 1, DARK_GREEN)
    b.both(b.brick, 0, 12, 11, 1, 1, DARK_GREEN)
    b.both(b.brick, 0, 8, 8, 1, 4, CLEAR)
    b.brick(1, 12, 8, 2, 1, CLEAR)
    b.both(b.brick, 0, 8, 11, 1, 4, DARK_GREEN)
    b.brick(1, 12, 11, 2, 1, DARK_GREEN)
    b.plate(0, 5, 14, 4, 8, TAN)
    b.both(b.plate, 0, 6, 15, 1, 6, BLACK)
    b.plate(1, 6, 15, 2, 1, BLACK)
    b.plate(1, 11, 15, 2, 1, BLACK)
    b.brick(1, 8, 15, 2, 2, BROWN)
    b.pair('6141', 0, 12, 15, CLEAR_RED)
    b.put('4589', 0, 5, 15, CLEAR_ORANGE)
    b.put('4589', 3, 5, 15, CLEAR_ORANGE)


def racing_car(b: Builder) -> None:
    """A racing car with a rear wing; narrow front, wide rear wheels."""
    b.axle(2, 0, 'small', YELLOW)
    b.axle(11, 0, 'wide', YELLOW)
    b.plate(1, 0, 1, 2, 8, RED)
    b.plate(1, 8, 1, 2, 6, RED)
    b.plate(0, 5, 0, 4, 4, BLACK)
    b.plate(0, 9, 0, 4, 1, BLACK)
    b.plate(0, 0, 0, 4, 1, BLACK)
    b.put('3298', 1, 0, 2, RED)
    b.brick(1, 3, 2, 2, 2, RED)
    b.both(b.plate, 0, 5, 1, 1, 4, WHITE)
    b.both(b.plate, 0, 9, 1, 1, 1, WHITE)
    b.pair('50950', 0, 5, 2, RED)
    b.both(b.brick, 0, 8, 2, 1, 2, RED)
    b.put('3829c01', 1, 5, 2, BLACK)
    b.put('4079', 1, 7, 2, BLUE)
    b.tile(1, 3, 5, 2, 1, WHITE)
    b.put('54200', 1, 4, 5, CLEAR_BLACK)
    b.put('54200', 2, 4, 5, CLEAR_BLACK)
    b.brick(1, 9, 2, 2, 2, RED)
    b.brick(1, 11, 2, 2, 2, DARK_GREY)
    b.put('3039', 1, 9, 5, RED, 2)
    b.put('50943', 1, 11, 5, LIGHT_GREY)
    b.both(b.plate, 0, 8, 5, 1, 3, WHITE)
    b.both(b.tile, 0, 8, 6, 1, 2, RED)
    b.plate(1, 13, 2, 2, 1, RED)
    b.brick(1, 13, 3, 2, 1, BLACK)
    b.brick(1, 13, 6, 2, 1, BLACK)
    b.plate(0, 13, 9, 4, 1, RED)
    b.pair('85984', 0, 13, 10, RED, width=2)
    b.both(b.plate, 0, 0, 1, 1, 1, RED)
    b.both(b.tile, 0, 0, 2, 1, 1, WHITE)
