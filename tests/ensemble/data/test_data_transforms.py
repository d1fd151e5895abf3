"""Resizing: depth only moves, the image is averaged, and what is valid stays so."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ensemble.data.source import RawFrame
from ensemble.data.transforms import bring_to_size, resize_image, valid_depth


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
