"""Draws a furnished room: its walls, the boxes that stand in it, their materials and the lights."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Int

from ensemble.data.rooms.furniture import ALONG_WALLS, FREE_STANDING, ON_WALLS, Builder, Part, carpet
from ensemble.data.rooms.materials import Materials

_ATTEMPTS = 12
_GAP = 0.05


@dataclass(frozen=True)
class Piece:
    """Boxes that stand in the room together, in metres: centres and half extents are local to the piece.

    Its origin stands on the floor, turned by ``yaw`` radians about the vertical axis; every box has the index of a
    material.
    """

    position: tuple[float, float]
    yaw: float
    centre: Float32[np.ndarray, "boxes 3"]
    half: Float32[np.ndarray, "boxes 3"]
    material: Int[np.ndarray, "boxes"]


@dataclass(frozen=True)
class Scene:
    """A room around the origin, z up from the floor; metres.

    Attributes:
        half_width: Half its extent along x; ``half_length`` is along y.
        shell: Materials of the walls at -x, +x, -y, +y, of the floor and of the ceiling.
        power: Of each lamp, RGB.
        ambient: Light from everywhere, RGB.
    """

    half_width: float
    half_length: float
    height: float
    shell: Int[np.ndarray, "6"]
    pieces: tuple[Piece, ...]
    materials: Materials
    lights: Float32[np.ndarray, "lights 3"]
    power: Float32[np.ndarray, "lights 3"]
    ambient: Float32[np.ndarray, "3"]


def draw_scene(generator: np.random.Generator) -> Scene:
    """A random furnished room; its diagonal stays below 10 m."""
    half_width, half_length = generator.uniform(1.5, 2.7), generator.uniform(1.6, 4.0)
    height = generator.uniform(2.3, 3.2)
    roles = ["wall"] * 4 + ["floor", "ceiling"]
    shell = np.arange(6)
    if generator.random() < 0.5:
        shell[:4] = 0
    furnisher = _Furnisher(half_width, half_length, roles, generator)
    furnisher.place(carpet, wall=False, blocks=False, chance=0.4)
    for _ in range(int(generator.integers(3, 8))):
        furnisher.place(ALONG_WALLS[generator.integers(len(ALONG_WALLS))], wall=True)
    for _ in range(int(generator.integers(1, 6))):
        furnisher.place(FREE_STANDING[generator.integers(len(FREE_STANDING))], wall=False)
    for _ in range(int(generator.integers(2, 6))):
        furnisher.place(ON_WALLS[generator.integers(len(ON_WALLS))], wall=True)
    count = int(generator.integers(1, 4))
    warmth = np.array([1.0, generator.uniform(0.85, 1.0), generator.uniform(0.65, 1.0)])
    spread = generator.uniform(-0.7, 0.7, (count, 2)) * (half_width, half_length)
    return Scene(
        half_width,
        half_length,
        height,
        shell,
        tuple(furnisher.pieces),
        Materials.draw(roles, generator),
        np.column_stack([spread, np.full(count, height - 0.15)]).astype(np.float32),
        (generator.uniform(1.5, 5.0, (count, 1)) * warmth / count).astype(np.float32),
        (generator.uniform(0.12, 0.4) * generator.uniform(0.9, 1.1, 3)).astype(np.float32),
    )


class _Furnisher:
    """Finds room for one piece after the other."""

    def __init__(self, half_width: float, half_length: float, roles: list[str], generator: np.random.Generator):
        self.pieces: list[Piece] = []
        self._extent = np.array([half_width, half_length])
        self._roles = roles
        self._generator = generator
        self._taken: list[tuple[np.ndarray, np.ndarray]] = []

    def place(self, builder: Builder, *, wall: bool, blocks: bool = True, chance: float = 1.0) -> None:
        """Adds a piece where it overlaps no other; leaves it out where no such place is found."""
        if self._generator.random() >= chance:
            return
        parts = builder(self._generator)
        low = np.array([np.subtract(part.centre, part.half) for part in parts]).min(axis=0)
        high = np.array([np.add(part.centre, part.half) for part in parts]).max(axis=0)
        for _ in range(_ATTEMPTS):
            position, yaw = self._by_wall(low, high) if wall else self._anywhere(low, high)
            bounds = _bounds(position, yaw, low, high)
            if bounds is None or np.any(np.abs(bounds[:, :2]) > self._extent + 0.01):
                continue
            if blocks and any(_overlap(bounds, other) for other in self._taken):
                continue
            if blocks:
                self._taken.append((bounds[0], bounds[1]))
            self._add(parts, position, yaw)
            return

    def _by_wall(self, low: np.ndarray, high: np.ndarray) -> tuple[tuple[float, float], float]:
        """Back to a random wall: the walls at -y, +x, +y, -x are quarter turns of the piece."""
        quarter = int(self._generator.integers(4))
        across = 1 - quarter % 2
        room = self._extent[1 - across] - max(-low[0], high[0])
        along = self._generator.uniform(-1, 1) * max(room, 0)
        out = self._extent[across] + low[1]
        position = {0: (along, -out), 1: (out, along), 2: (along, out), 3: (-out, along)}[quarter]
        return position, quarter * np.pi / 2

    def _anywhere(self, low: np.ndarray, high: np.ndarray) -> tuple[tuple[float, float], float]:
        x, y = self._generator.uniform(-1, 1, 2) * np.maximum(self._extent - np.hypot(high[0], high[1]), 0)
        return (x, y), self._generator.uniform(-np.pi, np.pi)

    def _add(self, parts: list[Part], position: tuple[float, float], yaw: float) -> None:
        own = len(self._roles)
        self._roles.extend(("wood", "fabric" if self._generator.random() < 0.6 else "wood"))
        material = []
        for part in parts:
            if isinstance(part.surface, str):
                material.append(len(self._roles))
                self._roles.append(part.surface)
            else:
                material.append(own + part.surface)
        self.pieces.append(
            Piece(
                position,
                yaw,
                np.array([part.centre for part in parts], np.float32),
                np.array([part.half for part in parts], np.float32),
                np.array(material),
            )
        )


def _bounds(position: tuple[float, float], yaw: float, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Lowest and highest corner of the upright box around a turned piece."""
    cos, sin = np.cos(yaw), np.sin(yaw)
    x, y = np.meshgrid((low[0], high[0]), (low[1], high[1]))
    corners = np.stack([cos * x - sin * y + position[0], sin * x + cos * y + position[1]], axis=-1).reshape(-1, 2)
    return np.array([[*corners.min(axis=0), low[2]], [*corners.max(axis=0), high[2]]])


def _overlap(bounds: np.ndarray, other: tuple[np.ndarray, np.ndarray]) -> bool:
    return bool(np.all(bounds[0] < other[1] + _GAP) and np.all(other[0] < bounds[1] + _GAP))
