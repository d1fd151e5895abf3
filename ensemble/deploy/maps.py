"""Depth maps of a stack's learners from elsewhere, fused frame by frame."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Shaped

from ensemble.console import messages, progress
from ensemble.data.formats.images import read_rgb
from ensemble.data.formats.maps import SUFFIXES, DepthFile, depth_files, read_numbers
from ensemble.data.intrinsics import Intrinsics
from ensemble.deploy.door import DepthStack, Unfused
from ensemble.deploy.foreign import APART, FAR_APART, check_scale, check_turned, numbers_read, times_the_others
from ensemble.deploy.map_files import write_maps
from ensemble.photographs.folders import files_below
from ensemble.predictions.foreign.guesses import (
    Figures,
    Sample,
    against_others,
    better_guess,
    rays_for_depth,
    scaled_one_by_one,
)

COMPARED_FRAMES = 10
"""Frames, spread evenly, that are looked at before one is written."""

_IMAGES = (".png", ".jpg", ".jpeg")
_ENDINGS = ", ".join(SUFFIXES)


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
        SettingsError: Others have maps than the learners of the stack.
        ValueError: Learners have maps of different frames, an image is missing, or maps are not as those that were
            imported: of another unit, turned over, with holes, inverse, or normalised one by one.
    """
    stack.check_named(maps, image=images is not None)
    files = {learner: dict(depth_files(place)) for learner, place in maps.items()}
    pictures = {} if images is None else _pictures(images)
    for learner, place in maps.items():
        if not files[learner]:
            raise ValueError(f"--maps {learner}={place}: found no depth map, expected files that end in {_ENDINGS}")
    if images is not None and not pictures:
        raise ValueError(f"--images {images}: found no image, expected files that end in {', '.join(_IMAGES)}")
    names = _shared_names(files)
    if images is not None:
        pictures = _of_frames(pictures, names, images)
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

    def numbers(self, learner: str, name: str) -> Shaped[np.ndarray, "h w"]:
        """Those of a learner's map of a frame; where its import told the unit, they may be as small as 8 bits hold."""
        own = next(each for each in self.stack.header.learners if each.name == learner)
        told = own.imported is not None and own.imported.unit is not None
        return read_numbers(self.files[learner][name], told=told)

    def unfused(self, name: str) -> Unfused:
        """What the learners say of a frame; whatever is wrong with its maps names their files."""
        image = read_rgb(self.pictures[name]) if name in self.pictures else None
        try:
            return self.stack.unfused({learner: self.numbers(learner, name) for learner in self.files}, image)
        except ValueError as error:
            files = ", ".join(str(own[name]) for own in self.files.values())
            raise ValueError(f"{error} (frame {name}: {files})") from error


def _check(frames: _Frames, known: Mapping[str, Unfused]) -> None:
    """Hold maps against those that the stack was fitted to, and against the depth of the other learners."""
    stack = frames.stack
    found = [dict(zip(stack.learners, said.depths[0].cpu().numpy(), strict=True)) for said in known.values()]
    maps = dict[str, list[np.ndarray]]()
    for learner in stack.header.learners:
        if learner.name in frames.files:
            numbers = [frames.numbers(learner.name, frame) for frame in known]
            maps[learner.name] = own = [numbers_read(learner, each) for each in numbers]
            check_scale(learner, own, numbers[0], stack.header.medians)
    if len(stack.learners) < 2:
        _check_turned(stack, maps)
        return
    rays = _rays(stack)
    samples = {
        name: [
            against_others(depths, name, figures=Figures.of(values), rays=rays)
            for depths, values in zip(found, own, strict=True)
        ]
        for name, own in maps.items()
    }
    for name, own in samples.items():
        if rays_for_depth(own, metres=True) > 0:
            messages.print(
                f"maps of {name} are too large towards the edges of frames against the depth of the others, as "
                "distances to the camera in place of depth along its axis are; they are fused as they are"
            )
    guesses = {name: guess for name, own in samples.items() if (guess := better_guess(own)) is not None}
    normalised = [name for name, own in samples.items() if scaled_one_by_one(own)]
    if not guesses and not normalised:
        _check_turned(stack, maps)
        _check_against_others(samples, stack.header.medians)
        return
    suspect = min(guesses, key=lambda name: guesses[name].error / guesses[name].told) if guesses else normalised[0]
    two = len(stack.learners) == 2  # then either may be wrong
    whose = " or of ".join(maps) if two else suspect
    against = "the depth of the other" if two else "the depth of the others"
    if guesses:
        raise ValueError(
            f"{stack.header.name}: maps of {whose} {guesses[suspect].described(against)}; expected maps such as those "
            "that it was fitted to, which lie as the images do"
        )
    raise ValueError(
        f"{stack.header.name}: maps of {whose} have a scale of their own each against {against}, as if every map were "
        "normalised by itself; write depth in one unit for all frames"
    )


