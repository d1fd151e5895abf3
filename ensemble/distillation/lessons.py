"""A teacher's depth in the cache: written once, checked, and read from there by every student."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch

from ensemble.console import counted, messages, progress
from ensemble.data import open_source
from ensemble.data.division import Experiment, open_experiment
from ensemble.data.loaders import DepthRows
from ensemble.data.source import Frame, FrameSource
from ensemble.data.transforms import Original, resize_image
from ensemble.data.unlabelled import WithPhotographs, describe_photographs, find_unlabelled, fitted_among
from ensemble.distillation.checks import check_another, check_lesson, check_networks
from ensemble.distillation.teachers import Expert, Said, find_expert
from ensemble.predictions.learners import frame_settings
from ensemble.predictions.level_zero import ResizedRows, cache_level_zero, open_rows
from ensemble.predictions.store import CacheIdentity, KeptRole, PredictionReader, PredictionWriter
from ensemble.runs.claims import PROCESSES, differing_keys
from ensemble.runs.fingerprints import fingerprint
from ensemble.runs.paths import Outputs
from ensemble.settings.schema import DataSettings, LearnerSettings, ScoredSettings
from ensemble.settings.trees import SettingsError
from ensemble.training.distillation import Lesson

DEPTH, ERROR = "depth", "expected-error"
"""What is kept of a teacher, in metres each."""

VERSION = 1
"""Raised whenever the same teacher begins to say something else."""

Rows = dict[str, DepthRows]
"""By ``DEPTH``, and by ``ERROR`` where one is expected."""


@dataclass(frozen=True)
class LogMeanRows:
    """Of several readers, the mean of their log depth."""

    readers: Sequence[DepthRows]

    def read(self, frame_id: str) -> np.ndarray:
        """Depth [h w] in metres."""
        return np.exp(np.mean([np.log(reader.read(frame_id)) for reader in self.readers], axis=0, dtype=np.float32))


@dataclass(frozen=True)
class EitherRows:
    """Rows of frames, and rows of photographs."""

    frames: DepthRows
    photographs: DepthRows
    which: Mapping[str, Path]  # photographs by frame id

    def read(self, frame_id: str) -> np.ndarray:
        """A map [h w] in metres."""
        return (self.photographs if frame_id in self.which else self.frames).read(frame_id)


@dataclass(frozen=True)
class CachingTeacher:
    """Whom a student learns from, by way of the cache.

    Attributes:
        expert: Who says depth.
        outputs: Where that is cached.
        experiment: Of the student; depth is cached there where the expert belongs to none.
        root: Where the data are now.
        folders: Of the photographs.
        photographs: Without depth, by frame id.
        fitted: How many of these are frames to fit.
    """

    expert: Expert
    outputs: Outputs
    experiment: str
    root: Path | None
    folders: tuple[Path, ...]
    photographs: Mapping[str, Path]
    fitted: int = 0

    @property
    def sources(self) -> dict[str, str]:
        """Fingerprints of teacher and photographs."""
        more = {"unlabelled": describe_photographs(self.photographs)} if self.photographs else {}
        return {"teacher": self.expert.made_from, **more}

    def lesson(self, settings: LearnerSettings, experiment: Experiment, frames: Sequence[Frame]) -> Lesson:
        """The teacher's depth of a student's frames to fit, and of the photographs."""
        self.check(settings)
        chosen = settings.distillation.affinity_of or next(iter(self.expert.learners))
        network = self.expert.beside(chosen) if settings.distillation.affinity else None
        messages.print(f"teacher {self.expert.asked}: {self.how(None if network is None else chosen)}")
        rows = {part: _at_size(each, settings) for part, each in self.fill().items()}
        source, photographs = experiment.source, ()
        if self.photographs:
            source = WithPhotographs(source, self.photographs, settings.data.size)
            photographs = source.unlabelled
        return Lesson(source, photographs, rows[DEPTH], rows.get(ERROR), network)

    def how(self, affine: str | None = None) -> str:
        """What its depth is made of, and what of it saw the frames that it is asked about.

        ``affine`` is the learner that hands out its maps, where there is one.
        """
        told = [_how(self.expert)]
        if affine is not None:
            told.append(f"affinities of {affine}, {_seen_by(self.expert, affine)}")
        if self.photographs:
            seen = "that it was trained on" if self.expert.in_experiment else "to fit, which it may have seen"
            them = f", {self.fitted} of them frames {seen}" if self.fitted else ""
            told.append(f"also of {counted(len(self.photographs), 'photograph')}{them}")
        return "; ".join(told)

    @property
    def home(self) -> ScoredSettings:
        """Settings of the experiment whose frames the expert is asked about, with their place now."""
        own = self.expert.settings
        name = own.experiment if self.expert.in_experiment else self.experiment
        root = own.data.root if self.root is None else self.root
        return own.model_copy(update={"experiment": name, "data": own.data.model_copy(update={"root": root})})

    def fill(self, *, rebuild: bool = False) -> Rows:
        """Cache what is missing, and open the teacher's depth of all frames to fit and all photographs."""
        home = self.home
        experiment = open_experiment(self.outputs, home)
        rows = self._of_frames(experiment, home.data, rebuild=rebuild)
        if not self.photographs:
            return rows
        mixed = WithPhotographs(experiment.source, self.photographs, home.data.size)
        about = f"{describe_photographs(self.photographs)[:12]}-"
        place = _Place(self, experiment, mixed, mixed.unlabelled, home.data, "unlabelled", about)
        others = place.opened(partial(_said, self.expert, mixed, home.data), rebuild=rebuild)
        return {part: EitherRows(each, others[part], self.photographs) for part, each in rows.items()}

    def _of_frames(self, experiment: Experiment, data: DataSettings, *, rebuild: bool) -> Rows:
        expert, frames = self.expert, experiment.division.frames.fit
        if not expert.members:
            place = _Place(self, experiment, experiment.source, frames, data, expert.role)
            say = partial(_said, expert, experiment.source, data)
            fused = expert.fused
            return place.opened(say if fused is None else lambda missing: fused(), rebuild=rebuild)
        if PROCESSES == 1:
            cache_level_zero(expert.members, self.outputs, expert.role, rebuild=rebuild, workers=data.workers)
        readers = [open_rows(member, experiment, frames, expert.role) for member in expert.members]
        return {DEPTH: readers[0] if len(readers) == 1 else LogMeanRows(readers)}

    def check(self, settings: LearnerSettings) -> None:
        """Refuse a student that cannot learn from the teacher.

        Raises:
            ValueError: It is one that ``check_lesson`` refuses, or sees other frames than the teacher was trained on.
        """
        check_lesson(settings, self.expert.learners)
        theirs, ours = (frame_settings(each) for each in (self.expert.settings.data, settings.data))
        differing = [each for each in differing_keys(theirs, ours) if not each.startswith("folds:")]
        if differing:
            raise SettingsError(
                f"{self.expert.asked} was trained on other data than its student is to be: {'; '.join(differing)}. "
                "Give the student the data settings of its teacher; one that is to see images at another size has a "
                "`size` of its own"
            )


