"""Images and depth maps of one's own: the whole job on them, how they are found and read, and what is refused."""

import json
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml
from command_lines import TINY, Answer, call, done
from own_data import ROOMS, SIZE, write_own
from PIL import Image

from ensemble.data import open_source
from ensemble.data.folder import scenes
from ensemble.data.folder.listing import list_folder
from ensemble.data.folder.scenes import scene_of
from ensemble.data.folder.source import SQUEEZED, fitting_size, from_settings
from ensemble.data.formats.depth_files import READERS
from ensemble.data.held_out import test_frames as scored_frames
from ensemble.data.intrinsics import Intrinsics
from ensemble.data.source import RawFrame
from ensemble.data.splits import training_frames
from ensemble.settings.layers import Choice, data_settings
from ensemble.settings.patterns import frame_id
from ensemble.settings.schema import FIRST_FOLDER, DataSettings, FolderSettings
from ensemble.settings.trees import SettingsError

FRAMES = (ROOMS.scenes + ROOMS.test_scenes) * ROOMS.frames
LEARNERS = ("bts", "ldrn")
FIRST = "hall_0000/0000"
"""The first frame that is trained on."""


def experiment(**data: object) -> str:
    tree = yaml.safe_load(TINY)
    del tree["evaluation"], tree["data"]
    return yaml.safe_dump(
        {**tree, "experiment": "own", "data": {"kind": "folder", "size": [40, 64], "folds": 2, **data}}
    )


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_own(tmp_path_factory.mktemp("written") / "own")


@pytest.fixture
def own(written: Path, tmp_path: Path) -> Path:
    return shutil.copytree(written, tmp_path / "own")


def settings_of(root: Path, **folder: object) -> DataSettings:
    return DataSettings(kind="folder", root=root, size=(40, 64), folder=FolderSettings.model_validate(folder))


def image_of(root: Path, name: str = FIRST) -> Path:
    return root / f"rgb/{name}.png"


def depth_of(root: Path, name: str = FIRST) -> Path:
    return root / f"depth/{name}.npy"


def first_frame(root: Path, **folder: object) -> RawFrame:
    source = open_source(settings_of(root, **folder))
    return source.read(next(frame for frame in source.frames if frame.id == FIRST))


@pytest.mark.slow
def test_the_whole_job_on_own_data(own: Path, tmp_path: Path):
    config = tmp_path / "own.yaml"
    config.write_text(experiment(root=str(own)), encoding="utf-8")
    bare = tmp_path / "bare.yaml"
    bare.write_text(experiment(), encoding="utf-8")
    cache = ("--cache-dir", tmp_path / "cache")
    looked = done("data", "doctor", own, "--config", bare, "--full")
    assert looked.out.splitlines()[0] == f"own data in {own}"
    said = done("base", "train", "bts", "--folds", 2, "--config", config, *cache).err
    assert said.splitlines()[0] == f"data: own data in {own}"
    done("base", "train", "ldrn", "--folds", 2, "--config", bare, *cache, FOLDER_ROOT=str(own))
    for role in ("oof", "validation", "test"):
        done("base", "cache", *LEARNERS, "--role", role, "--config", bare, "--root", own, *cache)
    done("meta", "fit", "--inputs", "rgb+d", "--learners", ",".join(LEARNERS), "--config", config, *cache)
    fit = "meta-rgb+d-bts-ldrn"
    scores = json.loads(done("meta", "evaluate", fit, "--json", *cache).out)
    protocol = scores["protocol"]
    assert (protocol["crop"], protocol["size"], protocol["max_depth"]) == ("none", list(SIZE), 10.0)
    rows = {row["name"]: row for row in scores["rows"]}
    assert {*LEARNERS, fit, "mean", "oracle pick"} <= set(rows)
    assert all(row["images"] == 4 and 0 < row["scores"]["abs_rel"] < 10 for row in rows.values())
    done("report", fit, "--out", tmp_path / "report", *cache)
    assert (tmp_path / "report/report.html").is_file()
    done("meta", "save", fit, tmp_path / "own.stack", *cache)
    shutil.move(own, tmp_path / "moved")
    done("meta", "predict", tmp_path / "own.stack", image_of(tmp_path / "moved"), "--out", tmp_path / "depth")
    predicted = np.load(next((tmp_path / "depth").rglob("*depth*.npy")))
    assert predicted.shape == SIZE
    done("meta", "evaluate", fit, "--root", tmp_path / "moved", *cache)


