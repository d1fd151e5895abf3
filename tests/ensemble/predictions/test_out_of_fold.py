"""Out-of-fold rows: who trained on what, whose rows are read, and what stops a fit; RELIABILITY row 15."""

import csv
import hashlib
import json
import re
import shlex
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import h5py
import numpy as np
import pytest
import torch
from command_lines import LEARNER_NAMES, Job, call, contents, done, without_seals

from ensemble.data import open_source
from ensemble.data.division import Experiment, division_of, open_experiment
from ensemble.data.folds import Folds, read_folds
from ensemble.data.held_out import test_frames as scored_frames
from ensemble.data.rooms.source import RoomsSource
from ensemble.data.source import Frame, FrameSource
from ensemble.data.splits import training_frames
from ensemble.evaluation.method_info import title_of
from ensemble.predictions import predict
from ensemble.predictions.learners import TrainedLearner, load_learner, trained_learner
from ensemble.predictions.level_zero import level_zero, open_rows
from ensemble.predictions.predict import identity_of
from ensemble.predictions.store import PredictionWriter
from ensemble.runs.paths import FULL, Outputs, fold_model
from ensemble.settings.layers import Choice, learner_settings
from ensemble.stacking import fit as stacking_fit
from ensemble.stacking.stack import load_stack
from ensemble.training.layout import ready_for
from ensemble.training.networks import predict_depth

QUANTUM = 10 / 65535
"""Metres between two depths that a cached row can hold."""


@contextmanager
def frames_read() -> Iterator[Counter[str]]:
    """Counts how often image or depth of a frame are asked for."""
    found: Counter[str] = Counter()
    read = RoomsSource.read

    def counted(source, frame):
        found[frame.id] += 1
        return read(source, frame)

    with mock.patch.object(RoomsSource, "read", counted):
        yield found


def fingerprint_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def words_of(line: str) -> list[str]:
    python, module, tool, *words = shlex.split(line)
    assert (python, module) == ("python", "-m")
    return [tool.removeprefix("ensemble."), *words]


def frames_to_fit(job: Job) -> dict[str, str]:
    """Frame id -> scene."""
    data = learner_settings("bts", Choice(config=job.config)).data
    return {frame.id: frame.scene for frame in training_frames(open_source(data), data).fit}


def depth_by_hand(model: TrainedLearner, source: FrameSource, frames: Sequence[Frame]) -> np.ndarray:
    """Depth [n h w] of a batch of frames by one model, beside everything that caches."""
    images = torch.stack([torch.from_numpy(source.read_image(frame)).permute(2, 0, 1) / 255 for frame in frames])
    with torch.inference_mode():
        network = ready_for(load_learner(model), "cpu")
        return predict_depth(network, images, model.network_settings)[:, 0].numpy()


def swap_folds(path: Path) -> None:
    folds = read_folds(path)
    without_seals(path.parent)
    path.write_text(Folds(2, {scene: 1 - fold for scene, fold in folds.fold_of.items()}).text, encoding="utf-8")


