"""Which cached rows a stack reads: out-of-fold or in-sample ones to fit to, those of which models at test time."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from ensemble.data.division import Experiment
from ensemble.data.folds import read_folds
from ensemble.data.loaders import DepthRows
from ensemble.data.source import Frame
from ensemble.metrics.protocols import enlarged
from ensemble.predictions.available import networks_of
from ensemble.predictions.foreign.record import PLACEHOLDER
from ensemble.predictions.learners import TrainedLearner, common_data, frame_settings, trained_learner
from ensemble.predictions.predict import cache_predictions, open_predictions
from ensemble.predictions.training_commands import training_command
from ensemble.runs.claims import differing_keys
from ensemble.runs.paths import FULL, Outputs, Run, fold_model, seed_model
from ensemble.runs.records import stored_settings
from ensemble.settings.layers import moved
from ensemble.settings.members import Member, member_of
from ensemble.settings.names import Role
from ensemble.settings.schema import ImageSize, LearnerSettings, StackSettings
from ensemble.settings.trees import SettingsError
from ensemble.training.networks import weights_fingerprint


@dataclass(frozen=True)
class LevelZero:
    """One learner as a stack meets it."""

    tested: tuple[TrainedLearner, ...]  # models whose mean predicts validation, test and new images
    folds: tuple[TrainedLearner, ...] = ()
    """Models that predict the frames to fit that they never saw, fold by fold; empty where rows are in-sample."""
    seed: int | None = None  # where these are models from a further one

    @property
    def name(self) -> str:
        """Of a network of ours, or that depth maps were imported under; with its seed, where it has one."""
        return Member(self.tested[0].name, self.seed).name

    @property
    def title(self) -> str:
        """The name for people."""
        title = self.tested[0].title
        return title if self.seed is None else f"{title}, seed {self.seed}"

    @property
    def models(self) -> tuple[TrainedLearner, ...]:
        """Every model, each once."""
        return tuple({model.model: model for model in (*self.tested, *self.folds)}.values())

    @property
    def rests_on(self) -> dict[str, str]:
        """Fingerprints of what makes the rows that a fit reads, by the name of the model in its record."""
        seen: tuple[Role, ...] = ("validation",) if self.folds else ("validation", "fit")
        tested = {model.key: model.made_from(*seen) for model in self.tested}
        return tested | {model.key: model.made_from("oof", "validation") for model in self.folds}


@dataclass(frozen=True)
class OutOfFoldRows:
    """Every frame's row by the one model that never saw its scene."""

    readers: Mapping[int, DepthRows]  # by fold
    fold_of: Mapping[str, int]  # frame id -> fold

    def read(self, frame_id: str) -> np.ndarray:
        """Depth [h w] in metres."""
        return self.readers[self.fold_of[frame_id]].read(frame_id)


@dataclass(frozen=True)
class MeanRows:
    """The mean of several models' rows."""

    readers: Sequence[DepthRows]

    def read(self, frame_id: str) -> np.ndarray:
        """Depth [h w] in metres."""
        return np.stack([reader.read(frame_id) for reader in self.readers]).mean(axis=0, dtype=np.float32)


@dataclass(frozen=True)
class ResizedRows:
    """Rows of a network that sees frames at a size of its own, brought to the size that learners share.

    Bilinear, as depth is brought to the size of the truth. A network's depth has no holes that this could mix; depth
    maps from elsewhere, which may have some, were brought to the shared size when they were imported.
    """

    rows: DepthRows
    size: ImageSize

    def read(self, frame_id: str) -> np.ndarray:
        """Depth [h w] in metres."""
        return enlarged(torch.from_numpy(self.rows.read(frame_id))[None, None], self.size)[0, 0].numpy()


