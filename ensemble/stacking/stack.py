"""A fitted stack: its learners and its meta-learner, loaded together."""

from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from ensemble.data.folds import read_folds
from ensemble.predictions.level_zero import LevelZero, check_same_frames, level_zero_of, rests_on
from ensemble.predictions.predict import device_of
from ensemble.runs.claims import FOLDS, differing_sources
from ensemble.runs.paths import Outputs, Run
from ensemble.runs.records import stored_settings
from ensemble.settings.layers import moved
from ensemble.settings.schema import ScoredSettings, StackSettings
from ensemble.training.networks import build_stack, load_network, unloaded
from meta.fusion import check_weights, split_maps
from meta.unet import MetaUNet
from meta.weighing import Fused, fused_by

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
        root: Where the data are now; where it was at the time of the fit if absent.

    Raises:
        ValueError: The run is not complete, or a learner was trained anew since.
    """
    settings = moved(stored_settings(StackSettings, run.settings), root)
    again = outputs.command("meta", "fit", "--resume", str(run.folder))
    if not run.result.is_file():
        raise ValueError(f"{run.folder}: the fit is not complete.\nRun: {again}")
    run.read_result()  # refused where it is damaged
    learners = level_zero_of(settings, outputs, run)
    folds = read_folds(outputs.folds(settings.experiment))
    frozen = rests_on(learners) if settings.mode == "frozen" else {}
    differing = differing_sources(run, {**frozen, FOLDS: folds.fingerprint})
    if differing:
        raise ValueError(
            f"{run.folder}: learners were trained anew since this fit ({'; '.join(differing)}).\nRun: {again} --fresh"
        )
    check_same_frames(settings, learners)
    network = build_stack(unloaded(settings))
    load_network(network, run, "" if settings.mode == "frozen" else "meta.")
    return Stack(run.folder.name, settings, run, learners, network.to(device_of(settings.training)))


def stacked(stack: Stack, image: Tensor, depths: Tensor) -> Fused:
    """The learners' depth [b k h w] in metres of images [b 3 h w], weighed by a stack; on the CPU.

    Raises:
        ValueError: Weights are none of their kind.
    """
    device, settings = device_of(stack.settings.training), stack.settings
    found = fused_by(
        stack.network,
        image.to(device),
        depths.to(device),
        inputs=settings.inputs,
        max_depth=settings.data.max_depth,
        flip=settings.evaluation.flip_averaging,
    )
    weights, bias = split_maps(found.maps, len(stack.learners))
    check_weights(weights, bias=bias, kind=stack.network.weights)
    return Fused(*(maps.cpu() for maps in found))


def frames_together(settings: ScoredSettings) -> int:
    """How many frames are weighed in one pass: of small ones several, because a pass costs something by itself."""
    height, width = settings.data.size
    return max(1, min(settings.evaluation.batch_size, PIXELS_TOGETHER // (height * width)))
