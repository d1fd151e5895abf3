"""The protocol that stands beside every score: crop, depth range, averaging, and how frames are prepared by it."""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Annotated, Any, Literal, NamedTuple, Self

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64, Shaped
from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator
from torch import Tensor
from torch.nn import functional as F

from ensemble.console import counted
from ensemble.metrics.kitti import KITTI_CROPS, Window, kitti_region
from ensemble.metrics.published import (
    NYU_FRAME,
    OWN_SIZE,
    Averaging,
    Crop,
    Divisor,
    OwnSize,
    Pixels,
    PublishedProtocol,
    Scaling,
)
from ensemble.settings.schema import DataSettings, ImageSize, ScoredSettings, Settings

Shares = tuple[Fraction, Fraction, Fraction, Fraction]
"""Top and bottom as shares of a frame's height, left and right of its width, in the order top, left, bottom, right."""

WHOLE: Shares = (Fraction(0), Fraction(0), Fraction(1), Fraction(1))


def _of_nyu(top: int, left: int, bottom: int, right: int) -> Shares:
    """A crop that was published in pixels of NYU Depth v2's frames; the last two are outside."""
    rows, columns = NYU_FRAME
    return Fraction(top, rows), Fraction(left, columns), Fraction(bottom, rows), Fraction(right, columns)


CROPS: Mapping[str, Shares] = {
    "eigen": _of_nyu(45, 41, 471, 601),
    "none": WHOLE,
    "densedepth": _of_nyu(20, 24, 460, 616),
    "fastdepth": WHOLE,
}
"""What of a frame is scored; ``fastdepth`` samples it, see ``sample_grid``; those of ``metrics.kitti`` beside them."""

FASTDEPTH_AXES = ((NYU_FRAME[0], 250, 11, 228), (NYU_FRAME[1], 333, 14, 304))
"""Of height and width: pixels of the frame, pixels after resizing, where the centre crop begins in these, its length.

Source: FastDepth, ``dataloaders/nyu.py`` and ``transforms.py``: resize by 250/480, crop the centre, resize to 224x224.
"""

FASTDEPTH_PIXELS = 224


class Counts(NamedTuple):
    """What ``prepare`` met in each image.

    Attributes:
        clipped: Scored pixels whose prediction lay outside of the depth range.
        nonfinite: Pixels outside of the scored ones whose prediction was NaN or infinite; a scored one is refused.
    """

    clipped: Int64[Tensor, " b"]
    nonfinite: Int64[Tensor, " b"]


RULES = ("pixels", "clip", "relative_to", "scaling", "window")
"""What only published protocols have, or single frames."""


