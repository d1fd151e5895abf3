"""Casts rays into a generated room and shades what they hit.

Every ray is ``origin + depth * direction``; the directions of a camera have length 1 along its optical axis, so that
the parameter of the nearest hit is the depth itself, in metres along that axis.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Int

from ensemble.data.rooms.materials import surface_colour
from ensemble.data.rooms.scene import Piece, Scene

_PARALLEL = np.float32(1e-7)
_SHADOW_MARGIN = np.float32(0.985)


@dataclass(frozen=True)
class Hits:
    """What each ray meets first: ray parameter, material, unit normal, and metres along and across the surface."""

    depth: Float32[np.ndarray, "n"]
    material: Int[np.ndarray, "n"]
    normal: Float32[np.ndarray, "n 3"]
    u: Float32[np.ndarray, "n"]
    v: Float32[np.ndarray, "n"]


@dataclass(frozen=True)
class _Rays:
    """Rays with one origin in the frame of a piece, and what the intersection with any box needs of them."""

    origin: Float32[np.ndarray, "3"]
    direction: tuple[Float32[np.ndarray, "n"], ...]
    inverse: tuple[Float32[np.ndarray, "n"], ...]

    def spans(
        self, centre: Float32[np.ndarray, "3"], half: Float32[np.ndarray, "3"], rays: Int[np.ndarray, "m"] | slice
    ) -> tuple[list[np.ndarray], np.ndarray, np.ndarray]:
        """Where each ray enters the three slabs of a box, where it is in all of them, and where it leaves the first."""
        enter, leave = [], []
        for offset, extent, inverse in zip(centre - self.origin, half, self.inverse, strict=True):
            chosen = inverse[rays]
            middle, reach = chosen * offset, np.abs(chosen) * extent
            enter.append(middle - reach)
            leave.append(middle + reach)
        first = np.maximum(np.maximum(enter[0], enter[1]), enter[2])
        return enter, first, np.minimum(np.minimum(leave[0], leave[1]), leave[2])


def cast(scene: Scene, origin: Float32[np.ndarray, "3"], direction: Float32[np.ndarray, "n 3"]) -> Hits:
    """The nearest surface on every ray; depth 0 for all rays of an origin inside a piece."""
    hits = _cast_shell(scene, origin, direction)
    for piece in scene.pieces:
        rays = _in_frame_of(piece, origin, direction)
        for index, near in _candidates(piece, rays):
            enter, first, leave = rays.spans(piece.centre[index], piece.half[index], near)
            met = np.flatnonzero((first < leave) & (leave > 0) & (first < hits.depth[near]))
            if met.size:
                axis = np.argmax([side[met] for side in enter], axis=0)
                _record(hits, piece, index, rays, near[met], np.maximum(first[met], 0), axis)
    return hits


def shade(
    scene: Scene,
    origin: Float32[np.ndarray, "3"],
    direction: Float32[np.ndarray, "n 3"],
    hits: Hits,
    *,
    focal_length: float,
) -> Float32[np.ndarray, "n 3"]:
    """Linear RGB of every hit: its colour under the lamps, with shadows, and the ambient light."""
    point = origin + hits.depth[:, None] * direction
    footprint = hits.depth / np.float32(focal_length) / np.maximum(facing(hits, direction), np.float32(0.1))
    materials = scene.materials.take(hits.material)
    light = scene.ambient * _openness(scene, point)[:, None]
    for lamp, power in zip(scene.lights, scene.power, strict=True):
        towards = lamp - point
        square = (towards * towards).sum(axis=1)
        cosine = np.maximum((towards * hits.normal).sum(axis=1), 0) / np.sqrt(square)
        strength = cosine / (np.float32(0.5) + square)
        lit = np.flatnonzero(strength > np.float32(1e-3))
        strength[lit[shadowed(scene, lamp, point[lit])]] *= np.float32(0.08)
        light = light + power * strength[:, None]
    colour = surface_colour(materials, hits.u, hits.v, footprint)
    return colour * (light + materials.glow[:, None])


def facing(hits: Hits, direction: Float32[np.ndarray, "n 3"]) -> Float32[np.ndarray, "n"]:
    """Cosine between the line of sight and the surface's normal."""
    return np.abs((hits.normal * direction).sum(axis=1)) / np.sqrt((direction * direction).sum(axis=1))


