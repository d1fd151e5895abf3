"""What is refused, or put right, before a teacher is looked for: from settings alone, without a training."""

from pathlib import Path

import pytest

from ensemble.distillation.asked import asked_teacher, placed
from ensemble.distillation.checks import check_lesson, check_networks, check_student
from ensemble.runs.claims import differing_keys, with_influence
from ensemble.runs.paths import Outputs
from ensemble.settings.layers import Choice, learner_settings
from ensemble.settings.schema import LearnerSettings
from ensemble.settings.trees import SettingsError, assignments_of

WEIGHTS = ("teacher_elsewhere", "teacher_depth", "gradient_matching", "affinity")


def student(learner: str = "fastdepth", *, config: Path | None = None, **distillation: object) -> LearnerSettings:
    given = {"distillation": {"teacher": "bts,ldrn", **distillation}, "training.batch_size": 4}
    return learner_settings(learner, Choice(config=config, assignments=assignments_of(given)))


def test_the_model_of_a_fold_has_no_teacher():
    check_student(student())
    with pytest.raises(SettingsError, match="the model of a fold, here 1, would learn from a teacher that saw its"):
        check_student(student().model_copy(update={"fold": 1}))
    check_student(student(teacher=None).model_copy(update={"fold": 1}))


def test_a_teacher_of_whom_nothing_counts_is_refused():
    with pytest.raises(SettingsError, match=r"affinity of distillation are all 0, .* learnt from bts,ldrn; give one"):
        check_student(student(**dict.fromkeys(WEIGHTS, 0)))
    for name in WEIGHTS:
        check_student(student(**{**dict.fromkeys(WEIGHTS, 0), name: 1}))


@pytest.mark.parametrize(("batch", "accumulate", "share"), [(1, 1, 0.25), (4, 4, 0.25), (4, 1, 0.9)])
def test_photographs_that_do_not_go_into_a_step_are_refused(batch: int, accumulate: int, share: float, tmp_path: Path):
    settings = student(unlabelled=[str(tmp_path)], unlabelled_share=share)
    check_student(student(unlabelled=[str(tmp_path)]))
    training = settings.training.model_copy(update={"batch_size": batch, "accumulate": accumulate})
    with pytest.raises(SettingsError, match=rf"unlabelled_share: [0-9]+ of {batch} frames of a step"):
        check_student(settings.model_copy(update={"training": training}))


@pytest.mark.parametrize(
    ("learner", "taught_by", "told"),
    [
        ("fastdepth", "dpt", "affinity: dpt is a DPT, which hands out no maps of its decoder"),
        ("dpt", "bts", "affinity: the student dpt is a DPT, which hands out no maps of its decoder"),
        ("fastdepth", "foreign", "affinity: foreign was imported as depth maps and has no network whose maps"),
        ("fastdepth", "nobody", "unknown affinity_of 'nobody'"),
    ],
)
def test_affinities_that_nobody_has_are_refused(learner: str, taught_by: str, told: str):
    networks = {name: learner_settings(name) for name in ("bts", "dpt")} | {"foreign": None}
    with pytest.raises(SettingsError, match=told):
        check_lesson(student(learner, affinity=1, affinity_of=taught_by), networks)
    check_lesson(student(affinity=1), networks)
    if taught_by != "nobody":
        check_lesson(student(learner, affinity_of=taught_by), networks)


def test_maps_from_elsewhere_say_nothing_of_photographs(tmp_path: Path):
    networks = {"bts": learner_settings("bts"), "foreign": None}
    check_lesson(student(), networks)
    for check in (
        lambda: check_networks(networks),
        lambda: check_lesson(student(unlabelled=[str(tmp_path)]), networks),
    ):
        with pytest.raises(SettingsError, match="--unlabelled: foreign came as depth maps and has no network"):
            check()


def test_what_only_a_teacher_gives_is_refused_where_nobody_teaches(tmp_path: Path):
    def settings(*assignments: str, config: Path | None = None) -> LearnerSettings:
        return learner_settings("fastdepth", Choice(config=config, assignments=assignments))

    for unheard in ("affinity=1", "rows=fit", "grid=8", "affinity_of=bts"):
        with pytest.raises(SettingsError, match=rf"{unheard.partition('=')[0]}: goes unheard where nobody teaches"):
            settings(f"distillation.{unheard}")
    assert settings("distillation.affinity=1", "distillation.teacher=null").distillation.teacher is None
    file = tmp_path / "file.yaml"
    file.write_text(f"learners: {{fastdepth: {{distillation: {{affinity: 1, unlabelled: ['{tmp_path}']}}}}}}\n")
    with pytest.raises(SettingsError, match="photographs have no depth but that of a teacher"):
        settings(config=file)
    assert settings("distillation.teacher=bts", config=file).distillation.affinity == 1


def test_a_learner_of_several_that_is_misspelt_is_refused(tmp_path: Path):
    outputs, file = Outputs(tmp_path), tmp_path / "file.yaml"
    with pytest.raises(SettingsError, match="unknown learner 'btts'; did you mean 'bts'"):
        asked_teacher("ldrn,btts", outputs, "tiny")
    file.write_text("learners: {wide: {architecture: bts}}\n")
    assert asked_teacher("wide, ldrn", outputs, "tiny", ("--config", str(file))) == ("wide", "ldrn")


def test_a_saved_teacher_is_found_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "known.stack").touch()
    monkeypatch.chdir(tmp_path)
    typed = student(teacher="known.stack", unlabelled=["photographs"])
    whole = placed(typed)
    assert whole.distillation.teacher == str(tmp_path / "known.stack")
    assert whole.distillation.unlabelled == (tmp_path / "photographs",)
    assert placed(student(teacher="nyu-small")).distillation.teacher == "nyu-small"
    assert placed(student()) == student()
    begun = placed(student(teacher="known.stack")), student(teacher="known.stack")
    assert not differing_keys(*(with_influence(each.model_dump(mode="json")) for each in begun)), "of before"
