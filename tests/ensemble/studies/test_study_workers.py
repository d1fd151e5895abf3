"""Workers: they run what is left, count what failed, and lose nothing when they or the storage die."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import optuna
import pytest
from command_lines import call
from study_actors import (
    ended,
    found,
    instant,
    kill,
    outages,
    run_here,
    start,
    toy,
    value_of,
    wait_for,
    work_here,
    write_study,
)

from ensemble.runs.stopping import Stopped, stoppable
from ensemble.settings.schema import TrainingSettings
from ensemble.settings.trees import SettingsError
from ensemble.studies.design.arms import arms_of
from ensemble.studies.running import launch, trials, workers
from ensemble.studies.running.watching import ReportValues
from ensemble.studies.storage.connection import StorageDownError, mend_journal, open_storage
from ensemble.studies.storage.folders import outcome_file
from ensemble.studies.storage.records import open_part
from ensemble.training.optimisation.budget import Budget

JOURNAL_LINES = b'{"op_code":0}\n{"op_code":1}\n'


def test_every_arm_gets_its_trials_and_a_study_that_goes_on_draws_what_it_would_have_drawn(tmp_path: Path):
    (tmp_path / "whole").mkdir()
    (tmp_path / "cut").mkdir()
    whole = toy(tmp_path / "whole")
    work_here(whole)
    trials = found(whole)
    assert Counter(trial.arm for trial in trials) == {"d": 3, "rgb": 3}
    assert all(trial.state == "complete" and trial.spent == 2 for trial in trials)
    work_here(toy(tmp_path / "cut", trials=1))
    cut = toy(tmp_path / "cut")
    assert len(found(cut)) == 2
    work_here(cut)
    assert ended(found(cut)) == ended(trials)
    work_here(cut)
    assert len(found(cut)) == 6  # target minus finished is nothing


def test_what_is_stored_with_a_study(tmp_path: Path):
    context = toy(tmp_path, sampler={"seed": 7})
    work_here(context)
    arm = arms_of(context.study)[0]
    part = open_part(context.study, arm, open_storage(context.url, context.study.storage))
    assert part.user_attrs["optuna"] == optuna.__version__
    assert part.user_attrs["sampler"] == {"kind": "tpe", "seed": 7, "startup": 5}


def test_a_study_file_that_was_changed_after_trials_exist_is_refused_with_the_keys(tmp_path: Path):
    work_here(toy(tmp_path))
    changed = toy(tmp_path, budget={"steps": 3}, sampler={"seed": 1})
    with pytest.raises(
        SettingsError, match=r"budget\.steps: 2 against 3; sampler\.seed: 0 against 1; sampler\.startup"
    ):
        work_here(changed)
    work_here(toy(tmp_path, trials=4))  # more of the same is no change
    experiment = tmp_path / "tiny.yaml"
    other = toy(tmp_path)
    experiment.write_text(experiment.read_text() + "seed: 3\n", encoding="utf-8")
    with pytest.raises(SettingsError, match=r"changed after trials exist \(config: "):
        work_here(other)
    assert len(found(other)) == 8


def test_a_trial_that_goes_nan_is_failed_with_learner_and_step_and_the_study_goes_on(tmp_path: Path):
    def diverge(settings, run):
        if settings.inputs == "rgb" and run.folder.name == "1":
            raise FloatingPointError("meta rgb: at step 7 the loss is not finite (silog nan)")

    context = toy(tmp_path)
    work_here(context, instant(before=diverge))
    states = Counter((trial.arm, trial.state) for trial in found(context))
    assert states == {("d", "complete"): 3, ("rgb", "complete"): 2, ("rgb", "failed"): 1}
    (failed,) = [trial for trial in found(context) if trial.state == "failed"]
    assert failed.reason == "meta rgb: at step 7 the loss is not finite (silog nan)"


def test_an_arm_that_only_fails_is_left_and_the_others_go_on(tmp_path: Path):
    def refuse(settings, run):
        if settings.inputs == "rgb":
            raise ValueError("training.batch_size is 8, but there are 4 training frames")

    context = toy(tmp_path, trials=5)
    work_here(context, instant(before=refuse))
    states = Counter((trial.arm, trial.state) for trial in found(context))
    assert states == {("d", "complete"): 5, ("rgb", "failed"): 3}


def test_an_outage_of_the_storage_that_ends_in_time_costs_nothing(tmp_path: Path):
    context = toy(tmp_path, trials=1)
    with outages() as down:

        def go_down(settings, run):
            if settings.inputs == "d":
                down.append(True)

        real = time.sleep

        def sleep(seconds: float) -> None:
            real(min(seconds, 0.05))
            if seconds == 1.0:
                down.append(False)  # it is back when the worker looks again

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("ensemble.studies.storage.connection.time.sleep", sleep)
            work_here(context, instant(before=go_down))
    assert down.count(True) == 1
    assert [trial.state for trial in found(context)] == ["complete", "complete"]


def test_a_storage_that_stays_down_ends_the_worker_and_the_outcome_is_told_when_it_is_back(tmp_path: Path):
    context = toy(tmp_path, trials=1, storage={"timeout": 0.2, "heartbeat": 1, "grace": 3})
    told = r"study\.db: the storage does not answer .* trial 0 of d is kept"
    with outages() as down, pytest.raises(StorageDownError, match=told):
        work_here(context, instant(before=lambda settings, run: down.append(True)))
    run = context.folder.trial("d", 0)
    kept = json.loads(outcome_file(run).read_text())
    assert kept["state"] == "complete"
    context.gave_up = None
    work_here(context)
    trials = found(context)
    assert Counter((trial.arm, trial.state) for trial in trials if trial.finished) == {
        ("d", "complete"): 1,
        ("rgb", "complete"): 1,
    }
    assert next(trial for trial in trials if trial.arm == "d" and trial.finished).values == tuple(kept["values"])
    assert len((run.folder / "begun").read_text().splitlines()) == 1  # fitted once, not again


def test_a_worker_that_is_killed_in_mid_trial_loses_nothing(tmp_path: Path):
    context = toy(tmp_path, trials=2)
    slow = start(context, instant(seconds=600))
    begun = context.folder.trial("d", 0).folder / "begun"
    wait_for(begun.is_file)
    kill(slow)
    work_here(context)
    trials = found(context)
    assert Counter((trial.arm, trial.state) for trial in trials) == {
        ("d", "lost"): 1,
        ("d", "complete"): 2,
        ("rgb", "complete"): 2,
    }
    again = next(trial for trial in trials if trial.frozen.system_attrs.get("failed_trial") == 0)
    assert again.numbers == trials[0].numbers
    assert again.folder == "0"  # it goes on in the folder of the first attempt
    assert len(begun.read_text().splitlines()) == 2


def test_a_trial_that_kills_its_process_is_run_again_no_more_than_max_retry_times(tmp_path: Path):
    context = toy(tmp_path, trials=1, questions={"inputs": ["d", "rgb"]})

    def die(settings, run):
        if settings.inputs == "d" and run.folder.name == "0":
            os.kill(os.getpid(), signal.SIGKILL)

    for _ in range(3):
        process = start(context, instant(before=die))
        process.join()
        assert process.exitcode == -signal.SIGKILL
    process = start(context, instant(before=die))
    process.join()
    assert process.exitcode == 0
    trials = [trial for trial in found(context) if trial.arm == "d"]
    assert [trial.state for trial in trials] == ["lost", "lost", "lost", "complete"]
    assert [len(trial.frozen.system_attrs.get("retry_history", [])) for trial in trials] == [0, 1, 2, 0]


def test_a_trial_that_is_taken_for_lost_while_it_runs_does_not_end_its_worker(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    context = toy(tmp_path, trials=2)

    def lose(settings, run):
        if (settings.inputs, run.folder.name) == ("d", "0"):
            storage = open_storage(context.url, context.study.storage)
            part = open_part(context.study, arms_of(context.study)[0], storage)
            part.tell(0, state=optuna.trial.TrialState.FAIL)

    work_here(context, instant(before=lose))
    states = Counter((trial.arm, trial.state) for trial in found(context))
    assert states == {("d", "lost"): 1, ("d", "complete"): 2, ("rgb", "complete"): 2}
    assert json.loads(outcome_file(context.folder.trial("d", 0)).read_text())["state"] == "complete"
    assert "took a trial of d for lost while it ran here" in " ".join(capsys.readouterr().err.split())


def killed_study(context, *, processes: int, kills: int, seed: int, seconds: float = 0.1) -> None:
    """Kill workers at so many random moments; after every kill the study loads, and nothing finished is lost."""
    draw = random.Random(seed)
    fit = instant(seconds=seconds)
    crew = [start(context, fit, index) for index in range(processes)]
    known: dict = {}
    for count in range(kills):
        time.sleep(draw.uniform(0.05, 0.5))
        victim = draw.randrange(processes)
        assert crew[victim].exitcode is None, "there was nothing left to do before the last kill"
        kill(crew[victim])
        now = ended(found(context))
        assert known.items() <= now.items()
        known = now
        crew[victim] = start(context, fit, processes + count)
    for process in crew:
        process.join()
        assert process.exitcode == 0
    trials = found(context)
    assert known.items() <= ended(trials).items()
    assert all(count == context.study.trials for count in Counter(t.arm for t in trials if t.finished).values())
    retries = [len(trial.frozen.system_attrs.get("retry_history", [])) for trial in trials]
    assert max(retries, default=0) <= context.study.storage.max_retry


@pytest.mark.slow
def test_two_workers_killed_at_random_moments_lose_no_finished_trial(tmp_path: Path):
    killed_study(toy(tmp_path, trials=6), processes=2, kills=3, seed=0)


@pytest.mark.long
@pytest.mark.slow
def test_four_workers_killed_at_twenty_moments_lose_no_finished_trial(tmp_path: Path):
    killed_study(toy(tmp_path, trials=40), processes=4, kills=20, seed=1, seconds=0.4)


def test_a_journal_is_mended_where_its_last_line_is_torn(tmp_path: Path):
    journal = tmp_path / "study.log"
    for torn in (b'{"op_co', b'{"op_code":2', b"\x00\x00\x00\n"):
        journal.write_bytes(JOURNAL_LINES + torn)
        assert mend_journal(journal) == len(torn)
        assert journal.read_bytes() == JOURNAL_LINES
    assert mend_journal(journal) == 0
    assert not list(tmp_path.glob("*.lock"))


def test_a_journal_with_a_damaged_line_in_the_middle_is_refused(tmp_path: Path):
    journal = tmp_path / "study.log"
    journal.write_bytes(b'{"op_code":0}\n{"op_c\n{"op_code":1}\n')
    with pytest.raises(ValueError, match="line 2 of 3 is damaged, and others follow: refused"):
        mend_journal(journal)
    assert not list(tmp_path.glob("*.lock"))


def test_a_study_in_a_torn_journal_goes_on(tmp_path: Path):
    journal = tmp_path / "kept" / "study.log"
    context = toy(tmp_path)
    context.url = f"journal:{journal}"
    work_here(context)
    before = ended(found(context))
    journal.write_bytes(journal.read_bytes() + b'{"op_code":4,"wor')
    more = toy(tmp_path, trials=4)
    more.url = context.url
    work_here(more)
    after = ended(found(more))
    assert before.items() <= after.items()
    assert len(after) == 8


def test_a_file_that_is_no_database_is_refused(tmp_path: Path):
    (tmp_path / "study.db").write_bytes(b"no database at all" * 100)
    with pytest.raises(ValueError, match=r"study\.db: is no storage of studies .*name another file with --storage"):
        open_storage(f"sqlite:///{tmp_path / 'study.db'}", toy(tmp_path).study.storage)


class _Asked:
    """A trial that is pruned at a share of its budget."""

    def __init__(self, at: int) -> None:
        self.at, self.reports = at, {}

    def report(self, value: float, step: int) -> None:
        self.reports[step] = value

    def should_prune(self) -> bool:
        return max(self.reports) >= self.at


def test_values_are_reported_at_shares_of_the_budget_and_the_pruner_ends_a_trial():
    trial = _Asked(at=50)
    report = ReportValues(trial, "abs_rel", prune=True)  # pyright: ignore[reportArgumentType]
    budget = Budget(TrainingSettings(max_steps=40), 10)
    for step, value in ((4, 0.5), (5, 0.4), (9, 0.3)):
        trainer = SimpleNamespace(callbacks=[budget], global_step=step, callback_metrics={"validation/abs_rel": value})
        report.on_validation_end(trainer, None)  # pyright: ignore[reportArgumentType]
    assert trial.reports == {10: 0.5, 20: 0.3}
    trainer = SimpleNamespace(callbacks=[budget], global_step=21, callback_metrics={"validation/abs_rel": 0.25})
    with pytest.raises(optuna.TrialPruned, match=r"abs_rel 0\.2500 at 50 % of the budget"):
        report.on_validation_end(trainer, None)  # pyright: ignore[reportArgumentType]
    assert report.spent == 21


@pytest.mark.parametrize("kind", ["none", "median", "hyperband"])
def test_pruners_are_built_as_asked(tmp_path: Path, kind: str):
    study = toy(tmp_path, pruner={"kind": kind, "warmup": 10}).study
    names = {"none": "NopPruner", "median": "MedianPruner", "hyperband": "HyperbandPruner"}
    assert type(workers.pruner_of(study)).__name__ == names[kind]


def test_two_workers_never_draw_the_same_numbers(tmp_path: Path):
    study = toy(tmp_path).study
    drawn = set()
    for worker in range(4):
        part = optuna.create_study(sampler=workers.sampler_of(study, 0, 0, worker))
        drawn.add(part.ask().suggest_float("x", 0, 1))
    assert len(drawn) == 4


def test_the_score_of_a_toy_is_what_the_tests_take_it_for(tmp_path: Path):
    context = toy(tmp_path, trials=1)
    work_here(context)
    for trial in found(context):
        extra = 0.1 if trial.arm == "rgb" else 0.2
        assert trial.values[0] == pytest.approx(trial.numbers["training.lr"] + extra, rel=1e-5)
    assert value_of(SimpleNamespace(training=SimpleNamespace(lr=1.0), inputs="d")) == 1.2


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_worker_that_is_stopped_gives_its_trial_back_and_that_counts_as_no_attempt(tmp_path: Path, number: int):
    context = toy(tmp_path, trials=1, questions={"inputs": ["d"]}, storage={"max_retry": 1, "grace": 600})
    for _ in range(3):
        with stoppable(), pytest.raises(Stopped):
            work_here(context, instant(before=lambda settings, run: os.kill(os.getpid(), number)))
    states = [trial.state for trial in found(context)]
    assert states == ["lost", "lost", "lost", "waiting"]  # nobody has to find out that this process is gone
    work_here(context)
    *lost, done = found(context)
    assert [done.state, done.folder] == ["complete", "0"]
    assert all(trial.numbers == done.numbers for trial in lost)
    storage = open_storage(context.url, context.study.storage)
    assert workers.adopt_lost(context, storage) == 0  # its one outcome is nobody else's


def test_a_worker_that_is_stopped_when_the_outcome_is_known_has_told_it(tmp_path: Path):
    context = toy(tmp_path, trials=1, questions={"inputs": ["d"]})

    def stop(*_: object) -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    with mock.patch.object(trials, "tell_attributes", stop), stoppable(), pytest.raises(Stopped):
        work_here(context)
    assert Counter(trial.state for trial in found(context)) == {"lost": 1, "complete": 1}


def test_a_trial_that_was_killed_twice_and_then_ran_is_adopted_by_nobody(tmp_path: Path):
    context = toy(tmp_path, trials=1, questions={"inputs": ["d"]})
    for _ in range(2):
        process = start(context, instant(before=lambda settings, run: os.kill(os.getpid(), signal.SIGKILL)))
        process.join()
    work_here(context)
    assert workers.adopt_lost(context, open_storage(context.url, context.study.storage)) == 0
    assert [trial.state for trial in found(context)] == ["lost", "lost", "complete"]


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)])
def test_a_study_that_is_stopped_gives_its_trial_back(number: int, tmp_path: Path) -> None:
    file = write_study(tmp_path)
    given = (file, "--cache-dir", tmp_path / "cache")

    def strike(settings: object, run: object, *rest: object, **named: object) -> None:
        os.kill(os.getpid(), number)

    answer = run_here(*given, fit=strike)
    assert answer.status == 128 + number, answer.err
    assert answer.err.splitlines()[-1] == f"stopped by {signal.Signals(number).name}; the same command goes on"
    assert run_here(*given).status == 0
    (tmp_path / "whole").mkdir()
    whole = toy(tmp_path / "whole")
    work_here(whole)
    numbers = [sorted(map(str, ended(found(each)).values())) for each in (toy(tmp_path), whole)]
    assert numbers[0] == numbers[1]  # a trial that was given back was drawn once


def test_workers_of_a_study_end_with_it(tmp_path: Path) -> None:
    code = (
        "import signal, time\nfrom ensemble.runs.stopping import *\n"
        "try:\n with stoppable():\n  print(flush=True)\n  time.sleep(60)\n"
        "except Stopped as stop:\n raise SystemExit(stop.status)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[3]
    )
    assert process.stdout is not None
    process.stdout.readline()
    log = tmp_path / "worker.log"
    log.write_text("stopped by SIGTERM; the same command goes on\n")

    def start(*given: object) -> None:
        given[-1].append((process, log))
        os.kill(os.getpid(), signal.SIGINT)

    with (
        mock.patch.multiple(launch, check_learners=mock.DEFAULT, prepare=mock.DEFAULT),
        mock.patch.object(launch, "_start", start),
    ):
        answer = call("study", "run", write_study(tmp_path), "--workers", 1, "--cache-dir", tmp_path / "cache")
    assert answer.status == 130, answer.err
    assert process.poll() == 143
    assert "a worker was stopped by SIGTERM" in launch._last_words(143, log)
    process.stdout.close()
