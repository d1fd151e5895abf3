"""What a stack says of an image, whatever computed it."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Generic, TypeVar

Array = TypeVar("Array")


@dataclass(frozen=True, eq=False)
class Prediction(Generic[Array]):
    """What a stack says of an image, float32, at its size; of a batch every array has that axis first.

    Networks see a few thousand pixels: a map is brought to the size of the image when it is first asked for, so
    whoever wants depth alone waits for nothing else, and large images need not fit into memory with all their maps.

    Attributes:
        working: Maps [k h w] as the networks said them: ``depth``, ``weights``, and where there are any ``error`` and
            ``learners``.
        names: Of the learners, in the order of their weights.
        size: Height and width of the image.
        enlarge: Brings some of these maps to a size.
    """

    working: Mapping[str, Any]
    names: tuple[str, ...]
    size: tuple[int, int]
    enlarge: Callable[[Any, tuple[int, int]], Array]

    def __repr__(self) -> str:
        """What there is, and how large."""
        height, width = self.size
        return f"Prediction({', '.join(self.working)} at {height}x{width}; learners {', '.join(self.names)})"

    @cached_property
    def depth(self) -> Array:
        """Metres, [h w]."""
        return next(self.pages("depth"))

    @cached_property
    def error(self) -> Array | None:
        """Root mean squared error to be expected, metres, [h w]; ``None`` of a learner alone."""
        return next(self.pages("error"), None)

    @cached_property
    def weights(self) -> Array:
        """Of the learners, [k h w]."""
        return self.enlarge(self.working["weights"], self.size)

    @cached_property
    def learners(self) -> Mapping[str, Array]:
        """Every learner's own depth, metres, [h w], by name in the order of the weights; none of a file."""
        return dict(zip(self.names, self.pages("learners"), strict=False))

    def pages(self, kind: str) -> Iterator[Array]:
        """The maps [h w] of one kind, one after the other; each is made when it is its turn, and none is kept."""
        if kind in self.working:
            for index in range(self.working[kind].shape[-3]):
                yield self._page(self.working[kind][..., index : index + 1, :, :])

    def _page(self, maps: Any) -> Array:
        whole: Any = self.enlarge(maps, self.size)
        return whole[..., 0, :, :]
