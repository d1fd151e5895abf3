"""What a stack says of an image, whatever computed it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

Array = TypeVar("Array")


@dataclass(frozen=True)
class Prediction(Generic[Array]):
    """What a stack says of an image, float32, at its size; of a batch every array has that axis first.

    Attributes:
        depth: Metres, [h w].
        error: Root mean squared error to be expected, metres, [h w]; ``None`` of a learner alone.
        weights: Of the learners, [k h w].
        learners: Every learner's own depth, metres, [h w], by name in the order of the weights; none of a file.
    """

    depth: Array
    error: Array | None
    weights: Array
    learners: Mapping[str, Array]
