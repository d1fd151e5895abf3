"""``~`` is the home folder at every door, JSON is never coloured, settings that go unheard are refused."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from command_lines import call

from ensemble import options
from ensemble.console import print_json
from ensemble.runs.paths import outputs
from ensemble.settings.layers import Choice, learner_settings, moved, stack_settings
from ensemble.settings.places import at_home
from ensemble.settings.schema import DataSettings, EncoderSettings
from ensemble.settings.trees import SettingsError
from ensemble.studies.storage.addresses import storage_url
from ensemble.studies.storage.folders import StudyFolder


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path / "home"


def test_the_home_folder_is_meant_at_every_door(home: Path, monkeypatch: pytest.MonkeyPatch):
    assert at_home("~/a") == str(home / "a")
    assert at_home(Path("a/~")) == Path("a/~")
    assert options.place(Path("~/a")) == home / "a"
    assert outputs(Path("~/cache")).root == home / "cache"
    monkeypatch.setenv("STACKDEPTH_CACHE", "~/other")
    assert outputs().root == home / "other"
    for choice in (Choice(root=Path("~/nyu")), Choice(assignments=("data.root=~/nyu", "data.kind=nyu"))):
        assert learner_settings("bts", choice).data.root == home / "nyu"
    monkeypatch.setenv("NYU_ROOT", "~/copy")
    settings = learner_settings("bts")
    assert settings.data.root == home / "copy"
    assert moved(settings, Path("~/nyu")).data.root == home / "nyu"
    (home / "w.pth").touch()
    weights = learner_settings("bts", Choice(assignments=("encoder.weights=~/w.pth",))).encoder.weights
    assert weights == str(home / "w.pth")
    folder = StudyFolder(home / "study")
    assert storage_url("sqlite:///~/s.db", folder) == f"sqlite:///{home}/s.db"
    assert storage_url("journal:~/s.log", folder) == f"journal:{home}/s.log"


def test_commands_write_into_the_home_folder(home: Path):
    answer = call("data", "rooms", "~/rooms", "--scenes", 1, "--test-scenes", 1, "--frames", 1, "--size", "32x48")
    assert answer.status == 0, answer
    assert (home / "rooms" / "official_splits").is_dir()
    assert not (home.parent / "~").exists()


def test_stored_settings_of_old_runs_are_read_as_they_are():
    assert DataSettings(root=Path("/data/nyu")).model_dump(mode="json")["root"] == "/data/nyu"
    assert EncoderSettings(weights="imagenet").model_dump(mode="json")["weights"] == "imagenet"


@pytest.mark.parametrize("plain", [{"a": [1, "ü"]}, '{"a": [1, "ü"]}'])
def test_json_is_never_coloured(plain: object, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    from ensemble import console

    monkeypatch.setattr(console.results, "_color_system", 3)
    monkeypatch.setattr(console.results, "_force_terminal", True)
    print_json(plain)
    options.show(plain=plain, as_json=True)
    printed = capsys.readouterr().out
    assert "\x1b" not in printed
    assert [json.loads(part) for part in re.split(r"(?<=^}\n)", printed, flags=re.M) if part] == [{"a": [1, "ü"]}] * 2


@pytest.mark.parametrize(
    ("assignment", "told"),
    [
        ("learner=ldrn", "--set learner=...: is chosen by the command's argument, here bts"),
        ("data.size=[31, 64]", "data.size.0: expected greater than or equal to 32, found 31"),
        ("encoder.std=[0.2, 0, 0.2]", "encoder.std.1: expected greater than 0, found 0"),
    ],
)
def test_settings_that_would_go_unheard_or_cannot_work_are_refused(assignment: str, told: str):
    with pytest.raises(SettingsError, match=f"^{re.escape(told)}") as caught:
        learner_settings("bts", Choice(assignments=(assignment,)))
    assert len(str(caught.value).splitlines()) == 1


def test_inputs_are_chosen_by_their_option():
    with pytest.raises(SettingsError, match=r"--set inputs=\.\.\.: is chosen by --inputs, here d"):
        stack_settings("d", Choice(assignments=("inputs=rgb",)))


def test_sizes_of_options_have_the_same_limit():
    answer = call("base", "profile", "bts", "--size", "31x64")
    assert (answer.status, answer.err) == (
        2,
        "error: --size '31x64': expected sides of at least 32 and at most 16384 pixels\n",
    )


@pytest.mark.slow
def test_json_of_a_command_is_plain_where_colour_is_forced(tiny: Path, tmp_path: Path):
    environment = {**os.environ, "FORCE_COLOR": "1", "PYTHONPATH": str(Path(__file__).parents[3])}
    training = ("base", "lr-range", "bts", "--config", str(tiny), "--steps", "10")  # it shows a bar as well
    for tool, *words in (("study", "list"), training):
        command = [sys.executable, "-m", f"ensemble.{tool}", *words, "--json", "--cache-dir", str(tmp_path)]
        ended = subprocess.run(command, capture_output=True, check=True, env=environment)
        assert "\x1b" not in str(json.loads(ended.stdout))
    package = Path(options.__file__).parent
    assert not [path for path in package.rglob("*.py") if "results.print_json" in path.read_text("utf-8")]
