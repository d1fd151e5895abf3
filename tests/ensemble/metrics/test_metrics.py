import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from ensemble.metrics.formulas import METRICS, image_scores
from ensemble.metrics.protocols import EvalProtocol, crop_region, prepare
from ensemble.metrics.published import OWN_SIZE
from ensemble.training.score_sums import ScoreSums


def image(values: list[float]) -> Tensor:
    return torch.tensor(values, dtype=torch.float32).view(1, 1, 1, -1)


def everywhere(depth: Tensor) -> Tensor:
    return torch.ones_like(depth, dtype=torch.bool)


def protocol(**changes: object) -> EvalProtocol:
    arguments: dict[str, object] = {
        "split": "test",
        "test": "official",
        "crop": "none",
        "min_depth": 1e-3,
        "max_depth": 10.0,
        "flip_averaging": True,
        "size": (480, 640),
    }
    return EvalProtocol.model_validate({**arguments, **changes})


def scores_by_numpy(predicted: np.ndarray, target: np.ndarray, valid: np.ndarray) -> dict[str, float]:
    """One image, written from the formulas of the papers, pixel list first."""
    p, t = predicted[valid].astype(np.float64), target[valid].astype(np.float64)
    worse = np.max([p / t, t / p], axis=0)
    log_difference = np.log(p) - np.log(t)
    return {
        "d1": np.mean(worse < 1.25),
        "d2": np.mean(worse < 1.25**2),
        "d3": np.mean(worse < 1.25**3),
        "abs_rel": np.mean(np.abs(p - t) / t),
        "sq_rel": np.mean((p - t) ** 2 / t),
        "rmse": np.sqrt(np.mean((p - t) ** 2)),
        "rmse_log": np.sqrt(np.mean(log_difference**2)),
        "log10": np.mean(np.abs(np.log10(p) - np.log10(t))),
        "silog_x100": np.sqrt(np.mean(log_difference**2) - np.mean(log_difference) ** 2) * 100,
    }


def random_maps(generator: torch.Generator, count: int) -> tuple[Tensor, Tensor, Tensor]:
    target = 0.5 + 9 * torch.rand(count, 1, 13, 17, generator=generator)
    predicted = (target * (0.4 * torch.randn(target.shape, generator=generator)).exp()).clamp(1e-3, 10)
    valid = torch.rand(target.shape, generator=generator) < 0.6
    return predicted, target, valid


def test_hand_computed_example() -> None:
    scores = image_scores(image([1, 2.5, 3, 8]), image([1, 2, 4, 8]), everywhere(image([0, 0, 0, 0])))
    expected = {
        "d1": 0.5,
        "d2": 1.0,
        "d3": 1.0,
        "abs_rel": 0.125,
        "sq_rel": 0.09375,
        "rmse": 0.5590170,
        "rmse_log": 0.1820398,
        "log10": 0.0554622,
        "silog_x100": 18.132341,
    }
    assert {name: score.item() for name, score in scores.items()} == pytest.approx(expected, rel=1e-6)


def test_thousand_random_maps_agree_with_numpy() -> None:
    generator = torch.Generator().manual_seed(19)
    for _ in range(20):
        predicted, target, valid = random_maps(generator, 50)
        scores = image_scores(predicted, target, valid)
        for index in range(50):
            expected = scores_by_numpy(*(part[index].numpy() for part in (predicted, target, valid)))
            found = {name: score[index].item() for name, score in scores.items()}
            assert found == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("name", METRICS)
def test_each_metric_alone_equals_its_place_in_the_whole(name: str) -> None:
    maps = random_maps(torch.Generator().manual_seed(3), 4)
    torch.testing.assert_close(METRICS[name](*maps), image_scores(*maps)[name], rtol=0.0, atol=0.0)


@pytest.mark.parametrize("name", METRICS)
def test_direction_of_every_metric(name: str) -> None:
    _, target, valid = random_maps(torch.Generator().manual_seed(4), 1)
    noise = torch.randn(target.shape, generator=torch.Generator().manual_seed(5))
    near, far = (METRICS[name](target * (scale * noise).exp(), target, valid) for scale in (0.05, 0.5))
    assert bool((near > far).all()) == METRICS[name].higher_is_better


def test_perfect_prediction_is_exact() -> None:
    _, target, valid = random_maps(torch.Generator().manual_seed(11), 8)
    for name, score in image_scores(target, target, valid).items():
        assert score.tolist() == [1.0 if METRICS[name].higher_is_better else 0.0] * 8


def test_invalid_pixels_are_never_read() -> None:
    predicted, target, valid = random_maps(torch.Generator().manual_seed(12), 6)
    clean = image_scores(predicted, target, valid)
    for poison in (float("nan"), float("inf"), -1.0, 0.0):
        poisoned = image_scores(predicted.where(valid, poison), target.where(valid, poison), valid)
        for name, score in clean.items():
            torch.testing.assert_close(poisoned[name], score, rtol=0.0, atol=0.0)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 0.0, -1.0])
