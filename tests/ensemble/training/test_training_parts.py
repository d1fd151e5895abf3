"""Learning rates, gradient norms and clipping of the parts of a network."""

from pathlib import Path
from typing import Any

import pytest
import torch
import training_runs as runs
from torch import nn

from ensemble.training.optimisation.gradients import clip_parts, gradient_norms
from ensemble.training.optimisation.groups import ParameterGroup, encoder_and_decoder, trainable_groups
from ensemble.training.optimisation.schedule import one_cycle
from ensemble.training.tasks import DepthTask


def two_groups(network: nn.Module) -> list[ParameterGroup]:
    return [
        ParameterGroup("slow", tuple(network.encoder.parameters()), 1e-3),
        ParameterGroup("fast", tuple(network.decoder.parameters()), 2e-2),
    ]


def in_parts(**arguments: Any) -> dict[str, Any]:
    torch.manual_seed(1)
    network = runs.Toy()
    parts = {"front": network.encoder, "back": network.decoder}
    return {"network": network, "parts": parts, "groups": two_groups, **arguments}


def test_every_group_has_its_own_rate_under_the_same_cycle(tmp_path: Path) -> None:
    lines = runs.train_lines(runs.toy_fit(tmp_path, task=in_parts))
    for name, lr in (("slow", 1e-3), ("fast", 2e-2)):
        assert [line[f"lr/{name}"] for line in lines] == pytest.approx([lr * one_cycle(step, 8) for step in range(8)])
    assert "lr/encoder" not in lines[0]


def test_a_group_with_rate_zero_stays_as_it_was(tmp_path: Path) -> None:
    def groups(network: nn.Module) -> list[ParameterGroup]:
        slow, fast = two_groups(network)
        return [ParameterGroup("slow", slow.parameters, 0.0), fast]

    before = in_parts()["network"].state_dict()
    after = runs.weights(runs.toy_fit(tmp_path, task=lambda: in_parts(groups=groups)))
    assert torch.equal(after["network.encoder.weight"], before["encoder.weight"])
    assert not torch.equal(after["network.decoder.weight"], before["decoder.weight"])


def test_frozen_parameters_are_in_no_group() -> None:
    network = runs.Toy()
    network.encoder.requires_grad_(False)
    (kept,) = trainable_groups(network, encoder_and_decoder(network, lr=1.0))
    assert kept.name == "decoder"
    assert len(kept.parameters) == 2


def test_parameters_outside_of_groups_or_in_two_are_named() -> None:
    network = runs.Toy()
    slow, fast = two_groups(network)
    with pytest.raises(ValueError, match=r"2 of 4 .* not in exactly one group \(first: decoder.weight in 0\)"):
        trainable_groups(network, [slow])
    with pytest.raises(ValueError, match=r"2 of 4 .* not in exactly one group \(first: encoder.weight in 2\)"):
        trainable_groups(network, [slow, fast, ParameterGroup("again", slow.parameters, 1.0)])
    with pytest.raises(ValueError, match="the names slow stand twice"):
        trainable_groups(network, [slow, ParameterGroup("slow", fast.parameters, 1.0)])
    with pytest.raises(ValueError, match="at least one"):
        trainable_groups(network.requires_grad_(False), [slow, fast])


def note_norms(monkeypatch: pytest.MonkeyPatch) -> tuple[list[dict[str, float]], list[dict[str, float]]]:
    """Norms of the toy's parts before and after clipping, computed here."""
    before: list[dict[str, float]] = []
    after: list[dict[str, float]] = []
    clip = DepthTask.configure_gradient_clipping

    def measured(task: DepthTask) -> dict[str, float]:
        parts = {"front": task.network.encoder, "back": task.network.decoder}
        return {
            name: float(torch.cat([p.grad.double().flatten() for p in part.parameters()]).norm())
            for name, part in parts.items()
        }

    def noting(task: DepthTask, optimizer: Any, *given: Any, **named: Any) -> None:
        before.append(measured(task))
        clip(task, optimizer, *given, **named)
        after.append(measured(task))

    monkeypatch.setattr(DepthTask, "configure_gradient_clipping", noting)
    return before, after


