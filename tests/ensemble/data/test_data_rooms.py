"""Generated rooms: the same bits everywhere, exact depth, sensible frames, and a round trip through files."""

import hashlib
import multiprocessing
import pickle
from pathlib import Path

import numpy as np
import pytest

from ensemble.data import open_source
from ensemble.data.nyu.recognition import open_nyu
from ensemble.data.rooms.camera import FOCAL_X, FOCAL_Y, Pose, draw_pose, ray_directions
from ensemble.data.rooms.furniture import ALONG_WALLS, FREE_STANDING, ON_WALLS, Builder, carpet
from ensemble.data.rooms.materials import Materials
from ensemble.data.rooms.render import cast
from ensemble.data.rooms.scene import Piece, Scene, draw_scene
from ensemble.data.rooms.source import RoomsSource, write_rooms
from ensemble.data.source import Frame
from ensemble.settings.schema import DataSettings, RoomsSettings

SMALL = RoomsSettings(scenes=3, test_scenes=2, frames=2)
LEVEL_AXES = np.array([[0, -1, 0], [0, 0, -1], [1, 0, 0]], np.float32)
"""A camera that looks along +x."""


def digest(settings: RoomsSettings) -> str:
    source = RoomsSource(settings, (24, 32))
    content = hashlib.sha256()
    for frame in reversed(source.frames):
        raw = source.read(frame)
        for values in (raw.image, raw.depth, raw.valid):
            content.update(values.tobytes())
    return content.hexdigest()


def scene_with(*pieces: Piece, half_width: float = 2.0, half_length: float = 3.0, height: float = 2.5) -> Scene:
    generator = np.random.default_rng(0)
    return Scene(
        half_width,
        half_length,
        height,
        np.arange(6),
        pieces,
        Materials.draw(["wall"] * 4 + ["floor", "ceiling", "wood"], generator),
        np.array([[0, 0, height - 0.1]], np.float32),
        np.ones((1, 3), np.float32),
        np.ones(3, np.float32),
    )


def look(scene: Scene, size: tuple[int, int] = (48, 64)) -> np.ndarray:
    pose = Pose(np.array([-1, 0, 1.2], np.float32), LEVEL_AXES)
    return cast(scene, pose.origin, ray_directions(size, pose)).depth.reshape(size)


@pytest.mark.parametrize("faults", [{}, {"holes": True, "noise": True}])
def test_frames_are_bit_equal_in_another_process(faults):
    settings = SMALL.model_copy(update=faults)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        there = pool.apply(digest, (settings,))
    assert digest(settings) == there
    assert digest(settings.model_copy(update={"seed": 1})) != there


def test_a_frame_depends_on_seed_split_scene_and_number_only():
    few, many = RoomsSource(SMALL, (24, 32)), RoomsSource(RoomsSettings(scenes=9, frames=7), (24, 32))
    frame = Frame("room_0002/0001", "room_0002", "train")
    assert np.array_equal(few.read(frame).image, many.read(frame).image)
    images = {few.read(frame).image.tobytes() for frame in few.frames}
    assert len(images) == len(few.frames) == 10


def test_depth_of_a_wall_is_the_distance_along_the_optical_axis():
    depth = look(scene_with())
    wall = depth[18:30, 10:54]
    assert np.abs(wall - 3.0).max() < 1e-5, "z-depth of a wall in front is constant, unlike the length of the rays"


