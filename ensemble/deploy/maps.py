"""Depth maps of a stack's learners from elsewhere, fused frame by frame."""

from collections.abc import Mapping
from pathlib import Path

from ensemble.console import progress
from ensemble.data.formats.images import read_rgb
from ensemble.data.formats.maps import DepthFile, depth_files, read_numbers, save_npy
from ensemble.deploy.door import DepthStack

_IMAGES = (".png", ".jpg", ".jpeg")


def fuse_maps(stack: DepthStack, maps: Mapping[str, Path], images: Path | None, out: Path) -> int:
    """Write ``NAME_depth.npy`` and ``NAME_error.npy`` in metres and ``NAME_weights.npy`` for every frame.

    Args:
        stack: Saved, or of a run.
        maps: Folder of depth maps, or one HDF5 file, of every learner; frames go by the names of the files.
        images: Folder of the images, for a stack that sees them.
        out: Folder to write to.

    Returns:
        The number of frames.

    Raises:
        ValueError: Learners have maps of different frames, or an image is missing.
    """
    files = {learner: dict(depth_files(place)) for learner, place in maps.items()}
    pictures = {} if images is None else _pictures(images)
    names = _shared_names({**files, **({} if images is None else {"--images": pictures})})
    for name in progress(names, "fusing"):
        image = read_rgb(pictures[name]) if name in pictures else None
        found = stack.fuse({learner: read_numbers(own[name]) for learner, own in files.items()}, image)
        place = out / name
        for kind, values in (("depth", found.depth), ("error", found.error), ("weights", found.weights)):
            if values is not None:
                save_npy(place.with_name(f"{place.name}_{kind}.npy"), values)
    return len(names)


def _pictures(folder: Path) -> dict[str, Path]:
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in _IMAGES)
    return {path.relative_to(folder).with_suffix("").as_posix(): path for path in found}


def _shared_names(files: Mapping[str, Mapping[str, DepthFile | Path]]) -> list[str]:
    (first, own), *others = files.items()
    for other, theirs in others:
        if differing := sorted(set(own) ^ set(theirs)):
            raise ValueError(
                f"{first} and {other} have other frames: {len(differing)} are of one alone (first: {differing[0]})"
            )
    return sorted(own)
