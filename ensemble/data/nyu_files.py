"""Finds the pairs of RGB and depth files in a copy of NYU Depth v2: ``sync/`` with list files, ``official_splits/``."""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ensemble.data.source import Frame, Split
from ensemble.data.splits import scene_of_folder

LIST_FILES: Mapping[Split, str] = {
    "train": "nyudepthv2_train_files_with_gt.txt",
    "test": "nyudepthv2_test_files_with_gt.txt",
}
_LIST_FOLDERS: Mapping[Split, tuple[str, ...]] = {
    "train": ("sync", "official_splits/train", "train", "."),
    "test": ("official_splits/test", "test", "sync", "."),
}
_RGB_NAME = re.compile(r"rgb_(\d+)\.(?:jpg|png)")
_DEPTH_NAME = re.compile(r"sync_depth_(\d+)\.png")
_NUMBERED_FOLDER = re.compile(r".*_\d+[a-z]?")
_LABELED_FRAMES = 1449


@dataclass(frozen=True)
class Pair:
    """One frame and its two files.

    Attributes:
        frame: As the rest of the package knows it.
        rgb: File of the image.
        depth: File of the depth map.
    """

    frame: Frame
    rgb: Path
    depth: Path


@dataclass(frozen=True)
class FolderListing:
    """What a split folder of ``official_splits`` holds.

    Attributes:
        pairs: Complete pairs.
        halves: Files whose other half is missing.
    """

    pairs: tuple[Pair, ...]
    halves: tuple[Path, ...]


def list_pairs(root: Path) -> tuple[Pair, ...]:
    """Every pair of both splits: from the list file of a split where there is one, else from its folder.

    Raises:
        ValueError: There is neither, a list is wrong, a list names files that are missing, or half a pair is missing.
    """
    pairs: list[Pair] = []
    for split in ("train", "test"):
        if list_file := find_list_file(root, split):
            listed = read_list(root, list_file, split)
            _require_files(listed, list_file)
            pairs.extend(listed)
        elif (folder := root / "official_splits" / split).is_dir():
            listing = list_folder(folder, split)
            _refuse_halves(listing, folder)
            pairs.extend(listing.pairs)
    if not pairs:
        raise ValueError(
            f"{root}: expected a copy of NYU Depth v2 with sync/ and {LIST_FILES['train']}, or with "
            f"official_splits/train/<scene>/rgb_N.jpg and sync_depth_N.png; found neither. "
            f"Run: python -m ensemble.data doctor {root}"
        )
    return tuple(split_type_folders(pairs))


def find_list_file(root: Path, split: Split) -> Path | None:
    """The list file of a split, in the root or in its ``sync`` or ``train_test_inputs`` folder."""
    for folder in (".", "sync", "train_test_inputs"):
        path = root / folder / LIST_FILES[split]
        if path.is_file():
            return path
    return None


def read_list(root: Path, list_file: Path, split: Split) -> tuple[Pair, ...]:
    """The pairs that a list file names: one line of ``rgb depth [anything]`` each, leading slashes meaning nothing.

    Raises:
        ValueError: A line has fewer than two fields, leaves the root, is doubled, or there is no line.
    """
    entries: list[tuple[PurePosixPath, PurePosixPath]] = []
    for number, line in enumerate(list_file.read_text(encoding="utf-8").splitlines(), start=1):
        fields = line.split()
        if not fields:
            continue
        if len(fields) < 2:
            raise ValueError(f"{list_file}:{number}: expected 'rgb depth focal', found {line!r}")
        rgb, depth = (_inside_root(field, f"{list_file}:{number}") for field in fields[:2])
        entries.append((rgb, depth))
    if not entries:
        raise ValueError(f"{list_file}: expected lines of 'rgb depth focal', found none; fetch the list again")
    doubled = _first_doubled(rgb.with_suffix("") for rgb, _ in entries)
    if doubled is not None:
        raise ValueError(f"{list_file}: {doubled} is listed twice; expected every frame once, remove one line")
    base = _base_folder(root, split, entries[0][0])
    return tuple(
        Pair(
            Frame(str(rgb.with_suffix("")), scene_of_folder(rgb.parent.name), split),
            base / rgb,
            base / depth,
        )
        for rgb, depth in entries
    )


