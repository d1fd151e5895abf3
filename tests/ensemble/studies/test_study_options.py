"""What the command line of studies is asked for, with fits that take no time."""

import json
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from command_lines import call
from study_actors import found, instant, run_here, toy, work_here, write_study

from ensemble.studies.running import workers


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ("jont_vs_separate", "did you mean 'joint_vs_separate' or 'nyu_joint_vs_separate'?"),
        ("smoke.yaml", "did you mean 'smoke'?"),
        (
            "qqqq",
            "no ready study of that name; Known: distil, dpt_cuts, dpt_cuts_small, encoder_size, ",
        ),
    ],
)
def test_a_bare_name_is_answered_with_the_ready_studies(tmp_path: Path, asked: str, told: str):
    answer = call("study", "run", asked, "--cache-dir", tmp_path)
    assert answer.status == 2
    assert f"{asked}: there is no such file" in answer.err
    assert told in answer.err


@pytest.mark.slow
def test_trials_on_the_command_line_take_the_place_of_those_of_the_file(tmp_path: Path):
    file, cache = write_study(tmp_path, trials=1), tmp_path / "cache"
    assert "2 arms, 4 of 4 trials to run" in run_here(file, "--trials", 2, "--cache-dir", cache).err
    assert len(found(toy(tmp_path))) == 4
    assert json.loads(call("study", "show", "toy", "--json", "--cache-dir", cache).out)["trials"] == 2
    assert "2 of 6 trials to run" in run_here(file, "--trials", 3, "--cache-dir", cache).err  # more of the same


def test_no_trial_is_begun_when_the_time_is_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    file = write_study(tmp_path)
    answer = run_here(file, "--timeout", 0, "--cache-dir", tmp_path / "cache")
    assert answer.status == 0
    assert "time is over with 6 trials left; run the same command to go on" in answer.err
    context = toy(tmp_path)
    assert found(context) == []
    clock = [100.0]
    monkeypatch.setattr(workers, "time", SimpleNamespace(time=lambda: clock[0], sleep=time.sleep))

    def take_a_minute(settings, run):
        clock[0] += 60

    work_here(context, instant(before=take_a_minute), deadline=190.0)
    assert [trial.state for trial in found(context)] == ["complete"] * 2  # begun at 100 and at 160, not at 220


def test_tables_of_studies_are_told_as_json(tmp_path: Path):
    file, cache = write_study(tmp_path, trials=2, about="What is it?"), tmp_path / "cache"
    assert json.loads(call("study", "list", "--json", "--cache-dir", cache).out) == []
    assert run_here(file, "--trials", 1, "--cache-dir", cache).status == 0
    assert json.loads(call("study", "list", "--json", "--cache-dir", cache).out) == [
        {"study": "toy", "about": "What is it?"}
    ]
    shown = json.loads(call("study", "show", "toy", "--json", "--cache-dir", cache).out)
    assert (shown["metric"], shown["trials"], shown["remaining"]) == ("abs_rel", 1, 0)
    values = {trial.arm: trial.values[0] for trial in found(toy(tmp_path))}
    assert [arm["arm"] for arm in shown["arms"]] == ["d", "rgb"]
    for arm in shown["arms"]:
        assert (arm["done"], arm["running"], arm["complete"], arm["pruned"], arm["failed"]) == (1, 0, 1, 0, 0)
        assert (arm["best"], arm["best_trial"]) == (values[arm["arm"]], 0)


def test_the_best_of_one_arm_is_written_where_an_arm_is_named(tmp_path: Path):
    file, cache = write_study(tmp_path, trials=2), tmp_path / "cache"
    assert run_here(file, "--cache-dir", cache).status == 0
    trials = found(toy(tmp_path))
    for given, arms in (((), ("d", "rgb")), (("--arm", "d"), ("d",))):
        best = min((trial for trial in trials if trial.arm in arms), key=lambda trial: trial.values)
        answer = call("study", "best", "toy", "--write", tmp_path / "best.yaml", *given, "--cache-dir", cache)
        assert f"toy: trial {best.number} of {best.arm}, abs_rel {best.values[0]:.4g}" in answer.err
        assert f"--inputs {best.arm} " in answer.out
        written = yaml.safe_load((tmp_path / "best.yaml").read_text())
        assert written["meta"]["training"]["lr"] == pytest.approx(best.numbers["training.lr"], rel=1e-5)
    answer = call("study", "best", "toy", "--write", tmp_path / "best.yaml", "--arm", "rbg", "--cache-dir", cache)
    assert answer.status == 2
    assert "unknown arm of toy 'rbg'; did you mean 'rgb'?" in answer.err


def test_repeats_have_a_budget_only_where_there_are_repeats(tmp_path: Path):
    run_here(write_study(tmp_path, trials=1), "--cache-dir", tmp_path / "cache")
    given = ("--seeds", "none", "--budget", "5steps", "--cache-dir", tmp_path / "cache")
    answer = call("study", "compare", "toy", *given)
    assert answer.status == 2
    assert "--budget is that of the repeats, and --seeds none asks for none of them" in answer.err


def test_a_study_whose_settings_are_damaged_is_refused_and_running_it_again_mends_it(tmp_path: Path):
    file, cache = write_study(tmp_path, trials=1), tmp_path / "cache"
    run_here(file, "--cache-dir", cache)
    for damaged in ("", "{", '{"name": "toy"}'):
        (cache / "studies/toy/study.json").write_text(damaged)
        (cache / "studies/toy/study.json.sha256").unlink(missing_ok=True)  # with it, bytes are told apart from content
        answer = call("study", "show", "toy", "--cache-dir", cache)
        assert answer.status == 2
        assert "study.json: expected a study, and it cannot be read (" in answer.err
    assert "0 of 2 trials to run" in run_here(file, "--cache-dir", cache).err
    assert call("study", "show", "toy", "--cache-dir", cache).status == 0
