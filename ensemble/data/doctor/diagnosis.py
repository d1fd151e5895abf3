"""Examines a copy of NYU Depth v2 without trusting it: what it is and holds, and what would make training wrong."""

import shlex
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ensemble.console import counted
from ensemble.data.copies import Problem, first_of, tell
from ensemble.data.doctor.measurements import Measurements, examine_all
from ensemble.data.nyu.files import SPLITS
from ensemble.data.nyu.recognition import Copy, copies_in, look_through, recognise
from ensemble.data.source import Frame, Split
from ensemble.data.splits import evenly_spread
from ensemble.settings.kinds import COPY
from ensemble.settings.names import known_learners

QUICK_SAMPLE = 40
PLAUSIBLE_MEDIAN = (0.5, 6.0)
"""Metres: the median depth of indoor frames; outside, the unit is another one."""

CHANCE = 0.05
"""Share of a split's frames that may look like another unit or like 8 bits: of the real pairs 0.3 % and 0.1 % do."""

COUNTED = ("missing", "damaged", "unreadable", "doubled", "foreign")
"""Kinds of problems that are counted; the others are told one by one."""

_NAMED = 4
"""Frames with one image of which all are named."""

_UNITS = {
    "metres read as millimetres": 1000.0,
    "8-bit values, 255 for 10 m, read as millimetres": 10_000 / 255,
    "centimetres read as millimetres": 10.0,
    "fifths of a millimetre read as millimetres": 0.2,
    "millimetres read as metres": 0.001,
}
"""What depth may be taken for by mistake, and the factor that mends it."""


@dataclass(frozen=True)
class Finding:
    """What was found and what to do: an ``error`` where training would be wrong or stop, a ``note`` otherwise."""

    level: Literal["error", "note"]
    text: str


@dataclass
class SplitReport:
    """What one split holds; depths in metres, over the decoded frames and valid pixels.

    Attributes:
        frames: Frames whose files are there.
        published: Number of frames of the published copy, where it has this split.
        sizes: Heights and widths that occur.
        median: Median of the medians of frames.
        holes: Share of pixels without a measurement.
        quantiles: Of the depth of frames, each the median over them; own data alone have them.
        scale: ``metres`` where the depth is plausible, ``8-bit`` where it is in 255 steps, else ``wrong``.
    """

    frames: int
    scenes: int
    published: int | None = None
    decoded: int = 0
    sizes: list[tuple[int, int]] = field(default_factory=list)
    nearest: float | None = None
    median: float | None = None
    farthest: float | None = None
    holes: float | None = None
    border: str = "unknown"
    quantiles: dict[str, float] | None = None
    scale: Literal["unknown", "metres", "8-bit", "wrong"] = "unknown"


@dataclass
class Diagnosis:
    """Everything that is known about a copy.

    Attributes:
        copy: Key in ``COPIES``, the kind of own data, or ``unknown``.
        full: Whether every frame was decoded.
        splits: One report per split that has frames.
        files: How many files are missing, damaged, doubled or lead out of the copy.
        findings: Errors and notes.
        words: Options of the command that trains on it; of the kind and the folder of a copy where empty.
        held_out: Whether the settings test on scenes of the training split.
    """

    root: Path
    copy: str = "unknown"
    title: str = "no known copy"
    full: bool = False
    splits: dict[str, SplitReport] = field(default_factory=dict)
    files: dict[str, int] = field(default_factory=lambda: dict.fromkeys(COUNTED, 0))
    findings: list[Finding] = field(default_factory=list)
    words: tuple[str, ...] = ()
    held_out: bool = False

    @property
    def trainable(self) -> bool:
        """Whether nothing was found that makes training wrong."""
        return all(finding.level != "error" for finding in self.findings)

    @property
    def command(self) -> str | None:
        """The command that trains on the copy; none where something has to be mended first."""
        if not self.trainable:
            return None
        words = self.words or ("--data", COPY, "--root", str(self.root))
        test = () if "test" in self.splits or self.held_out else ("--set", "data.test=held-out")
        return shlex.join(["python", "-m", "ensemble.base", "train", known_learners()[0], *words, *test])

    def summary(self) -> dict[str, Any]:
        """All of it as plain data, for JSON."""
        plain = {key: value for key, value in asdict(self).items() if key not in ("words", "held_out")}
        return {**plain, "root": str(self.root), "trainable": self.trainable, "command": self.command}

    def error(self, text: str) -> None:
        """Adds something that makes training wrong."""
        self.findings.append(Finding("error", text))

    def note(self, text: str) -> None:
        """Adds something to know."""
        self.findings.append(Finding("note", text))