@pytest.mark.slow
def test_job_lines_run_as_they_are_printed_in_any_order_that_their_comments_allow(job: Job, tmp_path: Path):
    cache, mine = tmp_path / "a cache", ("bts", "ldrn")
    given = ("--config", job.config, "--cache-dir", cache)
    lines = done("base", "jobs", *mine, "--folds", 2, "--seeds", "0,1", *given).out.splitlines()
    assert lines[0].startswith("# memory: about 1.5 GB for a training at 96x128")
    assert lines[1] == f"# --cache-dir stands in every line: {cache}"
    lines = lines[2:]
    comments = [index for index, line in enumerate(lines) if line.startswith("#")]
    assert comments == [0, 13, len(lines) - 1]
    assert lines[0] == "# 12 trainings, independent of each other"
    assert lines[13] == "# 8 passes of caching, independent of each other; they wait for all trainings"
    assert lines[-1].startswith("# then: python -m ensemble.meta fit ")
    trainings, passes = lines[1:13], lines[14:-1]
    assert len({*trainings, *passes}) == 20

    read_by: dict[str, Counter[str]] = {}
    for line in (trainings[0], *reversed(trainings[1:])):  # the first one decides the folds, and looks at all frames
        with frames_read() as found:
            done(*words_of(line))
        read_by[line] = found
    runs = {path.parent.relative_to(cache / "runs/tiny") for path in (cache / "runs/tiny").rglob("result.json")}
    models = (FULL, "fold-0", "fold-1", "seed-1", "seed-1-fold-0", "seed-1-fold-1")
    assert runs == {Path(learner, model) for learner in mine for model in models}
    weights = {fingerprint_of(cache / "runs/tiny" / run / "best.safetensors") for run in runs}
    assert len(weights) == 12, "no model is that of another"

    folds, scene_of = read_folds(cache / "runs/tiny/folds.json"), frames_to_fit(job)
    for line, found in read_by.items():
        words = words_of(line)
        fold = int(words[words.index("--fold") + 1]) if "--fold" in words else None
        fitted = {frame for frame in found if frame in scene_of}
        assert fitted == {frame for frame, scene in scene_of.items() if fold is None or folds.fold_of[scene] != fold}
        assert not any(frame.startswith("hall") for frame in found), "no training reads a test frame"

    for line in reversed(passes):
        done(*words_of(line))
    stores = {path.parent.relative_to(cache / "predictions/tiny/bts") for path in cache.rglob("bts/*/*/*.h5")}
    full = {f"{role}/{model}" for role in ("validation", "test") for model in (FULL, "seed-1")}
    out_of_fold = {f"oof/{seed}fold-{fold}" for seed in ("", "seed-1-") for fold in (0, 1)}
    assert stores == {Path(store) for store in full | out_of_fold}
    with frames_read() as found:
        answer = done(*words_of(lines[-1].removeprefix("# then: ")))
    assert "caching" not in answer.err, "everything that the fit reads is there"
    assert not any(frame.startswith("hall") for frame in found)
    assert (cache / "runs/tiny/meta-rgb+d-bts-ldrn/result.json").is_file()


def test_jobs_name_folds_once_and_train_the_seeds_that_the_table_wants(job: Job):
    given = ("--folds", 2, "--set", "data.folds=2", "--config", job.config)
    lines = done("base", "jobs", *given, STACKDEPTH_CACHE="else where").out.splitlines()
    commands = [line for line in lines if not line.startswith("#")]
    assert {line.count("data.folds") for line in commands if " train " in line} == {1}
    for learner in ("adabins", "bts", "ldrn"):  # which is best is known when all are scored
        trained = [seed for seed in range(4) if f"train {learner} --seeds {seed} " in "\n".join(commands)]
        assert trained == [1, 2]
    place = Path("else where").absolute()
    assert lines[1] == f"# all lines write below {place}: the same STACKDEPTH_CACHE, or working folder, everywhere"
    lines = done("base", "jobs", *given, "--seeds", "0").out.splitlines()
    assert not any("--seeds" in line for line in lines), "the full fit has the settings' own seed already"


def test_there_are_no_jobs_of_folds_that_there_are_too_few_scenes_for(job: Job):
    lines = done("base", "jobs", "bts", "--folds", 40, "--config", job.config).out.splitlines()
    scenes = len(set(frames_to_fit(job).values()))
    assert scenes < 40
    assert sum(" train " in line and " --fold " in line for line in lines) == scenes
    assert lines[-1] == "# a stack wants a second learner"


def test_job_lines_name_the_experiment_however_it_was_given(job: Job, tmp_path: Path):
    for given in (("--experiment", "one"), ("--set", "experiment=one"), ("--set", "experiment='one'")):
        lines = done("base", "jobs", "bts", "ldrn", "--config", job.config, *given).out.splitlines()
        for line in (line for line in lines if " cache " in line):
            assert line.endswith(" --experiment one"), line


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--fold", 2), "--fold 2: expected 0 to 1"),
        (("--seeds", "0,1", "--fold", 2), "--fold 2: expected 0 to 1"),
        (("--seeds", "1,1"), "expected different whole numbers"),
    ],
)
def test_contradictions_are_answered_before_anything_is_read(job: Job, tmp_path: Path, words: tuple, told: str):
    answer = call("base", "train", "bts", "--config", job.config, "--cache-dir", tmp_path / "cache", *words)
    assert answer.status == 2
    assert told in answer.err
    assert not (tmp_path / "cache").exists()


