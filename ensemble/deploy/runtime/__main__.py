"""``python -m ensemble.deploy.runtime FILE IMAGE... --out DIR``: depth of photographs where torch is not installed.

``python -m ensemble.meta predict --size image`` does the same with pictures and further formats, where all of the
package is; by itself it writes smaller maps of photographs above a megapixel, and its networks see those.
"""

import argparse
import os
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from ensemble.deploy.runtime.photographs import read_photograph
from ensemble.deploy.runtime.prediction import Prediction
from ensemble.deploy.runtime.sessions import RUNTIMES
from ensemble.deploy.runtime.stack import ExportedStack
from ensemble.deploy.runtime.views import Views
from ensemble.photographs.search import SUFFIXES, search
from ensemble.pretrained import PRETRAINED, pretrained

FARTHEST_MM = 65.535
"""Metres that 16 bits of millimetres reach; beyond, pictures hold 1/256 m, as KITTI's do."""

ARRAYS = (".npy", ".npz")
"""Endings of what lies beside photographs without being one."""


def main() -> int:
    """Write ``NAME_depth.npy`` and ``NAME_error.npy`` in metres and ``NAME_depth_mm.png`` of every image.

    Of depth beyond 65.5 m ``NAME_depth_kitti.png``, in 1/256 m. Images of one name in several folders keep their
    folder: ``a/NAME_depth.npy``. Metres follow the lens that EXIF data or ``--fov`` tell. An image that cannot be read
    or computed is named and passed over; the status is 1 then.
    """
    asked = _asked()
    try:
        _check_folder(asked.out)
        images, missing = _found_at(asked.images, asked.out)
        stack = ExportedStack.open(pretrained(asked.file, "onnx"), runtime=asked.runtime, threads=asked.threads)
        if asked.fov is not None:
            stack.focal_ratio(stack.trained_size, asked.fov)  # refused before the first image is read
        done = _predict(stack, images, asked.out, asked.fov)
    except ValueError as error:
        _say(f"error: {error}")
        return 1
    except OSError as error:
        _say(f"error: {error.filename or asked.out}: cannot be written ({error.strerror or error})")
        return 1
    wanted = len(images) + missing
    _say(f"{done} of {wanted} predicted" + (f", files in {asked.out}" if done else ""))
    return 0 if done == wanted else 1


def _asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m ensemble.deploy.runtime", description=main.__doc__)
    names = ", ".join(PRETRAINED)
    parser.add_argument(
        "file",
        type=Path,
        help=f"What python -m ensemble.export has written (.onnx, .xml or .pte), or a name of the package: {names}.",
    )
    parser.add_argument("images", type=Path, nargs="+", metavar="image", help="Photographs, and folders of them.")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="Folder to write to.")
    parser.add_argument("--runtime", choices=list(RUNTIMES), help="Default: by the ending of the file.")
    parser.add_argument("--threads", type=int, metavar="N", help="Of the processor.")
    parser.add_argument(
        "--fov", type=float, metavar="DEGREES", help="Across the width of the photographs. Default: what EXIF tells."
    )
    return parser.parse_args()


def _say(text: str) -> None:
    print(text, file=sys.stderr)  # noqa: T201  (a command without the console of the others)


def _check_folder(out: Path) -> None:
    """Refuse a place that cannot be a folder, before work begins.

    Raises:
        ValueError: Something else has its name, or that of a folder above it.
    """
    above = next((place for place in (out, *out.parents) if os.path.lexists(place)), out)
    if os.path.lexists(above) and not above.is_dir():
        raise ValueError(f"--out {out}: expected a folder, found something else in {above}; choose another name")


def _found_at(places: list[Path], out: Path) -> tuple[Mapping[str, Path], int]:
    """The photographs at some places by the names of their results, and how many files are not there.

    Raises:
        ValueError: There is no photograph, or two have one name.
    """
    found = search(places, out, known=ARRAYS)
    for path in found.missing:
        _say(f"error: {path}: no such file")
    for line in found.left_out():
        _say(line)
    if found.empty:
        folders = ", ".join(map(str, found.empty))
        told = f"{folders}: found no photograph, expected files that end in {', '.join(SUFFIXES)}"
        if not found.photographs:
            raise ValueError(told)
        _say(told)
    return found.photographs, len(found.missing)


def _predict(stack: ExportedStack, images: Mapping[str, Path], out: Path, fov: float | None) -> int:
    """Predict images and write what is said of them; how many that were, for those that cannot be are named.

    Raises:
        OSError: A file cannot be written.
    """
    views, done = Views(stack, fov, _say), 0
    for name, path in images.items():
        try:
            photograph = read_photograph(path)
            if photograph.dark:
                _say(f"{path}: {photograph.dark}")
            found = stack(photograph.pixels, fov=views.of(path, photograph))
        except (ValueError, FloatingPointError) as error:
            told = str(error)
            _say(f"error: {told if told.startswith(f'{path}: ') else f'{path}: {told}'}")
            continue
        _write(found, out / name)
        done += 1
    return done


def _write(found: Prediction[np.ndarray], place: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    np.save(place.with_name(f"{place.name}_depth.npy"), found.depth)
    if found.error is not None:
        np.save(place.with_name(f"{place.name}_error.npy"), found.error)
    unit, per_metre = ("mm", 1000) if found.depth.max() <= FARTHEST_MM else ("kitti", 256)
    steps = np.clip(np.rint(per_metre * found.depth.astype(np.float64)), 0, 65535).astype(np.uint16)
    Image.fromarray(steps).save(place.with_name(f"{place.name}_depth_{unit}.png"))


if __name__ == "__main__":
    sys.exit(main())
