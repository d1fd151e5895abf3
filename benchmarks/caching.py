"""The prediction cache: codecs on predictions, what writing adds to running the networks, reading in random order."""

import itertools
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import h5py
import hdf5plugin
import numpy as np
import torch
import typer

from base_learners import LEARNERS
from benchmarks.tables import Table, Target, in_turn, milliseconds, write_section
from ensemble.data.rooms.source import RoomsSource
from ensemble.predictions.store import CacheIdentity, PredictionReader, PredictionWriter
from ensemble.predictions.store.shards import metres, quantise
from ensemble.runs.fingerprints import fingerprint
from ensemble.settings.layers import Choice, learner_settings
from ensemble.settings.schema import RoomsSettings
from ensemble.training.networks import build_learner, predict_depth

SIZE = (480, 640)
MAX_DEPTH = 10.0
SMALLER = "gzip-1, shuffle, fletcher32"
CODECS = {
    "none": {},
    SMALLER: {"compression": "gzip", "compression_opts": 1, "shuffle": True, "fletcher32": True},
    "lzf, shuffle, fletcher32": {"compression": "lzf", "shuffle": True, "fletcher32": True},
    "lz4, shuffle, fletcher32": {**hdf5plugin.LZ4(), "shuffle": True, "fletcher32": True},
    "bitshuffle-lz4, fletcher32": {**hdf5plugin.Bitshuffle(cname="lz4"), "fletcher32": True},
    "zstd-1, shuffle, fletcher32": {**hdf5plugin.Zstd(clevel=1), "shuffle": True, "fletcher32": True},
    "bitshuffle-zstd-1, fletcher32": {**hdf5plugin.Bitshuffle(cname="zstd", clevel=1), "fletcher32": True},
    "blosc2-zstd-1, shuffle, fletcher32": {
        **hdf5plugin.Blosc2(cname="zstd", clevel=1, filters=hdf5plugin.Blosc2.SHUFFLE),
        "fletcher32": True,
    },
}


def main(
    predictions: Annotated[Path | None, typer.Option(help="Folder with shards; rooms' depth where absent.")] = None,
    frames: Annotated[int, typer.Option(min=3, help="Rows that are read and written.")] = 30,
    network_frames: Annotated[int, typer.Option(min=1, help="Frames that the networks see.")] = 2,
    repeats: Annotated[int, typer.Option(min=1, help="Of everything that is timed.")] = 5,
) -> None:
    """Measures the cache and writes its section."""
    torch.set_num_threads(1)
    if predictions is None:
        source = RoomsSource(RoomsSettings(scenes=frames, frames=1), SIZE)
        rows = np.stack([quantise(source.read(frame).depth, max_depth=MAX_DEPTH) for frame in source.frames[:frames]])
        what = "depth of rendered rooms"
    else:
        rows, what = _stored_rows(predictions, frames), "predictions of trained learners on real images"
    table, seconds = _codecs(rows, repeats)
    without, with_writing = _writing(network_frames, repeats)
    reading, memory_map, copied = _reading(rows, repeats)
    ratio = memory_map / reading
    added = with_writing / without - 1
    write_section(
        "caching",
        "The prediction cache",
        targets=[
            Target(
                "writing three learners' rows, uint16, default codec, beside running the networks at 480x640",
                "<= 10 % more",
                f"{added:+.1%} ({1e3 * with_writing:.0f} and {1e3 * without:.0f} ms a frame)",
                added <= 0.1,
            ),
            Target(
                f"reading K = 3, {rows.shape[1]}x{rows.shape[2]}, random order, to metres, against .npy memory maps",
                ">= 80 % of their speed",
                f"{ratio:.0%} ({1e3 * reading:.3f} and {1e3 * memory_map:.3f} ms a row)",
                ratio >= 0.8,
                "both give float32 metres, which is what a fit needs; the difference is the CRC-32 of every row",
            ),
            Target(
                "the same against copying the bytes of the memory maps and nothing else",
                ">= 80 % of their speed",
                f"{copied / reading:.0%} ({1e3 * reading:.3f} and {1e3 * copied:.3f} ms a row)",
                copied >= 0.8 * reading,
                f"turning levels into metres takes {1e3 * (memory_map - copied):.3f} ms of a row, the CRC-32 "
                f"{1e3 * (reading - memory_map):.3f} ms",
            ),
        ],
        parts=[
            f"Codecs on {len(rows)} rows of {rows.shape[1]}x{rows.shape[2]}: {what}. One chunk per row, random order, "
            "processor time of one thread.",
            table,
            "The default is none: a row's own CRC-32 finds what fletcher32 would, and training reads every row once "
            f"an epoch. `base cache --codec gzip` writes {SMALLER}, which h5py alone reads, but "
            f"{seconds[SMALLER] / seconds['none']:.0f} times as slowly; others would need a plugin to be read.",
        ],
    )


