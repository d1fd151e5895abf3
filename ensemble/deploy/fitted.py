"""What was fitted, taken out of its runs with what is known of it: a stack or a learner, ready to predict or save."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from torch import nn

from ensemble.deploy.door import DepthStack
from ensemble.deploy.network import LearnerNetwork, StackNetwork
from ensemble.deploy.saved import Header, SavedLearner, package_versions
from ensemble.evaluation.calibration import calibration_of, usual_depths
from ensemble.evaluation.results.scores import read_scores
from ensemble.predictions.cameras import training_focal
from ensemble.predictions.learners import TrainedLearner, load_learner
from ensemble.predictions.level_zero import LevelZero
from ensemble.runs.claims import FOLDS, FRAMES
from ensemble.runs.paths import Outputs, Run
from ensemble.runs.seals import read_text
from ensemble.settings.schema import ImportSettings, LearnerSettings, StackSettings
from ensemble.stacking.stack import Stack
from ensemble.training.networks import unloaded

AnySettings = TypeVar("AnySettings", LearnerSettings, ImportSettings, StackSettings)
KeptSettings = LearnerSettings | ImportSettings | StackSettings
META = "the meta-learner"
"""Among what encoders began with."""


def fitted_stack(stack: Stack, outputs: Outputs) -> DepthStack:
    """A stack of a run, with its learners.

    Args:
        stack: Loaded.
        outputs: Where the rows are that its expected error is calibrated on, if that was not done before.
    """
    calibration = calibration_of(stack, outputs)
    header = Header(
        name=stack.name,
        learners=tuple(_saved(learner) for learner in stack.learners),
        settings=_without_places(stack.settings),
        calibration=calibration.pixels.to_plain(),
        image_part=calibration.image_to_plain(),
        sources=_sources(stack.run, stack.learners),
        scores=_scores(stack.name, stack.run, Run(outputs.report(stack.settings.experiment))),
        focal=training_focal(stack.settings.data, stack.run),
        medians=usual_depths(stack),
        began=began({**_models(stack.learners), META: [stack.settings]}),
        versions=package_versions(),
    )
    members = [_member(learner) for learner in stack.learners]
    names = [learner.name for learner in stack.learners]
    network = StackNetwork(names, members, stack.settings, stack.network, calibration)
    return DepthStack(network, header)


def fitted_learner(learner: TrainedLearner) -> DepthStack:
    """One model of a learner, by itself.

    Raises:
        ValueError: It was imported and has no network.
    """
    if learner.is_import:
        raise ValueError(
            f"{learner.name} was imported as depth maps: there is no network of it to predict with or to save, its "
            "maps are its depth. A stack of it and others fuses new ones: meta fit, then meta fuse"
        )
    level = LevelZero((learner,))
    header = Header(
        name=learner.name,
        learners=(_saved(level),),
        settings=None,
        calibration=None,
        sources=_sources(learner.run, ()),
        scores=_scores(learner.name, learner.run),
        focal=training_focal(learner.settings.data, learner.run),
        began=began(_models([level])),
        versions=package_versions(),
    )
    member = LearnerNetwork([load_learner(learner)], [learner.network_settings])
    return DepthStack(StackNetwork([learner.name], [member], learner.network_settings), header)


def _member(learner: LevelZero) -> LearnerNetwork | None:
    if any(model.is_import for model in learner.tested):
        return None
    networks: list[nn.Module] = [load_learner(model) for model in learner.tested]
    return LearnerNetwork(networks, [model.network_settings for model in learner.tested])


def _saved(learner: LevelZero) -> SavedLearner:
    own = {model.model: model.settings for model in learner.tested}
    models = {
        name: _without_places(settings) for name, settings in own.items() if isinstance(settings, LearnerSettings)
    }
    imported = next((_without_places(each) for each in own.values() if isinstance(each, ImportSettings)), None)
    known = [entry for model in learner.models for role, entry in model.imported.items() if role != "test"]
    rows = [entry.rows for entry in known if entry.rows]
    return SavedLearner(
        name=learner.name,
        title=learner.title,
        models=models,
        imported=imported,
        median=float(np.median([entry.median for entry in known])) if known else None,
        rows=tuple(np.mean(rows, axis=0).tolist()) if rows else (),
    )


def _models(learners: Iterable[LevelZero]) -> dict[str, Sequence[KeptSettings]]:
    return {learner.name: [model.settings for model in learner.tested] for learner in learners}


def began(settings: Mapping[str, Sequence[KeptSettings]]) -> dict[str, str]:
    """Weights that encoders began with, by learner, without the folders that they lay in."""
    found = dict[str, str]()
    for name, models in settings.items():
        weights = {Path(own.encoder.weights).name for own in models if not isinstance(own, ImportSettings)} - {"none"}
        if weights:
            found[name] = ", ".join(sorted(weights))
    return found


def _without_places(settings: AnySettings) -> AnySettings:
    """Settings of the same network that name no folder of this machine."""
    changes: dict[str, Any] = {"data": settings.data.model_copy(update={"root": None})}
    if not isinstance(settings, ImportSettings):
        changes["encoder"] = unloaded(settings).encoder
    if isinstance(settings, LearnerSettings) and (teacher := settings.distillation.teacher) is not None:
        plain = {"teacher": Path(teacher).name, "unlabelled": ()}
        changes["distillation"] = settings.distillation.model_copy(update=plain)
    if isinstance(settings, StackSettings):
        changes["members"] = {name: _without_places(own) for name, own in settings.members.items()}
    return settings.model_copy(update=changes)


def _sources(run: Run, learners: Iterable[LevelZero]) -> dict[str, str]:
    """Fingerprints of frames, folds and weights that a run rests on, and its learners."""
    found = dict(json.loads(read_text(run.sources)))
    for model in (model for learner in learners for model in learner.tested):
        if not model.is_import:
            own = json.loads(read_text(model.run.sources))
            found |= {f"{name} of {model.name}/{model.model}": own[name] for name in (FRAMES, FOLDS) if name in own}
    return found


def _scores(name: str, *places: Run) -> dict[str, Any] | None:
    """Scores on the test frames and their protocol, from the first evaluation that has any."""
    for place in places:
        if place.scores.is_file():
            found = read_scores(place.scores)
            row = next((row for row in found.rows if row.name == name), None)
            if row is not None:
                return {"protocol": found.protocol, "scores": row.scores, "images": row.images, "repeats": row.repeats}
    return None
