"""Copies of NYU Depth v2: list-file quirks, scenes, and what must be refused (RELIABILITY rows 9, 12, 13)."""

import io
import os
import pickle
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ensemble.data import open_source
from ensemble.data.formats.images import read_rgb
from ensemble.data.held_out import test_frames as frames_to_score
from ensemble.data.nyu.recognition import open_nyu
from ensemble.data.source import RawFrame
from ensemble.data.splits import training_frames
from ensemble.settings.schema import DataSettings

TRAIN_LIST, TEST_LIST = "nyudepthv2_train_files_with_gt.txt", "nyudepthv2_test_files_with_gt.txt"
SIZE = (24, 32)


def write_pair(folder: Path, number: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng([seed, number])
    folder.mkdir(parents=True, exist_ok=True)
    ramp = np.linspace(0, 200, SIZE[1], dtype=np.uint8)[None, :, None]
    image = np.broadcast_to(ramp, (*SIZE, 3)) + generator.integers(40, size=(1, 1, 3), dtype=np.uint8)
    depth_mm = generator.integers(700, 9000, SIZE).astype(np.uint16)
    depth_mm[:3, :5] = 0
    Image.fromarray(image).save(folder / f"rgb_{number:05d}.jpg", quality=95)
    Image.fromarray(depth_mm).save(folder / f"sync_depth_{number:05d}.png")
    return image, depth_mm


@pytest.fixture
def official(tmp_path: Path) -> Path:
    for scene in range(4):
        for number in range(3):
            write_pair(tmp_path / "official_splits" / "train" / f"group_{scene:03d}", 10 * scene + number)
    for number in (100, 101):
        write_pair(tmp_path / "official_splits" / "test" / "group_900", number)
    return tmp_path


@pytest.fixture
def listed(tmp_path: Path) -> Path:
    """The published quirks: a leading slash in the training list, none and no final newline in the test list."""
    train, test = [], []
    for folder in ("kitchen_0028a", "kitchen_0028b", "bedroom_0004", "office_0003"):
        for number in (0, 45):
            write_pair(tmp_path / "sync" / folder, number)
            train.append(f"/{folder}/rgb_{number:05d}.jpg /{folder}/sync_depth_{number:05d}.png 518.8579")
    for number in (7, 8):
        write_pair(tmp_path / "official_splits" / "test" / "bathroom", number)
        test.append(f"bathroom/rgb_{number:05d}.jpg bathroom/sync_depth_{number:05d}.png 518.8579")
    (tmp_path / TRAIN_LIST).write_text("\n".join(train) + "\n")
    (tmp_path / TEST_LIST).write_text("\n".join(test))
    return tmp_path


def first(root: Path):
    source = open_nyu(root)
    return source, source.frames[0]


def test_pairs_are_read_in_metres(official: Path):
    image, depth_mm = write_pair(official / "official_splits" / "train" / "group_000", 0)
    source, frame = first(official)
    assert (frame.id, frame.scene, frame.split) == ("group_000/rgb_00000", "group_000", "train")
    raw = source.read(frame)
    assert np.array_equal(raw.valid, depth_mm > 0)
    assert np.abs(raw.depth - depth_mm / 1000).max() < 1e-6
    assert raw.depth.dtype == np.float32
    assert np.abs(raw.image.astype(int) - image).mean() < 4
    assert np.array_equal(source.read_image(frame), raw.image)


def test_list_files_are_read_with_their_quirks(listed: Path):
    source = open_nyu(listed)
    assert [frame.split for frame in source.frames] == ["train"] * 8 + ["test"] * 2
    assert source.frames[2].id == "kitchen_0028b/rgb_00000"
    assert {frame.scene for frame in source.frames if frame.split == "train"} == {
        "kitchen_0028", "bedroom_0004", "office_0003"
    }  # fmt: skip
    assert source.read(source.frames[-1]).depth.shape == SIZE


def test_a_list_may_begin_with_a_mark_of_its_encoding(listed: Path):
    frames = open_nyu(listed).frames
    text = (listed / TRAIN_LIST).read_text()
    (listed / TRAIN_LIST).write_text(text, encoding="utf-8-sig")
    assert open_nyu(listed).frames == frames


def test_parts_of_a_recording_stay_on_one_side(listed: Path):
    source = open_nyu(listed)
    for seed in range(10):
        training = training_frames(source, DataSettings(validation_fraction=0.4, split_seed=seed))
        kitchens = [any(f.scene == "kitchen_0028" for f in side) for side in (training.fit, training.validation)]
        assert sum(kitchens) == 1


def test_a_path_in_the_third_column_is_ignored(listed: Path):
    line = "/bedroom_0004/rgb_00000.jpg /bedroom_0004/sync_depth_00000.png ../../elsewhere/dense_depth.png"
    (listed / TRAIN_LIST).write_text(line)
    assert [frame.id for frame in open_nyu(listed).frames][:1] == ["bedroom_0004/rgb_00000"]


def test_lists_lie_beside_the_frames_too(listed: Path):
    (listed / TRAIN_LIST).rename(listed / "sync" / TRAIN_LIST)
    assert len(open_nyu(listed).frames) == 10


@pytest.mark.parametrize(
    "path",
    ["../outside/rgb_00000.jpg", "/../outside/rgb_00000.jpg", "kitchen/../../outside/rgb_00000.jpg",
     "C:/outside/rgb_00000.jpg", "..\\outside\\rgb_00000.jpg", "file:///outside/rgb_00000.jpg",
     "kitchen/" + "r" * 300 + ".jpg"],
)  # fmt: skip
@pytest.mark.parametrize("column", [0, 1])
def test_a_list_cannot_leave_the_root(listed: Path, path: str, column: int):
    write_pair(listed.parent / "outside", 0)
    fields = ["/bedroom_0004/rgb_00000.jpg", "/bedroom_0004/sync_depth_00000.png", "518.8579"]
    fields[column] = path
    (listed / TRAIN_LIST).write_text("\n" + " ".join(fields))
    with pytest.raises(ValueError, match=r"train_files_with_gt\.txt:2: expected a path .* inside the copy"):
        open_nyu(listed)


def test_an_absolute_path_means_one_inside_the_root(listed: Path):
    outside = listed.parent / "outside"
    write_pair(outside, 0)
    (listed / TRAIN_LIST).write_text(f"{outside}/rgb_00000.jpg {outside}/sync_depth_00000.png 518.8579")
    with pytest.raises(ValueError, match="missing files: 2") as caught:
        open_nyu(listed)
    assert str(listed / "sync") in str(caught.value)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("", "expected lines of 'rgb depth', found none"),
        ("only_one_field", r"txt:1: expected 'rgb depth', found 'only_one_field'"),
        (
            "/office_0003/rgb_00000.jpg /office_0003/sync_depth_00000.png 1\n" * 2,
            "doubled frames: 1 .first: office_0003/rgb_00000",
        ),
        ("/office_0003/rgb_00999.jpg /office_0003/sync_depth_00999.png 1", "missing files: 2"),
    ],
)
def test_wrong_lists_are_refused(listed: Path, lines: str, message: str):
    (listed / TRAIN_LIST).write_text(lines)
    with pytest.raises(ValueError, match=message):
        open_nyu(listed)


