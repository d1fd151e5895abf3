"""The protocol that stands beside every score: crop, depth range, averaging, and how frames are prepared by it."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, NamedTuple

import torch
from jaxtyping import Bool, Float, Int64, Shaped
from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator
from torch import Tensor
from torch.nn import functional as F

from ensemble.metrics.published import Averaging, Crop, Divisor, Pixels
from ensemble.settings.schema import ImageSize, ScoredSettings, Settings

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
    predicted = enlarged(predicted, target.shape[-2:])
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


def protocol_of(settings: ScoredSettings, split: str, *, flip_averaging: bool, size: tuple[int, int]) -> EvalProtocol:
    """How frames of a split are scored, with a truth of so many rows and columns."""
    return EvalProtocol(
        split=split,
        test=settings.data.test,
        crop=settings.evaluation.crop,
        min_depth=settings.data.min_depth,
        max_depth=settings.data.max_depth,
        flip_averaging=flip_averaging,
        size=size,
    )
