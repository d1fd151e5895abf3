"""The last phase of a training: other arguments of the loss from an exact step on, however often the run is cut."""

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
import training_runs as runs
from torch import Tensor, nn

from base_learners import LEARNERS
from base_learners.contract import DepthPrediction
from base_learners.losses import scale_invariant_log_loss
from ensemble.metrics.protocols import EvalProtocol
from ensemble.runs.paths import Run
from ensemble.settings.layers import Choice, learner_settings, stack_settings
from ensemble.stacking.fit import stack_task
from ensemble.stacking.joint import live_task
from ensemble.stacking.joint_network import LiveAnswer
from ensemble.training.fit import lr_range
from ensemble.training.learners import learner_task, own_losses
from ensemble.training.networks import build_learner, build_stack
from ensemble.training.phases import loss_arguments, phase_starts
from ensemble.training.tasks import DepthTask

LAST = "training.last_phase={fraction: 0.25, loss: {mean_weight: 0.5}}"
STEPS = 8


def twice(losses: Any) -> Any:
    def doubled(answer: Any, batch: Any) -> Mapping[str, Tensor]:
        return {name: 2 * value for name, value in losses(answer, batch).items()}

    return doubled


def still(**changes: Any) -> dict[str, Any]:
    """A task that learns nothing, so that its losses can be told step by step."""
    return {"losses": runs.log_error_per_image, "later": {0.75: twice(runs.log_error_per_image)}, **changes}


@pytest.mark.parametrize("accumulate", [1, 2])
def test_losses_change_at_the_exact_step(tmp_path: Path, accumulate: int) -> None:
    settings = {"encoder_lr_factor": 0.0, "lr": 1e-12, "accumulate": accumulate, "max_steps": STEPS}
    plain, changed = (
        [line["train/log"] for line in runs.train_lines(runs.toy_fit(tmp_path / name, task=task, **settings))]
        for name, task in (("plain", {}), ("changed", still()))
    )
    assert len(plain) == STEPS
    assert [round(after / before, 4) for before, after in zip(plain, changed, strict=True)] == [1.0] * 6 + [2.0] * 2


@pytest.mark.parametrize(
    ("fraction", "steps", "last"), [(0.2, 60, 12), (0.2, 8, 2), (0.01, 8, 1), (0.3, 10, 3), (0.7, 10, 7)]
)
def test_the_last_steps_are_rounded_up(fraction: float, steps: int, last: int) -> None:
    last_phase = f"training.last_phase={{fraction: {fraction}, loss: {{mean_weight: 0.5}}}}"
    settings = learner_settings("bts", Choice(assignments=[last_phase, *runs.narrow_assignments(runs.NARROW_BTS)]))
    assert last_steps(learner_task(settings, steps), DepthPrediction(torch.full((1, 1, 4, 4), 2.0)), steps) == last


def batch_of(depth: float) -> dict[str, Tensor]:
    return {"depth": torch.full((1, 1, 4, 4), depth), "valid": torch.ones(1, 1, 4, 4, dtype=torch.bool)}


def last_steps(task: DepthTask, answer: Any, steps: int) -> int:
    """How many steps at the end have another loss; a depth that is off by its scale alone shows ``mean_weight``."""
    found = [float(task._losses_of(step)(answer, batch_of(3.0))["silog"]) for step in range(steps)]
    assert len(set(found)) == 2
    return found.count(found[-1])


@pytest.mark.parametrize("learner", list(LEARNERS))
def test_every_recipe_takes_the_arguments_of_its_last_phase(learner: str) -> None:
    settings = learner_settings(learner, Choice(assignments=[LAST]))
    assert phase_starts([settings]) == [0.75]
    assert loss_arguments(settings) == settings.loss
    assert loss_arguments(settings, 0.75) == {**settings.loss, "mean_weight": 0.5}
    prediction = DepthPrediction(torch.full((1, 1, 4, 4), 2.0), torch.linspace(1, 4, 4)[None])
    batch: Any = batch_of(3.0)
    for done, weight in ((0.0, 0.85), (0.7499, 0.85), (0.75, 0.5), (1.0, 0.5)):
        expected = LEARNERS[learner].loss(prediction, *batch.values(), **{**settings.loss, "mean_weight": weight})
        found = own_losses(settings, done)(prediction, batch)
        assert {name: value.item() for name, value in found.items()} == {
            name: value.item() for name, value in expected.items()
        }
    assert (
        own_losses(settings, 0.75)(prediction, batch)["silog"] > 1.5 * own_losses(settings)(prediction, batch)["silog"]
    )


