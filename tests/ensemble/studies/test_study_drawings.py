"""What decides the metric: arms that tune different numbers, and metrics of which more is better."""

from pathlib import Path

import numpy as np
import optuna
import pytest
from study_actors import found, toy, work_here

from ensemble.studies.comparing.drawings import importances, pool_pictures
from ensemble.studies.comparing.merging import Pool, pools_of

PARTLY = {
    "training.lr": {"low": 1.0e-4, "high": 1.0e-2, "log": True},
    "live.lr_factor": {"low": 0.1, "high": 1.0, "only": {"training": ["finetune", "joint"]}},
    "live.detach": {"choices": [True, False], "only": {"training": ["finetune", "joint"]}},
}


@pytest.mark.slow
def test_numbers_that_only_some_arms_tune_are_judged_among_these_arms(tmp_path: Path):
    context = toy(
        tmp_path,
        questions={"training": ["frozen", "joint"], "inputs": ["d", "rgb"]},
        numbers={
            "training.lr": PARTLY["training.lr"],
            "live.lr_factor": {"low": 0.1, "high": 1.0, "only": {"training": ["joint"]}},
        },
        trials=4,
    )
    work_here(context)
    whole, joint = pools_of(context.study, found(context))
    assert whole.title == "all arms"
    assert whole.covers == (
        "Every arm, by what all of them have: training, inputs, training.lr. "
        "Not in it, because only some arms tune them: live.lr_factor."
    )
    assert set(importances(context.study, whole)) == {"training", "inputs", "training.lr"}
    assert len(whole.merged.trials) == 16
    assert joint.title == "joint-d, joint-rgb"
    assert joint.covers.startswith("Only joint-d, joint-rgb, by every number that they tune")
    assert "live.lr_factor" in joint.covers
    assert set(importances(context.study, joint)) == {"inputs", "live.lr_factor", "training.lr"}
    assert len(joint.merged.trials) == 8
    assert set(pool_pictures(context.study, joint)) == {"importances", "parallel", "slices"}
    assert (whole.prefix, joint.prefix) == ("", "joint-d+joint-rgb-")


def test_arms_with_the_same_numbers_are_one_pool(tmp_path: Path):
    study = toy(tmp_path, questions={"training": ["frozen", "finetune", "joint"]}, numbers=PARTLY).study
    assert [pool.title for pool in pools_of(study, [])] == ["all arms", "finetune, joint"]
    study = toy(tmp_path, questions={"inputs": ["d", "rgb"]}).study
    (pool,) = pools_of(study, [])
    assert pool.covers == "Every arm, by what all of them have: inputs, training.lr."


def test_names_of_files_do_not_grow_with_the_number_of_arms():
    pool = Pool(", ".join(f"arm-{number}" for number in range(40)), "", optuna.create_study())
    assert pool.prefix == "arm-0+39-more-"


def measured(directions: list[str], metric_of: np.ndarray, draws: np.ndarray) -> optuna.Study:
    """Trials whose first value is the metric and whose second one, where there is one, is a cost."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    merged = optuna.create_study(directions=directions)
    distribution = optuna.distributions.FloatDistribution(0.0, 1.0)
    for (good, bad), value in zip(draws, metric_of, strict=True):
        merged.add_trial(
            optuna.create_trial(
                values=[float(value), 1.0][: len(directions)],
                params={"good": good, "bad": bad},
                distributions={"good": distribution, "bad": distribution},
            )
        )
    return merged


@pytest.mark.parametrize(("metric", "better"), [("d1", "maximize"), ("abs_rel", "minimize")])
def test_importances_among_several_objectives_are_those_of_the_metric_alone(tmp_path: Path, metric: str, better: str):
    draws = np.random.default_rng(0).uniform(size=(200, 2))
    value = np.where(draws[:, 0] > 0.9, draws[:, 0], 0.0) - np.where(draws[:, 1] > 0.9, draws[:, 1], 0.0)
    value = value if better == "maximize" else -value  # either way ``good`` decides the best trials, ``bad`` the worst
    several = toy(tmp_path, objective=[metric, "parameters"]).study
    both = importances(several, Pool("all arms", "", measured([better, "minimize"], value, draws)))
    alone = importances(toy(tmp_path, objective=metric).study, Pool("all arms", "", measured([better], value, draws)))
    assert both == pytest.approx(alone)
    assert both["good"] > both["bad"]
