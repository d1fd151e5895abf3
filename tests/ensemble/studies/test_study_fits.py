"""Studies whose trials are really fitted: what is prepared, what is read how often, what is measured and compared."""

import csv
import json
import shutil
from collections import Counter
from pathlib import Path
from unittest import mock

import pytest
from command_lines import Job, done, without_seals
from study_actors import write_study

from ensemble.data.rooms.source import RoomsSource
from ensemble.runs.paths import Outputs, Run
from ensemble.runs.records import stored_settings
from ensemble.settings.schema import StackSettings
from ensemble.studies.design.arms import arms_of
from ensemble.studies.design.study_file import read_study
from ensemble.studies.running import decoding
from ensemble.studies.running.decoding import sharing_frames
from ensemble.studies.running.trials import WorkerContext, study_settings
from ensemble.studies.storage.folders import scores_file, study_folder

LIVE = {"training": ["finetune"], "learners": [["bts", "ldrn"]], "inputs": ["d"]}


def without_preloading(cache: Path) -> None:
    """The learners of a job as if they had been trained on a copy that is too large for the memory."""
    without_seals(cache)
    for file in cache.glob("runs/tiny/*/*/settings.json"):
        settings = json.loads(file.read_text())
        settings["data"]["preload"] = False
        file.write_text(json.dumps(settings))


def test_frames_are_decoded_once_for_all_trials_that_train_learners(job: Job, tmp_path: Path):
    cache = job.copy_to(tmp_path)
    without_preloading(cache)
    file = write_study(tmp_path, name="live", questions=LIVE, numbers={}, trials=2)
    read: Counter[str] = Counter()
    whole = RoomsSource.read

    def watched(source, frame):
        read[frame.id] += 1
        return whole(source, frame)

    with mock.patch.object(RoomsSource, "read", watched):
        done("study", "run", file, "--workers", 0, "--cache-dir", cache)
    trials = sorted(study_folder(Outputs(cache), "live").folder.glob("trials/*/*/result.json"))
    assert len(trials) == 2
    assert set(read.values()) == {1}


def test_frames_are_not_kept_where_the_study_says_so_or_memory_is_short(job: Job, tmp_path: Path):
    cache = job.copy_to(tmp_path)
    without_preloading(cache)
    where = Outputs(cache)
    for given, kept in (({}, True), ({"data.preload": False}, False)):
        study = read_study(write_study(tmp_path, questions=LIVE, numbers={}, set=given))
        context = WorkerContext(study, where, "sqlite:///nowhere.db")
        settings = study_settings(context, arms_of(study)[0], {})
        assert settings.data.preload == kept
        assert all(own.data.preload == kept for own in settings.members.values())
    bare = stored_settings(StackSettings, cache / "runs/tiny/meta-d/settings.json")
    bare = bare.model_copy(update={"data": bare.data.model_copy(update={"preload": False})})
    assert sharing_frames(bare, where, {}) is bare  # frozen: rows are read, few images
    live = bare.model_copy(update={"mode": "joint"})
    with mock.patch.object(decoding, "free_memory", return_value=1000):
        assert not sharing_frames(live, where, {}).data.preload
        assert sharing_frames(live, where, {"decoded": {}}).data.preload  # they are in memory already
    assert decoding.free_memory() > 2**20


def test_prepare_fills_the_cache_and_runs_no_trial(job: Job, tmp_path: Path):
    cache = job.copy_to(tmp_path)
    rows = cache / "predictions" / "tiny" / "ldrn" / "oof"
    shutil.rmtree(rows)
    file = write_study(tmp_path, name="prepared", trials=1, questions={"inputs": ["d"], "learners": [["bts", "ldrn"]]})
    answer = done("study", "run", file, "--prepare", "--cache-dir", cache)
    assert answer.err.splitlines()[-1] == "prepared: everything is there that its trials need"
    assert list(rows.rglob("*.h5"))
    folder = study_folder(Outputs(cache), "prepared")
    assert read_study(file).name == json.loads(folder.settings.read_text())["name"]
    assert not (folder.folder / "trials").exists()
    assert (
        "1 of 1 trials to run" in done("study", "run", file, "--workers", 0, "--timeout", 0, "--cache-dir", cache).err
    )


def test_two_studies_are_compared_on_one_page(job: Job, tmp_path: Path):
    cache = job.copy_to(tmp_path)
    for name, inputs in (("first", "d"), ("second", "rgb")):
        file = write_study(tmp_path, name=name, about=f"Is {inputs} enough?", trials=2, questions={"inputs": [inputs]})
        done("study", "run", file, "--workers", 0, "--cache-dir", cache)
    out = tmp_path / "page"
    given = ("--seeds", "none", "--out", out, "--cache-dir", cache)
    told = json.loads(done("study", "compare", "first", "second", "--json", *given).out)
    assert told["studies"] == ["first", "second"]
    assert set(told["files"]) == {path.name for path in out.iterdir()}
    assert [(arm["study"], arm["arm"]) for arm in told["arms"]] == [("first", "d"), ("second", "rgb")]
    page = (out / "compare.md").read_text()
    assert all(words in page for words in ("first/d", "second/rgb", "Is d enough?", "Is rgb enough?"))
    trials = list(csv.DictReader((out / "compare_trials.csv").read_text().splitlines()))
    assert [(line["study"], line["state"]) for line in trials] == [("first", "complete")] * 2 + [
        ("second", "complete")
    ] * 2
    for name, arm in (("first", "d"), ("second", "rgb")):
        lines = [line for line in trials if line["study"] == name]
        assert [float(line["cumulative_spent"]) for line in lines] == [2, 4]
        for line in lines:
            run = study_folder(Outputs(cache), name).trial(arm, line["number"])
            assert float(line["abs_rel"]) == json.loads(run.result.read_text())["best"]
            assert float(line["training.lr"]) == stored_settings(StackSettings, run.settings).training.lr


def test_several_metrics_are_measured_where_the_first_was_best(job: Job, tmp_path: Path):
    cache = job.copy_to(tmp_path)
    file = write_study(
        tmp_path,
        name="several",
        objective=["abs_rel", "d1", "parameters"],
        questions={"inputs": ["d"]},
        budget={"steps": 6},
        trials=2,
    )
    done("study", "run", file, "--workers", 0, "--cache-dir", cache)
    for number in range(2):
        run = Run(study_folder(Outputs(cache), "several").folder / "trials/d" / str(number))
        values = json.loads((run.folder / "outcome.json").read_text())["values"]
        result = json.loads(run.result.read_text())
        lines = [json.loads(line) for line in run.log.read_text().splitlines()]
        (there,) = [line for line in lines if line["step"] == result["best_step"] and "validation/d1" in line]
        assert values[:2] == pytest.approx([result["best"], there["validation/d1"]], rel=1e-5)
        assert values[2] > 1000
        assert scores_file(run).is_file()
    done("study", "compare", "several", "--seeds", "none", "--cache-dir", cache)
    text = (study_folder(Outputs(cache), "several").comparison / "compare.md").read_text()
    assert "### Pareto front" in text
    assert "| abs_rel | d1 | parameters |" in text
