import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
import training_runs as runs
from test_training_checkpoints import Malicious, checkpoint

from ensemble import options
from ensemble.base import app
from ensemble.runs.paths import Outputs, Run
from ensemble.training.learners import train_learner
from ensemble.training.trackers.log import JsonLinesLogger

HERE = Path(__file__).parent
ROOT = HERE.parents[2]


def written(path: Path, *steps: int) -> None:
    path.write_text("".join(json.dumps({"step": step, "train/loss": 1.0}) + "\n" for step in steps))


def steps_of(path: Path) -> list[int]:
    return [json.loads(line)["step"] for line in path.read_text().splitlines()]


def test_the_log_is_rewound_to_the_step_that_the_run_goes_on_from(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    written(path, 1, 2, 3, 3, 4)
    JsonLinesLogger(path, 3).log_metrics({"train/loss": 2.0, "epoch": 1.0}, 4)
    assert steps_of(path) == [1, 2, 3, 3, 4]
    assert json.loads(path.read_text().splitlines()[-1]) == {"step": 4, "train/loss": 2.0}


def test_a_new_run_begins_a_new_log(tmp_path: Path) -> None:
    written(tmp_path / "log.jsonl", 1, 2)
    JsonLinesLogger(tmp_path / "log.jsonl")
    assert (tmp_path / "log.jsonl").read_text() == ""


def test_half_a_line_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    written(path, 1, 2)
    path.write_text(path.read_text() + '{"step": 3, "train/lo')
    JsonLinesLogger(path, 9)
    assert steps_of(path) == [1, 2]


@pytest.mark.parametrize("line", ["no json", "[1]", '{"loss": 1}'])
def test_a_damaged_line_is_named(tmp_path: Path, line: str) -> None:
    (tmp_path / "log.jsonl").write_text(f'{{"step": 1}}\n{line}\n')
    with pytest.raises(ValueError, match=r"log\.jsonl: expected a JSON object with a step, found .* remove this line"):
        JsonLinesLogger(tmp_path / "log.jsonl", 1)


def without_wandb(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "wandb" else find(name, *rest))


def test_a_run_is_the_same_where_wandb_is_not_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], untracked: Run
) -> None:
    without_wandb(monkeypatch)
    run = train_learner(runs.narrow_settings("bts", max_steps=3), Outputs(tmp_path), wandb=True)
    assert "wandb is not installed, going on without; run: pip install 'stackdepth[wandb]'" in capsys.readouterr().err
    assert run.log.read_bytes() == untracked.log.read_bytes()
    assert run.best.read_bytes() == untracked.best.read_bytes()


def command_line(*extra: str, cache: Path, **training: Any) -> list[str]:
    assignments = runs.narrow_assignments(runs.NARROW_BTS, **training)
    chosen = [part for assignment in assignments for part in ("--set", assignment)]
    return ["train", "bts", "--data", "rooms", "--cache-dir", str(cache), *chosen, *extra]


