"""Draws a street: road, pavements, facades, parked and driving cars, poles and trees below a sky that has no depth."""

from typing import NamedTuple

import numpy as np

from ensemble.data.rooms.furniture import Part
from ensemble.data.rooms.materials import CHECKER, MOTTLED, PLAIN, STRIPES, TILES, Materials
from ensemble.data.rooms.scene import Piece, Scene

SKY, GRASS, ROAD, PAVEMENT, PAINT, TYRE, GLASS, TRUNK = range(8)
"""The first materials of every street; sides of buildings, cars and crowns of trees follow."""

MOST_METRES = 20
"""Metres along the street that a camera may drive before it meets a car."""

_WIDE, _LONG, _HIGH = 400.0, 600.0, 300.0
"""Metres to the shell around the street: where a ray meets it, there is sky."""

_BEHIND, _AHEAD = -15.0, 190.0
"""Metres along the street that things stand in."""


class _Look(NamedTuple):
    pattern: int
    cell: float
    first: tuple[float, float, float]
    second: tuple[float, float, float]


_FIXED = (
    _Look(PLAIN, 1.0, (0.5, 0.6, 0.8), (0.5, 0.6, 0.8)),
    _Look(MOTTLED, 0.8, (0.12, 0.2, 0.05), (0.2, 0.22, 0.08)),
    _Look(MOTTLED, 0.6, (0.13, 0.13, 0.14), (0.2, 0.2, 0.2)),
    _Look(TILES, 0.6, (0.34, 0.33, 0.31), (0.22, 0.21, 0.2)),
    _Look(PLAIN, 1.0, (0.75, 0.75, 0.72), (0.6, 0.6, 0.6)),
    _Look(PLAIN, 1.0, (0.02, 0.02, 0.02), (0.03, 0.03, 0.03)),
    _Look(PLAIN, 1.0, (0.04, 0.06, 0.08), (0.08, 0.1, 0.12)),
    _Look(STRIPES, 0.1, (0.12, 0.08, 0.05), (0.07, 0.05, 0.03)),
)


class _Builder:
    """Puts pieces along a street and gives each its colours."""

    def __init__(self, generator: np.random.Generator) -> None:
        self.generator = generator
        self.looks = list(_FIXED)
        self.pieces: list[Piece] = []

    def look(self, look: _Look) -> int:
        """The index of a new material."""
        self.looks.append(look)
        return len(self.looks) - 1

    def add(self, parts: list[tuple[Part, int]], at: tuple[float, float], yaw: float = 0.0) -> None:
        """Boxes with their materials as one piece."""
        self.pieces.append(
            Piece(
                at,
                yaw,
                np.array([part.centre for part, _ in parts], np.float32),
                np.array([part.half for part, _ in parts], np.float32),
                np.array([material for _, material in parts]),
            )
        )

    def building(self, side: int, near: float, along: float, length: float) -> None:
        """A block whose front stands ``near`` metres from the middle of the road."""
        height, deep = self.generator.uniform(5, 17), self.generator.uniform(6, 12)
        tone = self.generator.uniform(0.25, 0.7) * self.generator.uniform((0.9, 0.75, 0.6), (1.0, 0.95, 0.9))
        pattern = int(self.generator.choice((CHECKER, TILES, STRIPES)))
        dark = self.generator.uniform(0.25, 0.6)
        wall = self.look(_Look(pattern, self.generator.uniform(1.2, 3.0), tuple(tone), tuple(tone * dark)))
        roof = self.look(_Look(STRIPES, 0.4, (0.3, 0.12, 0.08), (0.2, 0.1, 0.07)))
        half = length / 2
        parts = [
            (Part((0, 0, height / 2), (deep / 2, half, height / 2)), wall),
            (Part((0, 0, height + 0.2), (deep / 2 + 0.3, half, 0.2)), roof),
        ]
        self.add(parts, (side * (near + deep / 2), along + half))

    def car(self, x: float, y: float, yaw: float) -> None:
        """A car: body, cabin and wheels."""
        tone = self.generator.uniform(0.03, 0.7) * self.generator.uniform(0.2, 1.0, 3)
        paint = self.look(_Look(PLAIN, 1.0, tuple(tone), tuple(tone)))
        wide, long, high = self.generator.uniform((0.8, 1.9, 0.35), (0.95, 2.4, 0.45))
        parts = [
            (Part((0, 0, 0.25 + high), (wide, long, high)), paint),
            (Part((0, -0.2, 0.5 + 2 * high), (wide - 0.12, long * 0.5, 0.28)), GLASS),
            (Part((0, -0.2, 0.8 + 2 * high), (wide - 0.15, long * 0.45, 0.03)), paint),
        ]
        parts += [
            (Part((sx * (wide - 0.1), sy * long * 0.62, 0.32), (0.12, 0.32, 0.32)), TYRE)
            for sx in (-1, 1)
            for sy in (-1, 1)
        ]
        self.add(parts, (x, y), yaw)

    def tree(self, x: float, y: float) -> None:
        """A trunk and a crown of a few boxes."""
        tone = self.generator.uniform((0.05, 0.14, 0.03), (0.16, 0.28, 0.08))
        leaves = self.look(_Look(MOTTLED, 0.35, tuple(tone), tuple(tone * 0.45)))
        high = self.generator.uniform(2.0, 4.0)
        parts = [(Part((0, 0, high / 2), (0.14, 0.14, high / 2)), TRUNK)]
        for _ in range(4):
            middle = self.generator.uniform((-0.8, -0.8, high), (0.8, 0.8, high + 2))
            parts.append((Part(tuple(middle), tuple(self.generator.uniform(0.7, 1.5, 3))), leaves))
        self.add(parts, (x, y), self.generator.uniform(0, 1.5))

    def pole(self, x: float, y: float) -> None:
        """A lamp post or a sign."""
        high = self.generator.uniform(2.2, 7.0)
        parts = [(Part((0, 0, high / 2), (0.06, 0.06, high / 2)), PAVEMENT)]
        parts.append((Part((0, 0, high), (0.3, 0.04, 0.3)), int(self.generator.choice((PAINT, GLASS, TYRE)))))
        self.add(parts, (x, y))


