"""The table of all subsets of learners."""

from itertools import groupby

from ensemble.metrics.formulas import METRICS
from ensemble.report.wording import heading
from ensemble.stacking.baselines import CHOSEN_BY
from ensemble.stacking.subsets import SHOWN, Comparison, SubsetScore
from ensemble.tables import Cell, Column, Table, table_of
from meta.combiners import FITTED_COMBINERS
from meta.fusion import COMBINERS


def subset_table(comparison: Comparison) -> Table:
    """Every subset with its best combiner, a section for every number of learners."""
    scores = {metric: [f"{each.scores[metric]:.4f}" for each in comparison.best] for metric in SHOWN}
    winners = {metric: (max if METRICS[metric].higher_is_better else min)(scores[metric]) for metric in SHOWN}

    def line(each: SubsetScore) -> list[str | Cell]:
        cells = [Cell(text := f"{each.scores[metric]:.4f}", text == winners[metric]) for metric in SHOWN]
        return [" + ".join(each.learners), each.combiner, *cells]

    ordered = sorted(comparison.best, key=lambda each: (len(each.learners), each.scores[CHOSEN_BY]))
    return table_of(
        ("learners", Column("best combiner", align="left"), *map(heading, SHOWN)),
        (("", map(line, found)) for _, found in groupby(ordered, key=lambda each: len(each.learners))),
        title=f"{comparison.experiment}: subsets of learners",
        caption=f"Out-of-fold rows, {comparison.frames} frames of {comparison.scenes} scenes. Weights are fitted on "
        f"the other folds; of each subset the best of {len(COMBINERS) + len(FITTED_COMBINERS)} combiners by "
        f"{METRICS[CHOSEN_BY].label} is shown.",
    )
