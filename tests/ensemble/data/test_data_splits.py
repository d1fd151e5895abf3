"""Splits by scene: no scene on two sides, whatever the scenes' sizes; RELIABILITY row 14."""

from collections.abc import Sequence
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ensemble.data.held_out import test_frames as frames_to_score
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


def source_with(sizes: Sequence[int], test_sizes: Sequence[int] = ()) -> ListedSource:
    return ListedSource(
        tuple(
            Frame(f"{kind}_{scene:04d}/{index:05d}", f"{kind}_{scene:04d}", split)
            for kind, split, counts in (("room", "train", sizes), ("hall", "test", test_sizes))
            for scene, count in enumerate(counts)
            for index in range(count)
        )
    )


def scenes(frames: Sequence[Frame]) -> set[str]:
    return {frame.scene for frame in frames}


@given(
    sizes=st.lists(st.integers(1, 60), min_size=3, max_size=40),
    test_fraction=st.floats(0.01, 0.99),
    validation_fraction=st.floats(0.01, 0.9),
    seed=st.integers(0, 1000),
    shuffle=st.randoms(use_true_random=False),
)
@settings(max_examples=150, deadline=None)
def test_every_frame_is_on_one_side_and_no_scene_on_two(sizes, test_fraction, validation_fraction, seed, shuffle):
    wanted = DataSettings(
        test="held-out", test_fraction=test_fraction, validation_fraction=validation_fraction, split_seed=seed
    )
    source = source_with(sizes)
    training, test = training_frames(source, wanted), frames_to_score(source, wanted)
    sides = [scenes(training.fit), scenes(training.validation), scenes(test)]
    assert all(sides)
    assert sum(map(len, sides)) == len(set().union(*sides)) == len(sizes)
    together = (*training.fit, *training.validation, *test)
    assert sorted(frame.id for frame in together) == sorted(frame.id for frame in source.frames)

    listed = list(source.frames)
    shuffle.shuffle(listed)
    again = ListedSource(tuple(listed))
    assert training_frames(again, wanted) == training, "the order of files does not matter"
    assert frames_to_score(again, wanted) == test


@pytest.mark.parametrize("seed", range(5))
def test_shares_are_of_frames_although_scenes_differ_in_size(seed):
    sizes = [1, 2, 3, 5, 8, 13, 21, 34, 55] * 6
    wanted = DataSettings(test="held-out", test_fraction=0.2, validation_fraction=0.1, split_seed=seed)
    source = source_with(sizes)
    training, test = training_frames(source, wanted), frames_to_score(source, wanted)
    assert len(test) / len(source.frames) == pytest.approx(0.2, abs=0.01)
    rest = len(source.frames) - len(test)
    assert len(training.validation) / rest == pytest.approx(0.1, abs=0.01)


def test_another_seed_divides_otherwise():
    source = source_with([5] * 30)
    divisions = {frames_to_score(source, DataSettings(test="held-out", split_seed=seed)) for seed in range(8)}
    assert len(divisions) == 8


def test_a_giant_scene_does_not_become_the_test_split():
    source = source_with([1000, *[5] * 20])
    for seed in range(20):
        test = frames_to_score(source, DataSettings(test="held-out", test_fraction=0.05, split_seed=seed))
        assert "room_0000" not in scenes(test)


def test_official_test_frames_are_the_test_split():
    source = source_with([5] * 10, [3, 4])
    wanted = DataSettings(test="official")
    assert scenes(frames_to_score(source, wanted)) == {"hall_0000", "hall_0001"}
    training = training_frames(source, wanted)
    assert len(training.fit) + len(training.validation) == 50
    assert all(frame.split == "train" for frame in (*training.fit, *training.validation))


def test_held_out_tests_leave_the_official_test_split_alone():
    source = source_with([5] * 10, [3, 4])
    test = frames_to_score(source, DataSettings(test="held-out"))
    assert {frame.split for frame in test} == {"train"}


def test_a_missing_test_split_says_what_to_set():
    with pytest.raises(ValueError, match=r"found none; set data\.test=held-out"):
        frames_to_score(source_with([5] * 10), DataSettings(test="official"))


def test_a_test_scene_in_training_is_refused_by_name():
    source = source_with([5] * 10, [3, 4])
    leaked = ListedSource((*source.frames, Frame("x/1", "room_0007", "test")))
    for read in (frames_to_score, training_frames):
        with pytest.raises(ValueError, match=r"1 scene is in the training and in the test split \(first: room_0007\)"):
            read(leaked, DataSettings(test="official"))


def test_held_out_tests_leave_scenes_to_fit_and_to_validate():
    with pytest.raises(ValueError, match=r"held-out test scenes: found 2 scenes .* expected at least 3"):
        frames_to_score(source_with([5, 5]), DataSettings(test="held-out"))


def test_one_scene_cannot_be_divided():
    with pytest.raises(ValueError, match="validation scenes: found 1 scene with 7 frames to divide"):
        training_frames(source_with([7]), DataSettings(test="official"))


@pytest.mark.parametrize(
    ("folder", "scene"),
    [
        ("kitchen_0028b", "kitchen_0028"),
        ("kitchen_0028", "kitchen_0028"),
        ("living_room_0046a", "living_room_0046"),
        ("study_room_0005b", "study_room_0005"),
        ("group_031", "group_031"),
        ("bathroom", "bathroom"),
        ("nyu_office_1", "nyu_office_1"),
    ],
)
def test_the_part_letter_of_a_folder_is_no_scene(folder, scene):
    assert scene_of_folder(folder) == scene