@pytest.mark.parametrize("which", ["predicted", "target"])
def test_unusable_valid_pixels_are_refused(which: str, value: float) -> None:
    depth = {"predicted": torch.ones(2, 1, 2, 2), "target": torch.ones(2, 1, 2, 2)}
    depth[which][1, 0, 0, 1] = value
    with pytest.raises(ValueError, match=rf"{which} depth of image 1 of the batch: 1 of 4 valid pixels"):
        image_scores(depth["predicted"], depth["target"], torch.ones(2, 1, 2, 2, dtype=torch.bool))


def test_the_mean_is_over_images_not_pixels() -> None:
    target = torch.full((2, 1, 1, 2), 4.0)
    predicted = target + torch.tensor([1.0, 0.0]).view(2, 1, 1, 1)
    valid = torch.tensor([[True, True], [True, False]]).view(2, 1, 1, 2)
    sums = ScoreSums()
    sums.update(image_scores(predicted, target, valid))
    assert sums.compute()["rmse"] == 0.5
    pooled = image_scores(
        predicted[valid].view(1, 1, 1, 3), target[valid].view(1, 1, 1, 3), valid[:1, :, :, :1].expand(1, 1, 1, 3)
    )
    assert pooled["rmse"].item() == pytest.approx(0.8164966, rel=1e-6)


def test_an_image_without_valid_pixels_is_left_out_and_counted() -> None:
    predicted, target, valid = random_maps(torch.Generator().manual_seed(13), 3)
    valid[1] = False
    scores = image_scores(predicted, target, valid)
    assert all(score.isnan().tolist() == [False, True, False] for score in scores.values())
    sums = ScoreSums()
    sums.update(scores)
    result = sums.compute()
    assert (result["images"], result["images_without_valid"]) == (2, 1)
    assert result["abs_rel"] == pytest.approx(scores["abs_rel"][[0, 2]].mean().item(), rel=1e-12)


def test_no_image_at_all_has_no_mean() -> None:
    sums = ScoreSums()
    sums.update(image_scores(image([1.0]), image([1.0]), ~everywhere(image([1.0]))))
    with pytest.raises(ValueError, match="none was scored, 1 had no valid pixel"):
        sums.compute()


@given(cut=st.integers(min_value=1, max_value=9))
def test_a_batch_split_in_two_or_over_processes_gives_the_same(cut: int) -> None:
    maps = random_maps(torch.Generator().manual_seed(14), 10)
    whole, parts, first, second = (ScoreSums() for _ in range(4))
    whole.update(image_scores(*maps))
    head, tail = ([part[piece] for part in maps] for piece in (slice(cut), slice(cut, None)))
    parts.update(image_scores(*head))
    parts.update(image_scores(*tail))
    first.update(image_scores(*head))
    second.update(image_scores(*tail))
    first.merge_state(second)
    for sums in (parts, first):
        assert sums.compute() == pytest.approx(whole.compute(), rel=1e-12)


def _score_a_share(rank: int, rendezvous: str, answer: str) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{rendezvous}", rank=rank, world_size=2)
    maps = random_maps(torch.Generator().manual_seed(15), 10)
    sums = ScoreSums()
    sums.update(image_scores(*(part[:7] if rank == 0 else part[7:] for part in maps)))
    result = sums.compute()
    Path(f"{answer}-{rank}").write_text(json.dumps(result))
    torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_unequal_shares_of_two_processes_give_the_whole(tmp_path: Path) -> None:
    torch.multiprocessing.spawn(_score_a_share, (str(tmp_path / "rendezvous"), str(tmp_path / "answer")), nprocs=2)
    whole = ScoreSums()
    whole.update(image_scores(*random_maps(torch.Generator().manual_seed(15), 10)))
    for rank in range(2):
        assert json.loads((tmp_path / f"answer-{rank}").read_text()) == pytest.approx(whole.compute(), rel=1e-12)


def test_half_an_image_is_refused() -> None:
    scores = image_scores(image([1.0, 2.0]), image([1.0, 1.0]), everywhere(image([0.0, 0.0])))
    scores["rmse"][0] = float("nan")
    with pytest.raises(ValueError, match="all or none"):
        ScoreSums().update(scores)
    del scores["rmse"]
    with pytest.raises(ValueError, match="expected those of image_scores"):
        ScoreSums().update(scores)


def test_eigen_crop() -> None:
    depth = torch.ones(1, 1, 480, 640)
    mask = protocol(crop="eigen").mask(depth, everywhere(depth))[0, 0]
    assert mask.sum().item() == 238_560
    assert mask.double().mean().item() == 0.7765625
    assert mask[45, 41]
    assert mask[470, 600]
    for row, column in ((471, 601), (471, 600), (470, 601), (44, 41), (45, 40)):
        assert not mask[row, column]
    assert crop_region("eigen", (96, 128)) == (9, 8, 94, 120)
    assert crop_region("none", (96, 128)) == (0, 0, 96, 128)


