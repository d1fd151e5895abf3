"""Folds of the scenes to fit: none is cut, all are about equal, one file says it for all; RELIABILITY row 14."""

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.model_selection import GroupKFold

from ensemble.data.division import scene_log_depths
from ensemble.data.folds import Folds, divide_into_folds, folds_of_experiment, read_folds
from ensemble.data.held_out import test_frames as frames_to_score
from ensemble.data.nyu.recognition import open_nyu
from ensemble.data.source import Frame, RawFrame
from ensemble.data.splits import scene_of_folder, training_frames
from ensemble.settings.schema import DataSettings


@dataclass(frozen=True)
class ListedSource:
    frames: tuple[Frame, ...]
    name: str = "listed"

    def read(self, frame: Frame) -> RawFrame:
        raise AssertionError(f"dividing frames reads none, not even {frame.id}")

    read_image = read

    def describe(self, frames: Sequence[Frame]) -> str:
        return str(len(frames))


def frames_of(sizes: Sequence[int], kind: str = "room") -> tuple[Frame, ...]:
    scenes = ((f"{kind}_{scene:04d}", size) for scene, size in enumerate(sizes))
    return tuple(Frame(f"{scene}/{index:04d}", scene, "train") for scene, size in scenes for index in range(size))


@given(
    sizes=st.lists(st.integers(1, 40), min_size=2, max_size=30),
    count=st.integers(2, 8),
    shuffle=st.randoms(use_true_random=False),
)
def test_no_fold_cuts_a_scene_and_every_frame_is_left_out_once(sizes, count, shuffle):
    frames = list(frames_of(sizes))
    folds = divide_into_folds(frames, count)
    assert folds.count == min(count, len(sizes))
    assert set(folds.fold_of.values()) == set(range(folds.count))
    left_out: Counter[str] = Counter()
    for fold in range(folds.count):
        seen, unseen = folds.fitted_by(fold, frames), folds.left_out_by(fold, frames)
        assert unseen
        assert seen
        assert not {frame.scene for frame in seen} & {frame.scene for frame in unseen}
        assert {*seen, *unseen} == set(frames)
        left_out.update(frame.id for frame in unseen)
    assert left_out == {frame.id: 1 for frame in frames}
    assert folds.fitted_by(None, frames) == tuple(frames)
    shuffle.shuffle(frames)
    assert divide_into_folds(frames, count).text == folds.text, "the order of files does not matter"


@given(sizes=st.lists(st.integers(1, 60), min_size=6, max_size=40), count=st.integers(2, 5))
def test_folds_are_balanced_by_frames(sizes, count):
    frames = frames_of(sizes)
    folds = divide_into_folds(frames, count)
    found = [len(folds.left_out_by(fold, frames)) for fold in range(count)]
    assert max(found) - min(found) <= max(sizes), "the largest scene left goes to the smallest fold"
    ordered = sorted(frames, key=lambda frame: frame.id)
    groups = [frame.scene for frame in ordered]
    theirs = [{groups[index] for index in test} for _, test in GroupKFold(count).split(groups, groups=groups)]
    assert [{scene for scene, own in folds.fold_of.items() if own == fold} for fold in range(count)] == theirs


@given(
    scenes=st.lists(st.tuples(st.integers(1, 30), st.floats(-1, 2)), min_size=2, max_size=40),
    count=st.integers(2, 6),
    shuffle=st.randoms(use_true_random=False),
)
def test_scenes_are_exchanged_until_folds_are_alike_in_frames_and_in_depth(scenes, count, shuffle):
    frames = list(frames_of([size for size, _ in scenes]))
    depths = {f"room_{index:04d}": depth for index, (_, depth) in enumerate(scenes)}
    plain, found = divide_into_folds(frames, count), divide_into_folds(frames, count, depths)
    assert found.count == plain.count
    assert set(found.fold_of.values()) == set(range(found.count))
    assert sorted(found.fold_of) == sorted(depths)
    assert apart(found, frames, depths) <= apart(plain, frames, depths) + 1e-12
    shuffle.shuffle(frames)
    assert divide_into_folds(frames, count, depths).text == found.text


