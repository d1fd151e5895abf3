"""The frames that training may see, and their folds: who fits to what, and which frames go by which role."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from ensemble.console import progress
from ensemble.data import open_source
from ensemble.data.folds import Folds, folds_of_experiment, keep_folds
from ensemble.data.source import Frame, FrameSource
from ensemble.data.splits import TrainingFrames, training_frames
from ensemble.runs.claims import FOLDS, FRAMES
from ensemble.runs.fingerprints import fingerprint
from ensemble.runs.paths import Outputs
from ensemble.settings.names import Role
from ensemble.settings.schema import DataSettings, ScoredSettings


@dataclass(frozen=True)
class Division:
    """The frames that training may see, to fit and to validate with, and the folds of the scenes to fit."""

    frames: TrainingFrames
    folds: Folds

    def fitted_by(self, fold: int | None) -> TrainingFrames:
        """What the model of a fold sees, or the full fit (``None``)."""
        return TrainingFrames(self.folds.fitted_by(fold, self.frames.fit), self.frames.validation)

    def of_role(self, role: Role, fold: int | None) -> tuple[Frame, ...]:
        """The frames that go by a role of training, seen from a model; ``ensemble.evaluation`` knows test frames."""
        if role == "oof":
            if fold is None:
                raise ValueError(
                    "role oof: the full fit was trained on these frames; only models of folds predict them"
                )
            return self.folds.left_out_by(fold, self.frames.fit)
        if role == "fit" and fold is not None:
            raise ValueError("role fit: expected the full fit, found the model of a fold; ask it for role oof")
        roles = {"fit": self.frames.fit, "validation": self.frames.validation}
        if role not in roles:
            raise ValueError(f"role {role}: expected one of training, {', '.join(roles)} or oof")
        return roles[role]


@dataclass(frozen=True)
class Experiment:
    """What the stages of one experiment share: where its runs and predictions are, every frame, and their division."""

    outputs: Outputs
    name: str
    source: FrameSource
    division: Division

    def keep_folds(self) -> None:
        """Write down how scenes are divided, where the experiment was opened without that."""
        keep_folds(self.outputs.folds(self.name), self.division.folds)

    def sources(self, fold: int | None) -> dict[str, str]:
        """Fingerprints of what the run of a model rests on: the frames it sees, and how scenes are divided."""
        seen = self.division.fitted_by(fold)
        frames = fingerprint([self.source.describe(seen.fit), self.source.describe(seen.validation)])
        return {FRAMES: frames, FOLDS: self.division.folds.fingerprint}


def open_experiment(outputs: Outputs, settings: ScoredSettings, *, write: bool = True) -> Experiment:
    """The experiment that settings belong to; lists its frames, and reads them where folds are to be decided.

    Args:
        outputs: Where it is.
        settings: Of one of its runs.
        write: Put folds that are decided now on disk; a caller that may still refuse does so later, by ``keep_folds``.
    """
    source, name = open_source(settings.data), settings.experiment
    return Experiment(outputs, name, source, division_of(outputs, name, source, settings.data, write=write))


def division_of(
    outputs: Outputs, experiment: str, source: FrameSource, data: DataSettings, *, write: bool = True
) -> Division:
    """The frames of an experiment's training and their folds, which are written down when they are first asked for."""
    frames, path = training_frames(source, data), outputs.folds(experiment)
    log_depths = partial(scene_log_depths, source, frames.fit, data)
    return Division(frames, folds_of_experiment(path, frames.fit, data.folds, log_depths, write=write))


def scene_log_depths(source: FrameSource, frames: Sequence[Frame], data: DataSettings) -> dict[str, float]:
    """Mean natural log of the measured depth of every scene, in which frames have the same say.

    A scene without a measurement inside the depth range takes the mean of the others, or 0 where no scene has one.
    """
    found: dict[str, list[float]] = {frame.scene: [] for frame in frames}
    for frame in progress(frames, "looking at depth, to make folds alike"):
        raw = source.read(frame)
        depth = raw.depth[raw.valid]
        inside = depth[(depth > data.min_depth) & (depth < data.max_depth)]
        if len(inside):
            found[frame.scene].append(float(np.log(inside, dtype=np.float64).mean()))
    means = {scene: float(np.mean(logs)) for scene, logs in found.items() if logs}
    overall = float(np.mean(list(means.values()))) if means else 0.0
    return {scene: means.get(scene, overall) for scene in found}
