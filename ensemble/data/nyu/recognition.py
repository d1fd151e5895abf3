"""The copies of NYU Depth v2 that are about: how each is recognised from the names of its files, and opened.

Reading HDF5 and MATLAB files needs libraries that a command line should not load before it knows what it was asked;
so each copy loads its reader when it is opened.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ensemble.data.copies import Contents, NyuSource
from ensemble.data.nyu.files import LIST_FILES, find_list_file
from ensemble.data.source import Split
from ensemble.settings.places import at_home
from ensemble.settings.schema import DataSettings

_LABELED: Mapping[Split, tuple[int, ...]] = {"train": (795,), "test": (654,)}
_NAMES_SHOWN = 8
_BTS_LIST = LIST_FILES["train"][0]


@dataclass(frozen=True)
class Copy:
    """One of the known copies.

    Attributes:
        key: Short name.
        title: What it is.
        layout: Files that it is made of.
        present: Whether a folder holds it.
        contents: Looks through it; takes the folder and whether in-filled depth is wanted. Absent where it cannot be
            read.
        advice: What to do with a copy that cannot be read.
        published: Numbers of frames that it has, or may have.
        eight_bits: Its training depth has 255 steps.
    """

    key: str
    title: str
    layout: str
    present: Callable[[Path], bool]
    contents: Callable[[Path, bool], Contents] | None = None
    advice: str = ""
    published: Mapping[Split, tuple[int, ...]] = field(default_factory=dict)
    eight_bits: bool = False


def recognise(root: Path) -> Copy:
    """The first known copy that the folder holds.

    Raises:
        ValueError: It holds none; the known layouts and what was found are named.
    """
    if root.is_file():
        raise ValueError(f"{root}: is a file; expected the folder that holds it, give {root.parent}")
    if not root.is_dir():
        raise ValueError(f"{root}: no such folder; expected a copy of NYU Depth v2, set data.root or NYU_ROOT")
    found = copies_in(root)
    if not found:
        names = sorted(path.name + "/" * path.is_dir() for path in root.iterdir())
        shown = ", ".join(names[:_NAMES_SHOWN]) + (" ..." if len(names) > _NAMES_SHOWN else "")
        known = "".join(f"\n  {copy.title}: {copy.layout}" for copy in COPIES)
        raise ValueError(f"{root}: expected a copy of NYU Depth v2, found {shown or 'nothing'}. Known copies:{known}")
    return found[0]


def copies_in(root: Path) -> list[Copy]:
    """Every known copy that a folder holds; several where copies were put together."""
    return [copy for copy in COPIES if copy.present(root)]


def look_through(root: Path, *, infilled: bool = False) -> tuple[Copy, Contents]:
    """What a folder holds, with all that is wrong with it.

    Args:
        root: The folder.
        infilled: Take in-filled depth where a copy has both kinds.

    Raises:
        ValueError: There is no known copy, or one that cannot be read.
    """
    copy = recognise(root)
    if copy.contents is None:
        raise ValueError(f"{root}: this looks like {copy.title}, which cannot be read: {copy.advice}")
    return copy, copy.contents(root, infilled)


def open_nyu(root: Path, *, infilled: bool = False) -> NyuSource:
    """The frames of the copy in a folder, whichever it is.

    Args:
        root: The folder.
        infilled: Take in-filled depth where a copy has both kinds, in place of the measured one.

    Raises:
        ValueError: There is no copy that can be read, or something is wrong with it.
    """
    source = look_through(root, infilled=infilled)[1].whole()
    if not source.entries:
        raise ValueError(f"{root}: expected frames, found none. Run: python -m ensemble.data doctor {root}")
    return source


def from_settings(settings: DataSettings) -> NyuSource:
    """The copy in ``data.root``, or in the folder that the environment names.

    Raises:
        ValueError: Neither is set, or there is no good copy there.
    """
    root = settings.root or os.environ.get("NYU_ROOT")
    if not root:
        raise ValueError(
            "data.kind=nyu: expected the folder of a copy of NYU Depth v2 in data.root (--root DIR) "
            "or in the environment variable NYU_ROOT, found neither"
        )
    return open_nyu(at_home(Path(root)), infilled=settings.infilled)


def _has(*patterns: str) -> Callable[[Path], bool]:
    """Whether some file matches one of the patterns."""
    return lambda root: any(next(root.glob(pattern), None) is not None for pattern in patterns)


def _pack(root: Path, infilled: bool) -> Contents:
    from ensemble.data.packs import reading

    return reading.contents(root)


def _pairs(root: Path, infilled: bool) -> Contents:
    from ensemble.data.nyu import bts

    return bts.contents(root)


def _mat(root: Path, infilled: bool) -> Contents:
    from ensemble.data.nyu import mat

    return mat.contents(root, infilled=infilled)


def _densedepth(root: Path, infilled: bool) -> Contents:
    from ensemble.data.nyu import densedepth

    return densedepth.contents(root)


def _fastdepth(root: Path, infilled: bool) -> Contents:
    from ensemble.data.nyu import fastdepth

    return fastdepth.contents(root)


def _tars(root: Path, infilled: bool) -> Contents:
    from ensemble.data.nyu import tars

    return tars.contents(root)


def _unidepth(root: Path, infilled: bool) -> Contents:
    from ensemble.data.nyu import unidepth

    return unidepth.contents(root)


COPIES: tuple[Copy, ...] = (
    Copy("pack", "a training pack of stackdepth", "pack.json, pack-N.h5", _has("pack.json"), _pack),
    Copy(
        "unfinished-pack",
        "a training pack that is not finished",
        "pack-begun.json, pack-N.h5",
        _has("pack-begun.json"),
        advice="give python -m ensemble.data pack ROOT OUT once more, it goes on where it was",
    ),
    Copy(
        "bts-sync",
        "BTS sync",
        "sync/<scene>/rgb_N.jpg, sync_depth_N.png and a list file",
        lambda root: find_list_file(root, "train") is not None,
        _pairs,
        published={"train": (24231, 36253), "test": (654,)},
    ),
    Copy(
        "bts-official",
        "BTS official_splits",
        "official_splits/{train,test}/<scene>/rgb_N.jpg ...",
        _has("official_splits/*/*/rgb_*", "official_splits/*/*/sync_depth_*"),
        _pairs,
        published=_LABELED,
    ),
    Copy(
        "bts-sync-without-list",
        "BTS sync without its list",
        "sync/<scene>/rgb_N.jpg",
        _has("sync/*/rgb_*.jpg"),
        advice=f"put the list file {_BTS_LIST} beside sync/; without it frames cannot be chosen as published",
    ),
    Copy(
        "labeled-mat",
        "the official labeled set",
        "nyu_depth_v2_labeled.mat, splits.mat",
        _has("nyu_depth_v2_labeled.mat"),
        _mat,
        published=_LABELED,
    ),
    Copy(
        "unidepth",
        "UniDepth",
        "nyuv2.hdf5",
        _has("nyuv2.hdf5", "nyuv2.h5"),
        _unidepth,
        published={"train": (24231,), "test": (654,)},
    ),
    Copy(
        "densedepth",
        "DenseDepth / Kaggle nyu_data",
        "data/nyu2_train.csv, nyu2_train/, nyu2_test/",
        _has(*(f"{base}nyu2_train{suffix}" for base in ("", "data/", "nyu_data/data/") for suffix in (".csv", ""))),
        _densedepth,
        published={"train": (50688,), "test": (654,)},
        eight_bits=True,
    ),
    Copy(
        "huggingface",
        "HuggingFace (sayakpaul)",
        "data/train-N.tar, val-N.tar",
        _has("data/train-??????.tar", "train-??????.tar", "data/val-??????.tar", "val-??????.tar"),
        _tars,
        published={"train": (47584,), "test": (654,)},
    ),
    Copy(
        "fastdepth",
        "FastDepth / sparse-to-dense",
        "train/<scene>/N.h5, val/official/N.h5",
        _has(*(f"{base}{split}/*/*.h5" for base in ("", "nyudepthv2/", "nyu_depth_v2/") for split in ("train", "val"))),
        _fastdepth,
        published={"train": (47584,), "test": (654,)},
    ),
    Copy(
        "raw",
        "raw recordings of the Kinect",
        "<scene>/r-*.ppm, d-*.pgm",
        _has("*/r-*.ppm", "r-*.ppm", "*/d-*.pgm", "d-*.pgm"),
        advice=(
            "colour and depth have to be aligned and turned into metres by the dataset's MATLAB toolbox first. "
            f"BTS did so: take its sync/ folder (about 4 GB) and the list {_BTS_LIST}"
        ),
    ),
)
"""In the order in which they are recognised."""
