"""Learners that differ inside one experiment: own names, encoders and sizes, from training to a saved stack."""

import json
import shutil
from collections import Counter
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import torch
import yaml
from command_lines import TINY, Job, call, done
from PIL import Image

import ensemble
from ensemble.commands import completion
from ensemble.data.division import open_experiment
from ensemble.data.held_out import test_frames as frames_to_score
from ensemble.data.rooms.source import RoomsSource
from ensemble.data.transforms import resize_image
from ensemble.evaluation.networks import score_networks
from ensemble.metrics.protocols import enlarged
from ensemble.predictions.learners import load_learner, trained_learner
from ensemble.predictions.level_zero import open_rows
from ensemble.predictions.predict import open_predictions
from ensemble.predictions.store.verify import filling
from ensemble.runs.paths import Outputs
from ensemble.settings.layers import Choice, learner_settings, named_learners
from ensemble.settings.names import known_learners
from ensemble.settings.schema import LearnerSettings
from ensemble.settings.trees import SettingsError
from ensemble.stacking.candidates import candidates, costs_of
from ensemble.stacking.cost import Costs
from ensemble.stacking.stack import load_stack, stacked
from ensemble.training.cost import profile_rows
from ensemble.training.layout import ready_for
from ensemble.training.networks import build_learner, predict_depth

pytestmark = pytest.mark.slow

