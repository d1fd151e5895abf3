"""Miniatures of every copy of NYU Depth v2: the same nine frames with real names, types, orientation and quirks.

Frames are numbered as in the labeled set, scene by scene; training images have a white border.
"""

import io
import os
import re
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np
from PIL import Image
from scipy.io import savemat

from ensemble.data.nyu.files import LIST_FILES
from ensemble.data.source import Frame

SIZE = (48, 64)
FOLDERS = (
    "kitchen_0028a", "kitchen_0028a", "kitchen_0028b", "bathroom_0011", "bathroom_0011", "bedroom_0004",
    "bedroom_0004", "study_0007", "office_0003",
)  # fmt: skip
"""The recording of every number."""
TEST = frozenset((3, 4, 7))
TRAIN = frozenset(range(len(FOLDERS))) - TEST
HALF_STEP_OF_8_BITS = 10 / 255 / 2


class Content(NamedTuple):
    """What a frame shows: image, in-filled and measured depth in metres (0 in holes)."""

    image: np.ndarray
    filled: np.ndarray
    raw: np.ndarray


def content(number: int, size: tuple[int, int] = SIZE) -> Content:
    generator = np.random.default_rng([2012, number])
    image = np.broadcast_to(np.linspace(20, 180, size[1], dtype=np.uint8)[None, :, None], (*size, 3)).copy()
    image[8:-8, 8:-8] += generator.integers(60, size=(1, 1, 3), dtype=np.uint8)
    for edge in (image[:8], image[-8:], image[:, :8], image[:, -8:]):
        edge[:] = 255
    filled = (1 + 3 * generator.random() + 3 * generator.random(size)).astype(np.float32)
    raw = filled.copy()
    raw[10:16, 20:30] = 0
    return Content(image, filled, raw)


def millimetres(depth: np.ndarray) -> np.ndarray:
    """As BTS writes it: cut off, not rounded."""
    return (depth * 1000.0).astype(np.uint16)


def image_bytes(image: np.ndarray, kind: str) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, kind, **({"quality": 95} if kind == "JPEG" else {}))
    return buffer.getvalue()


def put(path: Path, data: bytes | str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data.encode() if isinstance(data, str) else data)


def put_pair(folder: Path, number: int, size: tuple[int, int] = SIZE) -> None:
    image, _, raw = content(number, size)
    put(folder / f"rgb_{number:05d}.jpg", image_bytes(image, "JPEG"))
    put(folder / f"sync_depth_{number:05d}.png", image_bytes(millimetres(raw), "PNG"))


def labeled_mat(root: Path) -> None:
    """#1: columns first, scenes as references to character codes, a MATLAB header before the HDF5 file."""
    contents = [content(number) for number in range(len(FOLDERS))]
    root.mkdir(parents=True, exist_ok=True)
    path = root / "nyu_depth_v2_labeled.mat"
    with h5py.File(path, "w", userblock_size=512) as file:
        for key, values in {
            "images": np.stack([one.image.transpose(2, 1, 0) for one in contents]),
            "depths": np.stack([one.filled.T for one in contents]),
            "rawDepths": np.stack([one.raw.T for one in contents]),
        }.items():
            file.create_dataset(key, data=values, chunks=(1, *values.shape[1:]), compression=3)
        for key, names in {"scenes": FOLDERS, "sceneTypes": [name.partition("_")[0] for name in FOLDERS]}.items():
            references = np.empty((1, len(names)), h5py.ref_dtype)
            for index, name in enumerate(names):
                text = file.create_dataset(f"#refs#/{key}{index}", data=np.array([[ord(c)] for c in name], np.uint16))
                text.attrs["MATLAB_class"] = np.bytes_("char")
                references[0, index] = text.ref
            file.create_dataset(key, data=references)
    with path.open("r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\0\2IM")
    indices = {"trainNdxs": TRAIN, "testNdxs": TEST}
    savemat(root / "splits.mat", {key: np.array([[n + 1] for n in sorted(of)]) for key, of in indices.items()})


def raw(root: Path) -> None:
    """#2: what the toolbox starts from."""
    put(root / "kitchen_0028a" / "r-1294439283.883635-2310571348.ppm", b"P6\n1 1\n255\n\0\0\0")
    put(root / "kitchen_0028a" / "d-1294439283.864800-2309842276.pgm", b"P5\n1 1\n65535\n\0\0")


def sync(root: Path, third: str = "518.8579", *, lists: str = ".", which: int = 0) -> None:
    """#3: a leading slash in the training list; none, and no final newline, in the test list."""
    lines: dict[bool, list[str]] = {True: [], False: []}
    for number, folder in enumerate(FOLDERS):
        test = number in TEST
        put_pair(root / ("official_splits/test" if test else "sync") / folder, number)
        names = (f"{'' if test else '/'}{folder}/{kind}_{number:05d}" for kind in ("rgb", "sync_depth"))
        lines[test].append(" ".join((next(names) + ".jpg", next(names) + ".png", third)))
    put(root / lists / LIST_FILES["train"][which], "\n".join(lines[False]) + "\n")
    put(root / lists / LIST_FILES["test"][which], "\n".join(lines[True]))


def lapdepth(root: Path) -> None:
    """#3 with LapDepth's lists: names and folder of their own, and a path in the third column."""
    sync(root, third="../elsewhere/dense/sync_depth_dense.png", lists="datasets", which=1)


