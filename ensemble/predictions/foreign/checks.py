"""What depth maps from elsewhere say before one of them is believed: their size, their unit, their scale."""

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float32, Float64
from torch import Tensor

from ensemble.console import progress
from ensemble.data.division import Experiment
from ensemble.data.formats.maps import (
    DepthFile,
    as_read,
    check_marks,
    check_shape,
    check_values,
    has_shape_of,
    likely_unit,
    mended_by,
    read_numbers,
    too_small,
)
from ensemble.data.source import Frame, FrameSource
from ensemble.data.transforms import bring_to_size, valid_depth
from ensemble.metrics.protocols import enlarged
from ensemble.predictions.foreign.guesses import (
    CLEARLY,
    DEPTH,
    INVERSE,
    KNOWN_FACTORS,
    LOGARITHM,
    LOGARITHM_1,
    NEGATED,
    SAMPLED_PIXELS,
    Figures,
    Profile,
    Sample,
    better_guess,
    likely_units,
    pixels_of,
    rays_for_depth,
    row_profile,
    scaled_one_by_one,
)
from ensemble.predictions.foreign.record import import_command
from ensemble.runs.paths import FULL, Outputs, fold_model
from ensemble.settings.names import Role
from ensemble.settings.schema import DataSettings, ImportSettings
from ensemble.settings.units import per_metre

FOCAL = "PIXELS"
"""Stands in a command for a focal length that nobody has said yet."""

LIKELY_RATIO = 2.0
"""How far the median of truth over depth may be from 1, either way, before depth counts as without a scale."""

SAME_FOCAL = 1.1
"""How far a focal length may be from that of the images' camera, either way."""

MIXED = 100
"""How many times the median depth of a frame may be that of the frames before it, either way, in one unit."""

LOOKED_AT, ANY_BETTER = 10, 0.95
"""Frames that are looked at where a map cannot be what was told, and the share of the scatter that suffices then."""

ALIGNED_FRAMES = 1000
"""Frames, spread evenly, that are held against the truth of training."""


