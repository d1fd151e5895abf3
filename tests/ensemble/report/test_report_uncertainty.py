"""What reports say of expected errors and their image part, in the page and in Markdown."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from report_samples import write_evaluation

from ensemble.evaluation.results.comparisons import compare
from ensemble.evaluation.results.details import Details, StackDetails, UncertaintyDetails, read_details, write_details
from ensemble.evaluation.results.image_errors import ImageErrorDetails, RankingDetails, ScaleReliability
from ensemble.evaluation.results.merging import Evaluation, read_evaluation
from ensemble.evaluation.results.scores import SCHEMA
from ensemble.report.documents import markdown_report
from ensemble.report.page import html_page
from ensemble.report.uncertainty import NO_IMAGE_PART, image_sentences, ranking_table, scale_table

IMAGES = ImageErrorDetails(
    statistics=("disagreement", "spread of scales", "mean log depth", "spread of log depth"),
    weights=(0.4, 0.2, 0.0, -0.1),
    share=1.0,
    gain=0.123,
    gain_error=0.031,
    reliability=ScaleReliability((0.05, 0.1), (0.06, 0.12), (24, 23)),
    rankings=(
        RankingDetails("images", "rmse", 0.2, 0.15, 0.3),
        RankingDetails("images", "scale", 0.05, 0.04, 0.06),
        RankingDetails("pixels within images", "abs_rel", 0.07, 0.071, 0.09),
    ),
    ence_alone=0.171,
)


def with_images(evaluation: Evaluation, images: ImageErrorDetails | None) -> Evaluation:
    def changed(each: StackDetails) -> StackDetails:
        assert each.uncertainty is not None
        return replace(each, uncertainty=replace(each.uncertainty, images=images))

    return replace(evaluation, details={name: changed(each) for name, each in evaluation.details.items()})


@pytest.fixture(scope="module")
def evaluation(tmp_path_factory: pytest.TempPathFactory) -> Evaluation:
    return read_evaluation(
        write_evaluation(tmp_path_factory.mktemp("evaluation") / "reports" / "samples", size=(8, 10))
    )


def uncertainty(evaluation: Evaluation) -> UncertaintyDetails:
    found = evaluation.details["meta-d"].uncertainty
    assert found is not None
    return found


def test_page_and_markdown_tell_the_image_part(evaluation: Evaluation) -> None:
    own = with_images(evaluation, IMAGES)
    compared = compare(own.scores, own.images, resamples=50)
    page = html_page(own, compared, published=False)
    text = markdown_report(own.scores, compared, published=False, details=own.details)
    for part in (
        "The expected error has an image part, the whole variance of images' scales (+0.123 ± 0.031",
        "disagreement 1.22, spread of scales 1.11, mean log depth 1.00, spread of log depth 0.95",
        "Calibration error (ENCE) 0.120, by disagreement alone 0.171.",
        "log error of scale",
        "pixels within images",
    ):
        assert part.replace("'", "&#39;") in page
        assert part in text
    assert page.count("Reliability of images&#39; scales") >= 2
    assert text.count("### Expected error of stack") == 2
    assert "| 24 | 5.0 | 6.0 |" in text
    assert "| stack d | - | .1650 | .1650 |" in text
    assert "<td" in page.split('aria-label="Table of what images and pixels rank by"')[1][:2000]


def test_smaller_areas_are_bold_and_equal_ones_are_not() -> None:
    cells = [row.cells[2:4] for row in ranking_table(IMAGES).rows]
    assert [[cell.best for cell in pair] for pair in cells] == [[False, True], [False, True], [True, False]]
    alike = replace(IMAGES, rankings=(RankingDetails("pixels", "rmse", 0.2, 0.2, 0.3),))
    assert [cell.best for cell in ranking_table(alike).rows[0].cells[2:4]] == [False, False]
    assert [cell.text for cell in scale_table(IMAGES).rows[1].cells] == ["23", "10.0", "12.0"]


@pytest.mark.parametrize(
    ("images", "told"),
    [
        (None, NO_IMAGE_PART),
        (replace(IMAGES, share=0.5), "50 % of the variance of images' scales"),
        (replace(IMAGES, share=0.0, gain=0.01), "is left out: too little to gain (+0.010 ± 0.031"),
        (replace(IMAGES, share=0.0, weights=(0.0,) * 4), "No statistic of an image tells how far its scale is off"),
    ],
)
def test_what_was_not_taken_is_said(evaluation: Evaluation, images: ImageErrorDetails | None, told: str) -> None:
    own = with_images(evaluation, images)
    assert told in " ".join(image_sentences(uncertainty(own)))
    compared = compare(own.scores, own.images, resamples=50)
    assert told in markdown_report(own.scores, compared, published=False, details=own.details)
    assert told.replace("'", "&#39;") in html_page(own, compared, published=False)


def test_evaluations_of_before_are_read_and_say_nothing_of_images(tmp_path: Path, evaluation: Evaluation) -> None:
    run = write_evaluation(tmp_path / "reports" / "samples", size=(8, 10))
    tree = json.loads(run.details.read_text(encoding="utf-8"))
    for stack in tree["stacks"].values():
        assert stack["uncertainty"].pop("images", "absent") is None
    older = tmp_path / "details.json"
    older.write_text(json.dumps(tree), encoding="utf-8")
    assert read_details(older).stacks == evaluation.details
    found = with_images(evaluation, IMAGES)
    write_details(Details(SCHEMA, dict(found.details)), tmp_path / "with.json")
    assert read_details(tmp_path / "with.json").stacks == found.details