def official(root: Path) -> None:
    """#4: folders of scene types; test images have a black border."""
    for number, folder in enumerate(FOLDERS):
        split = "test" if number in TEST else "train"
        scene_type = root / "official_splits" / split / folder.partition("_")[0]
        put_pair(scene_type, number)
        if split == "test":
            image = content(number).image
            black = np.zeros_like(image)
            black[8:-8, 8:-8] = image[8:-8, 8:-8]
            put(scene_type / f"rgb_{number:05d}.jpg", image_bytes(black, "JPEG"))


def densedepth(root: Path, size: tuple[int, int] = SIZE) -> None:
    """#5: 8-bit training depth, 16-bit test depth; Windows line ends in one list."""
    lists: dict[str, list[str]] = {"train": [], "test": []}
    for number, folder in enumerate(FOLDERS):
        image, filled, _ = content(number, size)
        if number in TEST:
            names = [f"data/nyu2_test/{number:05d}_{kind}.png" for kind in ("colors", "depth")]
            files = (image_bytes(image, "PNG"), image_bytes(np.rint(filled * 1000).astype(np.uint16), "PNG"))
        else:
            names = [f"data/nyu2_train/{folder}_out/{number}.{suffix}" for suffix in ("jpg", "png")]
            files = (image_bytes(image, "JPEG"), image_bytes(np.rint(filled * 25.5).astype(np.uint8), "PNG"))
        for name, data in zip(names, files, strict=True):
            put(root / name, data)
        lists["test" if number in TEST else "train"].append(",".join(names))
    put(root / "data" / "nyu2_train.csv", "\r\n".join(lists["train"]) + "\r\n")
    put(root / "data" / "nyu2_test.csv", "\n".join(lists["test"]))


def frame_h5(number: int, dtype: type = np.float32) -> bytes:
    image, filled, _ = content(number)
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        file["rgb"] = image.transpose(2, 0, 1)
        file["depth"] = filled.astype(dtype)
    return buffer.getvalue()


def h5_name(number: int) -> str:
    """FastDepth counts from 1."""
    return f"{'val/official' if number in TEST else f'train/{FOLDERS[number]}'}/{number + 1:05d}.h5"


def fastdepth(root: Path, dtype: type = np.float32) -> None:
    """#6: a file per frame."""
    for number in range(len(FOLDERS)):
        put(root / h5_name(number), frame_h5(number, dtype))


def fastdepth_half(root: Path) -> None:
    """#6 with depth of half precision."""
    fastdepth(root, np.float16)


def tars(root: Path) -> None:
    """#7: the files of #6 in archives."""
    archives = {"train-000000": (0, 1, 2), "train-000001": (5, 6, 8), "val-000000": (3, 4), "val-000001": (7,)}
    (root / "data").mkdir(parents=True)
    for name, numbers in archives.items():
        with tarfile.open(root / "data" / f"{name}.tar", "w", format=tarfile.PAX_FORMAT) as tar:
            for number in numbers:
                add_member(tar, h5_name(number), frame_h5(number))


def add_member(tar: tarfile.TarFile, name: str, data: bytes, **fields: object) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    for field, value in fields.items():
        setattr(member, field, value)
    tar.addfile(member, io.BytesIO(data) if data else None)


def unidepth(root: Path) -> None:
    """#8: files as bytes inside of one, and the lists beside them."""
    lists: dict[str, list[str]] = {"nyu_train.txt": [], "nyu_test.txt": []}
    root.mkdir(parents=True, exist_ok=True)
    with h5py.File(root / "nyuv2.hdf5", "w") as file:
        for number, folder in enumerate(FOLDERS):
            image, _, raw_depth = content(number)
            names = f"{folder}/rgb_{number:05d}.jpg", f"{folder}/sync_depth_{number:05d}.png"
            for name, data in zip(
                names, (image_bytes(image, "JPEG"), image_bytes(millimetres(raw_depth), "PNG")), strict=True
            ):
                file[name] = np.frombuffer(data, np.uint8)
            lists["nyu_test.txt" if number in TEST else "nyu_train.txt"].append(" ".join((*names, "518.8579")))
        for name, lines in lists.items():
            file[name] = np.frombuffer(("\n".join(lines) + "\n").encode("ascii"), np.uint8)


class Miniature(NamedTuple):
    """A copy that can be built, and how exactly it keeps depth.

    Attributes:
        build: Writes it into a folder.
        key: Under which it is recognised.
        quantum: Metres: largest error of its training depth.
        filled: Whether its holes are filled.
        first: The number in its names of frame 0.
    """

    build: Callable[[Path], None]
    key: str
    quantum: float = 1e-6
    filled: bool = False
    first: int = 0


MINIATURES = {
    "labeled mat": Miniature(labeled_mat, "labeled-mat"),
    "sync": Miniature(sync, "bts-sync", 1.001e-3),
    "lapdepth": Miniature(lapdepth, "bts-sync", 1.001e-3),
    "official": Miniature(official, "bts-official", 1.001e-3),
    "densedepth": Miniature(densedepth, "densedepth", HALF_STEP_OF_8_BITS + 1e-6, filled=True),
    "fastdepth": Miniature(fastdepth, "fastdepth", filled=True, first=1),
    "fastdepth, half": Miniature(fastdepth_half, "fastdepth", 2e-3, filled=True, first=1),
    "tars": Miniature(tars, "huggingface", filled=True, first=1),
    "unidepth": Miniature(unidepth, "unidepth", 1.001e-3),
}


def number(frame: Frame, miniature: Miniature) -> int:
    """The number of a frame in the labeled set."""
    return int(re.findall(r"\d+", frame.id.rpartition("/")[2])[0]) - miniature.first


class DeadlyReader:
    """A reader that takes its process with it, as the system does when memory is full."""

    def image(self, place: int) -> np.ndarray:
        os._exit(9)

    depth = image
