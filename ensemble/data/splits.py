"""Divides frames by scene, so that no place is seen on two sides of a split; knows nothing of test frames.

Which frames are tested on is the business of ``ensemble.data.held_out``, which training code does not import.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from ensemble.console import counted
from ensemble.data.source import Frame, FrameSource, Split
from ensemble.settings.schema import DataSettings

_PART_LETTER = re.compile(r"(.*_\d+)[a-z]")
_TEST_DIVISION, _VALIDATION_DIVISION = 0, 1

SPLIT_NAMES: Mapping[Split, str] = {"train": "training", "validation": "validation", "test": "test"}
"""What splits are called in a sentence."""


@dataclass(frozen=True)
class TrainingFrames:
    """The frames that training may see: those it fits, and those of other scenes that select checkpoints."""

    fit: tuple[Frame, ...]
    validation: tuple[Frame, ...]


def scene_of_folder(folder: str) -> str:
    """The scene of a raw folder: ``kitchen_0028b`` is the second part of the recording of ``kitchen_0028``."""
    match = _PART_LETTER.fullmatch(folder)
    return match.group(1) if match else folder


def training_frames(source: FrameSource, settings: DataSettings) -> TrainingFrames:
    """Frames to fit on and to validate with: scenes of the training split that are not tested on; refuses too few.

    The source's own validation split validates where it has one, else a share of the training scenes.
    """
    frames, seed = frames_not_tested_on(source, settings), (settings.split_seed, _VALIDATION_DIVISION)
    if own := _by_id(frame for frame in source.frames if frame.split == "validation"):
        if not frames:
            raise ValueError(f"{source.name}: expected frames to train on, found none beside validation and test")
        return TrainingFrames(_by_id(frames), own)
    return TrainingFrames(*divide_scenes(frames, settings.validation_fraction, seed=seed, wanted="validation"))


def frames_not_tested_on(source: FrameSource, settings: DataSettings) -> tuple[Frame, ...]:
    """The training split without the scenes that ``data.test`` takes out of it.

    Raises:
        ValueError: There are too few scenes, or the source's test scenes also occur in its training split.
    """
    train = tuple(frame for frame in source.frames if frame.split == "train")
    if settings.test == "held-out":
        _refuse_shared(source, "train", "validation")
        seed = settings.split_seed, _TEST_DIVISION
        return divide_scenes(train, settings.test_fraction, seed=seed, wanted="held-out test", leave=2)[0]
    for one, other in combinations(SPLIT_NAMES, 2):
        _refuse_shared(source, one, other)
    return train


def shared_scenes(frames: Iterable[Frame], one: Split, other: Split) -> list[str]:
    """Scenes that stand on both sides, which none must."""
    scenes: dict[Split, set[str]] = defaultdict(set)
    for frame in frames:
        scenes[frame.split].add(frame.scene)
    return sorted(scenes[one] & scenes[other])


def _refuse_shared(source: FrameSource, one: Split, other: Split) -> None:
    if shared := shared_scenes(source.frames, one, other):
        mend = "Mend the data, or set data.test=held-out to test on scenes of the training split"
        raise ValueError(
            f"{source.name}: {counted(len(shared), 'scene is', 'scenes are')} in the {SPLIT_NAMES[one]} "
            f"and in the {SPLIT_NAMES[other]} split "
            f"(first: {shared[0]}); expected none. {mend if other == 'test' else 'Mend the lists of frames'}"
        )


def evenly_spread(frames: Sequence[Frame], count: int) -> list[Frame]:
    """At most so many frames, the first and the last among them."""
    if len(frames) <= count:
        return [*frames]
    return [frames[index] for index in np.linspace(0, len(frames) - 1, count).astype(int)]


def _by_id(frames: Iterable[Frame]) -> tuple[Frame, ...]:
    return tuple(sorted(frames, key=lambda frame: frame.id))


def divide_scenes(
    frames: Sequence[Frame], fraction: float, *, seed: Sequence[int], wanted: str, leave: int = 1
) -> tuple[tuple[Frame, ...], tuple[Frame, ...]]:
    """Divides frames into a rest and a part that holds about ``fraction`` of them, never cutting a scene.

    The part gets at least one scene, the rest keeps at least ``leave``; ``wanted`` names the part in the error.

    Scenes differ much in size, so the part is filled by frames: scenes are looked at in shuffled order and taken as
    long as they fit, and the smallest one left is added where that comes nearer to the share. The outcome depends on
    the set of frames and the seed, not on the order of the frames; both results come sorted by id.

    Raises:
        ValueError: There are not enough scenes for both sides.
    """
    sizes = Counter(frame.scene for frame in frames)
    if len(sizes) <= leave:
        raise ValueError(
            f"{wanted} scenes: found {counted(len(sizes), 'scene')} with {counted(len(frames), 'frame')} to divide, "
            f"expected at least {leave + 1}; give data with more scenes"
        )
    scenes = sorted(sizes)
    shuffled = [scenes[index] for index in np.random.default_rng(list(seed)).permutation(len(scenes))]
    target, most = fraction * len(frames), len(sizes) - leave
    taken, part = 0, set[str]()
    for scene in shuffled:
        if len(part) < most and taken + sizes[scene] <= target:
            part.add(scene)
            taken += sizes[scene]
    if len(part) < most:
        smallest = min((scene for scene in shuffled if scene not in part), key=sizes.__getitem__)
        if not part or taken + sizes[smallest] - target < target - taken:
            part.add(smallest)
    ordered = sorted(frames, key=lambda frame: frame.id)
    rest = tuple(frame for frame in ordered if frame.scene not in part)
    return rest, tuple(frame for frame in ordered if frame.scene in part)
