"""Resizing and augmentation: depth only moves, everything moves together, and the generator decides."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from ensemble.config import AugmentationSettings, DataSettings
from ensemble.data.source import RawFrame
from ensemble.data.transforms import augment, bring_to_size, flip, resize_image, rotate, valid_depth

STILL = AugmentationSettings(flip=0.0, photometric=0.0, rotation=0.0)


def sample_of(size: tuple[int, int] = (48, 64), seed: int = 0, learners: int = 2) -> dict[str, Tensor]:
    generator = np.random.default_rng(seed)
    depth = torch.from_numpy(generator.uniform(0.5, 9.5, (1, *size)).astype(np.float32))
    return {
        "image": torch.from_numpy(generator.random((3, *size), dtype=np.float32)),
        "depth": depth,
        "valid": torch.from_numpy(generator.random((1, *size)) > 0.2),
        "predictions": depth.repeat(learners, 1, 1),
    }


def raw_frame(depth: np.ndarray, valid: np.ndarray | None = None) -> RawFrame:
    image = np.zeros((*depth.shape, 3), np.uint8)
    return RawFrame(image, depth.astype(np.float32), np.ones(depth.shape, np.bool_) if valid is None else valid)


def test_samples_have_the_promised_shapes_and_types():
    generator = np.random.default_rng(0)
    image = generator.integers(256, size=(48, 64, 3), dtype=np.uint8)
    raw = RawFrame(image, generator.random((48, 64), dtype=np.float32), np.ones((48, 64), np.bool_))
    for size in ((48, 64), (20, 31), (96, 100)):
        sample = bring_to_size(raw, size)
        assert {name: (tuple(values.shape), values.dtype) for name, values in sample.items()} == {
            "image": ((3, *size), torch.float32),
            "depth": ((1, *size), torch.float32),
            "valid": ((1, *size), torch.bool),
        }
        assert all(values.is_contiguous() for values in sample.values())
        assert 0 <= sample["image"].min() < sample["image"].max() <= 1


def test_the_working_size_itself_changes_nothing():
    generator = np.random.default_rng(0)
    image = generator.integers(256, size=(12, 16, 3), dtype=np.uint8)
    depth = generator.random((12, 16), dtype=np.float32)
    sample = bring_to_size(RawFrame(image, depth, depth > 0.5), (12, 16))
    assert torch.equal(sample["image"], torch.from_numpy(image).permute(2, 0, 1) / 255)
    assert np.array_equal(sample["depth"][0].numpy(), depth)
    assert np.array_equal(sample["valid"][0].numpy(), depth > 0.5)


@given(height=st.integers(1, 60), width=st.integers(1, 60), seed=st.integers(0, 100))
@settings(max_examples=50, deadline=None)
def test_resizing_never_mixes_depth_and_holes(height, width, seed):
    generator = np.random.default_rng(seed)
    valid = generator.random((30, 40)) > 0.5
    depth = np.where(valid, generator.integers(1, 9, (30, 40)), 0)
    sample = bring_to_size(raw_frame(depth, valid), (height, width))
    values = set(sample["depth"][sample["valid"]].tolist())
    assert values <= set(map(float, range(1, 9)))
    assert not sample["depth"][~sample["valid"]].any()


def test_nearest_takes_the_middle_of_each_new_pixel():
    depth = np.arange(1, 10, dtype=np.float32)[None].repeat(9, axis=0)
    assert bring_to_size(raw_frame(depth), (3, 3))["depth"][0, 0].tolist() == [2, 5, 8]


def test_shrinking_an_image_averages_and_keeps_its_mean():
    image = np.zeros((64, 64, 3), np.uint8)
    image[:, ::2] = 200
    small = resize_image(image, (16, 16))
    assert (small - 100 / 255).abs().max() < 0.1
    assert small.mean() == pytest.approx(100 / 255, abs=0.01)


def test_an_image_that_may_not_be_written_is_read():
    image = np.zeros((4, 4, 3), np.uint8)
    image.flags.writeable = False
    assert resize_image(image, (4, 4)).shape == (3, 4, 4)


def test_valid_depth_is_finite_and_inside_the_open_range():
    depth = torch.tensor([0.0, -1.0, 1e-3, 1.1e-3, 5.0, 9.999, 10.0, 65.535, torch.nan, torch.inf, -torch.inf])
    assert valid_depth(depth, 1e-3, 10.0).tolist() == [False] * 3 + [True] * 3 + [False] * 5


@given(seed=st.integers(0, 10_000), rotation=st.floats(0, 45))
@settings(max_examples=60, deadline=None)
def test_predictions_move_exactly_with_depth(seed, rotation):
    wanted = DataSettings(size=(48, 64), crop=(32, 40), augmentation=AugmentationSettings(rotation=rotation))
    sample = sample_of(seed=seed)
    known = set(sample["depth"][sample["valid"]].tolist())
    moved = augment(sample, wanted, np.random.default_rng(seed))
    depth, valid = moved["depth"], moved["valid"]
    assert torch.equal(moved["predictions"][:, valid[0]], depth[valid].expand(2, -1))
    assert set(depth[valid].tolist()) <= known, "depth is never changed by anything but moving"
    assert {name: tuple(values.shape) for name, values in moved.items()} == {
        "image": (3, 32, 40), "depth": (1, 32, 40), "valid": (1, 32, 40), "predictions": (2, 32, 40)
    }  # fmt: skip
    assert all(values.is_contiguous() for values in moved.values())


def test_the_same_generator_state_gives_the_same_sample():
    wanted = DataSettings(size=(48, 64), crop=(32, 40))
    first, second, other = (augment(sample_of(), wanted, np.random.default_rng(seed)) for seed in (7, 7, 8))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["image"], other["image"])


def test_other_random_states_are_neither_read_nor_changed():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    augment(sample_of(), DataSettings(size=(48, 64), crop=(32, 40)), np.random.default_rng(0))
    assert torch.equal(torch.get_rng_state(), before)


def test_augmentation_leaves_its_input_alone():
    sample = sample_of()
    kept = {name: values.clone() for name, values in sample.items()}
    for seed in range(10):
        augment(sample, DataSettings(size=(48, 64)), np.random.default_rng(seed))
    assert all(torch.equal(sample[name], kept[name]) for name in sample)


@pytest.mark.parametrize("degrees", [-10.0, -2.5, 2.5, 30.0])
def test_what_turns_in_from_outside_is_invalid(degrees):
    size = (48, 64)
    sample = {
        "image": torch.ones(3, *size),
        "depth": torch.full((1, *size), 3.0),
        "valid": torch.ones(1, *size, dtype=torch.bool),
        "predictions": torch.full((3, *size), 3.0),
    }
    turned = rotate(sample, degrees)
    outside = ~turned["valid"]
    assert outside[0, 0].any()
    assert 0 < outside.float().mean() < 0.5
    assert turned["valid"][0, 24, 32]
    assert (turned["image"][:, outside[0]] < 1).all(), "what lies outside is black, at most mixed with the border"
    assert (turned["depth"][turned["valid"]] == 3).all()
    assert (turned["predictions"][:, turned["valid"][0]] == 3).all()


def test_an_image_turns_the_way_its_depth_does():
    depth = torch.ones(1, 61, 61)
    depth[:, 10:20, 25:35] = 5.0
    sample = {"image": depth.repeat(3, 1, 1) / 5, "depth": depth, "valid": torch.ones(1, 61, 61, dtype=torch.bool)}
    turned = rotate(sample, 20.0)
    difference = (turned["image"][:1] * 5 - turned["depth"]).abs()[turned["valid"]]
    assert difference.median() < 1e-4
    assert (difference > 2.5).float().mean() < 0.01
    column = (turned["depth"][0] == 5.0).nonzero()[:, 1].float().mean()
    assert column < 28, "positive angles turn counter-clockwise: what is above the centre goes left"


def test_flipping_twice_changes_nothing():
    sample = sample_of()
    once, twice = flip(sample), flip(flip(sample))
    assert all(torch.equal(twice[name], sample[name]) for name in sample)
    assert not torch.equal(once["depth"], sample["depth"])
    assert torch.equal(once["image"][:, :, 0], sample["image"][:, :, -1])


def test_nothing_asked_changes_nothing():
    sample = sample_of()
    same = augment(sample, DataSettings(size=(48, 64), augmentation=STILL), np.random.default_rng(0))
    assert all(torch.equal(same[name], sample[name]) for name in sample)


def test_crops_stay_inside_the_region_and_reach_its_borders():
    wanted = DataSettings(size=(48, 64), border=(45, 43, 472, 608), crop=(40, 50), augmentation=STILL)
    rows, columns = torch.meshgrid(torch.arange(48.0), torch.arange(64.0), indexing="ij")
    sample = {
        "image": torch.zeros(3, 48, 64),
        "depth": rows[None],
        "valid": torch.ones(1, 48, 64, dtype=torch.bool),
        "predictions": columns[None],
    }
    generator = np.random.default_rng(0)
    crops = [augment(sample, wanted, generator) for _ in range(300)]
    top, left, height, width = wanted.crop_region
    assert {float(crop["depth"].min()) for crop in crops} == set(map(float, range(top, top + height - 40 + 1)))
    assert {float(crop["predictions"].min()) for crop in crops} == set(map(float, range(left, left + width - 50 + 1)))


def test_probabilities_are_met():
    sample = sample_of((8, 10))
    generator = np.random.default_rng(0)
    wanted = DataSettings(size=(8, 10), augmentation=AugmentationSettings(flip=0.3, photometric=0.6, rotation=0.0))
    samples = [augment(sample, wanted, generator) for _ in range(1000)]
    flipped = np.mean([torch.equal(moved["depth"], sample["depth"].flip(-1)) for moved in samples])
    still = np.mean(
        [any(torch.equal(moved["image"], image) for image in (sample["image"], sample["image"].flip(-1)))
         for moved in samples]
    )  # fmt: skip
    assert flipped == pytest.approx(0.3, abs=0.05)
    assert still == pytest.approx(0.4, abs=0.05)


def test_tinting_changes_the_image_only_and_within_its_ranges():
    changes = AugmentationSettings(flip=0.0, photometric=1.0, rotation=0.0, contrast=(1.0, 1.0))
    wanted = DataSettings(size=(8, 10), augmentation=changes)
    sample = sample_of((8, 10)) | {"image": torch.full((3, 8, 10), 0.5)}
    factors = []
    for seed in range(200):
        tinted = augment(sample, wanted, np.random.default_rng(seed))
        assert torch.equal(tinted["depth"], sample["depth"])
        factors.append((tinted["image"] / 0.5).mean(dim=(1, 2)))
    factors = torch.stack(factors)
    assert 0.81 - 1e-5 <= factors.min() < 0.9
    assert 1.1 < factors.max() <= 1.21 + 1e-5
    assert (factors.std(dim=1) > 0).all(), "channels differ"


def test_tinted_images_stay_between_0_and_1():
    changes = AugmentationSettings(photometric=1.0, brightness=(1.5, 3.0), contrast=(0.2, 3.0), colour=(0.5, 2.0))
    for seed in range(20):
        image = augment(sample_of(), DataSettings(size=(48, 64), augmentation=changes), np.random.default_rng(seed))[
            "image"
        ]
        assert 0 <= image.min() <= image.max() <= 1
