"""The report as Markdown, LaTeX, comma-separated numbers and JSON."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, fields, replace
from types import MappingProxyType

from ensemble.evaluation.results.comparisons import Comparisons
from ensemble.evaluation.results.details import StackDetails
from ensemble.evaluation.results.scores import REFERENCES, ScoreRow, Scores, headroom
from ensemble.metrics.formulas import METRICS, TABLE_METRICS
from ensemble.metrics.statistics import Difference
from ensemble.report.bounds import headroom_sentences, likeness_sentences, likeness_table
from ensemble.report.sentences import REFERENCE_WORDS, mark_legend, resampling_sentence, summary
from ensemble.report.tables.scores import HEADROOM_METRICS, score_document, score_table
from ensemble.report.uncertainty import image_sentences, ranking_table, scale_table, uncertainty_table
from ensemble.report.wording import difference_cells, duration, verdict
from ensemble.runs.names import MEAN
from ensemble.tables import Row, Table, plain_table, records
from ensemble.tables.latex import latex_table
from ensemble.tables.markdown import markdown_table
from ensemble.tables.sheet import csv_table

CSV_COLUMNS = (
    *("row", "kind", "title", "metric", "value", "deviation", "repeats", "images", "headroom"),
    *("difference_to_mean", "low", "high", "p", "p_holm", "significant"),
)
NO_DETAILS: Mapping[str, StackDetails] = MappingProxyType({})
DIFFERENCES = ("metric", "difference", "95 % interval", "p")


def markdown_report(
    scores: Scores, comparisons: Comparisons, *, published: bool, details: Mapping[str, StackDetails] = NO_DETAILS
) -> str:
    """Summary, scores with marks, differences of every stack, expected errors, costs."""
    parts = [f"# {scores.experiment}", " ".join(summary(scores, comparisons))]
    parts += ["## Scores", score_document(scores, comparisons, published=published), mark_legend()]
    if measured := headroom_sentences(scores):
        parts.append(" ".join(measured))
    for alike in scores.alike:
        parts += ["## How alike the learners err", " ".join(likeness_sentences(alike))]
        parts.append(markdown_table(likeness_table(alike)))
    parts += ["## Differences", resampling_sentence(comparisons)]
    for row in scores.rows:
        if row.kind == "stack" and (lines := _difference_lines(comparisons, row)):
            parts += [f"### {row.title}", markdown_table(plain_table(["", *DIFFERENCES, ""], lines))]
    parts += _uncertainty_parts(scores, details)
    if (costs := cost_table(scores)).rows:
        parts += ["## Costs", markdown_table(costs)]
    return "\n\n".join(part.rstrip("\n") for part in parts) + "\n"


def _uncertainty_parts(scores: Scores, details: Mapping[str, StackDetails]) -> list[str]:
    """A table of all stacks, and what the image part of each is worth."""
    own = [(row.title, details[row.name].uncertainty) for row in scores.rows if row.name in details]
    found = [(title, each) for title, each in own if each is not None]
    if not found:
        return []
    parts = ["## Expected error", markdown_table(uncertainty_table(found))]
    for title, each in found:
        parts += [f"### Expected error of {title}", " ".join(image_sentences(each))]
        if each.images is not None:
            parts += [markdown_table(ranking_table(each.images)), markdown_table(scale_table(each.images))]
    return parts


def latex_report(scores: Scores, comparisons: Comparisons, *, published: bool = False) -> str:
    """The scores for a paper, with marks of significance, the head-room share of REL and parameters."""
    rooms = {"head-room": "abs_rel"}
    table = score_table(scores, comparisons, published=published, headroom_of=rooms, parameters="params (M)")
    words = [table.caption, mark_legend(), resampling_sentence(comparisons)]
    if any(column.heading in rooms for column in table.columns):
        words[1:1] = headroom_sentences(scores)
    return latex_table(replace(table, caption=" ".join(words)))


def csv_report(scores: Scores, comparisons: Comparisons) -> str:
    """One line per row and metric; what does not exist stays empty."""
    rooms = {metric: headroom(scores, metric) for metric in TABLE_METRICS}
    lines = []
    for row in scores.rows:
        for metric, value in row.scores.items():
            room = rooms[metric].get(row.name) if metric in rooms else None
            deviation = None if row.deviations is None else row.deviations[metric]
            known = (row.name, row.kind, row.title, metric, value, deviation, row.repeats, row.images, room)
            line = dict(zip(CSV_COLUMNS, known, strict=False))
            if each := comparisons.of(row.name, MEAN, metric):
                line |= {"difference_to_mean": each.difference, "significant": verdict(each)}
                line |= {key: getattr(each, key) for key in ("low", "high", "p", "p_holm")}
            lines.append(line)
    return csv_table(records(CSV_COLUMNS, lines))


def pairs_report(differences: Iterable[Difference]) -> str:
    """Every pair on every metric as comma-separated numbers: first minus second, interval, p-values."""
    return csv_table(records([field.name for field in fields(Difference)], map(asdict, differences)))


def json_report(scores: Scores, comparisons: Comparisons) -> str:
    """Scores, head-room and every pair of rows, for other programs."""
    return json.dumps(
        {
            "experiment": scores.experiment,
            "protocol": scores.protocol,
            "summary": summary(scores, comparisons),
            "rows": [asdict(row) for row in scores.rows],
            "headroom": {metric: headroom(scores, metric) for metric in HEADROOM_METRICS},
            "alike": [asdict(each) for each in scores.alike],
            "resampling": {"by": comparisons.by, "resamples": comparisons.resamples, "scenes": comparisons.scenes},
            "differences": [asdict(each) for each in comparisons.differences],
        },
        indent=2,
    )


def cost_table(scores: Scores) -> Table:
    """Rows with networks of their own, or that take the time of others': parameters, multiply-adds, speed, training."""
    rows = [
        Row.of(
            row.title,
            "-" if row.parameters is None else f"{row.parameters:,}",
            "-" if row.mul_adds is None else f"{row.mul_adds / 1e9:.2f}",
            "-" if row.frames_per_second is None else f"{row.frames_per_second:.1f}",
            duration(row.training_seconds),
            note=row.note,
        )
        for row in scores.rows
        if row.parameters is not None or row.frames_per_second is not None
    ]
    return plain_table(("", "parameters", "G mul-adds", "frames/s", "training"), rows)


def _difference_lines(comparisons: Comparisons, row: ScoreRow) -> list[list[str]]:
    return [
        [f"against {REFERENCE_WORDS[reference]}", METRICS[each.metric].label, *difference_cells(each)]
        for reference in REFERENCES
        for each in comparisons.against(row.name, reference)
    ]
