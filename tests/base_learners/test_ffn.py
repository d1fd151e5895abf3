"""The teacher's size, and how its maps are put together."""

import pytest
import torch
from narrow import noise

from base_learners.encoders.build import build_encoder
from base_learners.ffn import FFN


def test_parameters_are_those_of_the_teacher():
    encoder = build_encoder("resnest101e")
    network = FFN(encoder)
    assert encoder.channels == (128, 256, 512, 1024, 2048)
    assert sum(p.numel() for p in encoder.parameters()) == 46_226_016
    assert sum(p.numel() for p in network.parameters()) == 67_466_082
    per_unit = 2 * (9 * 256 * 256 + 256)
    decoder = 9 * 256 * sum(encoder.channels) + 10 * per_unit
    assert sum(p.numel() for p in network.fusions.parameters()) == decoder


@pytest.mark.parametrize("size", [(64, 96), (65, 97)])
def test_maps_of_the_decoder_stand_at_their_strides(size):
    network = FFN(build_encoder("ghostnet_050"), width=16).eval()
    found = network(noise(1, 3, *size))
    assert found.depth.shape == (1, 1, *size)
    expected = [(1, 16, *(-(-side // stride) for side in size)) for stride in (16, 8, 4, 2)]
    assert [tuple(single.shape) for single in found.decoder] == expected


def test_a_fused_map_reads_its_own_and_what_is_coarser():
    network = FFN(build_encoder("ghostnet_050"), width=16).eval()
    fuse, skip, coarser = network.fusions[1], noise(1, network.encoder.channels[3], 4, 6), noise(1, 16, 2, 3)
    alone, both = fuse(skip, None), fuse(skip, coarser)
    assert alone.shape == both.shape == (1, 16, 4, 6)
    assert not torch.allclose(alone, both)
