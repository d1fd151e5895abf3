"""Studies whose fits take no time, and processes that run them and may be killed."""

import contextlib
import json
import multiprocessing
import os
import signal
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import sqlalchemy
import yaml
from command_lines import TINY, Answer, call
from sqlalchemy import event

from ensemble.runs.files import write_text
from ensemble.runs.paths import Outputs, Run
from ensemble.studies.design.study_file import StudySettings, read_study
from ensemble.studies.running import launch, trials, workers
from ensemble.studies.storage.addresses import storage_url
from ensemble.studies.storage.connection import open_storage
from ensemble.studies.storage.folders import study_folder
from ensemble.studies.storage.records import Trial, differing, trials_of

STUDY = """
name: toy
config: tiny.yaml
questions: {inputs: [d, rgb]}
numbers:
  training.lr: {low: 1.0e-4, high: 1.0e-2, log: true}
budget: {steps: 2}
trials: 3
sampler: {startup: 2}
storage: {timeout: 10, heartbeat: 1, grace: 3, max_retry: 2}
"""


def write_study(folder: Path, text: str = STUDY, **changed: Any) -> Path:
    """A study file beside its experiment file; ``changed`` takes the place of whole keys."""
    (folder / "tiny.yaml").write_text(TINY, encoding="utf-8")
    file = folder / "toy.yaml"
    file.write_text(yaml.safe_dump({**yaml.safe_load(text), **changed}, sort_keys=False), encoding="utf-8")
    return file


def toy(folder: Path, *, url: str | None = None, **changed: Any) -> trials.WorkerContext:
    study = read_study(write_study(folder, **changed))
    where = Outputs(folder / "cache", named=True)
    return trials.WorkerContext(study, where, storage_url(url, study_folder(where, study.name)))


def found(context: trials.WorkerContext, study: StudySettings | None = None) -> list[Trial]:
    asked = study or context.study
    trials = trials_of(asked, open_storage(context.url, asked.storage))
    assert not any(differing(trial, context.folder) for trial in trials), "no study raises a false alarm"
    return trials


def ended(records: list[Trial]) -> dict[tuple[str, int], tuple[Any, ...]]:
    return {(each.arm, each.number): (each.values, dict(each.numbers)) for each in records if each.state == "complete"}


def value_of(settings: Any) -> float:
    return settings.training.lr + (0.1 if settings.inputs == "rgb" else 0.2)


def instant(seconds: float = 0.0, before: Callable[[Any, Run], None] | None = None) -> Callable[..., Run]:
    """A fit whose score is known beforehand; it leaves a mark for every time that it was begun."""

    def fit(settings: Any, run: Run, outputs: Outputs, **given: Any) -> Run:
        with (run.folder / "begun").open("a", encoding="utf-8") as marks:
            marks.write(f"{os.getpid()}\n")
        if before is not None:
            before(settings, run)
        time.sleep(seconds)
        write_text(run.settings, settings.model_dump_json())
        budget = {"unit": "steps", "asked": 2, "spent": 2}
        write_text(run.result, json.dumps({"best": value_of(settings), "budget": budget}))
        return run

    return fit


def work_here(context: trials.WorkerContext, fit: Callable[..., Run] | None = None, **given: Any) -> None:
    with mock.patch.object(trials, "fit_meta", fit or instant()):
        workers.work(context, **given)


def run_here(*words: object, fit: Callable[..., Run] | None = None, **environment: str) -> Answer:
    """``study run`` with fits that take no time and learners that nobody asks for."""
    with (
        mock.patch.multiple(launch, check_learners=mock.DEFAULT, prepare=mock.DEFAULT),
        mock.patch.object(trials, "fit_meta", fit or instant()),
    ):
        return call("study", "run", *words, "--workers", 0, **environment)


def _child(context: trials.WorkerContext, fit: Callable[..., Run], index: int) -> None:
    sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, PTH123
    with mock.patch.object(trials, "fit_meta", fit):
        workers.work(context, index=index)


def start(context: trials.WorkerContext, fit: Callable[..., Run], index: int = 0) -> BaseProcess:
    """A worker in a process of its own, begun as a copy of this one: nothing is imported again."""
    process = multiprocessing.get_context("fork").Process(target=_child, args=(context, fit, index), daemon=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of a fork where threads might be
        process.start()
    return process


def kill(process: BaseProcess) -> None:
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join()


def wait_for(happened: Callable[[], bool], seconds: float = 300.0) -> None:
    give_up = time.monotonic() + seconds
    while not happened():
        if time.monotonic() > give_up:
            pytest.fail(f"waited {seconds:g} s in vain")
        time.sleep(0.05)


@contextlib.contextmanager
def outages() -> Iterator[list[bool]]:
    """A switch: while its last entry is true, no database of this process answers."""
    switch = [False]

    def refuse(*given: Any) -> None:
        if switch[-1]:
            raise sqlalchemy.exc.OperationalError("statement", {}, ConnectionError("connection refused"))

    event.listen(sqlalchemy.Engine, "before_cursor_execute", refuse)
    try:
        yield switch
    finally:
        event.remove(sqlalchemy.Engine, "before_cursor_execute", refuse)
