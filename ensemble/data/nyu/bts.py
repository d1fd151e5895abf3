"""BTS's copies of NYU Depth v2: JPEG images and 16-bit PNG depth in millimetres, side by side."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32, UInt8

from ensemble.data.copies import Contents, NyuSource
from ensemble.data.formats.images import check_end, read_depth_mm, read_rgb
from ensemble.data.nyu.files import Pair, list_pairs

_MILLIMETRES = np.float32(1000)


@dataclass(frozen=True)
class PairReader:
    """Reads a file with the image and one with millimetres of depth."""

    def image(self, place: Pair) -> UInt8[np.ndarray, "h w 3"]:
        """The image."""
        return read_rgb(place.rgb)

    def depth(self, place: Pair) -> Float32[np.ndarray, "h w"]:
        """Metres, 0 where nothing was measured."""
        return read_depth_mm(place.depth) / _MILLIMETRES

    def check(self, place: Pair) -> None:
        """Both files end as they should."""
        for path in place:
            check_end(path)

    def stamp(self, place: Pair) -> str:
        """The sizes of both files."""
        return " ".join(str(path.stat().st_size) for path in place)

    def where(self, place: Pair) -> str:
        """The file of the depth."""
        return str(place.depth)


def contents(root: Path) -> Contents:
    """The frames of ``sync/`` with its list files, or of ``official_splits/``."""
    entries, problems = list_pairs(root)
    return Contents(NyuSource(root, entries, PairReader()), tuple(problems))
