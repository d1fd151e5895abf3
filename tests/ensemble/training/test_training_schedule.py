import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ensemble.training.optimisation.schedule import climb, cycle, one_cycle


def test_first_peak_and_last_rate() -> None:
    rates = [one_cycle(step, 101) for step in range(101)]
    assert rates[0] == pytest.approx(1 / 25)
    assert rates[30] == pytest.approx(1.0)
    assert max(rates) == rates[30]
    assert rates[100] == pytest.approx(1 / 100)


def test_warm_up_is_a_line_and_the_rest_a_half_cosine() -> None:
    assert [one_cycle(step, 101) for step in (10, 20)] == pytest.approx([0.04 + 0.96 / 3, 0.04 + 0.96 * 2 / 3])
    assert one_cycle(65, 101) == pytest.approx((1 + 0.01) / 2)  # half of the way down
    assert one_cycle(30 + 70 // 4, 101) == pytest.approx(0.01 + 0.99 * (1 + math.cos(math.pi * 17 / 70)) / 2)


@given(st.integers(1, 5000), st.data())
def test_every_rate_lies_between_the_lowest_and_the_peak(steps: int, data: st.DataObject) -> None:
    step = data.draw(st.integers(0, steps - 1))
    warmup = data.draw(st.floats(0.0, 0.99))
    rate = one_cycle(step, steps, warmup_fraction=warmup)
    assert 1 / 100 - 1e-12 <= rate <= 1.0
    if step and step < warmup * (steps - 1):
        assert rate > one_cycle(step - 1, steps, warmup_fraction=warmup)
    if step - 1 >= warmup * (steps - 1):
        assert rate < one_cycle(step - 1, steps, warmup_fraction=warmup)


@given(st.integers(2, 5000), st.floats(0.01, 0.99))
def test_ends_are_exact_for_every_length(steps: int, warmup: float) -> None:
    assert one_cycle(0, steps, warmup_fraction=warmup) == pytest.approx(1 / 25)
    assert one_cycle(steps - 1, steps, warmup_fraction=warmup) == pytest.approx(1 / 100)
    assert one_cycle(steps + 3, steps, warmup_fraction=warmup) == pytest.approx(1 / 100)


def test_a_cycle_of_one_step_runs_at_the_peak() -> None:
    assert one_cycle(0, 1) == 1.0


def test_a_cycle_without_steps_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one step, found 0"):
        one_cycle(0, 0)


@given(st.integers(0, 200), st.floats(0.1, 1e6))
def test_the_cycle_has_the_same_shape_in_any_unit(step: int, length: float) -> None:
    assert cycle(step / 100 * length, length) == pytest.approx(one_cycle(step, 101), rel=1e-6)


def test_it_is_not_pytorchs_one_cycle() -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    pytorch = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=1.0, total_steps=101)
    theirs = []
    for _ in range(101):
        theirs.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if len(theirs) < 101:
            pytorch.step()
    assert theirs[0] == pytest.approx(one_cycle(0, 101))
    assert abs(theirs[10] - one_cycle(10, 101)) > 0.05
    assert theirs[-1] < 1e-5 < one_cycle(100, 101)


def test_the_climb_of_the_range_test_multiplies() -> None:
    rates = [climb(step, 4, lowest=1e-6, highest=1.0) for step in range(4)]
    assert rates == pytest.approx([1e-6, 1e-4, 1e-2, 1.0])
