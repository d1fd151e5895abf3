"""One copy of NYU Depth v2 as a source of frames: which there are, what is wrong with the others, how one is read.

The copies differ in where a frame stands (two files, an index, a member of an archive) and in how its depth is coded.
Both are the business of a reader, of which every kind of copy has one in a file of its own.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol, TypeVar

import numpy as np
from jaxtyping import Float32, UInt8

from ensemble.data.nyu.camera import intrinsics_of
from ensemble.data.source import Entry, Frame, ListedFrames, RawFrame
from ensemble.photographs.folders import is_hidden
from ensemble.runs.fingerprints import lines_fingerprint
from ensemble.runs.refusals import UnreadableError

Place = TypeVar("Place", contravariant=True)
ProblemKind = Literal["missing", "doubled", "damaged", "unreadable", "foreign", "shape", "layout"]

_NAMED = 3
_WORDS: Mapping[ProblemKind, tuple[str, str]] = {
    "missing": ("missing files", "complete the copy, or take their lines out of its list"),
    "doubled": ("doubled frames", "expected every frame once, remove one of the two"),
    "damaged": ("files that cannot be used", "training would stop there"),
    "unreadable": ("files that the system does not hand out", "they may be whole; mend the cause, then look again"),
    "foreign": ("entries that lead out of the copy", "nothing outside of it is read, take the original files"),
}


class FrameReader(Protocol[Place]):
    """Reads the frames of one kind of copy; small, can be pickled, and holds nothing open between two calls."""

    def image(self, place: Place) -> UInt8[np.ndarray, "h w 3"]:
        """The RGB image, upright."""
        ...

    def depth(self, place: Place) -> Float32[np.ndarray, "h w"]:
        """Metres along the optical axis; 0 where nothing was measured."""
        ...

    def check(self, place: Place) -> None:
        """Raises ``ValueError`` where a file is missing or cut short, without decoding it."""
        ...

    def stamp(self, place: Place) -> str:
        """What changes with the content and costs no reading, such as the sizes of files."""
        ...

    def where(self, place: Place) -> str:
        """The frame's depth, for a message."""
        ...


class Problem(NamedTuple):
    """Something that keeps a frame or the whole copy from being used; ``text`` names the file."""

    kind: ProblemKind
    text: str


@dataclass(frozen=True)
class NyuSource(ListedFrames[Any]):
    """The frames of one copy in a folder, and the reader that knows their places."""

    reader: FrameReader[Any]
    name: str = "nyu"

    def read(self, frame: Frame) -> RawFrame:
        """Image and depth of a frame; pixels without a measurement are not valid.

        Raises:
            ValueError: A file is damaged, not what it should be, or the two differ in size.
        """
        place = self._place(frame)
        image, depth = self.reader.image(place), self.reader.depth(place)
        if image.shape[:2] != depth.shape:
            raise ValueError(
                f"{self.reader.where(place)}: expected the size of its image, {image.shape[0]}x{image.shape[1]}, "
                f"found {depth.shape[0]}x{depth.shape[1]}; take both from the same copy"
            )
        return RawFrame(image, depth, depth > 0, intrinsics_of(depth.shape))

    def read_image(self, frame: Frame) -> UInt8[np.ndarray, "h w 3"]:
        """The image alone; refused where it is damaged or not RGB."""
        return self.reader.image(self._place(frame))

    def image_file(self, frame: Frame) -> Path | None:
        """The file of a frame's image; ``None`` where it is a part of another file."""
        image = getattr(self._place(frame), "rgb", None)
        return image if isinstance(image, Path) else None  # within an archive it is a name

    def check(self, frame: Frame) -> None:
        """Raises ``ValueError`` where a frame's files are missing or cut short, without decoding them."""
        self.reader.check(self._place(frame))

    def describe(self, frames: Sequence[Frame]) -> str:
        """Fingerprint of ids, splits and file sizes: a replaced file is noticed without reading it."""
        lines = [f"{self.name} 1"]
        lines.extend(f"{frame.split} {frame.id} {self.reader.stamp(self._place(frame))}" for frame in frames)
        return lines_fingerprint(lines)


@dataclass(frozen=True)
class Contents:
    """The frames of a copy that can be read, as far as that shows without decoding, and what is wrong with others."""

    source: NyuSource
    problems: tuple[Problem, ...] = ()

    def whole(self) -> NyuSource:
        """The source; a ``ValueError`` names what is missing, doubled, damaged or leads out of the copy."""
        if self.problems:
            text = "; ".join(tell(self.problems))
            raise ValueError(text if str(self.source.root) in text else f"{self.source.root}: {text}")
        return self.source


class ShapeError(ValueError):
    """A frame that is whole, and of another shape than is asked for."""


def problem_of(error: ValueError) -> Problem:
    """What an error says about a file: that it is damaged, of another shape, or not handed out by the system."""
    kinds: dict[type[ValueError], ProblemKind] = {UnreadableError: "unreadable", ShapeError: "shape"}
    return Problem(kinds.get(type(error), "damaged"), str(error))


def tell(problems: Sequence[Problem], known: Mapping[ProblemKind, tuple[str, str]] = _WORDS) -> list[str]:
    """One sentence per kind of problem that is known: how many, the first of them, what to do."""
    sentences = [problem.text for problem in problems if problem.kind == "layout"]
    for kind, (words, remedy) in known.items():
        if texts := [problem.text for problem in problems if problem.kind == kind]:
            sentences.append(f"{words}: {len(texts)} ({first_of(texts)}); {remedy}")
    return sentences


def first_of(items: Sequence[object]) -> str:
    """The first few of many, and how many more there are."""
    more = f", and {len(items) - _NAMED} more" if len(items) > _NAMED else ""
    return "first: " + "; ".join(map(str, items[:_NAMED])) + more


def dead_links(*folders: Path) -> list[Problem]:
    """Links to nothing among these paths and what lies in them: a scene that is gone must not pass for none."""
    paths = [path for folder in folders for path in (folder, *(folder.iterdir() if folder.is_dir() else ()))]
    shown = (path for path in paths if path in folders or not is_hidden(Path(path.name)))  # editors lock by such links
    gone = sorted(path for path in shown if path.is_symlink() and not path.exists())
    return [Problem("missing", f"{path}, a link to {path.readlink()}, which is not there") for path in gone]


def without_doubles(entries: Sequence[Entry], problems: list[Problem]) -> tuple[Entry, ...]:
    """Every frame once: of two with the same id in a split, the second becomes a problem."""
    seen: dict[tuple[str, str], Entry] = {}
    for entry in entries:
        key = (entry.frame.split, entry.frame.id)
        if key in seen:
            problems.append(Problem("doubled", f"{entry.frame.split} {entry.frame.id}"))
        else:
            seen[key] = entry
    return tuple(seen.values())
