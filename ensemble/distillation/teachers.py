"""Who can teach: a fitted stack, learners of an experiment, or a saved stack; each says depth and expected error."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from ensemble.data.transforms import Original
from ensemble.deploy.door import DepthStack
from ensemble.deploy.fitted import fitted_learner, fitted_stack
from ensemble.deploy.network import LearnerNetwork, StackNetwork
from ensemble.distillation.asked import asked_teacher
from ensemble.distillation.checks import NetworksByName
from ensemble.evaluation.calibration import calibration_of
from ensemble.predictions.available import learner_settings_of
from ensemble.predictions.learners import load_learner
from ensemble.predictions.level_zero import LevelZero, level_zero, rests_on
from ensemble.predictions.predict import preprocessing_fingerprint
from ensemble.runs.fingerprints import fingerprint
from ensemble.runs.paths import FULL, Outputs, Run
from ensemble.settings.names import Role
from ensemble.settings.schema import LearnerSettings, ScoredSettings
from ensemble.settings.trees import SettingsError
from ensemble.stacking.stack import Stack, load_stack, stacked
from ensemble.stacking.training_rows import training_rows
from ensemble.training.networks import weights_fingerprint

Said = tuple[Tensor, Tensor | None]
"""Depth [1 1 h w] in metres, and the error to be expected of it in metres, where that is known."""

Predict = Callable[[Tensor, Original], Said]
"""Says depth of an image [1 3 h w] in [0, 1], which is what an original was resized to."""


@dataclass(frozen=True)
class Expert:
    """Whoever can say depth of frames and photographs.

    Attributes:
        asked: What a person calls it.
        name: Of the folder of its cached depth.
        settings: What it was trained with.
        made_from: Fingerprint of its weights and of how they are used.
        role: ``oof`` where models predict the frames to fit that never saw their scenes; ``fit`` where models did, or
            where that is not known.
        learners: Settings of the networks that it is made of, those that predict images, by the names of learners.
        in_experiment: Whether it belongs to an experiment of the cache, so that it goes by its folds.
        knows_error: Whether an error is expected of its depth.
        networks: Loads what says depth of images.
        beside: The network of one of its learners by name, which may have seen the frames to fit.
        members: Learners whose cached rows are its depth, of several their log-mean; empty of a stack and of a file.
        fused: Says, by frame id, its depth of every frame to fit from cached rows of its learners; absent where its
            networks do.
        run: Of the fit, where it is a stack of the cache.
    """

    asked: str
    name: str
    settings: ScoredSettings
    made_from: str
    role: Role
    learners: NetworksByName
    in_experiment: bool
    knows_error: bool
    networks: Callable[[], Predict]
    beside: Callable[[str], nn.Module]
    members: tuple[LevelZero, ...] = ()
    fused: Callable[[], Iterator[tuple[str, Said]]] | None = None
    run: Run | None = None


def find_expert(
    asked: str, outputs: Outputs, *, experiment: str, rows: str = "oof", root: Path | None = None
) -> Expert:
    """Whom a person means: a saved stack, a run, or learners joined by commas; of ``experiment`` where names allow it.

    Args:
        asked: What the person typed.
        outputs: Where runs are.
        experiment: That of the student.
        rows: ``oof`` wants models of all folds of learners, ``fit`` does not; nobody else has this choice.
        root: Where the data are now; where they were in training if absent.

    Raises:
        ValueError: There is nobody of this name, he has no such rows, or not all of his models are trained; then the
            message holds the command that does it.
    """
    found = asked_teacher(asked, outputs, experiment)
    if isinstance(found, Path):
        _check_rows(rows, asked, "was saved without its models of folds")
        return saved_expert(found)
    if isinstance(found, tuple):
        members = [level_zero(outputs, experiment, each, rows=rows, level0="full", root=root) for each in found]
        return learners_expert(asked, members)
    run = found
    try:
        own = learner_settings_of(run)
    except ValueError:  # it is a stack
        _check_rows(rows, asked, "is a stack, which goes by the rows that it was fitted to")
        return stack_expert(load_stack(run, outputs, root=root), outputs)
    if run.folder.name != FULL:
        raise SettingsError(f"--teacher {asked}: expected the full fit of a learner, found its model {run.folder.name}")
    member = level_zero(outputs, own.experiment, own.learner, rows=rows, level0="full", root=root)
    return learners_expert(f"{own.experiment}/{own.learner}", [member])


def learners_expert(asked: str, members: Sequence[LevelZero]) -> Expert:
    """Learners of one experiment; of several the mean of their log depth."""
    models = [model for member in members for model in member.models]

    def networks() -> Predict:
        loaded = [[fitted_learner(model).network for model in member.tested] for member in members]

        def predicted(image: Tensor, original: Original) -> Said:
            logs = [torch.stack([each(image, original).depth for each in own]).mean(dim=0).log() for own in loaded]
            return torch.stack(logs).mean(dim=0).exp(), None

        return predicted

    return Expert(
        asked,
        _folder_name("+".join(member.name for member in members)),
        models[0].settings,
        fingerprint([rests_on(members), [preprocessing_fingerprint(model.settings) for model in models]]),
        "oof" if all(member.folds for member in members) else "fit",
        _networks(members),
        in_experiment=True,
        knows_error=False,
        networks=networks,
        beside=_beside(members),
        members=tuple(members),
    )


def stack_expert(stack: Stack, outputs: Outputs) -> Expert:
    """A fit of the meta-learner."""
    settings = stack.settings
    models = [model.settings for learner in stack.learners for model in learner.models]
    used = {"flip_averaging": settings.evaluation.flip_averaging, "seen": [*map(preprocessing_fingerprint, models)]}
    own = {**rests_on(stack.learners), "stack": weights_fingerprint(settings, stack.run), **used}
    role: Role = "oof" if all(learner.folds for learner in stack.learners) else "fit"

    def fused() -> Iterator[tuple[str, Said]]:
        expected = calibration_of(stack, outputs)
        for row in training_rows(stack.learners, outputs, settings, role):
            with torch.inference_mode():
                found = stacked(stack, row.image, row.depths)
                yield row.frame.id, (found.depth, expected.of(found))

    return Expert(
        f"{settings.experiment}/{stack.name}",
        _folder_name(stack.name),
        settings,
        fingerprint(own),
        role,
        _networks(stack.learners),
        in_experiment=True,
        knows_error=True,
        networks=lambda: _said_by(fitted_stack(stack, outputs).network),
        beside=_beside(stack.learners),
        fused=fused,
        run=stack.run,
    )


def saved_expert(place: Path) -> Expert:
    """A file or folder that a stack or a learner was saved to, which has no models of folds."""
    opened = DepthStack.open(place)
    digest, network = opened.header.checksum, opened.network
    members = dict(zip(network.names, network.members, strict=True))
    known = {name: member for name, member in members.items() if isinstance(member, LearnerNetwork)}
    return Expert(
        str(place.absolute()),
        _folder_name(f"{place.stem}-{digest[:12]}"),
        network.settings,
        digest,
        "fit",
        {name: known[name].settings[0] if name in known else None for name in members},
        in_experiment=False,
        knows_error=network.calibration is not None,
        networks=lambda: _said_by(network),
        beside=lambda learner: known[learner].models[0],
    )


def _folder_name(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._+-]", "-", name)


def _said_by(network: StackNetwork) -> Predict:
    def predicted(image: Tensor, original: Original) -> Said:
        said = network(image, original)
        return said.depth, said.error

    return predicted


def _beside(learners: Sequence[LevelZero]) -> Callable[[str], nn.Module]:
    return lambda name: load_learner(next(own for own in learners if own.name == name).tested[0])


def _networks(learners: Sequence[LevelZero]) -> NetworksByName:
    """Settings of what predicts images, by the names of learners."""
    own = {learner.name: learner.tested[0].settings for learner in learners}
    return {name: each if isinstance(each, LearnerSettings) else None for name, each in own.items()}


def _check_rows(rows: str, asked: str, what: str) -> None:
    """Refuse a choice between models of learners where there is none.

    Raises:
        SettingsError: Rows other than the usual ones are asked for.
    """
    if rows != "oof":
        raise SettingsError(
            f"--teacher {asked}: rows {rows} chooses between models of learners, but this {what}; leave --rows or "
            "distillation.rows out"
        )
