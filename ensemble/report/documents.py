"""The report as Markdown, as comma-separated numbers and as JSON."""

import csv
import io
import json
from dataclasses import asdict, fields

from ensemble.evaluation.results.comparisons import Comparisons, row_marks
from ensemble.evaluation.results.scores import REFERENCES, ScoreRow, Scores, headroom
from ensemble.metrics.formulas import METRICS, TABLE_METRICS
from ensemble.metrics.statistics import Difference
from ensemble.report.sentences import MARK_WORDS, MARKS, REFERENCE_WORDS, resampling_sentence, summary
from ensemble.report.tables import HEADROOM_METRICS, markdown_grid, markdown_table
from ensemble.report.wording import duration, interval, number, probability
from ensemble.runs.names import MEAN

CSV_COLUMNS = (
    *("row", "kind", "title", "metric", "value", "deviation", "repeats", "images", "headroom"),
    *("difference_to_mean", "low", "high", "p", "p_holm", "significant"),
)
COST_HEADINGS = ("", "parameters", "G mul-adds", "frames/s", "training")


def markdown_report(scores: Scores, comparisons: Comparisons, *, published: bool) -> str:
    """Summary, scores with marks, differences of every stack, costs."""
    marks = {
        (row.name, metric): " ".join(MARKS[mark] for mark in row_marks(comparisons, row, metric))
        for row in scores.rows
        for metric in TABLE_METRICS
    }
    parts = [f"# {scores.experiment}", " ".join(summary(scores, comparisons))]
    parts += ["## Scores", markdown_table(scores, published=published, marks=marks)]
    parts += [f"{'; '.join(f'{MARKS[name]} {words}' for name, words in MARK_WORDS.items())}."]
    parts += ["## Differences", resampling_sentence(comparisons)]
    for row in scores.rows:
        if row.kind == "stack" and (lines := _difference_lines(comparisons, row)):
            parts += [f"### {row.title}", markdown_grid(["", "metric", "difference", "95 % interval", "p", ""], lines)]
    if costs := [cost_cells(row) for row in costed(scores)]:
        parts += ["## Costs", markdown_grid(COST_HEADINGS, costs)]
    return "\n\n".join(part.rstrip("\n") for part in parts) + "\n"


def csv_report(scores: Scores, comparisons: Comparisons) -> str:
    """One line per row and metric; what does not exist stays empty."""
    lines = io.StringIO()
    writer = csv.DictWriter(lines, CSV_COLUMNS, lineterminator="\n", restval="")
    writer.writeheader()
    rooms = {metric: headroom(scores, metric) for metric in TABLE_METRICS}
    for row in scores.rows:
        for metric, value in row.scores.items():
            room = rooms[metric].get(row.name) if metric in rooms else None
            deviation = None if row.deviations is None else row.deviations[metric]
            known = (row.name, row.kind, row.title, metric, repr(value), deviation, row.repeats, row.images, room)
            line = dict(zip(CSV_COLUMNS, ("" if each is None else each for each in known), strict=False))
            writer.writerow(line | _difference_cells(comparisons.of(row.name, MEAN, metric)))
    return lines.getvalue()


def pairs_report(comparisons: Comparisons) -> str:
    """Every pair of rows on every metric as comma-separated numbers: first minus second, interval, p-values."""
    lines = io.StringIO()
    columns = [field.name for field in fields(Difference)]
    writer = csv.DictWriter(lines, columns, lineterminator="\n")
    writer.writeheader()
    for each in comparisons.differences:
        writer.writerow({name: "" if value is None else value for name, value in asdict(each).items()})
    return lines.getvalue()


def json_report(scores: Scores, comparisons: Comparisons) -> str:
    """Scores, head-room and every pair of rows, for other programs."""
    return json.dumps(
        {
            "experiment": scores.experiment,
            "protocol": scores.protocol,
            "summary": summary(scores, comparisons),
            "rows": [asdict(row) for row in scores.rows],
            "headroom": {metric: headroom(scores, metric) for metric in HEADROOM_METRICS},
            "resampling": {"by": comparisons.by, "resamples": comparisons.resamples, "scenes": comparisons.scenes},
            "differences": [asdict(each) for each in comparisons.differences],
        },
        indent=2,
    )


def verdict(each: Difference) -> str:
    """What the first row of a difference is, after the correction."""
    return {"first": "better", "second": "worse"}.get(each.better or "", "not significant")


def _difference_lines(comparisons: Comparisons, row: ScoreRow) -> list[list[str]]:
    return [
        [
            f"against {REFERENCE_WORDS[reference]}",
            METRICS[each.metric].label,
            number(each.difference, signed=True),
            interval(each.low, each.high),
            probability(each.p_holm),
            verdict(each),
        ]
        for reference in REFERENCES
        for each in comparisons.against(row.name, reference)
    ]


def _difference_cells(each: Difference | None) -> dict[str, str]:
    if each is None:
        return {}
    numbers = {
        "difference_to_mean": each.difference,
        **{key: getattr(each, key) for key in ("low", "high", "p", "p_holm")},
    }
    return {**{key: repr(value) for key, value in numbers.items()}, "significant": verdict(each)}


def costed(scores: Scores) -> list[ScoreRow]:
    """Rows with networks of their own, or that take the time of others'."""
    return [row for row in scores.rows if row.parameters is not None or row.frames_per_second is not None]


def cost_cells(row: ScoreRow) -> list[str]:
    """Title, parameters, multiply-adds in billions, frames a second, time of training."""
    return [
        row.title,
        "-" if row.parameters is None else f"{row.parameters:,}",
        "-" if row.mul_adds is None else f"{row.mul_adds / 1e9:.2f}",
        "-" if row.frames_per_second is None else f"{row.frames_per_second:.1f}",
        duration(row.training_seconds),
    ]
