"""Points of photographs: planes come out flat, axes are those that are stated, and a second library reads the same."""

import io
import re
from pathlib import Path

import numpy as np
import pytest
import trimesh
from command_lines import Job, call, done
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from ensemble.data.intrinsics import Intrinsics
from ensemble.deploy.points.cloud import PointCloud, point_cloud, seen_flat, spread_evenly, unproject
from ensemble.deploy.points.files import glb_bytes, linear_light, ply_bytes
from ensemble.deploy.points.photograph import camera_of_view

CAMERA = Intrinsics(518.9, 519.5, 325.6, 253.7)
SIZE = (480, 640)


def plane_depth(normal: np.ndarray, offset: float, camera: Intrinsics, size: tuple[int, int]) -> np.ndarray:
    """Depth along the axis of the plane ``normal . point = offset``, by the ray of every pixel."""
    rows, columns = np.mgrid[: size[0], : size[1]]
    rays = np.stack([(columns - camera.cx) / camera.fx, (rows - camera.cy) / camera.fy, np.ones(size)], axis=-1)
    return offset / (rays @ normal)


@given(st.floats(-0.5, 0.5), st.floats(-0.5, 0.5), st.floats(0.5, 8.0))
def test_a_tilted_plane_is_flat_to_a_millimetre(across: float, down: float, offset: float):
    normal = np.array([across, down, 1.0])
    normal /= np.linalg.norm(normal)
    depth = plane_depth(normal, offset, CAMERA, SIZE).astype(np.float32)
    points = unproject(depth, CAMERA).astype(np.float32)
    assert np.abs(points @ normal - offset).max() < 1e-3
    np.testing.assert_array_equal(points[..., 2], depth)


def test_distances_along_the_ray_would_not_be_flat():
    """The test above can tell planar depth from distance to the camera."""
    depth = plane_depth(np.array([0.0, 0.0, 1.0]), 3.0, CAMERA, SIZE)
    rays = depth / CAMERA.axis_share(SIZE)
    assert np.ptp(unproject(rays, CAMERA)[..., 2]) > 0.5


def test_axes_are_right_handed_with_y_down():
    points = unproject(np.full(SIZE, 2.0), CAMERA)
    assert points[0, 0, 0] < 0 < points[0, -1, 0], "x to the right"
    assert points[0, 0, 1] < 0 < points[-1, 0, 1], "y down"
    np.testing.assert_allclose(CAMERA.project(points[100, 200]), [200, 100], atol=1e-9)
    right, below = points[0, 1] - points[0, 0], points[1, 0] - points[0, 0]
    assert np.cross(right, below)[2] > 0, "x times y is z, away from the camera"


def test_the_camera_of_a_view_sees_so_many_degrees():
    points = unproject(np.ones((30, 40)), camera_of_view(90.0, (30, 40)))
    half_pixel = 1 / 40
    np.testing.assert_allclose(points[:, 0, 0], -1 + half_pixel)
    np.testing.assert_allclose(points[:, -1, 0], 1 - half_pixel)
    np.testing.assert_allclose(points.mean(axis=(0, 1))[:2], 0, atol=1e-12)


