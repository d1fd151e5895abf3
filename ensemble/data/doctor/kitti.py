"""Examines a copy of KITTI: what was found, what lists name and is not there, what would stop training."""

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from ensemble.data.copies import Problem, first_of, tell
from ensemble.data.doctor.diagnosis import QUICK_SAMPLE, Diagnosis, SplitReport, judge_doubles
from ensemble.data.doctor.measurements import QUANTILES, Measurements, examine_all
from ensemble.data.held_out import test_frames
from ensemble.data.kitti.calibration import ADVICE, CAMERA_FILE
from ensemble.data.kitti.layout import Layout
from ensemble.data.kitti.listing import LOST_DRIVES, WORDS, Listing
from ensemble.data.kitti.source import PACK_FILES, KittiSource, open_kitti
from ensemble.data.packs.kitti import KittiPackSource, open_pack
from ensemble.data.source import Frame
from ensemble.data.splits import SPLIT_NAMES, evenly_spread, training_frames
from ensemble.settings.layers import Choice
from ensemble.settings.schema import DataSettings

PUBLISHED: Mapping[str, tuple[int, ...]] = {"training": (23_158, 45_200, 39_810), "test": (697,)}
"""Lines of the lists of Eigen's split: of BTS, ``eigen_full`` and ``eigen_zhou``; of all test lists."""

_DRIVES_SHOWN = 8


def diagnose_kitti(
    root: Path,
    settings: DataSettings,
    choice: Choice,
    *,
    full: bool = False,
    workers: int | None = None,
    on_frame: Callable[[int, int], None] | None = None,
) -> Diagnosis:
    """Examines a folder as ``choice`` reads it: lists and files of all frames, and a sample decoded, or all.

    ``on_frame`` gets the number of frames examined and the number to examine.
    """
    diagnosis = Diagnosis(root, copy=settings.kind, title=settings.facts.title, full=full, words=_words(choice, root))
    try:
        source, listing = _opened(root, settings)
    except ValueError as error:
        diagnosis.error(str(error))
        return diagnosis
    _say_layout(diagnosis, listing, settings)
    parts = _division(source, settings, diagnosis, listing)
    wanted = {frame for part in parts.values() for frame in (part if full else evenly_spread(part, QUICK_SAMPLE))}
    tasks = [(frame, frame in wanted) for part in parts.values() for frame in part]
    examined = [*examine_all(source, tasks, workers=workers, on_frame=on_frame, farthest=settings.max_depth)]
    problems = [*listing.problems, *(one.problem for one in examined if one.problem)]
    _judge_files(diagnosis, problems)
    measured = {one.frame: one.measured for one in examined if one.measured}
    for name, part in parts.items():
        own = {frame: measured[frame] for frame in part if frame in measured}
        listed = any(SPLIT_NAMES[split] == name for split in listing.lists)
        diagnosis.splits[name] = _report(part, own, PUBLISHED.get(name, ()) if listed else ())
        _judge_depth(diagnosis, name, own, source)
    _say_sizes(diagnosis, source, [*measured])
    _judge_calibration(diagnosis, source)
    decoded = {name: [frame for frame in part if frame in measured] for name, part in parts.items()}
    judge_doubles(diagnosis, decoded, measured)
    return diagnosis


def _opened(root: Path, settings: DataSettings) -> tuple[KittiSource | KittiPackSource, Listing]:
    """The copy, or the pack of one, in a folder."""
    if not any((root / name).is_file() for name in PACK_FILES):
        return open_kitti(root, settings)
    source = open_pack(root, settings)
    return source, Listing(Layout(root, packed=True), source.entries)


def _words(choice: Choice, root: Path) -> tuple[str, ...]:
    """The options of the command that trains on the folder."""
    named = [word for each in choice.assignments for word in ("--set", each)]
    place = [] if choice.root is not None else ["--root", str(root)]
    return (*choice.words, *place, *named)


def _say_layout(diagnosis: Diagnosis, listing: Listing, settings: DataSettings) -> None:
    """What was found, which lists, and which listed frames never had depth."""
    diagnosis.note(listing.layout.title)
    for split, path in listing.lists.items():
        diagnosis.note(f"{SPLIT_NAMES[split]} frames by {path}")
    if not listing.lists and listing.entries and not listing.layout.packed:
        diagnosis.note(
            f"no list was found: every frame of the left camera with {settings.kitti.depth} depth is used, and no test "
            "frames are known. For Eigen's split put BTS' eigen_train_files_with_gt.txt and "
            "eigen_test_files_with_gt.txt into the folder, or name lists with data.kitti.training and data.kitti.test"
        )
    for text in listing.notes:
        diagnosis.note(text)
    for split, drives in listing.without_depth.items():
        gone = sorted(LOST_DRIVES & drives.keys())
        why = f"; {', '.join(gone)} is no longer part of the annotated depth that is handed out" if gone else ""
        shown = ", ".join(f"{drive} {count}" for drive, count in drives.most_common(_DRIVES_SHOWN))
        more = f" and {len(drives) - _DRIVES_SHOWN} more drives" if len(drives) > _DRIVES_SHOWN else ""
        diagnosis.note(
            f"{SPLIT_NAMES[split]}: {drives.total()} listed frames never had {settings.kitti.depth} depth and are left "
            f"out, by drive: {shown}{more}{why}"
        )


