"""What an evaluation found, and the files it stands in: ``scores.json`` and ``per_image.csv``."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as checked_dataclass

from ensemble.evaluation.results.likeness import Likeness
from ensemble.metrics.formulas import METRICS, TABLE_METRICS
from ensemble.runs.names import BEST_SINGLE, IMAGE_WEIGHTS, MEAN, SEED_MEAN
from ensemble.runs.seals import read_bytes, read_text, write_sealed

Content = TypeVar("Content")

SCHEMA = 2

Kind = Literal["constant", "learner", "combiner", "fitted", "stack", "bound", "published"]
"""A bound uses the truth and a published row other data: neither can win a column; fitted weights saw training rows."""

REFERENCES = (MEAN, BEST_SINGLE, SEED_MEAN)
"""Names of the rows that a stack is held against."""

CHECKED = ConfigDict(extra="forbid", allow_inf_nan=False)
"""Every file of an evaluation is read strictly: no unknown key, no NaN."""

METRIC_NAMES = tuple(METRICS)

TITLES: Mapping[Kind, str] = {
    "constant": "Constant",
    "learner": "Learner",
    "combiner": "Combiner",
    "fitted": "Fitted combiner",
    "stack": "Stack",
    "bound": "Bound, uses truth",
    "published": "Published",
}


@checked_dataclass(frozen=True, config=CHECKED)
class ScoreRow:
    """One predictor's scores: means over the images that have a valid pixel."""

    name: str  # unique key
    kind: Kind
    title: str  # name for people
    parameters: int | None
    """Its own trained parameters; of a stack, those of the meta-learner. ``None`` where there are none."""
    scores: dict[str, float]  # metric -> value, for every one of ``METRIC_NAMES`` (published rows: those of the tables)
    images: int
    without_valid: int  # further images, left out because no pixel of theirs has a truth
    clipped_pixels: int  # scored pixels whose prediction was clipped into the depth range
    deviations: dict[str, float] | None = None
    """Metric -> sample standard deviation over repeated fits; ``None`` for a single fit."""
    repeats: int = 1  # fits that ``scores`` are the mean of
    mul_adds: int | None = None  # multiply-adds of one image, as ``parameters`` of its own networks alone
    frames_per_second: float | None = None  # images a second, likewise
    training_seconds: float | None = None  # time of one fit
    validation_rel: float | None = None
    """REL of a stack on the validation scenes, which chose its weights; of repeats, the mean."""
    choice_rel: float | None = None
    """REL of a stack over out-of-fold frames and validation scenes together, by fits that never saw them; ``None``
    where it was not cross-validated."""
    note: str = ""  # what a reader should know, such as which learner the best single one is

    def __post_init__(self) -> None:
        """Refuses a row with missing or unknown metrics, or with deviations that do not belong to its repeats."""
        expected = set(TABLE_METRICS if self.kind == "published" else METRIC_NAMES)
        missing, unknown = sorted(expected - set(self.scores)), sorted(set(self.scores) - set(METRIC_NAMES))
        if missing or unknown:
            raise ValueError(f"row {self.name!r}: missing metrics {missing}, unknown metrics {unknown}")
        if self.repeats < 1 or (self.deviations is not None) != (self.repeats > 1):
            raise ValueError(
                f"row {self.name!r}: {self.repeats} repeats and deviations {self.deviations}; expected deviations of "
                "two or more repeats, and none of a single one"
            )
        if self.deviations is not None and (
            set(self.deviations) != set(self.scores) or min(self.deviations.values()) < 0
        ):
            raise ValueError(f"row {self.name!r}: deviations {self.deviations}, expected 0 or more for every metric")


@checked_dataclass(frozen=True, config=CHECKED)
class Scores:
    """All rows of one evaluation, and how they were scored."""

    schema: int  # version of this layout
    experiment: str
    protocol: dict[str, Any]  # split, crop, depth range, flip averaging and so on, as stored by the evaluation
    rows: tuple[ScoreRow, ...]  # in the order of the table
    alike: tuple[Likeness, ...] = ()
    """How alike the learners err, an entry for each evaluation; empty of a single learner and in older evaluations."""

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
    """Scores of one row on one image; ``scores`` is ``None`` where the image has no valid pixel.

    Rows of repeated fits have one of these per repeat; ``repeat`` counts them from 0.
    """

    row: str
    frame: str
    scene: str
    scores: Mapping[str, float] | None
    repeat: int = 0


