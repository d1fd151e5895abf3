"""Every command that writes ends by SIGTERM and SIGINT with one line and 143 or 130, and the same command goes on."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from command_lines import Job, call, contents, done, signalled
from foreign_maps import noisy_maps, save_npy, source_of
from matplotlib import _path
from pydantic import BaseModel, model_serializer

from ensemble import options
from ensemble.predictions import predict
from ensemble.predictions.foreign import import_depth
from ensemble.report import writing
from ensemble.runs.stopping import Stopped, held_back, stop_asked, stoppable
from ensemble.training.tasks import DepthTask

ROOT = Path(__file__).resolve().parents[2]
BOTH = pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])


@dataclass
class Place:
    """What the commands work on."""

    job: Job
    folder: Path

    def words(self, name: str) -> list[object]:
        cache = ("--cache-dir", self.folder / "cache")
        own = ("--config", self.job.config, *cache)
        if name == "base import":
            maps = save_npy(self.folder / "maps", noisy_maps(source_of(self.job.config), "train", noise=0.1, seed=0))
            return ["base", "import", "other", maps, "--role", "validation", *own]
        return {
            "base train": ["base", "train", "bts", "--fresh", *own],
            "meta fit": ["meta", "fit", "--inputs", "rgb", "--fresh", *own],
            "base cache": ["base", "cache", "bts", "--role", "test", "--rebuild", *own],
            "report": [
                "report",
                *(file.parent for file in self.folder.rglob("scores.json")),
                "--resamples",
                "100",
                *cache,
            ],
        }[name]


MOMENTS = {
    "base train": (DepthTask, "training_step", 1),
    "meta fit": (DepthTask, "training_step", 1),
    "base cache": (predict, "predict_depth", 1),
    "base import": (import_depth, "resized", 2),
    "report": (writing, "write_sealed", 2),
}


@BOTH
@pytest.mark.parametrize("name", MOMENTS)
def test_a_stopped_command_says_so_and_the_same_one_goes_on(name: str, number: int, job: Job, tmp_path: Path) -> None:
    place = Place(job, tmp_path)
    job.copy_to(tmp_path)
    tool, *words = place.words(name)
    before = [signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)]
    with signalled(*MOMENTS[name][:2], number, call=MOMENTS[name][2]):
        answer = call(str(tool), *words)
    assert answer.status == 128 + number, answer.err
    step = " at step 1" if name in ("base train", "meta fit") else ""
    said = f"stopped by {signal.Signals(number).name}{step}; the same command goes on"
    assert [line for line in answer.err.splitlines() if "stopped" in line] == [said]
    assert answer.err.splitlines()[-1] == said
    assert [signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)] == before
    again = [word for word in words if word not in ("--fresh", "--rebuild")]
    finished = done(str(tool), *again)
    if step:
        assert "going on after step 1" in finished.err
    assert not [path for path in contents(tmp_path) if path.endswith(".partial")]


EARLY = """
import os, sys

class Struck:
    def find_spec(self, name, path=None, target=None):
        if name == "typer":
            os.kill(os.getpid(), int(sys.argv[1]))

sys.meta_path.insert(0, Struck())
sys.argv[0] = sys.argv[2]
import runpy
runpy.run_module(sys.argv[3], run_name="__main__")
"""


@BOTH
@pytest.mark.parametrize(("called", "module"), [("-m", "ensemble.base"), ("/usr/bin/stackdepth", "ensemble.__main__")])
def test_a_command_that_is_stopped_while_it_is_imported_ends_with_the_same_line(
    number: int, called: str, module: str
) -> None:
    command = [sys.executable, "-c", EARLY, str(int(number)), called, module]
    ended = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    said = f"stopped by {signal.Signals(number).name}; the same command goes on\n"
    assert (ended.returncode, ended.stdout, ended.stderr) == (128 + number, "", said)


class Struck(BaseModel):
    @model_serializer
    def plain(self) -> dict[str, int]:
        os.kill(os.getpid(), signal.SIGTERM)
        return {}


def test_a_signal_that_a_library_makes_an_error_of_is_still_one(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    app = options.application("")
    app.command()(lambda: Struck().model_dump_json())
    monkeypatch.setattr(sys, "argv", ["struck"])
    with pytest.raises(SystemExit) as ended:
        options.run(app)
    assert ended.value.code == 143
    assert capsys.readouterr().err == "stopped by SIGTERM; the same command goes on\n"


class Matrix:
    def __array__(self, *given: object, **named: object) -> np.ndarray:
        os.kill(os.getpid(), signal.SIGTERM)
        return np.eye(3)


@pytest.mark.parametrize("told", [None, "disk is full"])
def test_a_signal_that_a_compiled_library_forgets_is_still_one(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, told: str | None
) -> None:
    app = options.application("")

    @app.command()
    def drawn() -> None:
        with pytest.raises(ValueError, match="Invalid affine transformation matrix") as raised:
            _path.affine_transform(np.zeros((1, 2)), Matrix())
        raise OSError(told) if told else raised.value

    monkeypatch.setattr(sys, "argv", ["drawn"])
    with pytest.raises(SystemExit) as ended:
        options.run(app)
    said = "error: disk is full" if told else "stopped by SIGTERM; the same command goes on"
    assert (ended.value.code, capsys.readouterr().err) == (1 if told else 143, said + "\n")


LATE = """
import os, signal, sys
sys.argv = ["-m"]
import ensemble

