"""What depth maps might be that do not fit the truth as read: of another unit, turned over, 1 / depth, normalised.

The truth is that of training; where there is none, depth of other learners takes its place.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Float64, Int

from ensemble.settings.units import PER_METRE, ROTATED

Pixels = Float64[np.ndarray, " n"]
Profile = tuple[float, ...]
"""Means of bands of rows, from above: how many deviations of the map they are off its mean."""

SAMPLED_PIXELS = 500
"""Of a frame, at most."""

SAME_FACTOR = 1.12
"""How far a factor may be from that of a known unit: the two nearest, 200 and 256, are 1.28 apart."""

KNOWN_FACTORS = {**PER_METRE, ROTATED: 8 * PER_METRE["mm"]}
"""Numbers a metre, by unit: millimetres that are turned by three bits are eight times as many below 8.192 m."""

TURNED = ("mirrored left to right", "upside down", "turned by half a circle")
CLEARLY, LARGE = 0.6, 0.05
"""Share of the scatter that a guess may leave, and the scatter (of log depth) below which nothing is wrong."""

ONE_BY_ONE, ONE_BY_ONE_CLIPPED, ONE_BY_ONE_ALIKE = 0.15, 0.4, 0.7
"""Share of the squared error that is left by a scale and a shift for every map; those of networks keep more.

More may be left where all maps have the same largest number, as those of a network that clips have too, and still more
where they have the same mean, median or deviation, as only those have that were divided by it.
"""
FOLLOWS_AT_ALL = 0.9
"""Share of the scatter within frames that maps may leave which are alike in a figure: that of a constant is 1."""
SAME_FIGURE, FEWEST_ALIKE = 1e-3, 4
"""How little a figure of maps may vary, as a share of it, to be the same, and in how many maps."""

PROFILE_BANDS, PROFILE_FRAMES, PROFILE_SPREAD = 16, 4, 0.1
"""Bands of rows in a map, the frames whose mean tells how maps lie, and how far bands must be apart in that mean."""

FEWEST_FRAMES, BY_CHANCE = 20, 2.0
"""Frames that tell whether maps go with them; the largest rank correlation of maps that do not, times their root."""

RAY_SHARE, RAY_FRAMES, RAY_PIXELS = 0.5, 6, 50
"""How near to 1 the share of the excess of distance over depth must be that is in the error of maps, and how many
frames and pixels of each have to agree."""
RAY_FOLLOWS = 0.3
"""Correlation with the truth within frames that maps must have for it."""
RAY_EXPLAINED = 0.05
"""Share of the squared error that it must explain: that of a map which is off by a quarter for other reasons."""

DEPTH, INVERSE, LOGARITHM, LOGARITHM_1, NEGATED = (
    "depth",
    "inverse depth",
    "the logarithm of depth",
    "the logarithm of 1 + depth",
    "depth with its sign turned",
)
FORMS: Mapping[str, tuple[Callable[[Pixels], Pixels], Callable[[Pixels], Pixels]]] = {
    DEPTH: (lambda depth: depth, lambda depth: depth),
    INVERSE: (lambda depth: 1 / depth, lambda inverse: 1 / inverse.clip(1e-6)),
    LOGARITHM: (np.log, np.exp),
    LOGARITHM_1: (np.log1p, np.expm1),
    NEGATED: (np.negative, np.negative),
}
"""What maps hold: from metres, and back again."""


class Figures(NamedTuple):
    """What is the same in all maps that were normalised one by one: of the whole map, as read."""

    largest: float
    mean: float
    median: float
    deviation: float

    @classmethod
    def of(cls, values: Float32[np.ndarray, "h w"]) -> "Figures":
        """Those of a map."""
        wide = values.astype(np.float64)
        return cls(float(wide.max()), float(wide.mean()), float(np.median(wide)), float(wide.std()))


class Sample(NamedTuple):
    """Valid pixels of one frame of training.

    Attributes:
        depths: As read.
        truth: Metres.
        turned: As read at the same places of the map turned over, by ``TURNED``.
        rays: Distance to the centre of the camera for every metre of depth; ``None`` where the camera is not known.
        figures: Of the map that they are of; ``None`` where it is not known.
    """

    depths: Pixels
    truth: Pixels
    turned: Sequence[Pixels]
    rays: Pixels | None = None
    figures: Figures | None = None


def pixels_of(values: Float32[np.ndarray, "h w"], chosen: Int[np.ndarray, " n"]) -> tuple[Pixels, Sequence[Pixels]]:
    """A map at some pixels, and the same of the map turned over, by ``TURNED``."""
    maps = (values, values[:, ::-1], values[::-1], values[::-1, ::-1])
    depths, *turned = (each.ravel()[chosen].astype(np.float64) for each in maps)
    return depths, turned


def against_others(
    depths: Mapping[str, Float32[np.ndarray, "h w"]],
    name: str,
    *,
    figures: Figures | None = None,
    rays: Float32[np.ndarray, "h w"] | None = None,
) -> Sample:
    """Some pixels of the depth of a learner, with the median of the others' in the place of the truth."""
    truth = np.median([depth for other, depth in depths.items() if other != name], axis=0)
    chosen = np.random.default_rng(0).choice(truth.size, min(SAMPLED_PIXELS, truth.size), replace=False)
    own, turned = pixels_of(depths[name], chosen)
    distances = None if rays is None else rays.ravel()[chosen].astype(np.float64)
    return Sample(own, truth.ravel()[chosen].astype(np.float64), turned, distances, figures)


