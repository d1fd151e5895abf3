"""What a report says of bounds, and of how alike the learners err; evaluations from before have neither."""

import html as markup
import json
import re
from dataclasses import replace

import numpy as np
import pytest
from report_samples import LEARNERS, ROWS, write_evaluation

from ensemble.evaluation.results.comparisons import compare
from ensemble.evaluation.results.likeness import Likeness
from ensemble.evaluation.results.merging import merged, read_evaluation
from ensemble.report.bounds import headroom_sentences, likeness_sentences, likeness_table
from ensemble.report.documents import latex_report, markdown_report
from ensemble.report.drawing.matrix import matrix_chart
from ensemble.report.page import html_page
from ensemble.report.wording import decimals, share
from ensemble.runs.seals import write_sealed
from ensemble.tables.latex import escaped


@pytest.fixture(scope="module")
def evaluation(tmp_path_factory):
    return read_evaluation(write_evaluation(tmp_path_factory.mktemp("samples"), size=(8, 10)))


@pytest.fixture(scope="module")
def comparisons(evaluation):
    return compare(evaluation.scores, evaluation.images, resamples=100)


@pytest.fixture(scope="module")
def html(evaluation, comparisons):
    return html_page(evaluation, comparisons, published=False)


def words_of(html):
    return markup.unescape(" ".join(re.sub("<[^>]+>", " ", html).split()))


def test_what_head_room_is_measured_by_is_said_in_two_sentences(evaluation, comparisons, html):
    first, second = headroom_sentences(evaluation.scores)
    assert "from the plain mean (0 %) to the best weights per image (100 %)" in first
    rows = {row.name: row.scores["abs_rel"] for row in evaluation.scores.rows}
    kept = (rows["mean"] - rows["oracle shuffled"]) / (rows["mean"] - rows["oracle convex"])
    assert f"taken from another image it keeps {share(kept)} of its head-room in REL" in second
    page, document = words_of(html), markdown_report(evaluation.scores, comparisons, published=False)
    for sentence in (first, second):
        assert sentence in page
        assert sentence in document
        assert escaped(sentence) in latex_report(evaluation.scores, comparisons)
    rows = tuple(row for row in evaluation.scores.rows if row.name != "oracle shuffled")
    assert headroom_sentences(replace(evaluation.scores, rows=rows)) == [first]


def test_reports_say_how_alike_the_learners_err(evaluation, comparisons, html):
    page, document = words_of(html), markdown_report(evaluation.scores, comparisons, published=False)
    for sentence in (
        "Over 47 images and every two learners: correlation of errors within images (logs) .88 to .92; correlation of "
        "the scales of images (logs) -.10 to .85.",
        "Of the plain mean's squared log error 33 % is the scale of the whole image (AdaBins 30 %, BTS 31 %, LapDepth "
        "35 %), the rest lies within.",
        "The learners' disagreement is 9 % of their mean squared log error",
        "The truth lies inside the learners' range at 25 % of the pixels.",
    ):
        assert sentence in page
        assert sentence in document
    assert "| AdaBins, LapDepth | .90 | -.10 |" in document
    assert "| BTS, LapDepth | .92 | - |" in document
    chart = html[html.index("Correlation of errors within images") :]
    cells = re.findall(r"<text class='inside'[^>]*>([^<]*)<", chart[: chart.index("</svg>")])
    assert cells == [".85", "-.10", ".88", "-", ".90", ".92"]
    assert chart[: chart.index("</svg>")].count("cell below") == 1


def test_many_learners_have_squares_without_numbers():
    names = [f"<{index}>" for index in range(30)]
    square = np.eye(30).tolist()
    svg = str(matrix_chart("many", names, square, square).svg)
    assert svg.count("<rect") == 30 * 29
    assert "inside" not in svg
    assert "&lt;29&gt;" in svg


def test_an_evaluation_from_before_is_reported_as_it_is(tmp_path):
    """It has global weights, no weights per image, no shuffled oracle, and nothing of how alike the learners err."""
    new = ("oracle shuffled", "weights per image")
    fitted = ("global", "fitted", "global weights", -0.02, 1)
    rows = tuple(row for row in ROWS if row[0] not in new)
    rows = (*rows[:9], fitted, *rows[9:])
    run = write_evaluation(tmp_path / "old", rows=rows, size=(8, 10), alike=False)
    content = json.loads(run.scores.read_text())
    del content["alike"]
    write_sealed(run.scores, json.dumps(content).encode())
    found = read_evaluation(run)
    compared = compare(found.scores, found.images, resamples=100)
    page, document = (
        html_page(found, compared, published=False),
        markdown_report(found.scores, compared, published=False),
    )
    assert "evaluate again to have it" in page
    assert "did not compare the errors of learners" in page
    assert "| global weights |" in document
    assert "head-room" not in document.lower()
    assert "How alike" not in document
    with_new = merged([("old", found), ("new", read_evaluation(write_evaluation(tmp_path / "new", size=(8, 10))))])
    assert {"global", *new} <= {row.name for row in with_new.scores.rows}
    assert [each.learners for each in with_new.scores.alike] == [LEARNERS]


def test_what_does_not_vary_is_not_worded():
    nothing = ((1, None), (None, 1))
    found = Likeness(("a", "b"), 1, nothing, nothing, (None, None), None, None, 1.0)
    assert likeness_sentences(found) == ["The truth lies inside the learners' range at 100 % of the pixels."]
    assert [[cell.text for cell in row.cells] for row in likeness_table(found).rows] == [["a, b", "-", "-"]]
    one = replace(found, within=((1, 0.5), (0.5, 1)))
    assert likeness_sentences(one)[0] == (
        "Over one image and every two learners: correlation of errors within images (logs) .50."
    )


def test_numbers_of_other_learners_are_refused():
    square = ((1, 0.5), (0.5, 1))
    with pytest.raises(ValueError, match="likeness of 3 learners: found numbers of"):
        Likeness(("a", "b", "c"), 5, square, square, (0.1, 0.2), 0.1, 0.1, 0.5)


def test_correlations_have_two_decimals():
    assert [decimals(each) for each in (0.884, -0.1, 1, -1, 0.001, -0.001, None)] == [
        *(".88", "-.10", "1.00", "-1.00", ".00", ".00", "-"),
    ]