@pytest.mark.parametrize(("accumulate", "precision"), [(1, "32-true"), (2, "32-true"), (2, "bf16-mixed")])
def test_the_log_holds_the_gradient_norm_of_every_part_before_clipping(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, accumulate: int, precision: str
) -> None:
    before, _ = note_norms(monkeypatch)
    run = runs.toy_fit(tmp_path, task=in_parts, batch_size=8, accumulate=accumulate, precision=precision)
    lines = runs.train_lines(run)
    assert len(lines) == len(before) == 4
    for line, norms in zip(lines, before, strict=True):
        assert {name: line[f"grad_norm/{name}"] for name in norms} == pytest.approx(norms, rel=1e-5)


def test_accumulated_gradients_have_the_norms_of_one_large_batch(tmp_path: Path) -> None:
    one, parts = (
        runs.train_lines(runs.toy_fit(tmp_path / f"{accumulate}", task=in_parts, batch_size=8, accumulate=accumulate))
        for accumulate in (1, 2)
    )
    for left, right in zip(one, parts, strict=True):
        assert left == pytest.approx(right, abs=1e-5)


def test_without_parts_no_norm_is_logged(tmp_path: Path) -> None:
    assert not [key for line in runs.log_lines(runs.toy_fit(tmp_path)) for key in line if key.startswith("grad_norm")]


@pytest.mark.parametrize("clip", ["parts", "whole"])
def test_parts_are_clipped_one_by_one_or_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clip: str) -> None:
    before, after = note_norms(monkeypatch)
    runs.toy_fit(tmp_path, task=lambda: in_parts(clip=clip, losses=runs.silog))
    assert len(before) == 8
    for found, kept in zip(before, after, strict=True):
        whole = sum(norm**2 for norm in found.values()) ** 0.5
        for name, norm in found.items():
            wanted = min(norm, 0.1) if clip == "parts" else norm * min(1.0, 0.1 / whole)
            assert kept[name] == pytest.approx(wanted, rel=1e-3)


def test_a_part_with_huge_gradients_slows_down_no_other() -> None:
    network = nn.ModuleDict({name: nn.Linear(2, 1, bias=False) for name in ("wild", "calm", "rest", "frozen")})
    for name, size in (("wild", 1e6), ("calm", 0.05), ("rest", 3.0)):
        network[name].weight.grad = torch.tensor([[size, 0.0]])
    parts = {name: network[name] for name in ("wild", "calm", "frozen")}
    assert {name: float(norm) for name, norm in gradient_norms(parts).items()} == pytest.approx(
        {"wild": 1e6, "calm": 0.05}
    )
    clip_parts(network, parts, 0.1)
    kept = [float(network[name].weight.grad.norm()) for name in ("wild", "calm", "rest")]
    assert kept == pytest.approx([0.1, 0.05, 0.1], rel=1e-4)
    assert network["frozen"].weight.grad is None


def test_parts_that_cannot_be_clipped_one_by_one_are_refused() -> None:
    settings, network = runs.toy_settings(), runs.Toy()
    with pytest.raises(ValueError, match="found 0 parts"):
        runs.toy_task(settings, 1, network=network, clip="parts")
    shared = {"all": network, "front": network.encoder}
    with pytest.raises(ValueError, match="found 2 parts that share 2 parameters"):
        runs.toy_task(settings, 1, network=network, parts=shared, clip="parts")
    runs.toy_task(settings, 1, network=network, parts=shared)


@pytest.mark.parametrize("calls", [3, 5, 11])
def test_groups_and_clipped_parts_resume_bit_equal(tmp_path: Path, calls: int) -> None:
    settings = {"accumulate": 2, "checkpoint_every": 1}
    straight = runs.toy_fit(tmp_path / "straight", task=lambda: in_parts(clip="parts"), **settings)
    with pytest.raises(runs.PowerCutError):
        runs.toy_fit(tmp_path / "cut", task=lambda: in_parts(clip="parts", losses=runs.cut_after(calls)), **settings)
    resumed = runs.toy_fit(tmp_path / "cut", task=lambda: in_parts(clip="parts"), **settings)
    runs.assert_same_end(resumed, straight)