@pytest.mark.parametrize("factor", [1, 4])
def test_the_slope_between_near_and_far_is_seen_flat_and_floors_are_not(factor: int):
    size, camera = (72 * factor, 96 * factor), camera_of_view(63.0, (72 * factor, 96 * factor))
    step = np.interp(np.arange(size[1]), [47 * factor, 48 * factor], [1.5, 3.0])
    flat = seen_flat(unproject(np.broadcast_to(step, size), camera))
    assert flat[:, 47 * factor + factor // 2].all()
    assert not flat[:, : 46 * factor].any()
    assert not flat[:, 50 * factor :].any()
    floor = plane_depth(np.array([0.0, 1.0, 0.0]), 1.2, camera, size)
    near = (floor > 0) & (floor < 8)
    assert near[-1].all()
    assert not seen_flat(unproject(np.where(near, floor, 8.0), camera))[near][: -2 * size[1]].any()


@pytest.mark.parametrize("most", [None, 1, 7, 1000, 200_000, 10_000_000])
def test_at_most_so_many_points_of_a_regular_grid(most: int | None):
    rows, columns = spread_evenly(SIZE, most)
    count = rows.size * columns.size
    assert count == SIZE[0] * SIZE[1] if most is None or most > 307_200 else 0.98 * most - 60 <= count <= most
    assert len(np.unique(np.diff(columns))) <= 2
    assert columns.max(initial=0) < SIZE[1]
    assert rows.max(initial=0) < SIZE[0]


def small_cloud(count: int = 5) -> PointCloud:
    generator = np.random.default_rng(0)
    return PointCloud(
        generator.normal(size=(count, 3)).astype(np.float32),
        generator.integers(0, 256, (count, 3), dtype=np.uint8),
        generator.random(count, dtype=np.float32),
    )


def test_a_second_library_reads_the_same_numbers():
    cloud = small_cloud()
    ply = trimesh.load(io.BytesIO(ply_bytes(cloud)), file_type="ply")
    np.testing.assert_array_equal(ply.vertices.astype(np.float32), cloud.positions)
    np.testing.assert_array_equal(ply.colors[:, :3], cloud.colours)
    scene = trimesh.load(io.BytesIO(glb_bytes(cloud)), file_type="glb")
    (points,) = scene.geometry.values()
    np.testing.assert_array_equal(points.vertices.astype(np.float32), cloud.positions)
    np.testing.assert_allclose(points.colors[:, :3], 255 * linear_light(cloud.colours), atol=1)
    (upright,) = scene.dump()
    np.testing.assert_allclose(upright.vertices, cloud.positions * [1, -1, -1], atol=1e-6)


def test_the_header_of_a_ply_states_unit_and_axes():
    header = ply_bytes(small_cloud()).partition(b"end_header")[0].decode()
    assert "comment metres; right-handed: x to the right, y down, z away from the camera" in header
    assert "property uchar red" in header


def test_the_numbers_of_the_colours_of_light():
    values = linear_light(np.array([[0, 128, 255]], dtype=np.uint8))[0]
    np.testing.assert_allclose(values, [0, 0.21586, 1], atol=1e-5)


def test_points_of_a_large_expected_error_are_left_out():
    image, depth = np.zeros((2, 2, 3), np.uint8), np.full((2, 2), 2.0)
    error = np.array([[0.1, 0.2], [0.3, 0.4]])
    cloud = point_cloud(image, depth, camera_of_view(60, (2, 2)), error=error, max_error=0.3)
    np.testing.assert_allclose(cloud.errors, [0.1, 0.2, 0.3])
    assert cloud.left_out == 1
    with pytest.raises(ValueError, match=r"none of 4 points is left \(smallest expected error: 0.1 m\)"):
        point_cloud(image, depth, camera_of_view(60, (2, 2)), error=error, max_error=0.05)
    with pytest.raises(ValueError, match="this network tells no expected error"):
        point_cloud(image, depth, camera_of_view(60, (2, 2)), max_error=0.05)


def photograph(folder: Path, size: tuple[int, int] = (60, 80)) -> Path:
    pixels = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(folder / "photo.png")
    return folder / "photo.png"


def test_a_photograph_becomes_points_by_view_and_by_intrinsics(job: Job, tmp_path: Path):
    image, where = photograph(tmp_path), ("--cache-dir", job.cache)
    focal = camera_of_view(60.0, (60, 80)).fx
    answer = done("points", "meta-d", image, "--out", tmp_path / "a.ply", "--fov", 60, *where)
    assert f"{tmp_path / 'a.ply'}: 4800 points, " in answer.err
    done("points", "meta-d", image, "--out", tmp_path / "b.PLY", "--intrinsics", f"{focal},{focal},39.5,29.5", *where)
    assert (tmp_path / "a.ply").read_bytes() == (tmp_path / "b.PLY").read_bytes()
    assert "b.ply: 1 point, " in done("points", "meta-d", image, "--out", tmp_path / "b.ply", "--points", 1, *where).err
    answer = done("points", "meta-d", image, "--out", tmp_path / "c.glb", "--points", 1000, "--drop-edges", *where)
    (few,) = trimesh.load(tmp_path / "c.glb").geometry.values()
    kept, left, looked_at = map(int, re.findall(r"(\d+) points \((\d+) of (\d+) left out\)", answer.err)[0])
    assert 0 < kept == len(few.vertices)
    assert kept + left == looked_at <= 1000


def test_an_axis_outside_of_the_photograph_is_said(job: Job, tmp_path: Path):
    image, how = photograph(tmp_path), ("--out", tmp_path / "a.ply", "--cache-dir", job.cache)
    inside = done("points", "meta-d", image, *how, "--intrinsics", "70,70,79.5,0")
    assert "axis of the camera" not in inside.err
    outside = done("points", "meta-d", image, *how, "--intrinsics", "70,70,325.6,253.7")
    assert "meets it at column 325.6, row 253.7, outside of its 80x60 pixels" in outside.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--out", "x.xyz"), r"--out x\.xyz: expected a name that ends in \.ply or \.glb"),
        (("--out", "x.ply", "--fov", "60", "--intrinsics", "1,1,1,1"), "both tell the camera"),
        (("--out", "x.ply", "--intrinsics", "0,1,1,1"), "--intrinsics '0,1,1,1': expected FX,FY,CX,CY"),
        (("--out", "x.ply", "--fov", "200"), "--fov 200: expected degrees"),
        (("--out", "x.ply", "--points", "0"), "--points: expected a number"),
    ],
)
def test_mistakes_are_answered_before_anything_is_read(words: tuple[str, ...], said: str):
    answer = call("points", "nowhere.stack", "nowhere.png", *words)
    assert answer.status == 2
    assert re.search(f"^error: .*{said}", answer.err), answer.err
