"""Maps of a prediction as files, page by page: what is written needs no more memory than one map.

TIFF and EXR are written whole by their libraries, so all maps of one kind are held for them.
"""

import math
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO

import numpy as np
from jaxtyping import Float32
from PIL import Image

from ensemble.data.formats.exr import save_exr
from ensemble.deploy.runtime import Prediction
from ensemble.runs.files import atomic_file, told_when_full

Page = Float32[np.ndarray, "h w"]
Shape = tuple[int, ...]


def write_maps(path: Path, found: Prediction[np.ndarray], kind: str, form: str) -> None:
    """Write the maps of one kind as float32, all of them or nothing.

    Args:
        path: The file.
        found: What a stack said.
        kind: ``depth`` and ``error``, [h w], or ``weights``, [k h w].
        form: Key in ``WRITERS``.

    Raises:
        OSError: It cannot be written.
    """
    stacked = kind == "weights"
    shape = (found.working[kind].shape[-3], *found.size) if stacked else found.size
    with told_when_full(path, 4 * math.prod(shape)), atomic_file(path) as whole:
        WRITERS[form](whole, found.pages(kind), shape)


def thinned(pages: Iterator[Page], step: int) -> list[Page]:
    """Every so many rows and columns of some maps."""
    found = []
    for page in pages:
        found.append(page[::step, ::step].copy())
        del page  # or it would be kept until the next one is there
    return found


def _save_npy(path: Path, pages: Iterator[Page], shape: Shape) -> None:
    with path.open("wb") as file:
        _write_array(file, pages, shape)


def _save_npz(path: Path, pages: Iterator[Page], shape: Shape) -> None:
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("arr_0.npy", "w", force_zip64=True) as file,
    ):
        _write_array(file, pages, shape)


def _write_array(file: IO[bytes], pages: Iterator[Page], shape: Shape) -> None:
    """As ``np.save`` writes the pages, stacked where the shape has three axes."""
    np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": shape})
    for page in pages:
        file.write(np.ascontiguousarray(page, "<f4").data)
        del page  # or it would be kept until the next one is there


def _save_tiff(path: Path, pages: Iterator[Page], _: Shape) -> None:
    first, *others = map(Image.fromarray, pages)
    first.save(path, "TIFF", compression="tiff_adobe_deflate", save_all=True, append_images=others)


def _save_exr(path: Path, pages: Iterator[Page], shape: Shape) -> None:
    several = len(shape) > 2 and shape[0] > 1
    save_exr(path, {f"weight.{index}" if several else "V": page for index, page in enumerate(pages)})


WRITERS: Mapping[str, Callable[[Path, Iterator[Page], Shape], None]] = {
    "npy": _save_npy,
    "npz": _save_npz,
    "tiff": _save_tiff,
    "exr": _save_exr,
}
"""Of float32 metres, or of weights, one page each; ``png`` holds depth in whole millimetres beside them."""