def open_teacher(settings: LearnerSettings, outputs: Outputs) -> CachingTeacher | None:
    """Whom a learner is to learn from, looked for before anything is written; ``None`` where it learns alone.

    Raises:
        ValueError: There is no such teacher, or no photograph; the message holds the command that makes the former.
    """
    wanted = settings.distillation
    if wanted.teacher is None:
        return None
    found = teacher_of(
        wanted.teacher,
        outputs,
        settings.experiment,
        rows=wanted.rows,
        root=settings.data.root,
        folders=wanted.unlabelled,
    )
    members = [member.tested[0] for member in found.expert.members]
    check_another(settings, [each.name for each in members if each.settings.experiment == settings.experiment])
    found.check(settings)
    return found


def teacher_of(
    asked: str, outputs: Outputs, experiment: str, *, rows: str, root: Path | None, folders: Sequence[Path]
) -> CachingTeacher:
    """A teacher by its name, and photographs; arguments and errors as in ``find_expert``.

    Raises:
        ValueError: Also where photographs are frames that are held out, or a learner has no network to see them.
    """
    photographs = find_unlabelled(folders)
    expert = find_expert(asked, outputs, experiment=experiment, rows=rows, root=root)
    found = CachingTeacher(expert, outputs, experiment, root, tuple(folders), photographs)
    if not photographs:
        return found
    check_networks(expert.learners)
    data = found.home.data
    return replace(found, fitted=fitted_among(photographs, open_source(data), data))


