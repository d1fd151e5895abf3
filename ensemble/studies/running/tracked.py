"""Weights & Biases beside a trial: one group per study, one run per trial; nothing of it can end a trial."""

from collections.abc import Mapping
from typing import Any

from lightning.pytorch.loggers import WandbLogger

from ensemble.console import messages
from ensemble.runs.paths import Run
from ensemble.training.learners import WANDB_PROJECT
from ensemble.training.trackers.weights_and_biases import wandb_logger


def start_tracker(study: str, name: str, run: Run, told: Mapping[str, Any]) -> list[WandbLogger]:
    """The tracker of a trial, in the group of its study; none where it cannot start."""
    try:
        tracker = wandb_logger(WANDB_PROJECT, name, study, run.folder, dict(told))
    except Exception as error:  # whatever it is, the trial must come out the same without
        messages.print(f"--wandb: {name} of {study} is not tracked ({error or type(error).__name__})")
        return []
    return [tracker] if isinstance(tracker, WandbLogger) else []


def finish_trackers(trackers: list[WandbLogger]) -> None:
    """End the runs, so that the next trial begins another one."""
    for tracker in trackers:
        try:
            tracker.experiment.finish()
        except Exception as error:  # the outcome of the trial is known already
            messages.print(f"--wandb: the run could not be ended ({error or type(error).__name__}); going on")
