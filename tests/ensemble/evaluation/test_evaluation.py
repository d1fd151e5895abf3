"""Scores side by side, and stacks that start at the plain mean."""

import csv
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from command_lines import LEARNER_NAMES, Job, call, done
from torch import Tensor

from ensemble.data import open_source
from ensemble.data.division import open_experiment
from ensemble.data.held_out import test_frames as scored_frames
from ensemble.data.rooms.source import RoomsSource
from ensemble.data.source import Frame, RawFrame
from ensemble.data.splits import training_frames
from ensemble.evaluation.constant import MeanLogDepth
from ensemble.evaluation.evaluate import evaluate_stacks
from ensemble.evaluation.results.gallery import read_galleries
from ensemble.runs.paths import Outputs, Run
from ensemble.settings.layers import Choice, learner_settings, stack_settings
from ensemble.stacking.stack import load_stack, stacked
from ensemble.training.networks import build_stack
from meta.unet import MetaUNet


@pytest.mark.parametrize("inputs", ["d", "rgb", "rgb+d"])
def test_a_new_meta_learner_answers_with_the_mean(job: Job, inputs: str):
    torch.manual_seed(3)
    network = build_stack(stack_settings(inputs, Choice(config=job.config), learners=LEARNER_NAMES)).eval()
    channels = {"d": 3, "rgb": 3, "rgb+d": 6}[inputs]
    with torch.inference_mode():
        weights = network(torch.rand(2, channels, 48, 64))
    assert weights.shape == (2, 3, 48, 64)
    assert float((weights - 1 / 3).abs().max()) == 0


def test_a_stack_that_has_not_learned_scores_as_the_mean(job: Job, tmp_path: Path):
    cache = job.copy_to(tmp_path)
    given = ("--config", job.config, "--cache-dir", cache)
    still = ("--set", "training.lr=1e-30", "--set", "training.max_steps=1", "--name", "still")
    done("meta", "fit", "--inputs", "d", *given, *still)
    scores = json.loads(done("meta", "evaluate", "still", "--cache-dir", cache, "--json").out)
    rows = {row["name"]: row["scores"] for row in scores["rows"]}
    for metric, value in rows["mean"].items():
        assert rows["still"][metric] == pytest.approx(value, abs=1e-6), metric
    fitted = {row["name"]: row["scores"] for row in job.scores["rows"]}
    assert fitted["meta-rgb"] != fitted["mean"]


