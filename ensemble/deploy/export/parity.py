"""The gate: what an exported file says of images beside what the network says, and how far apart they may be."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from ensemble.data.transforms import Original
from ensemble.deploy.export.frames import GateImage
from ensemble.deploy.network import StackNetwork
from ensemble.deploy.runtime.session import Run
from ensemble.metrics.formulas import abs_rel, pixel_errors, share_within

INDOORS = 10.0
"""Metres of depth that the limits below are of; they grow with the largest depth, as what 32 bits can tell does."""

FP32_LARGEST, FP32_MEAN = 2e-4, 1e-5
"""Metres that depth, and expected error, of a file in 32 bits may differ by."""

FP16_MEAN, FP16_REL = 0.02, 0.0005
"""Metres that depth of a file with weights of 16 bits may differ by on average, and REL."""


REL_FOR_D1 = 2.5
"""How much of itself REL of a file may grow by, per share of d1 that it may lose: 5 % with .02 of d1.

A file can keep d1 and lose REL: depth that was nearly right stays so while single pixels go far astray.
"""


@dataclass(frozen=True)
class Parity:
    """Differences of a file from the network that it was made of, in metres, and how both score.

    Attributes:
        images: How many, of what kind, and at which sizes.
        largest: Difference of depth at any pixel.
        mean: Over all pixels.
        error_largest: Of the expected error; ``None`` of a learner alone.
        error_mean: Likewise.
        weights_largest: Of the weights.
        rel: Of the network and of the file; ``None`` where depth is not known.
        d1: Likewise.
        stack: Differences of depth from what the stack itself predicts, at most and on average: it may average with the
            mirrored image, compute in the precision of its training, and let learners see the whole frame at sizes of
            their own.
    """

    images: str
    largest: float
    mean: float
    error_largest: float | None
    error_mean: float | None
    weights_largest: float
    rel: tuple[float, float] | None
    d1: tuple[float, float] | None
    stack: tuple[float, float] | None = None

    def to_plain(self) -> dict[str, Any]:
        """Ready for JSON."""
        return asdict(self)

    def sentence(self) -> str:
        """For people."""
        told = f"depth differs by {self.largest:.2g} m at most and {self.mean:.2g} m on average ({self.images})"
        if self.rel is None or self.d1 is None:
            return f"{told}; no depth is known of these images, so what that costs is not"
        return (
            f"{told}; REL {self.rel[0]:.4f} of the network and {self.rel[1]:.4f} of the file, "
            f"d1 {self.d1[0]:.4f} and {self.d1[1]:.4f}"
        )


@torch.inference_mode()
def compare(
    network: StackNetwork, run: Run, groups: Mapping[tuple[int, int], Sequence[GateImage]], pixels: str, what: str
) -> Parity:
    """What a file says of images beside what the network says, which computes in 32 bits.

    Args:
        network: Without averaging over the mirrored image, as files are.
        run: The file.
        groups: Images by their size.
        pixels: ``uint8`` or ``float32``, which the file takes.
        what: The images, in words.
    """
    gaps: dict[str, list[np.ndarray]] = {"depth": [], "error": [], "weights": []}
    scores: list[list[float]] = []
    for image in (image for images in groups.values() for image in images):
        unit = image.pixels.float() / 255
        expected = network(unit)
        found = run((image.pixels if pixels == "uint8" else unit).numpy())
        for name, own in gaps.items():
            reference = getattr(expected, name)
            if reference is not None:
                own.append(np.abs(found[name].astype(np.float64) - reference.numpy().astype(np.float64)).ravel())
        if image.depth is not None and image.valid is not None and bool(image.valid.any()):
            scores.append([*_scored(expected.depth, image), *_scored(torch.from_numpy(found["depth"]), image)])
    joined = {name: np.concatenate(own) if own else None for name, own in gaps.items()}
    depth, error, weights = joined["depth"], joined["error"], joined["weights"]
    if depth is None or weights is None:
        raise ValueError("parity: expected images to compare on, found none")
    means = np.mean(scores, axis=0).tolist() if scores else None
    sizes = ", ".join(f"{height}x{width}" for height, width in groups)
    return Parity(
        images=f"{what} at {sizes}",
        largest=float(depth.max()),
        mean=float(depth.mean()),
        error_largest=None if error is None else float(error.max()),
        error_mean=None if error is None else float(error.mean()),
        weights_largest=float(weights.max()),
        rel=None if means is None else (means[0], means[2]),
        d1=None if means is None else (means[1], means[3]),
    )


@torch.inference_mode()
def from_stack(network: StackNetwork, run: Run, images: Sequence[GateImage], pixels: str) -> tuple[float, float]:
    """How far depth of a file is from what a stack predicts of the frames, in metres: at most, and on average.

    Args:
        network: As the stack predicts: averaged with the mirrored image, in the precision of the training, and each
            learner from a view of the whole frame at its own size.
        run: The file.
        images: A few of those of ``compare``.
        pixels: ``uint8`` or ``float32``, which the file takes.
    """
    gaps = []
    for image in images:
        unit = image.pixels.float() / 255
        found = run((image.pixels if pixels == "uint8" else unit).numpy())["depth"]
        expected = network(unit, Original(image.whole, (unit.shape[-2], unit.shape[-1]))).depth
        gaps.append(np.abs(found.astype(np.float64) - expected.double().numpy()).ravel())
    joined = np.concatenate(gaps)
    return float(joined.max()), float(joined.mean())


def refusal(parity: Parity, precision: str, max_loss: float | None, *, max_depth: float = INDOORS) -> str | None:
    """Why a file must not be given away; ``None`` where it may.

    Args:
        parity: What was measured.
        precision: Of the file.
        max_loss: Share of d1 that a file in 8 bits, or one that computes in bf16, may lose; ``None`` for any.
        max_depth: Metres, the largest that the network tells.
    """
    times = max(1.0, max_depth / INDOORS)
    most, most_mean, most_half = FP32_LARGEST * times, FP32_MEAN * times, FP16_MEAN * times
    if not np.isfinite([parity.largest, parity.error_largest or 0, parity.weights_largest]).all():
        return "depth, expected error or weights are not finite"
    if precision == "fp32":
        largest = max(parity.largest, parity.error_largest or 0)
        mean = max(parity.mean, parity.error_mean or 0)
        if largest > most or mean > most_mean:
            return (
                f"differs by {largest:.2g} m at most and {mean:.2g} m on average, expected {most:g} and {most_mean:g}"
            )
    if precision == "fp16":
        if parity.mean > most_half:
            return f"differs by {parity.mean:.2g} m on average, expected at most {most_half:g}"
        if parity.rel is not None and abs(parity.rel[1] - parity.rel[0]) > FP16_REL:
            return f"REL is {parity.rel[1]:.4f} and was {parity.rel[0]:.4f}, expected within {FP16_REL:g}"
    return _refusal_by_scores(parity, max_loss) if precision in ("int8", "bf16") and max_loss is not None else None


def _refusal_by_scores(parity: Parity, max_loss: float) -> str | None:
    if parity.d1 is None or parity.rel is None:
        return "cannot be scored: no depth is known of these images"
    if parity.d1[0] - parity.d1[1] > max_loss:
        return f"d1 falls from {parity.d1[0]:.4f} to {parity.d1[1]:.4f}, expected a loss of at most {max_loss:g}"
    if parity.rel[1] > parity.rel[0] * (1 + REL_FOR_D1 * max_loss):
        return (
            f"has REL {parity.rel[1]:.4f} and the network {parity.rel[0]:.4f}, expected at most "
            f"{REL_FOR_D1 * max_loss:.0%} more"
        )
    return None


def _scored(depth: torch.Tensor, image: GateImage) -> tuple[float, float]:
    """REL and d1 of one image, over all of its pixels that have a depth."""
    errors = pixel_errors(depth, image.depth, image.valid)  # pyright: ignore[reportArgumentType]
    return float(abs_rel(errors)), float(share_within(errors, factor=1.25))
