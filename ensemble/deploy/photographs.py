"""Depth of photographs as files: metres, weights, and the error that is to be expected."""

from collections.abc import Sequence
from pathlib import Path

from ensemble.console import progress
from ensemble.data.formats.images import read_rgb
from ensemble.deploy.door import DepthStack
from ensemble.report.drawing.pictures import save_prediction


def predict_images(stack: DepthStack, images: Sequence[Path], out: Path) -> list[Path]:
    """Depth, weights and uncertainty of photographs as files, each at the photograph's own size.

    Args:
        stack: On the device to predict on.
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
    written: list[Path] = []
    for path in progress(images, "predicting"):
        image = read_rgb(path)
        found = stack(image, size=stack.trained_size)
        titles = [learner.title for learner in stack.header.learners]
        written += save_prediction(out, path.stem, image, found.depth, found.weights, titles, uncertainty=found.error)
    return written
