"""The scene of a frame where its folder does not tell it: images of the labeled set are numbered scene by scene."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from ensemble.data.source import Entry, Frame

LABELED_FRAMES = 1449


def runs_of(numbers: Iterable[int]) -> Mapping[int, int]:
    """The first number of the run of consecutive numbers that each number stands in.

    Images of a scene stand together in the labeled set and the official split never cuts a scene, so a run within one
    split never cuts a scene either: it may only join neighbours, which is safe.
    """
    first: dict[int, int] = {}
    for number in sorted(set(numbers)):
        first[number] = first.get(number - 1, number)
    return first


def with_runs_for_scenes(
    entries: Sequence[Entry], folder: str, number_of: Callable[[Frame], int | None]
) -> list[Entry]:
    """Gives frames that have a number, of which one folder holds all, the run that it stands in for a scene."""
    numbers = {frame: number for frame, _ in entries if (number := number_of(frame)) is not None}
    first = runs_of(numbers.values())
    scenes = {frame: f"{folder}@{first[number]:05d}" for frame, number in numbers.items()}
    return [Entry(replace(frame, scene=scenes.get(frame, frame.scene)), place) for frame, place in entries]
