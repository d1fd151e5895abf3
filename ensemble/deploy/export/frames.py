"""Images that an export is compared on: of validation scenes, whose depth is known, or photographs."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from ensemble.data import open_source
from ensemble.data.formats.photographs import read_photograph
from ensemble.data.formats.search import photographs_of
from ensemble.data.source import RawFrame
from ensemble.data.splits import training_frames
from ensemble.data.transforms import pixels_at_size, resize_image, valid_depth
from ensemble.deploy.door import DepthStack
from ensemble.deploy.export.request import Size
from ensemble.settings.trees import SettingsError

MOST_CALIBRATED = 32
"""Images whose activations tell the ranges of 8 bits."""


class GateImage(NamedTuple):
    """An image at the size of the networks.

    Attributes:
        pixels: RGB in 8 bits, [1 3 h w].
        whole: The frame that they were made of, RGB in 8 bits, [1 3 H W].
        depth: Metres, [1 1 h w]; ``None`` where it is not known.
        valid: Where depth was measured.
    """

    pixels: Tensor
    whole: Tensor
    depth: Tensor | None
    valid: Tensor | None


class GateFrames:
    """So many images, handed out at any size.

    Args:
        stack: The frames are those of its validation scenes.
        folder: Of photographs in their place.
        count: Of images, evenly spread.
        scored: Whether their depth has to be known, so that photographs would not do.
        part: Of its training's frames: those that it is validated with, or those that it was fitted to.

    Raises:
        ValueError: There is neither a folder of photographs nor the data that the stack was trained on.
    """

    def __init__(
        self,
        stack: DepthStack,
        folder: Path | None,
        count: int,
        part: Literal["validation", "fit"] = "validation",
        *,
        scored: bool = False,
    ) -> None:
        self._stack, self._data, self._scored = stack, stack.network.settings.data, scored
        self.scenes: tuple[str, ...] = ()  # of every frame; of photographs none is known
        self._raw = (
            self._frames(stack.header.name, count, part)
            if folder is None
            else photographs_in(folder, "--images", count)
        )
        self.have_depth = folder is None
        kind = "photographs" if folder is not None else "validation frames" if part == "validation" else "frames to fit"
        self.what = f"{len(self._raw)} {kind}"

    def at(self, size: Size) -> list[GateImage]:
        """The images at a size."""
        found = []
        for raw in self._raw:
            if isinstance(raw, RawFrame):
                sample = pixels_at_size(raw, size)
                depth = sample["depth"][None]
                inside = valid_depth(depth, self._data.min_depth, self._data.max_depth)
                whole = _as_tensor(raw.image)
                found.append(GateImage(sample["image"][None], whole, depth, sample["valid"][None] & inside))
            else:
                unit = resize_image(raw, size)
                found.append(GateImage(unit.mul(255).round().byte()[None], _as_tensor(raw), None, None))
        return found

    def to_calibrate(self, size: Size) -> tuple[list[GateImage], str]:
        """Images whose activations tell the ranges of 8 bits, and which these are, in words.

        They are frames that the training was fitted to, so that what is scored has not told its own ranges; where these
        are not there, some of the images themselves.
        """
        try:
            others = GateFrames(self._stack, None, MOST_CALIBRATED, "fit")
        except SettingsError:
            known = self.at(size)
            chosen = [known[index] for index in spread(len(known), MOST_CALIBRATED)]
            return chosen, f"{len(chosen)} of these images themselves, which flatters them"
        return others.at(size), others.what

    def _frames(self, name: str, count: int, part: Literal["validation", "fit"]) -> Sequence[RawFrame]:
        try:
            source = open_source(self._data)
            divided = training_frames(source, self._data)
            frames = divided.validation if part == "validation" else divided.fit
        except (ValueError, OSError) as error:
            wanted = "those, for depth tells what a file costs" if self._scored else "photographs: --images DIR"
            raise SettingsError(
                f"{name}: an export is compared with the network on images, and the validation scenes of its training "
                f"are not there ({error}); expected {wanted}"
            ) from error
        chosen = [frames[index] for index in spread(len(frames), count)]
        self.scenes = tuple(frame.scene for frame in chosen)
        return [source.read(frame) for frame in chosen]


def spread(total: int, count: int) -> list[int]:
    """So many places out of a number of them, evenly spread."""
    return sorted({int(place) for place in np.linspace(0, total - 1, min(count, total)).round()})


def _as_tensor(image: UInt8[np.ndarray, "h w 3"]) -> UInt8[Tensor, "1 3 h w"]:
    return torch.from_numpy(np.require(image, requirements=("C", "W"))).permute(2, 0, 1)[None]


def photographs_in(folder: Path, option: str, count: int) -> Sequence[UInt8[np.ndarray, "h w 3"]]:
    """Photographs of a folder that an option names, at most so many, evenly spread."""
    paths = [*photographs_of([folder], option).values()]
    return [read_photograph(paths[index], pixels=1_000_000).pixels for index in spread(len(paths), count)]