@pytest.mark.parametrize(
    ("pattern", "path", "name"),
    [
        ("rgb/*.png", "rgb/0001.png", "0001"),
        ("rgb/*.png", "rgb/kitchen/0001.png", None),
        ("rgb/**.{png,jpg}", "rgb/kitchen/0001.jpg", "kitchen/0001"),
        ("rgb/**/*.png", "rgb/0001.png", "0001"),
        ("rgb/**/*.png", "rgb/flat/kitchen/0001.png", "flat/kitchen/0001"),
        ("*/image[0]/*_rgb.png", "kitchen/image[0]/7_rgb.png", "kitchen/7"),
        ("*.{png, jpg}", "0001.gif", None),
        ("*.png", "0001xpng", None),
    ],
)
def test_stars_stand_for_the_id(pattern: str, path: str, name: str | None):
    assert frame_id(pattern, path) == name


@pytest.mark.parametrize("pattern", ["rgb/0001.png", "/data/*.png", "../*.png", "rgb//*.png", "a***.png", "*.{png"])
def test_what_is_no_pattern_is_refused(pattern: str):
    with pytest.raises(ValueError, match="expected"):
        FolderSettings(images=pattern)


def test_all_kinds_of_depth_files_are_found_by_default():
    found = {suffix for suffix in READERS if frame_id(FolderSettings().depth, f"depth/a/1{suffix}") == "a/1"}
    assert found >= {".png", ".npy", ".npz", ".h5", ".hdf5", ".pfm", ".tif", ".tiff", ".dpt", ".bin"}
    assert frame_id(FolderSettings().images, "rgb/IMG_1.JPG") == "IMG_1"


def test_scenes_come_from_folders_or_from_a_regular_expression():
    assert scene_of("kitchen/left/7", FIRST_FOLDER) == "kitchen"
    assert scene_of("7", FIRST_FOLDER) is None
    assert scene_of("kitchen_12_7", r"(.+)_\d+") == "kitchen_12"
    assert scene_of("kitchen_12_7", "kitchen") == "kitchen"
    assert scene_of("hall_7", "kitchen") is None


def test_frames_are_divided_by_fractions_of_scenes(own: Path):
    settings = settings_of(own)
    source = open_source(settings)
    train, test = training_frames(source, settings), scored_frames(source, settings)
    assert settings.test == "held-out"
    assert len(source.frames) == len(train.fit) + len(train.validation) + len(test) == FRAMES
    scenes = [{frame.scene for frame in part} for part in (train.fit, train.validation, test)]
    assert sum(map(len, scenes)) == len(set.union(*scenes)) == 8
    other = training_frames(source, settings.model_copy(update={"split_seed": 1}))
    assert other.fit != train.fit


def test_lists_name_frames_by_id_or_by_path(own: Path):
    lists = {
        "test": ["# halls", "hall_0000/0000", "rgb/hall_0000/0001.png", ""],
        "validation": ["room_0000/0000", "room_0000/0001"],
        "training": [f"room_000{scene}/000{frame}" for scene in (2, 3, 4) for frame in (0, 1)],
    }
    for name, lines in lists.items():
        (own / f"{name}.txt").write_text("\n".join(lines))
    settings = settings_of(own, **{name: f"{name}.txt" for name in lists})
    source = open_source(settings)
    train = training_frames(source, settings)
    assert settings.test == "official"
    assert [frame.id for frame in train.fit] == lists["training"]
    assert [frame.id for frame in train.validation] == lists["validation"]
    assert [frame.id for frame in scored_frames(source, settings)] == ["hall_0000/0000", "hall_0000/0001"]
    assert list_folder(own, settings.folder).unlisted == FRAMES - 10
    rest = settings_of(own, test="test.txt")
    assert len(open_source(rest).frames) == FRAMES
    assert len(scored_frames(open_source(rest), rest)) == 2