def draw_street(generator: np.random.Generator) -> Scene:
    """A random street along y, with its road around x = 0; x is to the right, z up, metres."""
    builder = _Builder(generator)
    road, walk = generator.uniform(4.8, 7.0), generator.uniform(1.5, 4.0)
    middle, half = (_AHEAD + _BEHIND) / 2, (_AHEAD - _BEHIND) / 2
    builder.add([(Part((0, 0, -0.5), (road, half, 0.51)), ROAD)], (0.0, middle))
    dashes = [(Part((0, y, 0.012), (0.07, 1.5, 0.004)), PAINT) for y in np.arange(-half, half, 7.0)]
    builder.add(dashes, (0.0, middle))
    for side in (-1, 1):
        builder.add([(Part((0, 0, 0.06), (walk / 2, half, 0.08)), PAVEMENT)], (side * (road + walk / 2), middle))
        _facades(builder, side, road + walk)
        _beside(builder, side, road, walk)
    for _ in range(int(generator.integers(1, 5))):
        side = int(generator.choice((-1, 1)))
        builder.car(side * road / 2, generator.uniform(MOST_METRES + 6, 90), 0.0 if side > 0 else np.pi)
    if generator.random() < 0.5:  # a street that ends, in place of one that goes on to the horizon
        builder.building(1, -14.0, generator.uniform(70, 150), 8.0)
    sun = np.array([generator.uniform(-1, 1), generator.uniform(-1, 0.4), generator.uniform(0.5, 1.2)])
    return Scene(
        _WIDE,
        _LONG,
        _HIGH,
        np.array([SKY, SKY, SKY, SKY, GRASS, SKY]),
        tuple(builder.pieces),
        _materials(builder.looks, generator),
        (1e4 * sun / np.linalg.norm(sun)).astype(np.float32)[None],
        (generator.uniform(0.8, 1.6) * np.array([[1.0, 0.95, 0.85]])).astype(np.float32),
        (generator.uniform(0.35, 0.6) * np.array([0.9, 0.95, 1.05])).astype(np.float32),
    )


def _facades(builder: _Builder, side: int, near: float) -> None:
    """Buildings along one side, with gaps that show how far the land goes."""
    generator, along = builder.generator, _BEHIND
    while along < _AHEAD:
        length = generator.uniform(7, 20)
        if generator.random() < 0.75:
            builder.building(side, near + generator.uniform(0, 3), along, length)
        along += length + generator.choice((0.0, 2.0, 9.0))


def _beside(builder: _Builder, side: int, road: float, walk: float) -> None:
    """Parked cars, trees and poles along one side."""
    generator, along = builder.generator, 3.0
    while along < 110:
        if generator.random() < 0.5:
            builder.car(side * (road - 1.1), along, generator.normal(0, 0.04) + np.pi * (side < 0))
        if generator.random() < 0.3:
            builder.tree(side * (road + walk * 0.6), along + 2.5)
        elif generator.random() < 0.3:
            builder.pole(side * (road + 0.4), along + 2.5)
        along += generator.uniform(5.5, 10)


def _materials(looks: list[_Look], generator: np.random.Generator) -> Materials:
    return Materials(
        np.array([look.pattern for look in looks]),
        np.array([look.cell for look in looks], np.float32),
        np.array([look.first for look in looks], np.float32),
        np.array([look.second for look in looks], np.float32),
        np.zeros(len(looks), np.float32),
        generator.integers(1 << 30, size=len(looks)),
    )
