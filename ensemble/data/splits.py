"""Divides frames by scene, so that no place is seen on two sides of a split; knows nothing of test frames.

Which frames are tested on is the business of ``ensemble.data.held_out``, which training code does not import.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ensemble.config import DataSettings
from ensemble.data.source import Frame, FrameSource

_PART_LETTER = re.compile(r"(.*_\d+)[a-z]+")
_TEST_DIVISION, _VALIDATION_DIVISION = 0, 1


@dataclass(frozen=True)
class TrainingFrames:
    """The frames that training may see.

    Attributes:
        fit: Trained on.
        validation: Frames of other scenes; they select checkpoints.
    """

    fit: tuple[Frame, ...]
    validation: tuple[Frame, ...]


def scene_of_folder(folder: str) -> str:
    """The scene of a raw folder: ``kitchen_0028b`` is the second part of the recording of ``kitchen_0028``."""
    match = _PART_LETTER.fullmatch(folder)
    return match.group(1) if match else folder


def training_frames(source: FrameSource, settings: DataSettings) -> TrainingFrames:
    """Frames to fit on and to validate with: scenes of the training split that are not tested on.

    Raises:
        ValueError: There are too few scenes, or the source's test scenes also occur in its training split.
    """
    frames, _ = take_test_scenes(source, settings)
    fit, validation = divide_scenes(
        frames, settings.validation_fraction, seed=(settings.split_seed, _VALIDATION_DIVISION), wanted="validation"
    )
    return TrainingFrames(fit, validation)


def take_test_scenes(source: FrameSource, settings: DataSettings) -> tuple[tuple[Frame, ...], tuple[Frame, ...]]:
    """Training frames (fit and validation together) and test frames."""
    train = tuple(frame for frame in source.frames if frame.split == "train")
    if settings.test == "held-out":
        return divide_scenes(
            train, settings.test_fraction, seed=(settings.split_seed, _TEST_DIVISION), wanted="held-out test"
        )
    test = tuple(frame for frame in source.frames if frame.split == "test")
    shared = {frame.scene for frame in train} & {frame.scene for frame in test}
    if shared:
        raise ValueError(
            f"{source.name}: {len(shared)} scenes are in the training and in the test split (first: {min(shared)}); "
            "expected none. Mend the copy, or set data.test=held-out to test on scenes of the training split"
        )
    return train, test


def divide_scenes(
    frames: Sequence[Frame], fraction: float, *, seed: Sequence[int], wanted: str
) -> tuple[tuple[Frame, ...], tuple[Frame, ...]]:
    """Divides frames into a rest and a part that holds about ``fraction`` of them, never cutting a scene.

    Scenes differ much in size, so the part is filled by frames: scenes are looked at in shuffled order, and each one is
    taken that brings the part nearer to its share. Both sides get at least one scene. The outcome depends on the set of
    frames and the seed, not on the order of the frames; both results come sorted by id.

    Args:
        frames: Frames of any number of scenes.
        fraction: Share of the frames that the part aims at.
        seed: Of the shuffle.
        wanted: Name of the part, for the error.

    Raises:
        ValueError: There are fewer than two scenes.
    """
    sizes = Counter(frame.scene for frame in frames)
    if len(sizes) < 2:
        raise ValueError(
            f"{wanted} scenes: found {len(sizes)} scenes with {len(frames)} frames to divide, expected at least 2; "
            "give data with more scenes"
        )
    scenes = sorted(sizes)
    shuffled = [scenes[index] for index in np.random.default_rng(list(seed)).permutation(len(scenes))]
    target, taken = fraction * len(frames), 0
    part: set[str] = set()
    for scene in shuffled:
        if abs(taken + sizes[scene] - target) < abs(taken - target):
            part.add(scene)
            taken += sizes[scene]
    smallest = min(shuffled, key=sizes.__getitem__)
    if not part:
        part.add(smallest)
    elif len(part) == len(sizes):
        part.remove(smallest)
    ordered = sorted(frames, key=lambda frame: frame.id)
    rest = tuple(frame for frame in ordered if frame.scene not in part)
    return rest, tuple(frame for frame in ordered if frame.scene in part)
