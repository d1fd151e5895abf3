"""Makes every format of a report from the files of evaluations."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ensemble.evaluation.results.comparisons import compare
from ensemble.evaluation.results.merging import merged, read_evaluation
from ensemble.metrics.statistics import Resampling
from ensemble.report.documents import csv_report, json_report, latex_report, markdown_report, pairs_report
from ensemble.report.page import html_page
from ensemble.report.sentences import summary
from ensemble.runs.locks import PATIENCE, StoreLock
from ensemble.runs.paths import Outputs, Run
from ensemble.runs.seals import write_sealed


@dataclass(frozen=True)
class Written:
    """What a report said, and where it is."""

    folder: Path
    names: tuple[str, ...]  # of the files
    summary: tuple[str, ...]
    json: str  # everything as text for other programs


def write_report(
    runs: Sequence[Run],
    where: Outputs,
    *,
    out: Path | None = None,
    by: Resampling = "scene",
    resamples: int = 10_000,
    published: bool = True,
) -> Written:
    """Read evaluations, compare their rows, and write ``report.md``, ``.tex``, ``.csv``, ``.html`` and all pairs.

    Without ``out`` they stand in the folder of a single run, else in that of the first experiment's reports.

    Raises:
        ValueError: Files are damaged or missing, or the evaluations do not fit together.
    """
    evaluation = merged([(str(run.folder), read_evaluation(run)) for run in runs])
    scores = evaluation.scores
    comparisons = compare(scores, evaluation.images, by=by, resamples=resamples)
    first = scores.experiment.split(" + ")[0]
    folder = out or (runs[0].folder if len(runs) == 1 else where.report(first))
    texts = (
        markdown_report(scores, comparisons, published=published, details=evaluation.details),
        latex_report(scores, comparisons, published=published),
        csv_report(scores, comparisons),
        pairs_report(comparisons.differences),
        html_page(evaluation, comparisons, published=published),
    )
    files = Run(folder).reports
    with StoreLock(folder, patience=PATIENCE, keep=False):
        for path, text in zip(files, texts, strict=True):
            write_sealed(path, text.encode(), beside=False)
    names = tuple(path.name for path in files)
    return Written(folder, names, tuple(summary(scores, comparisons)), json_report(scores, comparisons))
