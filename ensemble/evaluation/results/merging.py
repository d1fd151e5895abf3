"""Reads what evaluations wrote, and puts several side by side where that is fair."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ensemble.evaluation.results.details import StackDetails, read_details
from ensemble.evaluation.results.gallery import Gallery, read_galleries
from ensemble.evaluation.results.scores import ImageScore, ScoreRow, Scores, read_per_image, read_scores
from ensemble.runs.paths import Run

AGREEMENT = 1e-6
"""Relative difference below which two evaluations of one row are the same."""

OF_LEARNERS = ("combiner", "fitted", "bound")
"""Kinds of rows that say something else where they are of other learners."""


@dataclass(frozen=True)
class Evaluation:
    """All that is known of the rows of one evaluation, or of several merged ones."""

    scores: Scores
    images: tuple[ImageScore, ...]  # scores per row, repeat and image
    details: Mapping[str, StackDetails]  # by name of the stack
    galleries: Mapping[str, Gallery]  # by name of the stack


def read_evaluation(run: Run) -> Evaluation:
    """Everything that an evaluation wrote to a folder; details and pictures may be missing."""
    if not run.per_image.is_file():
        raise ValueError(f"{run.folder}: {run.scores.name} without {run.per_image.name}; evaluate again")
    return Evaluation(
        scores=read_scores(run.scores),
        images=read_per_image(run.per_image),
        details=read_details(run.details).stacks if run.details.is_file() else {},
        galleries={each.stack: each for each in read_galleries(run.gallery)} if run.gallery.is_file() else {},
    )


def merged(found: Sequence[tuple[str, Evaluation]]) -> Evaluation:
    """One evaluation or more as one, by where each comes from; rows that stand in more than one are kept once.

    Means, fitted weights and bounds of an evaluation with other learners than the first are rows of their own, called
    by where they come from; stacks are held against those of the first.

    Raises:
        ValueError: Protocols or test images differ, or a row differs between two of them.
    """
    (first_name, first), *others = found
    rows = {row.name: row for row in first.scores.rows}
    origin = dict.fromkeys(rows, first_name)
    images = list(first.images)
    details, galleries = dict(first.details), dict(first.galleries)
    for name, given in others:
        _check_protocol(first_name, first, name, given)
        other = given if _learners(given) == _learners(first) else _with_own_names(name, given, rows)
        for row in other.scores.rows:
            if row.name in rows:
                _check_agreement(origin[row.name], rows[row.name], name, row)
        fresh = {row.name: row for row in other.scores.rows if row.name not in rows}
        _check_repeated_images(images, [image for image in other.images if image.row not in fresh], name)
        images += [image for image in other.images if image.row in fresh]
        rows |= fresh
        origin |= dict.fromkeys(fresh, name)
        details = {**other.details, **details}
        galleries = {**other.galleries, **galleries}
    experiments = dict.fromkeys(each.scores.experiment for _, each in found)
    alike = {each.learners: each for _, evaluation in reversed(found) for each in evaluation.scores.alike}
    joined = " + ".join(experiments)
    scores = replace(first.scores, experiment=joined, rows=tuple(rows.values()), alike=tuple(alike.values()))
    return Evaluation(scores, tuple(images), details, galleries)


def _learners(evaluation: Evaluation) -> set[str]:
    return {row.name for row in evaluation.scores.rows if row.kind == "learner"}


def _with_own_names(name: str, evaluation: Evaluation, rows: Mapping[str, ScoreRow]) -> Evaluation:
    """An evaluation whose rows of learners that stand among ``rows`` with other scores are called by where it is."""
    called = "/".join(Path(name).parts[-2:])
    own = {
        row.name: f"{row.name} ({called})"
        for row in evaluation.scores.rows
        if row.kind in OF_LEARNERS and row.name in rows and _differing(rows[row.name].scores, row.scores)
    }
    renamed = tuple(
        replace(row, name=own[row.name], title=f"{row.title} ({called})") if row.name in own else row
        for row in evaluation.scores.rows
    )
    images = tuple(replace(image, row=own.get(image.row, image.row)) for image in evaluation.images)
    return replace(evaluation, scores=replace(evaluation.scores, rows=renamed), images=images)


def _check_protocol(first_name: str, first: Evaluation, name: str, other: Evaluation) -> None:
    wanted, given = first.scores.protocol, other.scores.protocol
    differing = [
        f"{key} is {wanted.get(key)!r} and {given.get(key)!r}"
        for key in {**wanted, **given}
        if wanted.get(key) != given.get(key)
    ]
    if differing:
        raise ValueError(
            f"{first_name} and {name} were scored under different protocols: {'; '.join(differing)}. "
            "Report them one by one"
        )
    frames, theirs = ({(image.frame, image.scene) for image in each.images} for each in (first, other))
    if frames != theirs:
        odd = min(frames ^ theirs)[0]
        raise ValueError(
            f"{first_name} and {name} were scored on different images: {len(frames)} and {len(theirs)}, of which "
            f"{len(frames & theirs)} are the same (first that is not: {odd}). Report them one by one"
        )


def _check_agreement(first_name: str, row: ScoreRow, name: str, other: ScoreRow) -> None:
    differing = [
        f"{metric} is {first:.6g} and {second:.6g}"
        for metric, (first, second) in _differing(row.scores, other.scores).items()
    ]
    if (row.kind, row.repeats) != (other.kind, other.repeats):
        differing.append(f"{row.kind} of {row.repeats} fits and {other.kind} of {other.repeats}")
    if differing:
        raise ValueError(
            f"row {row.name!r} differs between {first_name} and {name}: {'; '.join(differing)}. Evaluate both again "
            "with the same learners, or give the runs names of their own"
        )


def _check_repeated_images(images: Sequence[ImageScore], others: Sequence[ImageScore], name: str) -> None:
    known = {(image.row, image.frame, image.repeat): image for image in images}
    for other in others:
        image = known.get((other.row, other.frame, other.repeat))
        if image is None or _differing(image.scores or {}, other.scores or {}):
            raise ValueError(
                f"{name}: row {other.row!r} has another score on {other.frame} than in the evaluations before it; "
                "evaluate both again"
            )


def _differing(scores: Mapping[str, float], others: Mapping[str, float]) -> dict[str, tuple[float, float]]:
    """Both values of every metric that does not agree; NaN for one that only the other evaluation has."""
    pairs = {metric: (scores.get(metric, math.nan), others.get(metric, math.nan)) for metric in {**scores, **others}}
    return {metric: pair for metric, pair in pairs.items() if not math.isclose(*pair, rel_tol=AGREEMENT, abs_tol=1e-9)}