def likely_units(ratio: float, per_metre: float) -> list[str]:
    """Known units that explain why the truth is ``ratio`` times the depth that was read with so many a metre."""
    units = {name: abs(math.log(ratio * known / per_metre)) for name, known in KNOWN_FACTORS.items()}
    return sorted((name for name, off in units.items() if off < math.log(SAME_FACTOR)), key=units.__getitem__)


class Guess(NamedTuple):
    """What fits clearly better than what was told.

    Attributes:
        form: Of ``FORMS``.
        turned: Of ``TURNED``; empty where maps lie as the images do.
        error: Mean error of log depth with it, after a scale and a shift for all maps.
        told: The same of what was told.
    """

    form: str
    turned: str
    error: float
    told: float

    def described(self, against: str = "the truth") -> str:
        """What the maps look like, and how much better that fits; the maps are named by what stands in front."""
        lie = f"lie {self.turned}" if self.turned else f"look like {self.form}"
        also = f" and look like {self.form}" if self.turned and self.form != DEPTH else ""
        return f"{lie}{also}: so {against} is met to {self.error:.0%}, and as read to {self.told:.0%}"


def better_guess(samples: Sequence[Sample], told: str = DEPTH, *, clearly: float = CLEARLY) -> Guess | None:
    """How maps lie, and what they hold, if not as told; ``None`` where that fits, or where nothing fits better.

    Args:
        samples: Of as many frames as there are.
        told: Of ``FORMS``.
        clearly: Share of the scatter that what fits better may leave.
    """
    truth = np.concatenate([sample.truth for sample in samples])
    if not len(truth):
        return None
    maps = {"": np.concatenate([sample.depths for sample in samples])}
    maps |= {how: np.concatenate([sample.turned[index] for sample in samples]) for index, how in enumerate(TURNED)}
    forms = [form for form in FORMS if form != LOGARITHM_1 or (maps[""] >= 0).all()]  # depth is never negative
    errors = {(form, how): _error(values, truth, form) for how, values in maps.items() for form in {*forms, told}}
    as_told = errors[told, ""]
    form, how = min(errors, key=errors.__getitem__)
    if as_told <= LARGE or errors[form, how] >= clearly * as_told:
        return None
    if errors[told, how] < clearly * as_told:  # a turn alone says enough
        form = told
    return Guess(form, how, errors[form, how], as_told)


