"""What a step does in fewer seconds leaves losses as they were, and layers that are slow in 16 bits their numbers."""

from functools import partial
from pathlib import Path

import pytest
import torch
import training_runs as runs
from torch import nn

from base_learners.encoders.build import build_encoder
from ensemble.training.optimisation.precision import keep_slow_depthwise_in_float32

LAYERS = {
    "stride": (partial(nn.Conv2d, 8, 8, 3, stride=2, groups=8), torch.float32),
    "five": (partial(nn.Conv2d, 8, 8, 5, padding=2, groups=8), torch.float32),
    "three": (partial(nn.Conv2d, 8, 8, 3, padding=1, groups=8), torch.bfloat16),
    "dense": (partial(nn.Conv2d, 8, 8, 3, stride=2), torch.bfloat16),
}


@pytest.mark.parametrize(("build", "expected"), LAYERS.values(), ids=LAYERS)
def test_only_slow_layers_are_left_in_float32(build: partial[nn.Conv2d], expected: torch.dtype) -> None:
    layer = build()
    names, image = list(layer.state_dict()), torch.rand(2, 8, 16, 16)
    plain = layer(image)
    keep_slow_depthwise_in_float32(nn.Sequential(layer))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert layer(image).dtype == expected
    assert torch.equal(layer(image), plain)
    assert list(layer.state_dict()) == names


def test_an_encoder_keeps_its_weights_and_its_maps() -> None:
    torch.manual_seed(0)
    encoder = build_encoder("tf_efficientnet_lite0").eval()
    image = torch.rand(1, 3, 64, 64)
    before = encoder(image)
    keep_slow_depthwise_in_float32(encoder)
    assert all(torch.equal(one, other) for one, other in zip(encoder(image), before, strict=True))


def test_losses_are_those_of_plain_adamw(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fused = runs.toy_fit(tmp_path / "fused", epochs=3, lr=0.02)
    plain = torch.optim.AdamW
    monkeypatch.setattr(torch.optim, "AdamW", lambda *given, fused, **more: plain(*given, **more))
    reference = runs.toy_fit(tmp_path / "plain", epochs=3, lr=0.02)
    ours, theirs = ([line["train/loss"] for line in runs.train_lines(run)] for run in (fused, reference))
    assert len(ours) == 12
    assert ours == pytest.approx(theirs, rel=1e-5)