@dataclass(frozen=True)
class _Place:
    """Where the depth of a teacher is kept, of which frames."""

    teacher: CachingTeacher
    experiment: Experiment
    source: FrameSource
    frames: Sequence[Frame]
    data: DataSettings
    role: KeptRole
    about: str = ""  # in front of the names of folders

    def opened(self, say: Callable[[Sequence[Frame]], Iterator[tuple[str, Said]]], *, rebuild: bool) -> Rows:
        """Readers of what is there, after what is missing was said and written."""
        parts = (DEPTH, ERROR) if self.teacher.expert.knows_error else (DEPTH,)
        if PROCESSES == 1:
            self._fill(parts, say, rebuild=rebuild)
        return {part: PredictionReader(*self._identified(part), **self._shape) for part in parts}

    def _fill(
        self, parts: Sequence[str], say: Callable[[Sequence[Frame]], Iterator[tuple[str, Said]]], *, rebuild: bool
    ) -> None:
        writers = [PredictionWriter(*self._identified(part), **self._shape, rebuild=rebuild) for part in parts]
        if all(writer.is_complete() for writer in writers):
            return
        with ExitStack() as held:
            missing = [{*held.enter_context(writer).missing()} for writer in writers]
            wanted = [frame for frame in self.frames if any(frame.id in each for each in missing)]
            if not wanted:  # another process has finished them in between
                return
            messages.print(
                f"{self.role}: caching {counted(len(wanted), 'frame')} of teacher {self.teacher.expert.asked}"
            )
            for frame_id, said in say(wanted):
                for writer, values, absent in zip(writers, said, missing, strict=False):
                    if frame_id in absent and values is not None:
                        writer.append(frame_id, self._row(frame_id, values))

    def _row(self, frame_id: str, values: torch.Tensor) -> np.ndarray:
        if not values.isfinite().all():
            raise ValueError(
                f"teacher {self.teacher.expert.asked}: what it says of frame {frame_id} is NaN or infinite; its "
                "weights or the frame are broken, nothing is repaired here"
            )
        return values[0, 0].float().clamp(max=self.data.max_depth).cpu().numpy()

    def _identified(self, part: str) -> tuple[Path, CacheIdentity, list[str]]:
        expert, name = self.teacher.expert, f"{self.about}{part}"
        said = {"version": VERSION, "part": part, "size": list(self.data.size), "max_depth": self.data.max_depth}
        identity = CacheIdentity(
            learner=expert.name,
            role=self.role,
            fold=None,
            weights=expert.made_from,
            preprocessing=fingerprint(said),
            frames=self.source.describe(self.frames),
            folds=self.experiment.division.folds.fingerprint,
        )
        folder = self.teacher.outputs.predictions(self.experiment.name, expert.name, self.role, name)
        return folder, identity, [frame.id for frame in self.frames]

    @property
    def _shape(self) -> dict:
        teacher = self.teacher
        words = ["base", "teach", teacher.expert.asked, "--experiment", self.experiment.name]
        words += [word for folder in teacher.folders for word in ("--unlabelled", str(folder))]
        words += ["--rows", "fit"] if teacher.expert.members and teacher.expert.role == "fit" else []
        mend = teacher.outputs.command(*words)
        return {"size": self.data.size, "max_depth": self.data.max_depth, "mend": mend}


def _said(
    expert: Expert, source: FrameSource, data: DataSettings, frames: Sequence[Frame]
) -> Iterator[tuple[str, Said]]:
    """What an expert's networks say of images, one by one."""
    predict = expert.networks()
    for frame in progress(frames, "asking the teacher"):
        pixels = source.read_image(frame)
        image = resize_image(pixels, data.size)[None]
        original = Original(torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None], data.size)
        with torch.inference_mode():
            yield frame.id, predict(image, original)


def _at_size(rows: DepthRows, settings: LearnerSettings) -> DepthRows:
    """Rows at the size that a student sees frames at."""
    return rows if settings.seen.size == settings.data.size else ResizedRows(rows, settings.seen.size)


def _how(expert: Expert) -> str:
    """Whether a teacher saw the frames to fit, of which it is asked."""
    if not expert.in_experiment:
        return "read from a file, it may have SEEN these frames in training; its depth of them may be too good"
    if expert.role == "fit":
        return "it SAW these frames in training, so its depth of them is better than of new ones"
    if expert.members:
        return "out-of-fold depth, by models that never saw the scene of a frame"
    return (
        "depth of its learners out of fold, by models that never saw the scene of a frame; its meta-learner and the "
        "expected error were fitted on these frames"
    )


def _seen_by(expert: Expert, learner: str) -> str:
    """Whether the network of a learner saw the frames to fit."""
    own = expert.learners[learner]
    if not expert.in_experiment or own is None:
        return "which may have seen these frames"
    which = "full fit saw these frames" if own.fold is None else f"model of fold {own.fold} saw those of other folds"
    return f"whose {which}"