def level_zero(
    outputs: Outputs,
    experiment: str,
    learner: str,
    *,
    rows: str,
    level0: str,
    root: Path | None = None,
    options: Sequence[str] = (),
) -> LevelZero:
    """The models of a learner that a stack needs.

    Rows ``oof`` want the models of all folds, ``fit`` the full fit; ``level0`` ``full`` tests with the full fit,
    ``folds`` with the mean of the folds' models. The learner may be a member of a further seed (``ldrn#1``). ``root``
    and ``options`` are those of ``trained_learner``.

    Raises:
        ValueError: A model is not trained, or not to its end; the message holds the command that does it.
    """
    name, seed = member_of(learner)
    own = outputs.learner_run(experiment, name).settings
    if seed is not None and own.is_file() and stored_settings(LearnerSettings, own).seed == seed:
        raise SettingsError(f"{learner}: {seed} is the seed of its full fit; call it {name}")
    model = FULL if seed is None else seed_model(seed)
    full = trained_learner(outputs, experiment, name, model, root=root, options=options)
    if rows == "fit" and level0 == "full":
        return LevelZero((full,), seed=seed)
    folds = tuple(
        trained_learner(outputs, experiment, name, fold_model(fold, seed), root=root, options=options)
        for fold in range(read_folds(outputs.folds(experiment)).count)
    )
    return LevelZero((full,) if level0 == "full" else folds, folds if rows == "oof" else (), seed)


def with_all_folds(
    outputs: Outputs,
    experiment: str,
    learners: Sequence[str],
    *,
    folds: int,
    root: Path | None = None,
    options: Sequence[str] = (),
) -> tuple[LevelZero, ...]:
    """Learners with the models of all folds; ``folds`` counts where the experiment has not decided their number yet.

    ``root`` and ``options`` are those of ``trained_learner``.

    Raises:
        ValueError: Models are missing; the message names them all and holds the commands that train them.
    """
    path = outputs.folds(experiment)
    count = read_folds(path).count if path.is_file() else folds
    models = [FULL, *(fold_model(fold) for fold in range(count))]
    missing: list[str] = []
    commands: list[str] = []
    for name in learners:
        lacking = [model for model in models if not outputs.learner_run(experiment, name, model).result.is_file()]
        missing += [f"{name}/{model}" for model in lacking]
        commands += [f"Run: {line}" for line in _filling(outputs, experiment, name, lacking, count, root, options)]
    if missing:
        raise ValueError(
            f"{path.parent}: {len(missing)} models are missing (first: {missing[0]}); out-of-fold rows want those of "
            "all folds.\n" + "\n".join(commands)
        )
    found = (level_zero(outputs, experiment, name, rows="oof", level0="full", root=root) for name in learners)
    return tuple(found)


def _filling(
    outputs: Outputs,
    experiment: str,
    learner: str,
    lacking: Sequence[str],
    folds: int,
    root: Path | None,
    options: Sequence[str],
) -> list[str]:
    """The commands that bring the models that a learner lacks; one for all of them where it has none yet."""
    if not lacking:
        return []
    if learner not in networks_of(outputs, experiment, options):
        words = ("import", learner, PLACEHOLDER, "--role", "oof", "--experiment", experiment)
        return [outputs.command("base", *words)]
    if not any(outputs.learner_run(experiment, learner).folder.parent.glob("*/settings.json")):
        words = ("train", learner, "--folds", str(folds), *options, "--experiment", experiment)
        return [outputs.command("base", *words)]
    return [training_command(outputs, experiment, learner, model, root=root, options=options) for model in lacking]


def cache_level_zero(
    learners: Sequence[LevelZero],
    outputs: Outputs,
    role: Role,
    frames: Sequence[Frame] | None = None,
    *,
    rebuild: bool = False,
    codec: str = "none",
    workers: int = 0,
) -> int:
    """Fill the rows of a role that are missing; arguments, result and errors as in ``cache_predictions``."""
    if role == "oof":
        passes = list(zip(*(learner.folds for learner in learners), strict=True))
    else:
        passes = [[model for learner in learners for model in learner.tested]]
    return sum(
        cache_predictions(models, outputs, role, frames, rebuild=rebuild, codec=codec, workers=workers)
        for models in passes
    )