def test_depth_of_the_floor_follows_from_the_camera_height():
    height, width = 48, 64
    depth = look(scene_with())
    row = height - 1
    slope = ((row + 0.5) * 10 - 0.5 - 253.7362) / FOCAL_Y
    assert slope > 0.4
    assert depth[row, width // 2] == pytest.approx(1.2 / slope, rel=1e-5)


def test_depth_of_a_side_wall_follows_from_its_distance():
    depth = look(scene_with(half_length=1.0))
    slope = ((0 + 0.5) * 10 - 0.5 - 325.5824) / FOCAL_X
    assert depth[24, 0] == pytest.approx(1.0 / -slope, rel=1e-5)


def test_depth_of_a_turned_box_is_the_distance_to_its_edge():
    piece = Piece(
        (1.0, 0.0), np.pi / 4, np.array([[0, 0, 1.2]], np.float32), np.full((1, 3), 0.3, np.float32), np.array([6])
    )
    pose = Pose(np.array([-1, 0, 1.2], np.float32), LEVEL_AXES)
    hits = cast(scene_with(piece), pose.origin, np.array([[1, 0, 0], [1, 0.1, 0]], np.float32))
    assert hits.depth[0] == pytest.approx(2 - 0.3 * np.sqrt(2), rel=1e-5)
    # The ray (1, 0.1) meets the face through the edge: x + y/10 with x = edge + y.
    assert hits.depth[1] == pytest.approx((2 - 0.3 * np.sqrt(2)) / 0.9, rel=1e-5)
    assert hits.material.tolist() == [6, 6]
    assert np.allclose(np.linalg.norm(hits.normal, axis=1), 1, atol=1e-6)


def test_the_field_of_view_does_not_depend_on_the_size():
    pose = Pose(np.zeros(3, np.float32), LEVEL_AXES)
    large, small = (ray_directions(size, pose).reshape(*size, 3) for size in ((96, 128), (48, 64)))
    middle = large.reshape(48, 2, 64, 2, 3).mean(axis=(1, 3))
    assert np.abs(middle - small).max() < 1e-5


def test_depth_is_indoor_and_not_told_by_the_row():
    source = RoomsSource(RoomsSettings(scenes=20, frames=1), (48, 64))
    raws = [source.read(frame) for frame in source.frames if frame.split == "train"]
    depth = np.stack([raw.depth for raw in raws])
    assert all(raw.valid.all() for raw in raws)
    assert depth.min() > 0.3
    assert depth.max() < 10
    medians = np.median(depth, axis=(1, 2))
    assert medians.max() / medians.min() > 1.5
    logs = np.log(depth)
    by_row = logs.mean(axis=(0, 2))[None, :, None]
    by_frame_and_row = logs.mean(axis=2)[:, :, None]
    # On NYU Depth v2 itself about three quarters of the variance remain.
    assert ((logs - by_row) ** 2).mean() > 0.7 * logs.var()
    assert ((logs - by_frame_and_row) ** 2).mean() > 0.15 * logs.var()


def test_images_use_their_range():
    source = RoomsSource(SMALL, (48, 64))
    for frame in source.frames:
        image = source.read_image(frame)
        assert 40 < image.mean() < 220, frame.id
        assert image.std() > 8, frame.id


def test_a_camera_stands_inside_the_room_with_room_before_it():
    for seed in range(10):
        scene = draw_scene(np.random.default_rng(seed))
        pose = draw_pose(scene, np.random.default_rng(seed))
        assert abs(pose.origin[0]) < scene.half_width
        assert abs(pose.origin[1]) < scene.half_length
        assert 0.8 < pose.origin[2] < 1.8
        assert np.allclose(pose.axes @ pose.axes.T, np.eye(3), atol=1e-6)
        assert np.linalg.det(pose.axes) == pytest.approx(1, abs=1e-5)


def test_holes_are_invalid_and_leave_the_rest_exact():
    plain, holed = (RoomsSource(SMALL.model_copy(update={"holes": holes}), (48, 64)) for holes in (False, True))
    shares = []
    for frame in plain.frames:
        exact, raw = plain.read(frame), holed.read(frame)
        assert np.array_equal(raw.depth[raw.valid], exact.depth[raw.valid])
        assert not raw.depth[~raw.valid].any()
        assert np.array_equal(raw.image, exact.image)
        shares.append(1 - raw.valid.mean())
    assert 0.005 < np.mean(shares) < 0.5


def test_noise_grows_with_distance():
    plain, noisy = (RoomsSource(SMALL.model_copy(update={"noise": noise}), (48, 64)) for noise in (False, True))
    exact = np.stack([plain.read(frame).depth for frame in plain.frames])
    error = np.stack([noisy.read(frame).depth for frame in plain.frames]) - exact
    near, far = exact < np.quantile(exact, 0.2), exact > np.quantile(exact, 0.8)
    assert 0 < error[near].std() < 0.5 * error[far].std() < 0.1


def test_training_and_test_scenes_differ():
    source = RoomsSource(SMALL, (24, 32))
    scenes = {split: {frame.scene for frame in source.frames if frame.split == split} for split in ("train", "test")}
    assert scenes == {"train": {"room_0000", "room_0001", "room_0002"}, "test": {"hall_0000", "hall_0001"}}
    room, hall = (
        source.read(Frame(f"{scene}/0000", scene, split)).image
        for scene, split in (("room_0000", "train"), ("hall_0000", "test"))
    )
    assert not np.array_equal(room, hall)


def test_a_frame_of_the_wrong_split_is_refused():
    with pytest.raises(ValueError, match=r"expected a test frame such as hall_0003/0001, found 'room_0000/0000'"):
        RoomsSource(SMALL, (24, 32)).read(Frame("room_0000/0000", "room_0000", "test"))


def test_the_description_names_everything_that_shapes_a_frame():
    source = RoomsSource(SMALL, (24, 32))
    reference = source.describe(source.frames)
    assert source.describe(source.frames) == reference
    assert pickle.loads(pickle.dumps(source)).describe(source.frames) == reference
    others = [RoomsSource(SMALL.model_copy(update=change), (24, 32)) for change in
              ({"seed": 1}, {"holes": True}, {"noise": True})]  # fmt: skip
    described = [other.describe(source.frames) for other in others]
    described += [RoomsSource(SMALL, (24, 36)).describe(source.frames), source.describe(source.frames[:-1])]
    assert len({reference, *described}) == 6
    more = RoomsSource(SMALL.model_copy(update={"scenes": 30}), (24, 32))
    assert more.describe(source.frames) == reference, "further scenes do not change these frames"


def test_written_rooms_come_back_within_half_a_millimetre(tmp_path: Path):
    settings = SMALL.model_copy(update={"holes": True})
    seen: list[tuple[int, int]] = []
    assert write_rooms(tmp_path / "out", settings, (48, 64), lambda done, total: seen.append((done, total))) == 10
    assert seen == [(done, 10) for done in range(1, 11)]
    rooms, copy = RoomsSource(settings, (48, 64)), open_nyu(tmp_path / "out")
    assert {(frame.scene, frame.split) for frame in copy.frames} == {(f.scene, f.split) for f in rooms.frames}
    assert copy.frames[0].id == "room_0000/rgb_00000"
    by_place = {(frame.split, frame.scene, int(frame.id[-4:])): frame for frame in rooms.frames}
    for frame in copy.frames:
        written, original = copy.read(frame), rooms.read(by_place[frame.split, frame.scene, int(frame.id[-4:])])
        assert np.array_equal(written.valid, original.valid)
        assert np.abs(written.depth - original.depth)[original.valid].max() <= 0.000501
        assert np.abs(written.image.astype(int) - original.image).mean() < 6
    with pytest.raises(ValueError, match="already has official_splits"):
        write_rooms(tmp_path / "out", settings)


def test_rooms_that_were_cut_short_are_written_again(tmp_path: Path):
    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt(f"after {done} of {total}")

    with pytest.raises(KeyboardInterrupt, match="after 1 of 10"):
        write_rooms(tmp_path, SMALL, (24, 32), stop)
    with pytest.raises(ValueError, match="expected a copy"):
        open_nyu(tmp_path)
    write_rooms(tmp_path, SMALL, (24, 32))
    assert [path.name for path in tmp_path.iterdir()] == ["official_splits"]
    assert len(open_nyu(tmp_path).frames) == 10


def test_rooms_need_no_root():
    source = open_source(DataSettings(size=(32, 48), rooms=SMALL))
    assert source.name == "rooms"
    assert source.read(source.frames[0]).depth.shape == (32, 48)


@pytest.mark.parametrize("builder", sorted({*ALONG_WALLS, *FREE_STANDING, *ON_WALLS, carpet}, key=lambda b: b.__name__))
def test_every_piece_of_furniture_has_extent_whatever_is_drawn(builder: Builder):
    generator = np.random.default_rng(0)
    halves = np.array([part.half for _ in range(1500) for part in builder(generator)])
    assert (halves > 0).all(), halves.min(axis=0)


def test_many_scenes_can_be_drawn():
    for seed in range(400):
        scene = draw_scene(np.random.default_rng(seed))
        assert scene.half_width > 1
