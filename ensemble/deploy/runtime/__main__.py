"""``python -m ensemble.deploy.runtime FILE IMAGE... --out DIR``: depth of photographs where torch is not installed.

``python -m ensemble.meta predict`` does the same with pictures and further formats, where all of the package is.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from ensemble.deploy.runtime.sessions import RUNTIMES
from ensemble.deploy.runtime.stack import ExportedStack

FARTHEST_MM = 65.535
"""Metres that 16 bits of millimetres reach; beyond, pictures hold 1/256 m, as KITTI's do."""


def main() -> int:
    """Write ``NAME_depth.npy`` and ``NAME_error.npy`` in metres and ``NAME_depth_mm.png`` of every image.

    Of depth beyond 65.5 m ``NAME_depth_kitti.png``, in 1/256 m.
    """
    asked = _asked()
    try:
        stack = ExportedStack.open(asked.file, runtime=asked.runtime, threads=asked.threads)
        asked.out.mkdir(parents=True, exist_ok=True)
        for path in asked.images:
            with Image.open(path) as file:
                image = ImageOps.exif_transpose(file)
            found = stack(image, fov=asked.fov)
            np.save(asked.out / f"{path.stem}_depth.npy", found.depth)
            if found.error is not None:
                np.save(asked.out / f"{path.stem}_error.npy", found.error)
            unit, per_metre = ("mm", 1000) if found.depth.max() <= FARTHEST_MM else ("kitti", 256)
            steps = np.clip(np.rint(per_metre * found.depth.astype(np.float64)), 0, 65535).astype(np.uint16)
            Image.fromarray(steps).save(asked.out / f"{path.stem}_depth_{unit}.png")
    except (ValueError, OSError, FloatingPointError) as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201  (a command without the console of the others)
        return 1
    print(f"{len(asked.images)} predicted, files in {asked.out}", file=sys.stderr)  # noqa: T201
    return 0


def _asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m ensemble.deploy.runtime", description=main.__doc__)
    parser.add_argument("file", type=Path, help="What python -m ensemble.export has written: .onnx, .xml or .pte.")
    parser.add_argument("images", type=Path, nargs="+", metavar="image", help="Photographs.")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="Folder to write to.")
    parser.add_argument("--runtime", choices=list(RUNTIMES), help="Default: by the ending of the file.")
    parser.add_argument("--threads", type=int, metavar="N", help="Of the processor.")
    parser.add_argument("--fov", type=float, metavar="DEGREES", help="Across the width of the photographs.")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