def open_rows(learner: LevelZero, experiment: Experiment, frames: Sequence[Frame], role: Role) -> DepthRows:
    """A learner's rows of the frames of a role, checked for origin and cover: every frame exactly once.

    Raises:
        ValueError: Rows are missing, doubled, stale or not out-of-fold; the message holds the command that mends it.
    """
    if role == "oof":
        return _out_of_fold(learner, experiment)
    readers = [_open(model, experiment, frames, role) for model in learner.tested]
    return readers[0] if len(readers) == 1 else MeanRows(readers)


def _open(model: TrainedLearner, experiment: Experiment, frames: Sequence[Frame], role: Role) -> DepthRows:
    """The rows of one model at the size that learners share."""
    rows, data = open_predictions(model, experiment, frames, role), model.settings.data
    return rows if model.settings.seen.size == data.size else ResizedRows(rows, data.size)


def _out_of_fold(learner: LevelZero, experiment: Experiment) -> OutOfFoldRows:
    division = experiment.division
    readers: dict[int, DepthRows] = {}
    fold_of: dict[str, int] = {}
    for fold, model in enumerate(learner.folds):
        if model.settings.fold != fold:
            raise ValueError(
                f"{model.run.folder}: expected the model of fold {fold}, found that of {model.settings.fold}: "
                "its rows would be in-sample"
            )
        frames = division.of_role("oof", fold)
        readers[fold] = _open(model, experiment, frames, "oof")
        fold_of |= {frame.id: fold for frame in frames}
    missing = [frame.id for frame in division.frames.fit if frame.id not in fold_of]
    if missing:
        raise ValueError(
            f"{learner.name}: {len(missing)} of {len(division.frames.fit)} training frames have no out-of-fold depth "
            f"(first: {missing[0]})"
        )
    return OutOfFoldRows(readers, fold_of)


def level_zero_of(
    settings: StackSettings,
    outputs: Outputs,
    run: Run | None = None,
    *,
    rows: str | None = None,
    options: Sequence[str] = (),
) -> tuple[LevelZero, ...]:
    """The learners that a stack weighs, with the models that it needs of each; ``rows`` in place of the settings' own.

    Where the stack's run trained learners of its own these are meant, without a run those that they began from.

    Raises:
        ValueError: A model is not trained; the message holds the command that does it, with ``options``.
    """
    if settings.mode != "frozen" and run is not None:
        members = {name: moved(own, settings.data.root) for name, own in settings.members.items()}
        return tuple(
            LevelZero((TrainedLearner(own, run, weights_fingerprint(own, run), prefix=f"learners.{name}."),))
            for name, own in members.items()
        )
    frozen = settings.mode == "frozen"
    wanted = {"rows": rows or (settings.rows if frozen else "fit"), "level0": settings.level0}
    given = {**wanted, "root": settings.data.root, "options": options}
    return tuple(level_zero(outputs, settings.experiment, name, **given) for name in settings.learners)


def rests_on(learners: Sequence[LevelZero]) -> dict[str, str]:
    """Fingerprints of the weights that a stack rests on."""
    return {key: made_from for learner in learners for key, made_from in learner.rests_on.items()}


def check_same_frames(settings: StackSettings, learners: Sequence[LevelZero]) -> None:
    """Refuse data settings of a stack under which it would see other frames than its learners.

    Raises:
        ValueError: Frames, sizes or depth ranges differ.
    """
    data = common_data([model for learner in learners for model in learner.models])
    differing = differing_keys(frame_settings(data), frame_settings(settings.data))
    if differing:
        raise ValueError(
            f"the learners of experiment {settings.experiment} were trained on other data than asked for now: "
            f"{'; '.join(differing)}. Leave these settings out: they are taken from the learners' runs"
        )