def apart(folds: Folds, frames: Sequence[Frame], depths: dict[str, float]) -> float:
    """Squared distances of folds from the mean, in their shares of the frames and in mean log depth."""
    overall = sum(depths[frame.scene] for frame in frames) / len(frames)
    found = 0.0
    for fold in range(folds.count):
        own = [depths[frame.scene] for frame in folds.left_out_by(fold, frames)]
        found += (folds.count * len(own) / len(frames) - 1) ** 2 + (sum(own) / len(own) - overall) ** 2
    return found


def test_a_deep_fold_becomes_like_the_rest():
    """Scenes as those of NYU Depth v2: many of few frames; by frames alone a fold would be as deep as it happens."""
    rng = np.random.default_rng(0)
    sizes = rng.geometric(0.3, 160).tolist()
    frames, logs = frames_of(sizes), rng.normal(0.9, 0.35, 160)
    depths = {f"room_{index:04d}": float(each) for index, each in enumerate(logs)}

    def spread(folds: Folds) -> tuple[float, int]:
        own = [[depths[frame.scene] for frame in folds.left_out_by(fold, frames)] for fold in range(5)]
        means, counts = [np.mean(each) for each in own], [len(each) for each in own]
        return float(max(means) - min(means)), max(counts) - min(counts)

    before, after = spread(divide_into_folds(frames, 5)), spread(divide_into_folds(frames, 5, depths))
    assert before[0] > 0.05
    assert after[0] < 0.002
    assert after[1] <= 1


def test_depth_of_scenes_is_read_from_what_was_measured_within_the_range():
    depths = {
        "a/0": [1.0, np.e, np.nan, 50.0],
        "a/1": [np.e**3] * 4,
        "b/0": [np.nan, 0.0, 99.0, -1.0],
        "c/0": [1.0] * 4,
    }

    @dataclass(frozen=True)
    class Measured(ListedSource):
        def read(self, frame: Frame) -> RawFrame:
            depth = np.array([depths[frame.id]], dtype=np.float32)
            return RawFrame(np.zeros((1, 4, 3), dtype=np.uint8), depth, np.isfinite(depth))

    frames = tuple(Frame(name, name[0], "train") for name in depths)
    found = scene_log_depths(Measured(frames), frames, DataSettings(min_depth=1e-3, max_depth=25.0))
    assert found == pytest.approx({"a": (0.5 + 3) / 2, "c": 0.0, "b": (1.75 + 0) / 2})


def test_folds_that_are_decided_are_not_decided_again_and_no_frame_is_read(tmp_path: Path):
    frames, asked = frames_of([3, 3, 2, 2, 1]), []

    def depths() -> dict[str, float]:
        asked.append(1)
        return {f"room_{index:04d}": float(index) for index in range(5)}

    first = folds_of_experiment(tmp_path / "folds.json", frames, 2, depths)
    assert folds_of_experiment(tmp_path / "folds.json", frames, 2, depths).text == first.text
    assert asked == [1]


def test_with_fewer_scenes_than_folds_every_scene_is_a_fold():
    frames = frames_of([3, 2, 1])
    folds = divide_into_folds(frames, 5)
    assert folds.count == 3
    assert sorted(folds.fold_of.values()) == [0, 1, 2]
    with pytest.raises(ValueError, match="fold 3: expected 0 to 2"):
        folds.left_out_by(3, frames)
    with pytest.raises(ValueError, match="fold -1: expected 0 to 2"):
        folds.fitted_by(-1, frames)


def test_one_scene_can_be_fitted_but_not_left_out():
    frames = frames_of([4])
    folds = divide_into_folds(frames, 5)
    assert folds.fitted_by(None, frames) == frames
    for look in (folds.fitted_by, folds.left_out_by):
        with pytest.raises(ValueError, match=r"all frames to fit are of one scene.*give more scenes"):
            look(0, frames)


def test_the_file_is_written_once_and_its_fingerprint_is_that_of_its_bytes(tmp_path: Path):
    path, frames = tmp_path / "runs/tiny/folds.json", frames_of([5, 3, 3, 2, 2, 1])
    folds = folds_of_experiment(path, frames, 3)
    written = path.read_bytes()
    assert folds.fingerprint == hashlib.sha256(written).hexdigest()
    assert json.loads(written)["fold_of"] == dict(divide_into_folds(frames, 3).fold_of)
    before = path.stat().st_mtime_ns
    assert folds_of_experiment(path, frames[::-1], 3).fingerprint == folds.fingerprint
    assert read_folds(path).fingerprint == folds.fingerprint
    assert path.stat().st_mtime_ns == before


