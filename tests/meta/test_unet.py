"""MetaUNet: its size, its start at the plain mean, and its freedom of shape."""

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from base_learners.encoder import build_encoder
from meta.fusion import check_weights, fuse, mean_depth
from meta.inputs import assemble, channel_count, normalisation
from meta.unet import MetaUNet

WIDTHS = (32, 24, 16, 16, 8)


def meta_unet(kind="rgb+d", learners=3, *, name="ghostnet_050", **arguments):
    torch.manual_seed(0)
    mean, std = normalisation(kind, learners)
    encoder = build_encoder(name, in_channels=channel_count(kind, learners), mean=mean, std=std)
    return MetaUNet(encoder, learners=learners, **{"widths": WIDTHS, **arguments})


def noise(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    ("kind", "parameters", "mul_adds"),
    [("rgb", 4_266_246, 1.66e9), ("d", 4_266_246, 1.66e9), ("rgb+d", 4_266_678, 1.69e9)],
)
def test_published_parameters_and_multiply_adds(kind, parameters, mul_adds):
    network = meta_unet(kind, name="ghostnet_100", widths=(480, 240, 120, 60, 30))
    assert sum(p.numel() for p in network.parameters()) == parameters
    with FlopCounterMode(display=False) as counter:
        network.to("meta")(torch.empty(1, channel_count(kind, 3), 416, 544, device="meta"))
    assert counter.get_total_flops() / 2 == pytest.approx(mul_adds, rel=0.1)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("learners", [2, 3, 5])
@pytest.mark.parametrize("kind", ["rgb", "d", "rgb+d"])
def test_starts_exactly_at_the_plain_mean(kind, learners, training):
    image, depths = noise(2, 3, 64, 96), 10 * noise(2, learners, 64, 96, seed=1)
    network = meta_unet(kind, learners).train(training)
    with torch.no_grad():
        weights = network(assemble(kind, image, depths, max_depth=10.0))
    assert torch.equal(weights, torch.full_like(weights, 1 / learners))
    torch.testing.assert_close(fuse(weights, depths), mean_depth(depths), rtol=1e-6, atol=0)


@pytest.mark.parametrize("size", [(64, 96), (97, 131), (33, 65)])
@pytest.mark.parametrize("name", ["ghostnet_050", "mobilenetv2_035"])
def test_weights_come_at_any_size(size, name):
    network = meta_unet(name=name).eval()
    nn.init.normal_(network.logits[-1].weight)
    with torch.no_grad():
        weights = network(noise(1, 6, *size))
    assert weights.shape == (1, 3, *size)
    check_weights(weights)
    assert weights.std() > 0


def test_every_weight_learns_after_the_first_step_and_the_loss_falls():
    network, image = meta_unet(), noise(2, 3, 64, 96)
    target = 2 + image[:, :1]
    depths = torch.cat([target + 0.5, target, target - 1], dim=1)
    optimiser = torch.optim.AdamW(network.parameters(), lr=3e-3)
    losses = []
    for _ in range(10):
        loss = (fuse(network(assemble("rgb+d", image, depths, max_depth=10.0)), depths) - target).abs().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert [key for key, p in network.named_parameters() if not p.grad.abs().sum() > 0] == []
    assert losses[-1] < 0.8 * losses[0]


def test_frozen_learners_get_no_gradient_and_keep_their_buffers():
    learner = nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3), nn.Softplus()).eval().requires_grad_(False)
    image = noise(2, 3, 64, 96)
    before = {key: value.clone() for key, value in learner.state_dict().items()}
    network = meta_unet()
    depths = learner(image)
    fuse(network(assemble("rgb+d", image, depths, max_depth=10.0)), depths).mean().backward()
    assert all(p.grad is None for p in learner.parameters())
    assert all(torch.equal(before[key], value) for key, value in learner.state_dict().items())


def test_bottleneck_narrows_the_first_convolution():
    assert meta_unet(bottleneck=24).bottleneck.out_channels == 24
    wide = meta_unet()
    assert wide.bottleneck.out_channels == wide.encoder.channels[-1]
