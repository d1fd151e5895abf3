"""The table of scores for a paper: booktabs, ready to be included."""

import re
from collections.abc import Iterable
from itertools import groupby

from ensemble.evaluation.results.comparisons import Comparisons, row_marks
from ensemble.evaluation.results.scores import TITLES, ScoreRow, Scores, headroom
from ensemble.metrics.formulas import TABLE_METRICS
from ensemble.report.sentences import MARK_WORDS, resampling_sentence
from ensemble.report.wording import best_values, caption, headings, is_best, millions, number, share, shown_rows

_SPECIAL = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    **{character: f"\\{character}" for character in "&%$#_{}"},
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    "±": r"$\pm$",
}
_MARKS = {"above": "+", "below": "-", "best-single": r"\dagger", "seed-mean": r"\ddagger"}


def escaped(text: str) -> str:
    """Text that LaTeX prints as it is."""
    return re.sub(r"[\\~^&%$#_{}<>|↑↓±]", lambda found: _SPECIAL[found[0]], " ".join(text.split()))


def latex_table(scores: Scores, comparisons: Comparisons | None, *, published: bool = False) -> str:
    r"""A ``table*`` with the scores, marks of significance, the head-room share of REL and parameters.

    Args:
        scores: What to show.
        comparisons: Where the marks come from; without it there are none.
        published: Add the rows of the published study below.
    """
    room, best = headroom(scores, "abs_rel"), best_values(scores.rows)
    header = ["", *map(escaped, headings()), r"head-room", "params (M)"]
    lines = [
        r"% needs \usepackage{booktabs}",
        r"\begin{table*}",
        r"\centering",
        r"\footnotesize",
        r"\setlength{\tabcolsep}{2.5pt}",
        rf"\begin{{tabular}}{{l{'r' * (len(header) - 1)}}}",
        r"\toprule",
        _line(header),
    ]
    for title, rows in groupby(shown_rows(scores, published=published), key=lambda row: TITLES[row.kind]):
        lines += [r"\midrule", rf"\multicolumn{{{len(header)}}}{{l}}{{\emph{{{escaped(title)}}}}} \\"]
        for row in rows:
            cells = [_cell(row, metric, comparisons, bold=is_best(row, metric, best)) for metric in TABLE_METRICS]
            lines.append(
                _line([escaped(row.title), *cells, escaped(share(room.get(row.name))), millions(row.parameters)])
            )
            if row.deviations is not None:
                box = "" if comparisons is None else _beside("")
                spread = [rf"\scriptsize {number(row.deviations[metric])}{box}" for metric in TABLE_METRICS]
                lines.append(_line([rf"\quad\scriptsize $\pm$ of {row.repeats} fits", *spread, "", ""]))
    lines += [r"\bottomrule", r"\end{tabular}", rf"\caption{{{_caption(scores, comparisons, published=published)}}}"]
    return "\n".join([*lines, r"\end{table*}", ""])


def _cell(row: ScoreRow, metric: str, comparisons: Comparisons | None, *, bold: bool) -> str:
    value = number(row.scores[metric])
    text = rf"\textbf{{{value}}}" if bold else value
    if comparisons is None:
        return text
    marks = "".join(_MARKS[mark] for mark in row_marks(comparisons, row, metric))
    return text + _beside(f"$^{{{marks}}}$" if marks else "")


def _beside(marks: str) -> str:
    """A box of one width, so that the digits before it stand below each other."""
    return rf"\makebox[1.4em][l]{{{marks}}}"


def _caption(scores: Scores, comparisons: Comparisons | None, *, published: bool) -> str:
    text = f"{escaped(scores.experiment)}. {escaped(caption(scores, published=published))}"
    text += " Head-room: share of the way from the plain mean to the convex oracle in REL."
    if comparisons is None:
        return text
    legend = "; ".join(f"$^{{{mark}}}$ {escaped(MARK_WORDS[name])}" for name, mark in _MARKS.items())
    return f"{text} {legend}. {escaped(resampling_sentence(comparisons))}"


def _line(cells: Iterable[str]) -> str:
    return " & ".join(cells) + r" \\"
