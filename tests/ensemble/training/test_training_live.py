"""Learners and meta-learner trained together: gradients, statistics, losses and rates of the parts."""

import functools
import json
from pathlib import Path
from typing import Any

import pytest
import torch
import training_runs as runs
from torch import Tensor, nn
from torch.nn import functional as F

from base_learners import LEARNERS
from base_learners.contract import DepthPrediction
from base_learners.encoders.build import build_encoder
from base_learners.losses import scale_invariant_log_loss
from ensemble.runs.paths import Run
from ensemble.stacking.joint_network import LiveStack, Rates, live_groups, live_losses
from ensemble.training.optimisation.groups import trainable_groups
from ensemble.training.optimisation.schedule import one_cycle
from meta.fusion import fuse
from meta.inputs import DEPTH_MEAN, DEPTH_STD, assemble
from meta.unet import MetaUNet

IMAGE = torch.rand(2, 3, 32, 48, generator=torch.Generator().manual_seed(0))


class Learner(nn.Module):
    """Has batch norm and dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4), nn.Tanh(), nn.Dropout(0.1))
        self.decoder = nn.Conv2d(4, 1, 3, padding=2)

    def forward(self, image: Tensor) -> DepthPrediction:
        return DepthPrediction(F.softplus(self.decoder(self.encoder(image))) + 0.1)


class Weights(nn.Module):
    """A meta-learner of two convolutions that starts at the mean."""

    def __init__(self, learners: int) -> None:
        super().__init__()
        self.encoder = nn.Conv2d(learners, 4, 3, padding=1)
        self.decoder = nn.Conv2d(4, learners, 1)
        nn.init.zeros_(self.decoder.weight)
        nn.init.zeros_(self.decoder.bias)

    def forward(self, depths: Tensor) -> Tensor:
        return self.decoder(self.encoder(depths).tanh()).softmax(dim=1)


def weigh(meta: nn.Module, image: Tensor, depths: Tensor) -> Tensor:
    return fuse(meta(depths), depths)


def live(names: tuple[str, ...] = ("one", "two"), **arguments: Any) -> LiveStack:
    torch.manual_seed(1)
    learners = {name: Learner() for name in names}
    return LiveStack(learners, Weights(len(names)), **{"weigh": weigh, "statistics": "live", **arguments})


def statistics(module: nn.Module) -> dict[str, Tensor]:
    return {name: values.clone() for name, values in module.named_buffers()}


def moved(before: dict[str, Tensor], module: nn.Module) -> bool:
    return any(not torch.equal(values, before[name]) for name, values in module.named_buffers())


def without_gradient(module: nn.Module) -> list[str]:
    return [name for name, p in module.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]


def nudged(network: LiveStack) -> LiveStack:
    """With weights that are not all equal, so that every parameter of the meta-learner has a gradient."""
    nn.init.normal_(network.meta.decoder.weight)
    return network


def test_the_answer_holds_every_prediction_and_their_fusion() -> None:
    network = live(("b", "a", "c")).eval()
    answer = network(IMAGE)
    assert list(answer.predictions) == ["b", "a", "c"]
    assert torch.equal(answer.depths, torch.cat([answer.predictions[name].depth for name in "bac"], dim=1))
    torch.testing.assert_close(answer.depth, answer.depths.mean(dim=1, keepdim=True))


def test_every_part_learns_from_the_stack_unless_its_depths_are_detached() -> None:
    network = nudged(live())
    network(IMAGE).depth.square().mean().backward()
    assert without_gradient(network) == []
    detached = nudged(live(detach=True))
    detached(IMAGE).depth.square().mean().backward()
    assert all(p.grad is None for p in detached.learners.parameters())
    assert without_gradient(detached.meta) == []


def test_frozen_statistics_stay_while_scales_and_shifts_learn() -> None:
    network = live(statistics="frozen")
    network.eval()
    network.train()
    before = statistics(network.learners)
    network(IMAGE).depth.mean().backward()
    assert not moved(before, network.learners)
    assert without_gradient(network.learners) == []
    assert network.learners["one"].encoder[3].training  # dropout stays
    assert network.meta.training


def test_a_learner_that_is_not_finite_is_named() -> None:
    network = live()
    with torch.no_grad():
        network.learners["two"].decoder.bias.fill_(float("nan"))
    with pytest.raises(FloatingPointError, match="the depth of two is not finite"):
        network(IMAGE)


def test_learners_and_rates_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="found learners one; expected two or more"):
        live(("one",))
    with pytest.raises(ValueError, match="none of them named meta"):
        live(("one", "meta"))
    with pytest.raises(ValueError, match=r"found those of one, meta, expected exactly one for each of one, two, meta"):
        live_groups(live(), rates={"one": Rates(1.0), "meta": Rates(1.0)})
    with pytest.raises(ValueError, match="found a Learner, expected a LiveStack"):
        live_groups(Learner(), rates={})


def test_real_learners_and_a_meta_unet_learn_together() -> None:
    torch.manual_seed(1)
    networks = {
        name: LEARNERS[name].network(build_encoder("test_efficientnet"), **arguments)
        for name, arguments in (("adabins", runs.NARROW_ADABINS), ("bts", runs.NARROW_BTS))
    }
    encoder = build_encoder("test_efficientnet", in_channels=2, mean=(DEPTH_MEAN,) * 2, std=(DEPTH_STD,) * 2)
    meta = MetaUNet(encoder, learners=2, widths=(32, 24, 16, 16, 8), weights="softmax", space="log")
    nn.init.normal_(meta.logits[-1].weight)

    def fused(meta: nn.Module, image: Tensor, depths: Tensor) -> Tensor:
        return meta.fuse(meta(assemble("d", image, depths, max_depth=10.0)), depths)

    network = LiveStack(networks, meta, weigh=fused, statistics="live")
    image = torch.rand(2, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    batch = {"depth": 1 + 3 * image[:, :1], "valid": torch.ones(2, 1, 64, 96, dtype=torch.bool)}

    def own_losses(name: str) -> Any:
        return lambda prediction, batch: LEARNERS[name].loss(prediction, batch["depth"], batch["valid"])

    terms = live_losses(silog, {name: own_losses(name) for name in networks})(network(image), batch)
    assert {"stack", "adabins/silog", "adabins/chamfer", "bts/silog"} == set(terms)
    torch.stack(list(terms.values())).sum().backward()
    assert [name for name in without_gradient(network) if network.get_parameter(name).grad is None] == []
    groups = live_groups(network, rates={name: Rates(1e-3) for name in network.parts})
    assert len(trainable_groups(network, groups)) == 6


def silog(depth: Tensor, batch: Any) -> Tensor:
    return scale_invariant_log_loss(depth, batch["depth"], batch["valid"])


def own(prediction: DepthPrediction, batch: Any) -> dict[str, Tensor]:
    return {"silog": silog(prediction.depth, batch)}


def test_losses_are_named_by_learner_and_weighted() -> None:
    batch = {"depth": 1 + 3 * IMAGE[:, :1], "valid": torch.ones(2, 1, 32, 48, dtype=torch.bool)}
    answer = live()(IMAGE)
    plain = live_losses(silog, {"one": own, "two": own})(answer, batch)
    assert list(plain) == ["stack", "one/silog", "two/silog"]
    weighted = live_losses(silog, {"one": own, "two": own}, loss_weights={"two": 0.25, "one": 0.0})(answer, batch)
    assert list(weighted) == ["stack", "two/silog"]
    assert weighted["two/silog"].item() == pytest.approx(0.25 * plain["two/silog"].item())
    assert torch.equal(weighted["stack"], plain["stack"])
    with pytest.raises(ValueError, match="found three, expected some of one, two"):
        live_losses(silog, {"one": own, "two": own}, loss_weights={"three": 1.0})


RATES = {"one": Rates(3e-2, 0.1), "two": Rates(1e-2), "meta": Rates(1e-2, 0.5)}


def together(losses: Any = None, **arguments: Any) -> dict[str, Any]:
    """Arguments of the task that trains a live stack."""
    network = live(**arguments)
    trained = [name for name in network.parts if name != "meta"]
    return {
        "network": network,
        "losses": losses or live_losses(silog, dict.fromkeys(trained, own), loss_weights=dict.fromkeys(trained, 0.5)),
        "depth": lambda answer: answer.depth,
        "groups": functools.partial(live_groups, rates={name: RATES[name] for name in network.parts}),
        "parts": network.parts,
        "clip": "parts",
    }


def test_a_joint_training_logs_every_part_and_its_loss_falls(tmp_path: Path) -> None:
    run = runs.toy_fit(tmp_path, task=together, epochs=8, clip_norm=5.0)
    lines = runs.train_lines(run)
    assert {key for key in lines[0] if key.startswith(("train/", "grad_norm/"))} == {
        *(f"train/{term}" for term in ("stack", "one/silog", "two/silog", "loss")),
        *(f"grad_norm/{part}" for part in ("one", "two", "meta")),
    }
    for name, rates in RATES.items():
        for part, lr in (("encoder", rates.lr * rates.encoder_lr_factor), ("decoder", rates.lr)):
            found = [line[f"lr/{name}/{part}"] for line in lines]
            assert found == pytest.approx([lr * one_cycle(step, 32) for step in range(32)])
    for term in ("stack", "one/silog", "two/silog"):
        losses = [line[f"train/{term}"] for line in lines]
        assert sum(losses[-4:]) < 0.95 * sum(losses[:4]), term
    errors = [line["validation/abs_rel"] for line in runs.validation_lines(run)]
    assert errors[-1] < 0.9 * errors[0]
    assert {name.split(".")[1] for name in runs.weights(run)} == {"learners", "meta"}


@pytest.mark.parametrize("kept", ["frozen", "live"])
def test_statistics_keep_their_rule_through_training_and_validation(tmp_path: Path, kept: Any) -> None:
    task = together(statistics=kept)
    learners = task["network"].learners
    before = {name: statistics(learner) for name, learner in learners.items()}
    weights = {name: values.clone() for name, values in learners.named_parameters()}
    runs.toy_fit(tmp_path, task=task)
    still = [not moved(before[name], learner) for name, learner in learners.items()]
    assert still == [kept == "frozen"] * len(learners)
    assert not any(torch.equal(values, weights[name]) for name, values in learners.named_parameters())


def test_a_joint_training_resumes_bit_equal(tmp_path: Path) -> None:
    settings = {"accumulate": 2, "checkpoint_every": 1, "max_steps": 6}
    straight = runs.toy_fit(tmp_path / "straight", task=together, **settings)
    for calls in (3, 2):
        cut = runs.cut_after(calls, together()["losses"])
        with pytest.raises(runs.PowerCutError):
            runs.toy_fit(tmp_path / "cut", task=lambda cut=cut: together(losses=cut), **settings)
    runs.assert_same_end(runs.toy_fit(tmp_path / "cut", task=together, **settings), straight)
    assert json.loads(Run(tmp_path / "cut").result.read_text())["budget"] == {"unit": "steps", "asked": 6, "spent": 6}
