"""What a stack says of one photograph, and every way to look at it: learners chosen, layers, values of a pixel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float32, UInt8

from ensemble.deploy.runtime.prediction import Prediction
from ensemble.report.drawing.colours import depth_limits, depth_scale, error_scale, weight_scale, weight_spread
from ensemble.report.drawing.palettes import Palette

DEPTH, ERROR, DISAGREEMENT = "depth", "expected error", "disagreement"
WEIGHT = "weight of "
"""Begins the name of the layer of a learner's weights."""

TINT = 0.65
"""Share of a layer's colour over the grey photograph, where weights are laid over it."""

MIN_DEPTH = 1e-3


@dataclass(frozen=True)
class Choice:
    """Which depth is looked at.

    Attributes:
        learners: Names of those that are fused; all of them are the stack.
        student: The student's own depth in their place.
        ratio: Times the metres, for the lens of the photograph.
    """

    learners: tuple[str, ...]
    student: bool = False
    ratio: float = 1.0


@dataclass(frozen=True)
class Layer:
    """A map over the photograph.

    Attributes:
        name: Of it.
        pixels: RGB.
        palette: From its values to its colours.
        unit: Of the values.
    """

    name: str
    pixels: UInt8[np.ndarray, "h w 3"]
    palette: Palette
    unit: str


