"""Photographs without depth beside the frames of a source, so that one dataset holds both."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from ensemble.console import counted
from ensemble.data.formats.photographs import check_photograph, read_photograph
from ensemble.data.formats.search import photographs_of
from ensemble.data.source import FileSource, Frame, FrameSource, RawFrame
from ensemble.data.splits import training_frames
from ensemble.runs.fingerprints import fingerprint
from ensemble.settings.schema import DataSettings, ImageSize, LearnerSettings
from ensemble.settings.trees import SettingsError

_MARK = "unlabelled:"
"""Begins the ids of photographs, so that no frame of a source has one of them."""

_FINER = 4
"""Pixels read of a photograph per pixel of the working size, so that resizing has something to average."""


@dataclass(frozen=True)
class WithPhotographs:
    """A source of frames, and photographs that are read as frames of which no pixel is measured.

    Attributes:
        labelled: The source.
        photographs: Files by frame id.
        size: Height and width of the frames that they are to look like: what is higher or wider than that is cut off
            around the middle.
    """

    labelled: FrameSource
    photographs: Mapping[str, Path]
    size: ImageSize

    @property
    def name(self) -> str:
        """Key of the source in ``SOURCES``."""
        return self.labelled.name

    @property
    def frames(self) -> tuple[Frame, ...]:
        """Those of the source, then the photographs."""
        return *self.labelled.frames, *self.unlabelled

    @property
    def unlabelled(self) -> tuple[Frame, ...]:
        """The photographs."""
        return tuple(Frame(name, "unlabelled", "train") for name in self.photographs)

    def read(self, frame: Frame) -> RawFrame:
        """A frame; of a photograph with depth 0, of which nothing is valid."""
        if frame.id not in self.photographs:
            return self.labelled.read(frame)
        image = self.read_image(frame)
        return RawFrame(image, np.zeros(image.shape[:2], np.float32), np.zeros(image.shape[:2], bool))

    def read_image(self, frame: Frame) -> UInt8[np.ndarray, "h w 3"]:
        """The image alone.

        Raises:
            ValueError: A photograph cannot be read.
        """
        if frame.id not in self.photographs:
            return self.labelled.read_image(frame)
        height, width = self.size
        pixels = read_photograph(self.photographs[frame.id], pixels=_FINER * height * width).pixels
        return np.ascontiguousarray(_middle(pixels, height / width))

    def describe(self, frames: Sequence[Frame]) -> str:
        """Fingerprint of frames; of photographs it changes with their names and lengths."""
        own = {frame.id: self.photographs[frame.id] for frame in frames if frame.id in self.photographs}
        others = [frame for frame in frames if frame.id not in self.photographs]
        return fingerprint([self.labelled.describe(others) if others else "", describe_photographs(own)])


def find_unlabelled(folders: Sequence[Path]) -> dict[str, Path]:
    """All photographs of some folders by frame id, without the depth maps beside them.

    Each is looked at for what can be seen without decoding it.

    Raises:
        ValueError: A folder is missing or holds no photograph, two have one name, or a file is no photograph.
    """
    found = photographs_of(folders, "--unlabelled")
    for path in found.values():
        check_photograph(path)
    return {f"{_MARK}{name}": path for name, path in found.items()}


def fitted_among(photographs: Mapping[str, Path], source: FrameSource, settings: DataSettings) -> int:
    """How many photographs are frames to fit, by the places of their files.

    A copy of a frame that lies elsewhere, and a frame that is no file of its own, cannot be told from a photograph.

    Raises:
        SettingsError: One is another frame of the source, which validates or is tested on.
    """
    if not isinstance(source, FileSource):
        return 0
    fit = {*training_frames(source, settings).fit}
    files = {path.resolve(): frame for frame in source.frames if (path := source.image_file(frame)) is not None}
    found = {path: files[place] for path in photographs.values() if (place := path.resolve()) in files}
    if held_out := sorted(found[path].id for path in found if found[path] not in fit):
        raise SettingsError(
            f"--unlabelled: {counted(len(held_out), 'photograph is a frame', 'photographs are frames')} of the data "
            f"that this experiment does not fit, as they validate or test (first: {held_out[0]}); name a folder "
            "without them"
        )
    return len(found)


def photographs_each_step(settings: LearnerSettings) -> int:
    """How many frames of a step are photographs, where there are any."""
    return max(1, round(settings.distillation.unlabelled_share * settings.training.batch_size))


def check_dealt(each_step: int, batch_size: int, *, accumulate: int, processes: int) -> None:
    """Refuse photographs of a step that its parts cannot share equally, or that leave it no frame with depth.

    Raises:
        SettingsError: They are refused.
    """
    if each_step % (accumulate * processes) or not 0 < each_step < batch_size:
        raise SettingsError(
            f"distillation.unlabelled_share: {each_step} of {batch_size} frames of a step, expected a multiple of "
            f"training.accumulate {accumulate} times {processes} processes, and less than the whole step"
        )


def describe_photographs(photographs: Mapping[str, Path]) -> str:
    """Fingerprint of photographs; it changes with their names and lengths."""
    return fingerprint({name: path.stat().st_size for name, path in photographs.items()})


def _middle(pixels: UInt8[np.ndarray, "_h _w 3"], share: float) -> UInt8[np.ndarray, "h w 3"]:
    """The largest part around the middle whose height is this share of its width."""
    height, width = pixels.shape[:2]
    rows, columns = min(height, max(1, round(width * share))), min(width, max(1, round(height / share)))
    top, left = (height - rows) // 2, (width - columns) // 2
    return pixels[top : top + rows, left : left + columns]
