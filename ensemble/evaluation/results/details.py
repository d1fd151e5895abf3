"""What is known of a stack beyond its scores: whom it trusts, where, and how sure it can be (``details.json``)."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as checked_dataclass

from ensemble.evaluation.results.scores import CHECKED, SCHEMA, first_mistake
from ensemble.runs.seals import read_bytes, write_sealed

BINS = 20
"""Of a histogram of weights, over 0 to 1."""

JudgedMetric = Literal["rmse", "abs_rel"]
"""Metrics that an uncertainty is judged by."""

Counts = tuple[Annotated[int, Field(ge=0)], ...]


@checked_dataclass(frozen=True, config=CHECKED)
class WeightDetails:
    """Weights of one stack over the valid pixels of the test frames.

    Attributes:
        learners: Names for people, in the order of everything else here.
        counts: Per learner, pixels in each of ``BINS`` equal bins of its weight over 0 to 1; the last includes 1.
        below: Per learner, pixels with a weight below 0; free weights go there.
        above: Likewise above 1.
        depth_edges: Metres between ranges of true depth, ascending.
        pixels: Pixels in each range.
        mean_weights: Per learner, its mean weight in each range; ``None`` where a range has no pixel.
        range_counts: Per range of true depth and learner a histogram as in ``counts``; absent in older evaluations.
    """

    learners: tuple[str, ...]
    counts: tuple[Counts, ...]
    below: Counts
    above: Counts
    depth_edges: tuple[float, ...]
    pixels: Counts
    mean_weights: tuple[tuple[float | None, ...], ...]
    range_counts: tuple[tuple[Counts, ...], ...] | None = None

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
    """Error of the pixels that are left when the most uncertain ones go, as a mean over images.

    Attributes:
        fractions: Shares of pixels taken away, ascending.
        by_uncertainty: Error of those left, the most uncertain gone first.
        by_error: The same with the largest errors gone first.
        ause: Area between the two; 0 is perfect.
        aurg: Area that is won against taking away any pixels; below 0 the uncertainty misleads.
    """

    fractions: tuple[float, ...]
    by_uncertainty: tuple[float, ...]
    by_error: tuple[float, ...]
    ause: float
    aurg: float

    def __post_init__(self) -> None:
        """Refuses curves of several lengths."""
        lengths = [len(each) for each in (self.fractions, self.by_uncertainty, self.by_error)]
        if len(set(lengths)) > 1 or not lengths[0]:
            raise ValueError(f"sparsification curves of {lengths} points, expected as many of each")


@checked_dataclass(frozen=True, config=CHECKED)
class ReliabilityDetails:
    """Predicted against observed errors, bin by bin.

    Attributes:
        predicted: Root mean predicted variance of each bin, metres.
        observed: Root mean squared error of each bin, metres.
        pixels: Pixels of each bin.
        ence: Expected normalised calibration error.
    """

    predicted: tuple[float, ...]
    observed: tuple[float, ...]
    pixels: Counts
    ence: float

    def __post_init__(self) -> None:
        """Refuses columns of several lengths."""
        lengths = [len(each) for each in (self.predicted, self.observed, self.pixels)]
        if len(set(lengths)) > 1:
            raise ValueError(f"reliability of {lengths} bins, expected as many of each")


@checked_dataclass(frozen=True, config=CHECKED)
class UncertaintyDetails:
    """How good a stack's uncertainty is.

    Attributes:
        sparsification: By metric.
        reliability: In metres.
        calibrated_on: Rows that disagreement was turned into metres with; absent in older evaluations.
    """

    sparsification: dict[JudgedMetric, SparsificationDetails]
    reliability: ReliabilityDetails
    calibrated_on: Literal["oof", "validation"] | None = None


@checked_dataclass(frozen=True, config=CHECKED)
class StackDetails:
    """One stack; uncertainty is absent where none was judged."""

    weights: WeightDetails
    uncertainty: UncertaintyDetails | None = None


@checked_dataclass(frozen=True, config=CHECKED)
class Details:
    """All stacks of one evaluation.

    Attributes:
        schema: Version of this layout.
        stacks: By name of the row.
    """

    schema: int
    stacks: dict[str, StackDetails]

    def __post_init__(self) -> None:
        """Refuses other versions."""
        if self.schema != SCHEMA:
            raise ValueError(f"schema {self.schema} found, {SCHEMA} expected; evaluate again")


_DETAILS = TypeAdapter(Details)


def write_details(details: Details, path: Path) -> None:
    """Writes ``details`` at once: a reader sees the old file or the new one."""
    write_sealed(path, _DETAILS.dump_json(details, indent=2) + b"\n")


def read_details(path: Path) -> Details:
    """Reads what ``write_details`` wrote.

    Raises:
        ValueError: The file is not such a file; the message names it and what is wrong.
    """
    try:
        return _DETAILS.validate_json(read_bytes(path))
    except ValidationError as error:
        raise ValueError(f"{path}: {first_mistake(error)}. Evaluate again to rewrite it.") from error
