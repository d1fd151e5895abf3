"""What an evaluation found: its files, and its tables for the terminal and for documents."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as checked_dataclass

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