_SCORES = TypeAdapter(Scores)
_COLUMNS = ["row", "frame", "scene", "repeat", *METRIC_NAMES]


def headroom(scores: Scores, metric: str, *, bound: str = IMAGE_WEIGHTS) -> dict[str, float | None]:
    """Which share of the way from the plain mean to a bound each row goes: 0 for the mean, 1 for the bound.

    ``(error_mean - error_row) / (error_mean - error_bound)``, where the error of a share of good pixels is one minus
    it. Below 0 a row is worse than the mean. The best weights of each image are the bound, because the convex oracle is
    nearly as far away for learners whose disagreement is that of another image.

    Returns:
        By name of the row; ``None`` throughout where there is no mean, no such bound, as in older evaluations, or the
        bound is no better than the mean.
    """
    sign = -1.0 if METRICS[metric].higher_is_better else 1.0
    errors = {row.name: sign * row.scores[metric] for row in scores.rows if row.kind != "published"}
    room = errors[MEAN] - errors[bound] if {MEAN, bound} <= set(errors) else 0.0
    return {name: (errors[MEAN] - error) / room if room > 0 else None for name, error in errors.items()}


def scores_json(scores: Scores) -> str:
    """The whole of ``scores``, indented, with a final newline."""
    return _SCORES.dump_json(scores, indent=2).decode() + "\n"


def write_scores(scores: Scores, path: Path) -> None:
    """Writes ``scores`` at once: a reader sees the old file or the new one."""
    write_sealed(path, scores_json(scores).encode())


def read_scores(path: Path) -> Scores:
    """Reads what ``write_scores`` wrote; errors as in ``read_checked``."""
    return read_checked(_SCORES, path)


def read_checked(kind: TypeAdapter[Content], path: Path) -> Content:
    """Reads a JSON file of an evaluation.

    Raises:
        ValueError: The file is not such a file; the message names it and what is wrong.
    """
    try:
        return kind.validate_json(read_bytes(path))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "the file"
        raise ValueError(f"{path}: {place}: {first['msg']}. Evaluate again to rewrite it.") from error


def write_per_image(image_scores: Iterable[ImageScore], path: Path) -> None:
    """One CSV line per row, repeat and image; the metrics of an image without valid pixels stay empty."""
    lines = io.StringIO()
    writer = csv.writer(lines, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for image in image_scores:
        found = image.scores
        values = ["" if found is None else repr(float(found[metric])) for metric in METRIC_NAMES]
        writer.writerow((image.row, image.frame, image.scene, image.repeat, *values))
    write_sealed(path, lines.getvalue().encode())


def read_per_image(path: Path) -> tuple[ImageScore, ...]:
    """Reads what ``write_per_image`` wrote.

    Raises:
        ValueError: Other columns, a line of another length, or something that is not a number.
    """
    lines = csv.reader(io.StringIO(read_text(path), newline=""))
    if (found := next(lines, None)) != _COLUMNS:
        raise ValueError(f"{path}: found the columns {found}, expected {_COLUMNS}. Evaluate again to rewrite it.")
    return tuple(_image_score(line, where=f"{path}, line {lines.line_num}") for line in lines)


def _image_score(line: Sequence[str], *, where: str) -> ImageScore:
    if len(line) != len(_COLUMNS):
        raise ValueError(f"{where}: found {len(line)} cells, expected {len(_COLUMNS)}")
    row, frame, scene, repeat, *cells = line
    if not repeat.isdecimal():
        raise ValueError(f"{where}: found the repeat {repeat!r}, expected 0, 1, 2 ...")
    if not any(cells):
        return ImageScore(row, frame, scene, None, int(repeat))
    try:
        return ImageScore(row, frame, scene, dict(zip(METRIC_NAMES, map(float, cells), strict=True)), int(repeat))
    except ValueError as error:
        raise ValueError(f"{where}: expected a number in every metric or in none, found {cells}") from error
