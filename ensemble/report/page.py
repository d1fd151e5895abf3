"""The report as one HTML page that holds everything within itself and asks nobody for anything."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from ensemble.evaluation.results.comparisons import Comparisons, leading_stack
from ensemble.evaluation.results.details import (
    BINS,
    SparsificationDetails,
    StackDetails,
    UncertaintyDetails,
    WeightDetails,
)
from ensemble.evaluation.results.gallery import Gallery
from ensemble.evaluation.results.merging import Evaluation
from ensemble.evaluation.results.published import published_note
from ensemble.evaluation.results.scores import REFERENCES, ScoreRow, Scores, headroom
from ensemble.metrics.formulas import METRICS
from ensemble.metrics.statistics import Difference
from ensemble.report.bounds import headroom_sentences, likeness_sentences
from ensemble.report.documents import DIFFERENCES, cost_table
from ensemble.report.drawing import LARGEST_ERROR
from ensemble.report.drawing.charts import Chart, Line, line_chart, steps
from ensemble.report.drawing.matrix import matrix_chart
from ensemble.report.sentences import MARKS, REFERENCE_WORDS, resampling_sentence, summary
from ensemble.report.tables.scores import HEADROOM_METRICS, score_table
from ensemble.report.uncertainty import image_sentences, ranking_table, scale_chart
from ensemble.report.wording import caption, difference_cells, protocol_entries, share, shown_rows, tone_of
from ensemble.tables import Row, Table, plain_table
from ensemble.tables.html import page_template

WEIGHT_EDGES = tuple(index / BINS for index in range(BINS + 1))

DEPTH_GROUPS = 4
"""Ranges of true depth that histograms of weights are drawn for: more lines cannot be told apart."""

LIKENESS_TITLE = "Correlation of errors within images (below the diagonal) and of the scales of images (above)"

LOWEST_BAR = -1.0
"""Head-room below which a bar is cut off; the number beside it is not."""


def html_page(evaluation: Evaluation, comparisons: Comparisons, *, published: bool) -> str:
    """The whole page; ``published`` shows the published rows below ours."""
    scores = evaluation.scores
    leading = leading_stack(scores)
    galleries, details = (_first(part, scores, leading) for part in (evaluation.galleries, evaluation.details))
    table = score_table(scores, comparisons, published=published, headroom_of={}, parameters="params, M")
    return page_template("page.html.jinja", "ensemble.report").render(
        experiment=scores.experiment,
        summary=summary(scores, comparisons),
        scores=replace(table, title=""),
        caption=caption(scores, published=False),
        published_note=published_note(scores) if published else "",
        legend=list(MARKS.values()),
        rooms=_rooms(scores),
        measured=headroom_sentences(scores),
        alike=[
            (likeness_sentences(each), matrix_chart(LIKENESS_TITLE, each.learners, each.within, each.scales))
            for each in scores.alike
        ],
        differences=[
            {"title": row.title, "open": row == leading, "tables": found}
            for row in sorted(scores.rows, key=lambda row: row != leading)
            if row.kind == "stack" and (found := _differences(comparisons, row))
        ],
        pictures=_drawn(galleries),
        largest_error=share(LARGEST_ERROR),
        weights=[(title, _weight_charts(each)) for title, each in details],
        uncertainty=[(title, *_uncertainty(each.uncertainty)) for title, each in details if each.uncertainty],
        costs=cost_table(scores),
        protocol=protocol_entries(scores),
        resampling=resampling_sentence(comparisons),
    )


def _drawn(galleries: list[tuple[str, Gallery]]) -> list[Any]:
    """Galleries with a picture in them, by title; matplotlib is imported where there is something to draw."""
    shown = [(title, gallery) for title, gallery in galleries if gallery.images]
    if not shown:
        return []
    from ensemble.report.drawing.panels import draw_gallery

    return [draw_gallery(gallery, title) for title, gallery in shown]


def _rooms(scores: Scores) -> list[tuple[str, list[dict[str, Any]], float]]:
    """Per metric: its label, a bar per row, and where the plain mean stands; places are percent of the track."""
    rows = [row for row in shown_rows(scores, published=False) if row.kind not in ("constant", "bound")]
    found = []
    for metric in HEADROOM_METRICS:
        shares = headroom(scores, metric)
        known = [(row, each) for row in rows if (each := shares[row.name]) is not None]
        if not known:
            continue
        low = max(LOWEST_BAR, min(0.0, *(each for _, each in known), 0.0))
        high = max(0.05, *(each for _, each in known), 0.05)
        scale = 100 / (high - low)
        bars = [
            {
                "title": row.title,
                "text": share(each),
                "left": (min(0.0, max(each, low)) - low) * scale,
                "width": abs(max(each, low)) * scale,
                "below": each < 0,
                "cut": each < low,
            }
            for row, each in known
        ]
        found.append((METRICS[metric].label, bars, -low * scale))
    return found


def _differences(comparisons: Comparisons, row: ScoreRow) -> list[Table]:
    """A table per reference, a line per metric; verdicts short and coloured."""
    lines = {name: [_difference(each) for each in comparisons.against(row.name, name)] for name in REFERENCES}
    headings = (*DIFFERENCES, "verdict")
    return [plain_table(headings, own, title=f"against {REFERENCE_WORDS[name]}") for name, own in lines.items() if own]


def _difference(each: Difference) -> Row:
    *numbers, told = difference_cells(each)
    tone = tone_of(each)
    return Row.of(METRICS[each.metric].label, *numbers, told if tone else "n. s.", tone=tone or "quiet")


def _first(found: Mapping[str, Any], scores: Scores, leading: ScoreRow | None) -> list[tuple[str, Any]]:
    """By title of the stack instead of its name, that of the leading stack in front."""
    titles = {row.name: row.title for row in scores.rows}
    ordered = sorted(found, key=lambda name: leading is None or name != leading.name)
    return [(titles.get(name, name), found[name]) for name in ordered]


def _weight_charts(details: StackDetails) -> list[Chart]:
    weights = details.weights
    shares = [[100 * count / max(1, sum(counts)) for count in counts] for counts in weights.counts]
    named = list(enumerate(zip(weights.learners, shares, weights.mean_weights, strict=True)))
    return [
        line_chart(
            "How often a learner gets which weight",
            [Line(name, steps(WEIGHT_EDGES, histogram), style) for style, (name, histogram, _) in named],
            x_label="weight",
            y_label="% of pixels",
            note=_beyond(weights),
        ),
        line_chart(
            "Mean weight by true depth",
            [Line(name, steps(weights.depth_edges, means), style) for style, (name, _, means) in named],
            x_label="true depth, metres",
            y_label="mean weight",
            note=f"{sum(weights.pixels):,} pixels; the plain mean gives each 1/{len(weights.learners)}.",
        ),
        *_range_charts(weights),
    ]


def _range_charts(weights: WeightDetails) -> list[Chart]:
    """One chart per learner with a histogram for each of a few ranges of true depth."""
    if weights.range_counts is None:
        return []
    counts = np.asarray(weights.range_counts)
    groups = np.array_split(np.arange(len(weights.pixels)), min(DEPTH_GROUPS, len(weights.pixels)))
    charts = []
    for index, name in enumerate(weights.learners):
        lines = []
        for style, group in enumerate(groups):
            own = counts[group, index].sum(axis=0)
            low, high = weights.depth_edges[group[0]], weights.depth_edges[group[-1] + 1]
            shares = (100 * own / max(1, own.sum())).tolist()
            lines.append(Line(f"{low:g} to {high:g} m", steps(WEIGHT_EDGES, shares), style))
        title = f"How often {name} gets which weight, by true depth"
        charts.append(line_chart(title, lines, x_label="weight", y_label="% of pixels of a range"))
    return charts


def _beyond(weights: WeightDetails) -> str:
    outside = [
        f"{name} {below:,} below 0, {above:,} above 1"
        for name, below, above in zip(weights.learners, weights.below, weights.above, strict=True)
        if below or above
    ]
    return f"Pixels beyond the chart: {'; '.join(outside)}." if outside else ""


def _uncertainty(uncertainty: UncertaintyDetails) -> tuple[list[Chart], str, Table | None]:
    """Charts, what is said of the image part, and what images and pixels rank by."""
    images = uncertainty.images
    charts = [*_uncertainty_charts(uncertainty), *([] if images is None else [scale_chart(images)])]
    return charts, " ".join(image_sentences(uncertainty)), None if images is None else ranking_table(images)


def _uncertainty_charts(uncertainty: UncertaintyDetails) -> list[Chart]:
    charts = [_sparsification_chart(metric, each) for metric, each in uncertainty.sparsification.items()]
    reliability = uncertainty.reliability
    points = tuple(zip(reliability.predicted, reliability.observed, strict=True))
    largest = max((*reliability.predicted, *reliability.observed), default=1.0)
    chart = line_chart(
        "Reliability: does the predicted error come true?",
        [Line("observed", (points,) if points else (), 0), Line("perfect", (((0.0, 0.0), (largest, largest)),), 5)],
        x_label="predicted root mean squared error, metres",
        y_label="observed, metres",
        note=f"{_calibrated_on(uncertainty)}Expected normalised calibration error {reliability.ence:.3f}; "
        f"{sum(reliability.pixels):,} pixels.",
        dots=True,
    )
    return [*charts, chart]


def _calibrated_on(uncertainty: UncertaintyDetails) -> str:
    rows = {"oof": "out-of-fold rows", "validation": "rows of the validation scenes", None: ""}
    return f"Calibrated on {text}. " if (text := rows[uncertainty.calibrated_on]) else ""


def _sparsification_chart(metric: str, curves: SparsificationDetails) -> Chart:
    percent = [100 * fraction for fraction in curves.fractions]
    named = (("by uncertainty", curves.by_uncertainty, 0), ("by true error: the best possible", curves.by_error, 5))
    lines = [Line(label, (tuple(zip(percent, values, strict=True)),), style) for label, values, style in named]
    label, unit = METRICS[metric].label, METRICS[metric].unit
    return line_chart(
        f"{label} of the pixels left when the least sure are taken away",
        lines,
        x_label="pixels taken away, %",
        y_label=f"{label}{f', {unit}' if unit else ''}",
        note=f"AUSE {curves.ause:.4f} (0 is perfect), AURG {curves.aurg:.4f} (above 0: better than chance).",
    )
