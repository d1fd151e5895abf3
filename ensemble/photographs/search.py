"""Which files of some places are photographs, and what the results of each are called."""

import re
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from PIL import features

from ensemble.photographs.folders import files_below

HEIF_SUFFIXES = (".heic", ".heif")
"""Of photographs that Pillow reads where pillow-heif is installed."""
MOST_PIXELS = 250_000_000
"""Of a photograph; more are refused before they are decoded."""
SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".gif", ".tif", ".tiff", ".bmp", *HEIF_SUFFIXES),
    *(".jp2", ".j2k", ".ppm", ".pgm", ".pnm", ".tga"),
    *((".avif",) if features.check("avif") else ()),
)
"""Of what is a photograph in a folder that is searched; Pillow reads AVIF since 11.3."""
_NAMED = 3
"""Files that a line names."""

_WRITTEN = re.compile(
    r"(.+)_((depth|error)_colour\.png|depth_(mm|kitti)\.png|weights\.png|(depth|error|weights)\.tiff)", re.DOTALL
)
"""What a prediction writes beside a photograph that could pass for one; its name, or all but its ending, in front."""

_RESULTS, _OTHERS = ("result of a prediction", "results of a prediction"), ("other file", "other files")


@dataclass
class Found:
    """What there is at some places.

    Attributes:
        photographs: Each once, by the name of its results.
        missing: Files that were named and are not there.
        empty: Folders that were searched and hold no photograph.
        written: Of every folder that was searched what predictions wrote, from the folder.
        others: Of every folder what is neither a photograph nor known by its ending.
    """

    photographs: dict[str, Path] = field(default_factory=dict)
    missing: list[Path] = field(default_factory=list)
    empty: list[Path] = field(default_factory=list)
    written: dict[Path, list[str]] = field(default_factory=dict)
    others: dict[Path, list[str]] = field(default_factory=dict)

    def left_out(self) -> list[str]:
        """What is said of files of folders that are not read, a line for each folder and kind."""
        return [
            f"{len(names)} {kind[len(names) > 1]} in {folder} {'was' if len(names) == 1 else 'were'} left out: "
            f"{_first(names)}"
            for kind, found in ((_RESULTS, self.written), (_OTHERS, self.others))
            for folder, names in found.items()
            if names
        ]


def search(places: Sequence[Path], out: Path | None = None, *, known: Collection[str] = ()) -> Found:
    """Every photograph, each once, by the name of its results: of files their stems, of folders the paths within them.

    Two of one folder that share a stem keep the ending of their files; where names of several folders are the same,
    that of the folder comes in front.

    Args:
        places: Files, which are taken as they are, and folders, which are searched.
        out: Where results will be written; left out where it lies in a folder that is searched.
        known: Endings of further files that nobody wonders about in a folder, such as those of depth maps.

    Raises:
        ValueError: Two have one name all the same, so that their results would collide.
    """
    found, files = Found(), dict[Path, tuple[Path, Path]]()
    for place in places:
        if place.is_dir():
            if not (below := _photographs_below(place, out, known, found)):
                found.empty.append(place)
            for path in below:
                files.setdefault(path.resolve(), (path, path.relative_to(place)))
        elif place.exists():
            files.setdefault(place.resolve(), (place, Path(place.name)))
        else:
            found.missing.append(place)
    stems = Counter((path.parent.resolve(), path.stem) for path, _ in files.values())
    found.photographs = _by_name(
        [_Named.of(path, inside, shared=stems[path.parent.resolve(), path.stem] > 1) for path, inside in files.values()]
    )
    return found


class _Named(NamedTuple):
    """A photograph, and what its results may be called, from short to long."""

    names: tuple[str, str, str]
    path: Path
    inside: Path

    @classmethod
    def of(cls, path: Path, inside: Path, *, shared: bool) -> "_Named":
        """The names of a file by its path within the folder that was asked for."""
        short = (inside if shared else inside.with_suffix("")).as_posix()
        above = path.resolve().parents[len(inside.parts) - 1].name
        return cls((short, f"{above}/{short}", f"{above}/{inside.as_posix()}"), path, inside)


def _by_name(files: Sequence[_Named]) -> dict[str, Path]:
    named, left = dict[str, Path](), [*files]
    for way in range(3):
        often = Counter(each.names[way] for each in left)
        alone = [each for each in left if often[each.names[way]] == 1 and each.names[way] not in named]
        named |= {each.names[way]: each.path for each in alone}
        left = [each for each in left if each not in alone]
    if left:
        first, *_ = left
        same = ", ".join(str(each.path) for each in left if each.names == first.names)
        raise ValueError(f"{same}: photographs of one name, {first.inside}; their results would collide")
    order = {each.path: index for index, each in enumerate(files)}
    return dict(sorted(named.items(), key=lambda each: order[each[1]]))


def _photographs_below(folder: Path, out: Path | None, known: Collection[str], found: Found) -> list[Path]:
    """The photographs of a folder; what else there is goes into ``found``."""
    files = files_below(folder)
    photographs = [path for path in files if path.suffix.lower() in SUFFIXES]
    beside = {path.parent / name for path in photographs for name in (path.name, path.stem)}
    results = folder.resolve() if out is None else out.resolve()
    inside = results != folder.resolve() and results.is_relative_to(folder.resolve())
    written = {
        path for path in files if inside and (folder.resolve() / path.relative_to(folder)).is_relative_to(results)
    }
    for path in photographs:
        match = _WRITTEN.fullmatch(path.name)
        if match is not None and path.parent / match.group(1) in beside:
            written.add(path)
    others = [path for path in files if path.suffix.lower() not in (*SUFFIXES, *known) and path not in written]
    found.written[folder] = [path.relative_to(folder).as_posix() for path in photographs if path in written]
    found.others[folder] = [path.relative_to(folder).as_posix() for path in others]
    return [path for path in photographs if path not in written]


def _first(names: Sequence[str]) -> str:
    return ", ".join([*names[:_NAMED], *(["..."] if len(names) > _NAMED else [])])