def test_seeds_of_the_cache_are_those_of_training(job: Job, tmp_path: Path):
    cache = tmp_path / "cache"
    given = ("--config", job.config, "--cache-dir", cache)
    done("base", "train", "bts", "--seeds", "0,1", *given)
    assert {path.parent.name for path in (cache / "runs/tiny/bts").glob("*/result.json")} == {FULL, "seed-1"}
    done("base", "cache", "bts", "--role", "validation", "--seeds", "0,1", *given)
    assert {path.parent.name for path in cache.rglob("bts/validation/*/*.h5")} == {FULL, "seed-1"}
    answer = call("base", "cache", "bts", "--role", "validation", "--seeds", "2", *given)
    assert answer.status == 1
    assert answer.advised[:5] == ["base", "train", "bts", "--seeds", "2"]
    done(*answer.advised)
    done("base", "cache", "bts", "--role", "validation", "--seeds", "2", *given)


def test_every_seed_has_models_of_folds_and_their_rows(job: Job, tmp_path: Path):
    """Rows of a seed are by its own models, which never saw the frame; those of the experiment's seed stay."""
    cache = job.copy_to(tmp_path)
    given = ("--config", job.config, "--cache-dir", cache)
    kept = contents(cache / "runs/tiny/bts")
    said = done("base", "train", "bts", "--folds", 2, "--seeds", "0,1", *given).err.splitlines()[-1]
    assert {name: content for name, content in contents(cache / "runs/tiny/bts").items() if name in kept} == kept
    follows = words_of(said.removeprefix("next: "))
    assert follows[:7] == ["base", "cache", "bts", "--role", "oof", "--seeds", "0,1"]
    done(*follows)
    outputs = Outputs(cache)
    model = trained_learner(outputs, "tiny", "bts", "seed-1-fold-1")
    assert (model.settings.fold, model.network_settings.seed) == (1, 1)
    experiment = open_experiment(outputs, model.settings)
    frames = experiment.division.of_role("oof", 1)
    assert {frame.scene for frame in frames}.isdisjoint(frame.scene for frame in experiment.division.fitted_by(1).fit)
    rows = predict.open_predictions(model, experiment, frames, "oof")
    by_hand = depth_by_hand(model, experiment.source, frames[:1])[0]
    assert np.abs(rows.read(frames[0].id) - by_hand).max() < 2 * QUANTUM


def test_a_missing_model_of_a_seed_and_a_fold_is_named_with_the_command_that_trains_it(job: Job, tmp_path: Path):
    cache = job.copy_to(tmp_path)
    given = ("--config", job.config, "--cache-dir", cache)
    answer = call("base", "cache", "bts", "--role", "oof", "--seeds", "0,7", *given)
    assert answer.status == 1
    assert answer.advised[:7] == ["base", "train", "bts", "--fold", "0", "--seeds", "7"]
    done(*answer.advised)
    run = Outputs(cache).learner_run("tiny", "bts", "seed-7-fold-0")
    assert json.loads(run.settings.read_text())["seed"] == 7
    again = call("base", "cache", "bts", "--role", "oof", "--seeds", "7", *given)
    assert again.advised[:7] == ["base", "train", "bts", "--fold", "1", "--seeds", "7"]
    store = cache / "predictions/tiny/bts/oof/seed-7-fold-0"
    assert list(store.glob("*.h5"))
    (run.best).write_bytes(b"damaged")
    repaired = call("base", "verify", "--repair", "--cache-dir", cache).out.splitlines()
    assert any("train bts" in line and "seed-7-fold-0" in line for line in repaired)


def test_the_seed_of_the_full_fit_is_that_which_it_was_trained_from(job: Job, tmp_path: Path):
    given = ("--config", job.config, "--cache-dir", tmp_path)
    done("base", "train", "bts", *given, "--set", "seed=5")
    done("base", "cache", "bts", "--role", "validation", "--seeds", "5", *given)
    answer = call("base", "cache", "bts", "--role", "validation", "--seeds", "0", *given)
    done(*answer.advised)
    done("base", "cache", "bts", "--role", "validation", "--seeds", "0", *given)
    assert {path.parent.name for path in tmp_path.rglob("bts/validation/*/*.h5")} == {FULL, "seed-0"}


