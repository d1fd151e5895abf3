"""Packaged experiments and studies by their names."""

import os
from pathlib import Path
from unittest import mock

import pytest
from command_lines import call

from ensemble.settings.layers import Choice
from ensemble.settings.packaged import config_file, name_or_path, packaged, study_file
from ensemble.settings.trees import SettingsError, config_folder

EXPERIMENTS = config_folder() / "experiments"


def test_a_name_or_its_beginning_stands_for_a_packaged_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    assert config_file(None) is None
    assert config_file(Path("nyu_stacking")) == EXPERIMENTS / "nyu_stacking.yaml"
    assert config_file(Path("nyu_stacking.yaml")) == EXPERIMENTS / "nyu_stacking.yaml"
    assert config_file(Path("nyu_small")) == EXPERIMENTS / "nyu_small.yaml"
    assert config_file(Path("nyu_small_gh")) == EXPERIMENTS / "nyu_small_ghostnet.yaml"
    assert config_file(Path("demo")) == config_folder() / "demo.yaml"
    assert study_file(Path("smoke")) == config_folder() / "study/smoke.yaml"


def test_a_file_that_is_there_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "demo").write_text("seed: 1\n")
    assert config_file(Path("demo")) == Path("demo")
    assert name_or_path(Path("demo")) == "demo"
    (tmp_path / "nyu_study").mkdir()
    assert config_file(Path("nyu_study")) == EXPERIMENTS / "nyu_study.yaml", "a folder is no experiment"
    assert config_file(Path("no/such/demo")) == Path("no/such/demo"), "a path is not a name"
    with mock.patch.dict(os.environ, {"HOME": str(tmp_path)}):
        assert config_file(Path("~/demo")) == tmp_path / "demo"


def test_an_unknown_or_ambiguous_name_is_answered_with_the_near_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SettingsError, match=r"did you mean 'nyu_stacking'\? Known: demo, kitti_eigen, "):
        config_file(Path("nyu_staking"))
    begun = [name for name in packaged(("experiments/*.yaml",)) if name.startswith("nyu_s")]
    with pytest.raises(SettingsError, match=f"nyu_s: {len(begun)} packaged files begin so: {', '.join(begun)}; name"):
        config_file(Path("nyu_s"))
    with pytest.raises(SettingsError, match=r"no ready study of that name; did you mean 'smoke'\?"):
        study_file(Path("smok"))  # what begins trainings wants its whole name
    answer = call("base", "train", "bts", "--config", "nyu_staking")
    assert (answer.status, "did you mean 'nyu_stacking'?" in answer.err) == (2, True)


def test_a_mistyped_file_is_answered_with_the_one_beside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.yaml").write_text("seed: 1\n")
    with pytest.raises(
        SettingsError, match=r"own.yam: there is no such file, .*; did you mean the file own.yaml\? Known:"
    ):
        config_file(Path("own.yam"))
    with pytest.raises(SettingsError, match=rf"there is no such file; did you mean the file {tmp_path}/own.yaml\?"):
        config_file(tmp_path / "ovn.yaml")


def test_commands_in_messages_give_the_name_again():
    assert Choice(config=config_folder() / "demo.yaml").words == ["--config", "demo"]
    assert Choice(config=Path("mine.yaml")).words == ["--config", "mine.yaml"]