def _division(
    source: KittiSource | KittiPackSource, settings: DataSettings, diagnosis: Diagnosis, listing: Listing
) -> dict[str, tuple[Frame, ...]]:
    """Frames of training, validation and test as commands would divide them; as listed where they cannot."""
    listed = {name: tuple(f for f in source.frames if f.split == key) for key, name in SPLIT_NAMES.items()}
    parts = {name: frames for name, frames in listed.items() if frames}
    if not parts:
        if not listing.problems:
            scans = settings.kitti.depth != "velodyne" and any(
                (folder / "velodyne_points").is_dir() for folder in listing.layout.drive_folders()
            )
            other = ", or read the scans that are there: --set data.kitti.depth=velodyne" if scans else ""
            diagnosis.error(f"no frame has image and {settings.kitti.depth} depth; complete the downloads{other}")
        return parts
    if settings.test == "official" and "test" not in parts:
        settings = settings.model_copy(update={"test": "held-out"})
        diagnosis.note("there are no test frames: data.test=held-out tests on drives of the training split")
    try:
        train = training_frames(source, settings)
        return {"training": train.fit, "validation": train.validation, "test": test_frames(source, settings)}
    except ValueError as error:
        diagnosis.error(f"{error}; scenes are drives, take those out of one of the lists")
    return parts


def _judge_files(diagnosis: Diagnosis, problems: Sequence[Problem]) -> None:
    diagnosis.files |= Counter(problem.kind for problem in problems if problem.kind in diagnosis.files)
    for text in tell(problems, WORDS):
        diagnosis.error(text)
    drives = Counter(_drive_of(problem.text) for problem in problems if problem.kind == "missing")
    if drives:
        shown = ", ".join(f"{drive} {count}" for drive, count in drives.most_common(_DRIVES_SHOWN))
        diagnosis.note(f"missing files by drive: {shown}")


def _drive_of(text: str) -> str:
    return next((part for part in Path(text.split(" ")[0]).parts if part.endswith("_sync")), "elsewhere")


def _report(frames: Sequence[Frame], measured: Mapping[Frame, Measurements], counts: Sequence[int]) -> SplitReport:
    """What was measured of a part, beside the nearest of the counts that published lists have."""
    published = min(counts, key=lambda number: abs(number - len(frames)), default=None)
    report = SplitReport(len(frames), len({frame.scene for frame in frames}), published, len(measured))
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


def _judge_depth(
    diagnosis: Diagnosis, name: str, measured: Mapping[Frame, Measurements], source: KittiSource | KittiPackSource
) -> None:
    """Whether metres are likely, and how much of them lies beyond ``data.max_depth``."""
    report, (low, high) = diagnosis.splits[name], source.settings.likely_depth
    if report.median is None:
        return
    report.scale = "metres" if low <= report.median <= high else "wrong"
    if report.scale == "wrong":
        diagnosis.error(
            f"{name}: median depth is {report.median:.3g} m (first: {source.depth_file(next(iter(measured)))}), "
            f"expected {low:g} .. {high:g} m with data.max_depth {source.settings.max_depth:g}; take KITTI's own "
            "files, whose numbers are metres times 256"
        )
    empty = [frame.id for frame, one in measured.items() if one.median is None]
    if empty:
        diagnosis.note(
            f"{name}: {len(empty)} of {len(measured)} decoded frames have no measurement in the KB crop and teach "
            f"nothing ({first_of(empty)})"
        )
    if (beyond := float(np.mean([one.beyond for one in measured.values()]))) > 0:
        diagnosis.note(f"{name}: {beyond:.2%} of the measurements lie beyond {source.settings.max_depth:g} m, unused")


def _say_sizes(diagnosis: Diagnosis, source: KittiSource | KittiPackSource, decoded: Sequence[Frame]) -> None:
    """The sizes of whole frames by date."""
    sizes: dict[str, set[str]] = defaultdict(set)
    for date in sorted({frame.scene[:10] for frame in decoded}):
        first = next(frame for frame in decoded if frame.scene.startswith(date))
        raw = source.read(first)
        height, width = raw.window.whole if raw.window else raw.depth.shape
        sizes[date].add(f"{height}x{width}")
    if sizes:
        told = ", ".join(f"{date} {' and '.join(sorted(each))}" for date, each in sizes.items())
        diagnosis.note(f"height x width of frames by date: {told}")


def _judge_calibration(diagnosis: Diagnosis, source: KittiSource | KittiPackSource) -> None:
    """Dates whose camera is not known: their frames train, but tell no points in space and no focal length."""
    lacking = sorted({frame.scene[:10] for frame in source.frames if not source.calibrated(frame)})
    if lacking:
        diagnosis.note(
            f"no {CAMERA_FILE} of {', '.join(lacking)}, expected beside the drives of each date: their frames have no "
            f"focal length; {ADVICE}"
        )