def test_official_type_folders_become_scenes_by_runs_of_numbers(tmp_path: Path):
    for split, numbers in (("train", (3, 4, 5, 20, 21)), ("test", (6, 7, 40))):
        for number in numbers:
            write_pair(tmp_path / "official_splits" / split / "kitchen", number)
    write_pair(tmp_path / "official_splits" / "train" / "bathroom", 8)
    source = open_nyu(tmp_path)
    scenes = {frame.id: frame.scene for frame in source.frames}
    assert scenes["kitchen/rgb_00005"] == scenes["kitchen/rgb_00003"] == "kitchen@00003"
    assert scenes["kitchen/rgb_00021"] == "kitchen@00020"
    assert scenes["kitchen/rgb_00006"] == "kitchen@00006"
    assert len({frame.scene for frame in source.frames}) == 5
    test = frames_to_score(source, DataSettings())
    assert {frame.split for frame in test} == {"test"}


def test_numbers_that_are_no_indices_leave_folders_as_scenes(tmp_path: Path):
    for folder in ("mine", "yours"):
        for number in (0, 2):
            write_pair(tmp_path / "official_splits" / "train" / folder, number)
    assert {frame.scene for frame in open_nyu(tmp_path).frames} == {"mine", "yours"}


def test_half_a_pair_is_refused_by_name(official: Path):
    lost = official / "official_splits" / "train" / "group_001" / "sync_depth_00011.png"
    lost.unlink()
    with pytest.raises(
        ValueError, match=r"missing files: 1 .*sync_depth_00011\.png, the other half of .*rgb_00011\.jpg"
    ):
        open_nyu(official)


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_twenty_cuts_of_a_file_are_all_named(official: Path, suffix: str):
    source, frame = first(official)
    name = "sync_depth_00000.png" if suffix == "png" else "rgb_00000.jpg"
    path = official / "official_splits" / "train" / "group_000" / name
    whole = path.read_bytes()
    cuts = [0, 1, len(whole) - 1, len(whole) - 2, *np.linspace(2, len(whole) - 3, 16).astype(int)]
    for cut in cuts:
        path.write_bytes(whole[:cut])
        with pytest.raises(ValueError, match=r"(damaged or )?cut short") as caught:
            source.read(frame)
        assert str(path) in str(caught.value), cut
    path.write_bytes(whole)
    source.read(frame)


