"""Starts worker processes, shows how far the study is, and says how it ended."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import IO

from optuna.storages import BaseStorage
from rich.live import Live

from ensemble.console import messages
from ensemble.runs.locks import PATIENCE, StoreLock
from ensemble.runs.seals import write_checked
from ensemble.runs.stopping import SIGNALS, Stopped
from ensemble.studies.design.arms import arms_of
from ensemble.studies.design.study_file import StudySettings
from ensemble.studies.running.preparing import check_arms, check_learners, prepare
from ensemble.studies.running.progress import progress_table, remaining, trial_line
from ensemble.studies.running.trials import WorkerContext
from ensemble.studies.running.workers import DOWN_STATUS, adopt_lost, is_hopeless, work
from ensemble.studies.storage.addresses import keep_address, shown_url
from ensemble.studies.storage.connection import open_storage, patiently
from ensemble.studies.storage.records import Trial, open_part, trials_of
from ensemble.tables.terminal import TerminalTable

Worker = tuple[subprocess.Popen[str], Path]
"""A worker process, and what it prints to."""

LOOK_SECONDS = 2.0
"""Between two looks at the storage."""


def begin_study(context: WorkerContext) -> BaseStorage:
    """Check, prepare and write down a study; nothing is drawn yet.

    Raises:
        SettingsError: It is not the study that has trials under this name, an arm is impossible, or
            learners are missing.
        StorageDownError: The storage does not answer.
    """
    study = context.study
    check_arms(context)
    check_learners(context)
    storage = open_storage(context.url, study.storage)
    for arm in arms_of(study):
        open_part(study, arm, storage)
    prepare(context)
    with StoreLock(context.folder.folder, patience=PATIENCE, keep=False):
        keep_address(context.url, context.folder)
        write_checked(context.folder.settings, (study.model_dump_json(indent=2) + "\n").encode())
    if adopted := adopt_lost(context, storage):
        messages.print(f"{adopted} outcomes that could not be told before are in {shown_url(context.url)} now")
    return storage


def run_study(context: WorkerContext, *, workers: int, timeout: float | None = None) -> int:
    """Run the trials that are still to be run; returns the exit status.

    No workers run them in this process, without a table; after ``timeout`` seconds no trial is begun.
    """
    study = context.study
    storage = begin_study(context)
    before = trials_of(study, storage)
    messages.print(
        f"{study.name}: {len(arms_of(study))} arms, {remaining(study, before)} of "
        f"{len(arms_of(study)) * study.trials} trials to run, in {shown_url(context.url)}"
    )
    deadline = None if timeout is None else time.time() + timeout
    if workers == 0:
        work(context, deadline=deadline)
        statuses = [0]
    else:
        begun: list[Worker] = []
        try:
            _start(context, workers, deadline, begun)
            statuses = _watch(context, storage, begun, before)
        except Stopped:
            _end(begun)
            raise
    after = patiently(lambda: trials_of(study, storage), context.url, timeout=study.storage.timeout)
    messages.print(TerminalTable(progress_table(study, after, workers=max(1, workers))))
    return _conclusion(study, after, statuses, timeout)


def _start(context: WorkerContext, workers: int, deadline: float | None, begun: list[Worker]) -> None:
    """Start workers and add them to ``begun``; an address with a password is no business of a process list."""
    cores = max(1, (os.cpu_count() or 1) // workers)
    environment = {"OMP_NUM_THREADS": str(cores), **os.environ}
    context.folder.workers.mkdir(parents=True, exist_ok=True)
    for index in range(workers):
        given = {
            "study": context.study.model_dump_json(),
            "cache": str(context.outputs.root),
            "named": context.outputs.named,
            "url": context.url,
            "root": None if context.root is None else str(context.root),
            "wandb": context.wandb,
            "index": index,
            "deadline": deadline,
        }
        log = context.folder.workers / f"{os.uname().nodename}-{os.getpid()}-{index}.log"
        with log.open("w", encoding="utf-8") as stream:
            process = subprocess.Popen(
                [sys.executable, "-m", "ensemble.studies.running.workers"],
                stdin=subprocess.PIPE,
                stdout=stream,
                stderr=stream,
                text=True,
                env=environment,
            )
        begun.append((process, log))
        _hand_over(process.stdin, given)


def _end(begun: Sequence[Worker]) -> None:
    """Pass on that the study is to stop, and wait until every worker has given its trial back."""
    for process, _ in begun:
        process.terminate()  # nothing happens to one that has ended
    for process, _ in begun:
        process.wait()


def _hand_over(stream: IO[str] | None, given: dict[str, object]) -> None:
    if stream is not None:
        with stream:
            stream.write(json.dumps(given))


def _watch(context: WorkerContext, storage: BaseStorage, begun: Sequence[Worker], before: Sequence[Trial]) -> list[int]:
    """Show how far the study is until all workers have ended; returns their exit statuses."""
    study = context.study
    told = {(trial.arm, trial.number) for trial in before if trial.finished}
    ended: dict[int, int] = {}
    screen = Live(console=messages, transient=True, auto_refresh=False) if messages.is_terminal else nullcontext()
    with screen as live:  # the table is drawn again and again where there is a terminal
        while len(ended) < len(begun):
            time.sleep(LOOK_SECONDS)
            trials = patiently(lambda: trials_of(study, storage), context.url, timeout=study.storage.timeout + 60)
            for trial in trials:
                if trial.finished and (trial.arm, trial.number) not in told:
                    told.add((trial.arm, trial.number))
                    messages.print(trial_line(study, trial))
            if live is not None:
                live.update(TerminalTable(progress_table(study, trials, workers=len(begun) - len(ended))), refresh=True)
            for process, log in begun:
                if process.pid not in ended and (status := process.poll()) is not None:
                    ended[process.pid] = status
                    if status:
                        messages.print(_last_words(status, log))
    return list(ended.values())


def _last_words(status: int, log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    if status - 128 in SIGNALS:
        return f"a worker was stopped by {signal.Signals(status - 128).name}; what it ran is run again ({log})"
    if status < 0:
        return f"a worker was killed by signal {-status}; what it ran is run again ({log})"
    return next((line for line in reversed(lines) if line.startswith("error: ")), f"a worker failed: {log}")


def _conclusion(study: StudySettings, trials: Sequence[Trial], statuses: Sequence[int], timeout: float | None) -> int:
    """The exit status, and why the study is not finished where it is not."""
    left = remaining(study, trials)
    for arm in arms_of(study):
        own = [trial for trial in trials if trial.arm == arm.name]
        if is_hopeless(own):
            messages.print(f"error: arm {arm.name} was left after {len(own)} failed trials: {own[-1].reason}")
    if not left:
        return 0
    if DOWN_STATUS in statuses:
        return DOWN_STATUS
    if timeout is not None and not any(statuses):
        messages.print(f"time is over with {left} trials left; run the same command to go on")
        return 0
    messages.print(f"{left} trials are left; run the same command to go on")
    return 1
