"""How predicted depth is scored: per image over its valid pixels, under a protocol that stands beside the score."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, NamedTuple

import torch
from jaxtyping import Bool, Float, Float64, Int64, Shaped
from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator
from torch import Tensor
from torch.nn import functional as F
from torchmetrics import Metric as StatefulMetric

from ensemble.metrics.published import Averaging, Crop, Divisor, Pixels
from ensemble.settings.schema import ImageSize, Settings

CROPS: Mapping[Crop, tuple[int, int, int, int]] = {
    "eigen": (45, 41, 471, 601),
    "none": (0, 0, 480, 640),
    "densedepth": (20, 24, 460, 616),
    "fastdepth": (0, 0, 480, 640),
}
"""Top, left, bottom, right in a 480x640 frame, the last two outside; ``fastdepth`` samples, see ``sample_grid``."""

FASTDEPTH_AXES = ((480, 250, 11, 228), (640, 333, 14, 304))
"""Of height and width: pixels of the frame, pixels after resizing, where the centre crop begins in these, its length.

Source: FastDepth, ``dataloaders/nyu.py`` and ``transforms.py``: resize by 250/480, crop the centre, resize to 224x224.
"""
FASTDEPTH_PIXELS = 224


@dataclass(frozen=True)
class PixelErrors:
    """What the metrics of a batch have in common, computed once, in double precision.

    Attributes:
        predicted: Metres; 1 where not valid.
        target: Metres; 1 where not valid.
        log_ratio: Natural logarithm of predicted over target; 0 where not valid.
        valid: Pixels that count.
        pixels: Valid pixels of each image.
    """

    predicted: Float64[Tensor, "b 1 h w"]
    target: Float64[Tensor, "b 1 h w"]
    log_ratio: Float64[Tensor, "b 1 h w"]
    valid: Bool[Tensor, "b 1 h w"]
    pixels: Int64[Tensor, " b"]

    def mean(self, values: Float64[Tensor, "b 1 h w"]) -> Float64[Tensor, " b"]:
        """Mean over the valid pixels of each image; NaN for an image that has none."""
        return values.where(self.valid, 0.0).sum(dim=(1, 2, 3)) / self.pixels


def pixel_errors(
    predicted: Float[Tensor, "b 1 h w"], target: Float[Tensor, "b 1 h w"], valid: Bool[Tensor, "b 1 h w"]
) -> PixelErrors:
    """Compare depth pixel by pixel; nothing is read where ``valid`` is false.

    Args:
        predicted: Metres.
        target: Metres.
        valid: Pixels that count.

    Raises:
        ValueError: Sizes differ, or a valid pixel is not positive and finite.
    """
    if not predicted.shape == target.shape == valid.shape:
        raise ValueError(
            f"predicted {tuple(predicted.shape)}, target {tuple(target.shape)} and valid {tuple(valid.shape)} "
            "must have one size; prepare() brings predictions to the size of the truth"
        )
    for name, depth in (("predicted", predicted), ("target", target)):
        unusable = valid & ~((depth > 0) & depth.isfinite())
        if unusable.any():
            image = int(unusable.flatten(1).any(dim=1).nonzero()[0])
            raise ValueError(
                f"{name} depth of image {image} of the batch: {int(unusable[image].sum())} of "
                f"{int(valid[image].sum())} valid pixels are not positive and finite; nothing is repaired here"
            )
    predicted, target = (depth.double().where(valid, 1.0) for depth in (predicted, target))
    return PixelErrors(
        predicted=predicted,
        target=target,
        log_ratio=predicted.log() - target.log(),
        valid=valid,
        pixels=valid.sum(dim=(1, 2, 3)),
    )


def share_within(errors: PixelErrors, *, factor: float) -> Float64[Tensor, " b"]:
    """Share of pixels whose larger ratio between prediction and truth is below ``factor``."""
    ratio = torch.maximum(errors.predicted / errors.target, errors.target / errors.predicted)
    return errors.mean((ratio < factor).double())


def d1(errors: PixelErrors) -> Float64[Tensor, " b"]:
    """Share of pixels within a factor of 1.25."""
    return share_within(errors, factor=1.25)


def d2(errors: PixelErrors) -> Float64[Tensor, " b"]:
    """Share of pixels within a factor of 1.25 squared."""
    return share_within(errors, factor=1.25**2)


def d3(errors: PixelErrors) -> Float64[Tensor, " b"]:
    """Share of pixels within a factor of 1.25 cubed."""
    return share_within(errors, factor=1.25**3)


def abs_rel(errors: PixelErrors) -> Float64[Tensor, " b"]:
    """Mean absolute error relative to the truth."""
    return errors.mean((errors.predicted - errors.target).abs() / errors.target)


def sq_rel(errors: PixelErrors) -> Float64[Tensor, " b"]:
    """Mean squared error divided by the truth, in metres."""
    return errors.mean((errors.predicted - errors.target).square() / errors.target)


def rmse(errors: PixelErrors) -> Float64[Tensor, " b"]:
    """Root of the mean squared error, in metres."""
    return errors.mean((errors.predicted - errors.target).square()).sqrt()


def rmse_log(errors: PixelErrors) -> Float64[Tensor, " b"]:
    """Root of the mean squared natural-log error."""
    return errors.mean(errors.log_ratio.square()).sqrt()


def log10(errors: PixelErrors) -> Float64[Tensor, " b"]:
    """Mean absolute error of the decimal logarithm."""
    return errors.mean(errors.log_ratio.abs()) / math.log(10)


def silog_x100(errors: PixelErrors) -> Float64[Tensor, " b"]:
    """Standard deviation of the natural-log error, times 100.

    Deviations are taken from the mean before they are squared, so that no rounding makes the variance negative.
    """
    deviation = errors.log_ratio - errors.mean(errors.log_ratio)[:, None, None, None]
    return 100 * errors.mean(deviation.square()).sqrt()


@dataclass(frozen=True)
class Metric:
    """One line of ``METRICS``; calling it scores ``(predicted, target, valid)``.

    Attributes:
        formula: From the pixel errors of a batch to one number per image.
        label: Heading of its column.
        higher_is_better: Whether a larger number is a better score.
        unit: Unit of the number; empty for a share or a ratio.
    """

    formula: Callable[[PixelErrors], Float64[Tensor, " b"]]
    label: str
    higher_is_better: bool = False
    unit: str = ""

    def __call__(
        self, predicted: Float[Tensor, "b 1 h w"], target: Float[Tensor, "b 1 h w"], valid: Bool[Tensor, "b 1 h w"]
    ) -> Float64[Tensor, " b"]:
        """One number per image; NaN for an image without valid pixels."""
        return self.formula(pixel_errors(predicted, target, valid))


METRICS: Mapping[str, Metric] = {
    "d1": Metric(d1, "d1", higher_is_better=True),
    "d2": Metric(d2, "d2", higher_is_better=True),
    "d3": Metric(d3, "d3", higher_is_better=True),
    "abs_rel": Metric(abs_rel, "REL"),
    "sq_rel": Metric(sq_rel, "SqREL", unit="m"),
    "rmse": Metric(rmse, "RMSE", unit="m"),
    "rmse_log": Metric(rmse_log, "RMSElog"),
    "log10": Metric(log10, "log10"),
    "silog_x100": Metric(silog_x100, "SILog x100"),
}


def image_scores(
    predicted: Float[Tensor, "b 1 h w"], target: Float[Tensor, "b 1 h w"], valid: Bool[Tensor, "b 1 h w"]
) -> dict[str, Float64[Tensor, " b"]]:
    """Every metric of every image; NaN for images without valid pixels, which ``ScoreSums`` leaves out and counts.

    Args:
        predicted: Metres, positive and finite where valid.
        target: Metres, likewise.
        valid: Pixels that count.
    """
    errors = pixel_errors(predicted, target, valid)
    return {name: metric.formula(errors) for name, metric in METRICS.items()}


class Counts(NamedTuple):
    """What ``prepare`` met in each image.

    Attributes:
        clipped: Scored pixels whose prediction lay outside of the depth range.
        nonfinite: Pixels outside of the scored ones whose prediction was NaN or infinite; a scored one is refused.
    """

    clipped: Int64[Tensor, " b"]
    nonfinite: Int64[Tensor, " b"]


class EvalProtocol(Settings):
    """How scores were made; it is stored beside them.

    Attributes:
        split: Which frames were scored.
        test: ``official`` for the data's own test split, ``held-out`` for scenes taken out of its training split.
        crop: ``eigen`` scores rows 45:471 and columns 41:601 of a 480x640 frame, ``densedepth`` rows 20:460 and columns
            24:616, ``none`` the whole frame; ``fastdepth`` scores the 224x224 pixels of ``sample_grid``.
        min_depth: Metres; pixels whose truth is not farther do not count, nearer predictions are clipped to it.
        max_depth: Metres; pixels whose truth is not nearer do not count, farther predictions are clipped to it.
        flip_averaging: Whether predictions are averaged with those of the mirrored image.
        averaging: ``image`` is the mean over the pixels of an image, then over images; ``pixel`` is the mean over the
            pixels of all images together.
        size: Height and width of the truth.
        pixels: ``range`` counts pixels whose truth lies in the depth range, ``measured`` all that have a truth.
        clip: Whether predictions are clipped to the depth range.
        relative_to: What REL and SqREL divide by.
    """

    split: str
    test: Literal["official", "held-out"]
    crop: Crop
    min_depth: Annotated[float, Field(gt=0)]
    max_depth: Annotated[float, Field(gt=0)]
    flip_averaging: bool
    averaging: Averaging = "image"
    size: ImageSize
    pixels: Pixels = "range"
    clip: bool = True
    relative_to: Divisor = "truth"

    @model_validator(mode="after")
    def _range_ascends(self) -> "EvalProtocol":
        if self.min_depth >= self.max_depth:
            raise ValueError(f"min_depth {self.min_depth} m must be below max_depth {self.max_depth} m")
        return self

    @model_serializer(mode="wrap")
    def _short(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Rules that only published protocols have are written where they differ from ours."""
        defaults = {name: type(self).model_fields[name].default for name in ("pixels", "clip", "relative_to")}
        return {
            name: value for name, value in serialize(self).items() if name not in defaults or value != defaults[name]
        }

    @property
    def region(self) -> tuple[int, int, int, int]:
        """Top, left, bottom and right of what is scored; the last two are outside.

        Crops are scaled with the frame and rounded to whole pixels at sizes other than 480x640.
        """
        height, width = self.size
        top, left, bottom, right = CROPS[self.crop]
        return (
            round(top * height / 480),
            round(left * width / 640),
            round(bottom * height / 480),
            round(right * width / 640),
        )

    def mask(self, target: Float[Tensor, "b 1 h w"], valid: Bool[Tensor, "b 1 h w"]) -> Bool[Tensor, "b 1 h w"]:
        """Pixels that count: measured, inside the crop, and with ``pixels`` ``range`` strictly inside the depth range.

        Args:
            target: Metres.
            valid: Pixels that have a measurement.

        Raises:
            ValueError: The truth has another size than the protocol, or is not finite at a measured pixel.
        """
        if target.shape[-2:] != self.size or valid.shape != target.shape:
            raise ValueError(
                f"truth of {tuple(target.shape)} with mask {tuple(valid.shape)}: the protocol scores frames of "
                f"{self.size[0]}x{self.size[1]} pixels; build the protocol with the size of the truth"
            )
        unusable = int((valid & ~target.isfinite()).sum())
        if unusable:
            raise ValueError(f"{unusable} pixels are marked valid but their measured depth is NaN or infinite")
        top, left, bottom, right = self.region
        inside = torch.zeros_like(valid)
        inside[..., top:bottom, left:right] = True
        if self.pixels == "measured":
            return valid & inside & (target > 0)
        return valid & inside & (target > self.min_depth) & (target < self.max_depth)

    def sampled(self, maps: Shaped[Tensor, "b 1 h w"]) -> Shaped[Tensor, "b 1 rows columns"]:
        """Maps at the pixels that are scored: all of them, or those of ``sample_grid``."""
        if self.crop != "fastdepth":
            return maps
        rows, columns = sample_grid(self.size)
        return maps[..., rows, :][..., columns]


