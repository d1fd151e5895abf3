"""Tables and files of an evaluation: bold where it belongs, and the same numbers after every round trip."""

import json
import re

import pytest
from rich.console import Console

from base_learners import LEARNERS
from ensemble.evaluation.results.published import PUBLISHED
from ensemble.evaluation.results.scores import (
    METRIC_NAMES,
    SCHEMA,
    ImageScore,
    ScoreRow,
    Scores,
    read_per_image,
    read_scores,
    scores_json,
    write_per_image,
    write_scores,
)
from ensemble.metrics.formulas import TABLE_METRICS
from ensemble.metrics.study import STUDIED
from ensemble.report.tables.scores import score_document, score_table
from ensemble.runs.seals import checksum_file
from ensemble.tables.terminal import TerminalTable

BTS = (0.6669, 0.9078, 0.9747, 0.2191, 0.1967, 0.6753, 0.2452, 0.086, 24.1)
MEAN = (0.6827, 0.9169, 0.9810, 0.1956, 0.1683, 0.6653, 0.2343, 0.0822, 22.3)
STACK = (0.6846, 0.9201, 0.9819, 0.1931, 0.1661, 1.2087, 0.2327, 0.0822, 22.1)
ORACLE = (0.8104, 0.9557, 0.9902, 0.1222, 0.0977, 0.4991, 0.1717, 0.0514, 15.0)


def score_row(name, kind, values, **changes) -> ScoreRow:
    metrics = dict(zip(METRIC_NAMES, values, strict=True))
    fields = {"title": name.upper(), "parameters": None, "images": 149, "without_valid": 0, "clipped_pixels": 0}
    return ScoreRow(name=name, kind=kind, scores=metrics, **(fields | changes))


def evaluation(*rows, **changes) -> Scores:
    fields = {"schema": SCHEMA, "experiment": "nyu", "protocol": {"crop": "eigen", "flip_averaging": True}}
    given = rows or (
        score_row("oracle", "bound", ORACLE),
        score_row("meta-d", "stack", STACK, parameters=4_266_246, clipped_pixels=1234),
        score_row("bts", "learner", BTS, parameters=8_900_728),
        score_row("mean", "combiner", MEAN),
    )
    return Scores(rows=tuple(given), **(fields | changes))


def printed(table, *, width=80, ansi=False) -> str:
    console = Console(width=width, force_terminal=ansi, color_system="standard" if ansi else None)
    with console.capture() as capture:
        console.print(TerminalTable(table))
    return capture.get()


def markdown_rows(text: str) -> dict[str, list[str]]:
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:1] == "|"]
    return {first: rest for first, *rest in cells[2:]}


def test_scores_round_trip(tmp_path):
    scores = evaluation(protocol={"crop": "none", "range": [0.001, 10.0], "flip_averaging": False, "split": None})
    write_scores(scores, tmp_path / "scores.json")
    assert read_scores(tmp_path / "scores.json") == scores
    assert {path.name for path in tmp_path.iterdir()} == {"scores.json", "scores.json.sha256"}


def test_json_for_the_command_line_has_every_metric():
    rows = json.loads(scores_json(evaluation()))["rows"]
    assert {tuple(row["scores"]) for row in rows} == {METRIC_NAMES}
    assert rows[1]["scores"]["silog_x100"] == 22.1
    assert rows[1]["parameters"] == 4_266_246


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda tree: tree | {"schema": SCHEMA + 1}, "schema 3 found, 2 expected"),
        (lambda tree: tree | {"extra": 1}, "extra"),
        (lambda tree: {key: value for key, value in tree.items() if key != "rows"}, "rows"),
    ],
)
def test_a_file_that_is_no_score_file_is_named(tmp_path, change, message):
    path = tmp_path / "scores.json"
    path.write_text(json.dumps(change(json.loads(scores_json(evaluation())))))
    with pytest.raises(ValueError, match=rf"scores\.json: .*{message}"):
        read_scores(path)


def test_a_torn_file_is_named(tmp_path):
    path = tmp_path / "scores.json"
    path.write_text(scores_json(evaluation())[:100])
    with pytest.raises(ValueError, match=r"scores\.json: the file: Invalid JSON"):
        read_scores(path)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_score_that_is_not_finite_is_refused(value):
    with pytest.raises(ValueError, match="finite"):
        score_row("bts", "learner", (value, *BTS[1:]))


def test_missing_and_unknown_metrics_are_named():
    with pytest.raises(ValueError, match=r"row 'x': missing metrics \['abs_rel', 'd1', .*unknown metrics \['delta1'\]"):
        ScoreRow("x", "learner", "X", None, {"delta1": 0.5}, 1, 0, 0)


def test_rows_on_different_images_do_not_stand_side_by_side():
    with pytest.raises(ValueError, match="different images"):
        evaluation(score_row("a", "learner", BTS), score_row("b", "learner", BTS, images=148, without_valid=1))


def test_two_rows_of_one_name_are_refused():
    with pytest.raises(ValueError, match="names of their own"):
        evaluation(score_row("a", "learner", BTS), score_row("a", "learner", MEAN))


def test_per_image_round_trip_keeps_every_bit_and_the_missing(tmp_path):
    third = tuple(1 / (3 + i) for i in range(len(METRIC_NAMES)))
    images = (
        ImageScore("bts", "group_031/rgb_00412", "group_031", dict(zip(METRIC_NAMES, third, strict=True))),
        ImageScore("bts", 'odd, "frame"', "scene 2", None),
        ImageScore("bts", 'odd, "frame"', "scene 2", None, repeat=1),
    )
    path = tmp_path / "per_image.csv"
    write_per_image(images, path)
    assert read_per_image(path) == images
    assert path.read_text().splitlines()[0] == "row,frame,scene,repeat," + ",".join(METRIC_NAMES)