def test_the_meta_learner_has_a_last_phase_too() -> None:
    narrow = ["encoder.name=lcnet_050", "encoder.weights=none", "network.widths=[32, 24, 16, 16, 8]"]
    task = stack_task(stack_settings("d", Choice(assignments=[LAST, *narrow])), STEPS)
    assert last_steps(task, torch.full((1, 1, 4, 4), 2.0), STEPS) == 2


@pytest.mark.parametrize(("mode", "own_last"), [("joint", 4), ("finetune", STEPS)])
def test_learners_keep_their_own_last_phase_within_a_stack(mode: Any, own_last: int) -> None:
    """Those that go on after a training of their own do so with the loss that it ended with."""
    encoder = ["encoder.name=lcnet_050", "encoder.weights=none"]
    widths = "network.widths=[48, 32, 24, 16, 16]"
    own = {
        name: learner_settings(name, Choice(assignments=[*encoder, widths, "network.adaptor=48", *last]))
        for name, last in {"bts": ["training.last_phase={fraction: 0.5, loss: {mean_weight: 0.2}}"], "ldrn": []}.items()
    }
    stack = stack_settings("d", Choice(assignments=[LAST, *encoder, widths]), learners=tuple(own))
    settings = stack.model_copy(update={"mode": mode, "members": own})
    networks = {name: build_learner(each) for name, each in own.items()}
    protocol = EvalProtocol(
        split="validation",
        test="official",
        crop="none",
        min_depth=1e-3,
        max_depth=10.0,
        flip_averaging=False,
        size=(4, 4),
    )
    task = live_task(settings, networks, build_stack(settings), steps=STEPS, protocol=protocol)
    depth = torch.full((1, 1, 4, 4), 2.0)
    answer = LiveAnswer({name: DepthPrediction(depth) for name in own}, torch.cat([depth, depth], dim=1), depth)
    terms = [task._losses_of(step)(answer, batch_of(3.0)) for step in range(STEPS)]
    usual = float(scale_invariant_log_loss(depth, *batch_of(3.0).values()))
    changed = {name: sum(float(each[name]) > 1.001 * usual for each in terms) for name in terms[0]}
    assert changed == {"stack": 2, "bts/silog": own_last, "ldrn/silog": 0}


def test_a_training_cut_before_and_within_its_last_phase_ends_bit_equal(tmp_path: Path) -> None:
    settings = {"checkpoint_every": 1, "max_steps": STEPS}
    straight = runs.toy_fit(tmp_path / "straight", task=still(), **settings)
    for calls in (5, 2):  # in step 6, and in step 8, of which the last two are the phase
        cut = runs.cut_after(calls)
        task = still(losses=cut, later={0.75: twice(cut)})
        with pytest.raises(runs.PowerCutError):
            runs.toy_fit(tmp_path / "cut", task=task, **settings)
    runs.assert_same_end(runs.toy_fit(tmp_path / "cut", task=still(), **settings), straight)


def test_with_a_budget_of_seconds_it_is_the_last_share_of_the_time(tmp_path: Path) -> None:
    seconds = [0.0]

    def forward(network: nn.Module, batch: Any) -> Tensor:
        seconds[0] += network.training
        return network(batch["image"])

    settings = {"encoder_lr_factor": 0.0, "lr": 1e-12, "max_seconds": 8.0}
    found = {}
    for name, task in (("plain", {}), ("changed", still())):
        run = runs.toy_fit(tmp_path / name, task={"forward": forward, **task}, now=lambda: seconds[0], **settings)
        found[name] = [line["train/log"] for line in runs.train_lines(run)]
    ratios = [round(after / before, 4) for before, after in zip(found["plain"], found["changed"], strict=True)]
    assert ratios == [1.0] * 7 + [2.0], "the clock is read when a step is done: six seconds are not yet beyond 3/4"


def test_a_range_test_has_no_last_phase(tmp_path: Path) -> None:
    def asked_for(answer: Any, batch: Any) -> Any:
        raise AssertionError("the losses of the last phase were asked for")

    settings = runs.toy_settings()
    training, _ = runs.datasets(runs.data_settings())
    task = functools.partial(runs.toy_task, later={0.5: asked_for})
    rates, _, _ = lr_range(lambda steps: task(settings, steps), training, settings, Run(tmp_path), seed=3, steps=6)
    assert len(rates) > 3
