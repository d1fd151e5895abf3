"""What depth maps from elsewhere say before one of them is believed: their size, their unit, their scale."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float32, Float64
from torch import Tensor

from ensemble.console import progress
from ensemble.data.division import Experiment, Role
from ensemble.data.formats.maps import DepthFile, as_metres, mended_by, read_numbers
from ensemble.data.source import Frame, FrameSource
from ensemble.data.transforms import bring_to_size, valid_depth
from ensemble.predictions.foreign.record import import_command
from ensemble.runs.paths import FULL, Outputs, fold_model
from ensemble.settings.schema import DataSettings, ImportSettings

SAME_ASPECT = 0.01
"""Relative difference of two ratios of height to width that is put down to rounding."""

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


@dataclass(frozen=True)
class CheckedMaps:
    """What all maps of a role say before one of them is stored."""

    content: Mapping[str, str]  # fingerprint of the maps, by model
    median: Mapping[str, float]  # of the depth of every frame, as read
    depths: Float64[np.ndarray, " n"]  # sampled pixels with a truth; empty where no truth may be read
    truth: Float64[np.ndarray, " n"]  # metres at these pixels
    frames: int  # number of frames that were sampled


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
    pairs: list[tuple[np.ndarray, np.ndarray]] = []
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
        if not request.align:
            whole = numbers.dtype.kind in "ui"
            _check_unit(metres, medians[frame.id], frame, request, outputs, whole=whole, passed=len(medians) - 1)
        if frame.id in compared:
            pairs.append(_sampled(resized(metres, data.size), source, frame, data, rng))
    depths, truth = (np.concatenate([pair[side] for pair in pairs] or [np.empty(0)]) for side in (0, 1))
    return CheckedMaps(
        {model: digest.hexdigest() for model, digest in digests.items()}, medians, depths, truth, len(pairs)
    )


def _check_map(metres: Float32[np.ndarray, "h w"], where: str, sizes: set[tuple[int, ...]], *, positive: bool) -> None:
    bad = int(np.count_nonzero(~np.isfinite(metres)))
    if bad:
        raise ValueError(
            f"{where}: {bad} of {metres.size} pixels are NaN or infinite; expected depth everywhere, nothing is "
            "repaired here"
        )
    holes = int(np.count_nonzero(metres <= 0))
    if holes and positive:
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
    *,
    whole: bool,
    passed: int,
) -> None:
    """Refuse depth that cannot be metres of such a frame, where so many frames before it could be."""
    low, high = request.settings.data.facts.likely_depth
    millimetres = request.settings.unit == "mm" or (request.settings.unit is None and whole)
    where = f"{request.place}: frame {frame.id}"
    if not low <= median <= high:
        problem = f"{where} has a median depth of {median:g} m where {low:g} .. {high:g} m is likely"
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
        raise ValueError(
            f"{where} reaches {largest:g} m, expected at most data.max_depth, "
            f"{request.settings.data.max_depth:g} m; clip it yourself if that is meant. Mend the files, then\n"
            f"Run: {request.command(outputs)}"
        )


def resized(metres: Float32[np.ndarray, "h w"], size: tuple[int, int]) -> Float32[np.ndarray, "rows columns"]:
    """Bilinear, corners not aligned, without smoothing: as predictions are brought to the size of the truth."""
    tensor = torch.from_numpy(metres)[None, None]
    if tensor.shape[-2:] != size:
        tensor = F.interpolate(tensor, size, mode="bilinear", align_corners=False)
    return tensor[0, 0].numpy()


def _sampled(
    metres: np.ndarray, source: FrameSource, frame: Frame, data: DataSettings, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Depth and truth at some valid pixels of a frame of training."""
    sample = bring_to_size(source.read(frame), data.size)
    inside: Tensor = sample["valid"] & valid_depth(sample["depth"], data.min_depth, data.max_depth)
    valid = np.flatnonzero(inside.numpy())
    chosen = rng.choice(valid, min(ALIGNED_PIXELS, len(valid)), replace=False)
    return metres.ravel()[chosen].astype(np.float64), sample["depth"].numpy().ravel()[chosen].astype(np.float64)
