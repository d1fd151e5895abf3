"""Examines a copy of NYU Depth v2 without trusting it: what it is and holds, and what would make training wrong."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from ensemble.data.image_files import read_depth_mm, read_rgb
from ensemble.data.nyu_copies import COPIES, recognise
from ensemble.data.nyu_files import Pair, find_list_file, list_folder, read_list, split_type_folders
from ensemble.data.source import Split

QUICK_SAMPLE = 40
PLAUSIBLE_MEDIAN = (0.5, 6.0)
"""Metres: the median depth of indoor frames; outside, the unit is not millimetres."""

_BORDER_PIXELS = 3
_WHITE, _BLACK = 235, 20
_FEW_VALUES = 256
_ENOUGH_PIXELS = 10_000
_NAMED = 3
_MAX_DEPTH_MM = 10_000


@dataclass(frozen=True)
class Finding:
    """Something to know about a copy.

    Attributes:
        level: ``error`` where training would be wrong or stop, ``note`` otherwise.
        text: What was found and what to do.
    """

    level: Literal["error", "note"]
    text: str


@dataclass
class SplitReport:
    """What one split holds; depths in metres, over the decoded frames and valid pixels.

    Attributes:
        frames: Complete pairs.
        scenes: Different scenes.
        decoded: Frames that were decoded.
        sizes: Heights and widths that occur.
        nearest: Smallest depth.
        median: Median of the medians of frames.
        farthest: Largest depth.
        holes: Share of pixels without a measurement.
        border: Colour of the image border.
    """

    frames: int
    scenes: int
    decoded: int = 0
    sizes: list[tuple[int, int]] = field(default_factory=list)
    nearest: float | None = None
    median: float | None = None
    farthest: float | None = None
    holes: float | None = None
    border: str = "unknown"


@dataclass
class Diagnosis:
    """Everything that is known about a copy.

    Attributes:
        root: Its folder.
        copy: Key in ``COPIES``, or ``unknown``.
        title: What it is.
        full: Whether every frame was decoded.
        splits: One report per split.
        findings: Errors and notes.
    """

    root: Path
    copy: str
    title: str
    full: bool
    splits: dict[str, SplitReport] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)

    @property
    def trainable(self) -> bool:
        """Whether nothing was found that makes training wrong."""
        return all(finding.level != "error" for finding in self.findings)


@dataclass
class _Measurements:
    """What decoding the frames of a split gave."""

    problems: list[str] = field(default_factory=list)
    sizes: set[tuple[int, int]] = field(default_factory=set)
    medians: list[float] = field(default_factory=list)
    nearest: list[int] = field(default_factory=list)
    farthest: list[int] = field(default_factory=list)
    holes: list[float] = field(default_factory=list)
    beyond: list[float] = field(default_factory=list)
    coarse: list[bool] = field(default_factory=list)
    borders: list[float] = field(default_factory=list)


def diagnose(root: Path, *, full: bool = False, on_frame: Callable[[int, int], None] | None = None) -> Diagnosis:
    """Examines the copy in a folder.

    Args:
        root: The folder.
        full: Decode every frame; otherwise a sample spread over each split.
        on_frame: Called with the number of frames decoded and the number to decode.
    """
    copy = recognise(root) if root.is_dir() else None
    diagnosis = Diagnosis(root, copy.key if copy else "unknown", copy.title if copy else "no known copy", full)
    if copy is None:
        known = "; ".join(known.title for known in COPIES)
        diagnosis.findings.append(Finding("error", f"{root}: expected a copy of NYU Depth v2, one of: {known}"))
        return diagnosis
    if not copy.readable:
        diagnosis.findings.append(Finding("error", f"this looks like {copy.title}: {copy.advice}"))
        return diagnosis
    splits = {split: _list_split(root, split, diagnosis.findings) for split in ("train", "test")}
    named = split_type_folders([pair for pairs in splits.values() for pair in pairs])
    chosen = {
        split: _spread([pair for pair in named if pair.frame.split == split], None if full else QUICK_SAMPLE)
        for split in splits
    }
    total, done = sum(map(len, chosen.values())), 0
    for split, pairs in chosen.items():
        measured = _Measurements()
        for pair in pairs:
            _measure(pair, measured)
            done += 1
            if on_frame:
                on_frame(done, total)
        scenes = {pair.frame.scene for pair in named if pair.frame.split == split}
        if pairs:
            diagnosis.splits[split] = _summary(len(splits[split]), len(scenes), measured)
        diagnosis.findings.extend(_judge_split(split, measured, full=full))
    diagnosis.findings.extend(_judge_scenes(named))
    return diagnosis


def _list_split(root: Path, split: Split, findings: list[Finding]) -> tuple[Pair, ...]:
    """Complete pairs of a split; what is wrong with the others goes into the findings."""
    list_file = find_list_file(root, split)
    if list_file is None:
        folder = root / "official_splits" / split
        if not folder.is_dir():
            return ()
        listing = list_folder(folder, split)
        if listing.halves:
            text = f"{split}: {len(listing.halves)} files have no other half ({_first(listing.halves)})"
            findings.append(Finding("error", f"{text}; complete the copy or remove them"))
        return listing.pairs
    try:
        pairs = read_list(root, list_file, split)
    except ValueError as error:
        findings.append(Finding("error", str(error)))
        return ()
    missing = [path for pair in pairs for path in (pair.rgb, pair.depth) if not path.is_file()]
    if missing:
        text = f"{list_file.name}: {len(missing)} of {2 * len(pairs)} listed files are missing ({_first(missing)})"
        findings.append(Finding("error", f"{text}; complete the copy or remove their lines"))
    return tuple(pair for pair in pairs if pair.rgb.is_file() and pair.depth.is_file())


def _spread(pairs: Sequence[Pair], count: int | None) -> list[Pair]:
    """At most ``count`` pairs, evenly spread."""
    if count is None or len(pairs) <= count:
        return list(pairs)
    return [pairs[index] for index in np.linspace(0, len(pairs) - 1, count).astype(int)]


def _measure(pair: Pair, measured: _Measurements) -> None:
    """Decodes one pair; a file that cannot be used becomes a problem."""
    try:
        image, depth_mm = read_rgb(pair.rgb), read_depth_mm(pair.depth)
    except ValueError as error:
        measured.problems.append(str(error))
        return
    if image.shape[:2] != depth_mm.shape:
        measured.problems.append(
            f"{pair.depth}: expected the size of its image {image.shape[:2]}, found {depth_mm.shape}"
        )
        return
    known = depth_mm[depth_mm > 0]
    measured.sizes.add(depth_mm.shape)
    measured.holes.append(1 - known.size / depth_mm.size)
    frame = np.ones(depth_mm.shape, bool)
    frame[_BORDER_PIXELS:-_BORDER_PIXELS, _BORDER_PIXELS:-_BORDER_PIXELS] = False
    measured.borders.append(float(image[frame].mean()))
    if known.size:
        measured.medians.append(float(np.median(known)))
        measured.nearest.append(int(known.min()))
        measured.farthest.append(int(known.max()))
        measured.beyond.append(float((known >= _MAX_DEPTH_MM).mean()))
        if known.size >= _ENOUGH_PIXELS:
            measured.coarse.append(len(np.unique(known)) <= _FEW_VALUES)


def _summary(frames: int, scenes: int, measured: _Measurements) -> SplitReport:
    report = SplitReport(frames, scenes, len(measured.holes), sorted(measured.sizes))
    if measured.medians:
        report.nearest = min(measured.nearest) / 1000
        report.median = float(np.median(measured.medians)) / 1000
        report.farthest = max(measured.farthest) / 1000
    if measured.holes:
        report.holes = float(np.mean(measured.holes))
        brightness = float(np.median(measured.borders))
        report.border = "white" if brightness > _WHITE else "black" if brightness < _BLACK else "none"
    return report


def _judge_split(split: str, measured: _Measurements, *, full: bool) -> list[Finding]:
    """What the decoded frames of a split say against training on them."""
    findings: list[Finding] = []
    if measured.problems:
        kind = "files" if full else "files of the sample"
        findings.append(
            Finding("error", f"{split}: {len(measured.problems)} {kind} cannot be used; {_first(measured.problems)}")
        )
    low, high = PLAUSIBLE_MEDIAN
    if measured.medians:
        median = float(np.median(measured.medians)) / 1000
        if not low <= median <= high:
            text = f"{split}: median depth is {median:.3f} m, expected {low} .. {high} m"
            findings.append(Finding("error", f"{text}; the files are not in millimetres, take the original ones"))
    elif measured.holes:
        findings.append(Finding("error", f"{split}: no decoded frame has a measurement; take the original depth files"))
    if measured.coarse and np.mean(measured.coarse) > 0.5:
        text = f"{split}: depth has at most {_FEW_VALUES} different values per frame: 8-bit depth in a 16-bit file"
        findings.append(Finding("error", f"{text}; take the original 16-bit files"))
    if measured.beyond and np.mean(measured.beyond) > 0.01:
        text = f"{split}: {np.mean(measured.beyond):.1%} of the measurements are 10 m or farther"
        findings.append(Finding("note", f"{text} and will not be used"))
    if len(measured.sizes) > 1:
        findings.append(Finding("note", f"{split}: frames have {len(measured.sizes)} different sizes"))
    return findings


def _judge_scenes(pairs: Sequence[Pair]) -> list[Finding]:
    """What the division into scenes says against training."""
    scenes: dict[Split, set[str]] = {"train": set(), "test": set()}
    for pair in pairs:
        scenes[pair.frame.split].add(pair.frame.scene)
    findings: list[Finding] = []
    if shared := sorted(scenes["train"] & scenes["test"]):
        text = f"{len(shared)} scenes are in the training and in the test split ({_first(shared)})"
        findings.append(Finding("error", f"{text}; mend the copy, or set data.test=held-out"))
    if len(scenes["train"]) < 2:
        text = f"training split: found {len(scenes['train'])} scenes, expected at least 2 to validate on other scenes"
        findings.append(Finding("error", f"{text}; complete the copy"))
    elif not scenes["test"]:
        findings.append(Finding("note", "there is no test split: set data.test=held-out to test on training scenes"))
        if len(scenes["train"]) < 3:
            findings.append(Finding("error", "held-out tests need at least 3 training scenes, found 2"))
    return findings


def _first(items: Sequence[object]) -> str:
    more = f", and {len(items) - _NAMED} more" if len(items) > _NAMED else ""
    return "first: " + "; ".join(map(str, items[:_NAMED])) + more
