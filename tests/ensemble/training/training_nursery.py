"""A process that has everything imported and forks a child for every job, so that fifty kills take seconds.

It reads one job a line and answers with the child's process id, the lines that the child prints, and how it ended.
"""

import importlib
import json
import os
import signal
import subprocess
import sys
import traceback
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[3]


class Nursery:
    """The tests' end of the line."""

    def __init__(self) -> None:
        environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}", "OMP_NUM_THREADS": "1"}
        self._process = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        self.pid = 0
        self.status = 0

    def lines(self, job: str, **arguments: Any) -> Iterator[str]:
        """Start a job and yield what it prints until it ends; then ``status`` is its exit status (minus a signal)."""
        self._process.stdin.write(json.dumps({"job": job, **arguments}) + "\n")
        self._process.stdin.flush()
        self.pid = int(self._answer())
        while not (line := self._answer()).startswith("ended "):
            yield line
        self.status = os.waitstatus_to_exitcode(int(line.removeprefix("ended ")))

    def run(self, job: str, **arguments: Any) -> int:
        """Run a job to its end, which may be its death."""
        list(self.lines(job, **arguments))
        return self.status

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)

    def close(self) -> None:
        self._process.communicate()

    def _answer(self) -> str:
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the nursery died; what it said stands in the captured standard error")
        return line.strip()


def tell(text: str) -> None:
    """One line in one write, which a kill cannot cut."""
    os.write(1, f"{text}\n".encode())


def save_for_ever(path: str) -> None:
    """Write one checkpoint after another; each is told after it is on disk."""
    import torch

    from ensemble.training.checkpoints import AtomicCheckpointIO

    step = 0
    while True:
        step += 1
        checkpoint = {"global_step": step, "state_dict": {"weight": torch.full((50_000,), float(step))}}
        AtomicCheckpointIO().save_checkpoint(checkpoint, path)
        tell(f"saved {step}")


def train(root: str, die: list[Any] | None = None, stop: list[Any] | None = None, **training: Any) -> int:
    """Train the narrow AdaBins, noting the frames of every batch.

    ``die`` names a call that this process dies in, ``stop`` one in which it gets a signal, which comes last.
    """
    import training_runs

    from ensemble.runs.paths import Outputs
    from ensemble.runs.stopping import Stopped, stoppable
    from ensemble.training.checkpoints import KeepCheckpoints
    from ensemble.training.learners import train_learner
    from ensemble.training.tasks import DepthTask

    order = Path(root) / "order.txt"
    step = DepthTask.training_step

    def noted_step(task: DepthTask, batch: Any, batch_idx: int) -> Any:
        number = task.trainer.global_step * task.trainer.accumulate_grad_batches
        number += batch_idx % task.trainer.accumulate_grad_batches
        with order.open("a") as notes:
            notes.write(f"{number} {' '.join(batch['frame'])} {batch['image'].sum().item()!r}\n")
        return step(task, batch, batch_idx)

    DepthTask.training_step = noted_step
    for where, call, *number in filter(None, (die, stop)):
        owner = KeepCheckpoints if hasattr(KeepCheckpoints, where) and where != "setup" else DepthTask
        _die_in(owner, where, call, *number)
    with stoppable():
        try:
            train_learner(training_runs.narrow_settings(**training), Outputs(Path(root)))
        except Stopped as stopped:
            tell(str(stopped))
            return stopped.status
    return 0


def _die_in(owner: type, name: str, call: int, number: int = signal.SIGKILL) -> None:
    """Let this process be killed, or get another signal, at the start of call ``call`` (from 1) of a method."""
    original, calls = getattr(owner, name), [0]

    def deadly(*arguments: Any, **named: Any) -> Any:
        calls[0] += 1
        if calls[0] == call:
            os.kill(os.getpid(), number)
        return original(*arguments, **named)

    setattr(owner, name, deadly)


LATE = ("ensemble.training.learners", "ensemble.data.augmentation", "sklearn.model_selection", "timm")
"""What a training imports when it comes to it, which is most of the second that a child of a few steps would take."""

JOBS = {"save_for_ever": save_for_ever, "train": train}


def main() -> None:
    import torch
    import training_runs
    from rooms_once import render_once

    from ensemble.data import open_source

    for late in LATE:
        importlib.import_module(late)
    render_once()
    rooms = open_source(training_runs.data_settings())
    for frame in rooms.frames:
        rooms.read(frame)  # for the children
    torch.set_num_threads(1)
    warnings.simplefilter("error")
    for line in sys.stdin:
        arguments = json.loads(line)
        child = os.fork()
        if child == 0:
            status = 1
            try:
                status = JOBS[arguments.pop("job")](**arguments) or 0
            except BaseException:
                traceback.print_exc()
            finally:
                sys.stderr.flush()
                os._exit(status)
        tell(str(child))
        tell(f"ended {os.waitpid(child, 0)[1]}")


if __name__ == "__main__":
    main()