def test_per_image_file_with_other_content_is_refused(tmp_path):
    path = tmp_path / "per_image.csv"
    write_per_image([], path)
    checksum_file(path).unlink()
    header = path.read_text()
    for line, message in [("a,b\n", "found 2 cells"), ("a,b,c,0" + ",1" * 8 + ",x\n", "expected a number"),
                          ("a,b,c,0" + ",1" * 8 + ",\n", "expected a number"),
                          ("a,b,c,-1" + ",1" * 9 + "\n", "found the repeat '-1'")]:  # fmt: skip
        path.write_text(header + line)
        with pytest.raises(ValueError, match=f"line 2: {message}"):
            read_per_image(path)
    path.write_text("row,frame\n")
    with pytest.raises(ValueError, match="found the columns"):
        read_per_image(path)


def test_table_marks_the_best_and_never_a_bound():
    text = printed(score_table(evaluation()), ansi=True)
    text = text[text.index("Learner") :]
    bold = set(re.findall(r"\x1b\[1m\s*([.\d]+)", text))
    assert bold == {".6846", ".9201", ".9819", ".1931", ".1661", ".6653", ".2327", ".0822"}
    assert len(re.findall(r"\x1b\[1m\s*\.", text)) == 9  # log10 is a tie of two rows
    for value in (".8104", ".9557", ".4991"):
        assert value in text


def test_table_has_sections_arrows_protocol_and_fits_eighty_columns():
    text = printed(score_table(evaluation()))
    order = [text.index(word) for word in ("Learner", "BTS", "Combiner", "MEAN", "Stack", "META-D", "Bound", "ORACLE")]
    assert order == sorted(order)
    assert "…" not in text
    assert (text.count("↑"), text.count("↓")) == (3, 5)
    assert "4.27" in text
    caption = " ".join(text.split())
    assert "crop: eigen; flip averaging: on. 149 images." in caption
    assert "clipped into the depth range: META-D 1,234" in caption
    assert "Published" not in text


def test_the_protocol_reads_as_a_sentence():
    protocol = {"split": "test", "min_depth": 0.001, "max_depth": 10.0, "flip_averaging": False, "size": [480, 640]}
    text = score_document(evaluation(protocol=protocol))
    assert "split: test; min depth: 0.001 m; max depth: 10 m; flip averaging: off; size: 480x640." in text


def test_images_without_truth_are_counted_in_the_caption():
    scores = evaluation(score_row("a", "learner", BTS, images=147, without_valid=2))
    assert "147 images, 2 more left out" in score_document(scores)


def test_published_rows_are_shown_on_request_labelled_and_never_bold():
    text = printed(score_table(evaluation(), published=True), ansi=True)
    assert "another protocol and data size" in " ".join(re.sub(r"\x1b\[[\d;]*m", "", text).split())
    assert ".8595" in text
    assert not re.search(r"\x1b\[1m\s*\.8595", text)
    lines = markdown_rows(score_document(evaluation(), published=True))
    assert lines["stack rgb+d (published)"][0] == ".8595"
    assert lines["AdaBins (published)"][-1] == "17.55"
    assert len(lines) == 4 + len(PUBLISHED)


def test_markdown_parses_back_to_the_same_numbers():
    rows = markdown_rows(score_document(evaluation()))
    assert list(rows) == ["BTS", "MEAN", "META-D", "ORACLE (bound)"]
    for title, values in {"BTS": BTS, "MEAN": MEAN, "META-D": STACK, "ORACLE (bound)": ORACLE}.items():
        assert [float(cell.strip("*")) for cell in rows[title][: len(TABLE_METRICS)]] == list(values[:8])
    assert [cell.startswith("**") for cell in rows["META-D"]] == [True] * 5 + [False, True, True, False]
    assert [cell.startswith("**") for cell in rows["MEAN"]] == [False] * 5 + [True, False, True, False]
    assert not any("*" in cell for title in ("BTS", "ORACLE (bound)") for cell in rows[title])
    assert rows["META-D"][-1] == "4.27"


def test_titles_with_brackets_and_bars_survive_both_tables():
    scores = evaluation(
        score_row("x", "learner", BTS, title="U-Net [rgb|d]"), experiment="[/x]", protocol={"files": "[/y]"}
    )
    assert "U-Net [rgb|d]" in printed(score_table(scores), width=120)
    assert "| U-Net [rgb\\|d] |" in score_document(scores)


def test_metrics_of_the_table_are_the_eight_of_the_field():
    assert TABLE_METRICS == ("d1", "d2", "d3", "abs_rel", "sq_rel", "rmse", "rmse_log", "log10")
    assert (*TABLE_METRICS, "silog_x100") == METRIC_NAMES


def test_published_numbers():
    rows = {row.name: row for row in PUBLISHED}
    assert len(rows) == 9
    assert rows["published-bts"].scores["abs_rel"] == 0.1202
    assert rows["published-adabins"].scores["d1"] == 0.8106
    assert rows["published-adabins"].parameters == 17_553_668
    assert rows["published-ldrn"].scores["rmse"] == 0.4561
    assert rows["published-mean"].parameters is None
    assert rows["published-rgb+d"].parameters == 4_266_678
    assert rows["published-d"].scores["rmse_log"] == 0.1535


def test_published_rows_equal_those_of_the_learners():
    rows = {row.name: row for row in PUBLISHED}
    for name in STUDIED:
        row = rows[f"published-{name}"]
        assert row.title == LEARNERS[name].title
        assert row.scores == dict(STUDIED[name].scores)
        assert row.parameters == STUDIED[name].parameters