@dataclass(frozen=True)
class ImportRequest:
    """An import as it was asked for."""

    settings: ImportSettings  # of the learner; its alignment is decided by the rows
    place: Path  # folder of depth maps, or one file with all of them
    role: Role  # what the frames are
    align: bool = False  # fit a scale and a shift, or use those that were fitted to rows of training before
    relative: bool = False  # the user says that the maps have no scale
    axis: bool = False  # the user says that depth is along the axis, whatever its error looks like
    rebuild: bool = False  # throw the rows of this role away first
    options: tuple[str, ...] = ()  # of the command line that chose data and experiment file, for commands in messages
    places: Mapping[Role, Path] = field(default_factory=dict)  # by role, where all are imported at once

    @property
    def form(self) -> str:
        """What the maps hold, of ``FORMS``."""
        return INVERSE if self.settings.inverse else DEPTH

    def command(self, outputs: Outputs, *, align: bool = False, **changes: object) -> str:
        """This import as a command line; ``align`` asks for scale and shift even if this import does not.

        Args:
            outputs: Where the cache is.
            align: Ask for scale and shift.
            changes: Of the settings.
        """
        told = [*(["--relative"] if self.relative else []), *(["--no-ray"] if self.axis else [])]
        return import_command(
            outputs,
            self.settings.model_copy(update=changes),
            self.role,
            model=model_of(self.settings.fold),
            folder=self.place,
            places=self.places,
            align=align or self.align,
            options=(*told, *self.options),
        )

    def refuse_unit(self, problem: str, outputs: Outputs, samples: Sequence[Sample], unit: str) -> None:
        """Stop where another known unit than that which was read brings depth to its truth, and name it.

        Raises:
            ValueError: There is such a unit, neither metres nor millimetres; the message holds the command.
        """
        depths, truth = (
            np.concatenate(part)
            for part in ([sample.depths for sample in samples], [sample.truth for sample in samples])
        )
        if not len(truth) or not (depths > 0).all() or self.settings.inverse:
            return
        units = [name for name in likely_units(float(np.median(truth / depths)), per_metre(unit)) if name != unit]
        if units and (self.settings.unit is not None or not {"m", "mm"} & {*units}):
            told = " or ".join(f"{KNOWN_FACTORS[name]:g} per metre: --unit {name}" for name in units)
            raise ValueError(f"{problem}: it looks like {told}.\nRun: {self.command(outputs, unit=units[0])}")

    def refuse_rays(self, outputs: Outputs, samples: Sequence[Sample]) -> None:
        """Stop where maps hold distances to the camera in the place of depth, or the other way round.

        Raises:
            ValueError: Frames agree on it; the message holds the command.
        """
        found = 0 if self.axis else rays_for_depth(samples, self.form, metres=not self.align)
        told = self.settings.rays is not None
        if told and found < 0:
            raise ValueError(
                f"{self.place}: depth is too small towards the edges of frames, as depth along the axis is once it was "
                f"taken for the distance to the camera.\nRun: {self.command(outputs, rays=None)}"
            )
        if not told and found > 0:
            words = ("--ray", "--focal", FOCAL, *self.options)
            distances = replace(self, options=words).command(outputs)
            raise ValueError(
                f"{self.place}: depth is too large towards the edges of frames, as the distance to the camera is in "
                f"place of depth along its axis; say so with the focal length in pixels of a map for {FOCAL}, or, if "
                f"the error has another reason, give --no-ray.\nRun: {distances}"
            )

    def refuse_focal(self, outputs: Outputs, source: FrameSource, frame: Frame, shape: tuple[int, ...]) -> None:
        """Stop where distances would be brought to depth by another focal length than that of the images' camera.

        Args:
            outputs: Where the cache is.
            source: Which may know the camera; it is read only where a focal length was told.
            frame: Of the source.
            shape: Height and width of the frame's map.

        Raises:
            ValueError: It is clearly another one; the message holds the command.
        """
        rays = self.settings.rays
        if rays is None or (raw := source.read(frame)).intrinsics is None:
            return
        size = rays.size or (shape[0], shape[1])
        known = raw.intrinsics.resized((raw.depth.shape[0], raw.depth.shape[1]), size).fx
        if abs(math.log(rays.focal / known)) > math.log(SAME_FOCAL):
            right = rays.model_copy(update={"focal": round(known, 1)})
            raise ValueError(
                f"{self.place}: --focal {rays.focal:g}: expected about that of the camera of the images, {known:.4g} "
                f"pixels in a map of {size[0]}x{size[1]}.\nRun: {self.command(outputs, rays=right)}"
            )

    def refuse_better_guess(self, outputs: Outputs, samples: Sequence[Sample], *, clearly: float = CLEARLY) -> None:
        """Stop where maps that are turned over, or hold something else than was told, fit the truth clearly better.

        Raises:
            ValueError: They do; the message says what fits, and what mends it.
        """
        guess = better_guess(samples, self.form, clearly=clearly)
        if guess is None:
            return
        problem = f"{self.place}: the maps {guess.described()}"
        if guess.turned:
            raise ValueError(f"{problem}; turn them back")
        if guess.form == LOGARITHM:
            raise ValueError(f"{problem}; write depth itself, the exponential of every number")
        if guess.form == LOGARITHM_1:
            raise ValueError(f"{problem}; write depth itself, the exponential of every number less 1")
        if guess.form == NEGATED:
            raise ValueError(f"{problem}; write depth itself, which grows with the distance")
        inverse = guess.form == INVERSE
        raise ValueError(f"{problem}.\nRun: {self.command(outputs, align=inverse, inverse=inverse)}")

    def refuse_one_by_one(self, samples: Sequence[Sample], advice: str = "") -> None:
        """Stop where every map has a scale of its own, which no alignment mends.

        Raises:
            ValueError: They have.
        """
        if scaled_one_by_one(samples, self.form):
            raise ValueError(
                f"{self.place}: every map has a scale of its own, as if each were normalised by itself; one scale and "
                "shift for all cannot mend that, and those of test frames are not known. Write depth in one unit for "
                f"all frames{advice}"
            )


@dataclass(frozen=True)
class CheckedMaps:
    """What all maps of a role say before one of them is stored."""

    content: Mapping[str, str]  # fingerprint of the maps, by model
    median: Mapping[str, float]  # of the depth of every frame, as read
    samples: tuple[Sample, ...]  # valid pixels of some frames; none where no truth may be read
    unit: str  # that they were read in
    profiles: Mapping[str, Profile]  # of every frame

    @property
    def depths(self) -> Float64[np.ndarray, " n"]:
        """Of all sampled pixels, as read."""
        return np.concatenate([sample.depths for sample in self.samples] or [np.empty(0)])

    @property
    def truth(self) -> Float64[np.ndarray, " n"]:
        """Metres at these pixels."""
        return np.concatenate([sample.truth for sample in self.samples] or [np.empty(0)])


def model_of(fold: int | None) -> str:
    """The model that rows belong to: that of a fold, or the full fit."""
    return FULL if fold is None else fold_model(fold)


