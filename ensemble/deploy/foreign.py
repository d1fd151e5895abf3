"""Whether new depth maps of a learner are as those were that its stack was fitted to: of their unit and scale."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float32, Shaped

from ensemble.data.formats.maps import LIKELY_CHANGE, as_metres, as_read, likely_unit, of_one_scale
from ensemble.deploy.saved import SavedLearner
from ensemble.predictions.foreign.guesses import Sample, likely_units, row_profile, upside_down
from ensemble.settings.units import per_metre

LIKELY_CHANGE_OF_ONE = 16.0
"""How many times larger or smaller depth may be in a single frame, in the median, than in those of the import."""


LIKELY_CHANGE_OF_FRAME = 4.0
"""How many times as far as in training all learners may see a single frame before it is said: rooms differ by less."""

APART, FAR_APART = 1.3, 1.75
"""How many times the depth of the others that of a learner may be, either way, in the median of frames, beyond what it
was in the import: more is said, still more is refused."""


def numbers_read(learner: SavedLearner, numbers: Shaped[np.ndarray, "h w"]) -> Float32[np.ndarray, "h w"]:
    """What the numbers of a map count: as its import tells; of a network of ours metres, millimetres if whole."""
    return as_metres(numbers, None) if learner.imported is None else as_read(numbers, learner.imported)


def check_turned(learner: SavedLearner, maps: Sequence[Float32[np.ndarray, "_ _"]]) -> None:
    """Refuse maps, as read, that lie the other way than those that were imported, whatever other learners say.

    Raises:
        ValueError: What is near is above in one and below in the other.
    """
    if upside_down([row_profile(values) for values in maps], [learner.rows] if learner.rows else []):
        raise ValueError(
            f"maps of {learner.name} lie upside down, or those of the import did: what is near is above in one and "
            "below in the other; expected maps such as those that were imported, which lie as the images do"
        )


def times_the_others(samples: Sequence[Sample], name: str, usual: Mapping[str, float]) -> float:
    """How many times as far as usual a learner is from the others, in the median over frames.

    Args:
        samples: Its depth in frames, with that of the others in the place of the truth.
        name: Of the learner.
        usual: Median depth of every learner on frames of training; where it is not known nothing is said, which is 1.
    """
    if name not in usual:
        return 1.0
    then = usual[name] / float(np.median([usual[other] for other in usual if other != name]))
    return float(np.median([np.median(sample.depths / sample.truth) for sample in samples])) / then


def times_training(depths: Mapping[str, Float32[np.ndarray, "h w"]], usual: Mapping[str, float]) -> float | None:
    """How many times as far as in training all learners see a frame, where that is more than frames differ by.

    Args:
        depths: Metres, by learner.
        usual: Median depth of every learner on frames of training; where it is not known nothing is said.
    """
    times = [float(np.median(depth)) / usual[name] for name, depth in depths.items() if name in usual]
    if len(times) < len(depths):
        return None
    nearest = min(times, key=lambda each: abs(math.log(each)))
    same = all((each > 1) == (nearest > 1) for each in times)
    return nearest if same and abs(math.log(nearest)) > math.log(LIKELY_CHANGE_OF_FRAME) else None


def check_scale(
    learner: SavedLearner,
    maps: Sequence[Float32[np.ndarray, "_ _"]],
    numbers: Shaped[np.ndarray, "_ _"],
    usual: Mapping[str, float],
) -> None:
    """Refuse maps of another unit or scale than those that the stack was fitted to.

    Args:
        learner: Whose they are.
        maps: As read; of several frames, or of one, which may be of nearer or farther things.
        numbers: The first as it stands in its file.
        usual: Median depth of every learner on frames of training, metres.

    Raises:
        ValueError: They are; the message says of which unit they may be.
    """
    settings, own = learner.imported, learner.imported is None
    then = usual.get(learner.name) if own else learner.median
    if then is None:
        return
    now = float(np.median([np.median(values[::4, ::4]) for values in maps]))
    change = LIKELY_CHANGE if len(maps) > 1 else LIKELY_CHANGE_OF_ONE
    if of_one_scale(now, then, None if settings is None else settings.alignment, change):
        return
    unit = (settings.unit if settings else None) or likely_unit(numbers)
    units = likely_units(then / now, per_metre(unit)) if now > 0 else []
    looks = f": it looks like the unit {' or '.join(units)}" if units else ""
    told = "" if settings is None or not settings.unit else f" ({settings.unit})"
    expected = "metres, or millimetres as whole numbers" if own else f"the unit and scale of the import{told}"
    raise ValueError(
        f"maps of {learner.name} have a median of {now:.3g} where it was {then:.3g} in "
        f"{'training' if own else 'the import'}{looks}; expected {expected}"
    )
