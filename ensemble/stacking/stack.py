"""A fitted stack: its learners and its meta-learner, loaded together."""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from ensemble.data.division import open_experiment
from ensemble.predictions.level_zero import LevelZero, check_same_frames, level_zero_of, rests_on
from ensemble.predictions.predict import device_of
from ensemble.runs.claims import FOLDS, differing_sources
from ensemble.runs.paths import Outputs, Run
from ensemble.settings.layers import moved, stored_settings
from ensemble.settings.schema import ScoredSettings, StackSettings
from ensemble.training.networks import build_stack, load_network, unloaded
from meta.fusion import check_weights, split_maps
from meta.inputs import assemble
from meta.unet import MetaUNet

PIXELS_TOGETHER = 4 * 96 * 128
"""Of the frames of one pass. One over more takes as long for each, and oneDNN sums in another order, so that the last
bits differ from those of frames one by one."""


@dataclass(frozen=True)
class Stack:
    """A fitted meta-learner.

    Attributes:
        name: Of its run.
        settings: What it was fitted with.
        run: Its files.
        learners: What it weighs, in order.
        network: Ready to predict.
    """

    name: str
    settings: StackSettings
    run: Run
    learners: tuple[LevelZero, ...]
    network: MetaUNet


def load_stack(run: Run, outputs: Outputs, *, root: Path | None = None) -> Stack:
    """The fitted meta-learner of a run, with the learners that it was fitted to.

    Args:
        run: Files of the fit.
        outputs: Where the learners' runs are.
        root: Where the copy of NYU Depth v2 is now; where it was at the time of the fit if absent.

    Raises:
        ValueError: The run is not complete, or a learner was trained anew since.
    """
    settings = moved(stored_settings(StackSettings, run.settings), root)
    again = outputs.command("meta", "fit", "--resume", str(run.folder))
    if not run.result.is_file():
        raise ValueError(f"{run.folder}: the fit is not complete.\nRun: {again}")
    learners = level_zero_of(settings, outputs, run)
    division = open_experiment(outputs, settings).division
    frozen = rests_on(learners) if settings.mode == "frozen" else {}
    differing = differing_sources(run, {**frozen, FOLDS: division.folds.fingerprint})
    if differing:
        raise ValueError(
            f"{run.folder}: learners were trained anew since this fit ({'; '.join(differing)}).\nRun: {again} --fresh"
        )
    check_same_frames(settings, learners)
    network = build_stack(unloaded(settings))
    load_network(network, run, "" if settings.mode == "frozen" else "meta.")
    return Stack(run.folder.name, settings, run, learners, network.to(device_of(settings.training)))


class Fused(NamedTuple):
    """What a stack makes of its learners' depth of frames.

    Attributes:
        depth: Metres, [b 1 h w].
        maps: Of the meta-learner, [b maps h w], weights of the learners first.
        learners: Their depth, [b k h w] in metres.
    """

    depth: Tensor
    maps: Tensor
    learners: Tensor

    def of(self, index: int) -> "Fused":
        """The same of one of the frames."""
        return Fused(*(each[index : index + 1] for each in self))


def fused_by(stack: Stack, image: Tensor, depths: Tensor) -> Fused:
    """The learners' depth [b k h w] in metres of images [b 3 h w], weighed by a stack.

    Raises:
        ValueError: Weights are none of their kind.
    """
    maps = stack_maps(stack, image, depths)
    weights, bias = split_maps(maps, len(stack.learners))
    check_weights(weights, bias=bias, kind=stack.network.weights)
    return Fused(stack.network.fuse(maps, depths), maps, depths)


def stack_maps(stack: Stack, image: Tensor, depths: Tensor) -> Tensor:
    """The meta-learner's maps [b maps h w] for images [b 3 h w] and the learners' depths [b k h w] in metres.

    Weights of the learners come first; ``stack.network.fuse`` makes depth of the maps. A frame and its mirror image go
    through the network together.
    """
    device = next(stack.network.parameters()).device
    settings = stack.settings
    both = torch.cat([image.to(device), depths.to(device)], dim=1)
    if settings.evaluation.flip_averaging:
        both = torch.cat([both, both.flip(-1)])
    seen = assemble(settings.inputs, both[:, :3], both[:, 3:], max_depth=settings.data.max_depth)
    maps = stack.network(seen).float()
    if settings.evaluation.flip_averaging:
        straight, mirrored = maps.chunk(2)
        maps = (straight + mirrored.flip(-1)) / 2
    return maps.cpu()


def frames_together(settings: ScoredSettings) -> int:
    """How many frames are weighed in one pass: of small ones several, because a pass costs something by itself."""
    height, width = settings.data.size
    return max(1, min(settings.evaluation.batch_size, PIXELS_TOGETHER // (height * width)))
