"""How sure a fused depth is: disagreement of the learners, its calibration in metres, and how both are judged.

Everything is in metres and judged image by image over valid pixels; where ``valid`` is false nothing is read.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64, Int64
from torch import Tensor

from meta.fusion import check_weights

KNOTS = 64
"""Most knots of a calibration."""

FRACTIONS: Sequence[float] = tuple(index / 50 for index in range(50))
"""Shares of the pixels that are taken away one after the other: 0 to 0.98, as in Poggi et al. 2020."""

_BIN_EDGES = np.logspace(-3, 1, 41)
"""Predicted errors in metres between the bins of a reliability diagram: ten bins from each power of ten to the next."""


def disagreement(
    weights: Float[Tensor, "b k h w"], depths: Float[Tensor, "b k h w"], fused: Float[Tensor, "b 1 h w"]
) -> Float[Tensor, "b 1 h w"]:
    """Weighted root mean squared distance of the learners from the fused depth, in metres.

    Weights sum to 1 at every pixel: the caller divides those of another sum by it. The fused depth need not be the
    weighted mean, which would give the smallest disagreement.

    It knows what the learners disagree about and nothing of the errors that they share; ``calibrate`` gives it the size
    of an error.
    """
    if not torch.compiler.is_exporting():  # which follows no numbers; the gate of an export compares what comes out
        check_weights(weights, tolerance=1e-5)
    return (weights * (depths - fused).square()).sum(dim=1, keepdim=True).sqrt()


def _interpolated(
    values: Float64[Tensor, "*any"], knots: Float64[Tensor, " n"], at_knots: Float64[Tensor, " n"]
) -> Float64[Tensor, "*any"]:
    """As ``numpy.interp``: linear between ascending knots, held beyond the first and the last; NaN stays NaN."""
    if len(knots) == 1:
        return torch.where(values.isnan(), values, at_knots[0])
    held = values.clamp(knots[0], knots[-1])
    before = _first_not_below(knots, held).clamp(1, len(knots) - 1) - knots.new_ones((), dtype=torch.int64)
    slope = at_knots.diff() / knots.diff()
    return slope[before] * (held - knots[before]) + at_knots[before]


def _first_not_below(knots: Float64[Tensor, " n"], values: Float64[Tensor, "*any"]) -> Int64[Tensor, "*any"]:
    """As ``torch.searchsorted``; an export, where that has no counterpart, gets the halvings written out.

    Steps are tensors, because whoever brings an exported program to 8 bits makes every number in it a real one, and
    with that the sum of an index and a number (``XNNPACKQuantizer`` of ExecuTorch 1.5.1).
    """
    if not torch.compiler.is_exporting():
        return torch.searchsorted(knots, values.contiguous())
    step = 1 << len(knots).bit_length()
    padded = torch.cat([knots, knots.new_full((2 * step - len(knots),), torch.inf)])
    below = torch.zeros_like(values, dtype=torch.int64)
    one = below.new_ones(())
    while step := step // 2:
        further = below + one.new_full((), step)
        below = torch.where(padded[further - one] < values, further, below)
    return below


@dataclass(frozen=True)
class Calibration:
    """From disagreement to the root mean squared error that such pixels had: never falling, linear between knots.

    Attributes:
        disagreement: Metres at the knots, ascending.
        squared_error: Mean squared error at the knots, square metres, not descending; held beyond the first and last.
    """

    disagreement: tuple[float, ...]
    squared_error: tuple[float, ...]

    def __post_init__(self) -> None:
        knots, errors = np.asarray(self.disagreement), np.asarray(self.squared_error)
        usable = len(knots) == len(errors) > 0 and np.isfinite(knots).all() and np.isfinite(errors).all()
        if not usable or (np.diff(knots) <= 0).any() or (np.diff(errors) < 0).any() or knots[0] < 0 or errors[0] < 0:
            raise ValueError(
                f"calibration with knots {knots.tolist()} and squared errors {errors.tolist()}: expected as many of "
                "both, finite, 0 or more, ascending; fit the calibration again"
            )

    def apply(self, disagreement: Float[Tensor, "*pixels"]) -> Float[Tensor, "*pixels"]:
        """Expected root mean squared error in metres; NaN stays NaN.

        Pixels of one plateau come out equal although their disagreement differs: rank by the disagreement itself.
        """
        knots, errors = (
            torch.tensor(values, dtype=torch.float64, device=disagreement.device)
            for values in (self.disagreement, self.squared_error)
        )
        return _interpolated(disagreement.double(), knots, errors).sqrt().to(disagreement)

    def to_plain(self) -> dict[str, Any]:
        """Lists of numbers, ready for JSON."""
        return {name: list(values) for name, values in asdict(self).items()}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> "Calibration":
        """Read what ``to_plain`` gave; anything else is refused."""
        try:
            return cls(*(tuple(map(float, plain[name])) for name in ("disagreement", "squared_error")))
        except (KeyError, TypeError) as error:
            raise ValueError(
                f"calibration: {error!r} in {dict(plain)}, expected lists disagreement and squared_error; fit it again"
            ) from error


def calibrate(
    disagreement: Float[np.ndarray, " n"],
    squared_error: Float[np.ndarray, " n"],
    *,
    explained: Float[np.ndarray, " n"] | None = None,
) -> Calibration:
    """Fit how the squared error grows with the disagreement, on pixels of images that the learners never saw.

    Pixels are valid ones of out-of-fold rows: disagreement in metres, squared error of the fused depth in square
    metres. What something else explains of every squared error is taken from it, and the rest fitted; it is never
    negative.

    Raises:
        ValueError: Numbers of pixels differ or are fewer than ``KNOTS``, or one is negative or not finite.

    Source: isotonic regression, Barlow et al. 1972. Deviation: it is fitted to the means of at most 64 groups of pixels
    of similar disagreement, equal in number but for ties, so that no knot rests on a few pixels.
    """
    from sklearn.isotonic import IsotonicRegression

    _check_calibration_pixels(disagreement, squared_error)
    sigma, squared = disagreement.astype(np.float64), squared_error.astype(np.float64)
    squared = squared if explained is None else squared - explained
    edges = np.unique(np.quantile(sigma, np.linspace(0, 1, KNOTS + 1)))
    members = np.unique(np.searchsorted(edges[1:-1], sigma, side="right"), return_inverse=True)[1]
    counts = np.bincount(members)
    knots, errors = (np.bincount(members, weights=values) / counts for values in (sigma, squared))
    monotone = IsotonicRegression(y_min=None if explained is None else 0.0).fit_transform(
        knots, errors, sample_weight=counts
    )
    return Calibration(tuple(knots.tolist()), tuple(monotone.tolist()))


class Sparsification(NamedTuple):
    """Error of the pixels that are left when a share of them is taken away, the worst first.

    Attributes:
        fractions: Shares taken away, ascending.
        by_uncertainty: Error of those left when the most uncertain go first.
        by_error: When those with the largest error go first: no ranking does better.
        at_random: When any go, on average: the error of all.
    """

    fractions: Float64[np.ndarray, " f"]
    by_uncertainty: Float64[np.ndarray, " f"]
    by_error: Float64[np.ndarray, " f"]
    at_random: Float64[np.ndarray, " f"]

    @property
    def ause(self) -> float:
        """Area between the curve by uncertainty and the curve by error; 0 is perfect.

        In the unit of the error: not divided by the error of all pixels, as Ilg et al. do.

        Source: Ilg et al. 2018, section 4; Poggi et al. 2020, section 4.2, whose unit this is. Deviation: both curves
        end at the last fraction, where Poggi et al. add a point 0 at fraction 1.
        """
        return float(np.trapezoid(self.by_uncertainty - self.by_error, self.fractions))

    @property
    def aurg(self) -> float:
        """Area between the curve at random and the curve by uncertainty; 0 knows nothing, below 0 misleads.

        Source: Poggi et al. 2020, section 4.2, in the unit of the error. Deviation: as for ``ause``; the point 0 would
        let an uncertainty that knows nothing gain 1 % of the error.
        """
        return float(np.trapezoid(self.at_random - self.by_uncertainty, self.fractions))


def sparsification(
    error: Float[np.ndarray, " n"],
    uncertainty: Float[np.ndarray, " n"],
    fractions: Sequence[float] = FRACTIONS,
    *,
    root: bool = False,
) -> Sparsification:
    """Curves of one image; of pixels equally uncertain it does not matter which go, their mean error counts.

    The error is 0 or more: squared metres for RMSE, whose curves are roots of means (``root``), or relative for REL.
    The higher the uncertainty, the less sure, in any unit. Fractions lie in [0, 1) and are rounded down to whole
    pixels.

    Raises:
        ValueError: No pixel, numbers of pixels differ, one is not finite, or a fraction leaves no pixel.
    """
    shares = np.asarray(fractions, dtype=np.float64)
    _check_ranking(error, uncertainty, shares)
    kept = len(error) - np.floor(shares * len(error) + 1e-9).astype(np.int64)
    order = np.argsort(uncertainty)
    by_uncertainty = _sums_of_ranked(error[order], uncertainty[order], kept) / kept
    by_error = np.cumsum(np.sort(error), dtype=np.float64)[kept - 1] / kept
    curves = (by_uncertainty, by_error, np.full_like(shares, error.mean(dtype=np.float64)))
    return Sparsification(shares, *(np.sqrt(curve) if root else curve for curve in curves))


def sparsification_curves(
    predicted: Float[Tensor, "1 h w"],
    target: Float[Tensor, "1 h w"],
    valid: Bool[Tensor, "1 h w"],
    *,
    uncertainty: Float[Tensor, "1 h w"],
) -> dict[Literal["rmse", "abs_rel"], Sparsification]:
    """Curves of one image with valid and finite pixels for ``rmse`` and ``abs_rel``, both with the same ranking.

    Depth is metres, uncertainty metres or any number that ranks the pixels. Metres rank for RMSE; REL is judged with
    the same map, as in Poggi et al. 2020, so that even the true error in metres has an AUSE above 0 there.
    """
    truth, ranking = _selected(target, valid), _selected(uncertainty, valid)
    distance = np.abs(_selected(predicted, valid) - truth)
    return {
        name: sparsification(terms(distance, truth), ranking, root=root) for name, (terms, root) in _SPARSIFIED.items()
    }


class ReliabilityBin(NamedTuple):
    """Pixels of a point of a reliability diagram, roots of their mean predicted variance and squared error, metres."""

    pixels: int
    predicted: float
    observed: float


class Reliability:
    """Predicted against observed errors, summed over images of any number in bins of the predicted error.

    Bins are fixed: ten from each power of ten to the next between 1 mm and 10 m, and one beyond either end.
    """

    def __init__(self) -> None:
        self._sums: Float64[np.ndarray, "3 bins"] = np.zeros((3, len(_BIN_EDGES) + 1))

    def add(
        self,
        predicted: Float[Tensor, "b 1 h w"],
        target: Float[Tensor, "b 1 h w"],
        valid: Bool[Tensor, "b 1 h w"],
        *,
        sigma: Float[Tensor, "b 1 h w"],
    ) -> None:
        """Add the valid pixels of a batch, all finite; ``sigma`` is the predicted root mean square error, in metres."""
        squared = np.square(_selected(predicted, valid) - _selected(target, valid))
        expected = _selected(sigma, valid)
        _check_usable("reliability", {"squared error": squared, "sigma": expected})
        bins = np.searchsorted(_BIN_EDGES, expected, side="right")
        for sums, values in zip(self._sums, (None, np.square(expected), squared), strict=True):
            sums += np.bincount(bins, values, minlength=len(sums))

    def diagram(self) -> list[ReliabilityBin]:
        """Bins that have pixels, by ascending predicted error; a calibrated prediction has both roots equal."""
        return [
            ReliabilityBin(pixels=int(count), predicted=(variance / count) ** 0.5, observed=(squared / count) ** 0.5)
            for count, variance, squared in self._sums.T.tolist()
            if count
        ]

    def calibration_error(self) -> float:
        """Expected normalised calibration error: mean over pixels of ``|predicted - observed| / predicted``; 0 is best.

        Raises:
            ValueError: There is no pixel, or a bin with errors has the predicted error 0.

        Source: Levi et al. 2022, eq. 8 (root mean variance against root mean squared error per bin). Deviation: their
        bins hold equal numbers of pixels; these do not, and count by their number of pixels.
        """
        diagram = self.diagram()
        if not diagram:
            raise ValueError("reliability: no valid pixel was added, so there is no calibration error")
        if any(point.predicted == 0 < point.observed for point in diagram):
            raise ValueError(
                f"reliability: predicted error 0 m but observed {diagram[0].observed:.3g} m in the lowest bin, "
                "expected predictions above 0; calibrate the disagreement first"
            )
        gaps = [point.pixels * abs(1 - point.observed / point.predicted) for point in diagram if point.predicted > 0]
        return sum(gaps) / sum(point.pixels for point in diagram)


_SPARSIFIED: Mapping[Literal["rmse", "abs_rel"], tuple[Callable[[np.ndarray, np.ndarray], np.ndarray], bool]] = {
    "rmse": (lambda distance, _: np.square(distance), True),
    "abs_rel": (lambda distance, truth: distance / truth, False),
}
"""From the distance to the truth and the truth, what is averaged over pixels, and whether its root is taken."""


def _selected(depth: Float[Tensor, "*pixels"], valid: Bool[Tensor, "*pixels"]) -> Float64[np.ndarray, " n"]:
    """Valid pixels in double precision; a mask is read ten times faster by NumPy than by torch."""
    return depth.numpy(force=True)[valid.numpy(force=True)].astype(np.float64)


def _sums_of_ranked(
    error: Float[np.ndarray, " n"], ranks: Float[np.ndarray, " n"], kept: Int64[np.ndarray, " f"]
) -> Float64[np.ndarray, " f"]:
    """Sum of the first so many errors; pixels of equal rank count with their mean, whichever come first."""
    ends = np.append(np.flatnonzero(ranks[1:] != ranks[:-1]) + 1, len(error))
    sums = np.cumsum(error, dtype=np.float64)
    return np.interp(kept, np.append(0, ends), np.append(0.0, sums[ends - 1]))


def _check_ranking(error: np.ndarray, uncertainty: np.ndarray, fractions: np.ndarray) -> None:
    if len(error) == 0 or len(error) != len(uncertainty):
        raise ValueError(
            f"sparsification: errors of {len(error)} pixels and uncertainty of {len(uncertainty)}, expected as many "
            "and at least one; leave out images without valid pixels"
        )
    _check_usable("sparsification", {"error": error})
    unusable = int((~np.isfinite(uncertainty)).sum())
    if unusable:
        raise ValueError(
            f"sparsification: uncertainty of {unusable} of {len(uncertainty)} valid pixels is NaN or infinite, "
            "expected a number that ranks each of them"
        )
    if not len(fractions) or not (fractions[0] >= 0 and fractions[-1] < 1) or (np.diff(fractions) <= 0).any():
        raise ValueError(f"sparsification: fractions {fractions.tolist()}, expected ascending shares in [0, 1)")


def _check_calibration_pixels(disagreement: np.ndarray, squared_error: np.ndarray) -> None:
    if len(disagreement) != len(squared_error) or len(disagreement) < KNOTS:
        raise ValueError(
            f"calibration: disagreement of {len(disagreement)} pixels and errors of {len(squared_error)}, expected as "
            f"many, at least {KNOTS}; sample more valid pixels of out-of-fold rows"
        )
    _check_usable("calibration", {"disagreement": disagreement, "squared error": squared_error})


def _check_usable(where: str, pixels: Mapping[str, np.ndarray]) -> None:
    for name, values in pixels.items():
        unusable = int((~(np.isfinite(values) & (values >= 0))).sum())
        if unusable:
            raise ValueError(
                f"{where}: {name} of {unusable} of {len(values)} valid pixels is negative, NaN or infinite, expected "
                "numbers of 0 or more; nothing is repaired here"
            )