def list_folder(folder: Path, split: Split) -> FolderListing:
    """The pairs of ``<scene>/rgb_N.jpg`` and ``<scene>/sync_depth_N.png`` in a split folder, sorted by id."""
    pairs: list[Pair] = []
    halves: list[Path] = []
    for scene_folder in sorted(path for path in folder.iterdir() if path.is_dir()):
        files: dict[str, dict[str, Path]] = {"rgb": {}, "depth": {}}
        for path in sorted(scene_folder.iterdir()):
            for kind, pattern in (("rgb", _RGB_NAME), ("depth", _DEPTH_NAME)):
                if match := pattern.fullmatch(path.name):
                    files[kind][match.group(1)] = path
        for number in sorted(files["rgb"].keys() | files["depth"].keys()):
            rgb, depth = files["rgb"].get(number), files["depth"].get(number)
            if rgb is None or depth is None:
                halves.extend(path for path in (rgb, depth) if path is not None)
                continue
            frame = Frame(f"{scene_folder.name}/{rgb.stem}", scene_of_folder(scene_folder.name), split)
            pairs.append(Pair(frame, rgb, depth))
    return FolderListing(tuple(pairs), tuple(halves))


def split_type_folders(pairs: Sequence[Pair]) -> list[Pair]:
    """Gives frames in folders of a scene type (``kitchen``) the scene that their number tells.

    In the official layout a folder holds all kitchens of a split, and both splits have kitchens. The number of a file
    is then its index in the labeled set, where images of a scene stand together: a run of consecutive numbers never
    cuts a scene, so the run stands for it. Folders with a numbered name (``kitchen_0028b``, ``group_031``) are scenes.
    """
    by_folder: dict[tuple[Split, str], list[tuple[int, int]]] = defaultdict(list)
    for position, pair in enumerate(pairs):
        folder, name = pair.rgb.parent.name, pair.rgb.name
        match = _RGB_NAME.fullmatch(name)
        if match and not _NUMBERED_FOLDER.fullmatch(folder):
            by_folder[pair.frame.split, folder].append((int(match.group(1)), position))
    numbers = [number for members in by_folder.values() for number, _ in members]
    if len(set(numbers)) < len(numbers) or any(number >= _LABELED_FRAMES for number in numbers):
        return list(pairs)
    renamed = list(pairs)
    for (split, folder), members in by_folder.items():
        first = previous = None
        for number, position in sorted(members):
            first = number if first is None or number - 1 != previous else first
            previous = number
            pair = pairs[position]
            renamed[position] = Pair(Frame(pair.frame.id, f"{folder}@{first:05d}", split), pair.rgb, pair.depth)
    return renamed


def _inside_root(field: str, place: str) -> PurePosixPath:
    path = PurePosixPath(field.lstrip("/"))
    if ".." in path.parts or "\\" in field or ":" in field or len(path.parts) < 2:
        raise ValueError(
            f"{place}: expected a path '<scene>/<file>' inside the copy, found {field!r}; "
            "a list may not lead out of its folder, take the original list"
        )
    return path


def _base_folder(root: Path, split: Split, entry: PurePosixPath) -> Path:
    """The folder that the paths of a list start from."""
    folders = [root / folder for folder in _LIST_FOLDERS[split]]
    return next((folder for folder in folders if (folder / entry).is_file()), folders[0])


def _first_doubled(paths: Iterable[PurePosixPath]) -> PurePosixPath | None:
    seen: set[PurePosixPath] = set()
    for path in paths:
        if path in seen:
            return path
        seen.add(path)
    return None


def _require_files(pairs: Sequence[Pair], list_file: Path) -> None:
    missing = [path for pair in pairs for path in (pair.rgb, pair.depth) if not path.is_file()]
    if missing:
        raise ValueError(
            f"{list_file}: {len(missing)} of {2 * len(pairs)} listed files are missing (first: {missing[0]}); "
            "complete the copy or remove their lines"
        )


def _refuse_halves(listing: FolderListing, folder: Path) -> None:
    if listing.halves:
        raise ValueError(
            f"{folder}: {len(listing.halves)} files have no other half (first: {listing.halves[0]}); "
            "expected rgb_N.jpg and sync_depth_N.png side by side, complete the copy or remove the single files"
        )
