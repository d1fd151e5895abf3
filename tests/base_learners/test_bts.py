"""Local planar guidance and the 1x1 chains of BTS."""

import math

import pytest
import torch
import torch.nn.functional as F
from narrow import noise

from base_learners.bts import SMALLEST_COSINE, local_planar_guidance, plane_depth, reduction, thinned


@pytest.mark.parametrize("cell", [2, 4, 8])
def test_a_plane_that_faces_the_camera_is_flat(cell):
    normal = torch.tensor([0.0, 0.0, 1.0]).view(1, 3, 1, 1).expand(1, 3, 2, 3)
    depth = plane_depth(normal, torch.full((1, 1, 2, 3), 4.25), cell=cell)
    assert depth.shape == (1, 1, 2 * cell, 3 * cell)
    assert torch.equal(depth, torch.full_like(depth, 4.25))


@pytest.mark.parametrize(("cell", "largest_offset"), [(2, 0.25), (4, 0.375), (8, 0.4375)])
def test_every_point_lies_on_its_plane(cell, largest_offset):
    generator = torch.Generator().manual_seed(0)
    polar, azimuth = torch.rand(2, 2, 3, 4, generator=generator, dtype=torch.float64)
    polar, azimuth = polar * 0.9, azimuth * 2 * math.pi
    normal = torch.stack([polar.sin() * azimuth.cos(), polar.sin() * azimuth.sin(), polar.cos()], dim=1)
    distance = 1 + torch.rand(2, 1, 3, 4, generator=generator, dtype=torch.float64)
    z = plane_depth(normal, distance, cell=cell)
    offset = (torch.arange(cell, dtype=torch.float64) - (cell - 1) / 2) / cell
    assert offset.max().item() == largest_offset
    u, v = offset.repeat(4).expand(3 * cell, -1), offset.repeat(3)[:, None].expand(-1, 4 * cell)
    n1, n2, n3 = (n.repeat_interleave(cell, 1).repeat_interleave(cell, 2) for n in normal.unbind(1))
    found = n1 * u * z[:, 0] + n2 * v * z[:, 0] + n3 * z[:, 0]
    expected = distance[:, 0].repeat_interleave(cell, 1).repeat_interleave(cell, 2)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-14)


@pytest.mark.parametrize("cell", [2, 4, 8])
def test_planes_are_those_of_one_cell_after_the_other(cell):
    normal, distance = F.normalize(noise(2, 3, 5, 7) - 0.3, dim=1), noise(2, 1, 5, 7, seed=1)
    offset = (torch.arange(cell) - (cell - 1) / 2) / cell
    n1, n2, n3 = normal[:, :, :, None, :, None].unbind(dim=1)  # [b rows cell columns cell]
    cosine = n1 * offset + n2 * offset[:, None, None] + n3
    expected = distance[:, 0, :, None, :, None] / cosine.clamp(min=SMALLEST_COSINE)
    assert torch.equal(plane_depth(normal, distance, cell=cell), expected.reshape(2, 1, 5 * cell, 7 * cell))


@pytest.mark.parametrize("stride", [2, 4])
def test_thinned_guides_have_the_pixels_of_a_nearest_reduction(stride):
    guide = noise(2, 1, 16 * stride, 24 * stride)
    like = torch.zeros(2, 3, 16, 24)
    assert torch.equal(thinned(guide, stride, like), F.interpolate(guide, size=(16, 24), mode="nearest"))
    assert thinned(guide[..., 1:, 1:], stride, like).shape == (2, 1, 16, 24)  # an encoder rounds sizes up
    assert thinned(guide[..., 1:, 1:], stride, like[..., 1:, 1:]).shape == (2, 1, 15, 23)  # or down


@pytest.mark.parametrize(("cell", "smallest"), [(2, 0.1938138), (4, 0.0407207), (8, SMALLEST_COSINE)])
def test_planes_seen_edge_on_stay_in_front_of_the_camera(cell, smallest):
    steep = torch.zeros(1, 3, 1, 360)
    steep[:, 0] = 20.0  # a polar angle of 60 degrees
    share = torch.linspace(0.001, 0.999, 360)
    steep[:, 1] = (share / (1 - share)).log()
    steep[:, 2] = 20.0  # the largest distance
    depth = local_planar_guidance(steep, cell=cell)
    assert depth.min() > 0
    assert depth.max().item() == pytest.approx(1 / smallest, rel=1e-3)


def test_the_chain_halves_down_to_eight():
    sizes = [layer.out_channels for layer in reduction(128, 128, 3) if hasattr(layer, "out_channels")]
    assert sizes == [128, 64, 32, 16, 8, 3]
    assert [layer.out_channels for layer in reduction(12, 6, 1)] == [1]
