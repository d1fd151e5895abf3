"""Greedy selection on products of log errors: planted best sets, budgets, rivals, and every set tried by hand."""

from itertools import combinations_with_replacement

import numpy as np
import pytest

from ensemble.stacking.greedy import MOST_PICKS, Limits, best_set, reduced, squared_error

FREE = 1e9


def products_of(errors: np.ndarray) -> np.ndarray:
    """Of log errors [k n]."""
    return errors @ errors.T / errors.shape[1]


def complementary(pixels: int = 4000) -> np.ndarray:
    """The best one alone, two that err in opposite ways, and a second seed of the best one that errs like it."""
    rng = np.random.default_rng(0)
    wave = rng.normal(size=pixels)
    noise = 0.01 * rng.normal(size=(4, pixels))
    return noise + np.stack([0.1 * np.roll(wave, 1), 0.15 * wave, -0.15 * wave, 0.1 * np.roll(wave, 1)])


def test_learners_that_err_in_opposite_ways_beat_two_copies_of_the_best():
    products = products_of(complementary())
    assert np.diag(products).argmin() in (0, 3), "alone one of the seeds is best"
    assert best_set(products, Limits([1] * 4, FREE)) == (0, 1, 1, 0)
    assert squared_error(products, (0, 1, 1, 0)) < 0.1 * squared_error(products, (1, 0, 0, 1))


@pytest.mark.parametrize("seed", range(5))
def test_no_small_set_within_the_budget_is_better(seed: int):
    rng = np.random.default_rng(seed)
    products = products_of(rng.normal(size=(5, 3)) @ rng.normal(size=(3, 200)) + 0.3 * rng.normal(size=(5, 200)))
    limits = Limits(rng.uniform(1, 3, size=5).tolist(), 5.0)
    found = best_set(products, limits)
    assert found is not None
    assert limits.allows(found)
    for size in (1, 2, 3):
        for chosen in combinations_with_replacement(range(5), size):
            counts = tuple(chosen.count(index) for index in range(5))
            if limits.allows(counts):
                assert squared_error(products, found) <= 1.02 * squared_error(products, counts), counts


def test_the_squared_error_of_a_set_is_that_of_its_mean_in_logs():
    errors = complementary()
    counts = (2, 0, 1, 1)
    mean = np.average(errors, axis=0, weights=counts)
    assert squared_error(products_of(errors), counts) == pytest.approx(float((mean**2).mean()), rel=1e-12)


def test_a_costly_first_choice_does_not_use_the_budget_up():
    products = products_of(complementary())
    limits = Limits([9, 5, 5, 9], 10)  # the best one alone leaves room for nothing else
    assert best_set(products, limits) == (0, 1, 1, 0)
    assert best_set(products, Limits([9, 5, 6, 9], 10)) in [(1, 0, 0, 0), (0, 0, 0, 1)]


def test_a_member_costs_once_however_often_it_counts():
    rng = np.random.default_rng(1)
    errors = rng.normal(size=(2, 5000)) * [[0.1], [0.2]]
    found = best_set(products_of(errors), Limits([1, 1], 2))
    assert found is not None
    assert found[0] / sum(found) == pytest.approx(0.8, abs=0.03)  # weights as the inverse of the variances
    assert sum(found) <= MOST_PICKS


def test_a_budget_that_nothing_fits_into_gives_no_set():
    assert best_set(products_of(complementary()), Limits([2, 2, 2, 2], 1)) is None


def test_no_set_is_worse_than_a_rival_within_the_budget():
    rng = np.random.default_rng(2)
    for _ in range(20):
        products = products_of(rng.normal(size=(6, 12)))
        limits = Limits([1] * 6, 4)
        rivals = [(1, 1, 1, 0, 0, 0), (1, 1, 1, 1, 1, 1)]
        found = best_set(products, limits, rivals)
        assert found is not None
        assert limits.allows(found)
        assert squared_error(products, found) <= squared_error(products, rivals[0]) * (1 + 1e-9)


def test_of_equal_sets_the_cheaper_one_is_taken():
    products = np.full((3, 3), 0.04)
    assert best_set(products, Limits([3, 1, 2], FREE)) == (0, 1, 0)


def test_copies_are_as_few_as_give_the_same_mean():
    assert reduced((4, 0, 6)) == (2, 0, 3)
    assert reduced((0, 5, 0)) == (0, 1, 0)