OWN_SIZE = (64, 96)
NARROW = "{adaptor: 16, context: 8, widths: [16, 12, 8, 8, 8]}"
LARGE = f"""\
  ldrn_large:
    architecture: ldrn
    size: [64, 96]
    encoder: {{name: lcnet_050, weights: none}}
    network: {NARROW}
meta:
"""
LEARNERS = "ldrn,ldrn_large"
QUANTUM = 10 / 65535


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The miniature with a second LDRN of another encoder and size.

    Rows are predicted one by one, as a saved stack is asked here: batches differ in bits that hardly trained networks
    make much of.
    """
    file = tmp_path_factory.mktemp("own") / "own.yaml"
    text = TINY.replace("experiment: tiny", "experiment: own").replace("crop: none", "crop: none, batch_size: 1")
    file.write_text(text.replace("meta:\n", LARGE, 1))
    return file


@pytest.fixture(scope="module")
def trained(config: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str], Counter[str]]:
    """The folder of all stages, what every command said last, and how often images were read for caching."""
    cache = tmp_path_factory.mktemp("cache")
    given, said = ("--config", config, "--cache-dir", cache), dict[str, str]()
    for name in LEARNERS.split(","):
        said[name] = done("base", "train", name, "--folds", 2, *given).err.splitlines()[-1]
    read_image, read = RoomsSource.read_image, Counter[str]()

    def counted(source, frame):
        read[frame.id] += 1
        return read_image(source, frame)

    with mock.patch.object(RoomsSource, "read_image", counted):
        said["cache"] = done("base", "cache", *LEARNERS.split(","), "--role", "test", *given).err.splitlines()[-1]
    fit = ("--inputs", "rgb+d", "--learners", LEARNERS, "--name", "both")
    said["fit"] = done("meta", "fit", *fit, *given).err.splitlines()[-1]
    done("meta", "fit", "--inputs", "d", "--learners", LEARNERS, "--level0", "folds", "--name", "folds", *given)
    done("meta", "evaluate", "both", "--cache-dir", cache)
    done("meta", "evaluate", "folds", "--cache-dir", cache)
    return cache, said, read


def test_each_learner_sees_frames_at_its_own_size_and_stacks_see_all_at_one(trained):
    cache, _, read = trained
    where = Outputs(cache)
    stack = load_stack(where.find_run("both"), where)
    experiment = open_experiment(where, stack.settings)
    frames = frames_to_score(experiment.source, stack.settings.data)
    assert set(read.values()) == {1}
    assert len(read) == len(frames)
    for learner, size in zip(stack.learners, ((48, 64), OWN_SIZE), strict=True):
        model = learner.tested[0]
        rows, shared = (
            open_predictions(model, experiment, frames, "test"),
            open_rows(learner, experiment, frames, "test"),
        )
        for frame in frames:
            image = resize_image(experiment.source.read_image(frame), size)[None]
            with torch.inference_mode():
                depth = predict_depth(ready_for(load_learner(model), "cpu"), image, model.network_settings)
            assert rows.read(frame.id).shape == size
            np.testing.assert_allclose(rows.read(frame.id), depth[0, 0], atol=QUANTUM, rtol=1e-4)
            np.testing.assert_allclose(shared.read(frame.id), enlarged(depth, (48, 64))[0, 0], atol=QUANTUM, rtol=1e-4)
    for role in ("oof", "validation"):
        part = experiment.division.frames.fit if role == "oof" else experiment.division.frames.validation
        oof = done("base", "cache", *LEARNERS.split(","), "--role", role, "--cache-dir", cache, "--experiment", "own")
        assert "is there already" in oof.err
        assert open_rows(stack.learners[1], experiment, part, role).read(part[0].id).shape == (48, 64)


@pytest.mark.parametrize("name", ["both", "folds"])
def test_the_saved_stack_says_what_the_run_says(trained, name: str, tmp_path: Path):
    cache, _, _ = trained
    where = Outputs(cache)
    stack = load_stack(where.find_run(name), where)
    experiment = open_experiment(where, stack.settings)
    frames = frames_to_score(experiment.source, stack.settings.data)
    done("meta", "save", name, tmp_path / "own.stack", "--cache-dir", cache)
    told = done("meta", "save", name, tmp_path / "half", "--half", "--cache-dir", cache).err
    saved, run = (
        ensemble.load(place, device="cpu", cache_dir=cache) for place in (tmp_path / "own.stack", f"own/{name}")
    )
    rows = [open_rows(learner, experiment, frames, "test") for learner in stack.learners]
    for frame in frames:
        image = experiment.source.read_image(frame)
        found, again = saved(image), run(image)
        np.testing.assert_array_equal(found.depth, again.depth)
        cached = np.stack([own.read(frame.id) for own in rows])
        np.testing.assert_allclose(np.stack([*found.learners.values()]), cached, atol=QUANTUM, rtol=1e-4)
        with torch.inference_mode():
            expected = stacked(stack, resize_image(image, (48, 64))[None], torch.from_numpy(cached)[None])
        np.testing.assert_allclose(found.depth, expected.depth[0, 0], rtol=1e-4)
        fused = saved.fuse({"ldrn": found.learners["ldrn"]}, image)
        np.testing.assert_allclose(fused.depth, found.depth, rtol=1e-5)
    scores = json.loads((cache / "runs" / "own" / name / "scores.json").read_text())
    rel = next(row["scores"]["abs_rel"] for row in scores["rows"] if row["name"] == name)
    assert score_networks({"own": saved.network}, stack.settings, where)["own"] == pytest.approx(rel, rel=1e-4)
    assert f"{rel:.4f} with those of 32" in told
    assert "ldrn_large at 64x96" in (tmp_path / "half" / "README.md").read_text()


def test_photographs_of_other_shapes_and_a_learner_alone(trained, tmp_path: Path):
    cache, _, _ = trained
    image = np.random.default_rng(0).integers(0, 256, (70, 150, 3), dtype=np.uint8)
    Image.fromarray(image).save(tmp_path / "photo.png")
    given = ("--cache-dir", cache)
    done("base", "save", "ldrn_large", tmp_path / "large.stack", "--experiment", "own", *given)
    done("base", "predict", tmp_path / "large.stack", tmp_path / "photo.png", "--out", tmp_path / "out", *given)
    alone, both = ensemble.load(tmp_path / "large.stack", device="cpu"), ensemble.load("own/both", cache_dir=cache)
    found = both(image)
    assert found.depth.shape == (70, 150)
    np.testing.assert_allclose(alone(image).depth, found.learners["ldrn_large"], rtol=1e-5)
    model = trained_learner(Outputs(cache), "own", "ldrn_large")
    height, width = both.keeping_shape(70, 150)
    seen = resize_image(image, (round(height * 64 / 48), round(width * 96 / 64)))[None]
    padding = (0, -seen.shape[-1] % 32, 0, -seen.shape[-2] % 32)
    with torch.inference_mode():
        whole = torch.nn.functional.pad(seen, padding, mode="replicate")
        depth = predict_depth(ready_for(load_learner(model), "cpu"), whole, model.network_settings)
    depth = enlarged(depth[..., : seen.shape[-2], : seen.shape[-1]], (height, width))
    np.testing.assert_allclose(found.learners["ldrn_large"], enlarged(depth, (70, 150))[0, 0], rtol=1e-4)


@pytest.mark.slow
def test_every_command_takes_them(trained, config: Path, tmp_path: Path):
    cache, said, _ = trained
    given, own = ("--config", config, "--cache-dir", cache), ("--experiment", "own", "--cache-dir", cache)
    assert "base train adabins" in said["ldrn"]
    assert f"--learners {LEARNERS}" in said["cache"]
    scored = json.loads(done("base", "evaluate", "ldrn_large", *own, "--json").out)
    stack = json.loads((cache / "runs" / "own" / "both" / "scores.json").read_text())
    titles = {row["name"]: row["title"] for row in stack["rows"]}
    assert (titles["ldrn"], titles["ldrn_large"]) == ("LDRN", "ldrn_large")
    alone, beside = (
        next(row["scores"] for row in each["rows"] if row["name"] == "ldrn_large") for each in (scored, stack)
    )
    assert alone == pytest.approx(beside)
    done("report", "own/both", "--cache-dir", cache)
    found = json.loads(done("meta", "compare-subsets", "--learners", LEARNERS, *own, "--json").out)
    assert LEARNERS.split(",") in [each["learners"] for each in found["subsets"]]
    judged = done(
        "meta", "cross-validate", "--inputs", "d", "--learners", LEARNERS, *given, "--name", "cross", "--json"
    )
    assert json.loads(judged.out)
    lines = done("base", "jobs", *given).out.splitlines()
    assert sum(" train ldrn_large " in line for line in lines) == 3 + 3  # full, folds, seeds of equal cost
    assert done("base", "jobs", "ldrn", "ldrn_large", *given).out.count("adabins") == 0
    measured = ("base", "profile", "--config", config, "--repeats", 1)
    profiled = json.loads(done(*measured, "--size", "48x64", "--json").out)
    assert {"ldrn", "ldrn_large"} <= {row["learner"] for row in profiled}
    assert "64x96" in done(*measured, "ldrn_large").out
    done("base", "verify", "--cache-dir", cache)
    assert "ldrn_large" in done("base", "runs", "--cache-dir", cache).out
    resumed = done("base", "train", "ldrn_large", "--resume", "own/ldrn_large", "--seeds", 5, "--cache-dir", cache)
    assert "own/ldrn_large/seed-5: best weights" in resumed.err
    context = mock.Mock(params={"cache_dir": cache})
    assert completion.learners(context, "ldrn,") == [f"ldrn,{name}" for name in (*known_learners(), "ldrn_large")]
    context = mock.Mock(params={"cache_dir": tmp_path, "config": config})
    assert completion.learners(context, "") == [*known_learners(), "ldrn_large"]
    store = cache / "predictions" / "own" / "ldrn_large" / "test" / "full"
    assert "base cache ldrn_large --role test" in filling(Outputs(cache), store)


def test_what_is_missing_is_told_with_the_command_that_trains_it(config: Path, tmp_path: Path):
    given = ("--config", config, "--cache-dir", tmp_path)
    for answer in (
        call("base", "evaluate", "ldrn_large", *given),
        call("base", "cache", "ldrn_large", "--role", "validation", *given),
    ):
        assert answer.status == 1
        assert answer.advised[:3] == ["base", "train", "ldrn_large"]
        assert str(config) in answer.advised
    answer = call("base", "evaluate", "ldrn_larg", *given)
    assert answer.status == 2
    assert "did you mean 'ldrn_large'" in answer.err
    answer = call("base", "import", "ldrn_large", tmp_path, "--role", "oof", *given)
    assert answer.status == 2
    assert f"not the name of a learner of ours ({', '.join(known_learners())}, ldrn_large)" in answer.err


def test_what_is_damaged_is_mended_by_training_not_by_an_import(trained, tmp_path: Path):
    cache = Path(shutil.copytree(trained[0], tmp_path / "cache"))
    folder = cache / "runs" / "own" / "ldrn_large" / "full"
    (folder / "settings.json").write_text("{}")
    answer = call("base", "verify", "--repair", "--cache-dir", cache)
    assert answer.status == 1
    lines = answer.out.splitlines()
    assert f"rm -r {folder}" in lines
    assert any(line.startswith("python -m ensemble.base train ldrn_large --full --resume") for line in lines)
    assert not any(" import " in line for line in lines)


@pytest.mark.slow
def test_a_study_trains_and_weighs_them(trained, config: Path, tmp_path: Path):
    cache = Path(shutil.copytree(trained[0], tmp_path / "cache"))
    shutil.rmtree(cache / "runs" / "own" / "ldrn_large" / "full")
    asked = {
        "name": "small",
        "config": str(config),
        "set": {"learners": LEARNERS.split(",")},
        "questions": {"inputs": ["d", "rgb"]},
        "numbers": {"training.lr": {"low": 1e-3, "high": 1e-2, "log": True}},
        "objective": "abs_rel",
        "budget": {"steps": 2},
        "trials": 1,
        "prepare": [{}],
    }
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(asked))
    said = done("study", "run", tmp_path / "small.yaml", "--workers", 0, "--cache-dir", cache).err
    assert "ldrn_large: 6 frames to fit, 2 to validate, 64x96" in said
    assert "1/1" in done("study", "show", "small", "--cache-dir", cache).out
    asked = {
        **asked,
        "name": "joint",
        "questions": {"training": ["joint", "frozen"]},
        "set": {**asked["set"], "inputs": "d"},
    }
    (tmp_path / "joint.yaml").write_text(yaml.safe_dump(asked))
    answer = call("study", "run", tmp_path / "joint.yaml", "--workers", 0, "--cache-dir", cache)
    assert "ldrn_large sees frames at 64x96, the stack at 48x64" in answer.err


def test_learners_of_other_sizes_are_not_trained_together(trained, config: Path):
    cache, _, _ = trained
    for mode in ("finetune", "joint"):
        words = ("--inputs", "d", "--learners", LEARNERS, "--training", mode, "--config", config, "--cache-dir", cache)
        answer = call("meta", "fit", *words)
        assert answer.status == 2
        assert "ldrn_large sees frames at 64x96, the stack at 48x64" in answer.err
        assert not (cache / "runs" / "own" / f"meta-d-{mode}-ldrn-ldrn_large").exists()


@pytest.mark.slow
def test_costs_count_each_learner_at_its_own_size(trained, config: Path):
    cache, _, _ = trained
    where = Outputs(cache)
    stack = load_stack(where.find_run("both"), where)
    costs = Costs(where)
    costs.of(stack.settings)
    assert {profile.size for profile in costs._measured.values()} == {(48, 64), OWN_SIZE}
    rows = {
        row.learner: row.profile
        for name in ("ldrn", "ldrn_large")
        for row in profile_rows(name, None, device="cpu", repeats=1, config=config)
    }
    assert rows["ldrn_large"].size == OWN_SIZE
    assert rows["ldrn"].size == (480, 640)
    table = json.loads((cache / "runs" / "own" / "both" / "scores.json").read_text())
    counted = {row["name"]: row["mul_adds"] for row in table["rows"]}
    assert counted["ldrn_large"] == rows["ldrn_large"].mul_adds
    found = candidates(where, "own")
    composed = dict(zip((each.name for each in found), costs_of(found), strict=True))
    assert composed["ldrn_large"].giga_mul_adds == rows["ldrn_large"].mul_adds / 1e9
    assert composed["ldrn"].giga_mul_adds == counted["ldrn"] / 1e9


def test_settings_of_before_are_written_as_they_were(job: Job, config: Path):
    known = json.loads((job.cache / "runs" / "tiny" / "ldrn" / "full" / "settings.json").read_text())
    assert not {"architecture", "size"} & set(known)
    again = LearnerSettings.model_validate(known)
    assert (again.architecture, again.size, again.seen) == ("ldrn", None, again.data)
    assert again.model_dump(mode="json") == known
    own = learner_settings("ldrn_large", Choice(config=config))
    told = own.model_dump(mode="json")
    assert (told["architecture"], told["size"]) == ("ldrn", [64, 96])
    assert LearnerSettings.model_validate_json(own.model_dump_json()) == own
    assert own.network["rates"] == learner_settings("ldrn", Choice(config=config)).network["rates"]
    assert own.encoder.name == "lcnet_050"
    assert named_learners(Choice(config=config)) == (*known_learners(), "ldrn_large")


def test_a_crop_keeps_its_share_of_the_frame():
    settings = learner_settings("bts", Choice(assignments=("data.crop=[48, 64]", "size=[64, 64]")))
    assert settings.data.size == (96, 128)
    assert (settings.seen.size, settings.seen.crop) == ((64, 64), (32, 32))
    assert settings.data.crop == (48, 64)
    whole = learner_settings("bts", Choice(assignments=("size=[64, 64]", "data.crop=null")))
    assert whole.seen.crop is None


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ("  bts_: {network: {}}", "did you mean 'bts'.*learners.bts_.architecture"),
        ("  other: {architecture: lrdn}", "architecture of learner 'other': 'lrdn'; did you mean 'ldrn'"),
        ("  other: {architecture: 7}", "architecture of learner 'other': '7'"),
        ("  bts: {architecture: ldrn}", "architecture 'ldrn' of learner 'bts': this name is that of another"),
        ("  meta-d: {architecture: ldrn}", "'meta-d': expected letters.* not meta-"),
        ("  a/b: {architecture: ldrn}", "'a/b': expected letters"),
        ("  other: {architecture: ldrn, network: {bins: 3}}", "for other: unknown setting network.bins"),
        ("  other: {architecture: ldrn, size: [8, 64]}", "for other: size.0: expected greater than or equal to 32"),
        ("  other: {architecture: ldrn, sizes: [64, 64]}", "section of learners.other.*'sizes'; did you mean 'size'"),
    ],
)
def test_names_that_do_not_tell_what_to_build_are_refused(section: str, message: str, tmp_path: Path):
    file = tmp_path / "wrong.yaml"
    file.write_text(f"learners:\n{section}\n")
    with pytest.raises(SettingsError, match=message):
        learner_settings("bts", Choice(config=file))


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("network.min_depth=90", "BTS: network.min_depth 90.0 m, expected above 0 and below 10.0 m"),
        ("network.min_depth=0", "network.min_depth 0.0 m, expected above 0"),
    ],
)
def test_networks_that_could_tell_no_depth_are_not_built(assignment: str, message: str):
    settings = learner_settings("bts", Choice(assignments=("encoder.weights=none", assignment)))
    with pytest.raises(SettingsError, match=message):
        build_learner(settings)


def test_rows_of_the_tables_name_no_learner(config: Path, tmp_path: Path):
    file = tmp_path / "mean.yaml"
    file.write_text(config.read_text().replace("ldrn_large", "mean"))
    answer = call("base", "train", "mean", "--config", file, "--cache-dir", tmp_path)
    assert answer.status == 2
    assert "other rows of the tables" in answer.err
    assert not (tmp_path / "runs").exists()
    answer = call("base", "train", "ldrn", "--set", "architecture=bts", "--cache-dir", tmp_path)
    assert answer.status == 2
    assert "--set architecture" in answer.err


def test_one_name_stands_for_one_thing(trained, config: Path, tmp_path: Path):
    file = tmp_path / "taken.yaml"
    file.write_text(config.read_text().replace("ldrn_large", "both"))
    answer = call("base", "train", "both", "--config", file, "--cache-dir", trained[0])
    assert answer.status == 2
    assert "'both': a fit of the meta-learner goes by this name in own" in answer.err
    answer = call(
        "base", "import", "ldrn_large", tmp_path, "--role", "oof", "--experiment", "own", "--cache-dir", trained[0]
    )
    assert answer.status == 2
    assert f"not the name of a learner of ours ({', '.join(known_learners())}, ldrn_large)" in answer.err
    answer = call(
        "meta", "fit", "--inputs", "d", "--name", "ldrn_large", "--experiment", "own", "--cache-dir", trained[0]
    )
    assert answer.status == 2
    assert "--name 'ldrn_large'" in answer.err
