"""Puts a camera into a generated room and takes a frame: image, exact depth, and a Kinect's faults where asked."""

from dataclasses import dataclass
from functools import lru_cache
from operator import itemgetter

import numpy as np
from jaxtyping import Bool, Float32, UInt8

from ensemble.data.intrinsics import Intrinsics
from ensemble.data.nyu.camera import FRAME
from ensemble.data.rooms.render import cast, facing, shade
from ensemble.data.rooms.scene import Scene, draw_scene
from ensemble.data.source import RawFrame

FOCAL_X, FOCAL_Y, CENTRE_X, CENTRE_Y = 518.8579, 519.4696, 325.5824, 253.7362
"""NYU Depth v2's intrinsics in pixels of its frame, rounded."""

_NEAREST = 0.5
_PROBE_SIZE = (18, 24)
_POSES = 24


@dataclass(frozen=True)
class Pose:
    """Where a camera stands in the room, in metres; rows of its axes are its right, down and forward directions."""

    origin: Float32[np.ndarray, "3"]
    axes: Float32[np.ndarray, "3 3"]


def render_frame(
    size: tuple[int, int], *, seed: tuple[int, int, int], frame: int, holes: bool = False, noise: bool = False
) -> RawFrame:
    """A frame of a generated room; equal arguments give equal bits.

    The field of view is NYU Depth v2's at any size. The seed is the data's, the split and the scene; ``frame`` is the
    number of the camera pose. ``holes`` drop depth at edges and on dark or grazing surfaces, ``noise`` grows with the
    square of the distance.
    """
    scene = _scene(seed)
    generator = np.random.default_rng(np.random.SeedSequence(seed[0], spawn_key=(*seed[1:], 1, frame)))
    pose = draw_pose(scene, generator)
    direction = ray_directions(size, pose)
    hits = cast(scene, pose.origin, direction)
    focal_length = FOCAL_X * size[1] / FRAME[1]
    radiance = shade(scene, pose.origin, direction, hits, focal_length=focal_length)
    depth = hits.depth.reshape(size)
    image = _exposed(radiance.reshape(*size, 3), generator)
    valid = np.ones(size, np.bool_)
    if holes:
        valid &= ~_kinect_holes(depth, radiance.reshape(*size, 3), facing(hits, direction).reshape(size), generator)
    if noise:
        spread = np.float32(0.0012) + np.float32(0.0019) * (depth - np.float32(0.4)) ** 2
        depth = depth + spread * generator.standard_normal(size, dtype=np.float32)
    camera = Intrinsics(FOCAL_X, FOCAL_Y, CENTRE_X, CENTRE_Y).resized(FRAME, size)
    return RawFrame(image, np.where(valid, depth, np.float32(0)), valid, camera)


def draw_pose(scene: Scene, generator: np.random.Generator) -> Pose:
    """A camera at human height that nothing stands too near in front of."""
    poses: list[tuple[float, Pose]] = []
    for _ in range(_POSES):
        share = generator.uniform(-0.92, 0.92, 2)
        origin = np.array([*(share * (scene.half_width, scene.half_length)), generator.uniform(0.9, 1.75)], np.float32)
        towards_middle = float(np.arctan2(-origin[1], -origin[0]))
        heading = towards_middle + generator.normal(0, 0.9)
        pose = Pose(origin, _axes(heading, generator.uniform(-0.5, 0.12), generator.normal(0, 0.03)))
        depth = cast(scene, origin, ray_directions(_PROBE_SIZE, pose)).depth
        poses.append((min(depth.min(), _NEAREST + 0.1) + 0.2 * min(float(np.median(depth)), 1.5), pose))
        if depth.min() > _NEAREST + 0.1 and np.median(depth) > 1.5:
            break
    return max(poses, key=itemgetter(0))[1]


def ray_directions(size: tuple[int, int], pose: Pose) -> Float32[np.ndarray, "n 3"]:
    """Directions through the pixel centres, of length 1 along the optical axis, row by row."""
    height, width = size
    x = ((np.arange(width) + 0.5) * (FRAME[1] / width) - 0.5 - CENTRE_X) / FOCAL_X
    y = ((np.arange(height) + 0.5) * (FRAME[0] / height) - 0.5 - CENTRE_Y) / FOCAL_Y
    right, down, forward = pose.axes
    rows = y.astype(np.float32)[:, None, None] * down
    return (x.astype(np.float32)[None, :, None] * right + rows + forward).reshape(-1, 3)


@lru_cache(maxsize=16)
def _scene(seed: tuple[int, int, int]) -> Scene:
    return draw_scene(np.random.default_rng(np.random.SeedSequence(seed[0], spawn_key=(*seed[1:], 0))))


def _axes(heading: float, pitch: float, roll: float) -> Float32[np.ndarray, "3 3"]:
    """Right, down and forward of a camera: heading about the vertical, pitch above the horizon, roll about forward."""
    forward = np.array([np.cos(heading) * np.cos(pitch), np.sin(heading) * np.cos(pitch), np.sin(pitch)])
    level = np.array([np.sin(heading), -np.cos(heading), 0.0])
    upright = np.cross(forward, level)
    right = np.cos(roll) * level + np.sin(roll) * upright
    down = np.cos(roll) * upright - np.sin(roll) * level
    return np.stack([right, down, forward]).astype(np.float32)


def _exposed(radiance: Float32[np.ndarray, "h w 3"], generator: np.random.Generator) -> UInt8[np.ndarray, "h w 3"]:
    """The photograph: automatic exposure, a lens that darkens to the corners, display gamma and sensor noise."""
    height, width = radiance.shape[:2]
    y, x = (np.linspace(-1, 1, length, dtype=np.float32) for length in (height, width))
    lens = 1 - np.float32(0.14) * (y[:, None] ** 2 + x**2)
    middle = np.mean(radiance) * generator.uniform(2.6, 3.6)
    shown = np.clip(radiance * lens[..., None] / np.float32(middle), 0, 1) ** np.float32(1 / 2.2)
    grain = generator.standard_normal(radiance.shape, dtype=np.float32) * np.float32(0.012)
    return np.rint(np.clip(shown + grain, 0, 1) * 255).astype(np.uint8)


def _kinect_holes(
    depth: Float32[np.ndarray, "h w"],
    radiance: Float32[np.ndarray, "h w 3"],
    facing: Float32[np.ndarray, "h w"],
    generator: np.random.Generator,
) -> Bool[np.ndarray, "h w"]:
    """Where a Kinect sees nothing: beside edges, on surfaces that are dark or seen at a grazing angle."""
    step = np.zeros(depth.shape, np.bool_)
    step[:, 1:] |= np.abs(np.diff(depth, axis=1)) > 0.08 * depth[:, 1:]
    step[1:] |= np.abs(np.diff(depth, axis=0)) > 0.08 * depth[1:]
    chance = generator.random(depth.shape, dtype=np.float32)
    brightness = radiance.mean(axis=2) / radiance.mean()
    return step | (chance < 0.6 * (brightness < 0.12)) | (chance < 0.8 * (facing < 0.12)) | (chance < 0.004)
