"""Recordings of Record3D (``.r3d``): a zip of frames, whose depth is LZFSE of float32 metres."""

import json
import re
import zipfile
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from ensemble.data.formats import LARGEST_MEMBER_BYTES
from ensemble.data.formats.packages import needed

SUFFIX = ".r3d"

_FRAME = re.compile(r"rgbd/(\d{1,9})\.depth")
_SIZES = ((256, 192), (640, 480), (960, 720))
"""Height and width of a phone that is held upright: from LiDAR, and from two kinds of TrueDepth cameras."""


def frames_of(path: Path) -> list[str]:
    """Numbers of the frames, in their order."""
    with zipfile.ZipFile(path) as archive:
        found = [_FRAME.fullmatch(each.filename) for each in archive.infolist()]
    return sorted((match[1] for match in found if match), key=int)


def read_frame(path: Path, number: str | None) -> Float32[np.ndarray, "h w"]:
    """Depth of a frame; rows from the top, metres.

    Raises:
        ValueError: It is damaged, or of a size that neither the recording nor a known camera has.
    """
    library = needed("lzfse", extra="record3d", kind="Record3D's depth", where=path)
    with zipfile.ZipFile(path) as archive:
        entry = archive.getinfo(f"rgbd/{number}.depth")
        if entry.file_size > LARGEST_MEMBER_BYTES:
            raise ValueError(f"frame {number} claims {entry.file_size} bytes, expected {LARGEST_MEMBER_BYTES} at most")
        told = json.loads(archive.read("metadata")) if "metadata" in archive.namelist() else {}
        packed = archive.read(entry)
    try:
        values = np.frombuffer(library.decompress(packed), "<f4")
    except (library.error, ValueError) as error:
        raise ValueError(f"frame {number} is no LZFSE of 32-bit numbers ({error})") from error
    own = (told["dh"], told["dw"]) if isinstance(told, dict) and {"dh", "dw"} <= set(told) else None
    sizes = [own] if own else _SIZES
    size = next((size for size in sizes if size[0] * size[1] == values.size), None)
    if size is None:
        known = " or ".join(f"{height}x{width}" for height, width in sizes)
        raise ValueError(f"frame {number} has {values.size} numbers, expected {known}")
    return values.reshape(size)