@pytest.mark.parametrize("role", ["oof", "validation"])
def test_a_fold_that_there_is_not_is_refused_before_a_training_of_it_is_advised(job: Job, role: str):
    answer = call("base", "cache", "bts", "--role", role, "--fold", 7, "--config", job.config, "--cache-dir", job.cache)
    assert answer.status == 2
    assert f"--fold 7: expected 0 to 1, the folds that {job.cache / 'runs/tiny/folds.json'} holds" in answer.err


def test_before_any_training_there_are_no_folds_and_the_advised_command_decides_them(job: Job, tmp_path: Path):
    words = ("base", "cache", "bts", "--role", "oof", "--config", job.config, "--cache-dir", tmp_path)
    answer = call(*words)
    assert answer.status == 1
    assert f"{tmp_path / 'runs/tiny/folds.json'}: no folds were decided yet" in answer.err
    assert "remove" not in answer.err
    assert answer.advised[:5] == ["base", "train", "bts", "--folds", "2"]
    done(*answer.advised)
    done(*words)


def test_training_all_folds_trains_what_is_missing(job: Job, tmp_path: Path):
    cache = job.copy_to(tmp_path)
    shutil.rmtree(cache / "runs/tiny/bts/fold-1")
    before = contents(cache / "runs/tiny/bts")
    given = ("--config", job.config, "--cache-dir", cache)
    answer = done("base", "train", "bts", "--folds", 2, *given)
    assert answer.err.count("complete already") == 2
    after = contents(cache / "runs/tiny/bts")
    assert {name: after[name] for name in before} == before
    mended, first = (cache / "runs/tiny/bts/fold-1", job.cache / "runs/tiny/bts/fold-1")
    assert (mended / "best.safetensors").read_bytes() == (first / "best.safetensors").read_bytes()


def test_every_run_and_every_cached_row_carries_the_fingerprint_of_the_folds(job: Job):
    expected = fingerprint_of(job.cache / "runs/tiny/folds.json")
    sources = {
        path: json.loads(path.read_text(encoding="utf-8"))["folds"]
        for name in (*LEARNER_NAMES, "meta-d", "meta-rgb", "meta-rgb+d")
        for path in (job.cache / "runs/tiny" / name).rglob("sources.json")
    }
    assert len(sources) == 3 * 3 + 3
    assert set(sources.values()) == {expected}
    shards = list((job.cache / "predictions/tiny").rglob("*.h5"))
    assert len(shards) >= 3 * 5
    for path in shards:
        with h5py.File(path) as file:
            found = file.attrs["folds"]
        assert (found.decode() if isinstance(found, bytes) else found) == expected, path


@pytest.mark.parametrize("learner", LEARNER_NAMES)
def test_every_training_frame_has_one_row_by_the_model_that_never_saw_its_scene(job: Job, learner: str):
    where, scene_of = Outputs(job.cache), frames_to_fit(job)
    folds = read_folds(where.folds("tiny"))
    rows: Counter[str] = Counter()
    for fold in range(folds.count):
        model = trained_learner(where, "tiny", learner, fold_model(fold))
        assert model.settings.fold == fold
        for path in where.predictions("tiny", learner, "oof", fold_model(fold)).glob("*.h5"):
            with h5py.File(path) as file:
                found = {key: _plain(value) for key, value in file.attrs.items()}
                frames = [_plain(name) for name in file["frame"][:]]
            assert (found["role"], found["fold"], found["weights"]) == ("oof", fold, model.weights)
            assert {folds.fold_of[scene_of[frame]] for frame in frames} == {fold}
            rows.update(frames)
    assert rows == dict.fromkeys(scene_of, 1)


def _plain(value):
    return value.decode() if isinstance(value, bytes) else value


def test_a_row_is_the_depth_of_the_model_of_its_fold_and_of_no_other(job: Job):
    where = Outputs(job.cache)
    learner = level_zero(where, "tiny", "ldrn", rows="oof", level0="full")
    data = learner.tested[0].settings.data
    source = open_source(data)
    division = division_of(where, "tiny", source, data)
    experiment = Experiment(where, "tiny", source, division)
    rows = open_rows(learner, experiment, division.frames.fit, "oof")
    for fold in (0, 1):
        frames = division.of_role("oof", fold)
        stored = np.stack([rows.read(frame.id) for frame in frames])
        distance = {}
        for model in learner.models:
            distance[model.model] = float(np.abs(depth_by_hand(model, source, frames) - stored).max())
        assert distance.pop(fold_model(fold)) <= QUANTUM
        assert min(distance.values()) > 10 * QUANTUM, distance


