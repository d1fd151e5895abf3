"""What photographs see across their width, and what is said where that is not as in the training."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ensemble.photographs.views import focal_of_view, view_of_focal

FAR_VIEW = 1.2
"""How many times the focal length of training may be that of a photograph, either way, before it is said."""


class Stack(Protocol):
    """What is asked of a stack, whatever computes it: ``header.focal``, and the ratio of two focal lengths."""

    @property
    def header(self) -> Any:
        """What is known of it."""
        ...

    def focal_ratio(self, whole: tuple[int, int], fov: float) -> float:
        """How many times the focal length of training an image of this height and width has."""
        ...


class Seen(Protocol):
    """What is asked of a photograph."""

    @property
    def pixels(self) -> np.ndarray:
        """RGB [h w 3]."""
        ...

    @property
    def fov(self) -> float | None:
        """Degrees across its width by its EXIF data; ``None`` where they do not tell."""
        ...


def view_of_training(stack: Stack, size: tuple[int, int]) -> float:
    """Degrees that a camera with the focal length of training would see across an image of this height and width."""
    any_view = 60.0
    return view_of_focal(focal_of_view(any_view, size[1]) / stack.focal_ratio(size, any_view), size[1])


@dataclass
class Views:
    """Which field of view photographs have, and whether that was said before.

    Attributes:
        stack: That predicts.
        told: Degrees across the width of all of them, if somebody said so.
        say: Prints a line.
        said: What was printed.
    """

    stack: Stack
    told: float | None
    say: Callable[[str], object]
    said: set[str] = field(default_factory=set)

    def of(self, path: Path, photograph: Seen) -> float | None:
        """Degrees across the width of a photograph, if they can be used; what is far from training's is printed.

        Raises:
            ValueError: They were told, and the focal length of training is not known.
        """
        fov = photograph.fov if self.told is None else self.told
        height, width = photograph.pixels.shape[:2]
        if self.stack.header.focal is None and self.told is None:
            return None
        if fov is None:
            own = view_of_training(self.stack, (height, width))
            self._say(
                "unknown",
                f"{path}: no focal length in EXIF: metres as if it saw {own:.0f} degrees across its width, as the "
                "camera of the training would; --fov DEGREES tells what it sees, of all photographs",
            )
            return None
        ratio = self.stack.focal_ratio((height, width), fov)
        if not 1 / FAR_VIEW <= ratio <= FAR_VIEW:
            whose = "EXIF" if self.told is None else "--fov"
            self._say(
                f"{fov:.0f} {height > width}",
                f"{path}: sees {fov:.0f} degrees across its width ({whose}), the camera of the training would see "
                f"{view_of_training(self.stack, (height, width)):.0f}: metres are multiplied by {ratio:.2f}",
            )
        return fov

    def _say(self, what: str, text: str) -> None:
        if what not in self.said:
            self.say(text)
            self.said.add(what)
