import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import training_runs as runs
from test_training_checkpoints import Malicious, checkpoint

from ensemble import options
from ensemble.base import app
from ensemble.runs import Outputs, Run
from ensemble.stages import train_learner
from ensemble.training.tracking import JsonLinesLogger, wandb_logger

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


def test_wandb_that_is_not_installed_is_one_clear_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "wandb" else find(name, *rest))
    with pytest.raises(ValueError, match=r"wandb is not installed; run: pip install 'stackdepth\[wandb\]'"):
        wandb_logger("project", "name", "group", tmp_path, {})


def command_line(*extra: str, cache: Path, **training: Any) -> list[str]:
    assignments = runs.narrow_assignments(runs.NARROW_BTS, **training)
    chosen = [part for assignment in assignments for part in ("--set", assignment)]
    return ["train", "bts", "--data", "rooms", "--cache-dir", str(cache), *chosen, *extra]


def test_wandb_works_offline_without_a_key_and_changes_nothing(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    environment = {key: value for key, value in os.environ.items() if not key.startswith("WANDB")}
    environment.update(HOME=str(home), PYTHONPATH=str(ROOT), OMP_NUM_THREADS="1")
    ended = subprocess.run(
        [sys.executable, "-m", "ensemble.base", *command_line("--wandb", cache=tmp_path / "on", max_steps=3)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert ended.returncode == 0, ended.stderr[-3000:]
    on = Outputs(tmp_path / "on").learner_run("test", "bts")
    off = train_learner(runs.narrow_settings("bts", max_steps=3), Outputs(tmp_path / "off"))
    assert on.log.read_bytes() == off.log.read_bytes()
    assert on.best.read_bytes() == off.best.read_bytes()
    assert list(on.folder.glob("wandb/offline-run-*/run-*.wandb"))
    assert not list(off.folder.glob("wandb"))


def test_the_command_line_ends_with_a_message_where_the_loss_is_not_finite(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("STACKDEPTH_TRACEBACK", raising=False)
    monkeypatch.setattr(sys, "argv", ["base", *command_line(cache=tmp_path, lr=1e30, clip_norm=None)])
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
