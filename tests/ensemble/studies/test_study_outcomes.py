"""The trials in a storage are held against their outcomes by everybody who looks at them."""

import json
import sqlite3
import subprocess
from pathlib import Path

import pytest
from command_lines import Answer, call, done
from study_actors import found, toy, work_here

from ensemble.runs.seals import write_checked
from ensemble.studies.running.launch import begin_study
from ensemble.studies.running.trials import WorkerContext
from ensemble.studies.storage.folders import outcome_file

CHANGES = {
    "values": "UPDATE trial_values SET value = value + 0.001 WHERE trial_id = 2",
    "params": "UPDATE trial_params SET param_value = param_value * 1.5 WHERE trial_id = 2",
    "attributes": "UPDATE trial_user_attributes SET value_json = '3' WHERE trial_id = 2 AND key = 'spent'",
    "state": "UPDATE trials SET state = 'PRUNED' WHERE trial_id = 2",
}


@pytest.fixture
def finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> WorkerContext:
    for step in ("check_learners", "prepare"):
        monkeypatch.setattr(f"ensemble.studies.running.launch.{step}", lambda _: None)
    context = toy(tmp_path)
    begin_study(context)
    work_here(context)
    assert len(found(context)) == 6
    return context


def looks(context: WorkerContext) -> dict[str, Answer]:
    given = ("--cache-dir", context.outputs.root)
    return {
        "show": call("study", "show", "toy", *given),
        "best": call("study", "best", "toy", "--write", context.outputs.root / "best.yaml", *given),
        "compare": call("study", "compare", "toy", *given),
    }


@pytest.mark.parametrize("what", CHANGES)
def test_a_trial_that_is_not_as_its_outcome_has_it_is_named(finished: WorkerContext, what: str):
    with sqlite3.connect(finished.folder.database) as database:
        database.execute(CHANGES[what])
    database.close()
    for name, answer in looks(finished).items():
        assert answer.status == 1, name
        assert "study.db: damaged since it was written (trial " in answer.err
        assert what in answer.err
        assert "outcome.json" in answer.err
        assert "--rebuild" not in answer.err
    answer = call("base", "verify", "--json", "--cache-dir", finished.outputs.root)
    assert answer.status == 1
    (row,) = (row for row in json.loads(answer.out) if row["store"] == "studies/toy")
    assert [each["path"] for each in row["damaged"]] == [str(finished.folder.database)]


def test_the_value_of_an_outcome_is_put_back_by_the_command_that_verify_prints(finished: WorkerContext):
    before = [trial.values for trial in found(finished)]
    with sqlite3.connect(finished.folder.database) as database:
        database.execute(CHANGES["values"])
    database.close()
    answer = call("base", "verify", "toy", "--repair", "--cache-dir", finished.outputs.root)
    assert answer.status == 1
    subprocess.run(answer.out, shell=True, check=True)
    assert [trial.values for trial in found(finished)] == before
    done("base", "verify", "--cache-dir", finished.outputs.root)


def test_trials_of_a_journal_are_held_against_their_outcomes_too(tmp_path: Path):
    context = toy(tmp_path, url=f"journal:{tmp_path / 'trials.log'}")
    work_here(context)
    (first, *_) = found(context)
    run = context.folder.trial(first.arm, first.folder)
    outcome = json.loads(outcome_file(run).read_text())
    write_checked(outcome_file(run), json.dumps({**outcome, "values": [0.5]}).encode())
    with pytest.raises(AssertionError, match="no study raises a false alarm"):
        found(context)


def test_records_of_a_study_are_checked(finished: WorkerContext):
    for file in (finished.folder.settings, outcome_file(finished.folder.trial(found(finished)[0].arm, 0))):
        whole = file.read_bytes()
        for at in range(0, len(whole), 7):
            file.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
            answer = call("study", "show", "toy", "--cache-dir", finished.outputs.root)
            assert answer.status in (1, 2)
            assert f"{file}: damaged since it was written" in answer.err
        file.write_bytes(whole)