def _fit_that_caches_nothing(job: Job, cache: Path, *words: object):
    """A fit as one of several processes, which read what is there and write no rows."""
    with mock.patch.object(stacking_fit, "PROCESSES", 2):
        return call("meta", "fit", "--inputs", "d", "--name", "x", "--config", job.config, "--cache-dir", cache, *words)


def test_a_network_that_gives_nan_is_named_with_the_command_that_trains_it(job: Job, tmp_path: Path):
    cache = job.copy_to(tmp_path)
    shutil.rmtree(cache / "predictions/tiny/ldrn/validation")

    def broken(network: Any, image: torch.Tensor, settings: Any) -> torch.Tensor:
        depth = predict_depth(network, image, settings)
        depth[-1, 0, 3, 4] = float("nan")
        return depth

    with mock.patch.object(predict, "predict_depth", broken):
        answer = call("base", "cache", "ldrn", "--role", "validation", "--config", job.config, "--cache-dir", cache)
    assert answer.status == 1
    assert re.search(r"ldrn/full: the depth of frame room_\S+ is NaN or infinite", answer.err)
    run = str(cache / "runs/tiny/ldrn/full")
    assert answer.advised == ["base", "train", "ldrn", "--resume", run, "--fresh", "--cache-dir", str(cache)]


def test_missing_rows_stop_a_fit_with_the_command_that_fills_them(job: Job, tmp_path: Path):
    cache = job.copy_to(tmp_path)
    store = cache / "predictions/tiny/ldrn/oof/fold-1"
    kept = contents(store)
    for shard in store.glob("*.h5"):
        shard.unlink()
    answer = _fit_that_caches_nothing(job, cache)
    assert answer.status == 1
    missing = len(read_index_frames(job.cache / "predictions/tiny/ldrn/oof/fold-1"))
    assert f"{missing} of {missing} oof frames have no prediction (first: room_" in answer.err
    words = ["base", "cache", "ldrn", "--role", "oof", "--fold", "1", "--experiment", "tiny", "--cache-dir", str(cache)]
    assert answer.advised == words
    done(*answer.advised)
    assert {name: data for name, data in contents(store).items() if name.endswith(".h5")} == {
        name: data for name, data in kept.items() if name.endswith(".h5")
    }


def read_index_frames(store: Path) -> list[str]:
    names: list[str] = []
    for path in store.glob("*.h5"):
        with h5py.File(path) as file:
            names += [_plain(name) for name in file["frame"][:]]
    return names


def test_doubled_rows_stop_a_fit_with_the_command_that_writes_them_anew(job: Job, tmp_path: Path):
    cache = job.copy_to(tmp_path)
    store = cache / "predictions/tiny/bts/oof/fold-0"
    shutil.copy(store / "shard-00000.h5", store / "shard-00007.h5")
    for answer in (
        _fit_that_caches_nothing(job, cache),
        call("meta", "fit", "--inputs", "d", "--name", "y", "--config", job.config, "--cache-dir", cache),
    ):
        assert answer.status == 1
        assert f"{store}/shard-00007.h5" in answer.err
        assert "doubled" in answer.err
        assert answer.advised[:6] == ["base", "cache", "bts", "--role", "oof", "--fold"]
        assert answer.advised[-1] == "--rebuild"
    done(*answer.advised)
    assert len(list(store.glob("*.h5"))) == 1


@pytest.mark.parametrize(
    ("origin", "told"),
    [
        ("fit/full", "role changed: stored fit, expected oof; fold changed: stored -1, expected 0; weights changed"),
        ("oof/fold-1", "fold changed: stored 1, expected 0; weights changed"),
    ],
)
def test_the_rows_of_another_model_in_the_place_of_a_fold_are_refused(job: Job, tmp_path: Path, origin: str, told: str):
    cache = job.copy_to(tmp_path)
    place = cache / "predictions/tiny/bts/oof/fold-0"
    shutil.rmtree(place)
    shutil.copytree(cache / "predictions/tiny/bts" / origin, place)
    answer = call("meta", "fit", "--inputs", "d", "--name", "other", "--config", job.config, "--cache-dir", cache)
    assert answer.status == 1
    assert f"stale: {told}" in answer.err
    assert answer.advised[-1] == "--rebuild"
    done(*answer.advised)
    assert (
        contents(place)["shard-00000.h5"] == (job.cache / "predictions/tiny/bts/oof/fold-0/shard-00000.h5").read_bytes()
    )


