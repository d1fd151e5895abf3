"""What of a KITTI frame is scored, in whole pixels by the size of the frame, and the four metrics of its server."""

import math
from collections.abc import Mapping
from fractions import Fraction
from typing import TYPE_CHECKING, Literal, NamedTuple

from ensemble.metrics.formulas import Metric, PixelErrors, abs_rel, silog_x100
from ensemble.settings.schema import ImageSize

if TYPE_CHECKING:
    from jaxtyping import Float64
    from torch import Tensor

Region = tuple[int, int, int, int]
"""Top, left, bottom and right in pixels; the last two are outside."""

KittiCrop = Literal["garg", "garg-kb", "eigen-kitti"]

KB = (352, 1216)
"""Height and width of the crop that the server's frames have, and that learners are shown."""

_SHARES: Mapping[KittiCrop, tuple[str, str, str, str]] = {
    "garg": (".40810811", ".03594771", ".99189189", ".96405229"),
    "garg-kb": (".40810811", ".03594771", ".99189189", ".96405229"),
    "eigen-kitti": (".3324324", ".0359477", ".91351351", ".96405229"),
}
"""Of height and width, rounded down. Source: Garg et al. 2016 and Eigen et al. 2014, as evaluations write them."""

KITTI_CROPS = tuple(_SHARES)


class Window(NamedTuple):
    """Where a frame that was cut out of a larger one lies in that one."""

    top: int
    left: int
    whole: ImageSize


def kb_corner(size: ImageSize) -> tuple[int, int]:
    """Top and left of the KB crop in a frame of this height and width: at the bottom, and in the middle.

    Raises:
        ValueError: The frame is smaller than the crop.
    """
    height, width = size
    if height < KB[0] or width < KB[1]:
        raise ValueError(f"KB crop: expected a frame of at least {KB[0]}x{KB[1]}, found {height}x{width}")
    return height - KB[0], (width - KB[1]) // 2


def kitti_region(crop: KittiCrop, size: ImageSize, window: Window | None = None) -> Region:
    """What a crop scores of a frame of this height and width, in its pixels.

    ``garg`` and ``eigen-kitti`` are shares of the whole frame, of which this one may be a window. ``garg-kb`` is shares
    of the KB crop, wherever that lies; of frames that are neither it nor large enough to hold it, of the frame.
    """
    if crop == "garg-kb" and window is None and size != KB and size[0] >= KB[0] and size[1] >= KB[1]:
        top, left = kb_corner(size)
        region = _of_shares(crop, KB)
        return region[0] + top, region[1] + left, region[2] + top, region[3] + left
    if crop == "garg-kb" or window is None:
        return _of_shares(crop, size)
    top, left, bottom, right = _of_shares(crop, window.whole)
    rows = [min(max(row - window.top, 0), size[0]) for row in (top, bottom)]
    columns = [min(max(column - window.left, 0), size[1]) for column in (left, right)]
    return rows[0], columns[0], rows[1], columns[1]


def _of_shares(crop: KittiCrop, size: ImageSize) -> Region:
    top, left, bottom, right = map(Fraction, _SHARES[crop])
    height, width = size
    return math.floor(top * height), math.floor(left * width), math.floor(bottom * height), math.floor(right * width)


def squared_relative(errors: PixelErrors) -> "Float64[Tensor, ' b']":
    """Mean squared error relative to the squared truth; SqREL of the tables divides by the truth once."""
    return errors.mean(((errors.predicted - errors.target) / errors.target).square())


def irmse_per_km(errors: PixelErrors) -> "Float64[Tensor, ' b']":
    """Root of the mean squared error of inverse depth, in 1/km."""
    return 1000 * errors.mean((1 / errors.predicted - 1 / errors.target).square()).sqrt()


SERVER_METRICS: Mapping[str, Metric] = {
    "silog_x100": Metric(silog_x100, "SILog"),
    "squared_relative": Metric(lambda errors: 100 * squared_relative(errors), "sqErrorRel", unit="%"),
    "absolute_relative": Metric(lambda errors: 100 * abs_rel(errors), "absErrorRel", unit="%"),
    "irmse_per_km": Metric(irmse_per_km, "iRMSE", unit="1/km"),
}
"""As the server for depth prediction ranks and prints, the first one first.

Source: the devkit of KITTI's depth benchmark, from memory: squared differences over squared truth, SILog times 100.
"""
