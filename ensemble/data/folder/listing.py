"""Which files of a folder are frames: images and depth maps by their patterns, scenes by name, splits by lists."""

import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from ensemble.console import counted
from ensemble.data.copies import Problem, ProblemKind, first_of, tell
from ensemble.data.folder.scenes import in_time, scene_of
from ensemble.data.formats.depth_files import READERS
from ensemble.data.source import Entry, Frame, Split
from ensemble.photographs.search import SUFFIXES
from ensemble.runs.refusals import expect_file, refusal, refuse_unreadable
from ensemble.settings.patterns import fixed_folder, frame_id
from ensemble.settings.schema import FIRST_FOLDER, FolderSettings

WORDS: dict[ProblemKind, tuple[str, str]] = {
    "missing": (
        "files without their other half",
        "expected one image and one depth map of a name: add it or take the other away",
    ),
    "doubled": ("names of several files", "expected one image and one depth map of a name, take the others away"),
    "damaged": ("files that cannot be used", "training would stop there"),
    "shape": ("frames of another shape than data.size", "set data.size to that of most, take the others away"),
    "unreadable": ("files that the system does not hand out", "they may be whole; mend the cause, then look again"),
}
_SHOWN = 4
_LONGEST_ID = 1024
_LARGEST_LIST, _LONGEST_LINE = 1 << 26, 80
"""Bytes of a list of more frames than there may be, and characters of a line that a message repeats."""


class Pair(NamedTuple):
    """The two files of a frame, from the root."""

    image: str
    depth: str


@dataclass(frozen=True)
class Listing:
    """The frames of a folder, what is wrong with others, and how many pairs no list names."""

    entries: tuple[Entry, ...]
    problems: tuple[Problem, ...] = ()
    unlisted: int = 0


def list_folder(root: Path, settings: FolderSettings) -> Listing:
    """Every frame with its scene and split; reads names and lists alone."""
    problems: list[Problem] = []
    images, depths = _matches(root, settings, problems)
    if not (images and depths):
        return Listing((), tuple(problems))
    pairs = _pairs(images, depths, settings, problems)
    splits = _splits(root, settings, pairs, problems)
    with in_time(f"data.folder.scene {settings.scene!r}", "expected no repetition within another one"):
        scenes = {name: scene_of(name, settings.scene) for name in splits}
    without_scene = [pairs[name].image for name, scene in scenes.items() if scene is None]
    entries = [Entry(Frame(name, scene, splits[name]), pairs[name]) for name, scene in scenes.items() if scene]
    if without_scene:
        problems.append(Problem("layout", _no_scene(without_scene, settings.scene)))
    return Listing(tuple(entries), tuple(problems), len(pairs) - len(splits))


def _no_scene(paths: Sequence[str], rule: str) -> str:
    said = f"{counted(len(paths), 'frame has', 'frames have')} no scene ({first_of(paths)}): "
    if rule == FIRST_FOLDER:
        return (
            f"{said}data.folder.scene is the {rule} of what the stars stand for, and they lie in none; expected a "
            "regular expression such as '(.+)_\\d+', or '(.+)' where no two frames show one place"
        )
    return f"{said}data.folder.scene {rule!r} matches nothing in them; expected a regular expression that does"


def _matches(
    root: Path, settings: FolderSettings, problems: list[Problem]
) -> tuple[Mapping[str, list[str]], Mapping[str, list[str]]]:
    """Paths of images and of depth maps by id; what both patterns fit belongs to the longer one."""
    images: dict[str, list[str]] = defaultdict(list)
    depths: dict[str, list[str]] = defaultdict(list)
    found = sorted(set(_files(root, {fixed_folder(settings.images), fixed_folder(settings.depth)})))
    image_first = len(settings.images) > len(settings.depth)
    patterns = f"data.folder.images {settings.images!r}, data.folder.depth {settings.depth!r}"
    with in_time(patterns, "expected fewer stars"):
        matched = [(path, frame_id(settings.images, path), frame_id(settings.depth, path)) for path in found]
    for path, image, depth in matched:
        if image is not None and (depth is None or image_first):
            images[image].append(path)
        elif depth is not None:
            depths[depth].append(path)
    for name, pattern, of_it in (("images", settings.images, images), ("depth", settings.depth, depths)):
        if not of_it:
            problems.append(Problem("layout", _nothing(root, f"data.folder.{name}", pattern, found)))
    problems += _foreign_kinds("images", images, SUFFIXES) + _foreign_kinds("depth", depths, READERS)
    return images, depths


def _nothing(root: Path, name: str, pattern: str, found: Sequence[str]) -> str:
    base = fixed_folder(pattern)
    if not (root / base).is_dir():
        there = ", ".join(sorted(path.name + "/" * path.is_dir() for path in root.iterdir())[:_SHOWN])
        return (
            f"{name}: {pattern} matches nothing: there is no folder {root / base}; expected one, found {there or '-'}"
        )
    own = [path for path in found if path.startswith(f"{base}/" if base else "")]
    shown = f"{counted(len(own), 'file')} ({first_of(own)})" if own else "no file"
    return f"{name}: {pattern} matches nothing; found {shown} in {root / base}, expected a pattern that fits them"


