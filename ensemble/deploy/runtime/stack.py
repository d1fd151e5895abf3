"""An exported stack, or learner: photographs in, metres and expected error out."""

import math
from numbers import Real
from pathlib import Path

import numpy as np
from PIL import Image

from ensemble.deploy.runtime.header import ExportHeader
from ensemble.deploy.runtime.prediction import Prediction
from ensemble.deploy.runtime.resizing import (
    Size,
    as_kind,
    checked_size,
    enlarged,
    padded,
    pixels_of,
    scaled,
    seen,
    shape_kept,
)
from ensemble.deploy.runtime.seals import check
from ensemble.deploy.runtime.session import Session
from ensemble.deploy.runtime.sessions import ENDINGS, RUNTIMES, runtime_of


class ExportedStack:
    """What ``python -m ensemble.export`` has written, ready to predict as the stack that it was made of.

    Args:
        session: An open file.
    """

    def __init__(self, session: Session) -> None:
        self._run = session.run
        self.header: ExportHeader = session.header

    @classmethod
    def open(cls, path: Path | str, *, runtime: str | None = None, threads: int | None = None) -> "ExportedStack":
        """A file.

        Args:
            path: That ends in ``.onnx``, ``.xml`` or ``.pte``.
            runtime: ``onnx``, ``openvino`` or ``executorch``; by the ending where absent.
            threads: Of the processor; as many as the runtime likes where absent.

        Raises:
            ValueError: There is no such file, it is none of ours, damaged, or its runtime is not installed.
        """
        place = Path(path).expanduser()
        chosen = runtime_of(place, runtime)
        if chosen is None or not place.is_file():
            raise ValueError(f"{place}: expected a file that ends in {' or '.join(ENDINGS)}, found {_kind_of(place)}")
        check(place)
        return cls(RUNTIMES[chosen](place, threads))

    def __repr__(self) -> str:
        """What it is, in a line."""
        height, width = self.trained_size
        return f"ExportedStack({self.header.name}: {', '.join(self.learners)}; {height}x{width})"

    @property
    def learners(self) -> tuple[str, ...]:
        """Names, in the order of the weights."""
        return tuple(learner.name for learner in self.header.learners)

    @property
    def kinds(self) -> tuple[str, ...]:
        """What it says of an image, such as ``depth`` and ``error``."""
        return self.header.outputs

    @property
    def trained_size(self) -> Size:
        """Height and width of the images of its training."""
        return self.header.trained_size

    def __call__(
        self, image: np.ndarray | Image.Image, *, size: Size | None = None, fov: float | None = None
    ) -> Prediction[np.ndarray]:
        """Depth, expected error and weights of an image, at its size.

        Args:
            image: RGB: [h w 3] in 8 bits or as floats in [0, 1], or a Pillow image.
            size: Height and width that the networks see. Where absent the image keeps its shape, as large as the file
                takes it, or with the short side of ``trained_size`` where the file takes any.
            fov: Degrees that the image sees across its width. Where absent it counts as taken by a camera with the
                focal length of training, in pixels of what the networks see; else metres grow as the focal length does.

        Raises:
            ValueError: It is no such image, the file does not take this size, or there is a field of view and that of
                training is not known.
            FloatingPointError: Depth is not finite.
        """
        size = None if size is None else checked_size(size)
        pixels = pixels_of(image)
        whole = (pixels.shape[0], pixels.shape[1])
        ratio = 1.0 if fov is None else self.focal_ratio(whole, fov, size)
        working = self.keeping_shape(*whole) if size is None else size
        given = padded(seen(pixels, working), self._taken(working, padding=size is None))
        given = np.ascontiguousarray(as_kind(given, self.header.pixels).transpose(2, 0, 1)[None])
        said = {name: maps[0, :, : working[0], : working[1]] for name, maps in self._run(given).items()}
        if not all(np.isfinite(maps).all() for maps in said.values()):
            raise FloatingPointError(f"{self.header.name}: depth is NaN or infinite; nothing is repaired here")
        metres = {"depth", "error"}
        working = {
            name: (np.float32(ratio) * maps if name in metres else maps).astype(np.float32, copy=False)
            for name, maps in said.items()
        }
        return Prediction(working, self.learners, whole, enlarged)

    def keeping_shape(self, height: int, width: int) -> Size:
        """The size that networks see of an image: its own shape, inside what the file takes.

        A file of a fixed size sees an image of another shape smaller than the stack does, 16:9 by a quarter. Metres are
        not multiplied for that: networks of one camera go by what stands where, and hardly by how large it looks.
        """
        if self.header.size is None:
            return shape_kept(self.trained_size, height, width)
        whole = self.header.size
        return scaled(whole, min(whole[0] / height, whole[1] / width), height, width)

    def focal_ratio(self, whole: Size, fov: float, size: Size | None = None) -> float:
        """How many times the focal length of training an image has, in pixels of what the networks see.

        Raises:
            ValueError: The focal length of training is not known, or there is no such field of view.
        """
        if self.header.focal is None:
            raise ValueError(
                f"{self.header.name}: the focal length of its training camera is not known, so a field of view says "
                "nothing; leave it out"
            )
        if not isinstance(fov, Real) or not 0 < fov < 180:
            raise ValueError(f"a field of view of {fov!r} degrees: expected more than 0 and less than 180")
        height, width = size or self.keeping_shape(*whole)
        focal = whole[1] / (2 * math.tan(math.radians(fov) / 2))
        return focal * math.sqrt(height / whole[0] * width / whole[1]) / self.header.focal

    def _taken(self, working: Size, *, padding: bool) -> Size:
        """Height and width of what is handed to the file."""
        fixed, stride = self.header.size, self.header.stride
        if fixed is not None:
            if working[0] > fixed[0] or working[1] > fixed[1] or not (padding or working == fixed):
                raise ValueError(f"{self.header.name}: found size {working}, expected {fixed}, which the file takes")
            return fixed
        if working == self.trained_size:
            return working
        taken = (working[0] + -working[0] % stride, working[1] + -working[1] % stride)
        if not padding and taken != working:
            raise ValueError(
                f"{self.header.name}: found size {working}, expected multiples of {stride}, or {self.trained_size}"
            )
        return taken


def _kind_of(place: Path) -> str:
    return "no file" if not place.exists() else "a folder" if place.is_dir() else f"one that ends in {place.suffix!r}"