def _stored_rows(folder: Path, count: int) -> np.ndarray:
    """Rows of every learner that stands below a folder, the same number of each."""
    shards = sorted(folder.rglob("shard-00000.h5"))
    if not shards:
        raise typer.BadParameter(f"{folder}: expected shards of predictions, found none")
    rows = []
    for path in shards:
        with h5py.File(path, "r") as file:
            rows.extend(file["depth"][: -(-count // len(shards))])
    return np.stack(rows[:count])


def _codecs(rows: np.ndarray, repeats: int) -> tuple[Table, dict[str, float]]:
    lines, seconds = [], {}
    order = np.random.default_rng(0).permutation(len(rows))
    with tempfile.TemporaryDirectory() as folder:
        places = {name: Path(folder) / f"{number}.h5" for number, name in enumerate(CODECS)}
        writing = in_turn(
            {name: _writer_of(places[name], rows, CODECS[name]) for name in CODECS},
            repeats=repeats,
            clock=time.process_time,
        )
        files = {name: h5py.File(place, "r", rdcc_nbytes=0) for name, place in places.items()}
        reading = in_turn(
            {name: _reader_of(files[name]["depth"], order) for name in CODECS}, repeats=repeats, clock=time.process_time
        )
        for name in CODECS:
            size = files[name]["depth"].id.get_storage_size()
            seconds[name] = reading[name] / len(rows)
            lines.append(
                (
                    name,
                    f"{rows.nbytes / size:.2f}x",
                    milliseconds(writing[name] / len(rows)),
                    milliseconds(seconds[name]),
                )
            )
            files[name].close()
    return Table(("codec", "smaller by", "ms to write a row", "ms to read a row"), lines), seconds


def _writer_of(path: Path, rows: np.ndarray, codec: dict) -> Callable[[], None]:
    def write() -> None:
        with h5py.File(path, "w") as file:
            file.create_dataset("depth", data=rows, chunks=(1, *rows.shape[1:]), **codec)

    return write


def _reader_of(dataset: h5py.Dataset, order: np.ndarray) -> Callable[[], None]:
    into = np.empty(dataset.shape[1:], dataset.dtype)

    def read() -> None:
        for row in order:
            dataset.read_direct(into, np.s_[row])

    return read


def _writing(frames: int, repeats: int) -> tuple[float, float]:
    """Wall seconds per frame of three learners without writing their rows, and with it."""
    choice = Choice("nyu", Path(), assignments=["encoder.weights=none"])  # no copy is read
    settings = {name: learner_settings(name, choice) for name in LEARNERS}
    networks = {name: build_learner(each).eval() for name, each in settings.items()}
    images = torch.rand(frames, 3, *SIZE)
    names = itertools.count()

    def predict() -> dict[str, np.ndarray]:
        return {name: predict_depth(each, images, settings[name])[:, 0].numpy() for name, each in networks.items()}

    with tempfile.TemporaryDirectory() as folder, torch.inference_mode():

        def write() -> None:
            for rows in predict().values():
                _write(Path(folder) / str(next(names)), rows)

        seconds = in_turn({"without": predict, "with": write}, repeats=repeats)
    return seconds["without"] / frames, seconds["with"] / frames


def _identity() -> CacheIdentity:
    return CacheIdentity(
        "bts", "fit", None, *(fingerprint(name) for name in ("weights", "preprocessing", "frames", "folds"))
    )


def _write(folder: Path, rows: np.ndarray) -> list[str]:
    ids = [f"frame_{index:05d}" for index in range(len(rows))]
    with PredictionWriter(folder, _identity(), ids, size=rows.shape[1:], max_depth=MAX_DEPTH, mend="") as writer:
        for frame_id, row in zip(ids, rows, strict=True):
            writer.append(frame_id, row)
    return ids


def _reading(levels: np.ndarray, repeats: int) -> tuple[float, float, float]:
    """Seconds per row of three stores in random order, of memory maps with the same levels, and of copying these."""
    rows = metres(levels, max_depth=MAX_DEPTH)
    with tempfile.TemporaryDirectory() as folder:
        readers, maps = [], []
        for learner in range(3):
            place = Path(folder) / str(learner)
            ids = _write(place, rows)
            readers.append(PredictionReader(place, _identity(), ids, size=rows.shape[1:], max_depth=MAX_DEPTH, mend=""))
            np.save(place / "levels.npy", levels)
            maps.append(np.load(place / "levels.npy", mmap_mode="r"))
        order = np.random.default_rng(0).permutation(len(rows))
        seconds = in_turn(
            {
                "cache": lambda: [reader.read(ids[row]) for row in order for reader in readers],
                "maps": lambda: [metres(np.array(each[row]), max_depth=MAX_DEPTH) for row in order for each in maps],
                "bytes": lambda: [np.array(each[row]) for row in order for each in maps],
            },
            repeats=repeats,
            clock=time.process_time,
        )
    cache, to_metres, copied = (seconds[way] / (3 * len(rows)) for way in ("cache", "maps", "bytes"))
    return cache, to_metres, copied


if __name__ == "__main__":
    typer.run(main)