def sample_grid(size: ImageSize) -> tuple[Int64[Tensor, " rows"], Int64[Tensor, " columns"]]:
    """Rows and columns of a frame that FastDepth scores: two nearest-pixel resizings with a centre crop in between.

    Args:
        size: Height and width of the frame; where it is not 480x640, its pixels nearest to those of such a frame.
    """
    axes = []
    for length, (whole, resized, first, cropped) in zip(size, FASTDEPTH_AXES, strict=True):
        index = first + _nearest(FASTDEPTH_PIXELS, cropped)
        index = _nearest(resized, whole)[index]
        axes.append(_nearest(whole, length)[index])
    return axes[0], axes[1]


def _nearest(count: int, length: int) -> Int64[Tensor, " count"]:
    """Which of ``length`` pixels holds the centre of each of ``count`` pixels that are spread over the same stretch."""
    return (2 * torch.arange(count) + 1) * length // (2 * count)


class Prepared(NamedTuple):
    """Depth that is ready to be scored."""

    predicted: Float[Tensor, "b 1 h w"]
    target: Float[Tensor, "b 1 h w"]
    valid: Bool[Tensor, "b 1 h w"]
    counts: Counts


def prepare(
    predicted: Float[Tensor, "b 1 hp wp"],
    target: Float[Tensor, "b 1 h w"],
    valid: Bool[Tensor, "b 1 h w"],
    *,
    protocol: EvalProtocol,
) -> Prepared:
    """Bring predictions to the size and depth range of the truth, and count what had to be clipped.

    Maps come back at the size of the truth; where the protocol samples pixels, they hold these alone.

    Args:
        predicted: Metres, at any size; resized bilinearly, with corners not aligned.
        target: Metres, at the size of the protocol.
        valid: Pixels that have a measurement.
        protocol: Size, crop and depth range.

    Raises:
        ValueError: A prediction is NaN or infinite at a pixel that is scored; nothing is repaired.
    """
    scored = protocol.mask(target, valid)
    if predicted.shape[-2:] != target.shape[-2:]:
        predicted = F.interpolate(predicted.float(), size=target.shape[-2:], mode="bilinear", align_corners=False)
    predicted, target, scored = (protocol.sampled(each) for each in (predicted, target, scored))
    nonfinite = ~predicted.isfinite()
    refused = (nonfinite & scored).sum(dim=(1, 2, 3))
    if refused.any():
        image = int(refused.nonzero()[0])
        raise ValueError(
            f"predicted depth of image {image} of the batch is NaN or infinite at {int(refused[image])} scored pixels; "
            "expected finite metres: look for a diverged network or a damaged checkpoint"
        )
    outside = scored & ((predicted < protocol.min_depth) | (predicted > protocol.max_depth)) & protocol.clip
    counts = Counts(clipped=outside.sum(dim=(1, 2, 3)), nonfinite=nonfinite.sum(dim=(1, 2, 3)))
    if protocol.clip:
        predicted = predicted.clamp(protocol.min_depth, protocol.max_depth)
    return Prepared(predicted, target, scored, counts)


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