def scaled_one_by_one(samples: Sequence[Sample], told: str = DEPTH) -> bool:
    """Whether maps fit much better with a scale and a shift for each than with one for all, as normalised ones do."""
    target = FORMS[told][0]
    if len(samples) < 2:
        return False
    together = _squares([sample.depths for sample in samples], [target(sample.truth) for sample in samples])
    apart = sum(_squares([sample.depths], [target(sample.truth)]) for sample in samples)
    spread = sum(float(np.square(target(each.truth) - target(each.truth).mean()).sum()) for each in samples)
    most = _most_apart(samples)
    follows = CLEARLY**2 if most < ONE_BY_ONE_ALIKE else FOLLOWS_AT_ALL
    return apart < most * together and apart < follows * spread


def _most_apart(samples: Sequence[Sample]) -> float:
    """How much of the squared error a scale and a shift for every map may leave, by what is the same in all maps."""
    figures = np.array([sample.figures for sample in samples if sample.figures is not None])
    if len(figures) < FEWEST_ALIKE:
        return ONE_BY_ONE
    same = np.ptp(figures, axis=0) <= SAME_FIGURE * np.abs(figures).mean(axis=0)
    return ONE_BY_ONE_ALIKE if same[1:].any() else ONE_BY_ONE_CLIPPED if same[0] else ONE_BY_ONE


def unlike_their_frames(samples: Sequence[Sample]) -> float | None:
    """Rank correlation of the medians of maps with those of the truth, where it is that of maps of other frames.

    Learners that err by far still see which rooms are large, so theirs is well above what chance gives.
    """
    known = [sample for sample in samples if len(sample.truth)]
    if len(known) < FEWEST_FRAMES:
        return None
    pairs = [[float(np.median(part)) for part in (sample.depths, sample.truth)] for sample in known]
    ranks: np.ndarray = np.array(pairs).argsort(axis=0).argsort(axis=0)
    found = float(np.corrcoef(ranks[:, 0], ranks[:, 1])[0, 1])
    return found if abs(found) < BY_CHANCE / math.sqrt(len(known)) else None


def follows_within_frames(samples: Sequence[Sample], told: str = DEPTH) -> float:
    """Correlation of maps with the truth once every frame has the mean 0: 0 of one number everywhere, and of noise."""
    there = FORMS[told][0]
    known = [(sample.depths, there(sample.truth)) for sample in samples if len(sample.truth)]
    if not known:
        return 0.0
    own, truth = (np.concatenate([each - each.mean() for each in part]) for part in zip(*known, strict=True))
    scatter = math.sqrt(float(np.square(own).sum()) * float(np.square(truth).sum()))
    return float((own * truth).sum()) / scatter if scatter else 0.0


def row_profile(values: Float32[np.ndarray, "h w"]) -> Profile:
    """How the numbers of a map change from above to below."""
    bands = [float(band.mean(dtype=np.float64)) for band in np.array_split(values, PROFILE_BANDS) if len(band)]
    mean, deviation = float(values.mean(dtype=np.float64)), float(values.std(dtype=np.float64))
    return tuple((band - mean) / deviation if deviation else 0.0 for band in bands)


def upside_down(maps: Sequence[Profile], known: Sequence[Profile]) -> bool:
    """Whether maps lie the other way than others of one learner: floors are near and below, whatever the scenes."""
    if not known or len(maps) < PROFILE_FRAMES or len({*map(len, (*maps, *known))}) != 1:
        return False
    now, then = np.mean(maps, axis=0), np.mean(known, axis=0)
    if min(np.ptp(now), np.ptp(then)) < PROFILE_SPREAD:
        return False
    return float(np.square(now[::-1] - then).sum()) < CLEARLY**2 * float(np.square(now - then).sum())


