"""Depth of photographs as files: metres, the error that is to be expected, weights, and pictures of all three."""

import io
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from ensemble.console import messages, progress
from ensemble.data.formats.exr import save_exr
from ensemble.data.formats.maps import save_npy
from ensemble.data.formats.packages import needed
from ensemble.data.formats.photographs import find_photographs, read_photograph
from ensemble.deploy.door import DepthStack, Prediction
from ensemble.options import Wanted
from ensemble.report.drawing.pictures import draw_prediction, save_depth_png
from ensemble.runs.files import write_bytes

DEFAULT_PIXELS = 1_000_000
"""Of the files that are written; more say nothing more, for networks see a few thousand."""


def _save_npz(path: Path, values: np.ndarray) -> None:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, values.astype(np.float32))
    write_bytes(path, buffer.getvalue())


def _save_tiff(path: Path, values: np.ndarray) -> None:
    buffer = io.BytesIO()
    first, *others = [Image.fromarray(page.astype(np.float32)) for page in values.reshape(-1, *values.shape[-2:])]
    first.save(buffer, "TIFF", compression="tiff_adobe_deflate", save_all=True, append_images=others)
    write_bytes(path, buffer.getvalue())


def _save_exr(path: Path, values: np.ndarray) -> None:
    pages = values.reshape(-1, *values.shape[-2:])
    names = ["V"] if len(pages) == 1 else [f"weight.{index}" for index in range(len(pages))]
    with tempfile.TemporaryDirectory() as folder:
        beside = Path(folder) / path.name
        save_exr(beside, dict(zip(names, pages, strict=True)))
        write_bytes(path, beside.read_bytes())


WRITERS: Mapping[str, Callable[[Path, np.ndarray], None]] = {
    "npy": save_npy,
    "npz": _save_npz,
    "tiff": _save_tiff,
    "exr": _save_exr,
}
"""Of float32 metres, or of weights, one page each; ``png`` holds depth in whole millimetres beside them."""


def predict_photographs(stack: DepthStack, places: list[Path], out: Path, wanted: Wanted) -> None:
    """Write what a stack says of photographs; a file that cannot be read is named and passed over.

    Args:
        stack: On the device to predict on.
        places: Files and folders.
        out: Folder to write to.
        wanted: Kinds and formats of what is written.

    Raises:
        ValueError: Two photographs have one name, a learner has no network; or in the end, not all could be read.
    """
    if "exr" in wanted.formats:
        needed("OpenEXR", extra="exr", kind="EXR", where="--format exr")
    images = find_photographs(places)
    pixels = None if wanted.size == "image" else DEFAULT_PIXELS
    done, converted = 0, set[str]()
    for name, path in progress(images.items(), "predicting"):
        try:
            photograph = read_photograph(path, pixels=pixels)
        except ValueError as error:
            messages.print(f"error: {error}", style="red")
            continue
        if photograph.converted and photograph.converted not in converted:
            messages.print(f"{path}: {photograph.converted} became RGB with 8 bits, and so do others of this kind")
            converted.add(photograph.converted)
        image = photograph.pixels
        if wanted.size == "working":
            height, width = stack.keeping_shape(*image.shape[:2])
            image = np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))
        _write(stack, out / name, image, stack(image), wanted)
        done += 1
    told = f"{done} of {len(images)} predicted, files in {out}"
    if done < len(images):
        raise ValueError(told)
    messages.print(told)


def _write(
    stack: DepthStack,
    place: Path,
    image: np.ndarray,
    found: Prediction[np.ndarray],
    wanted: Wanted,
) -> None:
    arrays = {
        "depth": ("depth", found.depth),
        "error": ("uncertainty", found.error),
        "weights": ("weights", found.weights),
    }
    for kind, (name, array) in arrays.items():
        if kind in wanted.kinds and array is not None:
            for ending in (ending for ending in wanted.formats if ending in WRITERS):
                WRITERS[ending](place.with_name(f"{place.name}_{name}.{ending}"), array)
    if "depth" in wanted.kinds and "png" in wanted.formats:
        try:
            save_depth_png(place.with_name(f"{place.name}_depth_mm.png"), found.depth)
        except ValueError as error:
            messages.print(f"left out: {error}")
    if "pictures" in wanted.kinds:
        titles = [learner.title for learner in stack.header.learners]
        draw_prediction(place, image, found.depth, found.weights, titles, found.error)
