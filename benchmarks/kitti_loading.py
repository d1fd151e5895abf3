"""How fast training crops of KITTI come from PNG files and from a pack."""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import torch
import typer

from benchmarks.tables import Table, Target, in_turn, write_section
from ensemble.data import open_source
from ensemble.data.loaders import FrameDataset, TrainingBatches
from ensemble.data.packs.writing import write_pack
from ensemble.data.rooms.drives import write_drives
from ensemble.settings.schema import AugmentationSettings, DataSettings, RoomsSettings

BATCH, CROP = 4, (352, 704)
WANTED = 2.0


def main(
    root: Annotated[Path | None, typer.Option(help="A copy of KITTI; streets are rendered where absent.")] = None,
    repeats: Annotated[int, typer.Option(min=1, help="Of everything that is timed.")] = 7,
) -> None:
    """Measures loading of KITTI and writes its section."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        files, packed = root or Path(folder) / "streets", Path(folder) / "pack"
        if root is None:
            write_drives(files, RoomsSettings(scenes=5, test_scenes=1, frames=2))
        write_pack(files, packed, full=False, data=_settings(files))
        rates = {rotation: _rates(files, packed, rotation, repeats) for rotation in (1.0, 0.0)}
    ratios = {rotation: each["pack"] / each["files"] for rotation, each in rates.items()}
    write_section(
        "kitti_loading",
        "Loading training crops of KITTI",
        targets=[
            Target(
                f"{CROP[0]}x{CROP[1]} crops, pack against PNG files, one core, {what}",
                f">= {WANTED:g}x frames/s",
                f"{ratios[rotation]:.2f}x",
                ratios[rotation] >= WANTED,
                "a crop has all rows of the KB crop, so that a pack saves decoding alone",
            )
            for rotation, what in ((1.0, "rotation +-1"), (0.0, "no rotation"))
        ],
        parts=[
            "Processor time of one core; crops of the 352x1216 pixels of the KB crop.",
            Table(
                ("frames/s", "files", "pack"),
                [
                    (f"rotation +-{angle:g}", f"{each['files']:.1f}", f"{each['pack']:.1f}")
                    for angle, each in rates.items()
                ],
            ),
        ],
    )


def _settings(root: Path, rotation: float = 1.0) -> DataSettings:
    return DataSettings(kind="kitti", root=root, crop=CROP, augmentation=AugmentationSettings(rotation=rotation))


def _rates(files: Path, packed: Path, rotation: float, repeats: int) -> dict[str, float]:
    """Frames per second in this process.

    Raises:
        ValueError: Files and pack give different tensors.
    """
    sets = {}
    for name, root in (("files", files), ("pack", packed)):
        data = _settings(root, rotation)
        source = open_source(data)
        sets[name] = FrameDataset(source, source.frames, data)
    batches = list(TrainingBatches(len(sets["files"]), BATCH, seed=0))
    one, other = (each[batches[0]] for each in sets.values())
    if not all(torch.equal(one[key], other[key]) for key in ("image", "depth", "valid")):
        raise ValueError("files and pack give different tensors")
    calls = dict.fromkeys(sets, 0)

    def load(name: str) -> Callable[[], object]:
        def next_batch() -> object:
            calls[name] += 1
            return sets[name][batches[calls[name] % len(batches)]]

        return next_batch

    tasks = {name: load(name) for name in sets}
    return {name: BATCH / seconds for name, seconds in in_turn(tasks, repeats=repeats, clock=time.process_time).items()}


if __name__ == "__main__":
    typer.run(main)
