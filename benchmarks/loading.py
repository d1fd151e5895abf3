"""How fast training crops come from JPEG and PNG files and from a pack, and where the time goes."""

import os
import shutil
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
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional

from benchmarks.tables import Table, Target, in_turn, milliseconds, write_section
from ensemble.data import open_source
from ensemble.data.augmentation import changed, draw_change
from ensemble.data.loaders import FrameDataset, TrainingBatches, affordable_workers, loader
from ensemble.data.packs.writing import write_pack
from ensemble.data.rooms.source import write_rooms
from ensemble.data.transforms import Sample
from ensemble.settings.schema import AugmentationSettings, DataSettings, RoomsSettings

BATCH = 8
FORMER = ("files, former",)
LZ4 = "pack, lz4"
STEP_FRAMES, STEP_SECONDS = 32, 0.040
WHY = "augmentation costs the same from either source, so it weighs more in the faster one"
CODECS = {
    "none": {},
    "gzip-1, shuffle": {"compression": "gzip", "compression_opts": 1, "shuffle": True},
    "lz4": dict(hdf5plugin.LZ4()),
    "bitshuffle-lz4": dict(hdf5plugin.Bitshuffle(cname="lz4")),
    "zstd-1": dict(hdf5plugin.Zstd(clevel=1)),
    "zstd-1, shuffle": {**hdf5plugin.Zstd(clevel=1), "shuffle": True},
}
LAYOUTS = {
    "frame": (480, 640),
    "48 rows": (48, 640),
    "120 rows": (120, 640),
    "120x160": (120, 160),
    "48x160": (48, 160),
}
WINDOWS = {"416x544": (slice(30, 474), slice(38, 604)), "228x304": (slice(100, 340), slice(150, 470))}


