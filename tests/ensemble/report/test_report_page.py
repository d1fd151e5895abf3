"""``python -m ensemble.report``: marks and sentences follow the statistics, the page needs nothing but itself."""

import csv
import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from report_samples import HOSTILE, PROTOCOL, ROWS, image_scores, table, write_evaluation

from ensemble import options
from ensemble.evaluation.results.comparisons import best_simple, choice_basis, compare, leading_stack, row_marks
from ensemble.evaluation.results.merging import merged, read_evaluation
from ensemble.evaluation.results.scores import METRIC_NAMES, REFERENCES
from ensemble.metrics.formulas import METRICS, TABLE_METRICS
from ensemble.metrics.statistics import paired_differences
from ensemble.report.__main__ import app
from ensemble.report.documents import CSV_COLUMNS, csv_report, latex_report, markdown_report
from ensemble.report.drawing.charts import Line, line_chart, steps
from ensemble.report.drawing.panels import relative_error_colours
from ensemble.report.finding import find_evaluation
from ensemble.report.page import html_page
from ensemble.report.sentences import MARKS, resampling_sentence, summary
from ensemble.report.wording import duration, interval, number, probability, share
from ensemble.runs.paths import Outputs
from ensemble.tables.latex import escaped

VOID = {"meta", "link", "img", "br", "hr", "input"}


