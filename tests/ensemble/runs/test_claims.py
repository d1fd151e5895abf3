"""What training may see, what a run remembers and when it is claimed, and caching that is interrupted."""

from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import torch
from command_lines import LEARNER_NAMES, Job, call, contents, done

from ensemble.data.division import open_experiment
from ensemble.data.held_out import test_frames as scored_frames
from ensemble.data.rooms.source import RoomsSource
from ensemble.predictions import predict
from ensemble.predictions.learners import trained_learner
from ensemble.predictions.predict import cache_predictions
from ensemble.predictions.store import PredictionWriter
from ensemble.runs import claims
from ensemble.runs.locks import LockedError, StoreLock
from ensemble.runs.paths import Outputs
from ensemble.settings.layers import Choice, learner_settings
from ensemble.training import learners
from ensemble.training.networks import flip_averaged


@pytest.fixture(scope="module")
def nyu(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of NYU Depth v2 in miniature whose test images cannot be read."""
    root = tmp_path_factory.mktemp("nyu") / "copy"
    done("data", "rooms", root, "--scenes", 4, "--frames", 2, "--test-scenes", 2, "--size", "60x80")
    for image in (root / "official_splits/test").rglob("*"):
        if image.is_file():
            image.write_bytes(b"no image")
    return root


def test_training_caching_and_fitting_never_touch_a_test_frame(nyu: Path, tiny: Path, tmp_path: Path):
    size = ("--set", "data.crop=null")
    given = ("--data", "nyu", "--root", nyu, "--config", tiny, "--cache-dir", tmp_path)
    for name in LEARNER_NAMES:
        done("base", "train", name, "--folds", 2, *given, *size)
    for role in ("fit", "oof", "validation"):
        done("base", "cache", *LEARNER_NAMES, "--role", role, *given)
    done("meta", "fit", "--inputs", "d", *given)
    for words in (("base", "cache", "bts", "--role", "test", *given), ("base", "evaluate", "bts", *given)):
        answer = call(*words)
        assert answer.status == 1
        assert str(nyu / "official_splits/test") in answer.err
    assert not list((tmp_path / "predictions/tiny/bts/test").glob("*.h5"))


def test_what_training_caches_with_knows_no_test_frames(job: Job, tmp_path: Path):
    learners = [trained_learner(Outputs(job.cache), "tiny", "bts")]
    with pytest.raises(ValueError, match="role test: expected one of training, fit, validation or oof"):
        cache_predictions(learners, Outputs(tmp_path), "test")
    assert not list(tmp_path.rglob("*.h5"))


@pytest.mark.parametrize(
    ("moved", "told"),
    [
        (("room_0004", "room_0005"), "this experiment was divided otherwise: found"),
        (
            ("room_0001/rgb_00001.jpg", "room_0001/sync_depth_00001.png"),
            "bts was trained on other frames than there are now",
        ),
    ],
)
def test_a_copy_that_grew_is_not_tested_on_by_learners_that_saw_it(
    tiny: Path, tmp_path: Path, moved: tuple[str, str], told: str
):
    root, held_out = tmp_path / "nyu", ("--set", "data.test=held-out", "--set", "data.crop=null")
    done("data", "rooms", root, "--scenes", 6, "--frames", 2, "--test-scenes", 1, "--size", "48x64")
    given = ("--data", "nyu", "--root", root, "--config", tiny, "--cache-dir", tmp_path / "cache")
    train = root / "official_splits/train"
    for number, name in enumerate(moved):
        (train / name).rename(tmp_path / str(number))
    done("base", "train", "bts", *given, *held_out)
    for number, name in enumerate(moved):
        (tmp_path / str(number)).rename(train / name)
    for words in (("base", "evaluate", "bts"), ("base", "cache", "bts", "--role", "test")):
        answer = call(*words, *given)
        assert answer.status == 1
        assert told in answer.err
    assert ("frames" if told.startswith("bts") else "scenes") in call("base", "train", "bts", *given, *held_out).err
    assert not list((tmp_path / "cache/predictions").rglob("*.h5"))


def test_caching_needs_no_depth(nyu: Path, tiny: Path, tmp_path: Path):
    given = ("--data", "nyu", "--root", nyu, "--config", tiny, "--cache-dir", tmp_path, "--set", "data.crop=null")
    done("base", "train", "bts", *given)
    with mock.patch("ensemble.data.nyu.bts.read_depth_mm", side_effect=AssertionError("depth was read")):
        done("base", "cache", "bts", "--role", "fit", *given[:-2])


def test_an_interrupted_pass_goes_on_where_it_was(job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    where = Outputs(job.copy_to(tmp_path))
    learners = [trained_learner(where, "tiny", name) for name in LEARNER_NAMES]
    original = RoomsSource.read_image
    seen: list[str] = []

    def interrupted(source, frame):
        if len(seen) == 4:
            raise KeyboardInterrupt
        seen.append(frame.id)
        return original(source, frame)

    def small_shards(*words, **given):
        return PredictionWriter(*words, **given, shard_frames=2)

    monkeypatch.setattr(predict, "PredictionWriter", small_shards)
    learners = [trained_learner(where, "tiny", name) for name in LEARNER_NAMES]
    one_by_one = {"evaluation": learners[0].settings.evaluation.model_copy(update={"batch_size": 2})}
    first = learners[0].settings.model_copy(update=one_by_one)
    learners[0] = type(learners[0])(first, learners[0].run, learners[0].weights)
    monkeypatch.setattr(RoomsSource, "read_image", interrupted)
    with pytest.raises(KeyboardInterrupt):
        cache_predictions(learners, where, "fit", rebuild=True)
    stored = {name: len(list(where.predictions("tiny", name, "fit").glob("*.h5"))) for name in LEARNER_NAMES}
    assert stored == dict.fromkeys(LEARNER_NAMES, 2)
    before = contents(where.predictions("tiny", "bts", "fit"))
    read_again: list[str] = []
    monkeypatch.setattr(
        RoomsSource, "read_image", lambda source, frame: read_again.append(frame.id) or original(source, frame)
    )
    cache_predictions(learners, where, "fit")
    assert len(read_again) == 2
    assert not set(read_again) & set(seen)
    after = contents(where.predictions("tiny", "bts", "fit"))
    assert {name: after[name] for name in before} == before


def test_rows_that_are_all_there_can_be_asked_for_while_another_process_holds_their_store(job: Job):
    where = Outputs(job.cache)
    learners = [trained_learner(where, "tiny", name) for name in LEARNER_NAMES]
    cache_predictions(learners, where, "fit")
    with StoreLock(where.predictions("tiny", "bts", "fit")):
        assert cache_predictions(learners, where, "fit") == 0
        with pytest.raises(LockedError, match="is being written by this process"):
            cache_predictions(learners, where, "fit", rebuild=True)


def test_flip_averaging_is_the_mean_of_both_views():
    image = torch.rand(1, 3, 4, 6, generator=torch.Generator().manual_seed(0))
    columns = torch.arange(6.0).expand(1, 1, 4, 6)

    def predict(view: torch.Tensor) -> torch.Tensor:
        return view[:, :1] + columns

    expected = image[:, :1] + 2.5
    torch.testing.assert_close(flip_averaged(predict, image, enabled=True), expected)
    torch.testing.assert_close(flip_averaged(predict, image, enabled=False), image[:, :1] + columns)


def test_settings_without_influence_may_change(job: Job):
    given = ("--config", job.config, "--cache-dir", job.cache, "--set", "data.preload=false")
    for other in ("training.checkpoint_every=1", "training.memory_format=contiguous"):
        assert "complete already" in done("base", "train", "bts", *given, "--set", other).err


def test_fresh_is_refused_where_processes_would_remove_each_others_files(job: Job, tmp_path: Path):
    where = Outputs(job.copy_to(tmp_path))
    before = contents(where.root)
    with mock.patch.object(claims, "PROCESSES", 2), pytest.raises(ValueError, match="2 processes; remove the folder"):
        learners.train_learner(learner_settings("bts", Choice(config=job.config)), where, fresh=True)
    assert contents(where.root) == before


@pytest.mark.parametrize("name", ["mean", "weighted-log-mean", "best-single", "seed-mean", "oracle"])
def test_names_of_stacks_do_not_shadow_other_rows(job: Job, tmp_path: Path, name: str):
    cache = job.copy_to(tmp_path)
    answer = call("meta", "fit", "--inputs", "d", "--name", name, "--config", job.config, "--cache-dir", cache)
    assert answer.status == 2
    assert "other rows of the tables" in " ".join(answer.err.split())
    assert not (cache / "runs" / "tiny" / name).exists()


def test_the_data_of_a_stack_are_those_of_its_learners(job: Job, tmp_path: Path):
    cache = job.copy_to(tmp_path)
    given = ("--config", job.config, "--cache-dir", cache)
    answer = call("meta", "fit", "--inputs", "d", "--data", "nyu", *given)
    assert answer.status == 2
    assert "trained on rooms" in answer.err
    done("base", "train", "bts", *given, "--fresh", "--set", "data.rooms.noise=true")
    answer = call("meta", "fit", "--inputs", "d", "--name", "other", *given)
    assert answer.status == 1
    assert "rooms.noise: False against True" in answer.err


def test_rows_are_depth_of_the_trained_network(job: Job):
    where = Outputs(job.cache)
    trained = trained_learner(where, "tiny", "bts")
    source = RoomsSource.from_settings(trained.settings.data)
    frames = scored_frames(source, trained.settings.data)
    rows = predict.open_predictions(trained, open_experiment(where, trained.settings), frames, "test")
    network = predict.load_learner(trained)
    image = torch.from_numpy(source.read_image(frames[1])).permute(2, 0, 1)[None] / 255
    with torch.inference_mode():
        views = network(image).depth, network(image.flip(-1)).depth.flip(-1)
    expected = ((views[0] + views[1]) / 2)[0, 0].numpy()
    assert np.abs(rows.read(frames[1].id) - expected).max() <= 10 / 65535


def test_a_run_that_is_being_trained_is_left_alone(job: Job, tmp_path: Path):
    cache = job.copy_to(tmp_path)
    run = Outputs(cache).learner_run("tiny", "bts")
    run.result.unlink()
    before = contents(run.folder)
    again = ("base", "train", "bts", "--config", job.config, "--cache-dir", cache)
    with StoreLock(run.folder):
        for words in ((), ("--fresh",)):
            answer = call(*again, *words)
            assert answer.status == 1
            assert "is being written by this process" in answer.err
            assert {name: data for name, data in contents(run.folder).items() if name != "writer.lock"} == {
                name: data for name, data in before.items() if name != "writer.lock"
            }
    done(*again)


@pytest.mark.parametrize(
    ("mistake", "told"),
    [
        ("encoder.name=no_such_net", "timm has no such model"),
        ("encoder.weights=no/such.pth", "no such file of encoder weights"),
        ("training.batch_size=500", "training.batch_size is 500, but there are 6 training frames"),
        ("training.precision=16-mixed", "training.precision is 16-mixed, which needs a GPU"),
    ],
)
def test_what_cannot_be_trained_claims_no_run(mistake: str, told: str, tiny: Path, tmp_path: Path):
    words = ("base", "train", "bts", "--config", tiny, "--cache-dir", tmp_path)
    answer = call(*words, "--set", mistake)
    assert (answer.status, told in answer.err) == (2, True), answer.err
    assert not list(tmp_path.rglob("settings.json"))
    assert "encoder" not in mistake or not list(tmp_path.rglob("*.json")), "not even how scenes are divided"
    done(*words)
