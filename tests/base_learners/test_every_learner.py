"""What contract.py promises, for every line of LEARNERS."""

import inspect

import pytest
import torch
import yaml
from narrow import narrow_network, noise
from torch.utils.flop_counter import FlopCounterMode

from base_learners import LEARNERS
from base_learners.encoders.build import build_encoder
from ensemble.metrics.study import STUDIED
from ensemble.settings.names import learner_file

RATES = {"dpt": 1e-3}
"""Where a decoder has no norm, which holds larger steps."""

each_learner = pytest.mark.parametrize("name", list(LEARNERS))


def total_loss(name, prediction, target, valid):
    return sum(LEARNERS[name].loss(prediction, target, valid).values())


@each_learner
@pytest.mark.parametrize("size", [(64, 96), (97, 131), (33, 65)])
@pytest.mark.parametrize("encoder", ["ghostnet_050", "mobilenetv2_035"])
def test_any_size_comes_back_at_its_size_and_in_range(name, size, encoder):
    network = narrow_network(name, encoder=encoder, **({"patch_size": 2} if name == "adabins" else {})).eval()
    with torch.no_grad():
        prediction = network(noise(1, 3, *size))
    assert prediction.depth.shape == (1, 1, *size)
    assert prediction.depth.dtype == torch.float32
    assert torch.isfinite(prediction.depth).all()
    assert prediction.depth.min() > 0
    assert prediction.depth.max() <= 10.0


@each_learner
def test_extreme_weights_stay_in_range(name):
    network = narrow_network(name, max_depth=4.0).eval()
    for key, parameter in network.named_parameters():
        if not key.startswith("encoder."):
            parameter.data.mul_(4)
    with torch.no_grad():
        depth = network(noise(2, 3, 64, 96)).depth
    assert torch.isfinite(depth).all()
    assert depth.min() > 0
    assert depth.max() <= 4.0


@each_learner
def test_every_weight_gets_a_gradient(name):
    network = narrow_network(name)
    target = 1 + 4 * noise(2, 1, 64, 96, seed=1)
    total_loss(name, network(noise(2, 3, 64, 96)), target, target > 0).backward()
    silent = [key for key, p in network.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert silent == []


@each_learner
def test_same_seed_same_output(name):
    image = noise(2, 3, 64, 96)
    first, again, other = (narrow_network(name, seed=seed).eval()(image).depth for seed in (3, 3, 4))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@each_learner
def test_state_dict_round_trip(name):
    image = noise(1, 3, 64, 96)
    trained, fresh = narrow_network(name, seed=1), narrow_network(name, seed=2)
    with torch.no_grad():
        trained(noise(2, 3, 64, 96))
        fresh.load_state_dict(trained.state_dict())
        assert torch.equal(trained.eval()(image).depth, fresh.eval()(image).depth)


@each_learner
def test_channels_last_changes_nothing_but_rounding(name):
    network, image = narrow_network(name).eval(), noise(1, 3, 64, 96)
    with torch.no_grad():
        plain = network(image).depth
        last = network.to(memory_format=torch.channels_last)(image.contiguous(memory_format=torch.channels_last)).depth
    torch.testing.assert_close(plain, last, rtol=1e-3, atol=1e-3)


@each_learner
def test_bfloat16_autocast_returns_float32_metres_and_loss(name):
    network, target = narrow_network(name), 1 + 4 * noise(2, 1, 64, 96, seed=1)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        prediction = network(noise(2, 3, 64, 96))
        loss = total_loss(name, prediction, target, target > 0)
    assert prediction.depth.dtype == loss.dtype == torch.float32
    loss.backward()
    assert all(torch.isfinite(p.grad).all() for p in network.parameters())


@each_learner
@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_networks_of_16_bits_run(name, kind):
    network, image = narrow_network(name), noise(1, 3, 64, 96)
    for layer in network.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.momentum = None  # statistics of the images below: without them activations leave the range of float16
    with torch.no_grad():
        network(noise(4, 3, 64, 96, seed=1))
        whole = network.eval()(image).depth
        half = network.to(kind)(image.to(kind)).depth
    assert half.dtype == torch.float32
    assert half.min() > 0
    assert half.max() <= 10
    assert (half - whole).abs().mean() < whole.std() / 2


@each_learner
def test_loss_falls(name):
    network, image = narrow_network(name), noise(2, 3, 64, 96)
    target = 1 + image[:, :1]
    optimiser = torch.optim.AdamW(network.parameters(), lr=RATES.get(name, 1e-2))
    losses = []
    for _ in range(10):
        loss = total_loss(name, network(image), target, target > 0)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]


@each_learner
def test_loss_resizes_the_prediction_to_its_target(name):
    prediction = narrow_network(name).eval()(noise(1, 3, 64, 96))
    target = torch.full((1, 1, 130, 190), 2.0)
    assert torch.isfinite(total_loss(name, prediction, target, target > 0))


@pytest.mark.parametrize("name", list(STUDIED))
def test_published_parameters_and_multiply_adds(name):
    network = LEARNERS[name].network(build_encoder())
    assert sum(p.numel() for p in network.parameters()) == STUDIED[name].parameters
    with FlopCounterMode(display=False) as counter:
        network.to("meta")(torch.empty(1, 3, 416, 544, device="meta"))
    assert counter.get_total_flops() / 2 == pytest.approx(STUDIED[name].mul_adds, rel=0.1)


def test_the_published_parameters_are_those_of_the_study():
    assert {name: published.parameters for name, published in STUDIED.items()} == {
        "adabins": 17_553_668,
        "bts": 8_900_728,
        "ldrn": 14_892_724,
    }


@each_learner
def test_yaml_lists_every_argument_with_its_default(name):
    sections = yaml.safe_load(learner_file(name).read_text())
    for section, function in (("network", LEARNERS[name].network), ("loss", LEARNERS[name].loss)):
        defaults = {
            key: list(parameter.default) if isinstance(parameter.default, tuple) else parameter.default
            for key, parameter in inspect.signature(function).parameters.items()
            if parameter.kind is parameter.KEYWORD_ONLY and key != "max_depth"
        }
        assert sections[section] == defaults
    assert sections["training"]["lr"] > 0


@pytest.mark.parametrize(("name", "rate"), [("adabins", 6.1e-4), ("bts", 8.6e-4), ("ldrn", 1.23e-3)])
def test_rates_are_those_of_the_study(name, rate):
    assert yaml.safe_load(learner_file(name).read_text())["training"]["lr"] == rate
