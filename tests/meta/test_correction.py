"""The stack that corrects: the weighted log-mean where nothing is added, and what scale and residual may add."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from base_learners.encoders.build import build_encoder
from meta.combiners import ConstantWeights
from meta.correction import Correction, ScaleHead
from meta.inputs import assemble, channel_count, normalisation
from meta.scale_features import QUANTILES, statistics, statistics_count
from meta.unet import MetaUNet
from meta.weighing import fused_by

WEIGHTS = (0.2, 0.7, 0.1)
SIZE = (64, 96)


def noise(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def head_of(rows=6, learners=3):
    """A head that was fitted to made-up rows, so that it says something of every image."""
    torch.manual_seed(0)
    head = ScaleHead(build_encoder("test_efficientnet"), learners=learners)
    channels, count = head.encoder.channels[-1], 2 + statistics_count(learners)
    fitted = {
        "pooled_mean": torch.zeros(channels),
        "components": torch.eye(2, channels),
        "mean": torch.zeros(count),
        "deviation": torch.ones(count),
        "rows": torch.randn(rows, count),
        "dual": torch.rand(rows),
        "gamma": torch.tensor(0.01),
    }
    head.load_state_dict(fitted, strict=False)
    return head


def correcting(kind="rgb+d", learners=3, scale=True, **arguments):
    torch.manual_seed(0)
    mean, std = normalisation(kind, learners)
    encoder = build_encoder("test_efficientnet", in_channels=channel_count(kind, learners), mean=mean, std=std)
    correction = Correction(learners, head_of(learners=learners) if scale else None)
    correction.weights.copy_(torch.tensor(WEIGHTS[:learners]))
    network = MetaUNet(
        encoder, learners=learners, widths=(32, 24, 16, 16, 8), weights="correct", correction=correction, **arguments
    )
    return network.eval()


def with_residual(network):
    nn.init.normal_(network.logits[-1].weight, generator=torch.Generator().manual_seed(2))
    return network


def fused(network, image, depths, *, kind="rgb+d", flip=True):
    with torch.no_grad():
        return fused_by(network, image, depths, inputs=kind, max_depth=10.0, flip=flip)


@pytest.mark.parametrize("kind", ["rgb", "d", "rgb+d"])
def test_untrained_and_without_strengths_it_is_exactly_the_weighted_log_mean(kind):
    image, depths = noise(2, 3, *SIZE), 0.1 + 9 * noise(2, 3, *SIZE, seed=1)
    bar = ConstantWeights(WEIGHTS, "log").combine(depths)
    untrained = correcting(kind)
    assert torch.equal(fused(untrained, image, depths, kind=kind).depth, bar)
    trained = with_residual(correcting(kind))
    assert not torch.equal(fused(trained, image, depths, kind=kind).depth, bar)
    trained.correction.strengths.zero_()
    found = fused(trained, image, depths, kind=kind)
    assert torch.equal(found.depth, bar)
    torch.testing.assert_close(found.shares, torch.tensor(WEIGHTS).view(1, 3, 1, 1).expand(2, 3, *SIZE))


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("arguments", [{}, {"stride": 8, "smooth": 5}])
def test_the_residual_has_mean_zero_over_every_image(arguments, flip):
    network = with_residual(correcting(scale=False, **arguments))
    found = fused(network, noise(2, 3, *SIZE), 1 + noise(2, 3, *SIZE, seed=1), flip=flip)
    residual = found.maps[:, 3]
    assert (residual.std(dim=(1, 2)) > 1e-3).all()
    assert residual.mean(dim=(1, 2)).abs().max() < 1e-6 * residual.abs().max()


def test_the_scale_multiplies_whole_images_by_its_strength():
    network, image, depths = correcting(), noise(2, 3, *SIZE), 1 + noise(2, 3, *SIZE, seed=1)
    bar = ConstantWeights(WEIGHTS, "log").combine(depths)
    network.correction.strengths.copy_(torch.tensor([0.5, 0.0]))
    with torch.no_grad():
        scale = network.correction.scale(image, depths, network.correction.weights)
    assert scale[0] != scale[1]
    wanted = bar * (0.5 * scale).exp().view(2, 1, 1, 1)
    torch.testing.assert_close(fused(network, image, depths, flip=False).depth, wanted, rtol=1e-5, atol=0)


def test_the_head_is_the_kernel_expansion_written_out():
    head, image, depths = head_of(), noise(2, 3, *SIZE), 1 + noise(2, 3, *SIZE, seed=1)
    weights = torch.tensor(WEIGHTS)
    with torch.no_grad():
        features, numbers = head.seen(image, depths, weights)
        found = head(image, depths, weights)
    seen = np.concatenate([features[:, :2].numpy(), numbers.numpy()], axis=1)
    for one, value in zip(seen, found.tolist(), strict=True):
        kernels = [math.exp(-0.01 * float(np.square(one - row).sum())) for row in head.rows.numpy()]
        assert value == pytest.approx(float(np.dot(kernels, head.dual.numpy())), rel=1e-4)


def test_a_head_without_rows_says_nothing_and_takes_any_number_of_them():
    head = ScaleHead(build_encoder("test_efficientnet"), learners=3)
    image, depths, weights = noise(2, 3, *SIZE), 1 + noise(2, 3, *SIZE, seed=1), torch.tensor(WEIGHTS)
    assert torch.equal(head(image, depths, weights), torch.zeros(2))
    other = head_of(rows=9)
    head.load_state_dict(other.state_dict())
    with torch.no_grad():
        assert torch.equal(head(image, depths, weights), other(image, depths, weights))


def test_a_training_changes_the_residual_and_nothing_of_the_scale():
    network, image = correcting().train(), noise(2, 3, *SIZE)
    before = {name: value.clone() for name, value in network.correction.state_dict().items()}
    depths = torch.cat([2 + image[:, :1] + error for error in (1.0, -0.2, 0.4)], dim=1)
    target = (2 + image[:, :1]) * (1 + 0.3 * image[:, 1:2])
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    optimiser, losses = torch.optim.AdamW(trained, lr=1e-2), []
    for _ in range(10):
        depth = network.fuse(network(assemble("rgb+d", image, depths, max_depth=10.0)), depths)
        error = (depth / target).log()
        loss = (error - error.mean(dim=(2, 3), keepdim=True)).abs().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    assert [name for name, each in network.named_parameters() if each.requires_grad and not each.grad.any()] == []
    assert all(torch.equal(before[name], value) for name, value in network.correction.state_dict().items())


def test_statistics_are_those_of_numpy_and_the_same_of_a_mirrored_image():
    image, depths, weights = noise(1, 3, *SIZE), 0.1 + 9 * noise(1, 3, *SIZE, seed=1), torch.tensor(WEIGHTS)
    found = statistics(image, depths, weights)[0].double().numpy()
    assert len(found) == statistics_count(3)
    colours, logs = image[0].double().numpy().reshape(3, -1), np.log(depths[0].double().numpy())
    mean = np.tensordot(WEIGHTS, logs, axes=1)
    apart = (logs - mean).reshape(3, -1)
    slopes = [np.polyfit(np.linspace(-1, 1, mean.shape[axis]), mean.mean(axis=1 - axis), 1)[0] for axis in (0, 1)]
    wanted = [
        *(*colours.mean(axis=1), *colours.std(axis=1, ddof=1), mean.mean(), mean.std(ddof=1)),
        *(*np.quantile(mean, QUANTILES), *apart.mean(axis=1), *apart.std(axis=1, ddof=1)),
        *(logs.std(axis=0).mean(), slopes[0], abs(slopes[1])),
    ]
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)
    mirrored = statistics(image.flip(-1), depths.flip(-1), weights)[0].double().numpy()
    np.testing.assert_allclose(mirrored, found, rtol=1e-4, atol=1e-5)
