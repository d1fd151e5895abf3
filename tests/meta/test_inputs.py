"""Which channels the meta-learner sees, and how they are scaled."""

import pytest
import torch

from meta.inputs import INPUTS, assemble, channel_count, normalisation

IMAGE, DEPTHS = torch.full((2, 3, 4, 5), 0.5), torch.full((2, 4, 4, 5), 2.5)


@pytest.mark.parametrize(("kind", "channels"), [("rgb", 3), ("d", 4), ("rgb+d", 7)])
def test_channels_of_every_kind(kind, channels):
    stacked = assemble(kind, IMAGE, DEPTHS, max_depth=10.0)
    mean, std = normalisation(kind, 4)
    assert stacked.shape == (2, channels, 4, 5)
    assert channel_count(kind, 4) == channels == len(mean) == len(std)
    assert set(INPUTS) == {"rgb", "d", "rgb+d"}


def test_the_image_comes_first_and_depths_are_divided_by_the_largest():
    stacked = assemble("rgb+d", IMAGE, DEPTHS, max_depth=10.0)
    assert torch.equal(stacked[:, :3], IMAGE)
    assert torch.equal(stacked[:, 3:], torch.full_like(DEPTHS, 0.25))


def test_normalisation_takes_the_image_constants_of_the_encoder():
    mean, std = normalisation("rgb+d", 2, image_mean=(0.5, 0.5, 0.5), image_std=(0.4, 0.4, 0.4))
    assert mean == (0.5, 0.5, 0.5, 0.25, 0.25)
    assert std == (0.4, 0.4, 0.4, 0.25, 0.25)


def test_unknown_kinds_and_other_sizes_are_refused():
    for call in (lambda: channel_count("depth", 3), lambda: normalisation("depth", 3)):
        with pytest.raises(ValueError, match=r"'depth' is unknown, expected one of rgb, d, rgb\+d"):
            call()
    with pytest.raises(ValueError, match=r"image is \(4, 5\) and depths are \(2, 5\)"):
        assemble("rgb+d", IMAGE, DEPTHS[:, :, :2], max_depth=10.0)
