"""Tables of a stack beside the plain mean and the weighted log-mean, cross-validated."""

from ensemble.metrics.formulas import TABLE_METRICS
from ensemble.metrics.statistics import Difference, few_scenes
from ensemble.report.wording import heading, tone_of
from ensemble.stacking.cross_validation import BAR, MEAN, STACK, CrossValidation, Judged
from ensemble.tables import Cell, Table, plain_table

LEFT_OUT = (
    "Leave-one-fold-out: every frame is judged by a fit to the other folds. Where one fold is deeper than the rest, a "
    "correction of depth may get the wrong sign here; what corrections are worth is told by scenes in no fold."
)
VALIDATION = (
    "Validation scenes, which lie in no fold, through the mean of the models of the folds. Strengths of corrections "
    "are chosen for every scene on the others."
)


def cross_validation_tables(found: CrossValidation) -> tuple[Table, Table]:
    """Out-of-fold frames, then validation scenes."""
    return (
        _table(found, found.left_out, f"{found.name}, cross-validated over folds of scenes", LEFT_OUT),
        _table(found, found.validation, f"{found.name}, on scenes in no fold", VALIDATION),
    )


def _table(found: CrossValidation, judged: Judged, title: str, how: str) -> Table:
    """Metric by metric; differences from the weighted log-mean that are significant have a colour."""
    by_metric = {each.metric: each for each in judged.against_bar}
    lines = [
        [
            heading(metric),
            *(f"{judged.scores[row][metric]:.4f}" for row in (MEAN, BAR, STACK)),
            *_cells(by_metric.get(metric)),
        ]
        for metric in TABLE_METRICS
    ]
    return plain_table(
        ("metric", "mean", "weighted log-mean", "stack", "difference", "95 % interval", "p (Holm)"),
        lines,
        title=title,
        caption=f"{how} {judged.frames} frames of {judged.scenes} scenes, fits per fold: {found.repeats}. Differences "
        f"are from the weighted log-mean, the bar: of its error the stack takes away {100 * judged.gain(BAR):+.2f} % "
        f"(mean over the metrics){_counted(judged.against_bar)}; of the plain mean's {100 * judged.gain(MEAN):+.2f} %"
        f"{_counted(judged.differences)}.{few_scenes(judged.scenes)}",
    )


def _cells(each: Difference | None) -> list[str | Cell]:
    if each is None:
        return ["-", "-", "-"]
    difference = Cell(f"{each.difference:+.4f}", tone=tone_of(each))
    return [difference, f"{each.low:+.4f} .. {each.high:+.4f}", f"{each.p_holm:.4f}"]


def _counted(found: tuple[Difference, ...]) -> str:
    """On how many metrics a difference is more than chance (paired bootstrap over scenes, Holm)."""
    if not found:
        return ", one scene tells no interval"
    better, worse = (sum(each.better == side for each in found) for side in ("first", "second"))
    return f", significantly better on {better} and worse on {worse} of {len(TABLE_METRICS)}"
