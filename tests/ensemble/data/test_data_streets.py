"""Generated streets: geometry that holds, KITTI's layout, and the same bits from the same seed."""

from pathlib import Path

import numpy as np
import pytest
from command_lines import call

from ensemble.data import open_source
from ensemble.data.intrinsics import Intrinsics
from ensemble.data.rooms.outdoor import FARTHEST, take_shot
from ensemble.settings.schema import DataSettings, KittiSettings

CAMERA, SIZE = Intrinsics(721.5377, 721.5377, 609.5593, 172.854), (375, 1242)


@pytest.fixture(scope="module")
def streets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two training drives and a test drive of one frame."""
    out = tmp_path_factory.mktemp("streets") / "out"
    answer = call(
        "data", "rooms", out, "--outdoor", "--scenes", "2", "--test-scenes", "1", "--frames", "1", "--seed", "3"
    )
    assert answer.status == 0, answer.err
    assert "3 frames of 2 training and 1 test drives; train with --data kitti --root" in answer.out
    return out


def test_a_shot_is_sparse_reaches_far_and_has_no_depth_in_the_sky():
    shot = take_shot(CAMERA, SIZE, seed=(0, 0, 1), frame=2)
    again = take_shot(CAMERA, SIZE, seed=(0, 0, 1), frame=2)
    assert np.array_equal(shot.image, again.image)
    assert np.array_equal(shot.depth, again.depth)
    assert np.array_equal(shot.scan, again.scan)
    measured = shot.depth > 0
    assert 0.1 < measured.mean() < 0.25
    assert not measured[:120].any()
    assert 50 < shot.depth.max() < FARTHEST
    np.testing.assert_array_equal(shot.depth * 256, np.rint(shot.depth * 256))
    assert not np.array_equal(shot.image, take_shot(CAMERA, SIZE, seed=(0, 0, 2), frame=2).image)


def test_the_road_lies_a_camera_height_below_the_camera():
    shot = take_shot(CAMERA, SIZE, seed=(0, 0, 1), frame=0)
    rows, columns = np.nonzero(shot.depth > 0)
    depth = shot.depth[rows, columns]
    heights = (rows - CAMERA.cy) / CAMERA.fy * depth
    lowest = np.median(heights[rows > 330])
    assert lowest == pytest.approx(1.65, abs=0.15)
    assert heights[depth < 15].max() < 2.0


def test_projected_scans_agree_with_annotated_depth(streets: Path):
    maps = []
    for kind in ("annotated", "velodyne"):
        source = open_source(DataSettings(kind="kitti", root=streets, kitti=KittiSettings(depth=kind)))
        maps.append(source.read(source.frames[0]).depth)
    both = (maps[0] > 0) & (maps[1] > 0)
    assert both.sum() > 1000
    assert np.median(np.abs(np.log(maps[1][both] / maps[0][both]))) < 0.02


def test_what_stands_there_already_and_options_of_rooms_are_refused(streets: Path):
    answer = call("data", "rooms", streets, "--outdoor")
    assert answer.status != 0
    assert "has a folder raw already" in answer.err
    answer = call("data", "rooms", streets / "new", "--outdoor", "--holes")
    assert "--outdoor: expected no --size, --holes or --noise" in answer.err
    answer = call("data", "rooms", streets / "new", "--outdoor", "--frames", "21")
    assert "expected at most 20 frames of each" in answer.err
