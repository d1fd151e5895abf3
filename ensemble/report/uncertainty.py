"""What the expected errors of stacks are worth: sentences, tables and the chart of images' scales."""

import math
from collections.abc import Iterable

from ensemble.evaluation.results.details import SparsifiedMetric, UncertaintyDetails
from ensemble.evaluation.results.image_errors import ImageErrorDetails
from ensemble.metrics.formulas import METRICS
from ensemble.report.drawing.charts import Chart, Line, line_chart
from ensemble.report.wording import number, share
from ensemble.tables import Cell, Column, Row, Table, plain_table

METRIC_WORDS = {"rmse": METRICS["rmse"].label, "abs_rel": METRICS["abs_rel"].label, "scale": "log error of scale"}

NO_IMAGE_PART = (
    "The expected error has no image part: it was calibrated before there was one, or on fewer scenes than can tell "
    "whether images differ."
)


def uncertainty_table(found: Iterable[tuple[str, UncertaintyDetails]]) -> Table:
    """A line per stack: ranking of pixels within images by disagreement, and calibration of the expected error."""
    headings = [f"{area} {METRICS[metric].label} {arrow}" for metric in _METRICS for area, arrow in _AREAS]
    lines = [
        [
            title,
            each.calibrated_on or "-",
            *(number(getattr(each.sparsification[metric], area.lower())) for metric in _METRICS for area, _ in _AREAS),
            f"{each.reliability.ence:.3f}",
        ]
        for title, each in found
    ]
    return plain_table(("stack", "calibrated on", *headings, "calibration error (ENCE) ↓"), lines)


_METRICS: tuple[SparsifiedMetric, ...] = ("rmse", "abs_rel")
_AREAS = (("AUSE", "↓"), ("AURG", "↑"))


def image_sentences(uncertainty: UncertaintyDetails) -> list[str]:
    """What the image part of an expected error is, and whether it is used."""
    images = uncertainty.images
    if images is None:
        return [NO_IMAGE_PART]
    calibrated = f"Calibration error (ENCE) {uncertainty.reliability.ence:.3f}"
    return [*_chosen(images), f"{calibrated}, by disagreement alone {images.ence_alone:.3f}."]


def _chosen(images: ImageErrorDetails) -> list[str]:
    """Whether there is an image part, why, and what it is told by."""
    gain = (
        f"{images.gain:+.3f} ± {images.gain_error:.3f} in log variance + squared error / variance, on held-out scenes "
        "of training"
    )
    factors = [
        f"{name} {math.exp(weight / 2):.2f}" for name, weight in zip(images.statistics, images.weights, strict=True)
    ]
    told = (
        f"A standard deviation more of a statistic multiplies the expected error of the scale by: {', '.join(factors)}."
    )
    if not any(images.weights):
        told = "No statistic of an image tells how far its scale is off: all images are expected alike."
    if not images.share:
        return [f"An image part of the expected error is left out: too little to gain ({gain}), or worse ranks.", told]
    whole = "the whole variance" if images.share == 1 else f"{share(images.share)} of the variance"
    return [f"The expected error has an image part, {whole} of images' scales ({gain}).", told]


def ranking_table(images: ImageErrorDetails) -> Table:
    """AUSE of images and of pixels by disagreement alone and with the image part; the smaller one is bold."""
    left = Column("error that is left", align="left")
    headings = ("ranked", left, "AUSE by disagreement alone ↓", "with image part ↓", "in any order")
    lines = []
    for each in images.rankings:
        alone, together = (
            Cell(number(value), best=value < other)
            for value, other in ((each.alone, each.together), (each.together, each.alone))
        )
        lines.append(Row.of(each.ranked, METRIC_WORDS[each.metric], alone, together, number(each.by_chance)))
    return plain_table(headings, lines)


def scale_table(images: ImageErrorDetails) -> Table:
    """A line per bin: predicted against observed error of the scales of images, in percent."""
    found = images.reliability
    lines = [
        [str(count), *(f"{100 * value:.1f}" for value in values)]
        for count, *values in zip(found.images, found.predicted, found.observed, strict=True)
    ]
    return plain_table(("images", "predicted error of scale, %", "observed, %"), lines)


def scale_chart(images: ImageErrorDetails) -> Chart:
    """The same as a reliability diagram."""
    found = images.reliability
    points = tuple(
        (100 * predicted, 100 * observed) for predicted, observed in zip(found.predicted, found.observed, strict=True)
    )
    largest = max((value for point in points for value in point), default=1.0)
    return line_chart(
        "Reliability of images' scales: is the scale off by what was predicted?",
        [Line("observed", (points,), 0), Line("perfect", (((0.0, 0.0), (largest, largest)),), 5)],
        x_label="predicted error of an image's scale, %",
        y_label="observed, %",
        note=f"{sum(found.images)} images in bins of as many each; root mean squares of log errors.",
        dots=True,
    )
