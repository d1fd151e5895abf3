"""Augmentation: depth only moves, everything moves together, and the generator decides."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional

from ensemble.data.augmentation import Change, Tint, changed, draw_change
from ensemble.data.transforms import Sample, unit_image
from ensemble.settings.schema import AugmentationSettings, DataSettings

STILL = AugmentationSettings(flip=0.0, photometric=0.0, rotation=0.0)


def sample_of(size: tuple[int, int] = (48, 64), seed: int = 0, learners: int = 2) -> dict[str, Tensor]:
    generator = np.random.default_rng(seed)
    depth = torch.from_numpy(generator.uniform(0.5, 9.5, (1, *size)).astype(np.float32))
    return {
        "image": torch.from_numpy(generator.integers(256, size=(3, *size), dtype=np.uint8)),
        "depth": depth,
        "valid": torch.from_numpy(generator.random((1, *size)) > 0.2),
        "predictions": depth.repeat(learners, 1, 1),
    }


def augment(sample: Sample, wanted: DataSettings, generator: np.random.Generator) -> Sample:
    return changed(sample, draw_change(wanted, generator))


def rotate(sample: Sample, degrees: float) -> Sample:
    return changed(sample, Change(degrees, None, mirrored=False, tint=None))


def flip(sample: Sample) -> Sample:
    return changed(sample, Change(0.0, None, mirrored=True, tint=None))


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
        "image": torch.full((3, *size), 255, dtype=torch.uint8),
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
    sample = {
        "image": (depth.repeat(3, 1, 1) * 51).to(torch.uint8),
        "depth": depth,
        "valid": torch.ones(1, 61, 61, dtype=torch.bool),
    }
    turned = rotate(sample, 20.0)
    difference = (turned["image"][:1] * 5 - turned["depth"]).abs()[turned["valid"]]
    assert difference.median() < 1e-4
    assert (difference > 2.5).float().mean() < 0.01
    column = (turned["depth"][0] == 5.0).nonzero()[:, 1].float().mean()
    assert column < 28, "positive angles turn counter-clockwise: what is above the centre goes left"


def test_flipping_twice_changes_nothing():
    sample = sample_of()
    once = flip(sample)
    twice = flip({**once, "image": (once["image"] * 255).round().to(torch.uint8)})
    floats = {**sample, "image": unit_image(sample["image"])}
    assert all(torch.equal(twice[name], floats[name]) for name in sample)
    assert not torch.equal(once["depth"], sample["depth"])
    assert torch.equal(once["image"], floats["image"].flip(-1))


def test_nothing_asked_changes_nothing_but_bits_to_floats():
    sample = sample_of() | {"image": torch.arange(3 * 48 * 64).reshape(3, 48, 64).to(torch.uint8)}
    same = augment(sample, DataSettings(size=(48, 64), augmentation=STILL), np.random.default_rng(0))
    floats = {**sample, "image": unit_image(sample["image"])}
    assert all(torch.equal(same[name], floats[name]) for name in sample)


def test_crops_stay_inside_the_region_and_reach_its_borders():
    wanted = DataSettings(size=(48, 64), border=(45, 43, 472, 608), crop=(40, 50), augmentation=STILL)
    rows, columns = torch.meshgrid(torch.arange(48.0), torch.arange(64.0), indexing="ij")
    sample = {
        "image": torch.zeros(3, 48, 64, dtype=torch.uint8),
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
    sample = sample_of((32, 40))
    floats = unit_image(sample["image"])
    generator = np.random.default_rng(0)
    wanted = DataSettings(size=(32, 40), augmentation=AugmentationSettings(flip=0.3, photometric=0.6, rotation=0.0))
    samples = [augment(sample, wanted, generator) for _ in range(1000)]
    flipped = np.mean([torch.equal(moved["depth"], sample["depth"].flip(-1)) for moved in samples])
    still = np.mean(
        [any(torch.equal(moved["image"], image) for image in (floats, floats.flip(-1))) for moved in samples]
    )  # fmt: skip
    assert flipped == pytest.approx(0.3, abs=0.05)
    assert still == pytest.approx(0.4, abs=0.05)


def test_tinting_changes_the_image_only_and_within_its_ranges():
    changes = AugmentationSettings(flip=0.0, photometric=1.0, rotation=0.0, contrast=(1.0, 1.0))
    wanted = DataSettings(size=(32, 40), augmentation=changes)
    sample = sample_of((32, 40)) | {"image": torch.full((3, 32, 40), 128, dtype=torch.uint8)}
    factors = []
    for seed in range(200):
        tinted = augment(sample, wanted, np.random.default_rng(seed))
        assert torch.equal(tinted["depth"], sample["depth"])
        factors.append((tinted["image"] / (128 / 255)).mean(dim=(1, 2)))
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


@pytest.mark.parametrize("side_by_side", [False, True])
def test_tints_are_those_of_torchvision(side_by_side: bool):
    """In whichever order the values of a pixel lie in memory."""
    pixels = sample_of((31, 43))["image"]
    if side_by_side:
        pixels = pixels.permute(1, 2, 0).contiguous().permute(2, 0, 1)
    for tint in (Tint(0.9, 1.1, (1.1, 0.95, 1.0)), Tint(1.6, 2.0, (0.5, 1.5, 1.0)), Tint(0.4, 0.3, (1.0, 2.5, 0.9))):
        bright = functional.adjust_brightness(pixels / 255, tint.brightness)
        expected = functional.adjust_contrast(bright, tint.contrast)
        expected = (expected * torch.tensor(tint.colour)[:, None, None]).clamp(0, 1)
        sample = {"image": pixels, "depth": torch.ones(1, 31, 43)}
        found = changed(sample, Change(0.0, None, mirrored=False, tint=tint))["image"]
        assert (found - expected).abs().max() < 2e-6


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("degrees", [-30.0, -2.5, 0.7, 40.0])
def test_frames_turn_like_those_of_torchvision(degrees: float, mirrored: bool):
    """Smooth images within a step of 8 bits; depth everywhere but where rounding decides between two pixels."""
    rows, columns = torch.meshgrid(torch.arange(48.0), torch.arange(64.0), indexing="ij")
    image = torch.stack([rows * 5, columns * 4 - 1, 255 - rows - columns]).clamp(0, 255).to(torch.uint8)
    depth = (1 + rows + 100 * columns)[None]
    sample = {"image": image, "depth": depth, "valid": depth > 300}
    found = changed(sample, Change(degrees, None, mirrored=mirrored, tint=None))
    expected = functional.rotate(image / 255, degrees, InterpolationMode.BILINEAR)
    turned = functional.rotate(torch.cat([depth, (depth > 300).float()]), degrees)
    if mirrored:
        expected, turned = expected.flip(-1), turned.flip(-1)
    inside = functional.rotate(torch.ones(1, 48, 64), degrees, InterpolationMode.BILINEAR)
    inside = (inside.flip(-1) if mirrored else inside) == 1
    assert ((found["image"] - expected).abs() * 255)[:, inside[0]].max() < 1.1
    assert (found["depth"] == turned[:1]).float().mean() > 0.995
    assert (found["valid"] == turned[1:].bool()).float().mean() > 0.995
