"""Intrinsics: a point in front of the camera falls on the pixel that shows it, however the frame was changed."""

import math

import numpy as np
import pytest

from ensemble.data.augmentation import Area, Change, changed
from ensemble.data.intrinsics import Intrinsics
from ensemble.data.nyu.camera import COLOUR, intrinsics_of
from ensemble.data.rooms.camera import Pose, ray_directions, render_frame
from ensemble.data.source import RawFrame
from ensemble.data.transforms import pixels_at_size
from ensemble.photographs.views import focal_of_view, view_of_focal
from ensemble.settings.kinds import facts_of

CAMERA = Intrinsics(50.0, 60.0, 19.5, 14.5)
POINTS = np.array([[0.0, 0.0, 2.0], [0.4, -0.3, 2.0], [-1.0, 1.0, 5.0]])
MIRROR = np.array([-1.0, 1.0, 1.0])


def test_projection_by_hand():
    assert CAMERA.project(POINTS).tolist() == [[19.5, 14.5], [29.5, 5.5], [9.5, 26.5]]


def test_whole_numbers_are_centres_of_pixels():
    assert CAMERA.resized((30, 40), (60, 80)) == Intrinsics(100.0, 120.0, 39.5, 29.5)  # the middle stays the middle
    corner = Intrinsics(1.0, 1.0, 0.0, 0.0).resized((30, 40), (60, 80))
    assert (corner.cx, corner.cy) == (0.5, 0.5)  # the first of the old pixels is the first two of the new ones
    assert CAMERA.mirrored(40) == CAMERA
    assert CAMERA.cropped(3, 5) == Intrinsics(50.0, 60.0, 14.5, 11.5)


def test_points_move_with_their_pixels():
    column, row = np.moveaxis(CAMERA.project(POINTS), -1, 0)
    resized = CAMERA.resized((30, 40), (45, 100)).project(POINTS)
    np.testing.assert_allclose(resized, np.stack([(column + 0.5) * 2.5 - 0.5, (row + 0.5) * 1.5 - 0.5], axis=-1))
    np.testing.assert_allclose(CAMERA.cropped(2, 7).project(POINTS), np.stack([column - 7, row - 2], axis=-1))
    np.testing.assert_allclose(CAMERA.mirrored(40).project(POINTS * MIRROR), np.stack([39 - column, row], axis=-1))


def test_changes_undo_and_follow_each_other():
    assert CAMERA.resized((30, 40), (7, 11)).resized((7, 11), (30, 40)).project(POINTS) == pytest.approx(
        CAMERA.project(POINTS)
    )
    assert CAMERA.cropped(1, 2).cropped(3, 4) == CAMERA.cropped(4, 6)
    assert CAMERA.mirrored(40).mirrored(40) == CAMERA


def test_a_point_keeps_its_depth_through_the_pipeline():
    """The pixel that a point falls on shows its depth: in the frame, resized, and as part of the mirrored frame."""
    size, camera = (30, 40), CAMERA
    rows, columns = np.indices(size)
    depth = (1 + rows * size[1] + columns).astype(np.float32) / 100  # no two pixels share one
    raw = RawFrame(np.zeros((*size, 3), np.uint8), depth, np.ones(size, np.bool_), camera)
    sample = pixels_at_size(raw, (90, 120))
    camera = camera.resized(size, (90, 120))
    area = Area(10, 20, 60, 70)
    part = changed(sample, Change(0.0, area, mirrored=True, tint=None))
    camera = camera.cropped(area.top, area.left).mirrored(area.width)
    seen = 0
    for row, column in np.ndindex(*size):
        z = depth[row, column]
        point = np.array([(column - CAMERA.cx) * z / CAMERA.fx, (row - CAMERA.cy) * z / CAMERA.fy, z])
        across, down = np.rint(camera.project(point * MIRROR)).astype(int)
        if 0 <= across < area.width and 0 <= down < area.height:
            assert part["depth"][0, down, across] == z
            seen += 1
    assert seen > 400


@pytest.mark.parametrize("size", [(24, 32), (31, 47)])
def test_rooms_tell_the_camera_that_their_rays_come_from(size: tuple[int, int]):
    raw = render_frame(size, seed=(0, 0, 3), frame=0)
    assert raw.intrinsics is not None
    rays = ray_directions(size, Pose(np.zeros(3, np.float32), np.eye(3, dtype=np.float32)))
    rows, columns = np.indices(size)
    np.testing.assert_allclose(
        raw.intrinsics.project(rays.astype(float)), np.stack([columns.ravel(), rows.ravel()], axis=-1), atol=1e-4
    )


def test_copies_of_nyu_know_the_camera_of_whole_frames_alone():
    assert intrinsics_of((480, 640)) == COLOUR
    assert (round(COLOUR.fx, 3), round(COLOUR.cy, 3)) == (518.858, 253.736)
    assert intrinsics_of((240, 320)) is None
    assert COLOUR.project(np.array([0.0, 0.0, 3.0])).tolist() == [COLOUR.cx, COLOUR.cy]


@pytest.mark.parametrize("size", [(480, 640), (96, 128)])
def test_kinds_of_data_tell_the_focal_lengths_of_their_frames(size: tuple[int, int]):
    rooms, nyu = facts_of("rooms"), facts_of("nyu")
    assert rooms.focal is not None
    raw = render_frame(size, seed=(0, 0, 3), frame=0)
    assert raw.intrinsics is not None
    told = Intrinsics(*rooms.focal, 0, 0).resized(rooms.frame, size)
    assert (told.fx, told.fy) == pytest.approx((raw.intrinsics.fx, raw.intrinsics.fy))
    assert nyu.focal == pytest.approx((COLOUR.fx, COLOUR.fy), abs=1e-4)


def test_distances_and_depth_by_hand():
    camera = Intrinsics(3.0, 3.0, 1.0, 0.0)
    share = camera.axis_share((5, 2))
    assert share[0].tolist() == [pytest.approx(3 / math.sqrt(10)), 1]
    assert share[4, 1] == pytest.approx(0.6)  # 3, 4, 5
    hypersim = Intrinsics(886.81, 886.81, 511.5, 383.5).axis_share((768, 1024))
    x, y = np.meshgrid(np.linspace(-511.5, 511.5, 1024), np.linspace(-383.5, 383.5, 768))
    np.testing.assert_allclose(hypersim, 886.81 / np.sqrt(886.81**2 + x**2 + y**2))


def test_fields_of_view_and_focal_lengths():
    assert focal_of_view(90, 640) == pytest.approx(320)
    assert view_of_focal(320, 640) == pytest.approx(90)
    assert view_of_focal(518.858, 640) == pytest.approx(63.3, abs=0.05)