def test_crops_are_the_same_parts_of_frames_of_every_size() -> None:
    for height, width in zip(range(1, 2000, 7), range(2000, 1, -7), strict=False):
        rows, columns = (
            (round(each * height / 480) for each in (45, 471)),
            (round(each * width / 640) for each in (41, 601)),
        )
        top, left, bottom, right = crop_region("eigen", (height, width))
        assert ((top, bottom), (left, right)) == (tuple(rows), tuple(columns))


def test_frames_of_several_sizes_are_scored_at_their_own() -> None:
    own = protocol(crop="eigen", size=OWN_SIZE)
    for size in ((96, 128), (480, 640)):
        target = torch.ones(1, 1, *size)
        assert torch.equal(
            own.mask(target, everywhere(target)), protocol(crop="eigen", size=size).mask(target, everywhere(target))
        )
    with pytest.raises(ValueError, match="scores frames of their own size"):
        own.mask(torch.ones(1, 1, 4, 4), torch.ones(1, 1, 4, 5, dtype=torch.bool))
    assert EvalProtocol.model_validate_json(own.model_dump_json()) == own


def test_depth_range_is_open_at_both_ends() -> None:
    target = image([0.0, 1e-3, 2e-3, 9.999, 10.0, 65.535])
    mask = protocol(size=(1, 6)).mask(target, everywhere(target))
    assert mask.flatten().tolist() == [False, False, True, True, False, False]
    assert not protocol(size=(1, 6)).mask(target, ~everywhere(target)).any()


def test_truth_of_another_size_or_not_finite_is_refused() -> None:
    with pytest.raises(ValueError, match="scores frames of 480x640 pixels"):
        protocol().mask(torch.ones(1, 1, 48, 64), torch.ones(1, 1, 48, 64, dtype=torch.bool))
    broken = image([1.0, float("nan")])
    with pytest.raises(ValueError, match="1 pixel is marked valid but the measured depth is NaN"):
        protocol(size=(1, 2)).mask(broken, everywhere(broken))


def test_prepare_clips_and_counts_scored_pixels_only() -> None:
    target = image([2.0, 2.0, 2.0, 0.0, 0.0])
    prepared = prepare(
        image([11.0, 0.0, 3.0, 12.0, float("nan")]), target, everywhere(target), protocol=protocol(size=(1, 5))
    )
    assert prepared.predicted.flatten()[:4].tolist() == [10.0, pytest.approx(1e-3), 3.0, 10.0]
    assert prepared.valid.flatten().tolist() == [True, True, True, False, False]
    assert prepared.counts.clipped.tolist() == [2]
    assert prepared.counts.nonfinite.tolist() == [1]
    sums = ScoreSums()
    sums.update(image_scores(*prepared[:3]), prepared.counts)
    assert (sums.compute()["clipped"], sums.compute()["nonfinite"]) == (2, 1)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_scored_prediction_that_is_not_finite_is_refused(value: float) -> None:
    target = torch.full((2, 1, 2, 2), 2.0)
    predicted = target.clone()
    predicted[1, 0, 1, 1] = value
    with pytest.raises(ValueError, match="image 1 of the batch is NaN or infinite at 1 scored pixels"):
        prepare(predicted, target, everywhere(target), protocol=protocol(size=(2, 2)))


def test_prepare_resizes_bilinearly_to_the_truth() -> None:
    ramp = torch.arange(1.0, 9.0).view(1, 1, 1, 8).expand(1, 1, 4, 8)
    target = torch.full((1, 1, 8, 16), 2.0)
    predicted = prepare(ramp, target, everywhere(target), protocol=protocol(size=(8, 16))).predicted
    assert predicted.shape == target.shape
    assert predicted[0, 0, 3, :4].tolist() == pytest.approx([1.0, 1.25, 1.75, 2.25])
    torch.testing.assert_close(predicted.mean(), ramp.mean())


def test_the_protocol_is_frozen_and_survives_json() -> None:
    original = protocol(crop="eigen")
    assert EvalProtocol.model_validate_json(original.model_dump_json()) == original
    with pytest.raises(ValueError, match="frozen"):
        original.crop = "none"
    with pytest.raises(ValueError, match="averaging"):
        protocol(averaging="scene")
    with pytest.raises(ValueError, match=r"min_depth 10\.0 m must be below max_depth 10\.0 m"):
        protocol(min_depth=10.0)


def test_metric_lines_are_constant() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        METRICS["d1"].label = "delta"
    assert [name for name, metric in METRICS.items() if metric.higher_is_better] == ["d1", "d2", "d3"]