def rays_for_depth(samples: Sequence[Sample], told: str = DEPTH, *, metres: bool = False) -> int:
    """Whether maps hold distances to the camera for depth along its axis (1), the other way round (-1), or neither (0).

    That is told by the share of the excess of distance over depth which is in the error of depth, after the scale and
    shift that fit best for all maps: about 0, but 1 of distances, and -1 of depth that was taken for distances. A line
    through depths that err is too flat, which hides a part of it, so maps of ``metres`` get the median ratio alone; as
    such that are squeezed into a part of the range would be taken for distances then, they must look so as well once
    they have the mean and the deviation of the truth. Maps that do not follow the truth within frames, as one number
    everywhere or noise, say nothing of it.
    """
    known = [sample for sample in samples if sample.rays is not None and len(sample.rays) >= RAY_PIXELS]
    if len(known) < RAY_FRAMES or follows_within_frames(known, told) < RAY_FOLLOWS:
        return 0
    there, back = FORMS[told]
    depths, truth = (np.concatenate(part) for part in zip(*((each.depths, each.truth) for each in known), strict=True))
    if not metres:
        scale, shift = _line(depths, there(truth))
        return _RayShare.of(known, lambda values: back(scale * values + shift)).verdict(RAY_SHARE)
    ratio = float(np.median(truth / depths))
    verdict = _RayShare.of(known, lambda values: ratio * values).verdict(RAY_SHARE)
    middle, steep = depths.mean(), truth.std() / max(float(depths.std()), 1e-9)
    unsqueezed = _RayShare.of(known, lambda values: steep * (values - middle) + truth.mean())
    return verdict if verdict * unsqueezed.share > RAY_SHARE / 2 else 0


class _RayShare(NamedTuple):
    """The share of the excess of distance over depth in the error of maps, how unsure it is, and what it explains."""

    share: float
    unsure: float
    explained: float

    @classmethod
    def of(cls, samples: Sequence[Sample], read: Callable[[Pixels], Pixels]) -> "_RayShare":
        """That of maps of cameras that are known, once they are read as metres."""
        slopes, explained, whole = [], 0.0, 0.0
        for sample in samples:
            error = np.log(read(sample.depths).clip(1e-6) / sample.truth)
            excess = np.log(np.asarray(sample.rays))
            excess = excess - excess.mean()
            slopes.append(float((excess * error).sum() / np.square(excess).sum()))
            explained += slopes[-1] ** 2 * float(np.square(excess).sum())
            whole += float(np.square(error - error.mean()).sum())
        unsure = 2 * float(np.std(slopes, ddof=1)) / math.sqrt(len(slopes))
        return cls(float(np.mean(slopes)), unsure, explained / whole if whole else 0.0)

    def verdict(self, least: float) -> int:
        """1 or -1 where the share is clearly more than this, and no other effect by its size."""
        clear = (
            self.explained >= RAY_EXPLAINED and abs(self.share) - self.unsure > least and abs(self.share) < 1 / least
        )
        return round(math.copysign(1, self.share)) if clear else 0


def _error(values: Pixels, truth: Pixels, form: str) -> float:
    """Mean error of log depth of values that hold a form, after the scale, never negative, and shift that fit best."""
    there, back = FORMS[form]
    target = there(truth)
    scale, shift = _line(values, target)
    found = back(scale * values + shift) if scale > 0 else back(np.full_like(target, target.mean()))
    return float(np.abs(np.log(found.clip(1e-6) / truth)).mean())


def _squares(values: Sequence[Pixels], target: Sequence[Pixels]) -> float:
    """Squared error that is left by one scale and shift."""
    together, wanted = np.concatenate(values), np.concatenate(target)
    scale, shift = _line(together, wanted)
    return float(np.square(scale * together + shift - wanted).sum())


def _line(values: Pixels, target: Pixels) -> tuple[float, float]:
    """Scale and shift of least squares."""
    middle, centred = float(values.mean()), values - values.mean()
    spread = float(np.square(centred).sum())
    scale = float((centred * target).sum()) / spread if spread else 0.0
    return scale, float(target.mean()) - scale * middle
