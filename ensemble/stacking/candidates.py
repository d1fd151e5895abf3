"""What a composition chooses from: every learner and seed with models of all folds, and what each costs.

Costs are those of ``base profile`` on one thread, at the candidate's own size, without flip averaging. A learner whose
depth maps were imported costs nothing here.
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from ensemble.data.folds import read_folds
from ensemble.predictions.available import learners_of
from ensemble.predictions.level_zero import LevelZero, level_zero
from ensemble.runs.paths import FULL, Outputs, fold_model, parts_of, seed_model
from ensemble.settings.members import Member
from ensemble.training.cost import profile_network
from ensemble.training.networks import build_learner, unloaded

REPEATS = 5
"""Timed passes of a network; the median counts."""


@dataclass(frozen=True)
class Cost:
    """Of one image at the candidate's own size."""

    milliseconds: float = 0.0  # on one thread of the CPU
    giga_mul_adds: float = 0.0  # 1e9 multiply-adds
    million_parameters: float = 0.0  # 1e6 parameters, frozen ones too


def candidates(
    outputs: Outputs, experiment: str, *, root: Path | None = None, options: Sequence[str] = ()
) -> tuple[LevelZero, ...]:
    """Every learner and seed of an experiment whose full fit and models of folds are complete.

    ``root`` and ``options`` are those of ``trained_learner``.

    Raises:
        ValueError: There are fewer than two; the message holds the command that trains more.
    """
    found: list[LevelZero] = []
    path, known = outputs.folds(experiment), learners_of(outputs, experiment)
    folds = read_folds(path).count if path.is_file() else 0
    for learner in known if folds else ():
        for seed in (None, *_seeds(outputs, experiment, learner)):
            models = [FULL if seed is None else seed_model(seed), *(fold_model(fold, seed) for fold in range(folds))]
            if all(outputs.learner_run(experiment, learner, model).result.is_file() for model in models):
                name = Member(learner, seed).name
                found.append(level_zero(outputs, experiment, name, rows="oof", level0="full", root=root))
    if len(found) < 2:
        again = (
            "train",
            known[0],
            "--folds",
            str(folds or 5),
            "--seeds",
            "0,1,2",
            *options,
            "--experiment",
            experiment,
        )
        raise ValueError(
            f"{path.parent}: expected two or more learners or seeds with a full fit and models of all folds, found "
            f"{len(found)}.\nRun: {outputs.command('base', *again)}"
        )
    return tuple(found)


def costs_of(members: Sequence[LevelZero]) -> list[Cost]:
    """What every candidate costs; networks that are built alike are timed once."""
    measured: dict[str, Cost] = {}
    costs = []
    with _one_thread():
        for member in members:
            key = "" if member.tested[0].is_import else _built(member)
            if key not in measured:
                measured[key] = _measured(member) if key else Cost()
            costs.append(measured[key])
    return costs


def _seeds(outputs: Outputs, experiment: str, learner: str) -> list[int]:
    folder = outputs.learner_run(experiment, learner).folder.parent
    parts = (parts_of(path.parent.name) for path in folder.glob("seed-*/result.json"))
    return sorted({part.seed for part in parts if part.seed is not None})


def _built(member: LevelZero) -> str:
    """How the network of a candidate is built, whatever its weights."""
    settings = member.tested[0].network_settings
    encoder = unloaded(settings).encoder.model_dump(mode="json")
    return json.dumps([settings.architecture, settings.network, encoder, settings.seen.size], sort_keys=True)


def _measured(member: LevelZero) -> Cost:
    settings = member.tested[0].network_settings
    network = build_learner(unloaded(settings))
    profile = profile_network(network, settings.seen.size, device="cpu", repeats=REPEATS)
    return Cost(profile.milliseconds, profile.mul_adds / 1e9, profile.parameters / 1e6)


@contextmanager
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
