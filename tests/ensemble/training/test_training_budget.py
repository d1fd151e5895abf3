"""Budgets in epochs, steps and seconds; the clock is the test's own."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import training_runs as runs
from torch import Tensor, nn

from ensemble.console.pulse import pulse
from ensemble.runs.paths import Run
from ensemble.training.checkpoints import AtomicCheckpointIO, read_checkpoint
from ensemble.training.optimisation.budget import Budget
from ensemble.training.optimisation.schedule import cycle

BATCHES = 4  # an epoch has four steps


class Clock:
    """Goes on by a second with every batch that is trained, and by a hundred with every one that is validated."""

    def __init__(self, time: float = 0.0) -> None:
        self.time = time
        self.second = 1.0

    def __call__(self) -> float:
        return self.time

    def forward(self, network: nn.Module, batch: Any) -> Tensor:
        self.time += self.second if network.training else 100.0
        return network(batch["image"])


def timed_fit(folder: Path, clock: Clock, *, losses: Any = runs.log_error_per_image, **changes: Any) -> Run:
    return runs.toy_fit(folder, task={"forward": clock.forward, "losses": losses}, now=clock, **changes)


def budget(run: Run) -> dict[str, Any]:
    return json.loads(run.result.read_text())["budget"]


def test_a_budget_of_seconds_ends_training_and_shapes_the_cycle(tmp_path: Path) -> None:
    run = timed_fit(tmp_path, Clock(5000.0), max_seconds=6.0, lr=0.02)
    lines = runs.train_lines(run)
    assert [line["lr/decoder"] for line in lines] == pytest.approx([0.02 * cycle(second, 6.0) for second in range(6)])
    assert [line["step"] for line in runs.validation_lines(run)] == [4, 6]
    assert budget(run) == {"unit": "seconds", "asked": 6.0, "spent": 6.0}
    assert json.loads(run.result.read_text())["steps"] == 6


def test_more_epochs_than_asked_for_are_trained_while_seconds_are_left(tmp_path: Path) -> None:
    run = timed_fit(tmp_path, Clock(), max_seconds=4.0 * BATCHES, epochs=1)
    assert len(runs.train_lines(run)) == 4 * BATCHES
    assert len(runs.validation_lines(run)) == 4


def test_the_clock_is_read_once_per_optimiser_step(tmp_path: Path) -> None:
    run = timed_fit(tmp_path, Clock(), max_seconds=5.0, batch_size=4, accumulate=2)
    assert [line["lr/decoder"] for line in runs.train_lines(run)] == pytest.approx(
        [0.01 * cycle(second, 5.0) for second in (0, 2, 4)]
    )
    assert budget(run) == {"unit": "seconds", "asked": 5.0, "spent": 6.0}


def test_writing_checkpoints_does_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    write = AtomicCheckpointIO.save_checkpoint

    def slow(self: AtomicCheckpointIO, *arguments: Any, **named: Any) -> None:
        clock.time += 50.0
        write(self, *arguments, **named)

    monkeypatch.setattr(AtomicCheckpointIO, "save_checkpoint", slow)
    run = timed_fit(tmp_path, clock, max_seconds=6.0, checkpoint_every=1)
    assert len(runs.train_lines(run)) == 6
    assert budget(run)["spent"] == 6.0
    assert clock.time > 200


def test_waiting_for_batches_counts() -> None:
    clock = Clock()
    spent = Budget(runs.toy_settings(max_seconds=10.0), BATCHES, now=clock)
    spent.on_train_epoch_start(None, None)
    clock.time += 3.0
    with spent.paused():
        clock.time += 7.0
    clock.time += 1.0
    assert spent.state_dict() == {"seconds": 4.0}
    spent.on_validation_start(None, None)
    spent.on_train_epoch_end(None, None)
    clock.time += 9.0
    assert spent.state_dict() == {"seconds": 4.0}
    with spent.paused():
        clock.time += 1.0
    clock.time += 1.0
    assert spent.state_dict() == {"seconds": 4.0}


@pytest.mark.parametrize("calls", [1, 2, 4, 5])
def test_a_run_that_goes_on_continues_the_clock(tmp_path: Path, calls: int) -> None:
    settings = {"max_seconds": 6.0, "checkpoint_every": 1}
    straight = timed_fit(tmp_path / "straight", Clock(), **settings)
    cut = Run(tmp_path / "cut")
    with pytest.raises(runs.PowerCutError):
        timed_fit(cut.folder, Clock(70.0), losses=runs.cut_after(calls), **settings)
    assert read_checkpoint(cut.last)["callbacks"]["Budget"] == {"seconds": float(calls)}
    runs.assert_same_end(timed_fit(cut.folder, Clock(4e5), **settings), straight)


@pytest.mark.parametrize("settings", [{"max_seconds": 6.0}, {"max_steps": 6}, {"max_steps": 8}, {"epochs": 1}])
def test_a_spent_budget_is_not_spent_again(tmp_path: Path, settings: dict[str, Any]) -> None:
    run = timed_fit(tmp_path, Clock(), **settings)
    found = run.result.read_text(), run.log.read_text(), runs.weights(run)
    run.result.unlink()
    timed_fit(tmp_path, Clock(), **settings)
    assert json.loads(run.result.read_text())["budget"] == json.loads(found[0])["budget"]
    assert json.loads(run.result.read_text())["steps"] == json.loads(found[0])["steps"]
    assert run.log.read_text() == found[1]
    assert all(torch.equal(values, found[2][name]) for name, values in runs.weights(run).items())


def test_the_result_records_the_budget(tmp_path: Path) -> None:
    steps = runs.toy_fit(tmp_path / "steps", max_steps=3)
    assert budget(steps) == {"unit": "steps", "asked": 3, "spent": 3}
    epochs = runs.toy_fit(tmp_path / "epochs", epochs=1)
    assert budget(epochs) == {"unit": "epochs", "asked": 1, "spent": 1.0}


def laid_out(folder: Path, layout: str, **arguments: Any) -> tuple[Run, nn.Module]:
    torch.manual_seed(1)
    network = runs.Toy()
    run = Run(folder)
    try:
        runs.toy_fit(
            folder, task={"network": network, **arguments}, memory_format=layout, checkpoint_every=1, device="cpu"
        )
    except runs.PowerCutError:
        assert "losses" in arguments
    return run, network


def test_channels_last_changes_the_layout_and_not_what_is_learned(tmp_path: Path) -> None:
    plain, _ = laid_out(tmp_path / "plain", "contiguous")
    other, network = laid_out(tmp_path / "other", "channels_last")
    assert network.encoder.weight.is_contiguous(memory_format=torch.channels_last)
    assert not network.encoder.weight.is_contiguous()
    for name, values in runs.weights(plain).items():
        torch.testing.assert_close(runs.weights(other)[name], values, rtol=1e-4, atol=1e-5)


def test_a_processor_lays_channels_together_by_itself(tmp_path: Path) -> None:
    by_itself, network = laid_out(tmp_path / "auto", "auto")
    assert network.encoder.weight.is_contiguous(memory_format=torch.channels_last)
    runs.assert_same_end(by_itself, laid_out(tmp_path / "other", "channels_last")[0])


@pytest.mark.parametrize(("first", "second"), [("contiguous", "channels_last"), ("channels_last", "contiguous")])
def test_checkpoints_load_in_either_layout(tmp_path: Path, first: str, second: str) -> None:
    straight, _ = laid_out(tmp_path / "straight", first)
    cut, _ = laid_out(tmp_path / "cut", first, losses=runs.cut_after(3))
    assert not cut.result.exists()
    laid_out(cut.folder, second)
    for name, values in runs.weights(straight).items():
        torch.testing.assert_close(runs.weights(cut)[name], values, rtol=1e-4, atol=1e-5)


def test_channels_last_resumes_bit_equal(tmp_path: Path) -> None:
    straight, _ = laid_out(tmp_path / "straight", "channels_last")
    laid_out(tmp_path / "cut", "channels_last", losses=runs.cut_after(3))
    runs.assert_same_end(laid_out(tmp_path / "cut", "channels_last")[0], straight)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"epochs": 3}, "about 5 min left of 12 steps"),
        ({"max_steps": 10}, "about 3 min left of 10 steps"),
        ({"max_seconds": 1800.0}, "about 23 min left of 1800 s"),
    ],
)
def test_a_long_training_says_once_how_long_it_will_take(
    changes: dict[str, Any], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = Clock()
    clock.second = 60.0
    timed_fit(tmp_path, clock, **changes)
    lines = [line for line in capsys.readouterr().err.splitlines() if "left of" in line]
    assert lines == [f"  toy        {told}, looks at the validation scenes not counted"]


def test_a_short_training_says_nothing_of_its_time(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    timed_fit(tmp_path, Clock(), epochs=3)
    assert "left of" not in capsys.readouterr().err
    assert pulse.doing.startswith("toy: ") or pulse.doing == "working"


def test_whoever_watches_is_told_the_step(tmp_path: Path) -> None:
    seen: list[str] = []

    class Watching(Clock):
        def forward(self, network: nn.Module, batch: Any) -> Tensor:
            seen.append(pulse.doing)
            return super().forward(network, batch)

    clock = Watching()
    clock.second = 60.0
    timed_fit(tmp_path, clock, epochs=3, validate_every=3)
    assert "toy: step 4 of 12" not in seen, "a line per epoch was said in between"
    assert "toy: step 3 of 12" in seen
    assert "toy: step 6 of 12, about 6 min left" in seen
    assert "toy: validation after step 12" in seen
