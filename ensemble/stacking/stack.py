"""A fitted stack: its learners and its meta-learner, loaded together."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ensemble.data.division import open_experiment
from ensemble.predictions.level_zero import LevelZero, check_same_frames, level_zero_of, rests_on
from ensemble.predictions.predict import device_of, flip_averaged
from ensemble.runs.claims import FOLDS, differing_sources
from ensemble.runs.paths import Outputs, Run
from ensemble.runs.records import stored_settings
from ensemble.settings.layers import moved
from ensemble.settings.schema import StackSettings
from ensemble.training.networks import build_stack, load_network, unloaded
from meta.inputs import assemble
from meta.unet import MetaUNet


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
    run.read_result()  # refused where it is damaged
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


def stack_maps(stack: Stack, image: Tensor, depths: Tensor) -> Tensor:
    """The meta-learner's maps [b maps h w] for images [b 3 h w] and the learners' depths [b k h w] in metres.

    Weights of the learners come first; ``stack.network.fuse`` makes depth of the maps.
    """
    device = next(stack.network.parameters()).device
    settings = stack.settings
    image, depths = image.to(device), depths.to(device)

    def weigh(both: Tensor) -> Tensor:
        seen = assemble(settings.inputs, both[:, :3], both[:, 3:], max_depth=settings.data.max_depth)
        return stack.network(seen).float()

    both = torch.cat([image, depths], dim=1)
    return flip_averaged(weigh, both, enabled=settings.evaluation.flip_averaging).cpu()
