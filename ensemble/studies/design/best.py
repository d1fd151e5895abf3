"""The best setting of a study as an experiment file of its own."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from ensemble.runs.files import write_text
from ensemble.runs.paths import Outputs
from ensemble.runs.records import stored_settings
from ensemble.settings.schema import StackSettings
from ensemble.settings.trees import SettingsError, assignments_of, check_name
from ensemble.studies.design.arms import arms_of, assigned
from ensemble.studies.design.study_file import StudySettings
from ensemble.studies.running.trials import tuned_numbers
from ensemble.studies.storage.folders import study_folder
from ensemble.studies.storage.records import Trial, best_of

WRITTEN = ("encoder", "network", "loss", "training", "rows", "level0", "mode", "live")
"""Sections of a fit that an experiment file may hold below ``meta``."""


@dataclass(frozen=True)
class Best:
    """The best trial and what it was fitted with."""

    trial: Trial  # as the storage knows it
    settings: StackSettings  # of its fit
    told: str  # its values in words
    assignments: tuple[str, ...]
    """Of frames, which a fit takes from its learners and not from a file, so that they must be repeated."""


def write_best(study: StudySettings, trials: Sequence[Trial], outputs: Outputs, file: Path, *, arm: str | None) -> Best:
    """Write the settings of the best trial, of one arm where it is named.

    Raises:
        SettingsError: The study trains a learner, whose arms are lines of its file.
        SettingsError: There is no such arm, or no trial of it is complete.
    """
    if study.learner is not None:
        raise SettingsError(
            f"{study.name}: its trials train {study.learner}; what an arm sets stands in the study file, and "
            f"python -m ensemble.base train {study.learner} takes it with --set"
        )
    if arm is not None:
        check_name(arm, [each.name for each in arms_of(study)], f"arm of {study.name}")
    trial = best_of(study, [each for each in trials if arm in (None, each.arm)])
    if trial is None:
        raise SettingsError(f"{study.name}: no trial is complete yet that keeps to the constraints")
    run = study_folder(outputs, study.name).trial(trial.arm, trial.folder)
    settings = stored_settings(StackSettings, run.settings)
    told = ", ".join(f"{name} {value:.4g}" for name, value in zip(study.objectives, trial.values, strict=True))
    tree = settings.model_dump(mode="json")
    content = {
        "experiment": settings.experiment,
        "seed": settings.seed,
        "data": tree["data"],
        "evaluation": tree["evaluation"],
        "meta": {key: tree[key] for key in WRITTEN},
    }
    members = {
        name: {key: own[key] for key in ("encoder", "network", "loss", "training")}
        for name, own in tree["members"].items()
    }
    if members:
        content["learners"] = members
    head = f"# {study.name}: trial {trial.number} of {trial.arm}, {told} on the validation scenes.\n"
    write_text(file, head + yaml.safe_dump(content, sort_keys=False))
    found = next(each for each in arms_of(study) if each.name == trial.arm)
    given = assigned(study, found, tuned_numbers(study, found, trial)).items()
    repeated = {key: value for key, value in given if key.startswith(("data.", "evaluation."))}
    return Best(trial, settings, told, tuple(assignments_of(repeated)))


def best_command(found: Best, outputs: Outputs, file: Path) -> str:
    """The command line that fits the best setting."""
    words = ["--inputs", found.settings.inputs, "--learners", ",".join(found.settings.learners)]
    words += [word for each in found.assignments for word in ("--set", each)]
    return outputs.command("meta", "fit", *words, "--config", str(file), "--name", "best")