def test_rows_of_the_full_fit_under_the_name_of_a_fold_are_refused_by_their_weights(job: Job, tmp_path: Path):
    where = Outputs(job.copy_to(tmp_path))
    learner = level_zero(where, "tiny", "bts", rows="oof", level0="full")
    full, fold = learner.tested[0], learner.folds[0]
    experiment = open_experiment(where, full.settings)
    division = experiment.division
    frames = division.of_role("oof", 0)
    identity = replace(identity_of(fold, experiment, frames, "oof"), weights=full.weights)
    folder, data = where.predictions("tiny", "bts", "oof", "fold-0"), full.settings.data
    names = [frame.id for frame in frames]
    with PredictionWriter(folder, identity, names, size=data.size, max_depth=10.0, rebuild=True, mend="") as writer:
        for name in names:
            writer.append(name, np.full(data.size, 2.0, dtype=np.float32))
    with pytest.raises(ValueError, match=f"weights changed: stored {full.weights}, expected {fold.weights}"):
        open_rows(learner, experiment, division.frames.fit, "oof")


def test_a_full_fit_does_not_pass_for_the_model_of_a_fold(job: Job, tmp_path: Path):
    cache = job.copy_to(tmp_path)
    given = ("--config", job.config, "--cache-dir", cache)
    run = cache / "runs/tiny/bts/fold-0"
    shutil.rmtree(run)
    shutil.copytree(cache / "runs/tiny/bts/full", run)
    for words in (("base", "cache", "bts", "--role", "oof"), ("meta", "fit", "--inputs", "d", "--name", "other")):
        answer = call(*words, *given)
        assert answer.status == 1
        assert "expected the settings of fold-0, found those of a full fit" in answer.err
    settings = json.loads((run / "settings.json").read_text(encoding="utf-8"))
    without_seals(run)
    (run / "settings.json").write_text(json.dumps({**settings, "fold": 0}), encoding="utf-8")
    for words in (("base", "cache", "bts", "--role", "oof"), ("meta", "fit", "--inputs", "d", "--name", "other")):
        answer = call(*words, *given)
        assert answer.status == 1
        assert "bts was trained on other frames than there are now (frames: " in answer.err


def test_models_of_other_folds_are_refused_everywhere(job: Job, tmp_path: Path):
    cache = job.copy_to(tmp_path)
    swap_folds(cache / "runs/tiny/folds.json")
    rows = contents(cache / "predictions")
    given = ("--config", job.config, "--cache-dir", cache)
    for words, told in {
        ("base", "cache", "bts", "--role", "oof"): "bts was trained on other frames than there are now (folds: ",
        ("base", "cache", "bts", "--role", "validation"): "(folds: ",
        ("base", "train", "bts", "--fold", "0"): "this run was begun with something else (folds: ",
        ("meta", "fit", "--inputs", "d"): "this run was begun with something else (folds: ",
        ("meta", "fit", "--inputs", "d", "--name", "other"): "was trained on other frames than there are now (folds: ",
    }.items():
        answer = call(*words, *given)
        assert answer.status == 1, words
        assert told in answer.err, words
    answer = call("meta", "evaluate", "meta-d", "--cache-dir", cache)
    assert answer.status == 1
    assert "folds: " in answer.err
    assert contents(cache / "predictions") == rows


