"""A fitted stack: its learners and its meta-learner loaded together, and depth of photographs from them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float32, UInt8
from torch import Tensor, nn

from ensemble.config import LearnerSettings, StackSettings
from ensemble.config_files import moved, stored_settings
from ensemble.console import progress
from ensemble.data import open_source
from ensemble.data.image_files import read_rgb
from ensemble.data.transforms import resize_image
from ensemble.networks import (
    FOLDS,
    build_stack,
    differing_sources,
    load_learner,
    load_network,
)
from ensemble.pictures import save_prediction
from ensemble.prediction import device_of, division_of, flip_averaged, predict_depth
from ensemble.rows import LevelZero
from ensemble.runs import Outputs, Run
from ensemble.stages import check_same_frames, level_zero_of, rests_on
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
    learners = level_zero_of(settings, outputs, run)
    division = division_of(outputs, settings.experiment, open_source(settings.data), settings.data)
    frozen = rests_on(learners) if settings.mode == "frozen" else {}
    differing = differing_sources(run, {**frozen, FOLDS: division.folds.fingerprint})
    if differing:
        raise ValueError(
            f"{run.folder}: learners were trained anew since this fit ({'; '.join(differing)}).\nRun: {again} --fresh"
        )
    check_same_frames(settings, learners)
    bare = settings.model_copy(update={"encoder": settings.encoder.model_copy(update={"weights": "none"})})
    network = build_stack(bare)
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


def predict_images(stack: Stack, images: Sequence[Path], out: Path) -> list[Path]:
    """Depth of photographs by a fitted stack: metres, a coloured picture and weight maps for each, at its own size.

    Args:
        stack: The meta-learner and its learners.
        images: Files that Pillow reads as RGB.
        out: Folder to write to.

    Returns:
        The files that were written.

    Raises:
        ValueError: A file is not an RGB image.
    """
    names = [path.stem for path in images]
    if doubled := {name for name in names if names.count(name) > 1}:
        raise ValueError(f"{len(doubled)} file names stand twice (first: {min(doubled)}); their results would collide")
    device = device_of(stack.settings.training)
    networks = [
        [(model.network_settings, load_learner(model).to(device)) for model in learner.tested]
        for learner in stack.learners
    ]
    written: list[Path] = []
    for path in progress(images, "predicting"):
        image = read_rgb(path)
        depth, weights = predict_image(stack, networks, image)
        titles = [learner.title for learner in stack.learners]
        written += save_prediction(out, path.stem, image, depth, weights, titles)
    return written


@torch.inference_mode()
def predict_image(
    stack: Stack, networks: Sequence[Sequence[tuple[LearnerSettings, nn.Module]]], image: UInt8[np.ndarray, "h w 3"]
) -> tuple[Float32[np.ndarray, "h w"], Float32[np.ndarray, "k h w"]]:
    """Depth in metres and the learners' weights of one photograph, at its own size.

    Args:
        stack: The meta-learner.
        networks: The models of each of its learners with their settings, on the device of the meta-learner; the depth
            of a learner is the mean of its models.
        image: RGB.
    """
    working = resize_image(image, stack.settings.data.size)[None]
    there = working.to(device_of(stack.settings.training))
    depths = torch.cat([_mean_depth(models, there) for models in networks], dim=1).cpu()
    maps = stack_maps(stack, working, depths)
    both = torch.cat([stack.network.fuse(maps, depths), maps[:, : depths.shape[1]]], dim=1)
    full = F.interpolate(both, image.shape[:2], mode="bilinear", align_corners=False)[0].numpy()
    return full[0], full[1:]


def _mean_depth(models: Sequence[tuple[LearnerSettings, nn.Module]], image: Tensor) -> Tensor:
    return torch.stack([predict_depth(network, image, settings) for settings, network in models]).mean(dim=0)
