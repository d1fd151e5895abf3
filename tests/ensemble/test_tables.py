"""One table through every writer: nothing is lost, broken or run, in a terminal of any width."""

import csv
import io
import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markupsafe import escape
from report_samples import image_scores
from report_samples import table as score_samples
from rich.console import Console

from ensemble.evaluation.results.protocols import ProtocolComparison, ProtocolScores
from ensemble.metrics.published import ALL, OURS, chosen_protocols
from ensemble.metrics.statistics import Difference
from ensemble.predictions.store.verify import CheckedShard, CheckedStore
from ensemble.report.tables.costs import profile_table
from ensemble.report.tables.cross_validation import cross_validation_tables
from ensemble.report.tables.protocols import protocol_tables
from ensemble.report.tables.scores import score_table
from ensemble.report.tables.subsets import subset_table
from ensemble.report.tables.verification import stores_table
from ensemble.settings.schema import DataSettings
from ensemble.stacking.cross_validation import ROWS, CrossValidation, Judged
from ensemble.stacking.subsets import Comparison, SubsetScore
from ensemble.tables import Cell, Column, Mark, Row, Table, plain_table, records, table_of
from ensemble.tables.html import html_table, sentence
from ensemble.tables.latex import latex_table
from ensemble.tables.markdown import markdown_table
from ensemble.tables.sheet import csv_table
from ensemble.tables.terminal import TerminalTable
from ensemble.training.cost import META_PUBLISHED, Profile, ProfileRow

DIFFERENCE = Difference("stack", "mean", "abs_rel", -0.01, -0.02, 0.001, 0.03, 0.04, "first")
PROFILE = Profile(17_553_668, 70.2, 14_300_000_000, 800.0, 1.25, (480, 640), "cpu", False, 5)
STORES = [
    CheckedStore("rooms/adabins/oof/fold-0", (CheckedShard(Path("a"), 123_456_789, 64),)),
    CheckedStore("an-experiment/depth-anything/validation/full", (CheckedShard(Path("b"), 12_345, 0, "damaged"),)),
]
SUBSETS = [("adabins",), ("bts",), ("adabins", "bts"), ("depth-anything-v2-relative", "adabins", "bts", "ldrn")]
SCORES = score_samples(image_scores())
MEANS = SCORES.rows[0].scores
PROTOCOL_SCORES = {OURS: ProtocolScores(SCORES)} | {
    name: ProtocolScores(SCORES, "somewhere", other_flip=name == "bts")
    for name in chosen_protocols((ALL,), DataSettings(kind="nyu"))
}
JUDGED = Judged("oof", 60, 12, dict.fromkeys(ROWS, MEANS), (), (DIFFERENCE,))
RESULTS = {
    "scores": score_table(SCORES, published=True),
    "protocols": protocol_tables(ProtocolComparison(1, PROTOCOL_SCORES))[-1],
    "subsets": subset_table(
        Comparison("rooms", 60, 12, tuple(SubsetScore(each, "inverse-variance", MEANS) for each in SUBSETS), ())
    ),
    "folds": cross_validation_tables(CrossValidation("meta-d", 1, JUDGED, replace(JUDGED, rows="validation")))[0],
    "costs": profile_table([ProfileRow("x", "Meta-learner rgb+d", PROFILE, 9_187_200_000, META_PUBLISHED["d"])]),
    "stores": stores_table(STORES),
}

BETTER = Mark("▲", "better than <before>")
NAMES = ("mean log depth map", "best single (BTS)", "mean of 3 seeds of BTS", "stack rgb+d, joint")
HOSTILE = r"a|b & <b>c</b> \d [/x]"
WIDTHS = (60, 80, 140)


def printed(table: Table, width: int, *, ansi: bool = False) -> list[str]:
    page = Console(width=width, file=io.StringIO(), force_terminal=ansi, color_system="standard" if ansi else None)
    with page.capture() as found:
        page.print(TerminalTable(table))
    return found.get().splitlines()


def wide(columns: int = 12) -> Table:
    """More columns than fit into 60 letters; the first and the last of them stay longest."""
    headings = [Column(f"score of {index}", priority=int(index in (0, columns - 1))) for index in range(columns)]
    rows = [[name, *(f"{index}.{row:04d}" for index in range(columns))] for row, name in enumerate(NAMES)]
    groups = (("Bound, uses truth", rows[:2]), ("Stack", rows[2:]))
    return table_of(["", *headings], groups, title="[wide]", caption="What must be known.")


