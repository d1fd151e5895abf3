"""Depth of photographs by a fitted stack: metres, weights, and the error that is to be expected."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float32, UInt8
from torch import Tensor, nn

from ensemble.console import progress
from ensemble.data.formats.images import read_rgb
from ensemble.data.transforms import resize_image
from ensemble.evaluation.calibration import calibration_of, disagreement_of
from ensemble.metrics.uncertainty import Calibration
from ensemble.predictions.learners import load_learner
from ensemble.predictions.predict import device_of, predict_depth
from ensemble.report.drawing.pictures import save_prediction
from ensemble.runs.paths import Outputs
from ensemble.settings.schema import LearnerSettings
from ensemble.stacking.stack import Stack, fused_by


class PredictedImage(NamedTuple):
    """What a stack says of a photograph, at its own size.

    Attributes:
        depth: Metres.
        weights: Of the learners.
        error: Root mean squared error to be expected, metres.
    """

    depth: Float32[np.ndarray, "h w"]
    weights: Float32[np.ndarray, "k h w"]
    error: Float32[np.ndarray, "h w"]


def predict_images(stack: Stack, outputs: Outputs, images: Sequence[Path], out: Path) -> list[Path]:
    """Depth, weights and uncertainty of photographs as files, each at the photograph's own size.

    Args:
        stack: The meta-learner and its learners.
        outputs: Where the rows are that the uncertainty is calibrated on, if that was not done before.
        images: Files that Pillow reads as RGB.
        out: Folder to write to.

    Returns:
        The files that were written.

    Raises:
        ValueError: A file is not an RGB image, or a learner was imported and has no network.
    """
    names = [path.stem for path in images]
    if doubled := {name for name in names if names.count(name) > 1}:
        raise ValueError(f"{len(doubled)} file names stand twice (first: {min(doubled)}); their results would collide")
    device = device_of(stack.settings.training)
    networks = [
        [(model.network_settings, load_learner(model).to(device)) for model in learner.tested]
        for learner in stack.learners
    ]
    calibration = calibration_of(stack, outputs)
    titles = [learner.title for learner in stack.learners]
    written: list[Path] = []
    for path in progress(images, "predicting"):
        image = read_rgb(path)
        found = predict_image(stack, networks, image, calibration=calibration)
        written += save_prediction(out, path.stem, image, found.depth, found.weights, titles, uncertainty=found.error)
    return written


@torch.inference_mode()
def predict_image(
    stack: Stack,
    networks: Sequence[Sequence[tuple[LearnerSettings, nn.Module]]],
    image: UInt8[np.ndarray, "h w 3"],
    *,
    calibration: Calibration,
) -> PredictedImage:
    """Depth, weights and expected error of one photograph, at its own size.

    Args:
        stack: The meta-learner.
        networks: The models of each of its learners with their settings, on the device of the meta-learner; the depth
            of a learner is the mean of its models.
        image: RGB.
        calibration: Of the stack's disagreement.
    """
    working = resize_image(image, stack.settings.data.size)[None]
    there = working.to(device_of(stack.settings.training))
    depths = torch.cat([_mean_depth(models, there) for models in networks], dim=1).cpu()
    fused = fused_by(stack, working, depths)
    error = calibration.apply(disagreement_of(stack, fused))
    together = torch.cat([fused.depth, error, fused.maps[:, : depths.shape[1]]], dim=1)
    full = F.interpolate(together, image.shape[:2], mode="bilinear", align_corners=False)[0].numpy()
    return PredictedImage(full[0], full[2:], full[1])


def _mean_depth(models: Sequence[tuple[LearnerSettings, nn.Module]], image: Tensor) -> Tensor:
    return torch.stack([predict_depth(network, image, settings) for settings, network in models]).mean(dim=0)