@pytest.fixture(scope="module")
def untracked(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Three steps without a tracker."""
    return train_learner(runs.narrow_settings("bts", max_steps=3), Outputs(tmp_path_factory.mktemp("untracked")))


def environment(home: Path, **changed: str) -> dict[str, str]:
    """Of a process that knows no key of Weights & Biases."""
    home.mkdir(exist_ok=True)
    kept = {key: value for key, value in os.environ.items() if not key.startswith("WANDB")}
    return {**kept, "HOME": str(home), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **changed}


def tracked(tmp_path: Path, program: Sequence[str], **changed: str) -> tuple[str, Run]:
    """Three steps with a tracker, in a process of their own; what it told, and its run."""
    ended = subprocess.run(
        [sys.executable, *program, *command_line("--wandb", cache=tmp_path / "cache", max_steps=3)],
        cwd=tmp_path,
        env=environment(tmp_path / "home", **changed),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert ended.returncode == 0, ended.stderr[-3000:]
    return " ".join(ended.stderr.split()), Outputs(tmp_path / "cache").learner_run("test", "bts")


def assert_same(run: Run, other: Run) -> None:
    assert run.log.read_bytes() == other.log.read_bytes()
    assert run.best.read_bytes() == other.best.read_bytes()


@pytest.mark.slow
def test_wandb_works_offline_without_a_key_and_changes_nothing(tmp_path: Path, untracked: Run) -> None:
    _, run = tracked(tmp_path, ("-m", "ensemble.base"))
    assert_same(run, untracked)
    assert list(run.folder.glob("wandb/offline-run-*/run-*.wandb"))
    assert not list(untracked.folder.glob("wandb"))


IMPATIENT = """
from ensemble import options
from ensemble.base import app
from ensemble.training.trackers import weights_and_biases

weights_and_biases._PATIENCE = 6.0
options.run(app)
"""


@pytest.mark.slow
def test_a_server_that_does_not_answer_changes_nothing(tmp_path: Path, untracked: Run) -> None:
    """With a key, and no network: port 9 of this machine refuses."""
    program = tmp_path / "impatient.py"
    program.write_text(IMPATIENT)
    told, run = tracked(tmp_path, (str(program),), WANDB_API_KEY="a" * 40, WANDB_BASE_URL="http://127.0.0.1:9")
    assert "--wandb: cannot start online" in told
    assert_same(run, untracked)
    assert list(run.folder.glob("wandb/offline-run-*/run-*.wandb")), "it is tracked offline instead"


KILLING_THE_TRACKER = """
import os, signal
from pathlib import Path
from ensemble import options
from ensemble.base import app
from ensemble.training.trackers.log import JsonLinesLogger

whole = JsonLinesLogger.log_metrics

def killing(self, metrics, step=None):
    whole(self, metrics, step)
    if "step 1 was told" not in os.environ:
        os.environ["step 1 was told"] = "yes"
        trackers = [path for path in Path("/proc").glob("[0-9]*/cmdline") if b"wandb-core" in path.read_bytes()]
        mine = [int(path.parent.name) for path in trackers if str(os.getpid()) in (path.parent / "cmdline").read_text()]
        assert mine, "the tracker has a process of its own"
        for process in mine:
            os.kill(process, signal.SIGKILL)

JsonLinesLogger.log_metrics = killing
options.run(app)
"""


@pytest.mark.slow
def test_a_tracker_that_is_killed_changes_nothing(tmp_path: Path, untracked: Run) -> None:
    program = tmp_path / "killing.py"
    program.write_text(KILLING_THE_TRACKER)
    told, run = tracked(tmp_path, (str(program),))
    assert "--wandb: no longer answers" in told
    assert_same(run, untracked)


@pytest.mark.slow
def test_a_tracked_run_that_is_killed_goes_on_as_if_nothing_had_happened(tmp_path: Path, untracked: Run) -> None:
    log = Outputs(tmp_path / "cache").learner_run("test", "bts").log
    words = command_line("--wandb", "--set", "training.checkpoint_every=1", cache=tmp_path / "cache", max_steps=3)
    process = subprocess.Popen(
        [sys.executable, "-m", "ensemble.base", *words],
        cwd=tmp_path,
        env=environment(tmp_path / "home"),
        stderr=subprocess.DEVNULL,
    )
    while process.poll() is None and not (log.is_file() and log.read_text().count("train/loss")):
        time.sleep(0.01)
    process.kill()
    assert process.wait() == -signal.SIGKILL, "it ended before it could be killed"
    _, run = tracked(tmp_path, ("-m", "ensemble.base"))
    assert_same(run, untracked)


def test_the_command_line_ends_with_a_message_where_the_loss_is_not_finite(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("STACKDEPTH_TRACEBACK", raising=False)
    monkeypatch.setattr(sys, "argv", ["base", *command_line(cache=tmp_path, lr=1e9, weight_decay=1e9, clip_norm=None)])
    with pytest.raises(SystemExit) as ended:
        options.run(app)
    assert ended.value.code == 1
    told = capsys.readouterr().err
    assert "bts: at step 2 the predicted depth is not positive and finite (first in frame room_" in told
    assert "Lower training.lr" in told
    assert "Traceback" not in told
    assert not Run(tmp_path / "runs" / "test" / "bts" / "full").result.exists()


def test_the_command_line_refuses_a_malicious_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = Outputs(tmp_path).learner_run("test", "bts")
    run.folder.mkdir(parents=True)
    torch.save({**checkpoint(), "callbacks": Malicious(tmp_path / "executed")}, run.last)
    monkeypatch.setattr(sys, "argv", ["base", *command_line(cache=tmp_path)])
    with pytest.raises(SystemExit) as ended:
        options.run(app)
    assert ended.value.code == 1
    told = capsys.readouterr().err
    assert f"{run.last}: refused" in told
    assert "Traceback" not in told
    assert not (tmp_path / "executed").exists()
