"""Study files: every ready one loads, every mistake is named with the nearest known word."""

from pathlib import Path

import pytest
from study_actors import toy, write_study

from ensemble.runs.paths import Outputs
from ensemble.settings.layers import config_folder
from ensemble.settings.trees import SettingsError
from ensemble.studies.design.arms import arms_of, lowest_numbers, numbers_of, settings_of
from ensemble.studies.design.study_file import BudgetSettings, read_study

READY = sorted(path for path in (config_folder() / "study").glob("*.yaml") if "dpt_cuts" not in path.stem)


def test_the_ready_studies_are_there():
    names = {path.stem for path in READY}
    assert names == {
        *("joint_vs_separate", "freeze_vs_finetune", "inputs", "learner_gap", "encoder_size", "smoke"),
        *("nyu_joint_vs_separate", "nyu_inputs", "distil", "nyu_distil"),
    }


@pytest.mark.parametrize("path", READY, ids=lambda path: path.stem)
def test_every_arm_of_a_ready_study_has_settings_and_the_same_budget(path: Path, tmp_path: Path):
    study = read_study(path)
    assert study.name == path.stem
    assert study.about
    arms = arms_of(study)
    assert len(arms) >= 2
    budgets = set()
    for arm in arms:
        settings = settings_of(study, arm, lowest_numbers(study, arm), Outputs(tmp_path))
        budgets.add((settings.training.max_steps, settings.training.max_seconds))
        assert settings.training.select == study.metric
        if "training" in arm.answers:
            assert settings.mode == arm.answers["training"]
    assert len(budgets) == 1


MISTAKES = [
    ({"trails": 3}, r"trails: there is no such key; did you mean 'trials'\?"),
    ({"budget": {"step": 3}}, r"budget\.step: there is no such key; did you mean 'steps'\?"),
    ({"budget": {"steps": 3, "seconds": 4.0}}, "exactly one of steps, seconds and gpu_seconds"),
    ({"budget": {}}, "exactly one of steps"),
    ({"sampler": {"kind": "tp"}}, "sampler.kind: expected 'tpe' or 'random', found 'tp'"),
    ({"sampler": {"sed": 1}}, "did you mean 'seed'"),
    ({"pruner": {"kind": "median", "warmup": 100}}, "pruner.warmup"),
    (
        {"numbers": {"training.lr": {"low": 1.0, "hi": 2.0}}},
        r"numbers\.training\.lr\.hi: there is no such key; did",
    ),
    ({"numbers": {"training.lr": {"low": 2.0, "high": 1.0}}}, "the range must ascend"),
    ({"numbers": {"training.lr": {"low": 0.0, "high": 1.0, "log": True}}}, "log needs low above 0"),
    ({"numbers": {"training.lr": {"low": 1.0, "high": 2.0, "choices": [1, 2]}}}, "expected low and high, or choices"),
    ({"numbers": {"training.lr": {"low": 0.1, "high": 1.0, "only": {"inputs": ["x"]}}}}, "no arm answers inputs"),
    ({"objective": "absrel"}, "did you mean 'abs_rel'"),
    ({"objective": ["parameters"]}, "expected one metric or more and any costs, found parameters"),
    ({"objective": ["abs_rel", "abs_rel"]}, "one stands there twice"),
    ({"objective": ["abs_rel", "parameters"], "pruner": {"kind": "median"}}, "several objectives cannot be pruned"),
    ({"questions": {}}, "questions"),
    ({"questions": {"inputs": ["d", "d"]}}, "questions.inputs: an answer stands there twice"),
    ({"storage": {"heartbeat": 10, "grace": 5}}, "must be longer than heartbeat"),
    ({"constraints": {"parameter": 1.0}}, "did you mean 'parameters'"),
    ({"name": "a/b"}, "name"),
]


@pytest.mark.parametrize(("changed", "told"), MISTAKES, ids=[str(number) for number in range(len(MISTAKES))])
def test_a_mistake_in_a_study_file_is_named(tmp_path: Path, changed: dict, told: str):
    file = write_study(tmp_path, **changed)
    with pytest.raises(SettingsError, match=told) as caught:
        read_study(file)
    assert str(caught.value).startswith(str(file))


def test_a_setting_that_does_not_exist_is_named_with_its_arm(tmp_path: Path):
    context = toy(tmp_path, questions={"network.weihgts": ["softmax", "free"]})
    arm = arms_of(context.study)[0]
    with pytest.raises(SettingsError, match=r"toy, arm softmax: .*network\.weihgts.* did you mean 'weights'"):
        settings_of(context.study, arm, {}, context.outputs)


def test_answers_choose_settings_and_numbers_may_belong_to_some_arms_only(tmp_path: Path):
    questions = {"training": ["frozen", "joint"], "weights": ["softmax", "free"], "learners": [["bts", "ldrn"]]}
    only = {"low": 0.1, "high": 1.0, "only": {"training": ["joint"]}}
    study = toy(tmp_path, questions=questions, numbers={"live.lr_factor": only}).study
    arms = {arm.name: arm for arm in arms_of(study)}
    assert list(arms) == [f"{mode}-{kind}-bts+ldrn" for mode in ("frozen", "joint") for kind in ("softmax", "free")]
    assert numbers_of(study, arms["frozen-free-bts+ldrn"]) == {}
    settings = settings_of(study, arms["joint-free-bts+ldrn"], {"live.lr_factor": 0.5}, Outputs(tmp_path))
    assert (settings.mode, settings.network["weights"], settings.learners) == ("joint", "free", ("bts", "ldrn"))
    assert settings.live.lr_factor == 0.5


def test_a_budget_takes_the_place_of_that_of_the_experiment_file():
    assert BudgetSettings(seconds=5.0).assignments == {"training.max_steps": None, "training.max_seconds": 5.0}
    assert BudgetSettings(gpu_seconds=5.0).assignments["training.device"] == "cuda"
    assert BudgetSettings(steps=7).assignments == {"training.max_steps": 7, "training.max_seconds": None}
