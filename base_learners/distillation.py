"""Losses between a student and its teacher: pure functions of float32 metres, weights and maps of features."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from base_learners.blocks import full_precision
from base_learners.contract import MapsByStride
from base_learners.losses import TINY, check_shapes


def trust(
    error: Float[Tensor, "b 1 h w"], depth: Float[Tensor, "b 1 h w"], *, floor: float
) -> Float[Tensor, "b 1 h w"]:
    """How much a teacher's depth counts: 1 where no error is expected, 1/2 where it is ``floor`` of the depth.

    ``weighted_log_loss`` divides weights by their sum over the batch. So a pixel counts against the others of its
    batch: one whose pixels are all as unsure counts as much as one whose pixels are all sure.

    Args:
        error: Root mean squared error to be expected, in metres.
        depth: In metres; where it is 0 nothing is known, and the weight is 0.
        floor: Share of the depth.

    Source: the inverse of a variance that is the sum of both squares, as log errors go with shares of the depth.
    """
    known = depth > 0
    share = torch.where(known, error, 0.0) / torch.where(known, depth, 1.0)
    return known * floor**2 / (floor**2 + share.square())


def weighted_log_loss(
    predicted: Float[Tensor, "b 1 h w"],
    target: Float[Tensor, "b 1 h w"],
    weight: Float[Tensor, "b 1 h w"],
    *,
    mean_weight: float = 0.85,
    scale: float = 10.0,
) -> Float[Tensor, ""]:
    """Scale-invariant log error in which pixels have weights; 0 where no pixel has one.

    Args:
        predicted: Depth in metres, positive.
        target: Depth in metres; read only where ``weight`` is above 0.
        weight: Of every pixel, not negative; their sum over the batch does not matter.
        mean_weight: Share of the squared mean log error that is forgiven; 1 ignores global scale.
        scale: Factor of the result.

    Raises:
        ValueError: The shapes differ, or a depth that counts has no finite logarithm.

    Source: Eigen et al. 2014, eq. 4, with weighted means, under a square root as in Lee et al. 2019, eq. 4.
    """
    counts = weight > 0
    check_shapes(predicted, target, counts)
    with full_precision(predicted):
        one = torch.ones((), device=predicted.device)
        log_error = torch.where(counts, predicted.float(), one).log() - torch.where(counts, target.float(), one).log()
        if not torch.isfinite(log_error).all():
            raise ValueError(
                "weighted_log_loss: depths that have a weight are not positive and finite; lower the learning rate if "
                "predictions diverge"
            )
        share = weight.float() / weight.float().sum().clamp(min=TINY)
        mean = (share * log_error).sum()
        spread = (share * (log_error - mean).square()).sum() + (1 - mean_weight) * mean.square()
        return scale * ((spread + TINY).sqrt() - TINY**0.5)


def affinity_loss(student: MapsByStride, teacher: MapsByStride, *, grid: int = 16) -> Float[Tensor, ""]:
    """Mean squared difference of affinities, summed over the strides from 2 on that both have maps at; no unit.

    Raises:
        ValueError: There is no such stride.

    Source: Liu et al. 2019, Structured Knowledge Distillation, eq. 2, on a finer grid than theirs of 2x2 places.
    """
    common = sorted((student.keys() & teacher.keys()) - {1})
    if not common:
        raise ValueError(
            f"affinity_loss: maps of the student at strides {sorted(student)}, of the teacher at {sorted(teacher)}, "
            "expected one above 1 in common"
        )
    terms = []
    for stride in common:
        rows, columns = student[stride].shape[-2:]
        places = min(grid, rows), min(grid, columns)
        difference = affinity(student[stride], places) - affinity(teacher[stride], places).detach()
        terms.append(difference.square().mean())
    return torch.stack(terms).sum()


def affinity(maps: Float[Tensor, "b c h w"], places: tuple[int, int]) -> Float[Tensor, "b n n"]:
    """Cosine of the features of every pair of places, maps averaged to so many rows and columns, in float32.

    A place without features, all of them 0, is unlike every other one.
    """
    with full_precision(maps):
        pooled = F.adaptive_avg_pool2d(maps.float(), places).flatten(2)
        unit = F.normalize(pooled, dim=1, eps=1e-8)
        return unit.transpose(1, 2) @ unit
