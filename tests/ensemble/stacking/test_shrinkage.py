"""How much of a correction is kept, on scenes whose errors are known."""

import numpy as np
import pytest

from ensemble.stacking.shrinkage import LEAST_SCENES, UNDECIDED, Agreement, strength


def scenes_of(share: float, noise: float, *, scenes: int = 40, seed: int = 0) -> Agreement:
    """Scenes of one image each whose error is a share of the correction, and noise."""
    rng = np.random.default_rng(seed)
    correction = rng.normal(size=scenes)
    error = share * correction + noise * rng.normal(size=scenes)
    return Agreement(correction * error, correction**2)


@pytest.mark.parametrize(("share", "expected"), [(0.0, 0.0), (0.3, 0.3), (1.0, 1.0), (2.0, 1.0), (-0.5, 0.0)])
def test_scenes_that_can_tell_give_the_best_share_between_nothing_and_all(share: float, expected: float):
    assert strength(scenes_of(share, 0.05)) == pytest.approx(expected, abs=0.03)


def test_scenes_that_cannot_tell_give_half():
    for seed in range(5):
        assert strength(scenes_of(0.5, 5.0, seed=seed)) == UNDECIDED
    assert strength(scenes_of(0.9, 0.0, scenes=LEAST_SCENES - 1)) == UNDECIDED
    assert strength(scenes_of(0.9, 0.0, scenes=LEAST_SCENES)) == pytest.approx(0.9)


def test_the_interval_is_over_scenes_and_not_over_images():
    """One large scene against many small ones: which it is decides, so its images are no evidence by themselves."""
    products, squares = np.full(6, 0.1), np.full(6, 1.0)
    products[0], squares[0] = 90.0, 60.0
    assert strength(Agreement(products, squares)) != UNDECIDED
    products[0] = -20.0
    products[1:] = 1.5
    assert strength(Agreement(products, squares)) == UNDECIDED


def test_a_correction_of_nothing_has_no_strength_and_a_scene_can_be_left_out():
    nothing = Agreement(np.zeros(8), np.zeros(8))
    assert strength(nothing) == 0.0
    assert strength(Agreement(np.linspace(-1, 1, 8) * 1e-9, np.full(8, 1e-14))) == 0.0  # rounding
    some = scenes_of(0.3, 0.1, scenes=10)
    without = some.without(3)
    assert len(without.products) == len(without.squares) == 9
    assert without.products.sum() == pytest.approx(some.products.sum() - some.products[3])
