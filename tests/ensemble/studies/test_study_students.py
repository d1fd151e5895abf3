"""The study of what a student learns, at the size of a miniature: five arms, two further seeds, a page."""

import json
from pathlib import Path

import pytest
from command_lines import Job, call, done

from ensemble.runs.paths import Outputs
from ensemble.settings.layers import config_folder
from ensemble.settings.schema import LearnerSettings
from ensemble.settings.trees import SettingsError
from ensemble.studies.design.arms import arms_of, settings_of
from ensemble.studies.design.study_file import read_study

ARMS = ("alone", "depth", "gradients", "affinity", "all")


@pytest.fixture
def small(job: Job, tmp_path: Path) -> Path:
    text = (config_folder() / "study" / "distil.yaml").read_text("utf-8")
    file = tmp_path / "distil.yaml"
    file.write_text(text.replace("steps: 300", "steps: 2").replace("config: ../demo.yaml", f"config: {job.config}"))
    return file


def test_arms_are_called_as_they_are_named_and_set_the_rest(small: Path, tmp_path: Path):
    study = read_study(small)
    assert tuple(arm.name for arm in arms_of(study)) == ARMS
    settings = {arm.name: settings_of(study, arm, {}, Outputs(tmp_path)) for arm in arms_of(study)}
    assert all(isinstance(each, LearnerSettings) and each.training.max_steps == 2 for each in settings.values())
    taught = {name: each.distillation for name, each in settings.items() if isinstance(each, LearnerSettings)}
    assert taught["alone"].teacher is None
    assert (taught["gradients"].teacher_depth, taught["gradients"].gradient_matching) == (0, 0.5)
    assert taught["all"].affinity == 1


def test_costs_of_a_learner_are_no_objective(small: Path):
    small.write_text(small.read_text().replace("objective: abs_rel", "objective: [abs_rel, parameters]"))
    with pytest.raises(SettingsError, match="costs are those of a whole stack; leave parameters out"):
        read_study(small)


def test_learners_that_teach_are_named_with_the_commands_that_train_them(small: Path, tmp_path: Path):
    small.write_text(small.read_text().replace("prepare:\n  - {}\n", ""))
    answer = call("study", "run", small, "--cache-dir", tmp_path / "cache", "--workers", 0)
    assert "6 models of learners are not trained (first: bts/full of tiny)" in answer.err
    assert "base train ldrn --fold 1" in answer.err


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('"bts,ldrn"', '"bts,ldrm"', "arm depth: unknown learner 'ldrm'; did you mean 'ldrn'"),
        ('"bts,ldrn"', "meta-rgb", "arm depth: --teacher meta-rgb: "),
        ('"bts,ldrn"', "fastdepth", "arm depth: --teacher fastdepth: fastdepth cannot teach itself"),
        ("affinity: 1.0", "affinity: 1.0, affinity_of: adabins", "arm affinity: unknown affinity_of 'adabins'"),
        ("affinity: 1.0", "affinity: 0.0", "arm affinity: fastdepth: teacher_elsewhere, teacher_depth"),
        ('"bts,ldrn"', '"dpt,ldrn"', "arm affinity: distillation.affinity: dpt is a DPT, which hands out no maps"),
    ],
)
def test_teachers_that_cannot_be_are_refused_before_any_is_trained(
    old: str, new: str, told: str, small: Path, tmp_path: Path
):
    small.write_text(small.read_text().replace(old, new))
    answer = call("study", "run", small, "--cache-dir", tmp_path / "cache", "--workers", 0)
    assert answer.status != 0
    assert told in answer.err
    assert not (tmp_path / "cache" / "runs").exists()


def test_a_learner_that_is_prepared_has_no_teacher_of_its_own(small: Path, job: Job, tmp_path: Path):
    config = tmp_path / "own.yaml"
    config.write_text(job.config.read_text().replace("  bts:\n", "  bts:\n    distillation: {teacher: ldrn}\n"))
    small.write_text(small.read_text().replace(str(job.config), str(config)))
    answer = call("study", "run", small, "--cache-dir", tmp_path / "cache", "--workers", 0)
    assert "bts/full is to be trained before the trials, but has a teacher of its own, ldrn" in answer.err
    assert not (tmp_path / "cache" / "runs").exists()


@pytest.mark.slow
def test_every_arm_is_trained_repeated_and_compared(small: Path, job: Job, tmp_path: Path):
    cache = job.copy_to(tmp_path / "own")
    done("study", "run", small, "--cache-dir", cache, "--workers", 0)
    told = done("study", "compare", "distil", "--seeds", "1,2", "--cache-dir", cache, "--json")
    found = json.loads(told.out)
    assert {arm["arm"] for arm in found["arms"]} == set(ARMS)
    assert all(arm["repeats"] == 2 and arm["value"] > 0 for arm in found["arms"])
    assert {arm["arm"] for arm in found["arms"] if arm["learners_seconds"] == 0} == {"alone"}
    log = cache / "studies" / "distil" / "trials" / "all" / "0" / "log.jsonl"
    line = json.loads(log.read_text().splitlines()[0])
    assert {"train/teacher_depth", "train/gradient_matching", "train/affinity"} <= line.keys()
    assert call("study", "best", "distil", "--write", cache / "best.yaml", "--cache-dir", cache).status != 0