def _foreign_kinds(name: str, matched: Mapping[str, Sequence[str]], known: Iterable[str]) -> list[Problem]:
    paths = [path for own in matched.values() for path in own]
    foreign = [path for path in paths if Path(path).suffix.lower() not in known]
    if not foreign:
        return []
    return [
        Problem(
            "layout",
            f"data.folder.{name}: {len(foreign)} of {counted(len(paths), 'file')} "
            f"{'is' if len(foreign) == 1 else 'are'} of no kind that is read "
            f"({first_of(foreign)}); expected {', '.join(known)}",
        )
    ]


def _pairs(
    images: Mapping[str, Sequence[str]],
    depths: Mapping[str, Sequence[str]],
    settings: FolderSettings,
    problems: list[Problem],
) -> dict[str, Pair]:
    """The pairs by id; halves and doubles become problems."""
    if not images.keys() & depths.keys():
        image, depth = min(images), min(depths)
        text = (
            f"none of {len(images)} images and {len(depths)} depth maps go together: the stars of "
            f"data.folder.images stand for such as {image!r} ({images[image][0]}), those of data.folder.depth for such "
            f"as {depth!r} ({depths[depth][0]}); expected the same"
        )
        problems.append(Problem("layout", text))
        return {}
    pairs: dict[str, Pair] = {}
    for name in sorted(images.keys() | depths.keys()):
        image, depth = images.get(name, []), depths.get(name, [])
        if not depth:
            problems.append(Problem("missing", f"{image[0]} has no depth map by {settings.depth}"))
        elif not image:
            problems.append(Problem("missing", f"{depth[0]} has no image by {settings.images}"))
        elif len(image) > 1 or len(depth) > 1:
            problems.append(Problem("doubled", " and ".join(image if len(image) > 1 else depth)))
        elif not name.isprintable() or len(name.encode("utf-8", "surrogateescape")) > _LONGEST_ID:
            problems.append(Problem("layout", f"{image[0]!r}: expected a printable name, give it another one"))
        else:
            pairs[name] = Pair(image[0], depth[0])
    return pairs


def _splits(
    root: Path, settings: FolderSettings, pairs: Mapping[str, Pair], problems: list[Problem]
) -> dict[str, Split]:
    """The split of every frame that is used: by its list, or for training where there is none of training."""
    lists: tuple[tuple[Split, str | None], ...] = (
        ("train", settings.training),
        ("validation", settings.validation),
        ("test", settings.test),
    )
    by_path = {pair.image: name for name, pair in pairs.items()}
    splits: dict[str, Split] = {}
    places: dict[str, str] = {}
    for split, list_file in lists:
        unknown: list[str] = []
        for place, line in _lines(root, list_file, problems):
            name = line if line in pairs else by_path.get(line)
            if name is None:
                like = next(iter(pairs), "-")
                unknown.append(f"{place}: {line[:_LONGEST_LINE]!r} is no frame; expected an id such as {like!r}")
            elif name in places:
                text = f"{place}: {name} stands in {places[name]} already; expected it once"
                problems.append(Problem("layout", text))
            else:
                splits[name], places[name] = split, place
        more = [f"{root / str(list_file)}: {len(unknown) - _SHOWN} further lines name no frame"]
        told_lines = unknown[:_SHOWN] + more * (len(unknown) > _SHOWN)
        problems += [Problem("layout", text) for text in told_lines]
    if settings.training is None:
        splits = {name: splits.get(name, "train") for name in pairs}
    return splits


def _lines(root: Path, list_file: str | None, problems: list[Problem]) -> list[tuple[str, str]]:
    """Place and text of every line of a list; empty ones and those that begin with # say nothing."""
    if list_file is None:
        return []
    path = root / list_file
    try:
        expect_file(path, largest=_LARGEST_LIST)
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        problems.append(
            Problem("layout", f"{path}: there is no such file, expected a text file with an id in each line")
        )
        return []
    except (OSError, ValueError) as error:
        kind: ProblemKind = "layout" if refusal(error) is None else "unreadable"
        problems.append(Problem(kind, f"{path}: expected a text file with an id in each line ({error})"))
        return []
    numbered = enumerate((line.strip() for line in text.splitlines()), start=1)
    lines = [(f"{path}, line {number}", line) for number, line in numbered if line and not line.startswith("#")]
    if not lines:
        problems.append(Problem("layout", f"{path}: names no frame; expected an id in each line, or no such list"))
    return lines


def _files(root: Path, bases: Iterable[str]) -> Iterator[str]:
    """Paths of all files below some folders, from the root; links are followed, hidden ones left out."""
    for base in bases:
        for folder, folders, names in os.walk(root / base, followlinks=True, onerror=_refuse):
            place = Path(folder)
            if place.is_symlink() and _leads_back(place, root):
                folders.clear()
                continue
            folders[:] = [name for name in folders if not name.startswith(".")]
            start = place.relative_to(root).as_posix()
            prefix = "" if start == "." else f"{start}/"
            yield from (f"{prefix}{name}" for name in names if not name.startswith("."))


def _leads_back(link: Path, root: Path) -> bool:
    """Whether a link leads to a folder that it was reached through, or to one around it: such a way has no end."""
    target, above = link.resolve(), link.parents
    passed = [each for each in above if each.is_relative_to(root)]
    return any(each.resolve().is_relative_to(target) for each in passed)


def _refuse(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):  # a folder that is not there is told with its pattern
        refuse_unreadable(error.filename, error)


def told(problems: Sequence[Problem]) -> list[str]:
    """One sentence per kind of problem; layouts one by one, the first of many of a kind."""
    return tell(problems, WORDS)