def marked() -> Table:
    best = Cell("1", best=True, spread="0.1", marks=(BETTER,))
    row = Row.of(HOSTILE, best, "x_y", aside="bound", note="a note", spread="± of 2 fits", tone="worse")
    return table_of(
        ["", Column("d1 ↑", marked=True), "50 %"], [("A & B", [row]), ("", [["plain", "2", "-"]])], title="T_1"
    )


@pytest.mark.parametrize("name", RESULTS)
@pytest.mark.parametrize("width", WIDTHS)
def test_every_result_keeps_its_rows_at_every_width(name: str, width: int):
    found = RESULTS[name]
    lines = printed(replace(found, caption=""), width)
    assert max(map(len, lines)) <= width
    assert "…" not in "".join(lines)
    letters = iter("".join(lines))
    for row in found.rows:  # a name may go over several lines, with numbers between them
        assert all(letter in letters for letter in "".join(row.cells[0].text.split())), row.cells[0]
    assert any("left out" in line for line in lines) == (width == 60 and name != "protocols")
    if width == 140:
        assert all(any(line.strip().startswith(row.cells[0].text.strip()) for line in lines) for row in found.rows)
        assert any(all(column.heading in line for column in found.columns) for line in lines)


@pytest.mark.parametrize("width", [*WIDTHS, 24])
def test_no_terminal_loses_the_names_of_rows_or_breaks_a_number(width: int):
    lines = printed(wide(), width)
    assert max(map(len, lines)) <= width
    text = " ".join(" ".join(lines).split())
    assert "…" not in text
    first = [re.split(r" +\d+\.\d{4}", line)[0].strip() for line in lines]
    names = " ".join(part for part in first if part)
    for name in (*NAMES, "Bound, uses truth"):
        assert all(word in names for word in name.split()), name
    numbers = [line for line in lines if re.search(r"\d\.\d{4}", line)]
    assert len(numbers) == len(NAMES)
    assert len({len(re.findall(r"\d+\.\d{4}\b", line)) for line in numbers}) == 1


def test_what_a_narrow_terminal_leaves_out_is_named_lowest_priority_and_right_most_first():
    lines = printed(wide(), 60)
    told = " ".join(" ".join(lines).partition("columns left out at 60 columns: ")[2].split())
    left, _, way_out = told.partition("; ")
    assert way_out == "wider terminal or --json shows all"
    missing = [int(name.removeprefix("score of ")) for name in left.split(", ")]
    kept = [int(number) for number in re.findall(r"(\d+)\.0000", next(line for line in lines if ".0000" in line))]
    assert sorted((*missing, *kept)) == list(range(12))
    assert kept == [*range(len(kept) - 1), 11]


def test_a_wide_terminal_breaks_neither_headings_nor_names():
    lines = printed(wide(7), 140)
    assert "left out" not in " ".join(lines)
    (headings,) = (line for line in lines if "score" in line)
    assert all(f"score of {index}" in headings for index in range(7))
    for name in NAMES:
        assert any(line.strip().startswith(name) for line in lines)


def test_headings_take_no_more_lines_than_their_cells_ask_for():
    table = plain_table(
        ["", Column("RMSElog ↓", "RMSE log ↓"), "95 % interval"], [["x" * 30, "0.1000", "0.1 .. 0.2345"]]
    )
    lines = [line for line in printed(table, 55) if re.search("RMSE|log|interval", line)]
    assert [line.split() for line in lines] == [["RMSE"], ["log", "↓", "95", "%", "interval"]]


def test_words_longer_than_half_of_a_terminal_are_folded_and_not_lost():
    name = "experiment/" * 10
    lines = printed(plain_table(["store", "shards", Column("damaged", priority=1)], [[name, "3", "1"]]), 60)
    assert name in "".join(line.split()[0] for line in lines if "exper" in line or "ment" in line)
    assert any("damaged" in line for line in lines)


