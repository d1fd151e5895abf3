"""Depth maps as another program would leave them: the truth of rooms with noise, in every kind of file."""

from collections.abc import Callable, Mapping
from pathlib import Path

import h5py
import numpy as np
from PIL import Image

from ensemble.data import open_source
from ensemble.data.source import Frame, FrameSource
from ensemble.settings.layers import Choice, learner_settings

Maps = Mapping[str, np.ndarray]


def source_of(config: Path) -> FrameSource:
    return open_source(learner_settings("bts", Choice(config=config)).data)


def noisy_maps(source: FrameSource, split: str, *, noise: float, seed: int) -> dict[str, np.ndarray]:
    """Depth in float32 metres of every frame of a split, wrong by an error of a frame and by errors of pixels."""
    rng = np.random.default_rng(seed)

    def wrong(frame: Frame) -> np.ndarray:
        truth = source.read(frame).depth.astype(np.float64)
        factor = np.exp(rng.normal(0, noise / 2) + rng.normal(0, noise, truth.shape))
        return np.clip(truth * factor, 0.2, 9.9).astype(np.float32)

    return {frame.id: wrong(frame) for frame in source.frames if frame.split == split}


def save_npy(folder: Path, maps: Maps) -> Path:
    for name, metres in maps.items():
        path = folder / f"{name}.npy"
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, metres)
    return folder


def save_flat_millimetres(folder: Path, maps: Maps) -> Path:
    whole = {name.replace("/", "__"): np.rint(metres * 1000).astype(np.int32) for name, metres in maps.items()}
    return save_npy(folder, whole)


def save_npz(folder: Path, maps: Maps) -> Path:
    for name, metres in maps.items():
        path = folder / f"{name}.npz"
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(path, anything=metres.astype(np.float64))
    return folder


def save_png(folder: Path, maps: Maps) -> Path:
    for name, metres in maps.items():
        path = folder / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.rint(metres * 1000).astype(np.uint16)).save(path)
    return folder


def save_hdf5(folder: Path, maps: Maps) -> Path:
    for name, metres in maps.items():
        path = folder / f"{name}.h5"
        path.parent.mkdir(parents=True, exist_ok=True)
        with h5py.File(path, "w") as file:
            file["depth"] = metres
    return folder


def save_one_hdf5(folder: Path, maps: Maps) -> Path:
    """All frames in one file, last frame first."""
    folder.mkdir(parents=True)
    with h5py.File(folder / "all.h5", "w") as file:
        for name, metres in reversed(maps.items()):
            file.create_dataset(name, data=metres, compression="gzip")
    return folder / "all.h5"


def save_twice_as_large(folder: Path, maps: Maps) -> Path:
    return save_npy(folder, {name: np.kron(metres, np.ones((2, 2), np.float32)) for name, metres in maps.items()})


FORMATS: Mapping[str, Callable[[Path, Maps], Path]] = {
    "npy": save_npy,
    "flat whole millimetres": save_flat_millimetres,
    "npz": save_npz,
    "png": save_png,
    "hdf5": save_hdf5,
    "one hdf5": save_one_hdf5,
    "twice as large": save_twice_as_large,
}
