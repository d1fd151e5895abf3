"""The copies of NYU Depth v2 that are about: how each is recognised from the names of its files, and opened.

Reading HDF5 and MATLAB files needs libraries that a command line should not load before it knows what it was asked;
so each copy loads its reader when it is opened.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ensemble.data.copies import Contents, NyuSource
from ensemble.data.kitti.layout import find_layout
from ensemble.data.nyu.files import LIST_FILES, find_list_file
from ensemble.data.roots import root_of
from ensemble.data.source import Split
from ensemble.settings.kinds import KITTI, OWN
from ensemble.settings.schema import DataSettings
from ensemble.settings.trees import SettingsError

_LABELED: Mapping[Split, tuple[int, ...]] = {"train": (795,), "test": (654,)}
_NAMES_SHOWN = 8
OWN_DATA = "Images and depth maps of your own"
_BTS_LIST = LIST_FILES["train"][0]


@dataclass(frozen=True)
class Copy:
    """One of the known copies.

    Attributes:
        layout: Files that it is made of.
        present: Whether a folder holds it.
        reader: Which module looks through it; empty where it cannot be read.
        advice: What to do with a copy that cannot be read.
        published: Numbers of frames that it has, or may have.
        eight_bits: Its training depth has 255 steps.
    """

    key: str
    title: str
    layout: str
    present: Callable[[Path], bool]
    reader: str = ""
    advice: str = ""
    published: Mapping[Split, tuple[int, ...]] = field(default_factory=dict)
    eight_bits: bool = False


def recognise(root: Path) -> Copy:
    """The first known copy that the folder holds; where it holds none, what was found and known layouts are named."""
    if root.is_file():
        raise SettingsError(f"{root}: is a file; expected the folder that holds it, give {root.parent}")
    if not root.is_dir():
        raise SettingsError(
            f"{root}: no such folder; expected a copy of NYU Depth v2 (data.root or NYU_ROOT), or data of another kind "
            "with --data"
        )
    found = copies_in(root)
    if not found:
        names = sorted(path.name + "/" * path.is_dir() for path in root.iterdir())
        shown = ", ".join(names[:_NAMES_SHOWN]) + (" ..." if len(names) > _NAMES_SHOWN else "")
        known = "".join(f"\n  {copy.title}: {copy.layout}" for copy in COPIES)
        drives = f"\nDrives of KITTI: add --data {KITTI}" if find_layout(root).raw else ""
        own = f"{drives}\n{OWN_DATA}: add --data {OWN}, which packs do not hold; configs/data/{OWN}.yaml says the rest"
        raise ValueError(
            f"{root}: expected a copy of NYU Depth v2, found {shown or 'nothing'}. Known copies:{known}{own}"
        )
    return found[0]


def copies_in(root: Path) -> list[Copy]:
    """Every known copy that a folder holds; several where copies were put together."""
    return [copy for copy in COPIES if copy.present(root)]


def look_through(root: Path, *, infilled: bool = False) -> tuple[Copy, Contents]:
    """What a folder holds, with all that is wrong with it; in-filled depth where asked for and a copy has both kinds.

    Raises:
        ValueError: There is no known copy, or one that cannot be read.
    """
    copy = recognise(root)
    if not copy.reader:
        raise ValueError(f"{root}: this looks like {copy.title}, which cannot be read: {copy.advice}")
    contents_of = _contents_by(copy.reader)
    return copy, contents_of(root, infilled=infilled) if copy.reader == "mat" else contents_of(root)


def open_nyu(root: Path, *, infilled: bool = False) -> NyuSource:
    """The frames of the copy in a folder, whichever it is, with in-filled depth where asked for and it has both kinds.

    Raises:
        ValueError: There is no copy that can be read, or something is wrong with it.
    """
    source = look_through(root, infilled=infilled)[1].whole()
    if not source.entries:
        raise ValueError(f"{root}: expected frames, found none. Run: python -m ensemble.data doctor {root}")
    return source


def from_settings(settings: DataSettings) -> NyuSource:
    """The copy in ``data.root``, or in the folder that ``NYU_ROOT`` names; refused where neither is a good one."""
    return open_nyu(root_of(settings), infilled=settings.infilled)


def _has(*patterns: str) -> Callable[[Path], bool]:
    """Whether some file matches one of the patterns."""
    return lambda root: any(next(root.glob(pattern), None) is not None for pattern in patterns)


def _contents_by(reader: str) -> Callable[..., Contents]:
    """What looks through a copy; no other reader is loaded."""
    if reader == "pack":
        from ensemble.data.packs import reading as module
    elif reader == "bts":
        from ensemble.data.nyu import bts as module
    elif reader == "mat":
        from ensemble.data.nyu import mat as module
    elif reader == "densedepth":
        from ensemble.data.nyu import densedepth as module
    elif reader == "fastdepth":
        from ensemble.data.nyu import fastdepth as module
    elif reader == "tars":
        from ensemble.data.nyu import tars as module
    else:
        from ensemble.data.nyu import unidepth as module
    return module.contents


COPIES: tuple[Copy, ...] = (
    Copy("pack", "a training pack of stackdepth", "pack.json, pack-N.h5", _has("pack.json"), "pack"),
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
        "bts",
        published={"train": (24231, 36253), "test": (654,)},
    ),
    Copy(
        "bts-official",
        "BTS official_splits",
        "official_splits/{train,test}/<scene>/rgb_N.jpg ...",
        _has("official_splits/*/*/rgb_*", "official_splits/*/*/sync_depth_*"),
        "bts",
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
        "mat",
        published=_LABELED,
    ),
    Copy(
        "unidepth",
        "UniDepth",
        "nyuv2.hdf5",
        _has("nyuv2.hdf5", "nyuv2.h5"),
        "unidepth",
        published={"train": (24231,), "test": (654,)},
    ),
    Copy(
        "densedepth",
        "DenseDepth / Kaggle nyu_data",
        "data/nyu2_train.csv, nyu2_train/, nyu2_test/",
        _has(*(f"{base}nyu2_train{suffix}" for base in ("", "data/", "nyu_data/data/") for suffix in (".csv", ""))),
        "densedepth",
        published={"train": (50688,), "test": (654,)},
        eight_bits=True,
    ),
    Copy(
        "huggingface",
        "HuggingFace (sayakpaul)",
        "data/train-N.tar, val-N.tar",
        _has("data/train-??????.tar", "train-??????.tar", "data/val-??????.tar", "val-??????.tar"),
        "tars",
        published={"train": (47584,), "test": (654,)},
    ),
    Copy(
        "fastdepth",
        "FastDepth / sparse-to-dense",
        "train/<scene>/N.h5, val/official/N.h5",
        _has(*(f"{base}{split}/*/*.h5" for base in ("", "nyudepthv2/", "nyu_depth_v2/") for split in ("train", "val"))),
        "fastdepth",
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
