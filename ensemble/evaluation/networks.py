"""Scores of networks that predict the test frames anew, without cached rows."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from ensemble.console import progress
from ensemble.data.division import open_experiment
from ensemble.data.held_out import test_frames
from ensemble.data.transforms import Original, bring_to_size
from ensemble.evaluation.scoring import ScoreTable
from ensemble.metrics.protocols import enlarged, protocol_of
from ensemble.metrics.published import OWN_SIZE
from ensemble.runs.paths import Outputs
from ensemble.settings.schema import ScoredSettings

Network = Callable[[Tensor, Original], tuple[Tensor, ...]]
"""From images [b 3 h w] in [0, 1] at the working size, and what they were made of, to depth in metres [b 1 h w], which
comes first."""


@torch.inference_mode()
def score_networks(networks: dict[str, Network], settings: ScoredSettings, outputs: Outputs) -> dict[str, float]:
    """REL of networks on the test frames of their experiment.

    Raises:
        ValueError: The data are not there.
    """
    source = open_experiment(outputs, settings).source
    flip = settings.evaluation.flip_averaging
    table = ScoreTable(protocol_of(settings, "test", flip_averaging=flip, size=OWN_SIZE), per_image=False)
    for frame in progress(test_frames(source, settings.data), "scoring"):
        raw = source.read(frame)
        image = bring_to_size(raw, settings.data.size)["image"][None]
        pixels = torch.from_numpy(np.require(raw.image, requirements=("C", "W"))).permute(2, 0, 1)[None]
        original = Original(pixels, settings.data.size)
        depths = {
            (name, 0): enlarged(network(image, original)[0], raw.depth.shape) for name, network in networks.items()
        }
        table.add(frame, raw, depths)
    return {name: table.mean(name, "abs_rel") for name in networks}


def halving_report(whole: Network, half: Network, settings: ScoredSettings, outputs: Outputs) -> str:
    """A sentence that says what weights of 16 bits cost on the test frames, of networks that compute in 32."""
    try:
        rel = score_networks({"whole": whole, "half": half}, settings, outputs)
    except ValueError as error:
        return f"what 16 bits cost was not measured: {error}"
    return (
        f"REL on the test frames, computed in 32 bits: {rel['half']:.4f} with weights of 16 bits, "
        f"{rel['whole']:.4f} with those of 32"
    )
