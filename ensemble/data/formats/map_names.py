"""Which frame a depth map belongs to by the name of its file, whoever wrote it, and what beside it is no map."""

from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import TypeVar

from ensemble.console import counted
from ensemble.console.notices import notice

File = TypeVar("File")

OTHER_ENDINGS = (".geometric", ".photometric", ".depth_meters", "_raw_depth_meter")
"""What COLMAP, Hypersim and Depth Anything V2 put between the name of a frame and the suffix."""

DEPTH = "_depth"
"""What is put there by the commands that predict and fuse, as by many others."""

BESIDE = ("_error", "_weights", "_error_colour", "_depth_colour", "_depth_mm", "_depth_kitti")
"""Of files that these commands write beside a depth map: no depth, or the same once more."""

_IMAGES = (".png", ".jpg", ".jpeg")


def frame_name(path: Path) -> str:
    """Name of a frame that a file goes by; COLMAP keeps the ending of the image in front of its own."""
    name = path.with_suffix("").as_posix()
    ending = next((ending for ending in OTHER_ENDINGS if name.endswith(ending)), None)
    if ending is None:
        return name
    image = Path(name.removesuffix(ending))
    return image.with_suffix("").as_posix() if image.suffix.lower() in _IMAGES else image.as_posix()


def without_ending(
    files: Iterable[tuple[str, File]], place: Path, frames: Collection[str] = ()
) -> Iterator[tuple[str, File]]:
    """The same with ``_depth`` left off names where no map is called so without it, and without what is beside these.

    Args:
        files: Names and what goes by them.
        place: Where they lie, for messages.
        frames: Names that are those of frames as they are.
    """
    given = [(name, file, name in frames or name.replace("__", "/") in frames) for name, file in files]
    written = {name.removesuffix(DEPTH) for name, _, known in given if not known and _ends(name)}
    beside = {f"{name}{ending}" for name in written for ending in BESIDE}
    short = written - {name for name, *_ in given}
    kept = [(name, file, known) for name, file, known in given if known or name not in beside]
    if short:
        notice(f"{place}: {counted(len(short), 'map is', 'maps are')} called NAME{DEPTH}, which count as those of NAME")
    if left := len(given) - len(kept):
        told = f"called as what is written beside NAME{DEPTH} ({', '.join(BESIDE)}): left out"
        notice(f"{place}: {counted(left, 'file is', 'files are')} {told}")
    for name, file, known in kept:
        own = name.removesuffix(DEPTH) if not known and _ends(name) else name
        yield (own if own in short else name), file


def _ends(name: str) -> bool:
    return name.endswith(DEPTH) and Path(name).name != DEPTH
