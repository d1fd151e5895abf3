"""Choosing a stack without test frames: who is fitted to what, who judges, what comes out where nothing is learnt."""

import json
from pathlib import Path

import numpy as np
import pytest
from command_lines import LEARNER_NAMES, Job, call, done

from ensemble.data.division import open_experiment
from ensemble.data.folds import read_folds
from ensemble.data.transforms import bring_to_size
from ensemble.metrics.formulas import TABLE_METRICS
from ensemble.predictions.learners import trained_learner
from ensemble.predictions.predict import open_predictions
from ensemble.runs.paths import Outputs, fold_model
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
    for line in (line for line in table.splitlines() if line.lstrip("│ ").startswith("REL")):
        mean, _, stack = map(float, line.split()[2:5])
        assert np.isclose(mean, stack, rtol=1e-3)
    assert "a correction of depth may get the wrong sign here" in " ".join(table.split())
    assert "still, on scenes in no fold" in table


def test_scenes_in_no_fold_are_judged_through_the_mean_of_the_models_of_the_folds(job: Job, cache: Path):
    found = json.loads(done(*asked(job, cache, "--name", "none", *STILL, "--json")).out)
    where = Outputs(cache)
    learners = [[trained_learner(where, "tiny", name, fold_model(fold)) for fold in range(2)] for name in LEARNER_NAMES]
    settings = learners[0][0].settings
    experiment = open_experiment(where, settings)
    frames = experiment.division.frames.validation
    rows = [[open_predictions(model, experiment, frames, "validation") for model in own] for own in learners]
    errors = []
    for frame in frames:
        depth = np.mean([[reader.read(frame.id) for reader in own] for own in rows], axis=(0, 1))
        truth = bring_to_size(experiment.source.read(frame), settings.data.size)["depth"][0].numpy()
        errors.append(np.mean(np.abs(depth - truth) / truth))
    assert found["validation"]["scenes"] == len({frame.scene for frame in frames})
    assert found["validation"]["scores"]["mean"]["abs_rel"] == pytest.approx(np.mean(errors), rel=1e-4)
    both = [found, found["validation"]]
    total = sum(each["frames"] * each["scores"]["stack"]["abs_rel"] for each in both)
    assert found["choice_rel"] == pytest.approx(total / sum(each["frames"] for each in both))


def test_a_stack_that_corrects_nothing_is_the_bar(job: Job, cache: Path):
    found = json.loads(
        done(*asked(job, cache, "--name", "bar", *STILL, "--set", "network.weights=correct", "--json")).out
    )
    for judged in (found, found["validation"]):
        for metric in TABLE_METRICS:
            bar, stack = (judged["scores"][row][metric] for row in ("weighted log-mean", "stack"))
            assert stack == pytest.approx(bar, rel=0.02)
    assert abs(found["gain_over_bar"]) < 0.02


@pytest.mark.slow
def test_an_evaluation_knows_what_was_cross_validated(job: Job, cache: Path):
    found = json.loads(done(*asked(job, cache, "--name", "meta-d", "--json")).out)
    evaluated = done("meta", "evaluate", "meta-d", "meta-rgb", "--json", "--cache-dir", cache)
    rows = {row["name"]: row for row in json.loads(evaluated.out)["rows"]}
    assert rows["meta-d"]["choice_rel"] == found["choice_rel"]
    assert rows["meta-rgb"]["choice_rel"] is None
    done(*asked(job, cache, "--name", "meta-rgb", "--json", "--set", "training.lr=0.1"))  # of inputs d, and so no judge
    again = json.loads(done("meta", "evaluate", "meta-d", "meta-rgb", "--json", "--cache-dir", cache).out)
    assert {row["name"]: row["choice_rel"] for row in again["rows"]}["meta-rgb"] is None
    kept = Outputs(cache).cross_validation("tiny", "meta-d")
    kept.with_name(kept.name + ".sha256").unlink()
    kept.write_text("{}")
    refused = call("meta", "evaluate", "meta-d", "--cache-dir", cache)
    assert refused.status != 0
    assert "expected what `meta cross-validate` keeps" in refused.err
    kept.unlink()


def test_rows_that_learners_were_trained_on_are_refused(job: Job, cache: Path):
    answer = call(*asked(job, cache, "--name", "seen-rows", "--set", "rows=fit"))
    assert answer.status != 0
    assert "expected mode frozen and rows oof" in answer.err
