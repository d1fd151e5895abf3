"""The table of a stack beside the plain mean, cross-validated."""

from ensemble.metrics.formulas import TABLE_METRICS
from ensemble.metrics.statistics import few_scenes
from ensemble.report.wording import heading, tone_of
from ensemble.stacking.cross_validation import CrossValidation
from ensemble.tables import Cell, Table, plain_table


def cross_validation_table(found: CrossValidation) -> Table:
    """Metric by metric; differences that are significant have a colour."""
    better, worse = (sum(each.better == side for each in found.differences) for side in ("first", "second"))
    lines = [
        [
            heading(each.metric),
            f"{found.scores['mean'][each.metric]:.4f}",
            f"{found.scores['stack'][each.metric]:.4f}",
            Cell(f"{each.difference:+.4f}", tone=tone_of(each)),
            f"{each.low:+.4f} .. {each.high:+.4f}",
            f"{each.p_holm:.4f}",
        ]
        for each in found.differences
    ]
    return plain_table(
        ("metric", "mean", "stack", "difference", "95 % interval", "p (Holm)"),
        lines,
        title=f"{found.name}, cross-validated over folds of scenes",
        caption=f"Out-of-fold rows, {found.frames} frames of {found.scenes} scenes, fits per fold: {found.repeats}. "
        f"The stack takes away {100 * found.gain:+.2f} % of the plain mean's error (mean over the metrics); it is "
        f"significantly better on {better} and worse on {worse} of {len(TABLE_METRICS)} metrics (paired bootstrap "
        f"over scenes, Holm).{few_scenes(found.scenes)}",
    )
