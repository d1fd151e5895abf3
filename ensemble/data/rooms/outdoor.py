"""Takes frames of generated streets as KITTI's car would: a photograph, a scan of its laser, and annotated depth."""

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from jaxtyping import Float32, UInt8

from ensemble.data.intrinsics import Intrinsics
from ensemble.data.rooms.materials import surface_colour, value_noise
from ensemble.data.rooms.render import cast, facing, shadowed
from ensemble.data.rooms.scene import Scene
from ensemble.data.rooms.street import SKY, draw_street

CAMERA_HEIGHT, SCANNER_HEIGHT, BEHIND = 1.65, 1.73, 0.27
"""Metres above the road of camera and scanner, and that the scanner stands behind the camera, as on KITTI's car."""

FARTHEST = 85.0
"""Metres of depth that annotation reaches; the largest that was seen in KITTI's is 84.9."""

_ANNOTATED, _FROM_ROW = 0.3, 0.33
"""Share of the pixels below a share of the height that have annotated depth: a fifth of all."""

_BEAMS, _LOWEST, _HIGHEST, _STEP, _SIDEWAYS = 64, -24.8, 2.0, 0.18, 45.0
"""Beams of the scanner between two angles, and steps between two others, in degrees."""

_RANGE, _NOISE, _LOST = 120.0, 0.02, 0.1
_SHADOW = np.float32(0.12)


@dataclass(frozen=True)
class Shot:
    """A frame: image, annotated depth (metres, 0 where there is none), and a scan (forward, left, up, reflectance)."""

    image: UInt8[np.ndarray, "h w 3"]
    depth: Float32[np.ndarray, "h w"]
    scan: Float32[np.ndarray, "n 4"]


def take_shot(camera: Intrinsics, size: tuple[int, int], *, seed: tuple[int, int, int], frame: int) -> Shot:
    """A frame of a drive through a generated street; equal arguments give equal bits.

    The seed is the data's, the split and the drive, of which one metre lies between two frames.
    """
    scene = _street(seed)
    generator = np.random.default_rng(np.random.SeedSequence(seed[0], spawn_key=(*seed[1:], 1, frame)))
    origin = np.array([generator.normal(1.6, 0.2), float(frame), CAMERA_HEIGHT], np.float32)
    axes = _axes(generator.normal(0, 0.02), generator.normal(0, 0.006))
    image = _photograph(scene, camera, size, origin, axes, generator)
    depth = _annotated(scene, camera, size, origin, axes, generator)
    return Shot(image, depth, _scan(scene, origin, axes, generator))


@lru_cache(maxsize=4)
def _street(seed: tuple[int, int, int]) -> Scene:
    return draw_street(np.random.default_rng(np.random.SeedSequence(seed[0], spawn_key=(*seed[1:], 0))))


def _axes(heading: float, pitch: float) -> Float32[np.ndarray, "3 3"]:
    """Right, down and forward of a camera that looks along y, turned to the right and up by these radians."""
    sine, cosine, up = np.sin(heading), np.cos(heading), np.sin(pitch)
    forward = np.array([sine * np.cos(pitch), cosine * np.cos(pitch), up])
    right = np.array([cosine, -sine, 0.0])
    return np.stack([right, np.cross(forward, right), forward]).astype(np.float32)


