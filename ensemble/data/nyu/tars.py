"""The copy of HuggingFace ``sayakpaul/nyu_depth_v2``: FastDepth's files inside of tar archives, read where they lie.

The archives are listed once, when the copy is opened: 47,584 names take seconds. A frame is then read from its
archive by offset and size; nothing is unpacked.

Verified against users' code: ``data/train-000000.tar`` .. ``-000011.tar`` and ``val-000000.tar``, ``val-000001.tar``,
not compressed; test members are ``val/official/<number>.h5``. From memory: training members are
``train/<scene>/<number>.h5``. The folder right above a file is taken for its scene; nothing above that is relied on.
"""

import re
import tarfile
from collections import defaultdict
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from ensemble.data.copies import Contents, NyuSource, Problem, without_doubles
from ensemble.data.formats.hdf5 import check_end
from ensemble.data.nyu.fastdepth import H5Reader, frame_of, official_scenes
from ensemble.data.nyu.lists import leads_outside
from ensemble.data.source import Entry, Split
from ensemble.runs.refusals import refusal, refuse_unreadable

_ARCHIVE = re.compile(r"(train|val)-(\d+)\.tar")
_BLOCK = 512
_LARGEST_MEMBER = 1 << 26


class Place(NamedTuple):
    """A member of an archive."""

    archive: Path
    member: str
    offset: int
    size: int


class TarReader(H5Reader):
    """Reads such files inside of archives."""

    def content(self, place: Place) -> bytes:
        """What is in the member."""
        return read_member(place)

    def check(self, place: Place) -> None:
        """The member has its full length."""
        check_end(read_member(place._replace(size=min(place.size, 64))), place.size, self.where(place))

    def stamp(self, place: Place) -> str:
        """Where in which archive the member lies, and its size."""
        return f"{place.archive.name} {place.offset} {place.size}"

    def where(self, place: Place) -> str:
        """Archive and member."""
        return f"{place.archive}, {place.member}"


def contents(root: Path) -> Contents:
    """The frames of the archives ``{train,val}-NNNNNN.tar``."""
    entries: list[Entry] = []
    problems: list[Problem] = []
    archives = find_archives(root)
    for archive in archives:
        split: Split = "train" if archive.name.startswith("train") else "test"
        for place in list_members(archive, problems):
            path = PurePosixPath(place.member)
            entries.append(Entry(frame_of(path.parent.name, path.stem, split), place))
    problems += _missing_archives(archives)
    named = official_scenes(without_doubles(entries, problems))
    return Contents(NyuSource(root, tuple(named), TarReader()), tuple(problems))


def find_archives(root: Path) -> list[Path]:
    """The archives in the folder or in its ``data``."""
    for folder in (root / "data", root):
        if archives := sorted(path for path in folder.glob("*.tar") if _ARCHIVE.fullmatch(path.name)):
            return archives
    return []


def list_members(archive: Path, problems: list[Problem]) -> list[Place]:
    """Where the HDF5 files of an archive lie; links, names that lead out of it and a missing end become problems."""
    places: list[Place] = []
    end = 0
    try:
        with tarfile.open(archive, "r:") as tar:
            for entry in tar:
                end = entry.offset_data + -(-entry.size // _BLOCK) * _BLOCK if entry.isreg() else entry.offset_data
                if entry.isdir():
                    continue
                if reason := _refusal(entry):
                    problems.append(Problem("foreign", f"{archive}, {entry.name!r} {reason}"))
                elif entry.name.endswith(".h5") and not PurePosixPath(entry.name).name.startswith("."):
                    places.append(Place(archive, entry.name, entry.offset_data, entry.size))
        _require_end(archive, end)
    except (tarfile.TarError, OSError, ValueError, MemoryError) as error:
        if reason := refusal(error):
            problems.append(Problem("unreadable", f"{archive}: cannot be read ({reason})"))
        else:
            problems.append(Problem("damaged", f"{archive}: damaged or cut short ({error})"))
    return places


def read_member(place: Place) -> bytes:
    """The bytes of a member; an archive that cannot be read or ends before it is refused."""
    try:
        with place.archive.open("rb") as file:
            file.seek(place.offset)
            content = file.read(place.size)
    except (OSError, MemoryError) as error:
        refuse_unreadable(place.archive, error)
        raise
    if len(content) < place.size:
        raise ValueError(f"{place.archive}, {place.member}: cut short; fetch the archive again")
    return content


def _refusal(entry: tarfile.TarInfo) -> str | None:
    """Why a member is not read, if there is a reason."""
    if not entry.isreg() or entry.issparse():
        return "is a link, a device or a file with holes"
    if entry.name.startswith("/") or leads_outside(entry.name, parts=1):
        return "leads out of the archive"
    if entry.name.endswith(".h5") and leads_outside(entry.name):
        return "has no folder, expected <scene>/<number>.h5"
    if entry.size > _LARGEST_MEMBER:
        return f"claims {entry.size} bytes, expected at most {_LARGEST_MEMBER}"
    return None


def _require_end(archive: Path, end: int) -> None:
    """An archive ends with blocks of zeros; one that was cut between two members does not."""
    with archive.open("rb") as file:
        file.seek(end)
        tail = file.read(_BLOCK)
    if len(tail) < _BLOCK or any(tail):
        raise ValueError(f"no end mark after {end} bytes")


def _missing_archives(archives: list[Path]) -> list[Problem]:
    """Gaps in the numbers of the archives."""
    numbers: dict[str, dict[int, Path]] = defaultdict(dict)
    for archive in archives:
        if match := _ARCHIVE.fullmatch(archive.name):
            numbers[match.group(1)][int(match.group(2))] = archive
    return [
        Problem("missing", str(archives[0].with_name(f"{split}-{number:06d}.tar")))
        for split, present in numbers.items()
        for number in range(max(present))
        if number not in present
    ]