def _png(values: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, "PNG")
    return buffer.getvalue()


GENERATOR = np.random.default_rng(0)
WRONG_FILES = {
    "depth of another shape": ("depth", GENERATOR.integers(700, 9000, (24, 30)).astype(np.uint16), "size of its image"),
    "8-bit depth": (
        "depth",
        GENERATOR.integers(1, 255, SIZE, dtype=np.uint8),
        "expected a 16-bit PNG with one channel",
    ),
    "coloured depth": ("depth", GENERATOR.integers(1, 255, (*SIZE, 3), dtype=np.uint8), "expected a 16-bit PNG"),
    "RGBA depth": ("depth", GENERATOR.integers(1, 255, (*SIZE, 4), dtype=np.uint8), "expected a 16-bit PNG"),
    "8-bit values in a 16-bit file": ("depth", GENERATOR.integers(1, 255, SIZE).astype(np.uint16), "8-bit values in a"),
    "metres as millimetres": ("depth", GENERATOR.integers(1, 10, SIZE).astype(np.uint16), "metres in place of milli"),
    "RGBA image": ("rgb", GENERATOR.integers(1, 255, (*SIZE, 4), dtype=np.uint8), "expected an RGB image"),
    "greyscale image": ("rgb", GENERATOR.integers(1, 255, SIZE, dtype=np.uint8), "expected an RGB image"),
}


@pytest.mark.parametrize("case", WRONG_FILES)
def test_the_wrong_kind_of_file_is_refused(official: Path, case: str):
    kind, values, message = WRONG_FILES[case]
    source, frame = first(official)
    name = "sync_depth_00000.png" if kind == "depth" else "rgb_00000.jpg"
    path = official / "official_splits" / "train" / "group_000" / name
    path.write_bytes(_png(values))
    with pytest.raises(ValueError, match=message) as caught:
        source.read(frame)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("image", np.zeros((4, 5, 4), np.uint8)),
        ("image", np.zeros((4, 5, 3), np.float32)),
        ("image", np.zeros((4, 5), np.uint8)),
        ("depth", np.zeros((4, 6), np.float32)),
        ("depth", np.zeros((4, 5), np.uint16)),
        ("depth", np.zeros((4, 5), np.float64)),
        ("depth", np.zeros((1, 4, 5), np.float32)),
        ("valid", np.zeros((4, 5), np.uint8)),
    ],
)
def test_a_raw_frame_is_what_it_says(name: str, values: np.ndarray):
    good = {
        "image": np.zeros((4, 5, 3), np.uint8),
        "depth": np.zeros((4, 5), np.float32),
        "valid": np.zeros((4, 5), np.bool_),
    }
    RawFrame(**good)
    # TypeError: where the shapes in signatures are checked as well.
    with pytest.raises((ValueError, TypeError), match=r"of a frame: expected .* of shape .*, found|RawFrame"):
        RawFrame(**(good | {name: values}))


