"""Bounds in an evaluation: frames take their disagreement from other scenes, and every row stands in the table."""

import json

import numpy as np
import pytest
import torch
from command_lines import Job, done

from ensemble.data.source import Frame
from ensemble.evaluation.bounds import BOUNDS, bounds_of, partners
from ensemble.evaluation.results.scores import headroom, read_scores
from ensemble.metrics.protocols import EvalProtocol
from ensemble.metrics.published import OWN_SIZE
from meta.fusion import fuse, mean_depth


def frames(*scenes: str) -> list[Frame]:
    return [Frame(f"{scene}/{index}", scene, "test") for index, scene in enumerate(scenes)]


def test_partners_are_of_other_scenes_and_always_the_same():
    asked = frames(*"aaabbc" * 20)
    found = partners(asked)
    assert list(found) == [frame.id for frame in asked]
    assert all(found[frame.id].scene != frame.scene for frame in asked)
    assert len({each.id for each in found.values()}) > 40
    assert partners(asked) == found
    assert partners(asked, seed=1) != found


def test_where_there_is_one_scene_another_frame_of_it_is_taken():
    asked = frames("a", "a")
    assert partners(asked) == {"a/0": asked[1], "a/1": asked[0]}
    assert partners(asked[:1]) == {}


def test_bounds_of_an_image_learn_from_scored_pixels_and_those_of_pixels_from_all():
    protocol = EvalProtocol(
        split="test", test="held-out", crop="eigen", min_depth=1e-3, max_depth=10, flip_averaging=False, size=OWN_SIZE
    )
    generator = torch.Generator().manual_seed(0)
    learners = 1 + 4 * torch.rand(1, 2, 48, 64, generator=generator)
    planted = torch.tensor([0.3, 0.7]).view(1, 2, 1, 1)
    target = fuse(planted.expand_as(learners), learners, space="log")
    valid = torch.ones_like(target, dtype=torch.bool)
    scored = protocol.mask(target, valid)
    odd = target.where(scored, 0.2 * target)  # outside of the crop the truth is another
    others = torch.rand(1, 2, 24, 32, generator=generator) + 0.5
    found = bounds_of(learners, odd, valid, others=others, protocol=protocol)
    assert tuple(found) == BOUNDS
    torch.testing.assert_close(found["weights per image"][scored], target[scored], rtol=1e-4, atol=0)
    held = odd.clamp(learners.amin(1, keepdim=True), learners.amax(1, keepdim=True))
    torch.testing.assert_close(found["oracle convex"], held)
    assert set(BOUNDS) - set(bounds_of(learners, odd, valid, others=None, protocol=protocol)) == {"oracle shuffled"}


def test_every_evaluation_of_several_learners_says_what_its_bounds_are(job: Job):
    scores = read_scores(job.cache / "reports/tiny/scores.json")
    rows = {row.name: row for row in scores.rows}
    assert tuple(name for name, row in rows.items() if row.kind == "bound") == BOUNDS
    log_error = {name: row.scores["rmse_log"] for name, row in rows.items()}
    assert log_error["weights per image"] < min(log_error[name] for name in ("mean", "weighted-log-mean", "ldrn"))
    assert log_error["scale and slope per image"] <= log_error["scale per image"] < log_error["mean"]
    for metric in ("abs_rel", "rmse", "d1"):
        shares = headroom(scores, metric)
        if shares["mean"] is not None:
            assert (shares["mean"], shares["weights per image"]) == (0, 1)
    (alike,) = scores.alike
    assert alike.learners == ("AdaBins", "BTS", "LDRN")
    assert alike.images == rows["mean"].images
    assert 0 <= alike.inside <= 1
    assert np.diag(np.array(alike.within)) == pytest.approx(1)


def test_a_single_learner_has_no_bounds(job: Job):
    assert json.loads((job.cache / "reports/tiny/scores.json").read_text())["alike"]
    alone = json.loads(done("base", "evaluate", "bts", "--config", job.config, "--json", "--cache-dir", job.cache).out)
    assert alone["alike"] == []
    assert not [row for row in alone["rows"] if row["kind"] == "bound"]


def test_the_plain_mean_is_within_every_bound_of_images():
    """Weights of an image may be equal, a scale 1 and a slope 1, so none can lose to the log-mean or the mean."""
    generator = torch.Generator().manual_seed(1)
    learners = 1 + 4 * torch.rand(1, 3, 12, 16, generator=generator)
    target = 1 + 4 * torch.rand(1, 1, 12, 16, generator=generator)
    valid = torch.rand(target.shape, generator=generator) < 0.6
    protocol = EvalProtocol(
        split="test", test="held-out", crop="none", min_depth=1e-3, max_depth=10, flip_averaging=False, size=OWN_SIZE
    )
    found = bounds_of(learners, target, valid, others=None, protocol=protocol)

    def error(depth: torch.Tensor) -> float:
        return (depth.log() - target.log())[valid].square().mean().item()

    assert error(found["weights per image"]) <= error(learners.log().mean(dim=1, keepdim=True).exp()) + 1e-6
    assert error(found["scale per image"]) <= error(mean_depth(learners)) + 1e-6
    assert error(found["scale and slope per image"]) <= error(found["scale per image"]) + 1e-6
