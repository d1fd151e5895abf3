"""The command line of studies: from a study file to the page that compares its arms, and the best setting."""

import json
import os
from pathlib import Path
from unittest import mock

import pytest
import yaml
from command_lines import Job, call, contents, done
from lightning.pytorch.loggers import WandbLogger
from study_actors import found, toy, work_here, write_study

from ensemble.data.rooms.source import RoomsSource
from ensemble.runs.paths import Outputs, Run
from ensemble.runs.records import stored_settings
from ensemble.settings.schema import StackSettings
from ensemble.stacking.cost import Costs
from ensemble.studies.design.study_file import read_study
from ensemble.studies.running import launch, repeats, tracked
from ensemble.studies.running.trials import WORKER, fit_trial
from ensemble.studies.storage.connection import open_storage
from ensemble.studies.storage.folders import scores_file
from ensemble.studies.storage.records import OVER_QUOTA, trials_of
from ensemble.training.trackers.weights_and_biases import wandb_logger


def study_of(job: Job, folder: Path, **changed) -> tuple[Path, Path]:
    """A study over the learners of the shared job, and a copy of its cache."""
    return write_study(folder, **{"trials": 1, **changed}), job.copy_to(folder)


def test_run_compare_best_and_fit_work_one_after_the_other(job: Job, tmp_path: Path):
    file, cache = study_of(job, tmp_path, questions={"inputs": ["d", "rgb"]}, trials=2, name="whole")
    given = ("--cache-dir", cache)
    rows = contents(cache / "predictions")
    read: list[str] = []
    whole = RoomsSource.read

    def watched(source, frame):
        read.append(frame.split)
        return whole(source, frame)

    with mock.patch.object(RoomsSource, "read", watched):
        first = done("study", "run", file, "--workers", 0, *given)
    assert set(read) == {"train"}  # the test split cannot be reached
    assert contents(cache / "predictions") == rows  # no learner runs
    assert "2 arms, 4 of 4 trials to run" in first.err
    assert "0 of 4 trials to run" in done("study", "run", file, "--workers", 0, *given).err
    shown = done("study", "show", "whole", *given).out
    assert "2/2" in shown
    assert "all trials finished" in " ".join(shown.split())
    assert done("study", "list", *given).out.startswith("whole")

    table = done("study", "compare", "whole", "--seeds", "none", *given, COLUMNS="160").out
    assert not (study_folder_of(cache, "whole") / "repeats").exists()
    out = study_folder_of(cache, "whole") / "compare"
    written = {"compare.md", "compare.csv", "compare_pairs.csv", "compare_trials.csv", "compare.html", "budget.png"}
    assert written | {"importances.json"} <= set(contents(out))
    page = (out / "compare.html").read_text()
    assert page.count("data:image/png;base64,") >= 3
    assert "http" not in page.replace("http-equiv", "")
    lines = (out / "compare.csv").read_text().splitlines()
    assert len(lines) == 3
    assert all(arm in table for arm in ("d", "rgb"))
    drawn = contents(out)
    for name in drawn:
        (out / name).write_bytes(b"damaged")
    done("study", "compare", "whole", "--seeds", "none", *given, COLUMNS="160")
    assert contents(out) == drawn, "what is drawn for people is never read back, so it needs no checksums"
    for line in lines[1:]:
        _, arm, metric, value, *_ = line.split(",")
        assert metric == "abs_rel"
        scores = json.loads(scores_file(best_run(cache, "whole", arm, float(value))).read_text())
        assert sum(each["abs_rel"] for each in scores.values()) / len(scores) == pytest.approx(float(value))

    best = tmp_path / "best.yaml"
    told = done("study", "best", "whole", "--write", best, *given)
    assert yaml.safe_load(best.read_text())["meta"]["training"]["max_steps"] == 2
    words = told.out.split()[told.out.split().index("fit") :]
    fitted = done("meta", *words)
    (run,) = cache.glob("runs/tiny/best")
    assert str(run) in fitted.err
    value = min(float(line.split(",")[3]) for line in lines[1:])
    assert json.loads((run / "result.json").read_text())["best"] == pytest.approx(value, rel=1e-6)


PATIENT = {"timeout": 120, "heartbeat": 5, "grace": 120}
"""A busy machine may let a worker wait for longer than the toy study would."""