def test_zero_negative_and_nan_are_no_truth_and_nothing_is_mixed(own: Path):
    depth = np.load(depth_of(own))
    depth[:4] = [[0], [-1], [np.nan], [np.inf]]
    np.save(depth_of(own), depth)
    raw = first_frame(own)
    assert not raw.valid[:4].any()
    assert np.array_equal(raw.valid[4:], np.isfinite(depth[4:]))
    assert np.array_equal(raw.depth[raw.valid], depth[raw.valid])
    np.save(depth_of(own), depth[1::2, 1::2])
    half = first_frame(own)
    assert half.depth.shape == SIZE
    assert np.array_equal(half.valid[::2, ::2], np.isfinite(depth[1::2, 1::2]) & (depth[1::2, 1::2] > 0))
    assert np.array_equal(half.depth[::2, ::2], half.depth[1::2, 1::2])


def test_units_and_kinds_of_files(own: Path):
    metres = first_frame(own).depth
    for path in sorted((own / "depth").rglob("*.npy")):
        depth = np.nan_to_num(np.load(path))
        Image.fromarray((depth * 5000).astype(np.uint16)).save(path.with_suffix(".png"))
        path.unlink()
    assert np.abs(first_frame(own, unit="tum").depth - metres).max() <= 1 / 5000
    with pytest.raises(ValueError, match=r"median depth is .*numbers in mm; data\.folder\.unit=.*tum") as caught:
        first_frame(own)
    assert "expected 0.1 .. 10 m" in str(caught.value)


def test_the_camera_follows_the_size_of_frames(own: Path):
    camera = {"frame": [120, 192], "fx": 100.0, "fy": 110.0, "cx": 95.5, "cy": 59.5}
    assert first_frame(own).intrinsics is None
    assert first_frame(own, intrinsics=camera).intrinsics == Intrinsics(50.0, 55.0, 47.5, 29.5)
    assert first_frame(own, intrinsics={**camera, "frame": [192, 192]}).intrinsics is None
    with pytest.raises(ValueError, match="expected a place within a frame of 120x192"):
        settings_of(own, intrinsics={**camera, "cx": 192.0})


def test_other_photographs_are_converted_and_other_names_left_alone(own: Path):
    grey = np.asarray(Image.open(image_of(own)).convert("L"))
    Image.fromarray(grey).save(image_of(own))
    (own / "rgb/hall_0000/.hidden.png").write_bytes(b"")
    (own / "rgb/hall_0000/notes.txt").write_text("of the day")
    (own / "rgb/loop").symlink_to(own / "rgb")
    raw = first_frame(own)
    assert np.array_equal(raw.image, np.repeat(grey[..., None], 3, axis=2))


def test_image_and_depth_may_lie_side_by_side(own: Path, tmp_path: Path):
    for image in sorted((own / "rgb").rglob("*.png")):
        scene, number = image.parent.name, image.stem
        Image.open(image).save(tmp_path / f"{scene}_{number}.png")
        depth = np.nan_to_num(np.load(depth_of(own, f"{scene}/{number}")))
        Image.fromarray((depth * 1000).astype(np.uint16)).save(tmp_path / f"{scene}_{number}_depth.png")
    shutil.rmtree(own)
    source = open_source(settings_of(tmp_path, images="*.png", depth="*_depth.png", scene=r"(\w+_\d+)_\d+"))
    assert len(source.frames) == FRAMES
    assert {frame.scene for frame in source.frames} == {*(f"room_000{n}" for n in range(6)), "hall_0000", "hall_0001"}


def test_training_reads_no_test_frame_and_processes_get_a_copy(own: Path):
    settings = settings_of(own)
    source = open_source(settings)
    for frame in scored_frames(source, settings):
        image_of(own, frame.id).write_bytes(b"nothing to see")
        depth_of(own, frame.id).write_bytes(b"nothing to see")
    again = pickle.loads(pickle.dumps(open_source(settings)))
    train = training_frames(again, settings)
    assert all(again.read(frame).valid.any() for frame in (*train.fit, *train.validation))
    with pytest.raises(ValueError, match=f"{scored_frames(source, settings)[0].id}.png"):
        again.read(scored_frames(source, settings)[0])


