"""MetaUNet: its size, its start at the plain mean, and its freedom of shape."""

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from base_learners.encoders.build import build_encoder
from meta.fusion import SPACES, WEIGHTS, check_weights, fuse, log_mean_depth, mean_depth, split_maps
from meta.inputs import assemble, channel_count, normalisation
from meta.unet import MetaUNet

WIDTHS = (32, 24, 16, 16, 8)


def meta_unet(kind="rgb+d", learners=3, *, name="test_efficientnet", **arguments):
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


@pytest.mark.parametrize("learners", [2, 5])
@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("weights", WEIGHTS)
def test_every_kind_starts_exactly_at_the_mean_of_its_space(weights, space, learners):
    image, depths = noise(1, 3, 64, 96), 0.1 + 9 * noise(1, learners, 64, 96, seed=1)
    network = meta_unet("rgb", learners, weights=weights, space=space, stride=4, smooth=3)
    with torch.no_grad():
        maps = network(image)
    found, bias = split_maps(maps, learners)
    assert torch.equal(found, torch.full_like(found, 1 / learners))
    assert (bias is not None) == (weights == "correct")
    assert bias is None or torch.equal(bias, torch.zeros_like(bias))
    mean = (
        mean_depth(depths) if (space, weights) in (("depth", "softmax"), ("depth", "free")) else log_mean_depth(depths)
    )
    torch.testing.assert_close(network.fuse(maps, depths), mean, rtol=1e-6, atol=0)


@pytest.mark.parametrize(("space", "learners"), [("depth", 2), ("log", 5)])
@pytest.mark.parametrize("weights", ["softmax", "free"])
def test_every_parameter_learns_after_the_first_step_and_the_loss_falls(weights, space, learners):
    network, image = meta_unet(learners=learners, weights=weights, space=space), noise(2, 3, 64, 96)
    target = 2 + image[:, :1]
    depths = torch.cat([target + error for error in (1.0, -0.2, 0.4, 0.1, 0.8)[:learners]], dim=1)
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-2)
    losses = []
    for _ in range(10):
        maps = network(assemble("rgb+d", image, depths, max_depth=10.0))
        loss = (network.fuse(maps, depths) - target).abs().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert [key for key, p in network.named_parameters() if not p.grad.abs().sum() > 0] == []
    assert losses[-1] < 0.8 * losses[0]


def trained_last_layer(**arguments):
    network = meta_unet("rgb", **arguments).eval()
    nn.init.normal_(network.logits[-1].weight, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        return network, network(noise(1, 3, 64, 96))


@pytest.mark.parametrize("weights", WEIGHTS)
def test_answers_are_weights_of_their_kind_and_so_is_their_mean(weights):
    network, maps = trained_last_layer(weights=weights)
    for answer in (maps, (maps + maps.flip(-1)) / 2):
        found, bias = split_maps(answer, 3)
        check_weights(found, bias=bias, kind=network.weights)
        assert found.std() > 0 or bias is not None
        assert (network.fuse(answer, torch.ones(1, 3, 64, 96)) > 0).all()


def test_free_weights_can_scale_all_learners_and_softmax_weights_cannot():
    depths = 1 + noise(1, 3, 64, 96)
    for weights, reached in (("free", 1.2), ("softmax", 1.0)):
        network = meta_unet("rgb", weights=weights).eval()
        nn.init.constant_(network.shift, 0.2 / 3)
        with torch.no_grad():
            fused = network.fuse(network(noise(1, 3, 64, 96)), depths)
        torch.testing.assert_close(fused, reached * mean_depth(depths), rtol=1e-5, atol=0)


def roughness(maps):
    return float((maps[..., 1:] - maps[..., :-1]).abs().mean())


def test_stride_and_smoothing_make_weights_smoother_and_change_no_parameter():
    plain, rough = trained_last_layer()
    for arguments in ({"stride": 8}, {"smooth": 9}):
        network, maps = trained_last_layer(**arguments)
        assert maps.shape == rough.shape
        check_weights(maps)
        assert 0 < roughness(maps) < 0.5 * roughness(rough)
        assert [key for key, _ in network.named_parameters()] == [key for key, _ in plain.named_parameters()]


def test_stride_and_smoothing_keep_what_is_the_same_everywhere():
    network = meta_unet("rgb", weights="free", stride=8, smooth=9).eval()
    nn.init.constant_(network.shift, 0.25)
    with torch.no_grad():
        maps = network(noise(1, 3, 61, 97))
    torch.testing.assert_close(maps, torch.full_like(maps, 1 / 3 + 0.25), rtol=1e-6, atol=0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"weights": "sigmoid"}, r"weights 'sigmoid' is unknown, expected one of softmax, correct, free"),
        ({"weights": "softmax+bias"}, "no longer there: .* commit 6199044 and before, or fit it again with"),
        ({"space": "inverse"}, "space 'inverse' is unknown, expected one of depth, log"),
        ({"stride": 0}, "stride 0, expected at least 1"),
        ({"smooth": 4}, "smooth 4, expected an odd number"),
    ],
)
def test_unknown_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        meta_unet(**arguments)


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


@pytest.mark.parametrize("weights", WEIGHTS)
@pytest.mark.parametrize("space", SPACES)
def test_learners_that_count_several_times_weigh_so_from_the_start(weights, space):
    network = meta_unet("rgb+d", 3, weights=weights, space=space).eval()
    network.begin_with([2, 1, 3])
    depths = 1 + 9 * torch.rand(2, 3, 32, 64)
    with torch.no_grad():
        maps = network(torch.rand(2, channel_count("rgb+d", 3), 32, 64))
    repeated = depths[:, [0, 0, 1, 2, 2, 2]]
    in_metres = space == "depth" and weights != "correct"
    mean = mean_depth(repeated) if in_metres else log_mean_depth(repeated)
    torch.testing.assert_close(network.fuse(maps, depths), mean, rtol=1e-5, atol=0)
