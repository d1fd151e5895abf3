"""What is known of a stack beyond its scores: whom it trusts, where, and how sure it can be (``details.json``)."""

from pathlib import Path
from typing import Literal

from pydantic import NonNegativeInt, TypeAdapter
from pydantic.dataclasses import dataclass as checked_dataclass

from ensemble.evaluation.results.image_errors import ImageErrorDetails
from ensemble.evaluation.results.scores import CHECKED, SCHEMA, read_checked
from ensemble.runs.seals import write_sealed

BINS = 20
"""Of a histogram of weights, over 0 to 1."""

SparsifiedMetric = Literal["rmse", "abs_rel"]
"""Metrics whose error an uncertainty ranks pixels by."""

Counts = tuple[NonNegativeInt, ...]


@checked_dataclass(frozen=True, config=CHECKED)
class WeightDetails:
    """Weights of one stack over the valid pixels of the test frames."""

    learners: tuple[str, ...]  # names for people, in the order of everything else here
    counts: tuple[Counts, ...]
    """Per learner, pixels in each of ``BINS`` equal bins of its weight over 0 to 1; the last includes 1."""
    below: Counts  # per learner, pixels with a weight below 0; free weights go there
    above: Counts  # likewise above 1
    depth_edges: tuple[float, ...]  # metres between ranges of true depth, ascending
    pixels: Counts  # pixels in each range
    mean_weights: tuple[tuple[float | None, ...], ...]
    """Per learner, its mean weight in each range; ``None`` where a range has no pixel."""
    range_counts: tuple[tuple[Counts, ...], ...] | None = None
    """Per range of true depth and learner a histogram as in ``counts``; absent in older evaluations."""

    def __post_init__(self) -> None:
        """Refuses numbers that do not belong together."""
        lengths = {len(each) for each in (self.learners, self.counts, self.below, self.above, self.mean_weights)}
        ranges = {len(self.pixels), len(self.depth_edges) - 1, *(len(means) for means in self.mean_weights)}
        if len(lengths) != 1 or ranges != {len(self.pixels)} or {len(each) for each in self.counts} != {BINS}:
            raise ValueError(
                f"weights of {len(self.learners)} learners in {len(self.pixels)} ranges of depth: found "
                f"{sorted(lengths)} learners, {sorted(ranges)} ranges, bins {[len(each) for each in self.counts]}"
            )


@checked_dataclass(frozen=True, config=CHECKED)
class SparsificationDetails:
    """Error of the pixels that are left when the most uncertain ones go, as a mean over images."""

    fractions: tuple[float, ...]  # shares of pixels taken away, ascending
    by_uncertainty: tuple[float, ...]  # error of those left, the most uncertain gone first
    by_error: tuple[float, ...]  # the same with the largest errors gone first
    ause: float  # area between the two; 0 is perfect
    aurg: float  # area that is won against taking away any pixels; below 0 the uncertainty misleads

    def __post_init__(self) -> None:
        """Refuses curves of several lengths."""
        lengths = [len(each) for each in (self.fractions, self.by_uncertainty, self.by_error)]
        if len(set(lengths)) > 1 or not lengths[0]:
            raise ValueError(f"sparsification curves of {lengths} points, expected as many of each")


@checked_dataclass(frozen=True, config=CHECKED)
class ReliabilityDetails:
    """Predicted against observed errors, bin by bin."""

    predicted: tuple[float, ...]  # root mean predicted variance of each bin, metres
    observed: tuple[float, ...]  # root mean squared error of each bin, metres
    pixels: Counts  # pixels of each bin
    ence: float  # expected normalised calibration error

    def __post_init__(self) -> None:
        """Refuses columns of several lengths."""
        lengths = [len(each) for each in (self.predicted, self.observed, self.pixels)]
        if len(set(lengths)) > 1:
            raise ValueError(f"reliability of {lengths} bins, expected as many of each")


@checked_dataclass(frozen=True, config=CHECKED)
class UncertaintyDetails:
    """How good a stack's uncertainty is."""

    sparsification: dict[SparsifiedMetric, SparsificationDetails]  # by metric
    reliability: ReliabilityDetails  # in metres
    calibrated_on: Literal["oof", "validation"] | None = None
    """Rows that disagreement was turned into metres with; absent in older evaluations."""
    images: ImageErrorDetails | None = None
    """What the image part is worth; absent in older evaluations, and where too few scenes could tell."""


@checked_dataclass(frozen=True, config=CHECKED)
class StackDetails:
    """One stack; uncertainty is absent where none was judged."""

    weights: WeightDetails
    uncertainty: UncertaintyDetails | None = None


@checked_dataclass(frozen=True, config=CHECKED)
class Details:
    """All stacks of one evaluation."""

    schema: int  # version of this layout
    stacks: dict[str, StackDetails]  # by name of the row

    def __post_init__(self) -> None:
        """Refuses other versions."""
        if self.schema != SCHEMA:
            raise ValueError(f"schema {self.schema} found, {SCHEMA} expected; evaluate again")


_DETAILS = TypeAdapter(Details)


def write_details(details: Details, path: Path) -> None:
    """Writes ``details`` at once: a reader sees the old file or the new one."""
    write_sealed(path, _DETAILS.dump_json(details, indent=2) + b"\n")


def read_details(path: Path) -> Details:
    """Reads what ``write_details`` wrote; errors as in ``read_checked``."""
    return read_checked(_DETAILS, path)