def test_the_section_of_own_files_names_the_kind(own: Path, tmp_path: Path):
    config = tmp_path / "own.yaml"
    config.write_text("data: {size: [40, 64], folder: {depth: 'depth/**.npy'}}")
    assert data_settings(Choice(config=config, root=own)).kind == "folder"
    assert data_settings(Choice(root=own, assignments=("data.folder.unit=m",))).kind == "folder"
    assert data_settings(Choice(root=own)).kind == "nyu"
    assert "folder" not in data_settings(Choice(kind="rooms")).model_dump()


@pytest.mark.parametrize(("unit", "kept"), [(5000, "5000"), ("5000", "5000"), (5000.0, "5000"), (6553.5, "6553.5")])
def test_a_unit_is_a_name_or_a_number_in_quotes_or_without(own: Path, unit: object, kept: str):
    assert settings_of(own, unit=unit).folder.unit == kept
    for wrong, message in ((True, "valid string"), (-5, "more than 0"), (0, "more than 0"), ([5000], "valid string")):
        with pytest.raises(ValueError, match=message):
            FolderSettings.model_validate({"unit": wrong})


def test_a_unit_as_a_number_is_obeyed_from_the_command_line(own: Path):
    for path in (own / "depth").rglob("*.npy"):
        np.save(path, np.load(path) * np.float32(5000))
    answer, found = ask(own, "--set", "data.folder.unit=5000")
    assert answer.status == 0, found["findings"]


def test_the_fingerprint_knows_files_and_units(own: Path):
    source = open_source(settings_of(own))
    before = source.describe(source.frames)
    assert open_source(settings_of(own, unit="1.25")).describe(source.frames) != before
    np.save(depth_of(own), np.load(depth_of(own)).astype(np.float64))
    assert source.describe(source.frames) != before


def test_a_near_frame_of_a_coarse_unit_is_read(own: Path):
    for path in sorted((own / "depth").rglob("*.npy")):
        centimetres = np.nan_to_num(np.load(path) * 100)
        near = centimetres.clip(0, 204) if path == depth_of(own) else centimetres
        Image.fromarray(near.astype(np.uint16)).save(path.with_suffix(".png"))
        path.unlink()
    source = from_settings(settings_of(own, unit="vkitti"))
    frame = next(frame for frame in source.frames if frame.id == FIRST)
    assert source.read(frame).depth.max() == np.float32(2.04)
    with pytest.raises(ValueError, match="found values of at most 204: 8-bit values in a 16-bit file, or metres"):
        from_settings(settings_of(own))


def scaled(root: Path, factor: float) -> None:
    for path in (root / "depth").rglob("*.npy"):
        np.save(path, np.load(path) * np.float32(factor))


def lists(root: Path, **names: str) -> None:
    for name, text in names.items():
        (root / f"{name}.txt").write_text(text)


