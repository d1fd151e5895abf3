"""What depth maps from elsewhere say before one of them is believed: their size, their unit, their scale."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float32, Float64
from torch import Tensor

from ensemble.console import progress
from ensemble.data.division import Experiment, Role
from ensemble.data.formats.maps import DepthFile, as_metres, likely_unit, mended_by, read_numbers
from ensemble.data.source import Frame, FrameSource
from ensemble.data.transforms import bring_to_size, valid_depth
from ensemble.metrics.protocols import enlarged
from ensemble.predictions.foreign.guesses import Sample, likely_units
from ensemble.predictions.foreign.record import import_command
from ensemble.runs.paths import FULL, Outputs, fold_model
from ensemble.settings.schema import DataSettings, ImportSettings
from ensemble.settings.units import PER_METRE, per_metre

SAME_ASPECT = 0.01
"""Relative difference of two ratios of height to width that is put down to rounding."""

HOLES = 0.001
"""Share of exact zeros from which on a map without a scale has holes; one that is normalised has a zero or two."""

ALIGNED_FRAMES, ALIGNED_PIXELS = 1000, 500
"""Frames, spread evenly, and valid pixels of each, that are held against the truth of training."""


@dataclass(frozen=True)
class ImportRequest:
    """An import as it was asked for."""

    settings: ImportSettings  # of the learner; its alignment is decided by the rows
    place: Path  # folder of depth maps, or one HDF5 file
    role: Role  # what the frames are
    align: bool = False  # fit a scale and a shift, or use those that were fitted to rows of training before
    relative: bool = False  # the user says that the maps have no scale
    rebuild: bool = False  # throw the rows of this role away first
    options: tuple[str, ...] = ()  # of the command line that chose data and experiment file, for commands in messages

    def command(self, outputs: Outputs, *, align: bool = False) -> str:
        """This import as a command line; ``align`` asks for scale and shift even if this import does not."""
        return import_command(
            outputs,
            self.settings,
            self.role,
            model=model_of(self.settings.fold),
            folder=self.place,
            align=align or self.align,
            options=self.options,
        )

    def refuse_unit(self, problem: str, outputs: Outputs, samples: Sequence[Sample], unit: str) -> None:
        """Stop where another known unit than that which was read brings depth to its truth, and name it.

        Raises:
            ValueError: There is such a unit, neither metres nor millimetres; the message holds the command.
        """
        depths, truth = (np.concatenate([sample[side] for sample in samples]) for side in (0, 1))
        if not len(truth) or not (depths > 0).all():
            return
        units = likely_units(float(np.median(truth / depths)), per_metre(unit))
        if units and not {"m", "mm"} & {*units}:
            told = " or ".join(f"{PER_METRE[name]:g} per metre: --unit {name}" for name in units)
            again = replace(self, settings=self.settings.model_copy(update={"unit": units[0]}))
            raise ValueError(f"{problem}: it looks like {told}.\nRun: {again.command(outputs)}")


@dataclass(frozen=True)
class CheckedMaps:
    """What all maps of a role say before one of them is stored."""

    content: Mapping[str, str]  # fingerprint of the maps, by model
    median: Mapping[str, float]  # of the depth of every frame, as read
    samples: tuple[Sample, ...]  # valid pixels of some frames; none where no truth may be read
    unit: str  # that they were read in

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
    source, outputs = experiment.source, experiment.outputs
    data, every = request.settings.data, [frame for part in models.values() for frame in part]
    sizes = {data.size, source.read_image(every[0]).shape[:2]}
    spread = np.linspace(0, len(every) - 1, min(ALIGNED_FRAMES, len(every))).astype(int)
    compared = set() if request.role == "test" else {every[index].id for index in spread}
    digests = {model: hashlib.sha256() for model in models}
    owner = {frame.id: model for model, part in models.items() for frame in part}
    rng, medians = np.random.default_rng(0), {}
    samples, unit = list[Sample](), request.settings.unit or "m"
    for frame in progress(every, "checking"):
        with mended_by(request.command(outputs)):
            numbers = read_numbers(files[frame.id])
            metres = as_metres(numbers, request.settings.unit)
            if not _has_shape_of(sizes, metres.shape):
                sizes.add(source.read_image(frame).shape[:2])
            _check_map(metres, f"{files[frame.id]} (frame {frame.id})", sizes, positive=not request.align)
        head = f"{frame.id} {numbers.dtype.str} {numbers.shape}\n"
        digests[owner[frame.id]].update(head.encode() + np.ascontiguousarray(numbers).tobytes())
        medians[frame.id] = float(np.median(metres[::4, ::4]))
        if frame.id in compared:
            samples.append(_sampled(resized(metres, data.size), source, frame, data, rng))
        unit = request.settings.unit or likely_unit(numbers)
        if not request.align:
            sample = samples[-1] if frame.id in compared else None
            _check_unit(metres, medians[frame.id], frame, request, outputs, sample, unit, passed=len(medians) - 1)
    content = {model: digest.hexdigest() for model, digest in digests.items()}
    return CheckedMaps(content, medians, tuple(samples), unit)


def _check_map(metres: Float32[np.ndarray, "h w"], where: str, sizes: set[tuple[int, ...]], *, positive: bool) -> None:
    bad = int(np.count_nonzero(~np.isfinite(metres)))
    if bad:
        raise ValueError(
            f"{where}: {bad} of {metres.size} pixels are NaN or infinite; expected depth everywhere, nothing is "
            "repaired here"
        )
    holes = int(np.count_nonzero(metres <= 0 if positive else metres == 0))
    if holes > (0 if positive else HOLES * metres.size):
        raise ValueError(
            f"{where}: {holes} of {metres.size} pixels are 0 or negative; expected the predicted depth of every pixel, "
            "holes are for measurements"
        )
    if not _has_shape_of(sizes, metres.shape):
        height, width = metres.shape
        known = " or ".join(sorted(f"{rows}x{columns}" for rows, columns in sizes))
        raise ValueError(
            f"{where}: {height}x{width} pixels have another shape than the frames ({known}); expected the whole frame "
            "at any size, neither cropped nor stretched"
        )


def _has_shape_of(sizes: set[tuple[int, ...]], size: tuple[int, ...]) -> bool:
    height, width = size
    return any(abs((height / width) / (rows / columns) - 1) <= SAME_ASPECT for rows, columns in sizes)


def _check_unit(
    metres: Float32[np.ndarray, "h w"],
    median: float,
    frame: Frame,
    request: ImportRequest,
    outputs: Outputs,
    sample: Sample | None,
    unit: str,
    *,
    passed: int,
) -> None:
    """Refuse depth that cannot be metres of such a frame, where so many frames before it could be."""
    low, high = request.settings.data.likely_depth
    millimetres = unit == "mm"
    where = f"{request.place}: frame {frame.id}"
    if not low <= median <= high:
        problem = f"{where} has a median depth of {median:g} m where {low:g} .. {high:g} m is likely"
        if sample is not None and not passed:
            request.refuse_unit(problem, outputs, [sample], unit)
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
        again = replace(request, settings=request.settings.model_copy(update={"unit": other}))
        raise ValueError(f"{problem}: it looks like {looks}.\nRun: {again.command(outputs)}")
    largest = float(metres.max())
    if largest > request.settings.data.max_depth:
        problem = (
            f"{where} reaches {largest:g} m, expected at most data.max_depth, {request.settings.data.max_depth:g} m"
        )
        if sample is not None and not passed:
            request.refuse_unit(problem, outputs, [sample], unit)
        raise ValueError(
            f"{problem}; clip it yourself if that is meant. Mend the files, then\nRun: {request.command(outputs)}"
        )


def resized(metres: Float32[np.ndarray, "h w"], size: tuple[int, int]) -> Float32[np.ndarray, "rows columns"]:
    """Bilinear, corners not aligned, without smoothing: as predictions are brought to the size of the truth."""
    return enlarged(torch.from_numpy(metres)[None, None], size)[0, 0].numpy()


def _sampled(
    metres: np.ndarray, source: FrameSource, frame: Frame, data: DataSettings, rng: np.random.Generator
) -> Sample:
    """Some valid pixels of a frame of training."""
    sample = bring_to_size(source.read(frame), data.size)
    inside: Tensor = sample["valid"] & valid_depth(sample["depth"], data.min_depth, data.max_depth)
    valid = np.flatnonzero(inside.numpy())
    chosen = rng.choice(valid, min(ALIGNED_PIXELS, len(valid)), replace=False)
    maps = (metres, metres[:, ::-1], metres[::-1], metres[::-1, ::-1])
    depths, *turned = (values.ravel()[chosen].astype(np.float64) for values in maps)
    return Sample(depths, sample["depth"].numpy().ravel()[chosen].astype(np.float64), turned)