def check_maps(
    request: ImportRequest,
    experiment: Experiment,
    models: Mapping[str, Sequence[Frame]],
    files: Mapping[str, DepthFile],
) -> CheckedMaps:
    """Look at every map: size, finite numbers, unit; and at a sample of the truth where the role is one of training."""
    source, outputs, settings = experiment.source, experiment.outputs, request.settings
    data, every = settings.data, [frame for part in models.values() for frame in part]
    sizes = {data.size, source.read_image(every[0]).shape[:2]}
    compared = _compared(request, every)
    digests = {model: hashlib.sha256() for model in models}
    owner = {frame.id: model for model, part in models.items() for frame in part}
    rng, medians, profiles = np.random.default_rng(0), {}, {}
    samples, unit = list[Sample](), settings.unit or "m"
    known = [each for each in every if each.id in compared]
    for frame in progress(every, "checking"):
        with mended_by(request.command(outputs)):
            numbers = read_numbers(files[frame.id], told=True)
        if settings.unit is None and (problem := too_small(files[frame.id], numbers)):
            request.refuse_unit(problem, outputs, _sampled_frames(request, experiment, known, files), "mm")
            with mended_by(request.command(outputs)):
                raise ValueError(problem)
        with mended_by(request.command(outputs)):
            metres = as_read(numbers, settings)
            where = f"{files[frame.id]} (frame {frame.id})"
            if not has_shape_of(sizes, metres.shape):
                sizes.add(source.read_image(frame).shape[:2])
            check_shape(metres.shape, where, sizes)
            check_marks(numbers, where)
        head = f"{frame.id} {numbers.dtype.str} {numbers.shape}\n"
        digests[owner[frame.id]].update(head.encode() + np.ascontiguousarray(numbers).tobytes())
        medians[frame.id] = float(np.median(metres[::4, ::4]))
        sample = None
        if frame.id in compared and np.isfinite(metres).all():
            if not samples:
                request.refuse_focal(outputs, source, frame, metres.shape)
            sample = _sampled(metres, source, frame, data, rng)
            samples.append(sample)
        others = partial(_sampled_frames, request, experiment, known, files, but=frame)
        if not request.align and _is_no_depth(metres, data):
            several = _sampled_frames(request, experiment, known, files)
            _refuse_by_several(request, outputs, several, negative=bool((metres < 0).any()))
        if not request.align and settings.unit is None and (metres == 0).any():  # as the nearest are from 0 to 1
            request.refuse_one_by_one(_sampled_frames(request, experiment, known, files))
        with mended_by(request.command(outputs)):
            check_values(metres, where, positive=not request.align)
        profiles[frame.id] = row_profile(metres)
        unit = settings.unit or likely_unit(numbers)
        if not request.align:
            _check_unit(metres, medians, frame, request, outputs, sample, unit, others)
    content = {model: digest.hexdigest() for model, digest in digests.items()}
    return CheckedMaps(content, medians, tuple(samples), unit, profiles)


def _is_no_depth(metres: Float32[np.ndarray, "h w"], data: DataSettings) -> bool:
    """Whether some numbers are below 0 or beyond the largest depth, which metres of no frame are."""
    return bool((metres < 0).any() or (metres > data.max_depth).any())


def _refuse_by_several(request: ImportRequest, outputs: Outputs, samples: Sequence[Sample], *, negative: bool) -> None:
    """Refuse maps with numbers that are no depth by what else they are, if several frames show it.

    Numbers below 0 may be the logarithm of depth, those beyond the largest depth distances to the camera.
    """
    if samples:
        request.refuse_better_guess(outputs, samples, clearly=ANY_BETTER if negative else CLEARLY)
    if not negative:
        request.refuse_rays(outputs, samples)


def _sampled_frames(
    request: ImportRequest,
    experiment: Experiment,
    frames: Sequence[Frame],
    files: Mapping[str, DepthFile],
    *,
    but: Frame | None = None,
) -> list[Sample]:
    """Valid pixels of some of these frames, spread evenly, ``but`` one."""
    frames = [frame for frame in frames if frame != but]
    spread = np.unique(np.linspace(0, len(frames) - 1, min(LOOKED_AT, len(frames))).astype(int))
    data, rng, samples = request.settings.data, np.random.default_rng(0), list[Sample]()
    for frame in (frames[index] for index in spread):
        values = as_read(read_numbers(files[frame.id], told=True), request.settings)
        if np.isfinite(values).all():
            samples.append(_sampled(values, experiment.source, frame, data, rng))
    return samples


def _compared(request: ImportRequest, frames: Sequence[Frame]) -> set[str]:
    """Frames, spread evenly, whose truth is read; none where it is that of test frames."""
    spread = np.linspace(0, len(frames) - 1, min(ALIGNED_FRAMES, len(frames))).astype(int)
    return set() if request.role == "test" else {frames[index].id for index in spread}


