"""Depth maps in the containers of other systems: one reader a suffix, which gives the numbers as they stand there.

What they count is another question: ``ensemble.settings.units`` says how many are a metre.
"""

import math
import re
import struct
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Shaped

from ensemble.data.formats import LARGEST_MEMBER_BYTES
from ensemble.data.formats.exr import read_exr
from ensemble.data.formats.images import decode_depth, decoded, file_content

DATASET = "depth"
"""Name of the depth map among several arrays of a file."""

_DPT_MARK = struct.pack("<f", 202021.25)
_BETWEEN = rb"(?:\s|#[^\n]*\n)+"  # comments as in the other kinds of Netpbm, which some writers put here too
_PFM_HEAD = re.compile(rb"(P[fF])%b(\d+)%b(\d+)%b(\S+)[\t\n\r ]" % (_BETWEEN, _BETWEEN, _BETWEEN))
_COLMAP_HEAD = re.compile(rb"(\d{1,6})&(\d{1,6})&(\d{1,6})&")

_FOUR_CHANNELS = bytes((8, 6))
"""In the head of a PNG: 8 bits of red, green, blue and alpha."""
_LIKELY_FLOATS = 1e-6, 1e30
"""What four bytes of a depth map are between; of a picture that hides nothing they are negative or no number."""

Numbers = Shaped[np.ndarray, "h w"]


def read_png(path: Path) -> Numbers:
    """Whole numbers of 16 bits; or real ones, whose four bytes stand as blue, green, red and alpha (TartanAir V2).

    Source: ``read_decode_depth`` of TartanAir's tools views what OpenCV reads as little-endian float32.
    """
    content = file_content(path)
    if content[24:26] != _FOUR_CHANNELS:
        return decode_depth(content, str(path))
    pixels = np.asarray(decoded(content, str(path)))
    values = np.ascontiguousarray(pixels[..., [2, 1, 0, 3]]).view("<f4")[..., 0]
    least, most = _LIKELY_FLOATS
    if odd := int(np.count_nonzero(~((values > least) & (values < most)))):
        raise ValueError(
            f"found a picture in colour, which has lost its scale: read as TartanAir's, four bytes for a number, {odd} "
            f"of {values.size} pixels are no depth; take the original depth files"
        )
    return values


def read_npy(path: Path) -> Numbers:
    """One array (``numpy.save``)."""
    return np.lib.format.open_memmap(path, mode="r")  # a map cannot claim more than the file holds


def read_npz(path: Path) -> Numbers:
    """The only array, or that called ``depth`` (Depth Pro and others keep confidences and cameras beside it)."""
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        chosen = members if len(members) == 1 else [each for each in members if each.filename == f"{DATASET}.npy"]
        if len(chosen) != 1 or chosen[0].file_size > LARGEST_MEMBER_BYTES:
            sizes = sum(each.file_size for each in members)
            raise ValueError(f"{len(members)} arrays of {sizes} bytes, expected one, or one called {DATASET}")
        with archive.open(chosen[0]) as stream:
            return np.lib.format.read_array(stream, allow_pickle=False)


def read_hdf5(path: Path, name: str | None = None) -> Numbers:
    """The dataset of that name, else that called ``depth``, else the only one."""
    from ensemble.data.formats.hdf5 import member, member_names, opened, read_all  # h5py, when there is such a file

    with opened(path, str(path)) as file:
        names = member_names(file, "")
        lone = next(iter(names)) if len(names) == 1 else DATASET
        chosen = name or (DATASET if DATASET in names else lone)
        dataset = member(file, chosen)
        check_map(dataset.shape, dataset.dtype)
        return read_all(dataset, chosen)


def read_pfm(path: Path) -> Float32[np.ndarray, "h w"]:
    """A portable float map with one channel; rows come from the bottom.

    A scale other than 1 or -1 is refused, because readers differ in what they make of it.

    Source: Debevec's description of the format; the sign of the scale tells the order of bytes.
    """
    content = file_content(path)
    head = _PFM_HEAD.match(content)
    if head is None or head[1] != b"Pf":
        raise ValueError("found no header of a float map with one channel (Pf)")
    width, height, scale = int(head[2]), int(head[3]), float(head[4])
    if abs(scale) != 1:
        raise ValueError(f"found the scale {scale:g}, which readers treat differently; expected 1 or -1")
    kind = "<f4" if scale < 0 else ">f4"
    return _values(content[head.end() :], kind, height, width)[::-1]


def read_tiff(path: Path) -> Numbers:
    """Real numbers of 32 bits, or whole ones of 16."""
    image = decoded(file_content(path), str(path))
    if image.mode not in ("F", "I;16"):
        raise ValueError(f"found mode {image.mode!r}, expected real numbers of 32 bits or whole ones of 16")
    return np.asarray(image)


def read_dpt(path: Path) -> Float32[np.ndarray, "h w"]:
    """A depth map of MPI Sintel: the number 202021.25, width, height, rows from the top, all little-endian."""
    content = file_content(path)
    if content[:4] != _DPT_MARK or len(content) < 12:
        raise ValueError("found no mark of a depth map (202021.25)")
    width, height = struct.unpack("<ii", content[4:12])
    return _values(content[12:], "<f4", height, width)


def read_colmap(path: Path) -> Float32[np.ndarray, "h w"]:
    """A dense map of COLMAP: ``width&height&channels&``, then rows from the top in the unit of the reconstruction."""
    content = file_content(path)
    head = _COLMAP_HEAD.match(content)
    if head is None or head[3] != b"1":
        raise ValueError("found no header of a map with one channel (width&height&1&)")
    return _values(content[head.end() :], "<f4", int(head[2]), int(head[1]))


READERS: Mapping[str, Callable[[Path], Numbers]] = {
    ".png": read_png,
    ".npy": read_npy,
    ".npz": read_npz,
    ".h5": read_hdf5,
    ".hdf5": read_hdf5,
    ".pfm": read_pfm,
    ".tif": read_tiff,
    ".tiff": read_tiff,
    ".dpt": read_dpt,
    ".bin": read_colmap,
    ".exr": read_exr,
}
"""By the end of a file's name; each raises ``ValueError`` on what is something else or damaged."""


def check_map(shape: tuple[int, ...], dtype: np.dtype) -> tuple[int, int]:
    """Height and width of an array that is a depth map, maybe with further axes of length 1.

    Raises:
        ValueError: It is none.
    """
    sides = [length for length in shape if length != 1] if len(shape) > 2 else [*shape]
    if len(sides) != 2 or not all(sides):
        raise ValueError(f"expected a depth map of height x width, found an array of shape {shape}")
    if dtype.kind not in "fui":
        raise ValueError(f"expected real numbers (metres) or whole ones (millimetres), found {dtype}")
    if dtype.itemsize == 1:
        raise ValueError(f"expected depth of 16 bits or more, found {dtype}: 8 bits have lost the scale")
    return sides[0], sides[1]


def _values(content: bytes, kind: str, height: int, width: int) -> Float32[np.ndarray, "h w"]:
    expected = math.prod((height, width)) * 4
    if height < 1 or width < 1 or len(content) != expected:
        raise ValueError(f"{height}x{width} numbers take {expected} bytes, found {len(content)}")
    return np.frombuffer(content, kind).reshape(height, width).astype(np.float32)
