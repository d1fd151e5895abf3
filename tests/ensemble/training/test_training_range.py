from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import training_runs as runs
from torch import Tensor, nn

from ensemble.runs.paths import Outputs, Run
from ensemble.training.fit import lr_range
from ensemble.training.learners import range_test
from ensemble.training.range_test import steepest_fall


def toy_range(
    folder: Path, *, steps: int = 20, losses: Any = runs.silog, forward: Any = runs.see_image, **changes: Any
) -> Any:
    settings = runs.toy_settings(**changes)
    training, _ = runs.datasets(runs.data_settings())
    return lr_range(
        lambda length: runs.toy_task(settings, length, losses=losses, forward=forward),
        training,
        settings,
        Run(folder),
        seed=3,
        steps=steps,
    )


def test_rates_climb_by_one_factor_and_losses_are_finite(tmp_path: Path) -> None:
    rates, losses, suggestion = toy_range(tmp_path, steps=25)
    assert len(rates) == len(losses) > 12
    assert rates[0] == pytest.approx(1e-6)
    factors = torch.tensor(rates[1:]) / torch.tensor(rates[:-1])
    assert torch.allclose(factors, torch.full_like(factors, 10 ** (6 / 24)), rtol=1e-4)
    assert torch.isfinite(torch.tensor(losses)).all()
    assert suggestion is None or rates[0] <= suggestion <= rates[-1]


def test_a_range_test_writes_nothing(tmp_path: Path) -> None:
    toy_range(tmp_path)
    assert not list(tmp_path.rglob("*"))


def test_a_loss_that_is_not_finite_ends_the_curve(tmp_path: Path) -> None:
    calls = []

    def losses(depth: Tensor, batch: Any) -> dict[str, Tensor]:
        calls.append(1)
        return {"silog": runs.silog(depth, batch)["silog"] * (float("inf") if len(calls) > 12 else 1.0)}

    rates, found, _ = toy_range(tmp_path, losses=losses)
    assert len(rates) == len(found) == 12
    assert torch.isfinite(torch.tensor(found)).all()
    assert not list(tmp_path.rglob("*"))


def test_a_loss_that_is_never_finite_is_told(tmp_path: Path) -> None:
    with pytest.raises(FloatingPointError, match="toy: at step 1 the loss is not finite"):
        toy_range(tmp_path, losses=lambda depth, batch: {"silog": depth.mean() * float("nan")})


def test_a_network_that_diverges_ends_the_curve(tmp_path: Path) -> None:
    calls = []

    def forward(network: nn.Module, batch: Any) -> Tensor:
        calls.append(1)
        return network(batch["image"]) * (float("nan") if len(calls) > 12 else 1.0)

    rates, found, _ = toy_range(tmp_path, forward=forward)
    assert len(rates) == 12
    assert torch.isfinite(torch.tensor(found)).all()


def test_a_loss_that_diverges_ends_the_curve(tmp_path: Path) -> None:
    calls = []

    def losses(depth: Tensor, batch: Any) -> dict[str, Tensor]:
        calls.append(1)
        return {"silog": runs.silog(depth, batch)["silog"] * (1000.0 if len(calls) > 10 else 1.0)}

    rates, found, _ = toy_range(tmp_path, losses=losses)
    assert len(rates) == 11
    assert found[-1] > 4 * min(found)


def test_accumulated_batches_are_one_point(tmp_path: Path) -> None:
    plain, _, _ = toy_range(tmp_path, steps=10, batch_size=8)
    seen = []

    def losses(depth: Tensor, batch: Any) -> dict[str, Tensor]:
        seen.append(len(batch["frame"]))
        return runs.silog(depth, batch)

    parts, _, _ = toy_range(tmp_path, steps=10, batch_size=8, accumulate=2, losses=losses)
    assert parts == plain
    assert seen == [4] * 20


def test_the_steepest_fall() -> None:
    rates = [10.0**exponent for exponent in range(-6, 1)]
    assert steepest_fall(rates, [5.0, 5.0, 4.9, 4.0, 2.0, 1.9, 9.0]) == rates[3]
    assert steepest_fall(rates, [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]) is None
    assert steepest_fall(rates[:2], [2.0, 1.0]) is None


@pytest.mark.parametrize("seed", range(5))
def test_noise_of_single_batches_does_not_choose_the_rate(seed: int) -> None:
    rates = np.logspace(-6, 0, 100)
    fall = np.clip(np.log10(rates) + 3.5, 0, 1.5)  # from 3e-4 to 1e-2
    losses = 6 - 0.6 * fall + np.random.default_rng(seed).normal(0, 0.15, rates.size)
    found = steepest_fall(rates.tolist(), losses.tolist())
    assert found is not None
    assert 3e-4 < found < 1e-2


def test_a_range_test_does_not_disturb_a_later_training(tmp_path: Path) -> None:
    settings = runs.narrow_settings("bts", max_steps=2)
    outputs = Outputs(tmp_path)
    first = range_test(settings, outputs, steps=10)
    assert not list(tmp_path.rglob("*.ckpt"))
    assert range_test(settings, outputs, steps=10) == first
    before = runs.toy_fit(tmp_path / "before")
    toy_range(tmp_path / "before")
    after = runs.toy_fit(tmp_path / "after")
    assert before.log.read_bytes() == after.log.read_bytes()
    assert before.best.read_bytes() == after.best.read_bytes()
