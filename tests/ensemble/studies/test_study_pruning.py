"""Pruners at work: in a real fit through Lightning, and over many trials whose curves are known beforehand."""

import json
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from command_lines import Job, done
from study_actors import found, instant, toy, value_of, work_here, write_study

from ensemble.runs.paths import Outputs, Run
from ensemble.settings.schema import TrainingSettings
from ensemble.studies.design.study_file import read_study
from ensemble.studies.running.trials import WorkerContext
from ensemble.studies.running.watching import ReportValues
from ensemble.studies.storage.folders import study_folder
from ensemble.training.optimisation.budget import Budget

STEPS = 20


def curve(settings: Any, run: Run, outputs: Outputs, **given: Any) -> Run:
    """A fit that looks at the validation scenes at every twentieth of its budget; curves never cross."""
    (report,) = [callback for callback in given["callbacks"] if isinstance(callback, ReportValues)]
    budget = Budget(TrainingSettings(max_steps=STEPS), 1)
    for step in range(1, STEPS + 1):
        value = value_of(settings) + 1 / step
        trainer = SimpleNamespace(callbacks=[budget], global_step=step, callback_metrics={"validation/abs_rel": value})
        report.on_validation_end(trainer, None)  # pyright: ignore[reportArgumentType]
    return instant()(settings, run, outputs)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["median", "hyperband"])
def test_what_is_pruned_was_worse_than_what_went_on(tmp_path: Path, kind: str):
    context = toy(
        tmp_path,
        questions={"inputs": ["d"]},
        pruner={"kind": kind, "warmup": 10, "startup": 2},
        sampler={"kind": "random"},
        trials=16,
    )
    work_here(context, curve)
    trials = found(context)
    states = Counter(trial.state for trial in trials)
    assert states["pruned"] >= 3
    assert states["complete"] >= 2
    assert states["pruned"] + states["complete"] == 16
    assert min(trials, key=lambda trial: trial.numbers["training.lr"]).state == "complete"
    for trial in trials:
        last = trial.frozen.last_step
        if trial.state == "pruned":
            assert trial.reason.startswith("abs_rel ")
            assert f"at {last} % of the budget" in trial.reason
            assert 10 <= (last or 0) < 100
            assert trial.spent == STEPS * (last or 0) / 100
        else:
            assert last == 100


@pytest.mark.slow
def test_a_trial_of_a_real_fit_is_pruned_through_lightning(job: Job, tmp_path: Path):
    cache = job.copy_to(tmp_path)
    file = write_study(
        tmp_path,
        name="pruned",
        questions={"inputs": ["d"]},
        numbers={"training.lr": {"choices": [1.0e-6, 1.0e-2]}},
        budget={"steps": 12},
        pruner={"kind": "median", "startup": 1, "warmup": 1},
        sampler={"kind": "random", "seed": 0},
        trials=4,
    )
    done("study", "run", file, "--workers", 0, "--cache-dir", cache)
    where = Outputs(cache)
    study = read_study(file)
    folder = study_folder(where, "pruned")
    trials = found(WorkerContext(study, where, f"sqlite:///{folder.database}"))
    pruned = [trial for trial in trials if trial.state == "pruned"]
    complete = [trial for trial in trials if trial.state == "complete"]
    assert pruned
    assert complete
    for trial in pruned:
        run = folder.trial("d", trial.folder)
        assert not run.result.exists()
        steps = [json.loads(line)["step"] for line in run.log.read_text().splitlines()]
        assert max(steps) == trial.spent < 12
        step, value = max(trial.frozen.intermediate_values.items())
        best = min(trial.frozen.intermediate_values.values())
        before = [each.frozen.intermediate_values[step] for each in complete if each.number < trial.number]
        assert best > sorted(before)[len(before) // 2 - (len(before) % 2 == 0)]
        assert f"abs_rel {value:.4f} at {step} % of the budget" in trial.reason
    assert {trial.numbers["training.lr"] for trial in pruned} != {trial.numbers["training.lr"] for trial in complete}
    _compare(cache, pruned[0].reason)


def _compare(cache: Path, reason: str) -> None:
    done("study", "compare", "pruned", "--seeds", "none", "--cache-dir", cache)
    page = (study_folder(Outputs(cache), "pruned").comparison / "compare.md").read_text()
    assert reason in page