def test_what_stands_in_the_file_holds_even_where_it_would_be_divided_otherwise_now(tmp_path: Path):
    path, frames = tmp_path / "folds.json", frames_of([2, 2, 2, 2])
    other = {"room_0000": 1, "room_0001": 1, "room_0002": 0, "room_0003": 1}
    path.write_text(Folds(2, other).text, encoding="utf-8")
    assert divide_into_folds(frames, 2).fold_of != other
    folds = folds_of_experiment(path, frames, 2)
    assert dict(folds.fold_of) == other
    assert folds.fingerprint != divide_into_folds(frames, 2).fingerprint


def test_a_scene_that_moves_to_another_fold_changes_the_fingerprint():
    folds = Folds(2, {"a": 0, "b": 1, "c": 1})
    assert folds.fingerprint != Folds(2, {"a": 0, "b": 0, "c": 1}).fingerprint
    assert folds.fingerprint == Folds(2, {"c": 1, "b": 1, "a": 0}).fingerprint


@pytest.mark.parametrize(
    ("sizes", "kind", "count", "found", "expected"),
    [
        ([2, 2, 2, 2], "room", 3, "2 folds", r"3 \(data.folds\)"),
        ([2, 2, 2, 2, 2], "room", 2, "4 scenes", r"5 scenes \(first difference: room_0004\)"),
        ([2, 2, 2], "room", 2, "4 scenes", r"3 scenes \(first difference: room_0003\)"),
        ([2, 2, 2, 2], "hall", 2, "4 scenes", r"4 scenes \(first difference: hall_0000\)"),
    ],
)
def test_other_scenes_and_another_number_of_folds_are_refused(
    tmp_path: Path, sizes: list[int], kind: str, count: int, found: str, expected: str
):
    path = tmp_path / "folds.json"
    folds_of_experiment(path, frames_of([2, 2, 2, 2]), 2)
    before = path.read_bytes()
    with pytest.raises(ValueError, match=f"divided otherwise: found {found}, expected {expected}") as stop:
        folds_of_experiment(path, frames_of(sizes, kind), count)
    assert str(path) in str(stop.value)
    assert "--experiment NAME" in str(stop.value)
    assert path.read_bytes() == before


GOOD = {"schema": 1, "folds": 2, "fold_of": {"a": 0, "b": 1}}


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (json.dumps(GOOD)[:-9], "expected scenes and their folds"),
        ("", "expected scenes and their folds"),
        ("[]", "expected scenes and their folds"),
        (json.dumps({**GOOD, "more": 1}), "expected scenes and their folds"),
        (json.dumps({**GOOD, "fold_of": {"a": "0", "b": 1}}), "expected scenes and their folds"),
        (json.dumps({**GOOD, "fold_of": {"a": 0.5, "b": 1}}), "expected scenes and their folds"),
        (json.dumps({**GOOD, "folds": 0}), "expected scenes and their folds"),
        (json.dumps({**GOOD, "schema": 2}), "schema 2 found, 1 expected"),
        (json.dumps({**GOOD, "fold_of": {"a": 0, "b": 0}}), "expected folds 0 to 1, each with a scene"),
        (json.dumps({**GOOD, "fold_of": {"a": 0, "b": 1, "c": 2}}), "expected folds 0 to 1, each with a scene"),
        (json.dumps({**GOOD, "fold_of": {"a": -1, "b": 1}}), "expected folds 0 to 1, each with a scene"),
    ],
)
def test_a_damaged_file_is_refused_by_name_and_left_alone(tmp_path: Path, content: str, told: str):
    path = tmp_path / "folds.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(ValueError, match=told) as stop:
        folds_of_experiment(path, frames_of([2, 2]), 2)
    assert str(path) in str(stop.value)
    assert "remove it, and train every run of this experiment again" in str(stop.value)
    assert path.read_text(encoding="utf-8") == content


def test_bytes_that_are_no_text_are_refused(tmp_path: Path):
    path = tmp_path / "folds.json"
    path.write_bytes(b"\xff\xfe\x00{")
    with pytest.raises(ValueError, match="expected scenes and their folds"):
        read_folds(path)