def _cast_shell(scene: Scene, origin: np.ndarray, direction: np.ndarray) -> Hits:
    """The walls, the floor and the ceiling, seen from inside."""
    half = np.array([scene.half_width, scene.half_length, scene.height / 2], np.float32)
    centre = np.array([0, 0, scene.height / 2], np.float32)
    steered = _away_from_zero(direction)
    limits = (centre - origin + np.copysign(half, steered)) / steered
    axis = np.argmin(limits, axis=1)
    depth = limits[np.arange(len(limits)), axis]
    point = origin + depth[:, None] * direction
    forward = direction[np.arange(len(limits)), axis] > 0
    normal = np.zeros_like(direction)
    normal[np.arange(len(limits)), axis] = np.where(forward, -1, 1)
    u, v = _surface_coordinates(point, axis)
    side = np.where(axis == 2, 4, 2 * axis) + forward
    return Hits(depth, scene.shell[side], normal, u, v)


def _in_frame_of(piece: Piece, origin: np.ndarray, direction: np.ndarray) -> _Rays:
    cos, sin = np.float32(np.cos(piece.yaw)), np.float32(np.sin(piece.yaw))
    x, y = origin[0] - np.float32(piece.position[0]), origin[1] - np.float32(piece.position[1])
    across, along = direction[:, 0], direction[:, 1]
    turned = (cos * across + sin * along, cos * along - sin * across, np.ascontiguousarray(direction[:, 2]))
    steered = tuple(_away_from_zero(component) for component in turned)
    return _Rays(
        np.array([cos * x + sin * y, cos * y - sin * x, origin[2]], np.float32),
        steered,
        tuple(1 / component for component in steered),
    )


def _candidates(piece: Piece, rays: _Rays) -> Iterator[tuple[int, Int[np.ndarray, "m"]]]:
    """Every box of a piece, with the rays that pass the upright box around the whole piece."""
    low, high = (piece.centre - piece.half).min(axis=0), (piece.centre + piece.half).max(axis=0)
    _, first, leave = rays.spans((low + high) / 2, (high - low) / 2 + np.float32(1e-4), slice(None))
    near = np.flatnonzero((first < leave) & (leave > 0))
    if near.size:
        for index in range(len(piece.centre)):
            yield index, near


def _record(
    hits: Hits, piece: Piece, index: int, rays: _Rays, met: np.ndarray, depth: np.ndarray, axis: np.ndarray
) -> None:
    """Writes the hits of one box over what lies behind them."""
    direction = np.stack([component[met] for component in rays.direction], axis=1)
    local = rays.origin + depth[:, None] * direction - piece.centre[index]
    outward = -np.sign(direction[np.arange(len(met)), axis])
    cos, sin = np.float32(np.cos(piece.yaw)), np.float32(np.sin(piece.yaw))
    normals = np.array([[cos, sin, 0], [-sin, cos, 0], [0, 0, 1]], np.float32)
    hits.depth[met] = depth
    hits.material[met] = piece.material[index]
    hits.normal[met] = normals[axis] * outward[:, None]
    hits.u[met], hits.v[met] = _surface_coordinates(local, axis)


def _surface_coordinates(point: np.ndarray, axis: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The two coordinates along a surface across ``axis``; the vertical one is the second."""
    return np.where(axis == 0, point[:, 1], point[:, 0]), np.where(axis == 2, point[:, 1], point[:, 2])


def shadowed(scene: Scene, lamp: np.ndarray, point: np.ndarray) -> Bool[np.ndarray, "n"]:
    """Points that the lamp does not reach."""
    dark = np.zeros(len(point), np.bool_)
    direction = point - lamp
    for piece in scene.pieces:
        rays = _in_frame_of(piece, lamp, direction)
        for index, near in _candidates(piece, rays):
            _, first, leave = rays.spans(piece.centre[index], piece.half[index], near)
            dark[near] |= (first < leave) & (leave > 0) & (first < _SHADOW_MARGIN)
    return dark


def _openness(scene: Scene, point: np.ndarray) -> Float32[np.ndarray, "n"]:
    """How much of the room a point sees, roughly: corners between walls, floor and ceiling are darker."""
    extent = np.array([scene.half_width, scene.half_length, scene.height / 2], np.float32)
    middle = np.array([0, 0, scene.height / 2], np.float32)
    gaps = np.sort(extent - np.abs(point - middle), axis=1)
    return 1 - np.float32(0.45) * np.exp(-np.maximum(gaps[:, 1], 0) / np.float32(0.3))


def _away_from_zero(direction: np.ndarray) -> np.ndarray:
    """Directions without exact zeros, which would divide 0 by 0 on the face of a slab."""
    return np.where(np.abs(direction) < _PARALLEL, _PARALLEL, direction)
