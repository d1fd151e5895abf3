"""Procedural surfaces of generated rooms: random materials, and their colour at a point of a surface."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from jaxtyping import Float32, Int

PLAIN, CHECKER, PLANKS, STRIPES, MOTTLED, TILES, PICTURE = range(7)
ROLES: dict[str, tuple[tuple[int, ...], tuple[float, float]]] = {
    "floor": ((PLANKS, PLANKS, CHECKER, TILES, MOTTLED), (0.12, 0.6)),
    "wall": ((PLAIN, PLAIN, STRIPES, TILES, MOTTLED), (0.08, 0.5)),
    "ceiling": ((PLAIN, PLAIN, TILES), (0.4, 0.7)),
    "wood": ((PLANKS, PLANKS, MOTTLED, PLAIN), (0.05, 0.25)),
    "fabric": ((MOTTLED, STRIPES, CHECKER, PLAIN), (0.04, 0.25)),
    "picture": ((PICTURE,), (0.08, 0.25)),
    "book": ((STRIPES,), (0.03, 0.06)),
    "lamp": ((PLAIN,), (0.1, 0.2)),
}
_BRIGHTNESS: dict[str, tuple[float, float]] = {
    "floor": (0.15, 0.55), "wall": (0.35, 0.85), "ceiling": (0.7, 0.92), "wood": (0.1, 0.6), "fabric": (0.08, 0.75),
    "picture": (0.1, 0.8), "book": (0.1, 0.7), "lamp": (0.8, 0.95),
}  # fmt: skip
_SATURATION = {"ceiling": 0.05, "wall": 0.2, "lamp": 0.1}
_WARM_ROLES = {"floor", "wood"}
_JOINT = 0.06


@dataclass(frozen=True)
class Materials:
    """Materials as one array per property; a surface names its material by index.

    Patterns are the constants of this module and repeat every ``cell`` metres, colours linear RGB; ``glow`` is light
    that a surface gives off by itself.
    """

    pattern: Int[np.ndarray, "m"]
    cell: Float32[np.ndarray, "m"]
    first: Float32[np.ndarray, "m 3"]
    second: Float32[np.ndarray, "m 3"]
    glow: Float32[np.ndarray, "m"]
    seed: Int[np.ndarray, "m"]

    @classmethod
    def draw(cls, roles: Sequence[str], generator: np.random.Generator) -> "Materials":
        """A random material for each role."""
        pattern, cell, first, second = [], [], [], []
        for role in roles:
            patterns, (low, high) = ROLES[role]
            pattern.append(int(generator.choice(patterns)))
            cell.append(generator.uniform(low, high))
            colour = _colour(role, generator)
            first.append(colour)
            if role == "picture":
                second.append(_colour(role, generator))
            else:
                second.append(colour * generator.uniform(0.35, 0.85) * generator.uniform(0.9, 1.1, 3))
        return cls(
            np.array(pattern),
            np.array(cell, np.float32),
            np.array(first, np.float32),
            np.array(second, np.float32),
            np.array([4.0 if role == "lamp" else 0.0 for role in roles], np.float32),
            generator.integers(1 << 30, size=len(roles)),
        )

    def take(self, indices: Int[np.ndarray, "n"]) -> "Materials":
        """The material of each pixel."""
        return type(self)(*(getattr(self, column.name)[indices] for column in fields(self)))


def surface_colour(
    materials: Materials, u: Float32[np.ndarray, "n"], v: Float32[np.ndarray, "n"], footprint: Float32[np.ndarray, "n"]
) -> Float32[np.ndarray, "n 3"]:
    """Linear RGB at points of surfaces, each of its own material, ``u`` and ``v`` metres along it.

    A pixel covers ``footprint`` metres there; patterns that are finer fade to their mean.
    """
    share = np.zeros_like(u)
    s, t = u / materials.cell, v / materials.cell
    for pattern in np.unique(materials.pattern):
        here = np.flatnonzero(materials.pattern == pattern)
        share[here] = _PATTERNS[pattern](s[here], t[here], materials.seed[here])
    visible = np.clip(materials.cell / (2 * footprint), 0, 1)
    share = np.float32(0.4) + (share - np.float32(0.4)) * visible
    grain = np.float32(0.9) + np.float32(0.2) * value_noise(u * 5, v * 5, materials.seed)
    colour = materials.first + (materials.second - materials.first) * share[:, None]
    return colour * grain[:, None]


def value_noise(
    s: Float32[np.ndarray, "n"], t: Float32[np.ndarray, "n"], seed: Int[np.ndarray, "n"]
) -> Float32[np.ndarray, "n"]:
    """Smooth random values in [0, 1] on a lattice of spacing 1."""
    s_cell, t_cell = np.floor(s), np.floor(t)
    s_part, t_part = s - s_cell, t - t_cell
    s_part, t_part = (part * part * (3 - 2 * part) for part in (s_part, t_part))
    row, column = s_cell.astype(np.int64), t_cell.astype(np.int64)
    low = _hash(row, column, seed) * (1 - s_part) + _hash(row + 1, column, seed) * s_part
    high = _hash(row, column + 1, seed) * (1 - s_part) + _hash(row + 1, column + 1, seed) * s_part
    return (low * (1 - t_part) + high * t_part).astype(np.float32)


def _hash(
    row: Int[np.ndarray, "n"], column: Int[np.ndarray, "n"], seed: Int[np.ndarray, "n"]
) -> Float32[np.ndarray, "n"]:
    """A random-looking number in [0, 1) for every lattice point."""
    mixed = (row * 374761393 + column * 668265263 + seed * 2147483647).astype(np.uint32)
    mixed = (mixed ^ (mixed >> np.uint32(13))) * np.uint32(1274126177)
    mixed = (mixed ^ (mixed >> np.uint32(16))) * np.uint32(2246822519)
    return ((mixed ^ (mixed >> np.uint32(15))) >> np.uint32(8)).astype(np.float32) * np.float32(2.0**-24)


def _colour(role: str, generator: np.random.Generator) -> Float32[np.ndarray, "3"]:
    brightness = generator.uniform(*_BRIGHTNESS[role])
    tint = np.array([1.0, 0.72, 0.45]) if role in _WARM_ROLES else generator.uniform(0.2, 1.0, 3)
    saturation = _SATURATION.get(role, generator.uniform(0.2, 0.9))
    colour = tint * saturation + (1 - saturation)
    return (brightness * colour / colour.max()).astype(np.float32)


def _plain(s: np.ndarray, t: np.ndarray, seed: np.ndarray) -> np.ndarray:
    return np.float32(0.3) * value_noise(s * 0.5, t * 0.5, seed)


def _checker(s: np.ndarray, t: np.ndarray, seed: np.ndarray) -> np.ndarray:
    return (np.floor(s) + np.floor(t)) % 2


def _planks(s: np.ndarray, t: np.ndarray, seed: np.ndarray) -> np.ndarray:
    row = np.floor(t).astype(np.int64)
    along = s / 6 + _hash(row, row, seed)
    board = np.floor(along).astype(np.int64)
    joint = (t - row < _JOINT) | (along - board < _JOINT / 6)
    streaks = value_noise(s * 0.7, t * 7, seed)
    return np.where(joint, 1, 0.6 * _hash(row, board, seed) + 0.3 * streaks)


def _stripes(s: np.ndarray, t: np.ndarray, seed: np.ndarray) -> np.ndarray:
    stripe = np.floor(s).astype(np.int64)
    return np.where(seed % 2 == 0, stripe % 2, _hash(stripe, stripe * 0, seed))


def _mottled(s: np.ndarray, t: np.ndarray, seed: np.ndarray) -> np.ndarray:
    return 0.6 * value_noise(s, t, seed) + 0.4 * value_noise(s * 2.7, t * 2.7, seed + 1)


def _tiles(s: np.ndarray, t: np.ndarray, seed: np.ndarray) -> np.ndarray:
    row, column = np.floor(s), np.floor(t)
    joint = (s - row < _JOINT) | (t - column < _JOINT)
    return np.where(joint, 1, 0.3 * _hash(row.astype(np.int64), column.astype(np.int64), seed))


def _picture(s: np.ndarray, t: np.ndarray, seed: np.ndarray) -> np.ndarray:
    return (value_noise(s, t, seed) > 0.5) * 0.7 + 0.3 * value_noise(s * 3, t * 3, seed + 1)


_PATTERNS = (_plain, _checker, _planks, _stripes, _mottled, _tiles, _picture)
