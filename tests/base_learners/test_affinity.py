"""What two networks find alike: numbers worked out by hand, and maps that every decoder hands out at its strides."""

import math

import pytest
import torch
from narrow import narrow_network, noise

from base_learners.losses import affinity_loss


def places(*rows: list[float]) -> torch.Tensor:
    """A map of one row, of which the vector of every place is given."""
    return torch.tensor(rows).T[None, :, None, :]


def test_affinities_are_cosines():
    student, teacher = places([1.0, 0.0], [2.0, 0.0]), places([1.0, 0.0], [0.0, 3.0])
    assert affinity_loss([student], [teacher], grid=2).item() == pytest.approx((0 + 1 + 1 + 0) / 4)
    slanted = places([1.0, 0.0], [1.0, 1.0])
    assert affinity_loss([slanted], [teacher], grid=2).item() == pytest.approx(2 * math.cos(math.pi / 4) ** 2 / 4)


def test_channels_need_not_agree_and_neither_lengths_nor_turns_of_vectors_count():
    teacher = noise(2, 5, 24, 32)
    turn, _ = torch.linalg.qr(noise(9, 5, seed=1))
    student = 3 * torch.einsum("dc,bchw->bdhw", turn, teacher)
    assert affinity_loss([student], [teacher]).item() == pytest.approx(0, abs=1e-9)
    assert affinity_loss([noise(2, 9, 24, 32, seed=2)], [teacher]).item() > 1e-4


def test_pairs_of_maps_are_summed_and_the_teacher_learns_nothing():
    student, teacher = noise(1, 3, 8, 8).requires_grad_(), noise(1, 4, 8, 8, seed=1).requires_grad_()
    one, two = affinity_loss([student], [teacher], grid=4), affinity_loss([student] * 2, [teacher] * 2, grid=4)
    assert two.item() == pytest.approx(2 * one.item())
    two.backward()
    assert student.grad is not None
    assert student.grad.abs().sum() > 0
    assert teacher.grad is None


def test_half_precision_is_computed_in_full():
    student, teacher = noise(1, 3, 32, 32), noise(1, 4, 32, 32, seed=1)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = affinity_loss([student], [teacher])
    assert mixed.dtype == torch.float32
    assert mixed.item() == affinity_loss([student], [teacher]).item()


def test_a_teacher_without_maps_and_a_grid_of_one_place_are_refused():
    with pytest.raises(ValueError, match="1 maps of the student and 0 of the teacher"):
        affinity_loss([noise(1, 3, 8, 8)], [])
    with pytest.raises(ValueError, match="grid 1, expected at least 2"):
        affinity_loss([noise(1, 3, 8, 8)], [noise(1, 3, 8, 8)], grid=1)


@pytest.mark.parametrize("name", ["fastdepth", "bts", "ldrn"])
@pytest.mark.parametrize("size", [(64, 96), (65, 97)])
def test_decoders_hand_out_their_maps_from_stride_16_to_2(name: str, size: tuple[int, int]):
    maps = narrow_network(name).eval()(noise(1, 3, *size)).decoder
    assert [tuple(each.shape[-2:]) for each in maps] == [
        tuple(-(-side // stride) for side in size) for stride in (16, 8, 4, 2)
    ]
