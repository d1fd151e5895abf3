"""Examines images and depth maps of one's own: what patterns and lists make of them, and what would stop training."""

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from ensemble.data.copies import Problem, first_of
from ensemble.data.doctor.diagnosis import QUICK_SAMPLE, Diagnosis, SplitReport, judge_doubles
from ensemble.data.doctor.measurements import QUANTILES, Measurements, examine_all
from ensemble.data.folder.listing import told
from ensemble.data.folder.source import FolderSource, fitting_size, no_truth, open_folder, unlikely
from ensemble.data.held_out import test_frames
from ensemble.data.source import Frame
from ensemble.data.splits import SPLIT_NAMES, evenly_spread, shared_scenes, training_frames
from ensemble.settings.layers import Choice
from ensemble.settings.schema import DataSettings

UNUSED = 0.01
"""Share of the measurements beyond ``data.max_depth`` from which on it is worth a note."""

SHORT = 1 / 3
"""Share of ``data.max_depth`` below which the farthest measurement is worth a note."""

_OFF = 4
"""The median of a frame is another unit's where it is so many times that of its split, or the other way round."""

_FEW = 10
"""Frames by which a unit may be mixed without being told; scenes differ."""


def diagnose_folder(
    root: Path,
    settings: DataSettings,
    choice: Choice,
    *,
    full: bool = False,
    workers: int | None = None,
    on_frame: Callable[[int, int], None] | None = None,
) -> Diagnosis:
    """Examines a folder as ``choice`` reads it: names, lists and files of all frames, and a sample decoded, or all.

    ``on_frame`` gets the number of frames examined and the number to examine.
    """
    title = settings.facts.title
    diagnosis = Diagnosis(root, copy=settings.kind, title=title, full=full, words=tuple(_words(choice, root)))
    try:
        source, listing = open_folder(root, settings)
    except ValueError as error:
        diagnosis.error(str(error))
        return diagnosis
    problems = list(listing.problems)
    parts = _division(source, settings, diagnosis) if source.frames else {}
    if not source.frames and not problems:
        problems.append(Problem("layout", "no frame is used: data.folder.training names none that is there"))
    if listing.unlisted:
        diagnosis.note(f"{listing.unlisted} pairs of image and depth stand in no list and are not used")
    wanted = {frame for part in parts.values() for frame in (part if full else evenly_spread(part, QUICK_SAMPLE))}
    tasks = [(frame, frame in wanted) for part in parts.values() for frame in part]
    examined = [*examine_all(source, tasks, workers=workers, on_frame=on_frame, farthest=settings.max_depth)]
    problems += [one.problem for one in examined if one.problem]
    diagnosis.files |= Counter(problem.kind for problem in problems if problem.kind in diagnosis.files)
    for text in told(problems):
        diagnosis.error(text)
    measured = {one.frame: one.measured for one in examined if one.measured}
    for name, part in parts.items():
        own = {frame: measured[frame] for frame in part if frame in measured}
        diagnosis.splits[name] = _report(part, own)
        _judge(diagnosis, name, own, source)
    _judge_sizes(diagnosis, measured, source)
    decoded = {name: [frame for frame in part if frame in measured] for name, part in parts.items()}
    judge_doubles(diagnosis, decoded, measured)
    return diagnosis


def _words(choice: Choice, root: Path) -> list[str]:
    """The options of the command that trains on the folder; its root is said once."""
    named = [word for each in choice.assignments for word in ("--set", each)]
    return [*choice.words, *named] if choice.root is not None else [*choice.words, "--root", str(root), *named]


def _division(source: FolderSource, settings: DataSettings, diagnosis: Diagnosis) -> dict[str, tuple[Frame, ...]]:
    """Frames of training, validation and test as commands would divide them; as listed where they cannot."""
    try:
        train = training_frames(source, settings)
        return {"training": train.fit, "validation": train.validation, "test": test_frames(source, settings)}
    except ValueError as error:
        shared = shared_scenes(source.frames, "train", "test") or shared_scenes(source.frames, "train", "validation")
        rule = "; data.folder.scene says what a scene is" if shared else ""
        diagnosis.error(f"{error}{rule}")
    split = {name: tuple(f for f in source.frames if f.split == key) for key, name in SPLIT_NAMES.items()}
    return {name: frames for name, frames in split.items() if frames}