def test_weights_are_shares(job: Job):
    stack = load_stack(Outputs(job.cache).find_run("meta-rgb+d"), Outputs(job.cache))
    image = torch.rand(1, 3, 48, 64, generator=torch.Generator().manual_seed(0))
    depths = 1 + torch.rand(1, 3, 48, 64, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        weights = stacked(stack, image, depths).maps
        mirrored = stacked(stack, image.flip(-1), depths.flip(-1)).maps.flip(-1)
    assert float(weights.min()) >= 0
    torch.testing.assert_close(weights.sum(1), torch.ones(1, 48, 64), atol=1e-6, rtol=0)
    torch.testing.assert_close(mirrored, weights, atol=1e-6, rtol=0)


def test_the_constant_is_the_mean_log_depth_of_training_frames(job: Job):
    settings = learner_settings("bts", Choice(config=job.config))
    source = open_source(settings.data)
    frames = training_frames(source, settings.data).fit
    depths = [np.log(source.read(frame).depth.astype(np.float64)) for frame in frames]
    found = MeanLogDepth(frames, settings.data).depth(source)
    assert found.shape == (1, 1, 48, 64)
    np.testing.assert_allclose(found[0, 0].numpy(), np.exp(np.mean(depths, axis=0)), rtol=1e-5)


def test_frames_are_decoded_once_and_fused_once_by_every_fit(job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """But for the best, the median and the worst frame of a stack, which are known when all are scored."""
    cache = job.copy_to(tmp_path)
    where = Outputs(cache)
    stacks = [load_stack(where.find_run(f"tiny/meta-{inputs}"), where) for inputs in ("d", "rgb+d")]
    for stack in stacks:
        stack.run.uncertainty.unlink(missing_ok=True)
    fused: Counter[str] = Counter()
    decoded: Counter[str] = Counter()
    fuse, read = MetaUNet.fuse, RoomsSource.read

    def counted_fuse(network: MetaUNet, maps: Tensor, depths: Tensor) -> Tensor:
        fused.update({stack.name: len(maps) for stack in stacks if stack.network is network})
        return fuse(network, maps, depths)

    def counted_read(source: RoomsSource, frame: Frame) -> RawFrame:
        decoded[frame.id] += 1
        return read(source, frame)

    monkeypatch.setattr(MetaUNet, "fuse", counted_fuse)
    monkeypatch.setattr(RoomsSource, "read", counted_read)
    evaluate_stacks(stacks, where, tmp_path / "report")
    settings = stacks[0].settings
    frames = open_experiment(where, settings).division.frames.fit
    tested = scored_frames(open_source(settings.data), settings.data)
    shown = read_galleries(Run(tmp_path / "report").gallery)
    ranked = [image.row.frame for gallery in shown for image in gallery.images]
    assert len(ranked) == 3 * len(stacks)
    assert fused == {stack.name: len(frames) + len(tested) + 3 for stack in stacks}
    assert decoded == {frame.id: 1 for frame in frames} | {frame.id: 1 + (frame.id in ranked) for frame in tested}


def test_scores_per_image_average_to_the_table(job: Job):
    with (job.cache / "reports/tiny/per_image.csv").open(newline="", encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    rows = {row["name"]: row["scores"] for row in job.scores["rows"]}
    key = next(name for name in lines[0] if lines[0][name] in rows)
    assert {line[key] for line in lines} == set(rows)
    for name, scores in rows.items():
        own = [float(line["abs_rel"]) for line in lines if line[key] == name]
        assert len(own) == 4
        assert np.mean(own) == pytest.approx(scores["abs_rel"], rel=1e-5)


def test_stacks_of_other_learners_are_not_compared(job: Job, tmp_path: Path):
    cache = job.copy_to(tmp_path)
    given = ("--config", job.config, "--cache-dir", cache)
    done("meta", "fit", "--inputs", "d", "--learners", "bts,ldrn", *given)
    answer = call("meta", "evaluate", "meta-d", "meta-d-bts-ldrn", "--cache-dir", cache)
    assert answer.status == 1
    assert "bts, ldrn of tiny" in answer.err
    names = [row["name"] for row in json.loads(_evaluated("meta-d-bts-ldrn", cache))["rows"]]
    assert "adabins" not in names
    assert "meta-d-bts-ldrn" in names


def test_a_stack_is_scored_under_the_protocol_of_its_learners(job: Job, tmp_path: Path):
    cache = job.copy_to(tmp_path)
    bare = ("--data", "rooms", "--experiment", "tiny", "--cache-dir", cache, "--set", "training.max_steps=1")
    small = ("--set", "encoder={name: test_efficientnet, weights: none}", "--set", "network.widths=[16, 12, 8, 8, 8]")
    done("meta", "fit", "--inputs", "d", "--name", "bare", *bare, *small, "--set", "training.batch_size=2")
    given = json.loads((cache / "runs/tiny/bare/settings.json").read_text(encoding="utf-8"))["evaluation"]
    assert (given["crop"], given["flip_averaging"]) == ("none", True)
    other = ("--set", "evaluation.flip_averaging=false", "--name", "other")
    done("meta", "fit", "--inputs", "d", "--config", job.config, "--cache-dir", cache, *other)
    answer = call("meta", "evaluate", "other", "--cache-dir", cache)
    assert answer.status == 1
    assert "evaluation.flip_averaging: True against False" in answer.err


def _evaluated(run: str, cache: Path) -> str:
    return done("meta", "evaluate", run, "--json", "--cache-dir", cache).out


def test_the_table_fits_a_terminal(job: Job):
    answer = done("meta", "evaluate", "meta-d", "--cache-dir", job.cache)
    assert max(map(len, answer.out.splitlines())) <= 80
    assert str(job.cache / "runs/tiny/meta-d") in answer.err
    assert "4 images" in answer.out


def test_an_unfinished_fit_is_not_scored(job: Job, tmp_path: Path):
    cache = job.copy_to(tmp_path)
    run = cache / "runs/tiny/meta-d"
    (run / "result.json").unlink()
    answer = call("meta", "evaluate", "meta-d", "--cache-dir", cache)
    assert answer.status == 1
    assert answer.advised == ["meta", "fit", "--resume", str(run), "--cache-dir", str(cache)]
    done(*answer.advised)
    done("meta", "evaluate", "meta-d", "--cache-dir", cache)
