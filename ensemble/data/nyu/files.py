"""Finds the pairs of RGB and depth files in BTS's copies: ``sync/`` with list files, ``official_splits/``."""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from ensemble.data.copies import Problem, dead_links, without_doubles
from ensemble.data.nyu.lists import read_lines
from ensemble.data.nyu.scenes import LABELED_FRAMES, runs_of
from ensemble.data.source import Entry, Frame, Split
from ensemble.data.splits import scene_of_folder

LIST_FILES: Mapping[Split, tuple[str, ...]] = {
    "train": ("nyudepthv2_train_files_with_gt.txt", "nyudepthv2_train_files_with_gt_dense.txt"),
    "test": ("nyudepthv2_test_files_with_gt.txt", "nyudepthv2_test_files_with_gt_dense.txt"),
}
"""BTS's list of a split, and LapDepth's, which names in-filled depth in a further column."""
_LISTS_IN = (".", "sync", "train_test_inputs", "datasets")
SPLITS: tuple[Split, ...] = ("train", "test")
_LIST_FOLDERS: Mapping[Split, tuple[str, ...]] = {
    "train": ("sync", "official_splits/train", "train", "."),
    "test": ("official_splits/test", "test", "sync", "."),
}
_RGB_NAME = re.compile(r"rgb_(\d+)\.(?:jpg|png)")
_DEPTH_NAME = re.compile(r"sync_depth_(\d+)\.png")
_NUMBERED_FOLDER = re.compile(r".*_\d+[a-z]?")


class Pair(NamedTuple):
    """The two files of a frame."""

    rgb: Path
    depth: Path


def list_pairs(root: Path) -> tuple[tuple[Entry, ...], list[Problem]]:
    """Every complete pair of both splits with its scene, by the list of a split or its folder, and what is wrong."""
    entries: list[Entry] = []
    problems: list[Problem] = []
    for split in SPLITS:
        if list_file := find_list_file(root, split):
            entries += _listed(root, list_file, split, problems)
        else:
            entries += _in_folders(root / "official_splits" / split, split, problems)
    return tuple(split_type_folders(without_doubles(entries, problems))), problems


def find_list_file(root: Path, split: Split) -> Path | None:
    """The list file of a split, in the root or in a folder where BTS or LapDepth has it."""
    paths = (root / folder / name for name in LIST_FILES[split] for folder in _LISTS_IN)
    return next((path for path in paths if path.is_file()), None)


def missing_files(pairs: Sequence[Pair]) -> list[Problem]:
    """The files of pairs that are not there."""
    return [Problem("missing", str(path)) for pair in pairs for path in pair if not path.is_file()]


def _listed(root: Path, list_file: Path, split: Split, problems: list[Problem]) -> list[Entry]:
    """The pairs that a list file names: one line of ``rgb depth [anything]`` each."""
    lines, wrong = read_lines(list_file.read_text(encoding="utf-8-sig", errors="replace"), str(list_file))
    problems += wrong
    base, entries = _base_folder(root, split, lines[0].rgb) if lines else root, []
    for line in lines:
        pair = Pair(base / line.rgb, base / line.depth)
        if missing := missing_files([pair]):
            problems += missing
        else:
            entries.append(Entry(Frame(line.name, scene_of_folder(line.rgb.parent.name), split), pair))
    return entries


def _in_folders(folder: Path, split: Split, problems: list[Problem]) -> list[Entry]:
    """The pairs of ``<scene>/rgb_N.jpg`` and ``<scene>/sync_depth_N.png`` in a split folder, sorted by id."""
    entries: list[Entry] = []
    problems += dead_links(folder)
    for scene_folder in sorted(path for path in folder.glob("[!.]*") if path.is_dir()):
        files: dict[str, dict[str, Path]] = {"rgb": {}, "depth": {}}
        for path in sorted(scene_folder.iterdir()):
            for kind, pattern in (("rgb", _RGB_NAME), ("depth", _DEPTH_NAME)):
                if match := pattern.fullmatch(path.name):
                    if match.group(1) in files[kind]:
                        problems.append(Problem("doubled", f"{path} and {files[kind][match.group(1)].name}"))
                    files[kind].setdefault(match.group(1), path)
        for number in sorted(files["rgb"].keys() | files["depth"].keys()):
            rgb, depth = files["rgb"].get(number), files["depth"].get(number)
            if rgb is None or depth is None:
                other = f"sync_depth_{number}.png" if depth is None else f"rgb_{number}.jpg"
                problems.append(Problem("missing", f"{scene_folder / other}, the other half of {(rgb or depth)}"))
                continue
            frame = Frame(f"{scene_folder.name}/{rgb.stem}", scene_of_folder(scene_folder.name), split)
            entries.append(Entry(frame, Pair(rgb, depth)))
    return entries


def split_type_folders(entries: Sequence[Entry]) -> list[Entry]:
    """Gives frames in folders of a scene type (``kitchen``) the scene that their number tells.

    In the official layout a folder holds all kitchens of a split, and both splits have kitchens. The number of a file
    is then its index in the labeled set, where a run of consecutive numbers never cuts a scene, so the run stands for
    it. Folders with a numbered name (``kitchen_0028b``, ``group_031``) are scenes.
    """
    by_folder: dict[tuple[Split, str], dict[int, int]] = defaultdict(dict)
    count = 0
    for position, (frame, pair) in enumerate(entries):
        match = _RGB_NAME.fullmatch(pair.rgb.name)
        if match and not _NUMBERED_FOLDER.fullmatch(pair.rgb.parent.name):
            by_folder[frame.split, pair.rgb.parent.name][int(match.group(1))] = position
            count += 1
    numbers = {number for members in by_folder.values() for number in members}
    if len(numbers) < count or any(number >= LABELED_FRAMES for number in numbers):
        return list(entries)
    renamed = list(entries)
    for (split, folder), members in by_folder.items():
        for number, first in runs_of(members).items():
            frame, pair = entries[members[number]]
            renamed[members[number]] = Entry(Frame(frame.id, f"{folder}@{first:05d}", split), pair)
    return renamed


def _base_folder(root: Path, split: Split, entry: PurePosixPath) -> Path:
    """The folder that the paths of a list start from."""
    folders = [root / folder for folder in _LIST_FOLDERS[split]]
    return next((folder for folder in folders if (folder / entry).is_file()), folders[0])
