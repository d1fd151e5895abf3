"""Lists of KITTI's frames as other projects publish them, each in its own columns."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from ensemble.data.copies import Problem
from ensemble.data.kitti.layout import CAMERAS, DRIVE
from ensemble.data.source import Split
from ensemble.runs.refusals import refuse_unreadable

KNOWN: Mapping[Split, tuple[str, ...]] = {
    "train": ("eigen_train_files_with_gt.txt", "kitti_eigen_train_files_with_gt.txt", "train_files.txt"),
    "validation": ("val_files.txt",),
    "test": ("eigen_test_files_with_gt.txt", "kitti_eigen_test_files_with_gt.txt", "test_files.txt"),
}
"""Names of lists: of BTS, of AdaBins and ZoeDepth, of Monodepth2."""

FOLDERS = (
    ".",
    "lists",
    "train_test_inputs",
    "kitti_splits",
    "splits",
    "splits/eigen_zhou",
    "splits/eigen_full",
    "splits/eigen",
)
"""Where lists are looked for; the last are Monodepth2's, of which those of training come first: its test list lies in
the third."""

_IMAGE = re.compile(r"/?(?:(\d{4}_\d\d_\d\d)/)?([^/]+)/(image_0[23])/data/(\d{10})\.(?:png|jpg)")
_FOLDER = re.compile(r"/?(?:(\d{4}_\d\d_\d\d)/)?([^/]+)")
NO_DEPTH = "None"
_SHOWN, _LONGEST = 4, 100


class Listed(NamedTuple):
    """A line of a list.

    Attributes:
        measured: Whether the list knows of depth; BTS' test list says None of 45 frames.
        dated: Whether it names the folder of the date.
        focal: Focal length in pixels, where a list has it.
    """

    drive: str
    camera: str
    frame: str
    measured: bool
    dated: bool
    focal: float | None
    place: str


def find_list(root: Path, split: Split) -> Path | None:
    """The list of a split by a known name, where one lies in a folder that is searched."""
    paths = (root / folder / name for name in KNOWN[split] for folder in FOLDERS)
    return next((path for path in paths if path.is_file()), None)


def read_list(path: Path) -> tuple[tuple[Listed, ...], list[Problem]]:
    """The lines of a list, and what is wrong with others; each kind of columns is known by its lines."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        refuse_unreadable(path, error)
        return (), [Problem("layout", f"{path}: cannot be read ({error}); expected a list of frames in lines of text")]
    numbered = [(f"{path}:{number}", line) for number, line in enumerate(text.splitlines(), start=1) if line.strip()]
    lines, strange = [], []
    for place, line in numbered:
        known = _parsed(place, line)
        if known is None:
            strange.append(Problem("layout", f"{place}: found {line[:_LONGEST]!r}; {_EXPECTED}"))
        else:
            lines.append(known)
    if not numbered:
        strange.append(Problem("layout", f"{path}: names no frame; {_EXPECTED}"))
    more = [Problem("layout", f"{path}: {len(strange) - _SHOWN} further lines name no frame")]
    return tuple(lines), strange[:_SHOWN] + more * (len(strange) > _SHOWN)


_EXPECTED = (
    "expected 'image depth focal' as in BTS' and AdaBins' lists or 'drive frame l|r' as in Monodepth2's; take the "
    "original list"
)


def _parsed(place: str, line: str) -> Listed | None:
    words = line.split()
    if len(words) == 3 and words[2] in CAMERAS and words[1].isdecimal() and len(words[1]) <= 10:
        match = _FOLDER.fullmatch(words[0])
        if match and DRIVE.fullmatch(match[2]):
            return Listed(match[2], CAMERAS[words[2]], words[1].zfill(10), True, match[1] is not None, None, place)
    match = _IMAGE.fullmatch(words[0])
    if match and DRIVE.fullmatch(match[2]) and 2 <= len(words) <= 3:
        try:
            focal = float(words[2]) if len(words) == 3 else None
        except ValueError:
            return None
        return Listed(match[2], match[3], match[4], words[1] != NO_DEPTH, match[1] is not None, focal, place)
    return None