def _photograph(
    scene: Scene,
    camera: Intrinsics,
    size: tuple[int, int],
    origin: np.ndarray,
    axes: np.ndarray,
    generator: np.random.Generator,
) -> UInt8[np.ndarray, "h w 3"]:
    """The image, rendered at half its size and enlarged, which looks like the softness of a lens."""
    half = (size[0] // 2, size[1] // 2)
    lens = camera.resized(size, half)
    columns, rows = np.meshgrid(np.arange(half[1], dtype=np.float32), np.arange(half[0], dtype=np.float32))
    direction = _directions(lens, columns.ravel(), rows.ravel(), axes)
    hits = cast(scene, origin, direction)
    point = origin + hits.depth[:, None] * direction
    footprint = hits.depth / np.float32(lens.fx) / np.maximum(facing(hits, direction), np.float32(0.1))
    colour = surface_colour(scene.materials.take(hits.material), hits.u, hits.v, footprint)
    towards = scene.lights[0] / np.linalg.norm(scene.lights[0])
    lit = np.maximum(hits.normal @ towards, 0)
    bright = np.flatnonzero((lit > 0) & (hits.material != SKY))
    lit[bright[shadowed(scene, scene.lights[0], point[bright])]] *= _SHADOW
    radiance = colour * (scene.ambient + scene.power[0] * lit[:, None])
    haze = np.exp(-hits.depth / np.float32(250))[:, None]
    sky = _sky(direction, int(generator.integers(1 << 30)))
    radiance = np.where(hits.material[:, None] == SKY, sky, radiance * haze + sky.mean(axis=0) * (1 - haze))
    exposed = np.clip(radiance / np.float32(generator.uniform(0.8, 1.1)), 0, 1) ** np.float32(1 / 2.2)
    large = cv2.resize(exposed.reshape(*half, 3), (size[1], size[0]), interpolation=cv2.INTER_LINEAR)
    grain = generator.standard_normal(large.shape, dtype=np.float32) * np.float32(0.01)
    return np.rint(np.clip(large + grain, 0, 1) * 255).astype(np.uint8)


def _sky(direction: np.ndarray, seed: int) -> Float32[np.ndarray, "n 3"]:
    """A sky that is paler at the horizon, with clouds."""
    up = direction[:, 2] / np.linalg.norm(direction, axis=1)
    s, t = direction[:, 0] * 4, direction[:, 2] * 9
    clouds = value_noise(s, t, np.full(len(s), seed)) * 0.6 + value_noise(s * 3, t * 3, np.full(len(s), seed + 1)) * 0.4
    blue = np.array([0.35, 0.55, 0.9]) + (1 - np.clip(up * 3, 0, 1))[:, None] * np.array([0.4, 0.3, 0.05])
    share = np.clip((clouds - 0.45) * 3, 0, 1)[:, None]
    return (blue * (1 - share) + 0.95 * share).astype(np.float32)


def _annotated(
    scene: Scene,
    camera: Intrinsics,
    size: tuple[int, int],
    origin: np.ndarray,
    axes: np.ndarray,
    generator: np.random.Generator,
) -> Float32[np.ndarray, "h w"]:
    """Exact depth in steps of 1/256 m of some pixels, as annotation leaves most of them out; none of the sky."""
    chosen = generator.random(size, dtype=np.float32) < _ANNOTATED
    chosen[: round(_FROM_ROW * size[0])] = False
    rows, columns = np.nonzero(chosen)
    hits = cast(scene, origin, _directions(camera, columns.astype(np.float32), rows.astype(np.float32), axes))
    seen = (hits.material != SKY) & (hits.depth < FARTHEST)
    depth = np.zeros(size, np.float32)
    depth[rows[seen], columns[seen]] = np.rint(hits.depth[seen] * 256) / 256
    return depth


def _scan(
    scene: Scene, origin: np.ndarray, axes: np.ndarray, generator: np.random.Generator
) -> Float32[np.ndarray, "n 4"]:
    """What the scanner measures ahead, with noise, and without some of its points."""
    up, left = np.meshgrid(
        np.radians(np.linspace(_HIGHEST, _LOWEST, _BEAMS)), np.radians(np.arange(-_SIDEWAYS, _SIDEWAYS, _STEP))
    )
    beams = np.stack([np.cos(up) * np.cos(left), np.cos(up) * np.sin(left), np.sin(up)], axis=-1).reshape(-1, 3)
    right, down, forward = axes
    direction = (beams @ np.stack([forward, -right, -down])).astype(np.float32)
    above = SCANNER_HEIGHT - CAMERA_HEIGHT
    hits = cast(scene, origin - np.float32(BEHIND) * forward - np.float32(above) * down, direction)
    seen = (hits.material != SKY) & (hits.depth < _RANGE) & (generator.random(len(beams)) > _LOST)
    distance = hits.depth[seen] + generator.normal(0, _NOISE, int(seen.sum()))
    points = beams[seen] * distance[:, None]
    return np.column_stack([points, generator.random(len(points))]).astype("<f4")


def _directions(
    camera: Intrinsics, columns: Float32[np.ndarray, "n"], rows: Float32[np.ndarray, "n"], axes: np.ndarray
) -> Float32[np.ndarray, "n 3"]:
    """Through pixels, of length 1 along the optical axis."""
    x, y = (columns - camera.cx) / camera.fx, (rows - camera.cy) / camera.fy
    return np.column_stack([x, y, np.ones_like(x)]).astype(np.float32) @ axes
