"""The scene of a frame where its folder does not tell it: images of the labeled set are numbered scene by scene."""

from collections.abc import Iterable, Mapping

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