class EvalProtocol(Settings):
    """How scores were made; it is stored beside them.

    Attributes:
        split: Which frames were scored.
        test: ``official`` for the data's own test split, ``held-out`` for scenes taken out of its training split.
        crop: Key in ``CROPS``; ``fastdepth`` scores the 224x224 pixels of ``sample_grid``.
        min_depth: Metres; pixels whose truth is not farther do not count, nearer predictions are clipped to it.
        max_depth: Metres; pixels whose truth is not nearer do not count, farther predictions are clipped to it.
        flip_averaging: Whether predictions are averaged with those of the mirrored image.
        averaging: ``image`` is the mean over the pixels of an image, then over images; ``pixel`` is the mean over the
            pixels of all images together.
        size: Height and width of the truth, or that frames of several sizes are scored at their own.
        pixels: ``range`` counts pixels whose truth lies in the depth range, ``measured`` all that have a truth.
        clip: Whether predictions are clipped to the depth range.
        relative_to: What REL and SqREL divide by.
        scaling: ``median`` multiplies each prediction by the ratio of the medians of truth and prediction over scored
            pixels, before it is clipped.
        window: Where the frame that is scored was cut out of a larger one; of one frame, and never stored.
    """

    split: str
    test: Literal["official", "held-out"]
    crop: Crop
    min_depth: Annotated[float, Field(gt=0)]
    max_depth: Annotated[float, Field(gt=0)]
    flip_averaging: bool
    averaging: Averaging = "image"
    size: ImageSize | OwnSize
    pixels: Pixels = "range"
    clip: bool = True
    relative_to: Divisor = "truth"
    scaling: Scaling = "none"
    window: Window | None = None

    @model_validator(mode="after")
    def _range_ascends(self) -> "EvalProtocol":
        if self.min_depth >= self.max_depth:
            raise ValueError(f"min_depth {self.min_depth} m must be below max_depth {self.max_depth} m")
        return self

    @model_serializer(mode="wrap")
    def _short(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """These are written where they differ from ours."""
        defaults = {name: type(self).model_fields[name].default for name in RULES}
        return {
            name: value for name, value in serialize(self).items() if name not in defaults or value != defaults[name]
        }

    def under(self, published: PublishedProtocol) -> Self:
        """That of a publication for the same frames; flip averaging stays what it was when their rows were cached."""
        rules = ("crop", "min_depth", "max_depth", "pixels", "clip", "averaging", "relative_to", "scaling")
        changed = {name: getattr(published, name) for name in rules}
        return type(self).model_validate({**self.model_dump(), **changed})

    def departures_from(self, published: PublishedProtocol, data: DataSettings) -> tuple[str, ...]:
        """Where scores of rows that this one scores are made otherwise than in a publication."""
        return published.departures(data, self.size, flip_averaging=self.flip_averaging)

    def at(self, window: Window | None) -> Self:
        """The same for one frame, which may be a window of a larger one."""
        return self if window is None else self.model_copy(update={"window": window})

    def mask(self, target: Float[Tensor, "b 1 h w"], valid: Bool[Tensor, "b 1 h w"]) -> Bool[Tensor, "b 1 h w"]:
        """Pixels that count: measured, inside the crop, and with ``pixels`` ``range`` strictly inside the depth range.

        Raises:
            ValueError: The truth has another size than the protocol, or is not finite at a measured pixel.
        """
        size = (target.shape[-2], target.shape[-1])
        if self.size not in (size, OWN_SIZE) or valid.shape != target.shape:
            wanted = "their own size" if self.size == OWN_SIZE else "{}x{} pixels".format(*self.size)
            raise ValueError(
                f"truth of {tuple(target.shape)} with mask {tuple(valid.shape)}: the protocol scores frames of "
                f"{wanted}; build the protocol with the size of the truth"
            )
        unusable = int((valid & ~target.isfinite()).sum())
        if unusable:
            raise ValueError(
                f"{counted(unusable, 'pixel is', 'pixels are')} marked valid but the measured depth is NaN or infinite"
            )
        top, left, bottom, right = crop_region(self.crop, size, self.window)
        inside = torch.zeros_like(valid)
        inside[..., top:bottom, left:right] = True
        if self.pixels == "measured":
            return valid & inside & (target > 0)
        return valid & inside & (target > self.min_depth) & (target < self.max_depth)

    def sampled(self, maps: Shaped[Tensor, "b 1 h w"]) -> Shaped[Tensor, "b 1 rows columns"]:
        """Maps at the pixels that are scored: all of them, or those of ``sample_grid``."""
        if self.crop != "fastdepth":
            return maps
        rows, columns = sample_grid((maps.shape[-2], maps.shape[-1]))
        return maps[..., rows, :][..., columns]


def crop_region(crop: Crop, size: ImageSize, window: Window | None = None) -> tuple[int, int, int, int]:
    """Top, left, bottom and right of what is scored of a frame of this size, in pixels; the last two are outside."""
    if crop in KITTI_CROPS:
        return kitti_region(crop, size, window)
    height, width = size
    top, left, bottom, right = CROPS[crop]
    return round(top * height), round(left * width), round(bottom * height), round(right * width)


def sample_grid(size: ImageSize) -> tuple[Int64[Tensor, " rows"], Int64[Tensor, " columns"]]:
    """Rows and columns of a frame that FastDepth scores: two nearest-pixel resizings with a centre crop in between.

    Of frames of another size than NYU Depth v2's, the pixels nearest to those of such one.
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


def enlarged(maps: Float[Tensor, "b c _h _w"], size: Sequence[int]) -> Float[Tensor, "b c h w"]:
    """Maps at the size of the truth, bilinearly, with corners not aligned; as they are where they have it already."""
    if maps.shape[-2:] == tuple(size):
        return maps
    return F.interpolate(maps.float(), size=tuple(size), mode="bilinear", align_corners=False)


def prepare(
    predicted: Float[Tensor, "b 1 hp wp"],
    target: Float[Tensor, "b 1 h w"],
    valid: Bool[Tensor, "b 1 h w"],
    *,
    protocol: EvalProtocol,
) -> Prepared:
    """Bring predictions to the size and depth range of the truth, all in metres, and count what had to be clipped.

    Predictions may have any size and are resized bilinearly, with corners not aligned.

    Maps come back at the size of the truth; where the protocol samples pixels, they hold these alone.

    Raises:
        ValueError: A prediction is NaN or infinite at a pixel that is scored; nothing is repaired.
    """
    scored = protocol.mask(target, valid)
    predicted = enlarged(predicted, target.shape[-2:])
    predicted, target, scored = map(protocol.sampled, (predicted, target, scored))
    nonfinite = ~predicted.isfinite()
    refused = (nonfinite & scored).sum(dim=(1, 2, 3))
    if refused.any():
        image = int(refused.nonzero()[0])
        raise ValueError(
            f"predicted depth of image {image} of the batch is NaN or infinite at {int(refused[image])} scored pixels; "
            "expected finite metres: look for a diverged network or a damaged checkpoint"
        )
    if protocol.scaling == "median":
        predicted = _median_scaled(predicted, target, scored)
    outside = scored & ((predicted < protocol.min_depth) | (predicted > protocol.max_depth)) & protocol.clip
    counts = Counts(clipped=outside.sum(dim=(1, 2, 3)), nonfinite=nonfinite.sum(dim=(1, 2, 3)))
    if protocol.clip:
        predicted = predicted.clamp(protocol.min_depth, protocol.max_depth)
    return Prepared(predicted, target, scored, counts)


def _median_scaled(
    predicted: Float[Tensor, "b 1 h w"], target: Float[Tensor, "b 1 h w"], scored: Bool[Tensor, "b 1 h w"]
) -> Float[Tensor, "b 1 h w"]:
    """Predictions times the ratio of the median of the truth to their own; as they are where nothing is scored."""
    ratios = [
        np.median(truth[mask].numpy()) / np.median(depth[mask].numpy()) if mask.any() else 1.0
        for depth, truth, mask in zip(predicted.detach().cpu(), target.cpu(), scored.cpu(), strict=True)
    ]
    return predicted * torch.tensor(ratios, dtype=predicted.dtype, device=predicted.device)[:, None, None, None]


def protocol_of(
    settings: ScoredSettings, split: str, *, flip_averaging: bool, size: ImageSize | OwnSize
) -> EvalProtocol:
    """How frames of a split are scored, with a truth of so many rows and columns, or of each frame's own."""
    return EvalProtocol(
        split=split,
        test=settings.data.test,
        crop=settings.evaluation.crop,
        min_depth=settings.data.min_depth,
        max_depth=settings.data.max_depth,
        flip_averaging=flip_averaging,
        size=size,
    )