Break = Callable[[Path], object]
FAULTS: dict[str, tuple[Break, dict[str, str], str]] = {
    "no depth": (lambda root: depth_of(root).unlink(), {}, f"rgb/{FIRST}.png has no depth map by depth/**"),
    "no image": (lambda root: image_of(root).unlink(), {}, f"depth/{FIRST}.npy has no image by rgb/**"),
    "two images": (
        lambda root: shutil.copy(image_of(root), image_of(root).with_suffix(".jpg")),
        {},
        f"rgb/{FIRST}.jpg and rgb/{FIRST}.png",
    ),
    "no folder": (lambda root: (root / "rgb").rename(root / "images"), {}, "there is no folder"),
    "no such files": (lambda _: None, {"images": "rgb/*/*.jpeg"}, "rgb/*/*.jpeg matches nothing; found 16 files"),
    "no kind that is read": (lambda _: None, {"depth": "rgb/*/0*.png", "images": "depth/*/0*.npy"}, "of no kind"),
    "names apart": (lambda _: None, {"images": "rgb/room_*/*.png"}, "go together: the stars of data.folder.images"),
    "no scene": (lambda _: None, {"scene": r"kitchen_\d+"}, "matches nothing in them"),
    "no folders": (lambda _: None, {"images": "rgb/room_0001/*.png", "depth": "depth/room_0001/*.npy"}, "lie in none"),
    "unknown id": (lambda root: lists(root, t="room_0001/7"), {"test": "t.txt"}, "t.txt, line 1: 'room_0001/7' is no"),
    "twice": (lambda root: lists(root, t=f"{FIRST}\n{FIRST}"), {"test": "t.txt"}, "line 2: hall_0000/0000 stands in"),
    "empty list": (lambda root: lists(root, t="# none"), {"test": "t.txt"}, "names no frame"),
    "no list": (lambda _: None, {"training": "t.txt"}, "expected a text file with an id in each line"),
    "one scene on two sides": (lambda root: lists(root, t=FIRST), {"test": "t.txt"}, "(first: hall_0000)"),
    "turned depth": (
        lambda root: np.save(depth_of(root), np.load(depth_of(root)).T),
        {},
        f"depth/{FIRST}.npy: 96x60 pixels have another shape than the image, 60x96",
    ),
    "empty depth": (lambda root: np.save(depth_of(root), np.zeros(SIZE, np.float32)), {}, "has depth above zero"),
    "millimetres": (lambda root: scaled(root, 1000), {}, "data.folder.unit=mm would fit"),
    "metres that are said to be millimetres": (lambda _: None, {"unit": "mm"}, "data.folder.unit=m would fit"),
    "depth for an image": (
        lambda root: Image.fromarray(np.full(SIZE, 2000, np.uint16)).save(image_of(root)),
        {},
        f"rgb/{FIRST}.png: found mode 'I;16', more than 8 bits",
    ),
    "another shape": (
        lambda root: Image.open(image_of(root)).resize((60, 96)).save(image_of(root)),
        {},
        "96x60 pixels would be squeezed into data.size 40x64; data.size=[80,48] would fit",
    ),
    "cut short": (
        lambda root: image_of(root).write_bytes(image_of(root).read_bytes()[:-20]),
        {},
        f"rgb/{FIRST}.png: damaged or cut short",
    ),
    "nothing in a file": (lambda root: depth_of(root).write_bytes(b""), {}, f"depth/{FIRST}.npy"),
    "a link to nothing": (
        lambda root: (image_of(root).unlink(), image_of(root).symlink_to("gone.png")),
        {},
        f"rgb/{FIRST}.png",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_are_named_by_the_doctor_and_before_training(fault: str, own: Path, tmp_path: Path):
    break_it, folder, message = FAULTS[fault]
    break_it(own)
    config = tmp_path / "own.yaml"
    config.write_text(experiment(root=str(own), folder=folder), encoding="utf-8")
    looked = call("data", "doctor", own, "--config", config, "--full", COLUMNS="400")
    assert looked.status == 1
    assert message in looked.out
    assert "NYU" not in looked.out
    refused = call("base", "train", "bts", "--config", config, "--cache-dir", tmp_path / "cache")
    assert refused.status in (1, 2)
    assert message in refused.err
    assert "NYU" not in refused.err
    assert not (tmp_path / "cache").exists()
    again = call(refused.advised[0], *refused.advised[1:], COLUMNS="400")
    assert again.status == 1
    assert message in again.out


def ask(root: Path, *words: object) -> tuple[Answer, dict]:
    answer = call("data", "doctor", root, "--data", "folder", "--set", "data.size=[60,96]", "--json", *words)
    return answer, json.loads(answer.out)


def test_the_doctor_counts_what_there_is(own: Path):
    answer, found = ask(own)
    assert (answer.status, found["copy"], found["trainable"]) == (0, "folder", True)
    splits = found["splits"]
    assert {name: (part["frames"], part["scenes"]) for name, part in splits.items()} == {
        "training": (10, 5),
        "validation": (2, 1),
        "test": (4, 2),
    }
    training = splits["training"]
    assert training["sizes"] == [list(SIZE)]
    quantiles = [*training["quantiles"].values()]
    assert [training["nearest"], *quantiles, training["farthest"]] == sorted(
        [training["nearest"], *quantiles, training["farthest"]]
    )
    assert 0 < training["holes"] < 0.2
    told = done("data", "doctor", own, "--data", "folder", "--set", "data.size=[60,96]").out
    lines = told.splitlines()
    assert lines[-1] == f"python -m ensemble.base train adabins --data folder --root {own} --set 'data.size=[60,96]'"
    assert any(line.split() == ["95", "%", "depth", *line.split()[3:]] for line in lines)


def test_negative_numbers_are_holes_only_if_they_are_one_number(own: Path):
    for path in sorted((own / "depth").rglob("*.npy")):
        np.save(path, np.where(np.load(path) > 0, np.load(path), np.float32(-1)))
    assert ask(own)[0].status == 0
    for path in sorted((own / "depth").rglob("*.npy")):
        np.save(path, np.log(np.load(path).clip(0.5) / 2))
    answer, found = ask(own)
    errors = [finding["text"] for finding in found["findings"] if finding["level"] == "error"]
    assert answer.status == 1
    assert any(
        "of its pixels are negative, down to -1.39, as those of the logarithm of depth are" in each for each in errors
    )
    with pytest.raises(ValueError, match="pixels are negative"):
        open_source(settings_of(own))


def test_the_doctor_says_what_is_worth_knowing(own: Path):
    for path in sorted((own / "depth/room_0002").iterdir()):
        np.save(path, np.load(path) + np.float32(8))
    Image.open(image_of(own)).resize((48, 30)).save(image_of(own))
    assert training_frames(open_source(settings_of(own)), settings_of(own)).fit[0].id == FIRST
    shutil.copy(image_of(own, "room_0003/0000"), image_of(own, "room_0004/0000"))
    answer, found = ask(own)
    notes = " | ".join(finding["text"] for finding in found["findings"] if finding["level"] == "note")
    assert answer.status == 0, notes
    assert "of the measurements are 10 m or farther and will not be used" in notes
    assert "2 different sizes" in notes
    assert f"depth of 60x96 is brought to the size of its image, 30x48, by nearest neighbour (first: {own}" in notes
    assert "1 image occurs under several names" in notes
    other, found = ask(own, "--set", "data.size=[60,88]")
    assert other.status == 0
    assert any("squeezed by 8%" in finding["text"] for finding in found["findings"])
    far, found = ask(own, "--set", "data.max_depth=80")
    assert far.status == 0
    assert any("expected about data.max_depth, 80 m" in finding["text"] for finding in found["findings"])


def test_an_image_on_both_sides_of_the_division_is_a_leak(own: Path):
    shutil.copy(image_of(own, "room_0003/0000"), image_of(own, "hall_0000/0000"))
    lists(own, t="\n".join(f"hall_000{scene}/000{frame}" for scene in (0, 1) for frame in (0, 1)))
    answer, found = ask(own, "--set", "data.folder.test=t.txt")
    assert answer.status == 1
    assert any("1 image stands in several splits" in finding["text"] for finding in found["findings"])


def test_packs_and_a_missing_folder_say_so(own: Path, tmp_path: Path):
    packed = call("data", "pack", own, tmp_path / "pack")
    assert packed.status == 1
    assert "Images and depth maps of your own: add --data folder, which packs do not hold" in packed.err
    nowhere = call("base", "train", "bts", "--data", "folder", "--cache-dir", tmp_path / "cache")
    assert "data.root: expected the folder of own data in --root or FOLDER_ROOT, found none" in nowhere.err
    with pytest.raises(ValueError, match=r"data\.kind=folder: expected the folder of own data in data\.root"):
        from_settings(DataSettings(kind="folder"))
    gone = call("data", "doctor", tmp_path / "gone", "--data", "folder")
    assert (gone.status, "expected the folder of own data, found nothing" in gone.out) == (1, True)
    rooms = call("data", "doctor", own, "--data", "rooms")
    assert (rooms.status, "expected data.kind folder or kitti or nyu, found rooms" in rooms.err) == (2, True)


def test_official_tests_want_a_list(own: Path):
    with pytest.raises(ValueError, match=r"expected a list of test frames in folder\.test, found none"):
        DataSettings(kind="folder", root=own, test="official")


@pytest.mark.parametrize(
    "setting",
    [
        "training=../list.txt",
        "training=/dev/zero",
        "test=~/list.txt",
        'validation="a\\0b"',
        'images="rgb\\0/**.png"',
        f"images={300 * 'x'}/*.png",
        'scene="a{99999999999}"',
        f"scene='{1500 * '('}{1500 * ')'}'",
        "scene='[[a]b'",
    ],
)
def test_settings_that_lead_out_or_cannot_be_meant_are_refused_by_name(setting: str, own: Path):
    answer = call("data", "doctor", own, "--data", "folder", "--set", f"data.folder.{setting}")
    assert answer.status == 2
    assert f"data.folder.{setting.partition('=')[0]}" in answer.err.replace("data.folder: ", "data.folder.")


def test_a_root_that_no_folder_can_be_called_is_refused():
    assert call("base", "train", "bts", "--data", "folder", "--set", 'data.root="a\\0b"').status == 2


@pytest.mark.parametrize("of", [image_of, depth_of])
@pytest.mark.parametrize("kind", ["pipe", "device", "link to itself"])
def test_a_file_without_an_end_is_named_and_not_waited_for(kind: str, of: Callable[[Path], Path], own: Path):
    path = of(own)
    path.unlink()
    if kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/zero" if kind == "device" else path.name)
    answer = call(
        "data", "doctor", own, "--data", "folder", "--set", "data.size=[40,64]", "--full", "--workers", 1, COLUMNS="400"
    )
    assert answer.status == 1
    assert f"files that cannot be used: 1 (first: {path}" in answer.out


@pytest.mark.parametrize("kind", ["pipe", "large"])
def test_a_list_without_an_end_is_named_and_not_waited_for(kind: str, own: Path):
    path = own / "list.txt"
    if kind == "pipe":
        os.mkfifo(path)
    else:
        path.touch()
        os.truncate(path, 1 << 40)
    (problem,) = list_folder(own, FolderSettings(training="list.txt")).problems
    assert problem.text.startswith(f"{path}: expected a text file with an id in each line ({path}: found ")


def test_a_list_of_something_else_is_told_in_few_lines(own: Path):
    (own / "list.txt").write_text(1000 * f"{'x' * 1000}\n")
    problems = list_folder(own, FolderSettings(training="list.txt")).problems
    assert len(problems) == 5
    assert all(len(problem.text) < 400 for problem in problems)
    assert "996 further lines" in problems[-1].text


@pytest.mark.parametrize("name", ["scene", "images"])
def test_a_rule_that_does_not_come_to_an_end_is_left(name: str, own: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(scenes, "PATIENCE", 0.2)
    long = f"rgb/{200 * 'a'}.png"
    Image.new("RGB", (64, 40)).save(own / long)
    np.save(own / f"depth/{200 * 'a'}.npy", np.ones((40, 64), np.float32))
    rule = {"scene": "(a+)+X"} if name == "scene" else {"images": f"rgb/{20 * '*a'}X.png"}
    with pytest.raises(SettingsError, match=rf"^data\.folder\.{name}.* were not enough to look at the names of files"):
        list_folder(own, FolderSettings.model_validate(rule))


def test_links_that_lead_to_each_other_have_an_end(own: Path):
    for name, other in (("a", "b"), ("b", "a")):
        (own / f"rgb/{name}").mkdir()
        for number in range(4):
            (own / f"rgb/{name}/{number}").symlink_to(own / f"rgb/{other}")
    assert len(list_folder(own, FolderSettings()).entries) == FRAMES


def test_a_name_of_two_lines_is_not_passed_over(own: Path):
    image_of(own).rename(own / "rgb/hall_0000/a\nb.png")
    depth_of(own).rename(own / "depth/hall_0000/a\nb.npy")
    (problem,) = list_folder(own, FolderSettings()).problems
    assert "expected a printable name" in problem.text


@pytest.mark.parametrize("size", [(60, 96), (96, 60), (480, 640), (375, 1242), (720, 1280), (100, 100), (500, 40)])
@pytest.mark.parametrize("asked", [(48, 64), (240, 320), (416, 544)])
def test_the_size_that_is_advised_fits(size: tuple[int, int], asked: tuple[int, int]):
    height, width = json.loads(fitting_size(size, asked).removeprefix("data.size="))
    assert abs(size[0] * width / (size[1] * height) - 1) <= SQUEEZED
    assert 0.4 < height * width / (asked[0] * asked[1]) < 2.5 or 32 in (height, width)
    assert height % 16 == width % 16 == 0
    assert min(height, width) >= 32