@pytest.mark.slow
def test_two_workers_share_the_trials_of_a_study(job: Job, tmp_path: Path):
    file, cache = study_of(job, tmp_path, questions={"inputs": ["d", "rgb"]}, trials=2, name="shared", storage=PATIENT)
    rows = contents(cache / "predictions")
    told = done("study", "run", file, "--workers", 2, "--cache-dir", cache)
    assert contents(cache / "predictions") == rows
    results = sorted(study_folder_of(cache, "shared").glob("trials/*/*/result.json"))
    assert [result.parts[-3] for result in results] == ["d", "d", "rgb", "rgb"]
    settings = read_study(file)
    storage = open_storage(f"sqlite:///{study_folder_of(cache, 'shared') / 'study.db'}", settings.storage)
    found = trials_of(settings, storage)
    assert [trial.state for trial in found] == ["complete"] * 4
    begun = [trial for study in storage.get_all_studies() for trial in storage.get_all_trials(study._study_id)]
    workers = {tuple(trial.user_attrs[WORKER]) for trial in begun if OVER_QUOTA not in trial.user_attrs}
    assert len(workers) == 2, told.err
    assert str(os.getpid()) not in {pid for _, pid, _ in workers}, "both are processes of their own"


def study_folder_of(cache: Path, name: str) -> Path:
    return cache / "studies" / name


def best_run(cache: Path, name: str, arm: str, value: float):
    for folder in (study_folder_of(cache, name) / "trials" / arm).iterdir():
        if json.loads((folder / "result.json").read_text())["best"] == pytest.approx(value):
            return Run(folder)
    pytest.fail(f"no trial of {arm} has the value {value}")


def test_the_best_of_every_arm_is_fitted_again_from_three_seeds(job: Job, tmp_path: Path):
    file, cache = study_of(job, tmp_path, questions={"inputs": ["d"]}, name="again")
    done("study", "run", file, "--workers", 0, "--cache-dir", cache)
    given = ("--budget", "1steps", "--cache-dir", cache)
    told = json.loads(done("study", "compare", "again", "--json", *given).out)
    assert "3 repeats of 1steps from seeds 1, 2, 3" in told["budget"]
    runs = sorted(study_folder_of(cache, "again").glob("repeats/d/trial-0/1steps/*/result.json"))
    results = [json.loads(run.read_text()) for run in runs]
    assert [result["steps"] for result in results] == [1, 1, 1]
    (arm,) = told["arms"]
    assert arm["repeats"] == 3
    assert arm["value"] == pytest.approx(sum(result["best"] for result in results) / 3)
    assert " ± " in (study_folder_of(cache, "again") / "compare/compare.md").read_text()

    def diverging(settings, run, outputs, **asked):
        if settings.seed == 2:
            raise FloatingPointError("meta d: at step 1 the loss is not finite")
        return fit_trial(settings, run, outputs, **asked)

    with mock.patch.object(repeats, "fit_trial", diverging):
        (arm,) = json.loads(done("study", "compare", "again", "--json", *given).out)["arms"]
    assert (arm["repeats"], arm["failed_repeats"]) == (2, 1)
    assert arm["value"] == pytest.approx((results[0]["best"] + results[2]["best"]) / 2)
    text = (study_folder_of(cache, "again") / "compare/compare.md").read_text()
    assert "1 repeats failed and are left out" in text
    assert "d from seed 2 | failed | - | meta d: at step 1 the loss is not finite" in text.replace("&#124;", "|")


def test_missing_learners_are_named_with_the_commands_that_train_them(tmp_path: Path):
    file = write_study(tmp_path, questions={"learners": [["bts", "ldrn"]]})
    answer = call("study", "run", file, "--workers", 0, "--cache-dir", tmp_path / "cache")
    assert answer.status == 2
    assert "6 models of learners are not trained (first: bts/full of tiny)" in answer.err
    assert not (tmp_path / "cache").exists(), "no storage is made for a study that is refused"
    commands = [line for line in answer.err.splitlines() if line.startswith("Run: ")]
    assert len(commands) == 6
    assert "ensemble.base train bts --fold 1 --config" in commands[2]


def test_an_arm_that_this_device_cannot_run_is_refused_before_the_first_trial(tmp_path: Path):
    file = write_study(tmp_path, budget={"gpu_seconds": 5.0})
    with mock.patch("torch.cuda.is_available", return_value=False):
        answer = call("study", "run", file, "--workers", 0, "--cache-dir", tmp_path / "cache")
    assert answer.status == 2
    assert "toy, arm d: budget.gpu_seconds needs a CUDA device, and torch finds none here" in answer.err
    assert not list((tmp_path / "cache").rglob("study.db"))