def test_a_fit_reads_out_of_fold_rows_unless_told_otherwise_and_says_which(job: Job, tmp_path: Path):
    cache = job.copy_to(tmp_path)
    given = ("--config", job.config, "--cache-dir", cache)
    plain = done("meta", "fit", "--inputs", "d", "--name", "plain", *given)
    inside = done("meta", "fit", "--inputs", "d", "--rows", "fit", *given)
    assert "(rows: oof, out-of-fold)" in " ".join(plain.err.split())
    assert "in-sample" not in plain.err
    said = " ".join(inside.err.split())
    assert "(rows: fit, in-sample: the learners were trained on these frames)" in said
    runs = cache / "runs/tiny"
    rests_on = {name: set(_json(runs / name / "sources.json")) for name in ("plain", "meta-d-fit")}
    learners = {f"weights of {name}/{FULL}" for name in LEARNER_NAMES}
    assert rests_on["meta-d-fit"] == {"folds", *learners}
    of_folds = {f"weights of {name}/fold-{fold}" for name in LEARNER_NAMES for fold in (0, 1)}
    assert rests_on["plain"] == {"folds", *learners, *of_folds}
    losses = {name: _first_loss(runs / name) for name in ("plain", "meta-d-fit", "meta-d")}
    assert losses["plain"] == losses["meta-d"] != losses["meta-d-fit"], "other rows, another loss at the same step"
    stack = load_stack(Outputs(cache).find_run("meta-d-fit"), Outputs(cache))
    assert title_of(stack.settings, stack.name) == "stack d, in-sample rows"
    answer = call("meta", "fit", "--inputs", "d", "--rows", "fit", "--level0", "folds", *given)
    assert answer.status == 2
    assert "set rows to oof" in answer.err


def _json(path: Path):
    return json.loads(path.read_text(encoding="utf-8"))


def _first_loss(run: Path) -> float:
    return _json_lines(run / "log.jsonl")[0]["train/loss"]


def _json_lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_folds_answer_with_their_mean_and_repeats_share_a_row(job: Job, tmp_path: Path):
    cache = job.copy_to(tmp_path)
    given = ("--config", job.config, "--cache-dir", cache)
    done("meta", "fit", "--inputs", "d", "--level0", "folds", "--seeds", "0,1", *given)
    table = json.loads(done("meta", "evaluate", "meta-d-folds", "--json", "--cache-dir", cache).out)
    rows = {row["name"]: row for row in table["rows"]}
    assert [name for name in rows if "folds" in name] == ["meta-d-folds"], "its learners are those of the table"

    where = Outputs(cache)
    stack = load_stack(where.find_run("meta-d-folds"), where)
    data = stack.settings.data
    source = open_source(data)
    experiment, frames = open_experiment(where, stack.settings), scored_frames(source, data)
    means, errors = {}, []
    for learner in stack.learners:
        assert [model.model for model in learner.tested] == ["fold-0", "fold-1"]
        read = open_rows(learner, experiment, frames, "test")
        means[learner.name] = {frame.id: read.read(frame.id) for frame in frames}
        by_hand = [depth_by_hand(model, source, frames) for model in learner.tested]
        rows_of_means = np.stack([means[learner.name][frame.id] for frame in frames])
        assert np.abs(rows_of_means - np.mean(by_hand, axis=0)).max() <= QUANTUM
        assert np.abs(by_hand[0] - by_hand[1]).max() > 10 * QUANTUM
    for frame in frames:
        predicted = np.mean([means[name][frame.id] for name in LEARNER_NAMES], axis=0, dtype=np.float64)
        truth = source.read(frame).depth.astype(np.float64)
        errors.append(np.mean(np.abs(predicted - truth) / truth))
    assert rows["mean"]["scores"]["abs_rel"] == pytest.approx(np.mean(errors), rel=1e-5)

    row = rows["meta-d-folds"]
    assert (row["repeats"], row["note"]) == (2, "seeds 0, 1")
    with (cache / "runs/tiny/meta-d-folds/per_image.csv").open(newline="", encoding="utf-8") as file:
        lines = [line for line in csv.DictReader(file) if line["row"] == "meta-d-folds"]
    for metric in ("abs_rel", "rmse", "d1"):
        each = [np.mean([float(line[metric]) for line in lines if line["repeat"] == repeat]) for repeat in "01"]
        assert row["scores"][metric] == pytest.approx(np.mean(each), rel=1e-5)
        assert row["deviations"][metric] == pytest.approx(np.std(each, ddof=1), rel=1e-3, abs=1e-9)
    assert row["deviations"]["abs_rel"] > 0
    assert {line["repeat"] for line in lines} == {"0", "1"}
