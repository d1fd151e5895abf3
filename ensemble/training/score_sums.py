"""Scores of validation frames summed up over batches and processes."""

from collections.abc import Mapping

import torch
from jaxtyping import Float64, Int64
from torch import Tensor
from torchmetrics import Metric as StatefulMetric

from ensemble.metrics.formulas import METRICS
from ensemble.metrics.protocols import Counts


class ScoreSums(StatefulMetric):
    """Sums of per-image scores that add up over batches and processes; their quotient is the mean over images."""

    full_state_update = False
    sums: Float64[Tensor, " metrics"]
    images: Int64[Tensor, ""]
    images_without_valid: Int64[Tensor, ""]
    clipped: Int64[Tensor, ""]
    nonfinite: Int64[Tensor, ""]

    def __init__(self) -> None:
        super().__init__()
        self.add_state("sums", torch.zeros(len(METRICS), dtype=torch.float64), dist_reduce_fx="sum")
        for name in ("images", "images_without_valid", "clipped", "nonfinite"):
            self.add_state(name, torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, scores: Mapping[str, Float64[Tensor, " b"]], counts: Counts | None = None) -> None:
        """Add the images of a batch.

        Args:
            scores: From ``image_scores``.
            counts: From ``prepare``.

        Raises:
            ValueError: A metric is missing, or an image is NaN in some metrics and a number in others.
        """
        if set(scores) != set(METRICS):
            raise ValueError(f"scores of {sorted(scores)}, expected those of image_scores: {sorted(METRICS)}")
        table = torch.stack([scores[name] for name in METRICS])
        without = table.isnan().all(dim=0)
        if table[:, ~without].isnan().any():
            raise ValueError("an image has NaN in some metrics and numbers in others; expected all or none")
        self.sums += table[:, ~without].sum(dim=1)
        self.images += (~without).sum()
        self.images_without_valid += without.sum()
        if counts is not None:
            self.clipped += counts.clipped.sum()
            self.nonfinite += counts.nonfinite.sum()

    def compute(self) -> dict[str, int | float]:
        """Mean of every metric over the images that have valid pixels, and the counts.

        Raises:
            ValueError: No image has a valid pixel, so there is no mean.
        """
        images = int(self.images)
        if images == 0:
            raise ValueError(
                f"no mean over images: none was scored, {int(self.images_without_valid)} had no valid pixel; "
                "check depth range, crop and units (metres)"
            )
        means = dict(zip(METRICS, (self.sums / images).tolist(), strict=True))
        names = ("images_without_valid", "clipped", "nonfinite")
        return {**means, "images": images, **{name: int(getattr(self, name)) for name in names}}
