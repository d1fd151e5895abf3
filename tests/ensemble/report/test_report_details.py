"""Head-room, repeats, statistics of weights and chosen frames: by hand, and the same after every round trip."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
from report_samples import details, gallery, image_scores, table
from rich.console import Console

from ensemble.evaluation.results.details import Details, read_details, write_details
from ensemble.evaluation.results.gallery import ranked_frames, read_galleries, write_galleries
from ensemble.evaluation.results.scores import METRIC_NAMES, SCHEMA, ImageScore, ScoreRow, Scores, headroom
from ensemble.evaluation.stack_statistics import UncertaintyStatistics, WeightStatistics
from ensemble.metrics.uncertainty import ReliabilityBin, sparsification
from ensemble.report.tables.scores import score_document, score_table
from ensemble.runs.seals import checksum_file
from ensemble.tables.terminal import TerminalTable


def row(name, kind="combiner", value=0.5, **changes) -> ScoreRow:
    scores = dict.fromkeys(METRIC_NAMES, value) | changes.pop("scores", {})
    return ScoreRow(name, kind, name, None, scores, 10, 0, 0, **changes)


def scores_of(*rows) -> Scores:
    return Scores(SCHEMA, "by hand", {}, tuple(rows))


def test_headroom_by_hand():
    found = scores_of(
        row("mean", scores={"abs_rel": 0.20, "d1": 0.80}),
        row("stack", "stack", scores={"abs_rel": 0.17, "d1": 0.85}),
        row("worse", "learner", scores={"abs_rel": 0.25, "d1": 0.75}),
        row("oracle pick", "bound", scores={"abs_rel": 0.09, "d1": 1.02}),
        row("oracle convex", "bound", scores={"abs_rel": 0.10, "d1": 1.0}),
        row("weights per image", "bound", scores={"abs_rel": 0.15, "d1": 0.9}),
    )
    rel, d1 = headroom(found, "abs_rel"), headroom(found, "d1")
    named = ("mean", "stack", "worse", "oracle pick", "oracle convex", "weights per image")
    assert rel == pytest.approx(dict(zip(named, (0, 0.6, -1, 2.2, 2, 1), strict=True)))
    assert d1 == pytest.approx(dict(zip(named, (0, 0.5, -0.5, 2.2, 2, 1), strict=True)))
    of_convex = headroom(found, "abs_rel", bound="oracle convex")
    assert of_convex == pytest.approx(dict(zip(named, (0, 0.3, -0.5, 1.1, 1, 0.5), strict=True)))


@pytest.mark.parametrize("without", ["mean", "weights per image", None])
def test_no_headroom_without_its_ends(without):
    rows = [row("mean"), row("stack", "stack", 0.4), row("weights per image", "bound")]
    found = headroom(scores_of(*(each for each in rows if each.name != without)), "rmse")
    assert set(found.values()) == {None}


def test_no_headroom_towards_a_bound_that_is_worse_than_the_mean():
    found = scores_of(row("mean"), row("stack", "stack", 0.4), row("weights per image", "bound", 0.51))
    assert set(headroom(found, "rmse").values()) == {None}
    assert headroom(found, "d1")["stack"] == pytest.approx(-10)


def test_tables_show_headroom_and_deviations_in_eighty_columns():
    scores = table(image_scores())
    console = Console(width=80)
    with console.capture() as capture:
        console.print(TerminalTable(score_table(scores)))
    text = capture.get()
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= 80
    lines = text.splitlines()
    at = next(index for index, line in enumerate(lines) if line.startswith("  stack d"))
    assert lines[at + 1].split()[:4] == ["±", "of", "3", "fits"]
    stack = next(each for each in scores.rows if each.name == "meta-d")
    assert lines[at + 1].split()[4:] == [f"{stack.deviations[m]:.4f}"[1:] for m in METRIC_NAMES[:8]]
    share = round(100 * headroom(scores, "abs_rel")["meta-d"])
    assert lines[at].split()[-3:] == [str(share), "%", "4.27"]
    document = score_document(scores)
    cells = next(line for line in document.splitlines() if line.startswith("| stack d |")).split("|")
    assert cells[5].strip() == f"{stack.scores['abs_rel']:.4f} ± {stack.deviations['abs_rel']:.4f}".replace("0.", ".")
    assert [cell.strip() for cell in document.splitlines()[0].split("|")][10:13] == [
        *("head-room REL", "head-room RMSE", "head-room d1"),
    ]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"repeats": 2}, "2 repeats and deviations None"),
        ({"repeats": 0}, "0 repeats"),
        ({"deviations": dict.fromkeys(METRIC_NAMES, 0.1)}, "1 repeats and deviations"),
        ({"repeats": 2, "deviations": {"d1": 0.1}}, "0 or more for every metric"),
        ({"repeats": 2, "deviations": dict.fromkeys(METRIC_NAMES, -0.1)}, "0 or more for every metric"),
    ],
)
def test_deviations_belong_to_repeats(change, message):
    with pytest.raises(ValueError, match=message):
        row("stack", "stack", **change)


def test_weight_statistics_by_hand():
    statistics = WeightStatistics(["a", "b"], depth_edges=(0.0, 2.0, 4.0, 6.0))
    truth = np.array([[1.0, 2.0, 3.0, 9.0]], dtype=np.float32)
    first = np.array([[0.01, 0.5, 1.0, 0.0]], dtype=np.float32)
    statistics.update(np.stack([first, 1 - first]), truth, np.ones((1, 4), dtype=bool))
    wrong = np.full((2, 1, 4), np.nan, dtype=np.float32)
    valid = np.array([[False, False, True, False]])
    wrong[:, 0, 2] = [1.25, -0.25]
    statistics.update(wrong, truth, valid)
    found = statistics.compute()
    assert {index: count for index, count in enumerate(found.counts[0]) if count} == {0: 2, 10: 1, 19: 1}
    assert {index: count for index, count in enumerate(found.counts[1]) if count} == {0: 1, 10: 1, 19: 2}
    assert (found.below, found.above) == ((0, 1), (1, 0))
    assert found.pixels == (1, 3, 0)
    assert found.range_counts is not None
    near, middle, far = ([{i: n for i, n in enumerate(counts) if n} for counts in each] for each in found.range_counts)
    assert near == [{0: 1}, {19: 1}]
    assert middle == [{10: 1, 19: 1}, {10: 1, 0: 1}], "1.25 and -0.25 are beyond a histogram"
    assert far == [{}, {}]
    assert found.mean_weights[0] == pytest.approx((0.01, (0.5 + 1.0 + 1.25) / 3, None))
    assert found.mean_weights[1] == pytest.approx((0.99, (0.5 + 0.0 - 0.25) / 3, None))


def test_uncertainty_statistics_are_means_over_images():
    statistics = UncertaintyStatistics()
    with pytest.raises(ValueError, match="no image with valid pixels"):
        statistics.compute([], 0.0)
    rng = np.random.default_rng(0)
    images = [(rng.uniform(0.0, 1.0, 50), rng.uniform(0.1, 1.0, 50)) for _ in range(3)]
    found = [{"rmse": sparsification(e**2, u, root=True), "abs_rel": sparsification(e, u)} for e, u in images]
    for each in found:
        statistics.update(each)
    bins = [ReliabilityBin(10, 0.5, 0.6), ReliabilityBin(30, 0.9, 0.8)]
    computed = statistics.compute(bins, 0.11)
    rmse = computed.sparsification["rmse"]
    np.testing.assert_allclose(rmse.by_error, np.mean([each["rmse"].by_error for each in found], axis=0))
    assert rmse.ause == pytest.approx(np.trapezoid(np.subtract(rmse.by_uncertainty, rmse.by_error), rmse.fractions))
    assert computed.sparsification["abs_rel"].aurg == pytest.approx(np.mean([each["abs_rel"].aurg for each in found]))
    assert (computed.reliability.pixels, computed.reliability.observed) == ((10, 30), (0.6, 0.8))
    with pytest.raises(ValueError, match="images differ in the shares"):
        statistics.update({"rmse": sparsification(images[0][0], images[0][1], (0.0, 0.5))})


def test_weight_statistics_refuse_what_they_cannot_count():
    statistics = WeightStatistics(["a", "b"])
    truth, valid = np.ones((2, 2), dtype=np.float32), np.ones((2, 2), dtype=bool)
    with pytest.raises(ValueError, match="weights of 3 learners, expected those of a, b"):
        statistics.update(np.ones((3, 2, 2), dtype=np.float32), truth, valid)
    with pytest.raises(ValueError, match="NaN or infinite at a valid pixel"):
        statistics.update(np.full((2, 2, 2), np.nan, dtype=np.float32), truth, valid)
    with pytest.raises(ValueError, match="ascending"):
        WeightStatistics(["a"], depth_edges=(1.0, 1.0))


def test_details_round_trip_and_refusals(tmp_path):
    path = tmp_path / "details.json"
    written = Details(SCHEMA, {"meta-d": details(0), "meta-rgb": replace(details(1), uncertainty=None)})
    write_details(written, path)
    assert read_details(path) == written
    checksum_file(path).unlink()
    tree = json.loads(path.read_text())
    damages = [
        (lambda t: t.update(schema=SCHEMA - 1), "schema 1 found, 2 expected"),
        (lambda t: t["stacks"]["meta-d"]["weights"]["counts"][0].pop(), "bins"),
        (lambda t: t["stacks"]["meta-d"]["weights"]["pixels"].pop(), "ranges"),
        (lambda t: t["stacks"]["meta-d"]["uncertainty"]["sparsification"].update(log10={}), "log10"),
        (lambda t: t["stacks"]["meta-d"]["uncertainty"]["sparsification"]["rmse"]["by_error"].pop(), "points"),
        (lambda t: t["stacks"]["meta-d"]["uncertainty"]["reliability"]["pixels"].pop(), "bins"),
    ]
    for damage, message in damages:
        damaged = json.loads(json.dumps(tree))
        damage(damaged)
        path.write_text(json.dumps(damaged))
        with pytest.raises(ValueError, match=rf"details\.json: (?s:.)*{message}"):
            read_details(path)


def test_galleries_round_trip_and_refusals(tmp_path):
    path, images = tmp_path / "gallery.npz", image_scores()
    first, second = (gallery(name, images, (6, 8)) for name in ("meta-d", "meta-rgb+d"))
    second = replace(second, images=tuple(replace(each, uncertainty=None) for each in second.images))
    write_galleries([first, second], path)
    found = read_galleries(path)
    assert [(each.stack, each.learners) for each in found] == [(each.stack, each.learners) for each in (first, second)]
    for image, other in zip(first.images + second.images, found[0].images + found[1].images, strict=True):
        assert (image.rank, image.score, image.row.frame) == (other.rank, other.score, other.row.frame)
        for name in ("image", "truth", "valid", "depths", "weights", "stack"):
            np.testing.assert_allclose(getattr(other.row, name), getattr(image.row, name), rtol=1e-3, atol=1e-3)
        assert other.row.depths.dtype == np.float32
        assert (other.uncertainty is None) == (image.uncertainty is None)
    with pytest.raises(ValueError, match="expected each once"):
        write_galleries([first, first], path)
    with pytest.raises(ValueError, match="3 depths and 3 weights for the learners AdaBins"):
        write_galleries([replace(first, learners=("AdaBins",))], path)
    content = path.read_bytes()
    checksum_file(path).unlink()
    for damaged in (content[: len(content) // 2], b"no archive", b""):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"gallery\.npz: .*Evaluate again"):
            read_galleries(path)


def test_an_archive_with_objects_is_never_unpickled(tmp_path):
    path = tmp_path / "gallery.npz"
    np.savez(path, index=np.array([{"a": 1}], dtype=object))
    with pytest.raises(ValueError, match=re.escape("gallery.npz: Object arrays cannot be loaded")):
        read_galleries(path)


def test_frames_are_ranked_by_the_mean_over_repeats():
    def images(scores):
        return [
            ImageScore("x", frame, "s", None if value is None else dict.fromkeys(METRIC_NAMES, value), repeat)
            for frame, values in scores.items()
            for repeat, value in enumerate(values)
        ]

    scores = {"a": (0.1, 0.5), "b": (0.2, 0.2), "c": (0.9, 0.9), "d": (0.4, 0.4), "e": (None, None)}
    found = ranked_frames([*images(scores), *images({})], "x")
    assert [(each.rank, each.frame) for each in found] == [("best", "b"), ("median", "a"), ("worst", "c")]
    assert found[1].score == pytest.approx(0.3)
    two = {key: scores[key] for key in ("a", "c")}
    assert [(each.rank, each.frame) for each in ranked_frames(images(two), "x")] == [("best", "a"), ("worst", "c")]
    one = {"c": scores["c"]}
    assert [(each.rank, each.frame) for each in ranked_frames(images(one), "x")] == [("best", "c")]
    assert ranked_frames(images(scores), "y") == ()