def diagnose(
    root: Path,
    *,
    full: bool = False,
    infilled: bool = False,
    workers: int | None = None,
    on_frame: Callable[[int, int], None] | None = None,
    words: Sequence[str] = (),
    held_out: bool = False,
) -> Diagnosis:
    """Examines the copy in a folder: all files, and every frame decoded or a sample spread over each split.

    In-filled depth is taken where asked for and a copy has both kinds; as many processes decode as there are cores
    where ``workers`` is absent; ``on_frame`` gets the number of frames examined and the number to examine. ``words``
    and ``held_out`` are those of a ``Diagnosis``.
    """
    diagnosis = Diagnosis(root, full=full, words=tuple(words), held_out=held_out)
    try:
        copy = recognise(root)
        diagnosis.copy, diagnosis.title = copy.key, copy.title
        copy, contents = look_through(root, infilled=infilled)
    except ValueError as error:
        diagnosis.error(str(error))
        return diagnosis
    frames = contents.source.frames
    parts = [[frame for frame in frames if frame.split == split] for split in SPLITS]
    sampled = {frame for part in parts for frame in (part if full else evenly_spread(part, QUICK_SAMPLE))}
    tasks = [(frame, frame in sampled) for frame in frames]
    problems = list(contents.problems)
    measured: dict[Split, dict[Frame, Measurements]] = {"train": {}, "test": {}}
    for examined in examine_all(contents.source, tasks, workers=workers, on_frame=on_frame):
        if examined.problem:
            problems.append(examined.problem)
        if examined.measured:
            measured[examined.frame.split][examined.frame] = examined.measured
    _judge_files(diagnosis, problems)
    for split in SPLITS:
        own = [frame for frame in frames if frame.split == split]
        if own:
            diagnosis.splits[split] = _summary(own, list(measured[split].values()), copy.published.get(split, ()))
        _judge_depth(diagnosis, split, measured[split], copy)
    _judge_copy(diagnosis, copy)
    _judge_scenes(diagnosis, frames)
    judge_doubles(diagnosis, measured, measured["train"] | measured["test"])
    return diagnosis


def _summary(frames: Sequence[Frame], measured: Sequence[Measurements], published: Sequence[int]) -> SplitReport:
    nearest_published = min(published, key=lambda number: abs(number - len(frames)), default=None)
    report = SplitReport(len(frames), len({frame.scene for frame in frames}), nearest_published, len(measured))
    report.sizes = sorted({one.size for one in measured})
    if medians := [one.median for one in measured if one.median is not None]:
        report.nearest = min(one.nearest for one in measured if one.nearest is not None)
        report.median = float(np.median(medians))
        report.farthest = max(one.farthest for one in measured if one.farthest is not None)
    if measured:
        report.holes = float(np.mean([one.holes for one in measured]))
        report.border = Counter(one.border for one in measured).most_common(1)[0][0]
    return report


def _judge_files(diagnosis: Diagnosis, problems: Sequence[Problem]) -> None:
    """Files that are missing, damaged, not to be read, doubled, or not of this copy."""
    for problem in problems:
        if problem.kind in diagnosis.files:
            diagnosis.files[problem.kind] += 1
    for text in tell(problems):
        diagnosis.error(text)


def _judge_depth(diagnosis: Diagnosis, split: Split, found: Mapping[Frame, Measurements], copy: Copy) -> None:
    """What the decoded depth of a split says against training on it."""
    if not found:
        return
    report, measured = diagnosis.splits[split], found.values()
    low, high = PLAUSIBLE_MEDIAN
    coarse = [frame.id for frame, one in found.items() if one.coarse]
    outside = [frame.id for frame, one in found.items() if one.median is not None and not low <= one.median <= high]
    eight_bits = len(coarse) > CHANCE * len(found)
    right = not eight_bits or (copy.eight_bits and split == "train")
    report.scale = ("8-bit" if eight_bits else "metres") if right else "wrong"
    if report.median is None:
        report.scale = "unknown"
        diagnosis.error(f"{split}: no decoded frame has a measurement; take the copy's original depth")
    elif not low <= report.median <= high:
        report.scale = "wrong"
        text = f"{split}: median depth is {report.median:.3f} m, expected {low} .. {high} m"
        diagnosis.error(f"{text}; {_likely_unit(report.median)}take the copy's original depth")
    elif len(outside) > CHANCE * len(found):
        report.scale = "wrong"
        text = f"{split}: {len(outside)} of {len(found)} decoded frames have a median depth outside {low} .. {high} m"
        diagnosis.error(f"{text} ({first_of(outside)}): they may be in another unit; take the copy's original depth")
    if not right:
        text = f"{split}: {len(coarse)} of {len(found)} decoded frames have 8-bit depth in a 16-bit file"
        diagnosis.error(f"{text} ({first_of(coarse)}); take the original files")
    elif coarse and not eight_bits:
        text = f"{split}: {len(coarse)} of {len(found)} decoded frames have depth as coarse as 8 bits would make it"
        diagnosis.note(f"{text} ({first_of(coarse)})")
    if empty := sum(one.median is None for one in measured):
        diagnosis.note(f"{split}: {empty} of {len(measured)} decoded frames have no measurement and teach nothing")
    if (beyond := float(np.mean([one.beyond for one in measured]))) > 0.01:
        diagnosis.note(f"{split}: {beyond:.1%} of the measurements are 10 m or farther and will not be used")
    if len(report.sizes) > 1:
        diagnosis.note(f"{split}: frames have {len(report.sizes)} different sizes")


