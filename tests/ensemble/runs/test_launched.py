"""Variables of torchrun that somebody else has set are named, before a process waits for siblings that nobody began."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ensemble.runs.launched import processes, told
from ensemble.settings.trees import SettingsError

TOGETHER = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch):
    for variable in TOGETHER:
        monkeypatch.delenv(variable, raising=False)


@pytest.mark.parametrize("variable", ["RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE"])
@pytest.mark.parametrize("text", ["1e9", "rooms", "-1", "9" * 30])
def test_what_is_no_number_is_named(variable: str, text: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(variable, text)
    with pytest.raises(SettingsError, match=f"^{variable}: expected a whole number as torchrun sets it; unset it"):
        told(variable, 1)


def test_several_processes_that_nobody_launched_are_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("WORLD_SIZE", "3")
    with pytest.raises(SettingsError, match="found 3, expected RANK, LOCAL_RANK, LOCAL_WORLD_SIZE, MASTER_ADDR"):
        processes()
    for variable in TOGETHER:
        monkeypatch.setenv(variable, "3")
    assert processes() == 3


def test_without_a_launcher_a_process_is_alone(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("WORLD_SIZE", "")
    assert (told("RANK", 0), processes()) == (0, 1)


@pytest.mark.parametrize("variable", ["RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE"])
def test_a_training_names_the_variable_before_it_writes(variable: str, tmp_path: Path):
    command = [sys.executable, "-m", "ensemble.base", "train", "bts", "--config", "rooms_tiny", "--cache-dir", "cache"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3]), variable: "rooms"}
    ended = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment, check=False)
    assert ended.returncode == 2
    assert f"error: {variable}: expected a whole number" in ended.stderr
    assert not list(tmp_path.iterdir())