def _check_turned(stack: DepthStack, maps: Mapping[str, Sequence[np.ndarray]]) -> None:
    for learner in stack.header.learners:
        check_turned(learner, maps.get(learner.name, ()))


def _check_against_others(samples: Mapping[str, Sequence[Sample]], usual: Mapping[str, float]) -> None:
    """Refuse, or say, that the depth of a learner is farther from that of the others than in training."""
    times = {name: times_the_others(own, name, usual) for name, own in samples.items()}
    name = max(times, key=lambda each: abs(math.log(times[each])))
    off = abs(math.log(times[name]))
    if off <= math.log(APART):
        return
    factor = f"{times[name]:.2f} times as far"
    told = f"maps of {name} are {factor} from those of the other learners as in training"
    if len(usual) == 2:  # then either may be wrong
        other = next(each for each in usual if each != name)
        told = f"maps of {name} are {factor} against those of {other} as in training, or the other way round"
    if off > math.log(FAR_APART):
        raise ValueError(f"{told}, as if one were in another unit; expected the unit and scale of training in all")
    messages.print(f"{told}; they are fused as they are")


def _rays(stack: DepthStack) -> Float32[np.ndarray, "h w"] | None:
    """Distance to the training camera for every metre of depth, at the working size."""
    focal, (height, width) = stack.header.focal, stack.trained_size
    if focal is None:
        return None
    camera = Intrinsics(focal, focal, (width - 1) / 2, (height - 1) / 2)
    return (1 / camera.axis_share((height, width))).astype(np.float32)


def _pictures(folder: Path) -> dict[str, Path]:
    found = dict[str, Path]()
    for path in sorted(path for path in files_below(folder) if path.suffix.lower() in _IMAGES):
        name = path.relative_to(folder).with_suffix("").as_posix()
        if name in found:
            raise ValueError(
                f"--images {folder}: found {found[name].name} and {path.name}, which are one frame by their names; "
                "take one of them away"
            )
        found[name] = path
    return found


def _of_frames(pictures: Mapping[str, Path], names: Sequence[str], folder: Path) -> dict[str, Path]:
    """The images of the frames that have maps; those without maps are left out, and that is said."""
    if missing := [name for name in names if name not in pictures]:
        raise ValueError(
            f"--images {folder}: {len(missing)} of {len(names)} frames with maps have no image (first: {missing[0]}); "
            "expected one of the same name for each"
        )
    if spare := sorted(set(pictures) - set(names)):
        messages.print(f"--images {folder}: {len(spare)} of {len(pictures)} have no maps (first: {spare[0]}): left out")
    return {name: pictures[name] for name in names}


def _shared_names(files: Mapping[str, Mapping[str, DepthFile]]) -> list[str]:
    (first, own), *others = files.items()
    for other, theirs in others:
        if differing := sorted(set(own) ^ set(theirs)):
            without = other if differing[0] in own else first
            raise ValueError(
                f"{first} and {other} have other frames: {len(differing)} are of one alone (first: {differing[0]}, "
                f"which {without} lacks); expected a map of every learner for each, by the same name"
            )
    return sorted(own)
