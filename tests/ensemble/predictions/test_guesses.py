"""What is the same in all maps tells those that were normalised one by one from those of a network that clips."""

import numpy as np
import pytest

from ensemble.predictions.foreign.guesses import (
    Figures,
    Sample,
    follows_within_frames,
    rays_for_depth,
    scaled_one_by_one,
    unlike_their_frames,
    upside_down,
)

ROWS, COLUMNS = np.mgrid[0:1:24j, 0:1:32j]


def samples_of(change, *, noise: float, count: int = 12) -> list[Sample]:
    """Slopes of rooms from one to eight metres deep, of which maps err by pixel."""
    rng, found = np.random.default_rng(0), []
    for depth in np.linspace(1, 8, count):
        truth = depth * (0.4 + 0.6 * (1 - ROWS) * (0.5 + COLUMNS / 2))
        values = change(truth * rng.normal(1, noise, truth.shape).clip(0.5, 1.5)).astype(np.float32)
        found.append(Sample(values.ravel().astype(np.float64), truth.ravel(), [], figures=Figures.of(values)))
    return found


@pytest.mark.parametrize("figure", [np.max, np.mean, np.median, np.std])
def test_maps_that_were_divided_by_a_figure_of_their_own_are_told(figure):
    assert scaled_one_by_one(samples_of(lambda metres: metres / figure(metres), noise=0.15))


def test_maps_of_a_network_that_clips_are_not_taken_for_normalised_ones():
    clipped = samples_of(lambda metres: np.where(ROWS < 0.2, 10, metres), noise=0.3)
    assert {sample.figures.largest for sample in clipped if sample.figures is not None} == {10}
    assert not scaled_one_by_one(clipped)
    assert not scaled_one_by_one(samples_of(lambda metres: metres, noise=0.2))
    assert not scaled_one_by_one(samples_of(np.ones_like, noise=0.2)), "one map for all images follows nothing"


def with_rays(samples: list[Sample]) -> list[Sample]:
    rays = np.sqrt(1 + np.square((ROWS - 0.5) * 0.9) + np.square((COLUMNS - 0.5) * 1.2)).ravel()
    return [sample._replace(rays=rays) for sample in samples]


def test_maps_that_follow_nothing_are_no_distances():
    """One number everywhere errs most where rooms are deep, here towards the edges."""
    bowl = 2 / (1 + np.square((ROWS - 0.5) * 0.9) + np.square((COLUMNS - 0.5) * 1.2))
    frames = [bowl * scale for scale in np.linspace(0.8, 1.2, 12)]
    rays = with_rays([Sample(bowl.ravel(), frame.ravel(), []) for frame in frames])
    constant = [sample._replace(depths=np.full(sample.truth.shape, 2.0)) for sample in rays]
    distances = [sample._replace(depths=sample.truth * sample.rays) for sample in rays if sample.rays is not None]
    assert follows_within_frames(constant) == 0
    assert follows_within_frames(distances) > 0.5
    assert rays_for_depth(constant, metres=True) == 0
    assert rays_for_depth(distances, metres=True) == 1


def test_maps_of_other_frames_are_told_from_those_that_err():
    own = samples_of(lambda metres: 0.3 * metres + 1, noise=0.5, count=30)
    assert unlike_their_frames(own) is None
    order = np.random.default_rng(3).permutation(30)
    others = [own[other]._replace(truth=sample.truth) for sample, other in zip(own, order, strict=True)]
    found = unlike_their_frames(others)
    assert found is not None
    assert abs(found) < 0.37
    assert unlike_their_frames(others[:10]) is None, "too few frames tell nothing"


def test_a_few_profiles_tell_how_maps_lie():
    below = [(1.0, 0.2, -0.4, -0.8), (0.9, 0.3, -0.3, -0.9), (0.8, 0.4, -0.5, -0.7), (1.1, 0.1, -0.2, -1.0)]
    above = [profile[::-1] for profile in below]
    assert upside_down(above, below)
    assert not upside_down(below, below)
    assert not upside_down(above[:3], below)  # too few
    assert not upside_down(above, [])
    level = [(0.02, 0.0, -0.01, -0.01)] * 4
    assert not upside_down(level, below)
    assert not upside_down(above, [profile[:3] for profile in below])  # maps of fewer rows than bands
