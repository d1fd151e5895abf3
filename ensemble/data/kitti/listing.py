"""Which frames of KITTI are used: by lists, by what has depth, or the validation selection; and which are missing."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from ensemble.data.copies import Problem, ProblemKind, tell, without_doubles
from ensemble.data.kitti.layout import CAMERAS, KINDS, SELECTION, DepthFolder, Layout, drives_of, find_layout
from ensemble.data.kitti.lists import Listed, find_list, read_list
from ensemble.data.source import Entry, Frame, Split
from ensemble.settings.schema import KittiSettings

WORDS: dict[ProblemKind, tuple[str, str]] = {
    "missing": ("missing files", "complete the downloads, or take their lines out of the list"),
    "doubled": ("frames that stand twice", "expected each once, take one away"),
    "damaged": ("files that cannot be used", "training would stop there"),
    "unreadable": ("files that the system does not hand out", "they may be whole; mend the cause, then look again"),
}
EDGE = 5
"""Frames at both ends of a drive that annotated depth, which was accumulated over 11 scans, never has."""

LOST_DRIVES = frozenset({"2011_09_26_drive_0079_sync"})
"""Listed by BTS, and gone from the annotated depth that is handed out today."""

LOST_SCANS = {"2011_09_26_drive_0009_sync": range(177, 181)}
_SELECTED = re.compile(r"(.+_sync)_image_(\d{10})_(image_0[23])\.png")
_SIDE = CAMERAS["l"]


class Place(NamedTuple):
    """Where a frame lies, from the root.

    Attributes:
        depth: A depth map, or a scan (``.bin``).
        calibration: The folder of its date's calibration, or a file of the selection's intrinsics.
        camera: ``image_02`` or ``image_03``.
    """

    image: str
    depth: str
    calibration: str
    camera: str


@dataclass(frozen=True)
class Listing:
    """The frames of a copy.

    Attributes:
        lists: The list of every split that has one.
        without_depth: Listed frames that have no depth and never had, by split and drive.
        notes: What is worth knowing of how frames were chosen.
    """

    layout: Layout
    entries: tuple[Entry, ...]
    problems: tuple[Problem, ...] = ()
    lists: dict[Split, Path] = field(default_factory=dict)
    without_depth: dict[Split, Counter[str]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def told(self) -> list[str]:
        """One sentence per kind of problem."""
        return tell(self.problems, WORDS)


def list_kitti(root: Path, settings: KittiSettings) -> Listing:
    """Every frame that is used, with its drive and split; reads names and lists alone."""
    return _Lister(root, settings).listing()


class _Lister:
    """Looks frames up; every folder is listed once."""

    def __init__(self, root: Path, settings: KittiSettings) -> None:
        self.root, self.settings = root, settings
        self.layout = find_layout(root)
        self.problems = list(self.layout.problems)
        self.notes: list[str] = []
        self.lists: dict[Split, Path] = {}
        self.without: dict[Split, Counter[str]] = defaultdict(Counter)
        self._names: dict[Path, frozenset[str]] = {}
        folders = self.layout.depth.get(settings.depth, ())
        self._folders = [(each, drives_of(each.folder, KINDS[settings.depth])) for each in folders]

    def listing(self) -> Listing:
        entries: list[Entry] = []
        lines = self._lines()
        if not self.problems:
            for split, listed in lines.items():
                entries += self._entries(split, listed)
            if not {"train", "validation"} & lines.keys():
                entries += self._unlisted(entries)
            if self.settings.test == SELECTION:
                entries += self._selected("test")
        kept = without_doubles(entries, self.problems)
        without: dict[Split, Counter[str]] = {split: count for split, count in self.without.items() if count}
        return Listing(self.layout, kept, tuple(self.problems), self.lists, without, tuple(self.notes))

    def _lines(self) -> dict[Split, tuple[Listed, ...]]:
        """The lines of every list that is used."""
        named: dict[Split, str | None] = {
            "train": self.settings.training,
            "validation": self.settings.validation,
            "test": self.settings.test,
        }
        lines: dict[Split, tuple[Listed, ...]] = {}
        for split, name in named.items():
            if name == SELECTION:
                continue
            path = find_list(self.root, split) if name is None else self.root / name
            if path is None or (name is None and self.layout.raw is None):
                continue
            if not path.is_file():
                text = (
                    f"{path}: there is no such list, expected a text file; set data.kitti.{_KEYS[split]} to its place"
                )
                self.problems.append(Problem("layout", text))
                continue
            found, strange = read_list(path)
            self.problems += strange
            self._check_dates(path, found)
            lines[split], self.lists[split] = found, path
        return self._without_shared(lines, named["validation"] is None)

    def _check_dates(self, path: Path, listed: Sequence[Listed]) -> None:
        """Refuse a tree without date folders, which calibration lies in."""
        if self.layout.dated or self.layout.raw is None or not listed:
            return
        first = listed[0]
        date = first.drive[:10]
        said = f"names {date}/{first.drive}" if first.dated else f"names {first.drive}"
        self.problems.append(
            Problem(
                "layout",
                f"{first.place}: {said}, found {self.layout.raw / first.drive} in no folder of its date; expected "
                f"{self.layout.raw / date / first.drive}, beside the calibration. Run: cd {self.layout.raw} && "
                "for d in *_sync; do mkdir -p ${d%_drive*} && mv $d ${d%_drive*}/; done",
            )
        )

    def _without_shared(
        self, lines: dict[Split, tuple[Listed, ...]], found_by_name: bool
    ) -> dict[Split, tuple[Listed, ...]]:
        """A validation list of the same drives validates nothing; it is left out where nobody named it."""
        if "validation" not in lines or "train" not in lines:
            return lines
        drives = {split: {line.drive for line in lines[split]} for split in ("train", "validation")}
        shared = drives["train"] & drives["validation"]
        if shared and found_by_name:
            self.notes.append(
                f"{self.lists.pop('validation')} is not used: {len(shared)} of its {len(drives['validation'])} "
                "drives are trained on, and frames of a drive are 0.1 s apart; data.validation_fraction of the drives "
                "validates"
            )
            return {split: each for split, each in lines.items() if split != "validation"}
        return lines

    def _entries(self, split: Split, listed: Sequence[Listed]) -> Iterator[Entry]:
        for line in listed:
            place = self._place(line.drive, line.camera, line.frame)
            if place is None:
                self.problems.append(Problem("missing", f"{self._image_folder(line)}/{line.frame}.png ({line.place})"))
            elif not place.depth:
                self._without_depth(split, line)
            elif not line.measured and self.settings.depth == "annotated":
                self.without[split][line.drive] += 1
            else:
                yield Entry(Frame(f"{line.drive}/{line.camera}/{line.frame}", line.drive, split), place)

    def _without_depth(self, split: Split, line: Listed) -> None:
        """Count what never had depth; anything else is missing."""
        if not line.measured or self._never_had(line):
            self.without[split][line.drive] += 1
            return
        where = f"{line.drive}/{_below(self.settings.depth, line.camera)}/{line.frame}.png"
        looked = ", ".join(str(each.folder) for each, _ in self._folders) or self.root
        self.problems.append(Problem("missing", f"{where} in {looked} ({line.place})"))

    def _never_had(self, line: Listed) -> bool:
        number = int(line.frame)
        lost = LOST_SCANS.get(line.drive, range(0))
        if self.settings.depth == "velodyne":
            return number in lost
        if line.drive in LOST_DRIVES and not any(line.drive in drives for _, drives in self._folders):
            return True
        last = max(
            (int(Path(name).stem) for name in self._in(self._image_folder(line)) if name[:10].isdecimal()), default=0
        )
        beside = any(abs(number - scan) <= EDGE for scan in lost)
        return number < EDGE or number > last - EDGE or beside

    def _image_folder(self, line: Listed) -> Path:
        return self.layout.drive_folder(line.drive) / line.camera / "data"

    def _unlisted(self, listed: Sequence[Entry]) -> Iterator[Entry]:
        """Without lists every frame of the left camera that has depth: train/ to train on, val/ to validate."""
        if self.layout.raw is None:
            if self.settings.test != SELECTION:
                yield from self._selected("train")
            return
        tested = {entry.frame.scene for entry in listed}
        for split, drive, name in self._with_depth():
            if drive not in tested and (place := self._place(drive, _SIDE, name)) is not None:
                yield Entry(Frame(f"{drive}/{_SIDE}/{name}", drive, split), place)

    def _with_depth(self) -> Iterator[tuple[Split, str, str]]:
        """Split, drive and number of every frame that has depth of the asked kind."""
        for folder, drives in self._folders:
            split: Split = "validation" if folder.split == "val" else "train"
            for drive in sorted(drives):
                names = self._in(folder.folder / drive / _below(self.settings.depth, _SIDE))
                for name in sorted(names):
                    if name.endswith(".png"):
                        yield split, drive, Path(name).stem
        if not self._folders and self.settings.depth == "velodyne":
            for folder in self.layout.drive_folders():
                for name in sorted(self._in(folder / "velodyne_points" / "data")):
                    if name.endswith(".bin"):
                        yield "train", folder.name, Path(name).stem

    def _selected(self, split: Split) -> Iterator[Entry]:
        """The frames of the validation selection, which are KB crops already."""
        folder = self.layout.selection
        if folder is None:
            text = f"{self.root}: data.kitti.test={SELECTION}: expected a folder {SELECTION}/, found none"
            self.problems.append(Problem("layout", text))
            return
        kind = {"annotated": "groundtruth_depth", "velodyne": "velodyne_raw"}[self.settings.depth]
        for name in sorted(self._in(folder / "image")):
            match = _SELECTED.fullmatch(name)
            if match is None:
                continue
            drive, frame, camera = match.groups()
            depth = folder / kind / f"{drive}_{kind}_{frame}_{camera}.png"
            if depth.name not in self._in(depth.parent):
                self.problems.append(Problem("missing", str(depth)))
                continue
            camera_file = folder / "intrinsics" / f"{Path(name).stem}.txt"
            image, truth, known = (
                str(path.relative_to(self.root)) for path in (folder / "image" / name, depth, camera_file)
            )
            yield Entry(Frame(f"{drive}/{camera}/{frame}", drive, split), Place(image, truth, known, camera))

    def _place(self, drive: str, camera: str, frame: str) -> Place | None:
        """Where a frame lies; with no depth where that is missing, nothing where its image is."""
        folder = self.layout.drive_folder(drive) / camera / "data"
        names = self._in(folder)
        image = next((folder / f"{frame}{suffix}" for suffix in (".png", ".jpg") if f"{frame}{suffix}" in names), None)
        if image is None:
            return None
        depth = self._depth_of(drive, camera, frame)
        paths = [str(path.relative_to(self.root)) for path in (image, self.layout.date_folder(drive))]
        return Place(paths[0], str(depth.relative_to(self.root)) if depth else "", paths[1], camera)

    def _depth_of(self, drive: str, camera: str, frame: str) -> Path | None:
        holders: list[DepthFolder] = [each for each, drives in self._folders if drive in drives]
        for each in holders:
            folder = each.folder / drive / _below(self.settings.depth, camera)
            if f"{frame}.png" in self._in(folder):
                return folder / f"{frame}.png"
        if self.settings.depth == "velodyne" and not self._folders:
            folder = self.layout.drive_folder(drive) / "velodyne_points" / "data"
            return folder / f"{frame}.bin" if f"{frame}.bin" in self._in(folder) else None
        return None

    def _in(self, folder: Path) -> frozenset[str]:
        if folder not in self._names:
            names = (path.name for path in folder.iterdir()) if folder.is_dir() else ()
            self._names[folder] = frozenset(name for name in names if not name.startswith("."))
        return self._names[folder]


_KEYS: dict[Split, str] = {"train": "training", "validation": "validation", "test": "test"}


def _below(depth: str, camera: str) -> str:
    return f"proj_depth/{KINDS[depth]}/{camera}"