def test_a_small_file_that_unpacks_to_a_huge_image_is_refused(official: Path):
    source, frame = first(official)
    path = official / "official_splits" / "train" / "group_000" / "sync_depth_00000.png"
    header = b"IHDR" + struct.pack(">IIBBBBB", 60_000, 60_000, 16, 0, 0, 0, 0)
    content = bytearray(path.read_bytes())
    content[12:33] = header + struct.pack(">I", zlib.crc32(header))
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"sync_depth_00000\.png: is larger than the limit"):
        source.read(frame)


def test_a_small_file_that_unpacks_to_an_image_of_no_camera_is_refused(official: Path):
    source, frame = first(official)
    Image.fromarray(np.zeros((12_000, 10_001), np.uint16)).save(
        official / "official_splits" / "train" / "group_000" / "sync_depth_00000.png"
    )
    with pytest.raises(ValueError, match=r"png: is larger than the limit of \d+ pixels \(found 120012000\); "):
        source.read(frame)


def test_a_frame_without_any_measurement_is_read(official: Path):
    source, frame = first(official)
    path = official / "official_splits" / "train" / "group_000" / "sync_depth_00000.png"
    path.write_bytes(_png(np.zeros(SIZE, np.uint16)))
    assert not source.read(frame).valid.any()


def test_a_file_that_is_gone_is_named(official: Path):
    source, frame = first(official)
    (official / "official_splits" / "train" / "group_000" / "rgb_00000.jpg").unlink()
    with pytest.raises(ValueError, match=r"rgb_00000\.jpg: cannot be read"):
        source.read(frame)


def test_the_description_notices_other_files_and_other_frames(official: Path):
    source = open_nyu(official)
    reference = source.describe(source.frames)
    assert pickle.loads(pickle.dumps(source)).describe(source.frames) == reference
    assert source.describe(source.frames[::-1]) != reference
    assert source.describe(source.frames[:-1]) != reference
    with (official / "official_splits" / "train" / "group_002" / "sync_depth_00021.png").open("ab") as file:
        file.write(b"\0")
    assert open_nyu(official).describe(source.frames) != reference


def test_the_root_comes_from_the_settings_or_the_environment(official: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("NYU_ROOT", raising=False)
    with pytest.raises(ValueError, match=r"data\.root \(--root DIR\) or in the environment variable NYU_ROOT"):
        open_source(DataSettings(kind="nyu"))
    assert len(open_source(DataSettings(kind="nyu", root=official)).frames) == 14
    monkeypatch.setenv("NYU_ROOT", str(official))
    assert open_source(DataSettings(kind="nyu")).name == "nyu"


def test_folders_without_a_copy_say_what_was_expected(tmp_path: Path):
    with pytest.raises(ValueError, match=r"expected a copy of NYU Depth v2, found nothing\. Known copies:"):
        open_nyu(tmp_path)
    with pytest.raises(ValueError, match="no such folder"):
        open_nyu(tmp_path / "missing")


def real_root() -> Path:
    root = Path(os.environ.get("NYU_ROOT", "../shared/data/nyu_depth_v2"))
    if not root.is_dir():
        pytest.skip("needs a copy of NYU Depth v2: set NYU_ROOT")
    return root


def test_the_real_copy_is_read_and_divided_by_scene():
    source = open_nyu(real_root())
    wanted = DataSettings(kind="nyu", test="held-out")
    training, test = training_frames(source, wanted), frames_to_score(source, wanted)
    sides = [{frame.scene for frame in side} for side in (training.fit, training.validation, test)]
    assert sum(map(len, sides)) == len(set().union(*sides))
    raw = source.read(test[0])
    assert raw.image.shape[:2] == raw.depth.shape
    assert 0.5 < float(np.median(raw.depth[raw.valid])) < 8


def test_a_photograph_that_was_turned_is_read_upright(tmp_path: Path):
    lying = np.zeros((20, 30, 3), dtype=np.uint8)
    lying[:, :10] = 200  # the left of the file is the top of the picture
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.fromarray(lying).save(tmp_path / "phone.png", exif=turned)
    upright = read_rgb(tmp_path / "phone.png")
    assert upright.shape == (30, 20, 3)
    assert (upright[:10] == 200).all()
    assert (upright[10:] == 0).all()
