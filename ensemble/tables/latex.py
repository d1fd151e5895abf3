"""A table for a paper: booktabs, ready to be included."""

import re
from collections.abc import Iterable

from ensemble.tables.table import Cell, Column, Table

_MARKS = {"▲": "+", "▼": "-", "†": r"\dagger", "‡": r"\ddagger"}
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
    **{mark: f"$^{{{symbol}}}$" for mark, symbol in _MARKS.items()},
}


def latex_table(table: Table) -> str:
    """A ``table*`` as wide as the page, with its title and caption below."""
    columns = table.columns
    lines = [
        r"% needs \usepackage{booktabs}",
        r"\begin{table*}",
        r"\centering",
        r"\footnotesize",
        r"\setlength{\tabcolsep}{2.5pt}",
        rf"\begin{{tabular}}{{{''.join(column.align[0] for column in columns)}}}",
        r"\toprule",
        _line(escaped(column.heading) for column in columns),
    ]
    for section in table.sections:
        lines.append(r"\midrule")
        if section.title:
            lines.append(rf"\multicolumn{{{len(columns)}}}{{l}}{{\emph{{{escaped(section.title)}}}}} \\")
        for row in section.rows:
            lines.append(_line(_cell(*each) for each in zip(row.cells, columns, strict=True)))
            if row.spread:
                spreads = (_spread(*each) for each in zip(row.cells[1:], columns[1:], strict=True))
                lines.append(_line([rf"\quad\scriptsize {escaped(row.spread)}", *spreads]))
    caption = ". ".join(escaped(text) for text in (table.title, table.caption) if text)
    lines += [r"\bottomrule", r"\end{tabular}", rf"\caption{{{caption}}}"]
    return "\n".join([*lines, r"\end{table*}", ""])


def escaped(text: str) -> str:
    """Text that LaTeX prints as it is."""
    return re.sub(f"[{re.escape(''.join(_SPECIAL))}]", lambda found: _SPECIAL[found[0]], " ".join(text.split()))


def _cell(cell: Cell, column: Column) -> str:
    text = escaped(cell.text)
    marks = "".join(_MARKS[mark.symbol] for mark in cell.marks)
    return (rf"\textbf{{{text}}}" if cell.best else text) + _beside(f"$^{{{marks}}}$" if marks else "", column)


def _spread(cell: Cell, column: Column) -> str:
    return rf"\scriptsize {escaped(cell.spread)}{_beside('', column)}" if cell.spread else ""


def _beside(marks: str, column: Column) -> str:
    """A box of one width, so that the digits before it stand below each other."""
    return rf"\makebox[1.4em][l]{{{marks}}}" if column.marked else ""


def _line(cells: Iterable[str]) -> str:
    return " & ".join(cells) + r" \\"
