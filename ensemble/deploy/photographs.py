"""Depth of photographs as files: metres, the error that is to be expected, weights, and pictures of all three."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from ensemble.console import messages, progress
from ensemble.data.formats.packages import needed
from ensemble.data.formats.photographs import check_photograph, read_photograph
from ensemble.data.formats.search import search
from ensemble.deploy.map_files import WRITERS, thinned, write_maps
from ensemble.deploy.runtime import ExportedStack, Prediction
from ensemble.deploy.runtime.views import Views
from ensemble.options import DEFAULT_KINDS, Wanted
from ensemble.photographs.search import SUFFIXES
from ensemble.report.drawing.pictures import draw_prediction, save_depth_png
from ensemble.settings.trees import SettingsError

if TYPE_CHECKING:
    from ensemble.deploy.door import DepthStack

_PARTS = {"error": "expected error", "weights": "weights"}
"""Kinds that some networks do not say, in words."""

FAR_PNG = "_depth_kitti.png"
"""Ends the name of a PNG whose depth millimetres do not reach."""

DEFAULT_PIXELS = 1_000_000
"""Of the files that are written; more say nothing more, for networks see a few thousand."""


def predict_photographs(stack: DepthStack | ExportedStack, places: list[Path], out: Path, wanted: Wanted) -> None:
    """Write what a stack says of photographs; a file that cannot be read or computed is named and passed over.

    Args:
        stack: On the device to predict on.
        places: Files and folders.
        out: Folder to write to.
        wanted: Kinds and formats of what is written.

    Raises:
        SettingsError: Nothing of what is wanted can be written, such as the expected error of a learner alone.
        ValueError: There is no photograph, two have one name, a learner has no network, a field of view was told and
            that of the training is not known; or in the end, not all could be read and computed.
    """
    wanted = _writable(stack, wanted)
    if "exr" in wanted.formats:
        needed("OpenEXR", extra="exr", kind="EXR", where="--format exr")
    if wanted.fov is not None:
        stack.focal_ratio(stack.trained_size, wanted.fov)
    images, missing = _found_at(places, out)
    pixels = None if wanted.size == "image" else DEFAULT_PIXELS
    done, converted, views = 0, set[str](), Views(stack, wanted.fov, messages.print)
    for name, path in progress(_without_bad(images).items(), "predicting"):
        try:
            photograph = read_photograph(path, pixels=pixels)
        except ValueError as error:
            messages.print(f"error: {error}", style="red")
            continue
        if photograph.converted and photograph.converted not in converted:
            messages.print(f"{path}: {photograph.converted} became RGB with 8 bits, and so do others of this kind")
            converted.add(photograph.converted)
        if photograph.dark:
            messages.print(f"{path}: {photograph.dark}")
        image = photograph.pixels
        if wanted.size == "working":
            height, width = stack.keeping_shape(*image.shape[:2])
            image = np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))
        try:
            found = stack(image, fov=views.of(path, photograph))
        except (ValueError, FloatingPointError) as error:
            messages.print(f"error: {path}: {error}", style="red")
            continue
        _write(stack, out / name, image, found, wanted, views.said)
        done += 1
    asked = len(images) + missing
    told = f"{done} of {asked} predicted, files in {out}"
    if done < asked:
        raise ValueError(told)
    messages.print(told)


def _found_at(places: list[Path], out: Path) -> tuple[dict[str, Path], int]:
    """The photographs at some places, and how many files are not there; what is not read of folders is said."""
    found = search(places, out)
    for path in found.missing:
        messages.print(f"error: {path}: there is no such file or folder", style="red")
    for line in found.left_out():
        messages.print(line)
    if found.empty:
        told = (
            f"{', '.join(map(str, found.empty))}: found no photograph, expected files that end in {', '.join(SUFFIXES)}"
        )
        if not found.photographs:
            raise ValueError(told)
        messages.print(told)
    return found.photographs, len(found.missing)


def _writable(stack: DepthStack | ExportedStack, wanted: Wanted) -> Wanted:
    """What there is of what was asked for; a call that would write nothing is refused, and what is not there is said.

    A learner alone has no expected error, and its weights are 1.
    """
    there = {*stack.kinds, "pictures"} - ({"weights"} if len(stack.header.learners) == 1 else set())
    said = tuple(kind for kind in wanted.kinds if kind in there)
    absent = [_PARTS[kind] for kind in wanted.kinds if kind not in there]
    arrays = any(form in WRITERS for form in wanted.formats)
    asked = f"--only {','.join(wanted.kinds)} --format {','.join(wanted.formats)}"
    alone = f"{stack.header.name} is a learner alone, which says no {' and no '.join(absent)}"
    if not any(arrays or kind in ("depth", "pictures") for kind in said):
        why, expected = alone, "depth or pictures"
        if said:
            why, expected = "png holds depth alone", f"--format {','.join(WRITERS)}"
        raise SettingsError(f"{asked} would write nothing: {why}; expected {expected}")
    if absent and wanted.kinds != tuple(DEFAULT_KINDS.split(",")):
        messages.print(f"{alone}: none is written")
    return replace(wanted, kinds=said)


def _without_bad(images: Mapping[str, Path]) -> dict[str, Path]:
    """The photographs that look whole; the others are named before work begins."""
    good = {}
    for name, path in images.items():
        try:
            check_photograph(path)
        except ValueError as error:
            messages.print(f"error: {error}", style="red")
        else:
            good[name] = path
    return good


def _write(
    stack: DepthStack | ExportedStack,
    place: Path,
    image: np.ndarray,
    found: Prediction[np.ndarray],
    wanted: Wanted,
    said: set[str],
) -> None:
    for kind in ("depth", "error", "weights"):
        if kind in wanted.kinds and kind in found.working:
            for ending in (ending for ending in wanted.formats if ending in WRITERS):
                write_maps(place.with_name(f"{place.name}_{kind}.{ending}"), found, kind, ending)
    if "depth" in wanted.kinds and "png" in wanted.formats:
        try:
            path = save_depth_png(place, next(found.pages("depth")))
        except ValueError as error:
            messages.print(f"left out: {error}")
        else:
            if path.name.endswith(FAR_PNG) and FAR_PNG not in said:
                messages.print(
                    f"{path}: depth beyond 65.5 m, so it is in 1/256 m in place of millimetres, and so is every PNG "
                    "that is called so"
                )
                said.add(FAR_PNG)
    if "pictures" in wanted.kinds:
        titles = [learner.title for learner in stack.header.learners]
        step = max(1, round(math.sqrt(image.size / 3 / DEFAULT_PIXELS)))  # a picture shows no more of them
        depth, error, weights = (thinned(found.pages(kind), step) for kind in ("depth", "error", "weights"))
        doubt = error[0] if error else None
        draw_prediction(place, image[::step, ::step], depth[0], np.stack(weights), titles, doubt)