class Late:
    kill, me, number = os.kill, os.getpid(), signal.SIGTERM

    def __del__(self):
        self.kill(self.me, self.number)

late = Late()
print("done")
"""


def test_a_signal_to_an_interpreter_that_takes_itself_apart_makes_no_failure_of_what_is_done() -> None:
    ended = subprocess.run([sys.executable, "-c", LATE], capture_output=True, text=True, cwd=ROOT, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "done\n", "")


HELD = (
    "import sys, time\nfrom ensemble.runs.stopping import *\n"
    "try:\n with stoppable(), held_back():\n"
    "  print(flush=True)\n"
    "  while True:\n"
    "   time.sleep(0.01)\n"
    "   if stop_asked(): print('asked', flush=True), time.sleep(60)\n"
    "except Stopped as stop:\n sys.exit(stop.status)\n"
)


def test_a_second_sigint_ends_at_once_and_one_that_timeout_sends_twice_does_not() -> None:
    process = subprocess.Popen([sys.executable, "-c", HELD], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGINT)
    assert process.stdout.readline() == "asked\n"
    assert process.poll() is None
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=10) == 130
    process.stdout.close()


def held_until_a_signal(number: int) -> None:
    with held_back():
        os.kill(os.getpid(), number)
        assert stop_asked() == number


def test_a_signal_that_was_held_back_ends_the_block_and_is_forgotten_with_it() -> None:
    with stoppable(), pytest.raises(Stopped, match=r"^stopped by SIGTERM; the same command goes on$") as stopped:
        held_until_a_signal(signal.SIGTERM)
    assert stopped.value.status == 143
    assert stop_asked() is None


class Dying:
    def __del__(self) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0)


def let_die() -> None:
    Dying()
    time.sleep(60)


def test_a_signal_that_falls_into_a_finaliser_is_not_forgotten(capfd: pytest.CaptureFixture[str]) -> None:
    with stoppable(), pytest.raises(Stopped, match="SIGTERM"):
        let_die()
    assert capfd.readouterr().err == ""


def test_a_sigint_that_was_switched_off_stays_so() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with stoppable():
            os.kill(os.getpid(), signal.SIGINT)
            assert stop_asked() is None
    finally:
        signal.signal(signal.SIGINT, before)


UNREAD = """
import sys, time
from ensemble import options
from ensemble.console import messages, pulse, results

pulse.QUIET = 0.05
app = options.application("")

@app.command()
def wait(how: str):
    if how == "dots":
        print("begun", flush=True)
        while True:
            time.sleep(0.01)
    if how == "messages":
        print("begun", flush=True)
        messages.print("words")
    if how == "results":
        print("begun", file=sys.stderr, flush=True)
        results.print(100_000 * "words ")

options.run(app)
"""


def full_pipe() -> tuple[int, int]:
    """Both ends of a pipe that takes nothing more."""
    reads, writes = os.pipe()
    os.set_blocking(writes, False)
    for size in (1 << 16, 1):
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(writes, size * b"x")
    os.set_blocking(writes, True)
    return reads, writes


@pytest.mark.parametrize("how", ["dots", "messages", "results"])
def test_sigterm_ends_a_command_whose_words_nobody_reads(how: str) -> None:
    reads, writes = full_pipe()
    full, heard = ("stdout", "stderr") if how == "results" else ("stderr", "stdout")
    command = [sys.executable, "-c", UNREAD, how]
    process = subprocess.Popen(command, text=True, cwd=ROOT, **{full: writes, heard: subprocess.PIPE})
    stream = getattr(process, heard)
    try:
        assert stream.readline() == "begun\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=20) == 143
        told = [line for line in stream.read().splitlines() if not line.endswith(".")]  # of dots
        assert told == (["stopped by SIGTERM; the same command goes on"] if how == "results" else [])
    finally:
        process.kill()
        stream.close()
        os.close(reads)
        os.close(writes)
