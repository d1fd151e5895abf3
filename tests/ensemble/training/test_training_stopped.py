"""A training that SIGTERM or SIGINT ends goes on as if it had never stopped, and loses no step."""

import json
import signal
from pathlib import Path
from typing import Any

import pytest
from test_training_resume import assert_same_end, order, run_of
from training_nursery import Nursery

from ensemble.training.checkpoints import read_checkpoint

TERM, INT = int(signal.SIGTERM), int(signal.SIGINT)
HALVES = {"accumulate": 2}  # two batches a step, and two for the validation
MOMENTS: dict[str, tuple[dict[str, Any], list[Any], int]] = {
    "mid-epoch, no checkpoint was due": ({}, ["training_step", 2, TERM], 2),
    "between two batches of a step": (HALVES, ["training_step", 5, TERM], 3),
    "second epoch": ({}, ["training_step", 6, INT], 6),
    "last step of an epoch": (HALVES, ["training_step", 8, TERM], 4),
    "validating": (HALVES, ["validation_step", 1, INT], 4),
    "last batch of a validation": (HALVES, ["validation_step", 2, TERM], 4),
    "best weights about to be written": ({}, ["on_validation_end", 1, TERM], 4),
    "end of an epoch": ({}, ["on_train_epoch_end", 1, TERM], 4),
    "last validation": (HALVES, ["validation_step", 3, TERM], 8),
    "last validation of a budget of steps": ({**HALVES, "max_steps": 6}, ["validation_step", 3, TERM], 6),
}
SHORT = (
    "mid-epoch, no checkpoint was due",
    "between two batches of a step",
    "best weights about to be written",
    "last validation",
)


def logged_steps(root: Path) -> list[int]:
    """Every optimiser step in the log, in the order in which it was trained."""
    lines = map(json.loads, run_of(root).log.read_text(encoding="utf-8").splitlines())
    return [line["step"] for line in lines if "train/loss" in line]


@pytest.fixture(scope="session")
def undisturbed(nursery: Nursery, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Runs that were never stopped, by their settings."""
    roots = {}
    for training in ({}, HALVES, {**HALVES, "max_steps": 6}):
        roots[repr(training)] = tmp_path_factory.mktemp("undisturbed")
        assert nursery.run("train", root=str(roots[repr(training)]), **training) == 0
    return roots


@pytest.mark.parametrize(
    "name", [name if name in SHORT else pytest.param(name, marks=pytest.mark.slow) for name in MOMENTS]
)
def test_stopped_and_resumed_ends_bit_equal_and_trains_on_no_batch_twice(
    name: str, tmp_path: Path, nursery: Nursery, undisturbed: dict[str, Path]
) -> None:
    training, (where, call, number), step = MOMENTS[name]
    straight = undisturbed[repr(training)]
    said = list(nursery.lines("train", root=str(tmp_path), stop=[where, call, number], **training))
    assert nursery.status == 128 + number
    assert said == [f"stopped by {signal.Signals(number).name} at step {step}; the same command goes on"]
    assert not run_of(tmp_path).result.exists()
    assert read_checkpoint(run_of(tmp_path).last)["global_step"] == step
    assert logged_steps(tmp_path) == list(range(1, step + 1)), "the log ends with the step that is kept"
    assert nursery.run("train", root=str(tmp_path), **training) == 0
    assert_same_end(tmp_path, straight)
    assert order(tmp_path) == order(straight)
    assert logged_steps(tmp_path) == logged_steps(straight), "the step after the stop is the next one"