def test_the_terminal_shows_best_tones_spreads_and_marks():
    lines = printed(marked(), 80, ansi=True)
    text = "\n".join(lines)
    assert re.search(r"\x1b\[1;31m *1 ▲", text)
    assert "\x1b[31m" in text
    assert HOSTILE in text
    plain = [line.split() for line in printed(marked(), 80)]
    assert ["±", "of", "2", "fits", "0.1"] in plain
    assert "note" not in text


def test_markdown_keeps_every_sign_of_a_cell():
    header, rule, first, second = markdown_table(marked()).splitlines()
    assert header == "|  | d1 ↑ | 50 % |"
    assert rule == "| --- | ---: | ---: |"
    assert first == r"| a\|b & \<b>c\</b> \\d [/x] (bound) | **1** ± 0.1 ▲ | x_y |"
    assert second == "| plain | 2 | - |"
    assert markdown_table(plain_table(["a"], [["p < .001 & &lt;"]], caption="C.")).endswith(
        "| p < .001 & \\&lt; |\n\nC.\n"
    )


def test_latex_keeps_every_sign_of_a_cell():
    text = latex_table(marked())
    assert r"\multicolumn{3}{l}{\emph{A \& B}} \\" in text
    first = r"a\textbar{}b \& \textless{}b\textgreater{}c\textless{}/b\textgreater{} \textbackslash{}d [/x]"
    assert rf"{first} & \textbf{{1}}\makebox[1.4em][l]{{$^{{+}}$}} & x\_y \\" in text
    assert r"\quad\scriptsize $\pm$ of 2 fits & \scriptsize 0.1\makebox[1.4em][l]{} &  \\" in text
    assert r" & d1 $\uparrow$ & 50 \% \\" in text
    assert r"\begin{tabular}{lrr}" in text
    assert r"\caption{T\_1}" in text
    assert text.isascii()


def test_html_keeps_every_sign_of_a_cell():
    text = html_table(marked(), "scores", "Table of <scores>")
    assert text.startswith('<div class="scroll" role="region" aria-label="Table of &lt;scores&gt;" tabindex="0">')
    assert f'<tr class="worse"><th scope="row">{escape(HOSTILE)}<small>a note</small></th>' in text
    marks = '<span class="marks" title="better than &lt;before&gt;">▲</span><small>± 0.1</small>'
    assert f'<td class="best"><span class="value">1</span>{marks}</td><td>x_y</td></tr>' in text
    assert '<th colspan="3" scope="rowgroup"><span>A &amp; B</span></th>' in text
    assert '<th scope="col">row</th><th scope="col">d1 ↑</th>' in text
    assert text.count("<tbody>") == text.count("</tbody>") == 2
    assert "scroll" not in html_table(marked())


@pytest.mark.parametrize("text", ["=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "\t=1", "\n=1", "-x", "=", "-"])
def test_a_spreadsheet_runs_no_text(text: str):
    ((_, cell),) = list(csv.reader(io.StringIO(csv_table(plain_table(["a", "b"], [["x", text]])), newline="")))[1:]
    assert cell == f"'{text}"


@pytest.mark.parametrize("value", [-0.25, 1e-300, -1e300, float("-inf"), 7, True])
def test_numbers_in_a_sheet_stay_numbers(value: float):
    assert csv_table(records(["a", "b"], [{"b": value}])) == f"a,b\n,{value}\n"


harmless = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r=+-@"))


@given(st.lists(st.tuples(harmless, harmless), max_size=4))
def test_a_sheet_is_read_back_as_it_was_written(lines: list[tuple[str, str]]):
    found = csv.reader(io.StringIO(csv_table(plain_table(["a", "b"], lines)), newline=""))
    assert list(found) == [["a", "b"], *map(list, lines)]


def test_a_lone_carriage_return_does_not_end_a_line_of_a_sheet():
    assert csv_table(plain_table(["a", "b"], [["x\ry", "\r=1"]])) == 'a,b\n"x\ny","\'\n=1"\n'


def test_rows_have_a_cell_for_every_column():
    with pytest.raises(ValueError, match="2 cells under 1 columns"):
        plain_table(["a"], [["x", "y"]])


def test_commands_in_a_sentence_of_a_page_are_code_and_nothing_in_it_is_markup():
    assert sentence("run `a <b>` & go") == "run <code>a &lt;b&gt;</code> &amp; go"
