"""What an evaluation found: its files, and its tables for the terminal and for documents."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, Literal

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as checked_dataclass
from rich import box
from rich.table import Table
from rich.text import Text

from base_learners import LEARNERS, BaseLearner
from ensemble.files import write_text
from ensemble.metrics import METRICS

SCHEMA = 1

Kind = Literal["constant", "learner", "combiner", "stack", "bound", "published"]
"""A bound uses the truth and a published row other data: neither can win a column."""

_CHECKED = ConfigDict(extra="forbid", allow_inf_nan=False)


METRIC_NAMES = tuple(METRICS)
TABLE_METRICS = tuple(metric for metric in METRICS if metric != "silog_x100")
"""The eight that studies print; the files hold all of ``METRIC_NAMES``."""

TITLES: Mapping[Kind, str] = {
    "constant": "Constant",
    "learner": "Learner",
    "combiner": "Combiner",
    "stack": "Stack",
    "bound": "Bound, uses truth",
    "published": "Published",
}


@checked_dataclass(frozen=True, config=_CHECKED)
class ScoreRow:
    """One predictor's scores: means over the images that have a valid pixel.

    Attributes:
        name: Unique key.
        kind: What sort of predictor it is.
        title: Name for people.
        parameters: Its own trained parameters; of a stack, those of the meta-learner. ``None`` where there are none.
        scores: Metric -> value, for every one of ``METRIC_NAMES`` (published rows: those of the tables).
        images: Scored images.
        without_valid: Further images, left out because no pixel of theirs has a truth.
        clipped_pixels: Scored pixels whose prediction was clipped into the depth range.
    """

    name: str
    kind: Kind
    title: str
    parameters: int | None
    scores: dict[str, float]
    images: int
    without_valid: int
    clipped_pixels: int

    def __post_init__(self) -> None:
        """Refuses a row with missing or unknown metrics."""
        expected = set(TABLE_METRICS if self.kind == "published" else METRIC_NAMES)
        missing, unknown = sorted(expected - set(self.scores)), sorted(set(self.scores) - set(METRIC_NAMES))
        if missing or unknown:
            raise ValueError(f"row {self.name!r}: missing metrics {missing}, unknown metrics {unknown}")


@checked_dataclass(frozen=True, config=_CHECKED)
class Scores:
    """All rows of one evaluation, and how they were scored.

    Attributes:
        schema: Version of this layout.
        experiment: Its name.
        protocol: Split, crop, depth range, flip averaging and so on, as stored by the evaluation.
        rows: In the order of the table.
    """

    schema: int
    experiment: str
    protocol: dict[str, Any]
    rows: tuple[ScoreRow, ...]

    def __post_init__(self) -> None:
        """Refuses rows that cannot stand side by side."""
        if self.schema != SCHEMA:
            raise ValueError(f"schema {self.schema} found, {SCHEMA} expected; evaluate again")
        names = [row.name for row in self.rows]
        if len(set(names)) < len(names):
            raise ValueError(f"rows must have names of their own, found {names}")
        counts = {(row.images, row.without_valid) for row in self.rows if row.kind != "published"}
        if len(counts) > 1:
            raise ValueError(f"rows were scored on different images, found (scored, left out) counts {sorted(counts)}")


@dataclass(frozen=True)
class ImageScore:
    """Scores of one row on one image; ``scores`` is ``None`` where the image has no valid pixel."""

    row: str
    frame: str
    scene: str
    scores: Mapping[str, float] | None


_PUBLISHED_COMBINERS = (
    # name, title, parameters, d1, d2, d3, REL, SqREL, RMSE, RMSElog, log10
    ("mean", "plain mean", None, 0.8564, 0.9758, 0.9948, 0.1216, 0.0739, 0.4261, 0.1537, 0.0518),
    ("simultaneous", "stack, all at once", 4_266_246, 0.8538, 0.9727, 0.9935, 0.1199, 0.0741, 0.4340, 0.1553, 0.0521),
    ("rgb-tuned", "stack rgb, fine-tuned", 4_266_246, 0.8581, 0.9746, 0.9944, 0.1210, 0.0733, 0.4274, 0.1540, 0.0517),
    ("rgb", "stack rgb, frozen", 4_266_246, 0.8578, 0.9748, 0.9944, 0.1195, 0.0727, 0.4290, 0.1538, 0.0516),
    ("d", "stack d", 4_266_246, 0.8590, 0.9745, 0.9941, 0.1189, 0.0728, 0.4267, 0.1535, 0.0514),
    ("rgb+d", "stack rgb+d", 4_266_678, 0.8595, 0.9748, 0.9944, 0.1193, 0.0724, 0.4267, 0.1533, 0.0514),
)  # fmt: skip


def _published(name: str, title: str, parameters: int | None, scores: Iterable[float]) -> ScoreRow:
    return ScoreRow(
        name=f"published-{name}",
        kind="published",
        title=title,
        parameters=parameters,
        scores=dict(zip(TABLE_METRICS, scores, strict=True)),
        images=654,
        without_valid=0,
        clipped_pixels=0,
    )


def _published_learner(learner: BaseLearner) -> ScoreRow:
    if learner.published is None:
        raise ValueError(f"{learner.name}: the study did not have this learner")
    scores = (learner.published.scores[metric] for metric in TABLE_METRICS)
    return _published(learner.name, learner.title, learner.published.parameters, scores)


PUBLISHED = (
    *(_published_learner(LEARNERS[name]) for name in ("adabins", "ldrn", "bts")),  # the study's order
    *(_published(name, title, parameters, scores) for name, title, parameters, *scores in _PUBLISHED_COMBINERS),
)
"""The published study, parameters recounted from the rebuilt networks (it printed 17.2M for AdaBins)."""

PUBLISHED_NOTE = (
    "Published rows: another protocol and data size (24,231 training and 654 test images of NYU Depth v2, GhostNet "
    "learners, one run, no error bars); they are no match for the rows above."
)

_SCORES = TypeAdapter(Scores)


def scores_json(scores: Scores) -> str:
    """The whole of ``scores``, indented, with a final newline."""
    return _SCORES.dump_json(scores, indent=2).decode() + "\n"


def write_scores(scores: Scores, path: Path) -> None:
    """Writes ``scores`` at once: a reader sees the old file or the new one."""
    write_text(path, scores_json(scores))


def read_scores(path: Path) -> Scores:
    """Reads what ``write_scores`` wrote.

    Raises:
        ValueError: The file is not such a file; the message names it and what is wrong.
    """
    try:
        return _SCORES.validate_json(path.read_text(encoding="utf-8"))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "the file"
        raise ValueError(f"{path}: {place}: {first['msg']}. Evaluate again to rewrite it.") from error


def write_per_image(image_scores: Iterable[ImageScore], path: Path) -> None:
    """One CSV line per row and image; the metrics of an image without valid pixels stay empty."""
    lines = io.StringIO()
    writer = csv.writer(lines, lineterminator="\n")
    writer.writerow(("row", "frame", "scene", *METRIC_NAMES))
    for image in image_scores:
        found = image.scores
        values = ["" if found is None else repr(float(found[metric])) for metric in METRIC_NAMES]
        writer.writerow((image.row, image.frame, image.scene, *values))
    write_text(path, lines.getvalue())


def read_per_image(path: Path) -> tuple[ImageScore, ...]:
    """Reads what ``write_per_image`` wrote.

    Raises:
        ValueError: Other columns, a line of another length, or something that is not a number.
    """
    header = ["row", "frame", "scene", *METRIC_NAMES]
    with path.open(encoding="utf-8", newline="") as file:
        lines = csv.reader(file)
        if (found := next(lines, None)) != header:
            raise ValueError(f"{path}: found the columns {found}, expected {header}. Evaluate again to rewrite it.")
        return tuple(_image_score(line, where=f"{path}, line {lines.line_num}") for line in lines)


def score_table(scores: Scores, *, published: bool = False) -> Table:
    """The rows side by side for a terminal of 80 columns or more, the best of each column bold.

    Args:
        scores: What to show.
        published: Add the rows of the published study below.
    """
    table = Table(
        title=Text(scores.experiment, style="bold italic"),
        box=box.HORIZONTALS,
        padding=0,
        pad_edge=False,
        caption=Text(_caption(scores, published=published), style="dim"),
        caption_justify="left",
    )
    table.add_column("")
    for heading in (*(heading.replace(" ", "\n") for heading in _headings()), "params\nM"):
        table.add_column(heading, justify="right", no_wrap=True)
    best = _best(scores.rows)
    shown = _shown(scores, published=published)
    for title, rows in groupby(shown, key=lambda row: TITLES[row.kind]):
        table.add_row(Text(title, style="italic dim"))
        for row in rows:
            cells = [Text(cell, style="bold" if bold else "") for cell, bold in _cells(row, best)]
            table.add_row(Text(f" {row.title}"), *cells, Text(_millions(row.parameters)))
        table.add_section()
    return table


def markdown_table(scores: Scores, *, published: bool = False) -> str:
    """The same as ``score_table`` for a document."""
    headings = ["", *_headings(), "parameters (M)"]
    lines = [_markdown_line(headings), _markdown_line(["---", *["---:"] * (len(headings) - 1)])]
    best = _best(scores.rows)
    for row in _shown(scores, published=published):
        cells = [f"**{cell}**" if bold else cell for cell, bold in _cells(row, best)]
        label = f"{row.title} ({row.kind})" if row.kind in ("bound", "published") else row.title
        lines.append(_markdown_line([label, *cells, _millions(row.parameters)]))
    return "\n".join([*lines, "", _caption(scores, published=published), ""])


def _shown(scores: Scores, *, published: bool) -> list[ScoreRow]:
    """Rows in the order of their kinds, as given within a kind."""
    rows = [*scores.rows, *(PUBLISHED if published else ())]
    return sorted(rows, key=lambda row: list(TITLES).index(row.kind))


def _headings() -> list[str]:
    """Labels with an arrow towards better."""
    table = [METRICS[metric] for metric in TABLE_METRICS]
    return [f"{metric.label} {'↑' if metric.higher_is_better else '↓'}" for metric in table]


def _shown_value(value: float) -> str:
    text = f"{value:.4f}"
    return text[1:] if text.startswith("0.") else text


def _millions(parameters: int | None) -> str:
    return "-" if parameters is None else f"{parameters / 1e6:.2f}"


def _best(rows: Sequence[ScoreRow]) -> dict[str, str]:
    """The best value of each column as it is shown, so that rows that look alike are marked alike."""
    candidates = [row for row in rows if row.kind not in ("bound", "published")]
    if not candidates:
        return {}
    values = {metric: [row.scores[metric] for row in candidates] for metric in TABLE_METRICS}
    return {
        metric: _shown_value((max if METRICS[metric].higher_is_better else min)(values[metric])) for metric in values
    }


def _cells(row: ScoreRow, best: Mapping[str, str]) -> list[tuple[str, bool]]:
    may_win = row.kind not in ("bound", "published")
    shown = [(metric, _shown_value(row.scores[metric])) for metric in TABLE_METRICS]
    return [(text, may_win and best[metric] == text) for metric, text in shown]


def _caption(scores: Scores, *, published: bool) -> str:
    ours = [row for row in scores.rows if row.kind != "published"]
    parts = [
        f"{key.replace('_', ' ')}: {_plain(value)}{' m' if key.endswith('_depth') else ''}"
        for key, value in scores.protocol.items()
    ]
    sentences = ["; ".join(parts)]
    if ours:
        sentences.append(f"{ours[0].images} images")
    if ours and ours[0].without_valid:
        sentences[-1] += f", {ours[0].without_valid} more left out for want of a valid pixel"
    clipped = [f"{row.title} {row.clipped_pixels:,}" for row in ours if row.clipped_pixels]
    if clipped:
        sentences.append(f"Pixels clipped into the depth range: {', '.join(clipped)}")
    caption = " ".join(f"{sentence}." for sentence in sentences if sentence)
    return f"{caption} {PUBLISHED_NOTE}" if published else caption


def _plain(value: object) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_plain(part)}" for key, part in value.items())
    if isinstance(value, list | tuple):
        between = "x" if len(value) == 2 and all(isinstance(part, int) for part in value) else ", "
        return between.join(map(_plain, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _markdown_line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _image_score(line: Sequence[str], *, where: str) -> ImageScore:
    if len(line) != 3 + len(METRIC_NAMES):
        raise ValueError(f"{where}: found {len(line)} cells, expected {3 + len(METRIC_NAMES)}")
    row, frame, scene, *cells = line
    if not any(cells):
        return ImageScore(row, frame, scene, None)
    try:
        return ImageScore(row, frame, scene, dict(zip(METRIC_NAMES, map(float, cells), strict=True)))
    except ValueError as error:
        raise ValueError(f"{where}: expected a number in every metric or in none, found {cells}") from error