def _report(frames: Sequence[Frame], measured: Mapping[Frame, Measurements]) -> SplitReport:
    report = SplitReport(len(frames), len({frame.scene for frame in frames}), decoded=len(measured))
    report.sizes = sorted({one.size for one in measured.values()})
    known = [one for one in measured.values() if one.quantiles is not None]
    if known:
        report.nearest = min(one.nearest for one in known if one.nearest is not None)
        report.farthest = max(one.farthest for one in known if one.farthest is not None)
        report.median = float(np.median([one.median for one in known if one.median is not None]))
        middle = np.median([one.quantiles for one in known if one.quantiles is not None], axis=0)
        report.quantiles = dict(zip(QUANTILES, map(float, middle), strict=True))
    if measured:
        report.holes = float(np.mean([one.holes for one in measured.values()]))
    return report


def _judge(diagnosis: Diagnosis, name: str, measured: Mapping[Frame, Measurements], source: FolderSource) -> None:
    """What the decoded depth of a part says against training on it."""
    if not measured:
        return
    report = diagnosis.splits[name]
    if empty := [source.depth_file(frame) for frame, one in measured.items() if one.median is None]:
        diagnosis.error(
            f"{name}: {len(empty)} of {len(measured)} decoded depth maps are empty ({first_of(empty)}): "
            f"{no_truth(len(empty))}"
        )
    if report.median is None:
        return
    report.scale = "metres"
    if text := unlikely(report.median, source, next(iter(measured))):
        report.scale = "wrong"
        diagnosis.error(f"{name}: {text}")
        return
    low, high = source.settings.likely_depth
    off = [
        f"{source.depth_file(frame)} ({one.median:.4g} m)"
        for frame, one in measured.items()
        if one.median is not None
        and not low <= one.median <= high
        and not 1 / _OFF <= one.median / report.median <= _OFF
    ]
    if off:
        say = diagnosis.error if len(off) * _FEW > len(measured) else diagnosis.note
        say(
            f"{name}: {len(off)} of {len(measured)} decoded frames have a median depth outside {low:g} .. {high:g} m "
            f"({first_of(off)}); expected about {report.median:.3g} m, they may be in another unit"
        )
    farthest, most = report.farthest or 0.0, source.settings.max_depth
    if farthest < SHORT * most:
        diagnosis.note(
            f"{name}: depth reaches {farthest:.3g} m, expected about data.max_depth, {most:g} m; set that to what "
            "networks are to predict, or look whether data.folder.unit is right"
        )
    if (beyond := float(np.mean([one.beyond for one in measured.values()]))) > UNUSED:
        diagnosis.note(
            f"{name}: {beyond:.1%} of the measurements are {most:g} m or farther and will not be "
            "used; data.max_depth says how far"
        )


def _judge_sizes(diagnosis: Diagnosis, measured: Mapping[Frame, Measurements], source: FolderSource) -> None:
    settings = source.settings
    sizes: dict[tuple[int, int], list[Frame]] = defaultdict(list)
    for frame, one in measured.items():
        sizes[one.size].append(frame)
    if len(sizes) > 1:
        diagnosis.note(f"frames have {len(sizes)} different sizes; each is scored at its own")
    first = next(iter(measured), None)
    if first and (depth := source.depth_size(first)) != (image := measured[first].size):
        diagnosis.note(
            f"depth of {depth[0]}x{depth[1]} is brought to the size of its image, {image[0]}x{image[1]}, by nearest "
            f"neighbour (first: {source.depth_file(first)})"
        )
    if sizes:
        size = max(sizes, key=lambda each: len(sizes[each]))
        exact = abs(size[0] * settings.size[1] / (size[1] * settings.size[0]) - 1)
        if exact > UNUSED:
            diagnosis.note(
                f"frames of {size[0]}x{size[1]} are squeezed by {exact:.0%} into data.size "
                f"{settings.size[0]}x{settings.size[1]}; {fitting_size(size, settings.size)} is nearer to their shape"
            )
