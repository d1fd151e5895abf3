"""Pieces of furniture as lists of boxes, each piece standing at the origin with its back towards -y."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np


class Part(NamedTuple):
    """One box of a piece; metres.

    Attributes:
        centre: x along the piece's width, y towards its front, z up from the floor.
        half: Half its extents.
        surface: Which of the piece's materials it has: 0 or 1, or the name of a role that it has for itself.
    """

    centre: tuple[float, float, float]
    half: tuple[float, float, float]
    surface: int | str = 0


Builder = Callable[[np.random.Generator], list[Part]]


def table(generator: np.random.Generator) -> list[Part]:
    """A table, sometimes with something on it."""
    width, depth, height = generator.uniform((0.7, 0.5, 0.42), (1.8, 0.95, 0.8))
    parts = [*_legs(width, depth, height - 0.04), Part((0, 0, height - 0.02), (width / 2, depth / 2, 0.02))]
    for _ in range(int(generator.integers(0, 4))):
        half = generator.uniform((0.05, 0.05, 0.03), (0.16, 0.12, 0.2))
        x, y = generator.uniform(-0.4, 0.4, 2) * (width - 0.2, depth - 0.2)
        parts.append(Part((x, y, height + half[2]), tuple(half), 1))
    return parts


def chair(generator: np.random.Generator) -> list[Part]:
    """A chair with a back."""
    width, seat, back = generator.uniform((0.4, 0.4, 0.8), (0.55, 0.5, 1.1))
    return [
        *_legs(width, width, seat),
        Part((0, 0, seat), (width / 2, width / 2, 0.03), 1),
        Part((0, -width / 2 + 0.02, (seat + back) / 2), (width / 2, 0.02, (back - seat) / 2), 1),
    ]


def bed(generator: np.random.Generator) -> list[Part]:
    """A bed with a headboard and a pillow."""
    width, length = generator.uniform((0.9, 1.9), (1.8, 2.1))
    head = generator.uniform(0.7, 1.2)
    return [
        Part((0, 0, 0.14), (width / 2, length / 2, 0.14)),
        Part((0, 0.02, 0.38), (width / 2 - 0.03, length / 2 - 0.04, 0.1), 1),
        Part((0, -length / 2 + 0.03, head / 2), (width / 2, 0.03, head / 2)),
        Part((0, -length / 2 + 0.3, 0.53), (width / 2 - 0.15, 0.2, 0.06), "fabric"),
    ]


def cabinet(generator: np.random.Generator) -> list[Part]:
    """A cupboard, a chest of drawers or a wardrobe, with fronts that stand out a little."""
    width, depth, height = generator.uniform((0.5, 0.35, 0.6), (1.6, 0.6, 2.1))
    columns, rows = int(generator.integers(1, 4)), int(generator.integers(1, 5))
    parts = [Part((0, 0, height / 2), (width / 2, depth / 2, height / 2))]
    step_x, step_z = width / columns, height / rows
    parts += [
        Part((-width / 2 + (i + 0.5) * step_x, depth / 2, (j + 0.5) * step_z),
             (step_x / 2 - 0.02, 0.012, step_z / 2 - 0.02), 1)
        for i in range(columns)
        for j in range(rows)
    ]  # fmt: skip
    return parts


def shelf(generator: np.random.Generator) -> list[Part]:
    """Open shelves with books."""
    width, depth, height = generator.uniform((0.6, 0.25, 1.0), (1.4, 0.4, 2.1))
    boards = int(generator.integers(3, 6))
    parts = [Part((side * (width / 2 - 0.015), 0, height / 2), (0.015, depth / 2, height / 2)) for side in (-1, 1)]
    parts.append(Part((0, -depth / 2 + 0.01, height / 2), (width / 2, 0.01, height / 2)))
    step = (height - 0.03) / boards
    parts += [Part((0, 0, 0.015 + j * step), (width / 2, depth / 2, 0.015)) for j in range(boards + 1)]
    for j in range(boards):
        if generator.random() < 0.75:
            half_width, half_height = generator.uniform((0.1, 0.06), (width / 2 - 0.05, step / 2 - 0.02))
            x = generator.uniform(-1, 1) * (width / 2 - 0.04 - half_width)
            centre = (x, generator.uniform(-0.05, 0), 0.03 + j * step + half_height)
            parts.append(Part(centre, (half_width, depth / 2 - 0.06, half_height), "book"))
    return parts


def sofa(generator: np.random.Generator) -> list[Part]:
    """A sofa or an armchair."""
    width, depth = generator.uniform((0.8, 0.8), (2.2, 1.0))
    back = generator.uniform(0.7, 0.95)
    arms = [Part((side * (width / 2 - 0.08), 0, 0.3), (0.08, depth / 2, 0.3)) for side in (-1, 1)]
    return [
        *arms,
        Part((0, 0, 0.16), (width / 2 - 0.1, depth / 2, 0.16)),
        Part((0, 0.06, 0.38), (width / 2 - 0.17, depth / 2 - 0.06, 0.07), 1),
        Part((0, -depth / 2 + 0.1, back / 2), (width / 2 - 0.1, 0.1, back / 2)),
    ]


def counter(generator: np.random.Generator) -> list[Part]:
    """A kitchen counter with cupboards above it."""
    width = generator.uniform(1.2, 2.6)
    parts = [
        Part((0, 0, 0.43), (width / 2, 0.29, 0.43)),
        Part((0, 0.01, 0.88), (width / 2, 0.32, 0.02), 1),
        Part((0, -0.13, 1.8), (width / 2, 0.16, 0.35)),
    ]
    parts += [Part((x, 0.29, 0.45), (0.24, 0.012, 0.32), "wood") for x in np.arange(-width / 2 + 0.3, width / 2, 0.55)]
    return parts


def box(generator: np.random.Generator) -> list[Part]:
    """A crate or a stool."""
    half = generator.uniform((0.15, 0.15, 0.12), (0.4, 0.4, 0.4))
    return [Part((0, 0, half[2]), tuple(half))]


def lamp(generator: np.random.Generator) -> list[Part]:
    """A standing lamp that is switched on."""
    height = generator.uniform(1.3, 1.8)
    return [
        Part((0, 0, 0.015), (0.14, 0.14, 0.015)),
        Part((0, 0, height / 2), (0.015, 0.015, height / 2)),
        Part((0, 0, height), (0.14, 0.14, 0.13), "lamp"),
    ]


def column(generator: np.random.Generator) -> list[Part]:
    """A pillar from the floor to beyond the ceiling."""
    half = generator.uniform(0.12, 0.25)
    return [Part((0, 0, 2), (half, half, 2.0))]


def picture(generator: np.random.Generator) -> list[Part]:
    """A framed picture on a wall."""
    half_width, half_height = generator.uniform(0.2, (0.7, 0.5))
    height = generator.uniform(1.3, 1.8)
    return [
        Part((0, 0, height), (half_width, 0.02, half_height)),
        Part((0, 0.01, height), (half_width - 0.04, 0.02, half_height - 0.04), "picture"),
    ]


def door(generator: np.random.Generator) -> list[Part]:
    """A closed door with its frame."""
    return [
        Part((0, 0, 1.03), (0.48, 0.03, 1.03)),
        Part((0, 0.02, 1.0), (0.42, 0.03, 1.0), 1),
        Part((0.34, 0.06, 1.0), (0.05, 0.02, 0.02), "lamp" if generator.random() < 0.1 else "wood"),
    ]


def window(generator: np.random.Generator) -> list[Part]:
    """A window with daylight in it."""
    half_width = generator.uniform(0.4, 1.0)
    panes = [Part((side * half_width / 2, 0.015, 1.5), (half_width / 2 - 0.04, 0.02, 0.55), "lamp") for side in (-1, 1)]
    return [Part((0, 0, 1.5), (half_width, 0.03, 0.6)), *panes]


def carpet(generator: np.random.Generator) -> list[Part]:
    """A carpet on the floor."""
    half = generator.uniform((0.6, 0.5), (1.5, 1.1))
    return [Part((0, 0, 0), (half[0], half[1], 0.012), "fabric")]


ALONG_WALLS: tuple[Builder, ...] = (bed, cabinet, cabinet, shelf, shelf, sofa, counter, table)
FREE_STANDING: tuple[Builder, ...] = (table, table, chair, chair, box, box, sofa, lamp, column)
ON_WALLS: tuple[Builder, ...] = (picture, picture, picture, door, window)


def _legs(width: float, depth: float, height: float) -> list[Part]:
    return [
        Part((x * (width / 2 - 0.04), y * (depth / 2 - 0.04), height / 2), (0.025, 0.025, height / 2))
        for x in (-1, 1)
        for y in (-1, 1)
    ]
