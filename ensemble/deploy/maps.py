"""Depth maps of a stack's learners from elsewhere, fused frame by frame."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ensemble.console import progress
from ensemble.data.formats.images import read_rgb
from ensemble.data.formats.maps import DepthFile, as_read, depth_files, likely_unit, read_numbers
from ensemble.deploy.door import DepthStack, Unfused
from ensemble.deploy.map_files import write_maps
from ensemble.deploy.saved import SavedLearner
from ensemble.predictions.foreign.checks import ALIGNED_PIXELS, pixels_of
from ensemble.predictions.foreign.guesses import Sample, better_guess, likely_units, scaled_one_by_one
from ensemble.predictions.foreign.scale import of_one_scale
from ensemble.settings.units import per_metre

COMPARED_FRAMES = 10
"""Frames, spread evenly, that are looked at before one is written."""

_IMAGES = (".png", ".jpg", ".jpeg")


def fuse_maps(stack: DepthStack, maps: Mapping[str, Path], images: Path | None, out: Path) -> int:
    """Write ``NAME_depth.npy`` and ``NAME_error.npy`` in metres and ``NAME_weights.npy`` for every frame.

    Args:
        stack: Saved, or of a run.
        maps: Folder of depth maps, or one file with all of them, of every learner; frames go by the names of the files.
        images: Folder of the images, for a stack that sees them.
        out: Folder to write to.

    Returns:
        The number of frames.

    Raises:
        ValueError: Learners have maps of different frames, an image is missing, or maps are not as those that were
            imported: of another unit, turned over, with holes, inverse, or normalised one by one.
    """
    files = {learner: dict(depth_files(place)) for learner, place in maps.items()}
    pictures = {} if images is None else _pictures(images)
    names = _shared_names({**files, **({} if images is None else {"--images": pictures})})
    frames = _Frames(stack, files, pictures)
    looked_at = [names[index] for index in np.unique(np.linspace(0, len(names) - 1, COMPARED_FRAMES).astype(int))]
    known = {name: frames.unfused(name) for name in looked_at}
    _check(frames, known)
    for name in progress(names, "fusing"):
        found = stack.fused(known.pop(name) if name in known else frames.unfused(name))
        place = out / name
        for kind in ("depth", "error", "weights"):
            if kind in found.working:
                write_maps(place.with_name(f"{place.name}_{kind}.npy"), found, kind, "npy")
    return len(names)


@dataclass(frozen=True)
class _Frames:
    """What is to be fused, frame by frame."""

    stack: DepthStack
    files: Mapping[str, Mapping[str, DepthFile]]
    pictures: Mapping[str, Path]

    def unfused(self, name: str) -> Unfused:
        """What the learners say of a frame; whatever is wrong with its maps names their files."""
        image = read_rgb(self.pictures[name]) if name in self.pictures else None
        try:
            return self.stack.unfused({learner: read_numbers(own[name]) for learner, own in self.files.items()}, image)
        except ValueError as error:
            files = ", ".join(str(own[name]) for own in self.files.values())
            raise ValueError(f"{error} (frame {name}: {files})") from error


def _check(frames: _Frames, known: Mapping[str, Unfused]) -> None:
    """Hold the maps of foreign learners against those of their import, and against the depth of the other learners."""
    stack = frames.stack
    found = [dict(zip(stack.learners, said.depths[0].cpu().numpy(), strict=True)) for said in known.values()]
    foreign = {learner.name: learner for learner in stack.header.learners if learner.imported is not None}
    for name, learner in foreign.items():
        _check_scale(learner, [read_numbers(frames.files[name][frame]) for frame in known])
    if len(stack.learners) < 2:
        return
    samples = {name: [_against_others(depths, name) for depths in found] for name in foreign}
    guesses = {name: guess for name, own in samples.items() if (guess := better_guess(own)) is not None}
    normalised = [name for name, own in samples.items() if scaled_one_by_one(own)]
    if not guesses and not normalised:
        return
    suspect = min(guesses, key=lambda name: guesses[name].error / guesses[name].told) if guesses else normalised[0]
    two = len(stack.learners) == 2  # then either may be wrong
    whose = " or of ".join(foreign) if two else suspect
    against = "the depth of the other" if two else "the depth of the others"
    if guesses:
        raise ValueError(
            f"{stack.header.name}: maps of {whose} {guesses[suspect].described(against)}; expected maps such as those "
            "that were imported, which lie as the images do"
        )
    raise ValueError(
        f"{stack.header.name}: maps of {whose} have a scale of their own each against {against}, as if every map were "
        "normalised by itself; write depth in one unit for all frames"
    )


def _check_scale(learner: SavedLearner, maps: Sequence[np.ndarray]) -> None:
    settings = learner.imported
    if settings is None or learner.median is None:
        return
    now = float(np.median([np.median(as_read(numbers, settings)[::4, ::4]) for numbers in maps]))
    if of_one_scale(now, learner.median, settings.alignment):
        return
    unit = settings.unit or likely_unit(maps[0])
    units = likely_units(learner.median / now, per_metre(unit)) if now > 0 else []
    looks = f": it looks like the unit {' or '.join(units)}" if units else ""
    raise ValueError(
        f"maps of {learner.name} have a median of {now:.3g} where it was {learner.median:.3g} in the import{looks}; "
        f"expected the unit and scale of the import ({unit})"
    )


def _against_others(depths: Mapping[str, np.ndarray], name: str) -> Sample:
    """Some pixels of a learner's depth, with the median of the others' in the place of the truth."""
    truth = np.median([depth for other, depth in depths.items() if other != name], axis=0)
    chosen = np.random.default_rng(0).choice(truth.size, min(ALIGNED_PIXELS, truth.size), replace=False)
    own, turned = pixels_of(depths[name], chosen)
    return Sample(own, truth.ravel()[chosen].astype(np.float64), turned)


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