@dataclass(frozen=True)
class Value:
    """What is known of a pixel: metres, and shares of the learners that are on.

    Attributes:
        depth: Metres.
        error: Expected, metres; ``None`` where it is not known.
        leading: The learner with the largest share, and this share; ``None`` of one learner alone.
        learners: Each learner's own depth in metres.
        off: Those of them that have no part in the depth.
    """

    depth: float
    error: float | None
    leading: tuple[str, float] | None
    learners: Mapping[str, float]
    off: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Sight:
    """A photograph and all that networks say of it, at its size and for the lens of the training.

    Attributes:
        image: RGB.
        found: By the stack.
        logs: Whether the stack weighs logs of depth.
        fov: Degrees across the width by EXIF; ``None`` where it does not tell.
        student: Depth by the student; ``None`` where there is none.
    """

    image: UInt8[np.ndarray, "h w 3"]
    found: Prediction[np.ndarray]
    logs: bool
    fov: float | None = None
    student: Float32[np.ndarray, "h w"] | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Of the learners; none where an exported file tells the fused depth alone."""
        return tuple(self.found.learners)

    def layers(self, choice: Choice) -> tuple[str, ...]:
        """Names of the maps that there are of a choice."""
        if choice.student:
            return (DEPTH,)
        known = (ERROR,) if self._has_error(choice) else ()
        several = len(choice.learners) > 1
        weights = tuple(WEIGHT + name for name in choice.learners) if several else ()
        return (DEPTH, *known, *((DISAGREEMENT,) if several else ()), *weights)

    def depth(self, choice: Choice) -> Float32[np.ndarray, "h w"]:
        """Metres of a choice: the student's, the stack's, or that of the stack's weights shared by some learners."""
        if choice.student:
            if self.student is None:
                raise ValueError("there is no student; name one with --student")
            return choice.ratio * self.student
        if self._is_whole(choice):
            return np.float32(choice.ratio) * self.found.depth
        return np.float32(choice.ratio) * fused(self._depths(choice), self.shares(choice), logs=self.logs)

    def error(self, choice: Choice) -> Float32[np.ndarray, "h w"] | None:
        """Expected error in metres; it was learnt of the whole stack, so of others it is not known."""
        if not self._has_error(choice) or self.found.error is None:
            return None
        return np.float32(choice.ratio) * self.found.error

    def shares(self, choice: Choice) -> Float32[np.ndarray, "k h w"]:
        """Weights of the learners of a choice that sum to one."""
        return shared(np.stack([self._weight(name) for name in choice.learners]))

    def disagreement(self, choice: Choice) -> Float32[np.ndarray, "h w"]:
        """How far learners are from the fused depth: the root of the weighted mean square, in metres."""
        apart = np.float32(choice.ratio) * self._depths(choice) - self.depth(choice)
        return np.sqrt((self.shares(choice) * apart**2).sum(axis=0))

    def layer(self, name: str, choice: Choice) -> Layer:
        """A map as a picture.

        Raises:
            ValueError: There is none of this name.
        """
        if name not in self.layers(choice):
            raise ValueError(f"layer {name!r}: expected one of {', '.join(self.layers(choice))}")
        if name == DEPTH:
            depth = self.depth(choice)
            palette = Palette.of(depth_scale(*depth_limits(depth)))
            return Layer(name, palette(depth), palette, "m")
        if name.startswith(WEIGHT):
            shares = self.shares(choice)
            palette = Palette.of(weight_scale(len(shares), weight_spread(shares)))
            tinted = palette(shares[choice.learners.index(name.removeprefix(WEIGHT))])
            return Layer(name, self._over_photograph(tinted), palette, "")
        error = self.error(choice) if name == ERROR else None
        values = self.disagreement(choice) if error is None else error
        largest = max(float(np.quantile(values, 0.99)), 1e-3)
        palette = Palette.of(error_scale(largest))
        return Layer(name, palette(values), palette, "m")

    def value(self, row: int, column: int, choice: Choice) -> Value:
        """What is known of a pixel."""
        at = np.s_[row : row + 1, column : column + 1]
        own = {name: float(choice.ratio * depth[row, column]) for name, depth in self.found.learners.items()}
        here = self.cut(at)
        leading = None
        if not choice.student and len(choice.learners) > 1:
            shares = here.shares(choice)[:, 0, 0]
            leading = choice.learners[int(shares.argmax())], float(shares.max())
        error = here.error(choice)
        off = frozenset(own) - frozenset(() if choice.student else choice.learners)
        return Value(float(here.depth(choice)[0, 0]), None if error is None else float(error[0, 0]), leading, own, off)

    def cut(self, at: tuple[slice, slice]) -> Sight:
        """The same of a part of the photograph."""
        found = self.found
        whole = {"depth": [found.depth], "weights": found.weights, "learners": [*found.learners.values()]}
        known = whole if found.error is None else {**whole, "error": [found.error]}
        working = {kind: np.stack([page[at] for page in pages]) for kind, pages in known.items() if len(pages)}
        height, width = working["depth"].shape[1:]
        part = Prediction(working, found.names, (height, width), lambda maps, _: maps)
        return Sight(self.image[at], part, self.logs, self.fov, None if self.student is None else self.student[at])

    @cached_property
    def grey(self) -> UInt8[np.ndarray, "h w 1"]:
        """The photograph without colours, for tints."""
        return self.image.mean(axis=2, dtype=np.float32, keepdims=True).astype(np.uint8)

    def _over_photograph(self, colours: UInt8[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "h w 3"]:
        return (TINT * colours + (1 - TINT) * self.grey).astype(np.uint8)

    def _is_whole(self, choice: Choice) -> bool:
        return not self.names or set(choice.learners) == set(self.names)

    def _has_error(self, choice: Choice) -> bool:
        return "error" in self.found.working and not choice.student and self._is_whole(choice)

    def _depths(self, choice: Choice) -> Float32[np.ndarray, "k h w"]:
        return np.stack([self.found.learners[name] for name in choice.learners])

    def _weight(self, name: str) -> Float32[np.ndarray, "h w"]:
        return self.found.weights[self.names.index(name)]


def shared(weights: Float32[np.ndarray, "k h w"]) -> Float32[np.ndarray, "k h w"]:
    """Weights as shares that sum to one, by their size; equal ones where all are 0.

    Of a softmax over all learners this is the softmax over those that are given.
    """
    size = np.abs(weights)
    total = size.sum(axis=0)
    return np.where(total > 0, size / np.where(total > 0, total, 1), np.float32(1 / len(weights)))


def fused(
    depths: Float32[np.ndarray, "k h w"], shares: Float32[np.ndarray, "k h w"], *, logs: bool
) -> Float32[np.ndarray, "h w"]:
    """The weighted mean of depths in metres, or of their logs."""
    if not logs:
        return (shares * depths).sum(axis=0)
    return np.exp((shares * np.log(np.maximum(depths, MIN_DEPTH))).sum(axis=0))


def chosen_learners(names: Sequence[str], wanted: Sequence[str]) -> tuple[str, ...]:
    """Those that are on, in the order of the stack; all where none is, for depth of nobody is nothing."""
    return tuple(name for name in names if name in wanted) or tuple(names)
