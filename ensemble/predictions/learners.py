"""Networks of the learners and of the meta-learner: built from settings, found again in a finished run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import nn

from ensemble.predictions.available import is_import, networks_of
from ensemble.predictions.foreign.record import PLACEHOLDER, ImportedRole, read_roles
from ensemble.predictions.training_commands import training_command
from ensemble.runs.claims import differing_keys
from ensemble.runs.fingerprints import fingerprint
from ensemble.runs.paths import FULL, Outputs, Run, model_options, parts_of
from ensemble.runs.records import stored_settings
from ensemble.settings.layers import moved
from ensemble.settings.names import Role
from ensemble.settings.schema import DataSettings, ImportSettings, LearnerSettings
from ensemble.training.networks import build_learner, load_network, title_of, unloaded, weights_fingerprint


@dataclass(frozen=True)
class TrainedLearner:
    """One model of a learner: a finished run, or depth maps that were imported."""

    settings: LearnerSettings | ImportSettings  # what it was trained or imported with
    run: Run
    weights: str  # fingerprint of its best weights and of how its network is built; of an import, of unit and alignment
    imported: Mapping[str, ImportedRole] = field(default_factory=dict)
    """What was imported, by role; empty for a network of ours."""
    prefix: str = ""  # of its weights' names, where the run is that of a stack that it was trained with

    @property
    def name(self) -> str:
        """Of a network of ours, or that depth maps were imported under."""
        return self.settings.learner

    @property
    def title(self) -> str:
        """The name for people."""
        return title_of(self.settings) if isinstance(self.settings, LearnerSettings) else self.name

    @property
    def is_import(self) -> bool:
        """Whether its rows came from elsewhere, so that there is no network of it."""
        return isinstance(self.settings, ImportSettings)

    @property
    def network_settings(self) -> LearnerSettings:
        """What its network is built and trained with.

        Raises:
            ValueError: It was imported: there is no network.
        """
        if isinstance(self.settings, ImportSettings):
            raise ValueError(
                f"{self.name} was imported as depth maps: there is no network of it to run, train or measure; "
                "leave it out of --learners"
            )
        return self.settings

    def made_from(self, *roles: Role) -> str:
        """Fingerprint of what makes its rows of some roles: its weights, or the maps that were imported for them."""
        if not self.is_import:
            return self.weights
        found = {role: self.imported[role].content for role in roles if role in self.imported}
        return fingerprint({"weights": self.weights, **found})

    @property
    def model(self) -> str:
        """Which model of the learner: the full fit, that of a fold, or these of another seed."""
        return self.run.folder.name

    @property
    def store(self) -> str:
        """The folder of its cached rows; a model that no command caches by itself never has stale ones."""
        return f"{self.model}-{self.weights[:12]}" if self.prefix else self.model

    @property
    def key(self) -> str:
        """What the model is called in the record of what a stack rests on."""
        return f"weights of {self.name}/{self.model}"


def trained_learner(
    outputs: Outputs,
    experiment: str,
    learner: str,
    model: str = FULL,
    *,
    root: Path | None = None,
    options: Sequence[str] = (),
) -> TrainedLearner:
    """The finished run of one model of a learner.

    ``root`` is where the data are now; where they were in training if absent. ``options`` are those of the command line
    that trains it as the others were, for messages.

    Raises:
        ValueError: The learner was not trained, or not to its end; the message holds the command that does it.
    """
    run = outputs.learner_run(experiment, learner, model)
    if is_import(outputs, experiment, learner) or (
        not run.settings.is_file() and learner not in networks_of(outputs, experiment, options)
    ):
        return _imported_learner(outputs, experiment, learner, model, root=root)
    if not run.settings.is_file():
        again = training_command(outputs, experiment, learner, model, root=root, options=options)
        had = {name.partition("/")[0] for name in outputs.runs() if name.partition("/")[2] == learner}
        others = sorted(had - {experiment})
        there = f" (it was in {', '.join(others)}: --experiment {others[0]})" if others else ""
        raise ValueError(f"{run.folder}: {learner} was not trained{there}.\nRun: {again}")
    settings = stored_settings(LearnerSettings, run.settings)
    if settings.learner != learner:
        raise ValueError(f"{run.settings}: expected the settings of {learner}, found those of {settings.learner}")
    seed, fold = parts_of(model)
    if settings.fold != fold:
        found = "a full fit" if settings.fold is None else f"fold {settings.fold}"
        raise ValueError(f"{run.settings}: expected the settings of {model}, found those of {found}")
    if seed not in (None, settings.seed):
        raise ValueError(f"{run.settings}: expected the settings of {model}, found those of seed {settings.seed}")
    if not run.result.is_file():
        again = training_command(outputs, experiment, learner, model, root=root)
        raise ValueError(f"{run.folder}: the training of {learner} is not complete.\nRun: {again}")
    return TrainedLearner(moved(settings, root), run, weights_fingerprint(settings, run))


def _imported_learner(
    outputs: Outputs, experiment: str, learner: str, model: str, *, root: Path | None
) -> TrainedLearner:
    run = outputs.learner_run(experiment, learner, model)
    if not run.settings.is_file():
        left_out = parts_of(model).fold is not None
        role = ("--role", "oof") if left_out else ("--role", "validation", *model_options(model))
        missing = "has no rows" if model == FULL else f"has no rows of its model {model}"
        again = outputs.command("base", "import", learner, PLACEHOLDER, *role, "--experiment", experiment)
        raise ValueError(
            f"{run.folder}: {learner} {missing}: import its depth maps ({PLACEHOLDER} is their folder).\nRun: {again}"
        )
    return imported_model(moved(stored_settings(ImportSettings, run.settings), root), run, read_roles(run))


def imported_model(settings: ImportSettings, run: Run, roles: Mapping[str, ImportedRole]) -> TrainedLearner:
    """One model of a learner whose depth maps were imported."""
    alignment = None if settings.alignment is None else settings.alignment.model_dump(mode="json")
    read = {"inverse": settings.inverse, "rays": settings.rays and settings.rays.model_dump(mode="json")}
    told = {name: value for name, value in read.items() if value}  # those of before they could be told stay as they are
    return TrainedLearner(settings, run, fingerprint({"unit": settings.unit, "alignment": alignment, **told}), roles)


def load_learner(trained: TrainedLearner) -> nn.Module:
    """A trained learner's network, ready to predict."""
    settings = trained.network_settings
    return load_network(build_learner(unloaded(settings)), trained.run, trained.prefix)


def common_data(trained: Sequence[TrainedLearner]) -> DataSettings:
    """The data settings of learners that are to be used together.

    Raises:
        ValueError: They were trained on other frames, sizes or depth ranges.
    """
    first = trained[0]
    for other in trained[1:]:
        differing = differing_keys(frame_settings(first.settings.data), frame_settings(other.settings.data))
        if differing:
            raise ValueError(
                f"{first.name} and {other.name} of experiment {first.settings.experiment} were trained on other data: "
                f"{'; '.join(differing)}. Train them with the same data settings; one that is to see images at another "
                "size has a `size` of its own"
            )
    return first.settings.data


def frame_settings(data: DataSettings) -> dict[str, Any]:
    """What decides which frames there are and what they look like, without how they are augmented or loaded."""
    return data.model_dump(mode="json", exclude={"augmentation", "preload", "workers", "root", "crop", "border"})