class Page(HTMLParser):
    """Elements with their attributes; complains about tags that do not close in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, f"</{tag}> closes another element"

    def handle_data(self, data):
        self.texts.append(data)

    def attributes(self, tag: str, name: str) -> list[str]:
        return [str(found[name]) for each, found in self.elements if each == tag and name in found]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return write_evaluation(tmp_path_factory.mktemp("evaluation") / "reports" / "samples")


@pytest.fixture(scope="module")
def evaluation(run):
    return read_evaluation(run)


@pytest.fixture(scope="module")
def comparisons(evaluation):
    return compare(evaluation.scores, evaluation.images, resamples=500)


@pytest.fixture(scope="module")
def html(evaluation, comparisons) -> str:
    return html_page(evaluation, comparisons, published=True)


def row_of(scores, name):
    return next(row for row in scores.rows if row.name == name)


def test_marks_and_summary_agree_with_the_statistics(evaluation, comparisons):
    names = [name for name, *_ in ROWS]
    frames = sorted({(image.frame, image.scene) for image in evaluation.images if image.scores})
    per_image = np.zeros((len(names), len(frames), len(TABLE_METRICS)))
    for image in evaluation.images:
        if image.scores:
            repeats = {name: fits for name, *_, fits in ROWS}[image.row]
            values = [image.scores[metric] / repeats for metric in TABLE_METRICS]
            per_image[names.index(image.row), frames.index((image.frame, image.scene))] += values
    higher = {metric: metric in ("d1", "d2", "d3") for metric in TABLE_METRICS}
    found = paired_differences(per_image, [s for _, s in frames], rows=names, metrics=higher, resamples=500)
    for each in found:
        turned = comparisons.of(each.second, each.first, each.metric)
        assert turned.difference == pytest.approx(-each.difference, abs=1e-12)
        assert (turned.p_holm, turned.low) == (each.p_holm, pytest.approx(-each.high, abs=1e-12))
        marks = row_marks(comparisons, row_of(evaluation.scores, each.second), each.metric)
        if each.first == "mean" and each.second.startswith("meta"):
            assert ("above" in marks, "below" in marks) == (each.better == "second", each.better == "first")
        if each.first in ("best-single", "seed-mean") and each.second.startswith("meta"):
            assert (each.first in marks) == (each.better == "second")
    marked = {
        m for row in evaluation.scores.rows for metric in TABLE_METRICS for m in row_marks(comparisons, row, metric)
    }
    assert marked == set(MARKS)
    assert not row_marks(comparisons, row_of(evaluation.scores, "oracle pick"), "d1")
    assert leading_stack(evaluation.scores).name == "meta-rgb+d"
    text = " ".join(summary(evaluation.scores, comparisons))
    against = comparisons.against("meta-d", "mean")
    wins = sum(each.better == "first" for each in against)
    losses = sum(each.better == "second" for each in against)
    assert f"from the plain mean on 8 metrics: stack d {wins} better, {losses} worse." in text
    assert "Of 2 stacks, stack rgb+d, joint has the lowest REL on 47 test images; it is named first by these" in text


def test_the_validation_scenes_choose_the_stack_that_is_spoken_of_first(evaluation, comparisons):
    validated = {"meta-d": 0.11, "meta-rgb+d": 0.12}  # the other way round than on the test images
    rows = tuple(replace(row, validation_rel=validated.get(row.name)) for row in evaluation.scores.rows)
    scores = replace(evaluation.scores, rows=rows)
    assert leading_stack(scores).name == "meta-d"
    text = " ".join(summary(scores, comparisons))
    assert "stack d has the lowest REL on the validation scenes, which are few to choose by" in text
    assert "of the others from the plain mean on 8 metrics: stack rgb+d, joint" in text


def test_frames_that_no_fit_has_seen_choose_before_the_validation_scenes(evaluation, comparisons):
    validated = {"meta-d": 0.11, "meta-rgb+d": 0.12}
    judged = {"meta-d": 0.21, "meta-rgb+d": 0.20}
    rows = [
        replace(row, validation_rel=validated.get(row.name), choice_rel=judged.get(row.name))
        for row in evaluation.scores.rows
    ]
    scores = replace(evaluation.scores, rows=tuple(rows))
    assert choice_basis([row for row in scores.rows if row.kind == "stack"]) == "cross-validation"
    assert leading_stack(scores).name == "meta-rgb+d"
    text = " ".join(summary(scores, comparisons))
    assert "has the lowest REL over out-of-fold frames and validation scenes together, by fits that never saw" in text
    assert "(`meta cross-validate` of all 2 stacks)" in text
    one = replace(
        scores,
        rows=tuple(
            replace(row, choice_rel=judged.get(row.name) if row.name == "meta-d" else None) for row in scores.rows
        ),
    )
    assert leading_stack(one).name == "meta-d"  # nothing that could be compared is known of the other
    assert "(`meta cross-validate` of 1 of 2 stacks)" in " ".join(summary(one, comparisons))


def test_the_first_sentence_holds_the_stack_against_the_best_simple_row(evaluation, comparisons):
    simple = [row for row in evaluation.scores.rows if row.kind in ("learner", "combiner", "fitted")]
    sign = {metric: -1 if metric in ("d1", "d2", "d3") else 1 for metric in TABLE_METRICS}

    def wins(row):
        return sum(all(sign[m] * (row.scores[m] - other.scores[m]) <= 0 for other in simple) for m in TABLE_METRICS)

    best = max(simple, key=lambda row: (wins(row), -row.scores["abs_rel"], row.name == "best-single"))
    found, count = best_simple(evaluation.scores)
    assert (found.name, count) == (best.name, wins(best))
    first, second, *rest = summary(evaluation.scores, comparisons)
    leading = leading_stack(evaluation.scores)
    against = comparisons.against(leading.name, best.name)
    ahead = sum(sign[each.metric] * each.difference < 0 for each in against)
    assert re.match(r"Against the best simple row, [^.]*, stack rgb\+d, joint is better on ", first)
    assert f"better on {'all 8' if ahead == 8 else f'{ahead} of 8'} metrics" in first
    assert f"best on the greatest number of metrics ({count} of 8), chosen by these very 47 test images" in second
    assert sum(sentence.startswith("Against") for sentence in (first, *rest)) == 3 + (best.name not in REFERENCES)


@pytest.mark.parametrize("name", ["median", "inverse-variance"])
def test_the_bar_of_every_stack_is_named_in_the_first_sentence(evaluation, comparisons, name):
    """A row takes the part of the weighted log-mean: one that is the best simple row here, and one that is not."""

    def called(row: str) -> str:
        return "weighted-log-mean" if row == name else row

    rows = tuple(replace(row, name=called(row.name)) for row in evaluation.scores.rows)
    differences = tuple(
        replace(each, first=called(each.first), second=called(each.second)) for each in comparisons.differences
    )
    scores, compared = replace(evaluation.scores, rows=rows), replace(comparisons, differences=differences)
    first = summary(scores, compared)[0]
    found, _ = best_simple(scores)
    if name == "inverse-variance":
        assert found.name == "weighted-log-mean"
        assert "inverse variance, the bar for every stack, stack rgb+d, joint is better on" in first
    else:
        own = compared.against(leading_stack(scores).name, "weighted-log-mean")
        ahead = sum((each.metric in ("d1", "d2", "d3")) == (each.difference > 0) for each in own)
        said = {0: "none of 8", 8: "all 8"}.get(ahead, f"{ahead} of 8")
        assert f"; against the weighted log-mean, the bar for every stack, better on {said} metrics, signific" in first


@pytest.mark.parametrize("champion", ["bts", "best-single", "median", "inverse-variance"])
def test_the_best_simple_row_may_be_any_without_a_meta_learner(evaluation, comparisons, champion):
    perfect = {metric: 1.0 if metric in ("d1", "d2", "d3") else 0.0 for metric in TABLE_METRICS}
    row = row_of(evaluation.scores, champion)
    better = replace(row, scores={**row.scores, **perfect})
    rows = tuple(better if each is row else each for each in evaluation.scores.rows)
    found, count = best_simple(replace(evaluation.scores, rows=rows))
    assert (found.name, count) == (champion, 8)
    alone = replace(evaluation.scores, rows=tuple(each for each in rows if each.kind == "stack"))
    assert best_simple(alone) is None
    assert summary(alone, comparisons)[0].startswith("Of 2 stacks, stack rgb+d, joint has")


def test_images_of_one_scene_have_a_first_sentence_without_significance():
    images = image_scores(scenes=1, per_scene=8)
    scores = table(images)
    first, *_ = summary(scores, compare(scores, images))
    assert re.fullmatch(
        r"Against the best simple row, .*, stack rgb\+d, joint is better on (all 8|\d of 8|none of 8) metrics\.", first
    )


def test_what_is_not_significant_is_named():
    rows = tuple(row for row in ROWS if row[0] not in ("meta-rgb+d", "seed-mean"))
    images = image_scores(rows)
    scores = table(images, rows)
    found = compare(scores, images, resamples=500)
    turned = (replace(each, difference=-each.difference) if each.metric == "d1" else each for each in found.differences)
    found = replace(found, differences=tuple(turned))
    open_metrics = [each.metric for each in found.against("meta-d", "mean") if each.better is None]
    text = " ".join(summary(scores, found))
    against_mean = text.partition("the plain mean it is")[2].partition("Against")[0]
    named = re.findall(r"(\w+) \((?:better|worse|equal)\)", against_mean.partition("Not significant:")[2])
    assert len(named) == len(open_metrics) > 0
    assert "There is no row for the mean of seeds at equal cost" in text


def test_a_count_that_says_all_is_not_said_again_metric_by_metric():
    """Better on all 8, significantly on none: a list of eight times "better" tells nothing more."""
    rows = tuple(row for row in ROWS if row[0] not in ("meta-rgb+d", "seed-mean"))
    images = image_scores(rows)
    scores = table(images, rows)
    found = compare(scores, images, resamples=100)
    signs = {name: 1 if METRICS[name].higher_is_better else -1 for name in TABLE_METRICS}
    ahead = tuple(
        replace(each, better=None, difference=(1 if each.first == "meta-d" else -1) * signs[each.metric] * 0.01)
        for each in found.differences
    )
    text = " ".join(summary(scores, replace(found, differences=ahead)))
    assert "Against the plain mean it is better on all 8 metrics, significantly on none." in text
    assert "Not significant" not in text


def test_scores_of_another_evaluation_are_refused(evaluation):
    row = row_of(evaluation.scores, "bts")
    other = replace(row, scores={**row.scores, "rmse": row.scores["rmse"] * 1.001})
    rows = tuple(other if each is row else each for each in evaluation.scores.rows)
    with pytest.raises(ValueError, match=r"row 'bts': the mean of rmse over images is .*different evaluations"):
        compare(replace(evaluation.scores, rows=rows), evaluation.images, resamples=100)
    without = [image for image in evaluation.images if (image.row, image.repeat) != ("meta-d", 2)]
    with pytest.raises(ValueError, match=r"row 'meta-d': scores per image of 47 images.*3 of each"):
        compare(evaluation.scores, without, resamples=100)


def test_page_is_whole_and_asks_nobody(html):
    page = Page(html)
    assert not page.open
    for attribute in ("src", "href", "data", "srcset", "action", "xlink:href"):
        for tag, found in page.elements:
            value = found.get(attribute) or ""
            assert value.startswith(("data:image/", "#")) or not value, (tag, attribute, value[:80])
    assert "http://" not in html
    assert "https://" not in html
    assert not re.search(r"@import|url\(|<script|<link|<iframe", html)
    assert {tag for tag, _ in page.elements}.isdisjoint({"script", "link", "iframe", "object"})
    pictures = page.attributes("img", "src")
    assert len(pictures) == 2 * 3 * (2 + 3 + 1 + 1 + 1 + 3)
    assert all(picture.startswith("data:image/") and ";base64," in picture for picture in pictures)
    assert len(page.attributes("img", "alt")) == len(pictures)
    assert {f"#{each}" for _, found in page.elements if (each := found.get("id"))} >= set(page.attributes("a", "href"))


def test_page_shows_numbers_marks_and_every_part(html, evaluation):
    text = " ".join(" ".join(Page(html).texts).split())
    for row in evaluation.scores.rows:
        assert row.title in text
        assert number(row.scores["rmse"]) in text
    assert "stack rgb+d, joint" in text
    assert "another protocol and data size" in text
    assert text.count("±") >= 2 * len(TABLE_METRICS)
    for part in ("AUSE 0.1650", "calibration error 0.120", "How often a learner", "paired bootstrap, 500",
                 "min depth", "1 h 31 min", "1.28", "17,553,668",
                 "Best: REL", "Median: REL", "Worst: REL"):  # fmt: skip
        assert part in text


def test_reports_say_how_far_their_intervals_reach():
    rows = ROWS[:3]
    for scenes, by, told, few in (
        (12, "scene", "intervals speak of other scenes", True),
        (24, "scene", "intervals speak of other scenes", False),
        (24, "image", "intervals speak of other images of these scenes", False),
    ):
        images = image_scores(rows, scenes=scenes)
        sentence = resampling_sentence(compare(table(images, rows), images, resamples=50, by=by))
        assert told in sentence
        assert (f"{scenes} scenes are few" in sentence) == few


def test_a_single_scene_gets_its_scores_and_no_differences():
    rows = tuple(row for row in ROWS if row[1] != "bound")
    images = image_scores(rows, scenes=1)
    scores = table(images, rows)
    found = compare(scores, images, resamples=50)
    assert found.differences == ()
    text = markdown_report(scores, found, published=False)
    assert f"all {found.images} images are of one scene" in text
    assert "so nothing is said about it" not in text
    for row in scores.rows:
        assert number(row.scores["abs_rel"]) in text
    assert compare(scores, images, resamples=50, by="image").differences


def test_hostile_names_stay_text(tmp_path):
    rows = tuple(("<b>" + name if kind == "stack" else name, kind, title, worse, fits)
                 for name, kind, title, worse, fits in ROWS)  # fmt: skip
    rows = tuple(
        (n, k, f"{t} <img src=x onerror=alert(1)> & $x_1$" if k == "stack" else t, w, f) for n, k, t, w, f in rows
    )
    run = write_evaluation(tmp_path, rows=rows, experiment="<script>alert(2)</script>", size=(8, 10))
    found = read_evaluation(run)
    galleries = {
        name: replace(each, images=tuple(replace(i, row=replace(i.row, frame=HOSTILE)) for i in each.images))
        for name, each in found.galleries.items()
    }
    compared = compare(found.scores, found.images, resamples=100)
    text = html_page(replace(found, galleries=galleries), compared, published=False)
    page = Page(text)
    assert {"script", "b2"}.isdisjoint(tag for tag, _ in page.elements)
    assert "x" not in page.attributes("img", "src")
    assert any(HOSTILE in each for each in page.texts)
    assert "<script>" not in text


def test_page_without_details_pictures_or_stacks_says_so(tmp_path):
    rows = tuple(row for row in ROWS if row[1] == "learner")
    found = read_evaluation(write_evaluation(tmp_path, rows=rows, extras=False, alike=False))
    compared = compare(found.scores, found.images, resamples=100)
    text = " ".join(Page(html_page(found, compared, published=False)).texts)
    for sentence in ("There is no stack", "no row of the best weights per image", "did not compare the errors",
                     "wrote no pictures", "no statistics of weights", "judged no uncertainty",
                     "no pair of a stack"):  # fmt: skip
        assert sentence in text
    assert "head-room" not in markdown_report(found.scores, compared, published=False)


def test_csv_has_a_line_per_row_and_metric_and_the_same_numbers(evaluation, comparisons):
    lines = list(csv.DictReader(csv_report(evaluation.scores, comparisons).splitlines()))
    assert tuple(lines[0]) == CSV_COLUMNS
    assert len(lines) == len(ROWS) * len(METRIC_NAMES)
    by_key = {(line["row"], line["metric"]): line for line in lines}
    line, row = by_key["meta-d", "abs_rel"], row_of(evaluation.scores, "meta-d")
    assert float(line["value"]) == row.scores["abs_rel"]
    assert float(line["deviation"]) == row.deviations["abs_rel"]
    each = comparisons.of("meta-d", "mean", "abs_rel")
    assert [float(line[key]) for key in ("difference_to_mean", "low", "high", "p", "p_holm")] == [
        *(each.difference, each.low, each.high, each.p, each.p_holm),
    ]
    assert (line["repeats"], line["images"]) == ("3", "47")
    assert by_key["mean", "abs_rel"]["difference_to_mean"] == by_key["bts", "abs_rel"]["deviation"] == ""
    assert by_key["bts", "silog_x100"]["p"] == ""
    assert float(by_key["weights per image", "d1"]["headroom"]) == 1.0
    assert by_key["adabins", "abs_rel"]["significant"] == "worse"


def test_latex_is_well_formed(evaluation, comparisons):
    row = row_of(evaluation.scores, "meta-d")
    rows = tuple(replace(row, title=r"50 % of A_B & {C} #1 ~^\ $x$") if each is row else each
                 for each in evaluation.scores.rows)  # fmt: skip
    text = latex_report(replace(evaluation.scores, rows=rows), comparisons, published=True)
    assert r"50 \% of A\_B \& \{C\} \#1 \textasciitilde{}\textasciicircum{}\textbackslash{} \$x\$" in text
    columns = re.search(r"\\begin\{tabular\}\{(l r*|lr*)\}", text)[1]
    body = [line for line in text.splitlines() if line.endswith(r"\\") and "multicolumn" not in line]
    assert len(body) == 1 + len(ROWS) + 2 + 9  # two rows have deviations below them
    spread = next(line for line in body if r"$\pm$ of 3 fits" in line)
    assert number(row_of(evaluation.scores, "meta-d").deviations["d1"]) in spread
    assert {len(re.findall(r"(?<!\\)&", line)) + 1 for line in body} == {len(columns)}
    plain = re.sub(r"\\[\\&%$#_{}]", "", text)
    assert plain.count("{") == plain.count("}")
    assert plain.count("$") % 2 == 0
    assert re.findall(r"\\begin\{(.+?)\}", text) == re.findall(r"\\end\{(.+?)\}", text)[::-1]
    assert [text.count(rule) for rule in (r"\toprule", r"\bottomrule")] == [1, 1]
    assert text.isascii()
    assert escaped("a\nb") == "a b"


def test_markdown_report_has_marks_deviations_and_differences(evaluation, comparisons):
    text = markdown_report(evaluation.scores, comparisons, published=False)
    line = next(line for line in text.splitlines() if line.startswith("| stack rgb+d, joint |"))
    row = row_of(evaluation.scores, "meta-rgb+d")
    assert f"**{number(row.scores['abs_rel'])}** ± {number(row.deviations['abs_rel'])} ▲" in line
    assert "head-room REL" in text
    assert text.count("| against the plain mean |") == 2 * 8
    assert "### stack d" in text


def test_equal_rows_merge_and_others_are_refused(tmp_path, evaluation):
    few = tuple(row for row in ROWS if row[0] != "meta-d")
    more = tuple(row for row in ROWS if row[0] not in ("meta-rgb+d", "median"))
    first, second = (read_evaluation(write_evaluation(tmp_path / name, rows=rows, size=(8, 10)))
                     for name, rows in (("a", few), ("b", more)))  # fmt: skip
    both = merged([("a", first), ("b", second)])
    assert [row.name for row in both.scores.rows] == [*(name for name, *_ in few), "meta-d"]
    assert set(both.details) == set(both.galleries) == {"meta-d", "meta-rgb+d"}
    together = compare(both.scores, both.images, resamples=100)
    whole = compare(evaluation.scores, evaluation.images, resamples=100)
    assert together.of("meta-d", "mean", "rmse") == whole.of("meta-d", "mean", "rmse")
    rows = tuple(
        replace(row, scores={**row.scores, "d1": 0.5}) if row.name == "bts" else row for row in second.scores.rows
    )
    with pytest.raises(ValueError, match=r"row 'bts' differs between a and b: d1 is 0\.\d+ and 0\.5\."):
        merged([("a", first), ("b", replace(second, scores=replace(second.scores, rows=rows)))])
    other = replace(second, scores=replace(second.scores, protocol={**PROTOCOL, "crop": "none"}))
    with pytest.raises(ValueError, match="different protocols: crop is 'eigen' and 'none'"):
        merged([("a", first), ("b", other)])
    images = tuple(image for image in second.images if image.frame != "scene_3/14")
    with pytest.raises(ValueError, match=r"different images: 48 and 47, .* \(first that is not: scene_3/14\)"):
        merged([("a", first), ("b", replace(second, images=images))])
    images = tuple(
        replace(image, scores={**image.scores, "d1": 0.1})
        if (image.row, image.frame) == ("mean", "scene_3/14")
        else image
        for image in second.images
    )
    with pytest.raises(ValueError, match="row 'mean' has another score on scene_3/14"):
        merged([("a", first), ("b", replace(second, images=images))])


def test_rows_of_other_learners_are_called_by_where_they_come_from(evaluation):
    def worse(row, name):
        return replace(row, scores={**row.scores, "d1": 0.1}) if name == "mean" and row.scores else row

    rows = tuple(worse(row, row.name) for row in evaluation.scores.rows if row.name != "bts")
    rows = tuple(replace(row, name="other") if row.name == "meta-d" else row for row in rows)
    images = tuple(worse(image, image.row) for image in evaluation.images if image.row != "bts")
    images = tuple(replace(image, row="other") if image.row == "meta-d" else image for image in images)
    other = replace(evaluation, scores=replace(evaluation.scores, rows=rows), images=images, details={}, galleries={})
    both = merged([("a", evaluation), ("b", other)])
    found = {row.name: row for row in both.scores.rows}
    (index,) = (place for place, row in enumerate(evaluation.scores.rows) if row.name == "mean")
    assert list(found) == [*(row.name for row in evaluation.scores.rows), "mean (b)", "other"]
    assert (found["mean"], found["mean (b)"].scores["d1"]) == (evaluation.scores.rows[index], 0.1)
    assert found["mean (b)"].title == f"{found['mean'].title} (b)"
    told = compare(both.scores, both.images, resamples=100).of("other", "mean (b)", "d1")
    assert told.difference == pytest.approx(found["other"].scores["d1"] - 0.1)


def run_command(*words, capsys):
    with pytest.raises(SystemExit) as ended:
        app(list(map(str, words)))
    return ended.value.code, capsys.readouterr()


def test_command_line_writes_every_format(tmp_path, capsys):
    write_evaluation(tmp_path / "reports" / "samples", size=(8, 10))
    code, printed = run_command("samples", "--cache-dir", tmp_path, "--resamples", 200, capsys=capsys)
    assert code == 0
    assert "Of 2 stacks" in printed.out
    written = {path.name for path in (tmp_path / "reports" / "samples").glob("report*")}
    assert written == {"report.md", "report.tex", "report.csv", "report_pairs.csv", "report.html"}
    out = tmp_path / "elsewhere"
    words = (tmp_path / "reports" / "samples", "--out", out, "--by", "image", "--resamples", 200, "--no-published")
    code, printed = run_command(*words, "--json", capsys=capsys)
    found = json.loads(printed.out)
    assert code == 0
    assert found["resampling"] == {"by": "image", "resamples": 200, "scenes": 12}
    assert len(found["differences"]) == len(ROWS) * (len(ROWS) - 1) // 2 * 8
    pairs = list(csv.DictReader((out / "report_pairs.csv").read_text().splitlines()))
    assert len(pairs) == len(found["differences"])
    assert float(pairs[5]["difference"]) == found["differences"][5]["difference"]
    assert found["headroom"]["abs_rel"]["weights per image"] == 1.0
    assert found["alike"][0]["within"][0][1] == 0.88
    assert {path.name for path in out.iterdir()} == written
    assert "another protocol" not in (out / "report.html").read_text()


@pytest.mark.parametrize(
    ("words", "message"),
    [(["nothing"], "there is no run 'nothing'"), (["samples", "--by", "frame"], "unknown unit to resample 'frame'"),
     (["rooms/meta-d"], r"not evaluated yet.*ensemble\.meta evaluate rooms/meta-d")],
)  # fmt: skip
def test_command_line_refuses_with_a_sentence(tmp_path, capsys, monkeypatch, words, message):
    monkeypatch.delenv("STACKDEPTH_TRACEBACK", raising=False)
    run = Outputs(tmp_path).meta_run("rooms", "meta-d")
    run.folder.mkdir(parents=True)
    run.settings.write_text("{}")
    monkeypatch.setattr("sys.argv", ["report", *words, "--cache-dir", str(tmp_path)])
    with pytest.raises(SystemExit) as ended:
        options.run(app)
    assert ended.value.code == 2
    assert re.search(message, " ".join(capsys.readouterr().err.split()))


def test_an_evaluation_is_found_by_folder_run_and_experiment(tmp_path):
    where = Outputs(tmp_path)
    report = write_evaluation(where.report("samples").absolute(), extras=False)
    assert find_evaluation(where, "samples") == report
    assert find_evaluation(where, str(report.folder)) == report
    report.per_image.unlink()
    with pytest.raises(ValueError, match=r"scores\.json without per_image\.csv"):
        read_evaluation(report)


def test_numbers_are_written_as_in_studies():
    assert [number(v) for v in (0.21294, 1.2087, 0.0, -0.5)] == [".2129", "1.2087", ".0000", "-.5000"]
    assert [number(v, signed=True) for v in (0.0021, -0.0021, 0.00001)] == ["+.0021", "-.0021", ".0000"]
    assert interval(-0.1, 0.2) == "[-.1000, +.2000]"
    assert [share(v) for v in (0.123, -0.001, None)] == ["12 %", "0 %", "-"]
    assert [probability(v) for v in (0.0002, 0.0421, 1.0)] == ["< .001", ".042", "1.000"]
    assert [duration(v) for v in (None, 42.0, 90.0, 5432.0)] == ["-", "42 s", "2 min", "1 h 31 min"]


def test_charts_place_points_and_leave_gaps():
    parts = steps((0.0, 1.0, 2.0, 4.0), (0.5, None, 0.25))
    assert parts == (((0.0, 0.5), (1.0, 0.5)), ((2.0, 0.25), (4.0, 0.25)))
    chart = line_chart("a <b>", [Line("x", parts, 0)], x_label="<m>", y_label="w")
    paths = re.findall(r"class='line s0' d='M([^']+)'", str(chart.svg))
    assert paths == ["48.0 10.0L118.5 10.0", "189.0 95.0L330.0 95.0"]
    assert "<b>" not in chart.svg
    assert "<m>" not in chart.svg
    assert "svg" in line_chart("none", [], x_label="x", y_label="y").svg


def test_error_colours_have_a_side():
    truth = np.array([[2.0, 2.0, 2.0, 0.0]], dtype=np.float32)
    predicted = np.array([[1.0, 2.0, 3.0, 1.0]], dtype=np.float32)
    near, right, far, unknown = relative_error_colours(predicted, truth, truth > 0)[0].astype(int)
    assert near[2] > near[0]
    assert far[0] > far[2]
    assert right.min() > 240
    assert unknown.tolist() == [128, 128, 128]
