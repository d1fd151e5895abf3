"""Tells which of the copies of NYU Depth v2 that are about a folder holds, from the names of its files alone."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ensemble.data.nyu_files import LIST_FILES, find_list_file

_WAY_OUT = "reading it is not supported yet; bring it into the layout official_splits/{train,test}/<scene>/rgb_N.jpg"


@dataclass(frozen=True)
class Copy:
    """One of the known copies.

    Attributes:
        key: Short name.
        title: What it is.
        readable: Whether ``nyu`` reads it.
        present: Whether a folder holds it.
        advice: What to do with it.
    """

    key: str
    title: str
    readable: bool
    present: Callable[[Path], bool]
    advice: str = ""


def _has(*patterns: str) -> Callable[[Path], bool]:
    """Whether some file matches one of the patterns."""
    return lambda root: any(next(root.glob(pattern), None) is not None for pattern in patterns)


COPIES: tuple[Copy, ...] = (
    Copy(
        "bts-sync",
        f"BTS sync/ with {LIST_FILES['train']}",
        True,
        lambda root: find_list_file(root, "train") is not None,
    ),
    Copy("bts-official", "BTS official_splits/", True, _has("official_splits/train/*/rgb_*.jpg")),
    Copy(
        "bts-sync-without-list",
        f"BTS sync/ without {LIST_FILES['train']}",
        False,
        _has("sync/*/rgb_*.jpg"),
        f"expected the list file {LIST_FILES['train']} in the folder: without it frames cannot be chosen as published",
    ),
    Copy(
        "labeled-mat",
        "the official nyu_depth_v2_labeled.mat",
        False,
        _has("nyu_depth_v2_labeled.mat"),
        _WAY_OUT,
    ),
    Copy(
        "raw",
        "the raw scene folders (r-*.ppm, d-*.pgm)",
        False,
        _has("*/r-*.ppm", "r-*.ppm", "*/d-*.pgm"),
        "it needs the MATLAB toolbox to align and project depth; take the BTS sync/ copy, made from it",
    ),
    Copy(
        "densedepth",
        "the DenseDepth / Kaggle nyu_data",
        False,
        _has("data/nyu2_train.csv", "nyu2_train.csv", "data/nyu2_train", "nyu2_train"),
        f"its training depth is 8-bit, so its scores differ from published ones, and {_WAY_OUT}",
    ),
    Copy("fastdepth", "the FastDepth HDF5 files", False, _has("train/*/*.h5", "val/official/*.h5"), _WAY_OUT),
    Copy(
        "huggingface",
        "the HuggingFace sayakpaul/nyu_depth_v2 tar files",
        False,
        _has("data/train-*.tar", "train-*.tar"),
        _WAY_OUT,
    ),
    Copy("unidepth", "the UniDepth nyuv2.hdf5", False, _has("nyuv2.hdf5", "nyuv2.h5"), _WAY_OUT),
)


def recognise(root: Path) -> Copy | None:
    """The first known copy that the folder holds."""
    return next((copy for copy in COPIES if copy.present(root)), None)