def _likely_unit(median: float) -> str:
    """Units that would make the median plausible."""
    low, high = PLAUSIBLE_MEDIAN
    fitting = [unit for unit, factor in _UNITS.items() if low <= median * factor <= high]
    return f"it would fit {' or '.join(fitting)}; " if fitting else ""


def _judge_copy(diagnosis: Diagnosis, copy: Copy) -> None:
    """What is worth knowing about this copy as such."""
    if copy.eight_bits:
        diagnosis.note("training depth has 255 steps of 39 mm and is in-filled: its scores differ from published ones")
    reports = diagnosis.splits.items()
    other = [
        f"{split} {report.frames}, published {report.published}"
        for split, report in reports
        if report.published is not None and report.frames != report.published
    ]
    if other:
        diagnosis.note(f"not as many frames as in the published copy ({'; '.join(other)})")
    borders = [f"{report.border} in {split}" for split, report in reports if report.border in ("white", "black")]
    if borders:
        colours = ", ".join(borders)
        diagnosis.note(
            f"images have a border ({colours}): crops stay off it with the data.border of configs/data/nyu.yaml, "
            "and the Eigen crop does not score it"
        )
    found = copies_in(diagnosis.root)
    if others := [other.title for other in found if other.reader not in ("", copy.reader)]:
        diagnosis.note(f"the folder also holds {', '.join(others)}; only {copy.title} is read")


def _judge_scenes(diagnosis: Diagnosis, frames: Sequence[Frame]) -> None:
    """What the division into scenes says against training."""
    scenes: dict[Split, set[str]] = {"train": set(), "test": set()}
    for frame in frames:
        scenes[frame.split].add(frame.scene)
    if shared := sorted(scenes["train"] & scenes["test"]):
        text = f"{counted(len(shared), 'scene is', 'scenes are')} in the training and in the test split"
        diagnosis.error(f"{text} ({first_of(shared)}); mend the copy, or set data.test=held-out")
    elif any("@" in scene for scene in scenes["test"]) and not any("@" in scene for scene in scenes["train"]):
        diagnosis.note("test scenes go by number and training scenes by name: whether they overlap cannot be told")
    if len(scenes["train"]) < 2:
        text = f"training split: found {counted(len(scenes['train']), 'scene')}, expected at least 2"
        diagnosis.error(f"{text} to validate on other scenes; complete the copy")
    elif not scenes["test"]:
        if not diagnosis.held_out:
            diagnosis.note("there is no test split: set data.test=held-out to test on scenes of the training split")
        if len(scenes["train"]) < 3:
            diagnosis.error("held-out tests need at least 3 training scenes, found 2")


def judge_doubles(
    diagnosis: Diagnosis, parts: Mapping[Any, Iterable[Frame]], measured: Mapping[Frame, Measurements]
) -> None:
    """Equal images under different names, among the decoded frames of each part."""
    equal: dict[bytes, list[tuple[str, Frame]]] = defaultdict(list)
    for name, part in parts.items():
        for frame in part:
            equal[measured[frame].digest].append((name, frame))
    groups = [group for group in equal.values() if len(group) > 1]
    leaks = [group for group in groups if len({name for name, _ in group}) > 1]
    twice = [group for group in groups if group not in leaks]
    if leaks:
        copies = {*parts} <= {*SPLITS}
        one, many = (
            ("test image is also in the training split", "test images are also in the training split")
            if copies
            else ("image stands in several splits", "images stand in several splits")
        )
        mend = "" if copies else "; expected each on one side: take the others away, or make one scene of them"
        diagnosis.error(f"{counted(len(leaks), one, many)} ({first_of([*map(_equal_names, leaks)])}){mend}")
    if twice:
        text = f"{counted(len(twice), 'image occurs', 'images occur')} under several names"
        diagnosis.note(f"{text} ({first_of([*map(_equal_names, twice)])})")


def _equal_names(group: Sequence[tuple[str, Frame]]) -> str:
    """Frames with one image, the first of every split and a few more of many."""
    firsts = {name: (name, frame) for name, frame in reversed(group)}
    shown = [*firsts.values()][::-1] if len(group) > _NAMED else group
    more = f" and {len(group) - len(shown)} more" if len(shown) < len(group) else ""
    return " = ".join(f"{name} {frame.id}" for name, frame in shown) + more