def test_a_file_that_is_not_there_is_not_asked_to_be_removed(tmp_path: Path):
    with pytest.raises(ValueError, match=r"no folds were decided yet; .*\nRun: python -m x --folds 3") as stop:
        read_folds(tmp_path / "folds.json", decide="python -m x --folds 3")
    assert "remove" not in str(stop.value)


FOLDERS = st.lists(
    st.tuples(st.sampled_from(["kitchen", "living_room", "study"]), st.integers(1, 12), st.sampled_from(["", *"abc"])),
    min_size=12,
    max_size=40,
    unique=True,
).filter(lambda folders: len({folder[:2] for folder in folders}) >= 6)


@given(
    folders=FOLDERS,
    frames=st.integers(1, 5),
    count=st.integers(2, 5),
    test=st.sampled_from(["held-out", "official"]),
)
def test_no_scene_stands_on_two_sides_of_any_fold_of_any_seed(folders, frames, count, test):
    """Training, out-of-fold, validation and test frames over the letters of folders that are parts of one recording."""
    listed = tuple(
        Frame(f"{folder}/rgb_{index:05d}", scene_of_folder(folder), "train")
        for kind, number, letter in folders
        for folder in (f"{kind}_{number:04d}{letter}",)
        for index in range(frames)
    )
    own_tests = tuple(Frame(f"bathroom_0001/rgb_{index:05d}", "bathroom_0001", "test") for index in range(3))
    source = ListedSource(listed + own_tests)
    overlaps, tested_in_training = 0, 0
    for seed in range(4):
        wanted = DataSettings(test=test, test_fraction=0.2, validation_fraction=0.2, split_seed=seed)
        parts, tested = training_frames(source, wanted), frames_to_score(source, wanted)
        folds = divide_into_folds(parts.fit, count)
        for fold in range(folds.count):
            seen, unseen = folds.fitted_by(fold, parts.fit), folds.left_out_by(fold, parts.fit)
            sides = [_recordings(side) for side in (seen, unseen, parts.validation, tested)]
            overlaps += sum(map(len, sides)) - len(set().union(*sides))
            tested_in_training += len(set(tested) & {*seen, *unseen, *parts.validation})
    assert (overlaps, tested_in_training) == (0, 0)


def test_the_letter_of_a_folder_does_not_divide_a_recording():
    """Without the letter's trap, ``a`` and ``b`` of one kitchen would fall into two folds: they do as plain folders."""
    folders = [f"kitchen_00{number}{letter}" for number in (28, 31, 35, 41) for letter in "ab"]
    trapped = [Frame(f"{folder}/rgb_{index}", folder, "train") for folder in folders for index in range(3)]
    folds = divide_into_folds(trapped, 2)
    assert any(folds.fold_of[f"kitchen_00{number}a"] != folds.fold_of[f"kitchen_00{number}b"] for number in (28, 31))
    frames = [Frame(frame.id, scene_of_folder(frame.scene), "train") for frame in trapped]
    folds = divide_into_folds(frames, 2)
    assert sorted(folds.fold_of) == ["kitchen_0028", "kitchen_0031", "kitchen_0035", "kitchen_0041"]
    for fold in (0, 1):
        assert not _recordings(folds.fitted_by(fold, frames)) & _recordings(folds.left_out_by(fold, frames))


def test_both_parts_of_a_kitchen_on_disk_are_one_scene(tmp_path: Path):
    for folder in ("kitchen_0028a", "kitchen_0028b", "bathroom_0011", "study_0004"):
        place = tmp_path / "official_splits/train" / folder
        place.mkdir(parents=True)
        for name in ("rgb_00001.jpg", "sync_depth_00001.png"):
            (place / name).write_bytes(b"listed, never read")
    frames = [frame for frame in open_nyu(tmp_path).frames if frame.split == "train"]
    assert len(frames) == 4
    folds = divide_into_folds(frames, 5)
    assert (folds.count, set(folds.fold_of)) == (3, {"kitchen_0028", "bathroom_0011", "study_0004"})
    left_out = [{frame.id.partition("/")[0] for frame in folds.left_out_by(fold, frames)} for fold in range(3)]
    assert {"kitchen_0028a", "kitchen_0028b"} in left_out


def _recordings(frames: Sequence[Frame]) -> set[str]:
    """What their ids say, independently of ``scene``: the folder without the letter of its part."""
    return {frame.id.partition("/")[0].rstrip("abc") for frame in frames}
