"""Students of a stack, of learners and of a file: what they are taught, from where, and what is refused."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import lightning
import numpy as np
import pytest
import torch
from command_lines import Job, call, done, without_seals
from PIL import Image

from ensemble.data.loaders import FrameDataset
from ensemble.distillation.asked import asked_teacher
from ensemble.distillation.lessons import CachingTeacher, open_teacher
from ensemble.distillation.teachers import saved_expert
from ensemble.predictions.store.verify import filling
from ensemble.runs.paths import Outputs, Run
from ensemble.settings.layers import Choice, learner_settings
from ensemble.settings.schema import LearnerSettings
from ensemble.stacking.stack import load_stack, stacked
from ensemble.stacking.training_rows import training_rows
from ensemble.studies.comparing.beforehand import seconds_beforehand
from ensemble.training.checkpoints import read_checkpoint
from ensemble.training.learners import train_learner

QUANTUM = 10 / 65535


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photographs")
    for number in range(3):
        pixels = np.random.default_rng(number).integers(0, 256, (60 + 20 * number, 90, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return folder


@pytest.fixture(scope="module")
def job(job: Job, tmp_path_factory: pytest.TempPathFactory) -> Job:
    """The shared one in a folder of its own, for students are trained in it."""
    return replace(job, cache=shutil.copytree(job.cache, tmp_path_factory.mktemp("students") / "cache"))


def student(job: Job, *assignments: str, teacher: str | None = "meta-d", learner: str = "fastdepth") -> LearnerSettings:
    named = [] if teacher is None else [f"distillation.teacher={json.dumps(teacher)}"]
    return learner_settings(learner, Choice(config=job.config, assignments=[*named, *assignments]))


def opened(settings: LearnerSettings, where: Outputs) -> CachingTeacher:
    teacher = open_teacher(settings, where)
    assert teacher is not None
    return teacher


def test_a_student_of_a_stack_is_taught_its_out_of_fold_depth_and_expected_error(job: Job, photographs: Path):
    given = ("--config", job.config, "--cache-dir", job.cache, "--teacher", "meta-d", "--unlabelled", photographs)
    first = done("base", "train", "fastdepth", *given, "--set", "distillation.unlabelled_share=0.5").err
    assert "tiny/meta-d: depth of its learners out of fold, by models that never saw the scene of a frame" in first
    assert "; its meta-learner and the expected error were fitted on these frames; also of 3 photographs\n" in first
    assert "oof: caching 6 frames of teacher tiny/meta-d" in first
    where = Outputs(job.cache)
    run = where.learner_run("tiny", "fastdepth")
    assert {"frames", "folds", "teacher", "unlabelled"} == set(json.loads(run.sources.read_text()))
    line = json.loads(run.log.read_text().splitlines()[0])
    terms = ("silog", "teacher_elsewhere", "teacher_depth", "gradient_matching")
    assert sum(line[f"share/{term}"] for term in terms) == pytest.approx(1, abs=1e-6)
    assert all(line[f"train/{term}"] > 0 for term in ("silog", "teacher_depth", "gradient_matching"))
    settings = student(job)
    rows = opened(settings, where).fill()
    stack = load_stack(where.find_run("meta-d"), where)
    found = list(training_rows(stack.learners, where, stack.settings, "oof"))
    assert len(found) == 6
    for row in found:
        with torch.inference_mode():
            fused = stacked(stack, row.image, row.depths).depth[0, 0]
        np.testing.assert_allclose(rows["depth"].read(row.frame.id), fused, atol=QUANTUM)
        assert (rows["expected-error"].read(row.frame.id) > 0).all()
    again = done("base", "train", "fastdepth", *given, "--set", "distillation.unlabelled_share=0.5", "--fresh").err
    assert "caching" not in again
    assert "all as they were written" in done("base", "verify", "tiny", "--cache-dir", job.cache).err


def test_learners_teach_their_log_mean(job: Job):
    where, settings = Outputs(job.cache), student(job, teacher="bts,ldrn")
    teacher = opened(settings, where)
    alone = [opened(student(job, teacher=name), where).fill()["depth"] for name in ("bts", "ldrn")]
    rows = teacher.fill()
    assert set(rows) == {"depth"}
    assert teacher.how() == "out-of-fold depth, by models that never saw the scene of a frame"
    assert teacher.how("bts") == f"{teacher.how()}; affinities of bts, whose full fit saw these frames"
    assert replace(teacher, photographs={"a": Path()}, fitted=1).how() == (
        f"{teacher.how()}; also of 1 photograph, 1 of them frames that it was trained on"
    )
    frame = next(iter(training_ids(job)))
    expected = np.sqrt(alone[0].read(frame) * alone[1].read(frame))
    np.testing.assert_allclose(rows["depth"].read(frame), expected, rtol=1e-5)
    stored = json.loads(json.dumps(settings.model_dump(mode="json")))
    assert stored["distillation"]["teacher"] == "bts,ldrn"
    assert "distillation" not in student(job, teacher=None).model_dump(mode="json")


def training_ids(job: Job) -> list[str]:
    where = Outputs(job.cache)
    stack = load_stack(where.find_run("meta-d"), where)
    return [row.frame.id for row in training_rows(stack.learners, where, stack.settings, "oof")]


class TruthRows:
    """A teacher that is always right, and where nothing is measured says 5 m."""

    def __init__(self, source, frames):
        self._frames, self._source = {frame.id: frame for frame in frames}, source

    def read(self, frame_id: str) -> np.ndarray:
        raw = self._source.read(self._frames[frame_id])
        return np.where(raw.valid, raw.depth, np.float32(5))


def test_the_teachers_depth_is_turned_cropped_and_mirrored_with_the_truth(job: Job):
    from ensemble.data import open_source

    data = student(job, "data.crop=null", "data.augmentation.rotation=10").data
    data = data.model_copy(update={"size": data.facts.frame})
    source = open_source(data)
    frames = [frame for frame in source.frames if frame.split == "train"][:2]
    dataset = FrameDataset(source, frames, data, {"depth": TruthRows(source, frames)})
    batch = dataset[[(0, seed) for seed in range(6)] + [(1, seed) for seed in range(6)]]
    taught, valid = batch["predictions"], batch["valid"]
    assert taught.shape == batch["depth"].shape
    assert torch.equal(taught[valid], batch["depth"][valid])
    assert (taught == 0).any(), "what turns in from outside has no depth"
    assert not valid[taught == 0].any()


class PowerCutError(Exception):
    """Ends a training from outside."""


class CutAfter(lightning.Callback):
    def __init__(self, step: int) -> None:
        self.step = step

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx) -> None:
        if trainer.global_step == self.step:
            raise PowerCutError


def test_a_student_that_goes_on_ends_as_one_that_never_stopped(job: Job, photographs: Path, tmp_path: Path):
    assignments = (
        f"distillation.unlabelled={json.dumps([str(photographs)])}",
        "distillation.affinity=0.5",
        "distillation.affinity_of=ldrn",
        "training.max_steps=5",
        "training.batch_size=4",
        "training.checkpoint_every=1",
    )
    where, settings = Outputs(job.cache), student(job, *assignments)
    teacher = opened(settings, where)
    straight, resumed = Run(tmp_path / "straight"), Run(tmp_path / "resumed")
    train_learner(settings, where, teacher=teacher, run=straight)
    with pytest.raises(PowerCutError):
        train_learner(settings, where, teacher=teacher, run=resumed, callbacks=[CutAfter(3)])
    train_learner(settings, where, teacher=opened(settings, where), run=resumed)
    ours, theirs = (read_checkpoint(run.last) for run in (resumed, straight))
    assert ours["state_dict"].keys() == theirs["state_dict"].keys()
    assert not any("ldrn" in name or "teacher" in name for name in ours["state_dict"])
    assert all(torch.equal(value, theirs["state_dict"][name]) for name, value in ours["state_dict"].items())
    assert resumed.log.read_text() == straight.log.read_text()
    assert resumed.best.read_bytes() == straight.best.read_bytes()
    assert "train/affinity" in json.loads(straight.log.read_text().splitlines()[0])


def test_a_saved_stack_teaches_and_what_it_may_have_seen_is_said(job: Job, tmp_path: Path):
    done("meta", "save", "meta-d", tmp_path / "known.stack", "--cache-dir", job.cache)
    given = ("--config", job.config, "--cache-dir", job.cache, "--experiment", "elsewhere")
    said = done("base", "train", "fastdepth", *given, "--teacher", tmp_path / "known.stack").err
    assert "it may have SEEN these frames in training" in said
    assert "fit: caching 6 frames of teacher" in said
    kept = sorted(path.name for path in (job.cache / "predictions" / "elsewhere").glob("known-*/fit/*"))
    assert kept == ["depth", "expected-error"]


def test_a_teacher_that_saw_the_frames_is_said(job: Job):
    given = ("--config", job.config, "--cache-dir", job.cache, "--experiment", "seen", "--teacher", "tiny/bts")
    said = done("base", "train", "fastdepth", *given, "--set", "distillation.rows=fit").err
    assert "it SAW these frames in training" in said
    teach = ("teach", "tiny/bts", "--rows", "fit", *given[:-2])
    told = done("base", *teach).err
    assert "tiny/bts: it SAW these frames in training" in told
    options = f"--config {job.config} --experiment seen --set distillation.rows=fit --cache-dir {job.cache}"
    assert told.endswith(f"next: python -m ensemble.base train fastdepth --teacher tiny/bts {options}\n")


def test_a_damaged_row_of_a_teacher_is_mended_by_the_command_that_is_named(job: Job, tmp_path: Path):
    cache = shutil.copytree(job.cache, tmp_path / "copy")
    where = Outputs(cache, named=True)
    opened(student(job, teacher="tiny/meta-d"), where).fill()
    (shard,) = where.predictions("tiny", "meta-d", "oof", "depth").glob("*.h5")
    content = bytearray(shard.read_bytes())
    content[-9] ^= 1
    shard.write_bytes(content)
    found = call("base", "verify", "tiny", "--cache-dir", cache)
    assert found.status != 0
    command = filling(where, shard.parent)
    assert "base teach tiny/meta-d" in command
    answer = call(
        "base", "train", "fastdepth", "--config", job.config, "--cache-dir", cache, "--teacher", "meta-d", "--fresh"
    )
    assert answer.status != 0
    assert "ensemble.base teach tiny/meta-d" in answer.err
    shard.unlink()
    told = done("base", *command.split()[3:]).err
    options = f"--data rooms --experiment tiny --cache-dir {cache}"
    assert "tiny/meta-d: depth of its learners out of fold" in told
    assert told.endswith(f"next: python -m ensemble.base train fastdepth --teacher tiny/meta-d {options}\n")
    done("base", "verify", "tiny", "--cache-dir", cache)


def test_what_a_teacher_took_to_train_is_counted_or_not_known(job: Job, tmp_path: Path):
    where = Outputs(job.copy_to(tmp_path))
    stack = load_stack(where.find_run("meta-d"), where)
    names = [learner.name for learner in stack.learners]
    runs = [stack.run, *(model.run for learner in stack.learners for model in learner.models)]
    without_seals(where.root)
    for number, run in enumerate(runs):
        run.result.write_text(json.dumps({**run.read_result(), "seconds": 2.0**number}))

    def seconds(teacher: str | None) -> float | None:
        return seconds_beforehand(student(job, teacher=teacher), where)

    below = 2.0 ** len(runs) - 2
    assert seconds_beforehand(stack.settings, where) == below
    assert [seconds(each) for each in (None, "meta-d", ",".join(names))] == [0, below + 1, below]
    assert [seconds(each) for each in ("nyu-small", "tiny/meta-gone")] == [None, None]
    taught = where.learner_run("tiny", "fastdepth")
    shutil.copytree(runs[1].folder, taught.folder)
    taught.settings.write_text(json.dumps(student(job, teacher="meta-d").model_dump(mode="json")))
    taught.result.write_text(json.dumps({**taught.read_result(), "seconds": 0.5}))
    pupil = student(job, "distillation.rows=fit", teacher="tiny/fastdepth")
    assert seconds_beforehand(pupil, where) == below + 1.5, "a teacher that was taught costs its own teacher too"


def test_a_network_of_the_package_may_teach(job: Job):
    found = asked_teacher("nyu-small", Outputs(job.cache), "tiny")
    assert isinstance(found, Path)
    assert saved_expert(found).asked.endswith("nyu-small.stack")


def test_mistakes_are_refused_before_anything_is_written(job: Job, tmp_path: Path):
    given = ("--config", job.config, "--cache-dir", job.cache, "--experiment", "none")

    def refused(*words: object) -> str:
        answer = call("base", "train", "fastdepth", *given, *words)
        assert answer.status != 0
        return answer.err

    assert "there is no run 'meta-x'" in (missing := refused("--teacher", "meta-x"))
    assert "Run: python -m ensemble.meta fit --inputs rgb+d --experiment none" in missing
    assert "ldrn was not trained" in refused("--teacher", "ldrn")
    of_a_fold = "the model of a fold, here 0, would learn from a teacher"
    assert of_a_fold in refused("--teacher", "meta-d", "--folds", 2)
    assert of_a_fold in refused("--set", "distillation.teacher=meta-d", "--fold", 0)
    jobs = call("base", "jobs", "fastdepth", *given, "--folds", 2, "--set", "distillation.teacher=meta-d")
    assert of_a_fold in jobs.err
    rows_of = ("--set", "distillation.rows=fit", "--teacher")
    assert "rows fit chooses between models of learners, but this is a stack" in refused(*rows_of, "tiny/meta-d")
    assert "rows fit chooses between models of learners, but this was saved" in refused(*rows_of, "nyu-small")
    assert "--unlabelled: photographs have no depth but that of a teacher" in refused("--unlabelled", tmp_path)
    assert "expected photographs such as .jpg or .png, found none" in refused(
        "--teacher", "meta-d", "--unlabelled", tmp_path
    )
    assert "was trained on other data than its student" in refused(
        "--teacher", "tiny/meta-d", "--set", "data.split_seed=5"
    )
    none = ("--set", "distillation.affinity=1", "--set", "distillation.affinity_of=nobody")
    assert "unknown affinity_of 'nobody'" in refused("--teacher", "tiny/meta-d", *none)
    assert not Outputs(job.cache).learner_run("none", "fastdepth").settings.exists()
    itself = call("base", "train", "bts", *given[:4], "--teacher", "bts")
    assert "bts cannot teach itself" in itself.err


def test_another_teacher_is_another_run(job: Job):
    given = ("--config", job.config, "--cache-dir", job.cache, "--experiment", "one")
    done("base", "train", "fastdepth", *given, "--teacher", "tiny/bts")
    answer = call("base", "train", "fastdepth", *given, "--teacher", "tiny/ldrn")
    assert "this run was begun with something else (distillation.teacher: 'tiny/bts' against 'tiny/ldrn'" in answer.err