def test_a_storage_that_is_down_gives_one_line_and_status_3(tmp_path: Path):
    file = write_study(tmp_path)
    nobody = "postgresql://me:secret@127.0.0.1:9/studies"
    with mock.patch.object(launch, "check_learners"):
        answer = call("study", "run", file, "--storage", nobody, "--workers", 0, "--cache-dir", tmp_path / "cache")
    assert answer.status == 3
    (line,) = answer.err.strip().splitlines()
    assert "127.0.0.1:9/studies: the storage does not answer" in line
    assert "secret" not in line


def test_unknown_names_are_answered_with_the_nearest(tmp_path: Path):
    context = toy(tmp_path)
    work_here(context)
    context.folder.settings.write_text(context.study.model_dump_json())
    answer = call("study", "show", "toi", "--cache-dir", context.outputs.root)
    assert answer.status == 2
    assert "there is no study 'toi'; did you mean 'toy'?" in answer.err
    answer = call("study", "run", tmp_path / "toy.yaml", "--storage", "mysql://x", "--cache-dir", tmp_path / "cache")
    assert "--storage: expected postgresql://" in answer.err
    assert "found one of kind 'mysql'" in answer.err


def test_costs_limit_what_may_be_trained_and_are_objectives(job: Job, tmp_path: Path):
    file, cache = study_of(
        job,
        tmp_path,
        name="costly",
        questions={"network.widths": [[16, 12, 8, 8, 8], [64, 48, 32, 32, 16]]},
        objective=["abs_rel", "parameters"],
        numbers={},
        constraints={"parameters": limit_between(job)},
    )
    done("study", "run", file, "--workers", 0, "--cache-dir", cache)
    done("study", "compare", "costly", "--seeds", "none", "--cache-dir", cache)
    text = (study_folder_of(cache, "costly") / "compare/compare.md").read_text()
    assert "over the limit before training: parameters" in text
    assert not list(cache.glob("studies/costly/trials/64+48+32+32+16/*/result.json"))
    assert "Pareto front" in text


def limit_between(job: Job) -> float:
    settings = stored_settings(StackSettings, job.cache / "runs/tiny/meta-d/settings.json")
    return Costs(Outputs(job.cache)).of(settings)["parameters"] * 1.005


@pytest.mark.slow
def test_a_study_is_the_same_with_its_tracker_on(job: Job, tmp_path: Path):
    values, groups = [], []

    def watched(*given):
        logger = wandb_logger(*given)
        groups.append((logger.experiment.group, logger.experiment.name))
        return logger

    for name, options in (("off", ()), ("on", ("--wandb",))):
        (tmp_path / name).mkdir()
        file, cache = study_of(job, tmp_path / name, questions={"inputs": ["d"]}, name="tracked", trials=2)
        environment = {"WANDB_MODE": "offline", "WANDB_SILENT": "true", "WANDB_API_KEY": ""}
        with mock.patch.object(tracked, "wandb_logger", watched):
            done("study", "run", file, "--workers", 0, *options, "--cache-dir", cache, **environment)
        folder = study_folder_of(cache, "tracked") / "trials/d/0"
        values.append((json.loads((folder / "outcome.json").read_text())["values"], (folder / "log.jsonl").read_text()))
        assert bool(list(folder.glob("wandb/offline-run-*"))) == (name == "on")
    assert values[0] == values[1]
    assert groups == [("tracked", "d-0"), ("tracked", "d-1")]  # one group per study, one run per trial


@pytest.mark.parametrize("broken", ["start", "end"])
def test_a_tracker_that_breaks_ends_no_trial(tmp_path: Path, broken: str):
    def never(*given):
        raise RuntimeError("no answer")

    class Broken(WandbLogger):
        def __init__(self) -> None: ...

        @property
        def experiment(self):
            raise RuntimeError("no answer")

    context = toy(tmp_path, trials=1)
    context.wandb = True
    with mock.patch.object(tracked, "wandb_logger", never if broken == "start" else lambda *given: Broken()):
        work_here(context)
    assert [trial.state for trial in found(context)] == ["complete"] * 2
