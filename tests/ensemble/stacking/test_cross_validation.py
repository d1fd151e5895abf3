"""Choosing a stack without test frames: who is fitted to what, who judges, what comes out where nothing is learnt."""

import json
from pathlib import Path

import numpy as np
import pytest
from command_lines import Job, call, done

from ensemble.data.folds import read_folds
from ensemble.metrics.formulas import TABLE_METRICS
from ensemble.runs.paths import Outputs
from ensemble.stacking import fit as stacking_fit

STILL = ("--set", "training.lr=1.0e-12")
"""A rate at which the stack stays the plain mean that it starts as."""


@pytest.fixture(scope="module")
def cache(job: Job, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return job.copy_to(tmp_path_factory.mktemp("cross"))


def asked(job: Job, cache: Path, *words: str) -> tuple[object, ...]:
    return ("meta", "cross-validate", "--inputs", "d", "--config", job.config, "--cache-dir", cache, *words)


def test_every_scene_is_judged_by_a_fit_that_never_saw_it(job: Job, cache: Path, monkeypatch: pytest.MonkeyPatch):
    seen: list[tuple[set[str], set[str]]] = []
    whole = stacking_fit.fit

    def watched(make_task, training, validation, *words, **given):
        seen.append(({each.scene for each in training.frames}, {each.scene for each in validation.frames}))
        return whole(make_task, training, validation, *words, **given)

    monkeypatch.setattr(stacking_fit, "fit", watched)
    found = json.loads(done(*asked(job, cache, "--name", "seen", "--json")).out)
    fold_of = read_folds(Outputs(cache).folds("tiny")).fold_of
    assert len(seen) == 2
    for fold, (fitted, judged) in enumerate(seen):
        assert {fold_of[scene] for scene in judged} == {fold}
        assert {fold_of[scene] for scene in fitted} == {1 - fold}
    assert found["scenes"] == len(fold_of)
    assert sorted(found["scores"]["stack"]) == sorted(TABLE_METRICS)
    assert found["scores"]["stack"] != found["scores"]["mean"]
    difference = {each["metric"]: each["difference"] for each in found["differences"]}
    for metric in TABLE_METRICS:
        expected = found["scores"]["stack"][metric] - found["scores"]["mean"][metric]
        assert difference[metric] == pytest.approx(expected, abs=1e-12)


def test_the_fold_that_judges_does_not_select_weights(job: Job, cache: Path):
    done(*asked(job, cache, "--name", "last", "--set", "training.max_steps=6"))
    for fold in range(2):
        run = Outputs(cache).meta_run("tiny", f"last-without-fold-{fold}")
        result = json.loads(run.result.read_text())
        assert (result["best_step"], result["steps"]) == (6, 6)
        lines = [json.loads(line) for line in run.log.read_text().splitlines()]
        assert sum("validation/abs_rel" in line for line in lines) == 1


def test_what_has_learned_nothing_is_the_mean(job: Job, cache: Path):
    found = json.loads(done(*asked(job, cache, "--name", "still", *STILL, "--seeds", "0,1", "--json")).out)
    assert found["repeats"] == 2
    assert found["gain"] == pytest.approx(0, abs=1e-4)
    for metric in TABLE_METRICS:
        assert found["scores"]["stack"][metric] == pytest.approx(found["scores"]["mean"][metric], rel=1e-3)
    table = done(*asked(job, cache, "--name", "still", *STILL, "--seeds", "0,1")).out
    assert "still, cross-validated over folds of scenes" in table
    assert "fits per fold: 2" in " ".join(table.split())
    for line in (line for line in table.splitlines() if "REL" in line):
        assert np.isclose(*map(float, line.split()[2:4]), rtol=1e-3)


def test_rows_that_learners_were_trained_on_are_refused(job: Job, cache: Path):
    answer = call(*asked(job, cache, "--name", "seen-rows", "--set", "rows=fit"))
    assert answer.status != 0
    assert "expected mode frozen and rows oof" in answer.err