def main(
    root: Annotated[
        Path | None, typer.Option(help="A copy in the BTS layout; rooms are rendered where absent.")
    ] = None,
    scenes: Annotated[int, typer.Option(min=2, help="How many of its scenes.")] = 12,
    repeats: Annotated[int, typer.Option(min=1, help="Of everything that is timed.")] = 7,
) -> None:
    """Measures loading and writes its section."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        files, packed, smaller = (Path(folder) / name for name in ("copy", "pack", "lz4"))
        _some_scenes(root, scenes, files)
        write_pack(files, packed, full=False)
        write_pack(files, smaller, full=False, codec="lz4")
        data = {name: _settings(place) for name, place in (("files", files), ("pack", packed), (LZ4, smaller))}
        sets = {name: _dataset(each) for name, each in data.items()}
        batches = list(TrainingBatches(len(sets["files"]), BATCH, seed=0))
        for draws in batches[:2]:
            first, *others = (each[draws] for each in sets.values())
            if not all(torch.equal(first[key], other[key]) for other in others for key in ("image", "depth", "valid")):
                raise ValueError("files and packs give different tensors")
        rates = _rates(sets, batches, repeats)
        still = {name: _settings(each.root, rotation=0.0) for name, each in data.items() if each.root is not None}
        unturned = {name: _dataset(each) for name, each in still.items()}
        still_rates = _rates(unturned, batches, repeats, former=False)
        steps = _steps(sets, repeats)
        workers = {name: _with_workers(each) for name, each in sets.items()}
        layouts = _layouts(sets["files"])
        bytes_of = {name: _bytes_below(place) for name, place in (("files", files), ("pack", packed), (LZ4, smaller))}
        frames = len(sets["files"])
    share = {name: parts["augmentation"] / sum(parts.values()) for name, parts in steps.items() if name in sets}
    needed, cores, count = STEP_FRAMES / STEP_SECONDS, os.cpu_count() or 1, affordable_workers(8)
    turned = rates["pack"] / rates["files"]
    unturned_ratio = still_rates["pack"] / still_rates["files"]
    write_section(
        "loading",
        "Loading training crops",
        targets=[
            Target("416x544 crops, pack against files, one core", ">= 3x frames/s", f"{turned:.2f}x", turned >= 3, WHY),
            Target("the same without rotation", ">= 3x frames/s", f"{unturned_ratio:.2f}x", unturned_ratio >= 3, WHY),
            Target(
                "pack against files as they were loaded before",
                ">= 3x frames/s",
                f"{rates['pack'] / rates[FORMER[0]]:.2f}x",
                rates["pack"] / rates[FORMER[0]] >= 3,
                "before, the whole frame was turned and then cut",
            ),
            Target(
                f"8 workers against a stand-in step of 40 ms for 32 frames, {needed:.0f} frames/s",
                "loader never slower",
                f"{rates['pack']:.0f} frames/s a core from a pack, {rates['files']:.0f} from files",
                None if cores < 8 else workers["pack"] >= needed,
                f"{cores} cores here; it takes {needed / rates['pack']:.1f} or {needed / rates['files']:.1f} cores",
            ),
            *(
                Target(f"augmentation, share of loading from {name}", "<= 30 %", f"{part:.0%}", part <= 0.3, WHY)
                for name, part in share.items()
            ),
        ],
        parts=[
            "Times of one core are processor time; those of the loader with workers are wall time.",
            Table(
                ("frames/s", *FORMER, *sets),
                [
                    ("one core", *(f"{rates[name]:.1f}" for name in (*FORMER, *sets))),
                    ("one core, no rotation", "-", *(f"{still_rates[name]:.1f}" for name in sets)),
                    (f"loader, {count} workers", "-", *(f"{workers[name]:.1f}" for name in sets)),
                ],
            ),
            "Where the time of a frame goes, ms (before: the whole frame as floats, turned twice, then cut):",
            Table(
                ("step", *steps),
                [(part, *(milliseconds(parts[part]) for parts in steps.values())) for part in steps["pack"]],
            ),
            "Bytes of a frame: " + ", ".join(f"{name} {size / frames / 1e3:.0f} kB" for name, size in bytes_of.items()),
            "Chunks and codecs of a pack, with fletcher32; the window is what a turned crop of that size reads:",
            layouts,
        ],
    )


def changed_former(sample: Sample, settings: DataSettings, seed: int) -> Sample:
    """How frames were once changed: the whole frame turned by torchvision, then cut, mirrored and tinted."""
    change = draw_change(settings, np.random.default_rng(seed))
    names = [name for name in sample if name != "image"]
    image = functional.rotate(sample["image"], change.degrees, InterpolationMode.BILINEAR)
    turned = functional.rotate(torch.cat([sample[name].to(torch.float32) for name in names]), change.degrees)
    parts = turned.split([len(sample[name]) for name in names])
    moved = {"image": image, **{name: part.to(sample[name].dtype) for name, part in zip(names, parts, strict=True)}}
    if change.area is not None:
        moved = {name: values[:, *change.area.slices] for name, values in moved.items()}
    moved = {name: values.flip(-1) for name, values in moved.items()} if change.mirrored else moved
    if change.tint is not None:
        moved["image"] = functional.adjust_brightness(moved["image"], change.tint.brightness)
        moved["image"] = functional.adjust_contrast(moved["image"], change.tint.contrast)
        moved["image"] = (moved["image"] * torch.tensor(change.tint.colour)[:, None, None]).clamp_(0, 1)
    return {name: values.contiguous() for name, values in moved.items()}


def _some_scenes(root: Path | None, scenes: int, out: Path) -> None:
    """A copy with a few scenes of another one, or rendered rooms."""
    if root is None:
        write_rooms(out, RoomsSettings(scenes=scenes, test_scenes=1, frames=6))
        return
    train = out / "official_splits" / "train"
    train.mkdir(parents=True)
    for scene in sorted((root / "official_splits" / "train").iterdir())[:scenes]:
        shutil.copytree(scene, train / scene.name)


def _settings(root: Path, *, rotation: float = 2.5) -> DataSettings:
    return DataSettings(
        kind="nyu",
        root=root,
        border=(45, 43, 472, 608),
        crop=(416, 544),
        test="held-out",
        augmentation=AugmentationSettings(rotation=rotation),
    )


def _dataset(data: DataSettings) -> FrameDataset:
    source = open_source(data)
    return FrameDataset(source, source.frames, data)


def _rates(sets: dict, batches: list, repeats: int, *, former: bool = True) -> dict[str, float]:
    """Frames per second in this process."""
    calls = dict.fromkeys((*sets, "files, former"), 0)

    def next_batch(name: str) -> list:
        calls[name] += 1
        return batches[calls[name] % len(batches)]

    def load(name: str) -> Callable[[], object]:
        return lambda: sets[name][next_batch(name)]

    def load_former() -> object:
        files = sets["files"]
        samples = [
            changed_former(files.sample(index), files.settings, seed) for index, seed in next_batch("files, former")
        ]
        return {key: torch.stack([sample[key] for sample in samples]) for key in samples[0]}

    tasks = {name: load(name) for name in sets} | ({"files, former": load_former} if former else {})
    return {name: BATCH / seconds for name, seconds in in_turn(tasks, repeats=repeats, clock=time.process_time).items()}


def _steps(sets: dict[str, FrameDataset], repeats: int) -> dict[str, dict[str, float]]:
    """Seconds per frame of the parts of loading."""
    ways = {name: _parts_of(sets["files"], former=True) for name in FORMER}
    ways |= {name: _parts_of(each, former=False) for name, each in sets.items()}
    tasks = {f"{name}: {part}": task for name, parts in ways.items() for part, task in parts.items()}
    seconds = in_turn(tasks, repeats=repeats, clock=time.process_time)
    return {name: {part: seconds[f"{name}: {part}"] / BATCH for part in parts} for name, parts in ways.items()}


def _parts_of(dataset: FrameDataset, *, former: bool) -> dict[str, Callable[[], object]]:
    """Reading, augmentation and batching of a batch, each by itself."""
    changes = [draw_change(dataset.settings, np.random.default_rng(seed)) for seed in range(BATCH)]
    rows = [change.area_read(dataset.settings.size).slices[0] for change in changes]

    def read() -> list[Sample]:
        if former:
            return [dataset.sample(index) for index in range(BATCH)]
        return [dataset.decoded(index, rows[index]) for index in range(BATCH)]

    found = read()

    def change_all() -> list[Sample]:
        if former:
            return [changed_former(each, dataset.settings, seed) for seed, each in enumerate(found)]
        return [changed(each, change) for each, change in zip(found, changes, strict=True)]

    done = change_all()
    return {
        "reading": read,
        "augmentation": change_all,
        "batching": lambda: {key: torch.stack([each[key] for each in done]) for key in done[0]},
    }


def _bytes_below(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.glob("**/*") if path.is_file())


def _with_workers(dataset: FrameDataset) -> float:
    """Frames per second of the loader, after its processes have started."""
    batches = TrainingBatches(len(dataset), BATCH, seed=1)
    fetched = loader(dataset, batches, workers=affordable_workers(8))
    list(fetched)
    batches.set_epoch(1)
    start = time.perf_counter()
    frames = sum(len(batch["frame"]) for batch in fetched)
    return frames / (time.perf_counter() - start)


def _layouts(files: FrameDataset) -> Table:
    """Size of, and time to read a window from, images in several chunks and codecs."""
    raws = [files.source.read(frame) for frame in files.frames[:12]]
    images = np.stack([raw.image.transpose(2, 0, 1) for raw in raws])
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        plans = [(codec, "48 rows") for codec in CODECS] + [
            ("bitshuffle-lz4", layout) for layout in LAYOUTS if layout != "48 rows"
        ]
        for number, (codec, layout) in enumerate(plans):
            path, chunk = Path(folder) / f"{number}.h5", LAYOUTS[layout]
            with h5py.File(path, "w") as file:
                stored = file.create_dataset(
                    "image", data=images, chunks=(1, 3, *chunk), fletcher32=True, **CODECS[codec]
                )
                size = stored.id.get_storage_size()
            with h5py.File(path, "r", rdcc_nbytes=0) as file:
                into = np.zeros(images.shape[1:], np.uint8)
                times = [milliseconds(_window_seconds(file["image"], into, *window)) for window in WINDOWS.values()]
            rows.append((f"{codec}, chunks of {layout}", f"{images.nbytes / size:.2f}x", *times))
    return Table(("image", "smaller by", *(f"ms, {name}" for name in WINDOWS)), rows)


def _window_seconds(dataset: h5py.Dataset, into: np.ndarray, rows: slice, columns: slice) -> float:
    def read(frame: int) -> Callable[[], None]:
        return lambda: dataset.read_direct(into, np.s_[frame, :, rows, columns], np.s_[:, rows, columns])

    return float(
        np.median(
            list(
                in_turn(
                    {str(frame): read(frame) for frame in range(len(dataset))}, repeats=3, clock=time.process_time
                ).values()
            )
        )
    )


if __name__ == "__main__":
    typer.run(main)
