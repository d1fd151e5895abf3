"""Losses on depth maps: pure functions of float32 metres, of which only pixels with a measurement are read."""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from base_learners.blocks import full_precision, upsample_to

TINY = 1e-12


def resize_like(predicted: Float[Tensor, "b 1 h w"], target: Float[Tensor, "b 1 H W"]) -> Float[Tensor, "b 1 H W"]:
    """Bring a prediction to the size of its target, bilinearly."""
    return upsample_to(predicted.float(), target)


def scale_invariant_log_loss(
    predicted: Float[Tensor, "b 1 h w"],
    target: Float[Tensor, "b 1 h w"],
    valid: Bool[Tensor, "b 1 h w"],
    *,
    mean_weight: float = 0.85,
    scale: float = 10.0,
) -> Float[Tensor, ""]:
    """Scale-invariant log error over every valid pixel of the batch.

    Args:
        predicted: Depth in metres, positive.
        target: Measured depth in metres; read only where ``valid`` is true.
        valid: Pixels that have a measurement.
        mean_weight: Share of the squared mean log error that is forgiven; 1 ignores global scale.
        scale: Factor of the result.

    Raises:
        ValueError: No pixel is valid (a zero here would hide an empty mask), the shapes differ, or a valid pixel has a
            depth without a finite logarithm.

    Source: Eigen et al. 2014, eq. 4, under a square root as in Lee et al. 2019, eq. 4.
    """
    check_shapes(predicted, target, valid)
    with full_precision(predicted):
        log_error = predicted[valid].float().log() - target[valid].float().log()
        if log_error.numel() == 0:
            raise ValueError(
                f"scale_invariant_log_loss: none of {valid.numel()} pixels is valid; leave such batches out"
            )
        if not torch.isfinite(log_error).all():
            raise ValueError(f"scale_invariant_log_loss: {_not_loggable(predicted, target, valid)}")
        mean = log_error.mean()
        spread = (log_error - mean).square().mean() + (1 - mean_weight) * mean.square()
        return scale * (spread + TINY).sqrt()


def bin_chamfer_loss(
    centres: Float[Tensor, "b bins"], target: Float[Tensor, "b 1 h w"], valid: Bool[Tensor, "b 1 h w"]
) -> Float[Tensor, ""]:
    """Squared distance between the bin centres and the measured depths of each image, in square metres.

    Mean over the depths and mean over the centres are added; then the mean over the images that have a measurement.

    Raises:
        ValueError: No pixel is valid, or the shapes differ.

    Source: Bhat et al. 2021, eq. 6; exact in one dimension by sorting.
    """
    check_shapes(target, target, valid)
    terms = []
    with full_precision(centres):
        for own_centres, depth_map, mask in zip(centres.float(), target, valid, strict=True):
            depths = depth_map[mask].float().sort().values
            if depths.numel():
                terms.append(_nearest_gap(depths, own_centres) + _nearest_gap(own_centres, depths))
        if not terms:
            raise ValueError(f"bin_chamfer_loss: none of {valid.numel()} pixels is valid; leave such batches out")
        return torch.stack(terms).mean()


def sobel_gradient_loss(
    predicted: Float[Tensor, "b 1 h w"], target: Float[Tensor, "b 1 h w"], valid: Bool[Tensor, "b 1 h w"]
) -> Float[Tensor, ""]:
    """Mean absolute difference of the Sobel gradients of two depth maps, in metres per pixel.

    Read where all nine pixels of a window are valid; zero where there is no such window.

    Raises:
        ValueError: The shapes differ.

    Source: Song et al. 2021, LapDepth; Sobel's kernels divided by 8.
    """
    check_shapes(predicted, target, valid)
    with full_precision(predicted):
        zero = torch.zeros((), device=predicted.device)
        error = torch.where(valid, predicted.float(), zero) - torch.where(valid, target.float(), zero)
        across = torch.tensor([[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]], device=predicted.device) / 8
        gradients = F.conv2d(error, torch.stack([across, across.T])[:, None])
        whole = F.max_pool2d((~valid).float(), 3, stride=1) == 0
        return (gradients.abs() * whole).sum() / (2 * whole.sum()).clamp(min=1)


def gradient_matching_loss(
    predicted: Float[Tensor, "b 1 h w"],
    target: Float[Tensor, "b 1 h w"],
    valid: Bool[Tensor, "b 1 h w"],
    *,
    scales: int = 4,
) -> Float[Tensor, ""]:
    """Mean absolute difference between neighbours of the map of log errors, summed over scales; no unit.

    Rows and columns of scale k are every ``2 ** k``-th. Read where both neighbours are valid; a scale without such a
    pair adds nothing.

    Raises:
        ValueError: The shapes differ, or ``scales`` is below 1.

    Source: Ranftl et al. 2022, Towards Robust Monocular Depth Estimation, eq. 11, with log errors for their residuals.
    """
    check_shapes(predicted, target, valid)
    if scales < 1:
        raise ValueError(f"gradient_matching_loss: scales {scales}, expected at least 1")
    with full_precision(predicted):
        one = torch.ones((), device=predicted.device)
        error = torch.where(valid, predicted.float(), one).log() - torch.where(valid, target.float(), one).log()
        return torch.stack([_steps(error[..., ::n, ::n], valid[..., ::n, ::n]) for n in _halvings(scales)]).sum()


def _halvings(scales: int) -> list[int]:
    return [2**scale for scale in range(scales)]


def _steps(error: Float[Tensor, "b 1 h w"], valid: Bool[Tensor, "b 1 h w"]) -> Float[Tensor, ""]:
    """Mean over pairs of valid neighbours, downwards and to the right, of how much they differ."""
    down = (error[..., 1:, :] - error[..., :-1, :])[valid[..., 1:, :] & valid[..., :-1, :]].abs()
    right = (error[..., 1:] - error[..., :-1])[valid[..., 1:] & valid[..., :-1]].abs()
    return down.sum() / max(down.numel(), 1) + right.sum() / max(right.numel(), 1)


def check_shapes(predicted: Tensor, target: Tensor, valid: Tensor) -> None:
    """Refuse maps that PyTorch would broadcast or misread: of different shapes, or with a mask that is not boolean."""
    if not predicted.shape == target.shape == valid.shape:
        raise ValueError(
            f"loss: predicted {tuple(predicted.shape)}, target {tuple(target.shape)} and valid {tuple(valid.shape)} "
            "must have one shape (batch, 1, height, width)"
        )
    if valid.dtype != torch.bool:
        raise ValueError(f"loss: valid must be boolean, found {valid.dtype}")


def _nearest_gap(points: Float[Tensor, " n"], among: Float[Tensor, " m"]) -> Float[Tensor, ""]:
    """Mean squared distance from each point to the nearest of an ascending list."""
    right = torch.searchsorted(among.detach(), points.detach())
    lower = among[(right - 1).clamp(min=0)]
    upper = among[right.clamp(max=len(among) - 1)]
    return torch.minimum((points - lower).square(), (points - upper).square()).mean()


def _not_loggable(predicted: Tensor, target: Tensor, valid: Tensor) -> str:
    counts = [int((~(torch.isfinite(x[valid]) & (x[valid] > 0))).sum()) for x in (predicted, target)]
    return (
        f"of {int(valid.sum())} valid pixels {counts[0]} predicted and {counts[1]} measured depths are not positive "
        "and finite; mark such measurements invalid, and lower the learning rate if predictions diverge"
    )