def _check_unit(
    metres: Float32[np.ndarray, "h w"],
    medians: Mapping[str, float],
    frame: Frame,
    request: ImportRequest,
    outputs: Outputs,
    sample: Sample | None,
    unit: str,
    others: Callable[[], Sequence[Sample]],
) -> None:
    """Refuse depth that cannot be metres of such a frame, the last one of the medians; ``others`` tell why."""
    data, median, passed = request.settings.data, medians[frame.id], len(medians) - 1
    low, high = data.likely_depth
    millimetres = unit == "mm"
    where = f"{request.place}: frame {frame.id}"
    told = request.settings.unit is not None  # who names the unit is believed, but for a map that is of another one
    usual = float(np.median([*medians.values()][:-1])) if passed else median
    mixed = not 1 / MIXED <= median / max(usual, 1e-9) <= MIXED
    if not low <= median <= high and (mixed or not told):
        problem = f"{where} has a median depth of {median:g} m where {low:g} .. {high:g} m is likely"
        if sample is not None and not passed:
            request.refuse_better_guess(outputs, [sample])
            request.refuse_unit(problem, outputs, [sample], unit)
            request.refuse_one_by_one(others())
        if (median < low) != millimetres:
            raise ValueError(
                f"{problem}; depth without a scale wants one fitted on rows of training.\n"
                f"Run: {request.command(outputs, align=True)}"
            )
        if passed:
            raise ValueError(
                f"{problem}, and {passed} frames before it have likely ones: units are mixed. Write all maps in one "
                f"unit, then\nRun: {request.command(outputs)}"
            )
        other, looks = ("m", "metres") if millimetres else ("mm", "millimetres")
        if low <= median * per_metre(unit) / per_metre(other) <= high:
            raise ValueError(f"{problem}: it looks like {looks}.\nRun: {request.command(outputs, unit=other)}")
        raise ValueError(
            f"{problem}, and in {looks} it would be no likelier; depth without a scale wants one fitted on rows of "
            f"training.\nRun: {request.command(outputs, align=True)}"
        )
    largest = float(metres.max())
    if largest > request.settings.data.max_depth:
        problem = (
            f"{where} reaches {largest:g} m, expected at most data.max_depth, {request.settings.data.max_depth:g} m"
        )
        if sample is not None and not passed:
            request.refuse_better_guess(outputs, [sample])
        several = [] if sample is None else [sample, *others()]
        request.refuse_unit(problem, outputs, several, unit)
        ratios = [sample.truth / sample.depths for sample in several if len(sample.truth)]
        times = float(np.median(np.concatenate(ratios))) if ratios else 1.0
        if not told:
            request.refuse_one_by_one(several, "; if they are metres, say so with --unit")
        if abs(math.log(times)) > math.log(LIKELY_RATIO):
            request.refuse_one_by_one(several)
            raise ValueError(
                f"{problem}, and the truth is {times:.2g} times the depth of {len(several)} frames, so it is not in "
                f"metres; fit one scale and shift on rows of training.\nRun: {request.command(outputs, align=True)}"
            )
        again = request.command(outputs)
        raise ValueError(f"{problem}; clip it yourself if that is meant. Mend the files, then\nRun: {again}")


def resized(metres: Float32[np.ndarray, "h w"], size: tuple[int, int]) -> Float32[np.ndarray, "rows columns"]:
    """Bilinear, corners not aligned, without smoothing: as predictions are brought to the size of the truth."""
    return enlarged(torch.from_numpy(metres)[None, None], size)[0, 0].numpy()


def _sampled(
    values: np.ndarray, source: FrameSource, frame: Frame, data: DataSettings, rng: np.random.Generator
) -> Sample:
    """Some valid pixels of a frame of training."""
    metres = resized(values, data.size)
    raw = source.read(frame)
    sample = bring_to_size(raw, data.size)
    inside: Tensor = sample["valid"] & valid_depth(sample["depth"], data.min_depth, data.max_depth)
    valid = np.flatnonzero(inside.numpy())
    chosen = rng.choice(valid, min(SAMPLED_PIXELS, len(valid)), replace=False)
    depths, turned = pixels_of(metres, chosen)
    rays = None
    if raw.intrinsics is not None:
        camera = raw.intrinsics.resized((raw.depth.shape[0], raw.depth.shape[1]), data.size)
        rays = 1 / camera.axis_share(data.size).ravel()[chosen]
    truth = sample["depth"].numpy().ravel()[chosen].astype(np.float64)
    return Sample(depths, truth, turned, rays, Figures.of(values))
