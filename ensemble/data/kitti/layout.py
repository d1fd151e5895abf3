"""Where the parts of KITTI lie below a folder: several downloads, which people unpack beside each other or merge."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ensemble.data.copies import Problem, first_of

DRIVE = re.compile(r"(\d{4}_\d\d_\d\d)_drive_\d{4}_sync")
CAMERAS = {"l": "image_02", "r": "image_03"}
"""Folders of the two colour cameras, by the letters of Monodepth2's lists."""

SELECTION = "val_selection_cropped"
_RAW = (".", "raw", "kitti_raw", "raw_data", "kitti_data", "input")
_DEPTH = (".", "data_depth_annotated", "data_depth_velodyne", "annotated", "depth", "gt")
_SELECTION = (".", "depth_selection", "data_depth_selection")
_SPLITS = ("train", "val")
_DRIVES = {True: "????_??_??/*_sync", False: "*_sync"}
"""Where drives stand, in folders of their dates or not."""

KINDS = {"annotated": "groundtruth", "velodyne": "velodyne_raw"}
"""Folders below ``proj_depth``, by the depth that they hold."""


@dataclass(frozen=True)
class DepthFolder:
    """A folder that holds drives with depth, and the split that it is named after; none where both are merged."""

    folder: Path
    split: str | None


@dataclass(frozen=True)
class Layout:
    """What of KITTI a folder holds.

    Attributes:
        raw: The folder of the date folders.
        dated: Whether drives stand in folders of their dates, beside the calibration.
        depth: Folders with drives, by the kind of depth.
        selection: ``val_selection_cropped``.
        packed: It is a training pack in place of these.
    """

    root: Path
    raw: Path | None = None
    dated: bool = True
    depth: dict[str, tuple[DepthFolder, ...]] = field(default_factory=dict)
    selection: Path | None = None
    problems: tuple[Problem, ...] = ()
    packed: bool = False

    @property
    def title(self) -> str:
        """The parts that were found, for people."""
        if self.packed:
            return "a training pack of stackdepth"
        parts = [f"raw images in {self.raw}"] if self.raw else []
        for kind, folders in self.depth.items():
            how = "merged" if folders[0].split is None else " and ".join(str(each.split) for each in folders)
            parts.append(f"{kind} depth ({how}) in {_above(folders)}")
        if self.selection:
            parts.append(f"{SELECTION} in {self.selection}")
        return "; ".join(parts) or "nothing of KITTI"

    def date_folder(self, drive: str) -> Path:
        """Where the calibration of a drive lies."""
        return (self.raw or self.root) / drive[:10]

    def drive_folder(self, drive: str) -> Path:
        """Where the images and scans of a drive lie."""
        return self.date_folder(drive) / drive if self.dated else (self.raw or self.root) / drive

    def drive_folders(self) -> list[Path]:
        """All of these, in the order of their names."""
        found = () if self.raw is None else self.raw.glob(_DRIVES[self.dated])
        return sorted(path for path in found if DRIVE.fullmatch(path.name))


def _above(folders: tuple[DepthFolder, ...]) -> Path:
    return folders[0].folder if folders[0].split is None else folders[0].folder.parent


def find_layout(root: Path) -> Layout:
    """The parts of KITTI below a folder, and what about them cannot be."""
    raw, dated = _raw_folder(root)
    problems: list[Problem] = []
    depth = {kind: found for kind, name in KINDS.items() if (found := _depth_folders(root, name, problems))}
    selections = [root / base / SELECTION for base in _SELECTION]
    if root.name == SELECTION:
        selections.append(root)
    selection = next((path for path in selections if (path / "image").is_dir()), None)
    if raw is None and selection is None:
        problems.append(Problem("layout", _nothing(root)))
    return Layout(root, raw, dated, depth, selection, tuple(problems))


def _raw_folder(root: Path) -> tuple[Path | None, bool]:
    for dated, pattern in _DRIVES.items():
        for base in _RAW:
            if any(_raw_drives(root / base, pattern)):
                return root / base, dated
    return None, True


def _raw_drives(folder: Path, pattern: str) -> Iterator[Path]:
    found = folder.glob(pattern)
    cameras = CAMERAS.values()
    return (path for path in found if DRIVE.fullmatch(path.name) and any((path / name).is_dir() for name in cameras))


def _depth_folders(root: Path, kind: str, problems: list[Problem]) -> tuple[DepthFolder, ...]:
    for base in _DEPTH:
        folder = root / base
        splits = [DepthFolder(folder / name, name) for name in _SPLITS if drives_of(folder / name, kind)]
        merged = drives_of(folder, kind)
        if splits and merged:
            # a drive may stand in both: mv stops there, and so does cp -n since coreutils 9.2
            names = " ".join(str(each.split) for each in splits)
            problems.append(
                Problem(
                    "layout",
                    f"{folder}: {len(merged)} drives stand beside {' and '.join(str(each.split) for each in splits)} "
                    f"({first_of(sorted(merged))}), merged and unmerged folders mixed; expected train and val, or "
                    f"one folder of all drives. Run: cd {folder} && for d in {names}; do cp -Rlf $d/. . && "
                    "rm -r $d; done",
                )
            )
        if splits or merged:
            return tuple(splits) or (DepthFolder(folder, None),)
    return ()


def drives_of(folder: Path, kind: str) -> frozenset[str]:
    """Drives that have depth in a folder; ``kind`` is a name below ``proj_depth``."""
    if not folder.is_dir():
        return frozenset()
    names = (path.name for path in folder.iterdir() if DRIVE.fullmatch(path.name))
    return frozenset(name for name in names if (folder / name / "proj_depth" / kind).is_dir())


def _nothing(root: Path) -> str:
    names = sorted(path.name + "/" * path.is_dir() for path in root.iterdir())[:6]
    return (
        f"{root}: expected KITTI's raw images (2011_09_26/2011_09_26_drive_0001_sync/image_02/data/ ..., also "
        f"below raw/) or {SELECTION}/, found {', '.join(names) or 'nothing'}; name the folder that holds them"
    )
