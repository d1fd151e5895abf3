"""Steps that take photographs without depth as well: who gets which, in which order, and what is read of them."""

from collections import Counter
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
from own_data import write_own
from PIL import Image

from ensemble.data import open_source
from ensemble.data.loaders import FrameDataset, MixedBatches
from ensemble.data.rooms.source import RoomsSource
from ensemble.data.splits import training_frames
from ensemble.data.unlabelled import WithPhotographs, find_unlabelled, fitted_among
from ensemble.settings.schema import DataSettings, RoomsSettings
from ensemble.settings.trees import SettingsError

SETTINGS = DataSettings(kind="rooms", size=(48, 64), rooms=RoomsSettings(scenes=2, test_scenes=1, frames=3))


def mixed(**changes) -> MixedBatches:
    return MixedBatches(**{"frames": 13, "batch_size": 4, "seed": 3, "unlabelled": 5, "each_step": 2, **changes})


def drawn(batches: MixedBatches, epochs: int) -> list[list[tuple[int, int | None]]]:
    found = []
    for epoch in range(epochs):
        batches.set_epoch(epoch)
        found += list(batches)
    return found


def test_every_step_takes_its_share_and_all_are_drawn_equally_often():
    steps = drawn(mixed(), 5)
    assert len(steps) == 5 * 4
    assert all(sorted(index >= 8 for index, _ in step) == [False, False, True, True] for step in steps)
    counts = Counter(index for step in steps for index, _ in step)
    assert [counts[index] for index in range(13)] == [5] * 8 + [8] * 5
    seeds = [seed for step in steps for _, seed in step]
    assert len({*seeds}) == len(seeds)


def test_the_frames_with_depth_are_those_of_a_run_without_photographs():
    from ensemble.data.loaders import TrainingBatches

    alone = drawn(TrainingBatches(8, 2, 3), 3)  # pyright: ignore[reportArgumentType]
    assert [[draw for draw in step if draw[0] < 8] for step in drawn(mixed(), 3)] == alone


@pytest.mark.parametrize(("accumulate", "processes"), [(2, 1), (1, 2)])
def test_parts_of_a_step_make_the_whole(accumulate: int, processes: int):
    whole = drawn(mixed(), 2)
    parts = [drawn(mixed(accumulate=accumulate, process=each, processes=processes), 2) for each in range(processes)]
    joined = [draws for together in zip(*parts, strict=True) for draws in together]
    assert all(any(index < 8 for index, _ in draws) for draws in joined)
    per_step = accumulate * processes
    merged = [[*chain(*joined[at : at + per_step])] for at in range(0, len(joined), per_step)]
    assert [sorted(step) for step in merged] == [sorted(step) for step in whole]


def test_a_run_that_goes_on_gets_the_batches_that_it_would_have_got():
    straight, resumed = mixed(), mixed()
    resumed.set_epoch(1)
    resumed.resume_at(1, 2)
    assert list(resumed) == drawn(straight, 2)[4 + 2 :]


def test_shares_that_cannot_be_dealt_are_refused():
    with pytest.raises(ValueError, match=r"3 of 4 frames of a step, expected a multiple of training\.accumulate 2"):
        mixed(each_step=3, accumulate=2)
    with pytest.raises(ValueError, match="less than the whole step"):
        mixed(each_step=4)


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    (tmp_path / "more").mkdir()
    for name, shape in (("wide.png", (60, 200)), ("more/high.png", (300, 100))):
        pixels = np.zeros((*shape, 3), np.uint8)
        middle = [slice((side - 60) // 2, (side + 60) // 2) for side in shape]
        pixels[middle[0], middle[1]] = 200
        Image.fromarray(pixels).save(tmp_path / name)
    return tmp_path


def test_photographs_are_frames_of_which_nothing_is_measured(photographs: Path):
    source = RoomsSource.from_settings(SETTINGS)
    both = WithPhotographs(source, find_unlabelled([photographs]), SETTINGS.size)
    assert [frame.id for frame in both.unlabelled] == ["unlabelled:more/high", "unlabelled:wide"]
    wide = both.read_image(both.unlabelled[1])
    assert wide.shape == (60, 80, 3), "what is wider than the frames is cut off on both sides"
    assert (wide[:, 10:70] == 200).all()
    assert not wide[:, :10].any()
    assert not wide[:, 70:].any()
    known = next(frame for frame in source.frames if frame.split == "train")
    batch = FrameDataset(both, [known, *both.unlabelled], SETTINGS)[[(0, None), (1, 7), (2, 8)]]
    assert batch["image"].shape == (3, 3, 48, 64)
    assert batch["valid"][0].any()
    assert not batch["valid"][1:].any()
    assert both.describe([known]) != both.describe([known, *both.unlabelled])


def test_photographs_that_are_frames_are_counted_and_refused_where_these_are_held_out(tmp_path: Path):
    settings = DataSettings(kind="folder", root=write_own(tmp_path / "own"), size=(40, 64))
    source = open_source(settings)
    frames = training_frames(source, settings)
    fit, validation = ({frame.id.partition("/")[0] for frame in part} for part in (frames.fit, frames.validation))
    of_scenes = [find_unlabelled([tmp_path / "own" / "rgb" / scene]) for scene in sorted(fit)]
    linked = tmp_path / "linked"
    linked.mkdir()
    (linked / "link.png").symlink_to(next(iter(of_scenes[0].values())))
    assert [fitted_among(each, source, settings) for each in of_scenes] == [2] * len(fit)
    assert fitted_among(find_unlabelled([linked]), source, settings) == 1
    assert fitted_among(of_scenes[0], RoomsSource.from_settings(SETTINGS), SETTINGS) == 0
    tested = {frame.scene for frame in source.frames} - fit - validation
    assert tested
    for scene in (*validation, *tested):
        with pytest.raises(SettingsError, match=rf"--unlabelled: 2 photographs are frames .* \(first: {scene}/0000\)"):
            fitted_among(find_unlabelled([tmp_path / "own" / "rgb" / scene]), source, settings)


def test_folders_without_photographs_are_refused(tmp_path: Path):
    with pytest.raises(SettingsError, match=r"expected photographs such as \.jpg or \.png, found none$"):
        find_unlabelled([tmp_path])
    with pytest.raises(SettingsError, match=r"no-such: expected a folder with photographs, found none of that name"):
        find_unlabelled([tmp_path / "no-such"])
    (tmp_path / "broken.jpg").write_bytes(b"no image")
    with pytest.raises(ValueError, match=r"broken\.jpg"):
        find_unlabelled([tmp_path])
