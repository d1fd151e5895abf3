"""Paired bootstrap over scenes: against a slow loop, its coverage, and what never changes."""

import numpy as np
import pytest

from ensemble.metrics.statistics import Resampling, holm, mean_and_deviation, paired_differences, resampled_means

METRICS = {"d1": True, "rmse": False}
SCENES = ["a", "a", "a", "b", "c", "c", "d"]


def study(seed=0, rows=3, groups=SCENES):
    return np.random.default_rng(seed).normal(size=(rows, len(groups), 2))


def differences(scores, groups=SCENES, *, rows=None, resamples=400, **options):
    rows = rows or [f"row-{index}" for index in range(len(scores))]
    found = paired_differences(scores, groups, rows=rows, metrics=METRICS, resamples=resamples, **options)
    return {(each.first, each.second, each.metric): each for each in found}


def slow_means(scores, groups, *, resamples, seed):
    """The same draws, image by image: every scene is repeated as often as it was drawn."""
    names = sorted(set(groups))
    generator = np.random.default_rng(seed)
    means = []
    for _ in range(resamples):
        drawn = generator.multinomial(len(names), [1 / len(names)] * len(names))
        images = [
            image
            for name, count in zip(names, drawn, strict=True)
            for _ in range(count)
            for image, scene in enumerate(groups)
            if scene == name
        ]
        means.append(scores[:, images].mean(axis=1))
    return np.stack(means)


def test_resampled_means_equal_a_slow_loop():
    scores = study()
    expected = slow_means(scores, SCENES, resamples=1203, seed=5)
    np.testing.assert_allclose(resampled_means(scores, SCENES, resamples=1203, seed=5), expected, atol=1e-12)


def test_resampling_images_is_resampling_scenes_of_one_image_and_must_be_asked_for():
    scores = study()
    alone = [str(index) for index in range(len(SCENES))]
    asked = resampled_means(scores, SCENES, by="image", resamples=50)
    np.testing.assert_array_equal(asked, resampled_means(scores, alone, resamples=50))
    assert not np.allclose(asked, resampled_means(scores, SCENES, resamples=50))


def test_differences_equal_a_slow_loop():
    scores = study(seed=3)
    means = slow_means(scores, SCENES, resamples=400, seed=0)
    resampled = means[:, 0, 1] - means[:, 2, 1]
    found = differences(scores)["row-0", "row-2", "rmse"]
    assert found.difference == pytest.approx(np.mean([scores[0, i, 1] - scores[2, i, 1] for i in range(7)]))
    assert found.low == pytest.approx(np.sort(resampled)[9] + 0.975 * np.diff(np.sort(resampled)[9:11])[0])
    assert found.high == pytest.approx(np.percentile(resampled, 97.5))
    below = sum(value <= 1e-13 for value in resampled)
    assert found.p == pytest.approx(min(1, 2 * (min(below, 400 - below) + 1) / 401))
    assert found.p > 2**-3  # of four scenes


@pytest.mark.parametrize("scenes", [2, 3, 5])
def test_what_few_scenes_agree_on_is_not_significant(scenes):
    """Scenes that all agree can do so by chance: once in 2 ** (scenes - 1) times."""
    scores = np.stack([np.full((scenes, 1), 1.0), np.full((scenes, 1), 0.5)])
    (found,) = paired_differences(
        scores, [str(index) for index in range(scenes)], rows=["a", "b"], metrics={"rmse": False}, resamples=400
    )
    assert (found.difference, found.low, found.high) == (0.5, 0.5, 0.5)
    assert found.p == 2.0 ** (1 - scenes)
    assert found.better is None
    more = np.tile(scores, (1, 4, 1))
    (found,) = paired_differences(
        more, [str(index) for index in range(4 * scenes)], rows=["a", "b"], metrics={"rmse": False}, resamples=400
    )
    assert found.better == "second"


def simulated_studies(studies, *, scenes=40, images=8):
    """Two rows whose difference has a strong effect of the scene; the true mean difference is 0.3."""
    generator = np.random.default_rng(11)
    groups = [f"scene-{index}" for index in range(scenes) for _ in range(images)]
    for _ in range(studies):
        effect = np.repeat(generator.normal(0.3, 1.0, size=scenes), images)
        second = generator.normal(size=scenes * images)
        yield np.stack([second + effect + generator.normal(0, 0.3, size=len(effect)), second])[:, :, None], groups


def test_intervals_over_scenes_hold_the_truth_and_those_over_images_do_not():
    ways: tuple[Resampling, ...] = ("scene", "image")
    held = dict.fromkeys(ways, 0)
    for scores, groups in simulated_studies(200):
        for by in ways:
            (found,) = paired_differences(
                scores, groups, rows=["a", "b"], metrics={"rmse": False}, by=by, resamples=200
            )
            held[by] += found.low <= 0.3 <= found.high
    assert 0.89 <= held["scene"] / 200 <= 0.99
    assert held["image"] / 200 < 0.7


def test_p_values_are_uniform_where_nothing_differs():
    p_values = []
    for scores, groups in simulated_studies(200):
        shifted = scores - np.array([0.3, 0.0])[:, None, None]
        p_values += [
            each.p for each in paired_differences(shifted, groups, rows=["a", "b"], metrics={"d1": True}, resamples=199)
        ]
    assert 0.01 <= np.mean(np.array(p_values) < 0.05) <= 0.11
    assert 0.4 <= np.median(p_values) <= 0.6


def test_identical_rows_do_not_differ():
    scores = study()[[0, 1, 0]]
    for metric in METRICS:
        found = differences(scores)["row-0", "row-2", metric]
        assert (found.difference, found.low, found.high, found.p, found.p_holm) == (0.0, 0.0, 0.0, 1.0, 1.0)
        assert found.better is None


def test_swapping_two_rows_negates_everything_but_p():
    scores = study()
    forward, backward = differences(scores[[0, 1]]), differences(scores[[1, 0]])
    for key, one in forward.items():
        other = backward[key]
        assert other.difference == -one.difference
        assert (other.low, other.high) == pytest.approx((-one.high, -one.low), abs=1e-12)
        assert (other.p, other.p_holm) == (one.p, one.p_holm)


def test_order_of_rows_images_and_scene_names_changes_no_pair():
    scores, names = study(), np.array(["x", "y", "z"])
    whole = differences(scores, rows=list(names))
    later = differences(scores[[0, 2]], rows=["x", "z"])
    assert later["x", "z", "d1"] == whole["x", "z", "d1"]
    order = [6, 2, 0, 3, 5, 1, 4]
    shuffled = differences(scores[:, order], [SCENES[index] for index in order], rows=list(names))
    for key, one in whole.items():
        assert shuffled[key].low == pytest.approx(one.low, abs=1e-12)
        assert shuffled[key].p == one.p


def test_the_seed_decides():
    scores = study()
    assert differences(scores, seed=4) == differences(scores, seed=4)
    assert differences(scores, seed=4) != differences(scores, seed=5)


def test_better_knows_which_way_each_metric_points():
    clear = np.random.default_rng(0).normal(0, 0.01, size=(2, 40, 2)) + np.array([1.0, 0.0])[:, None, None]
    groups = [f"scene-{index // 2}" for index in range(40)]
    found = differences(clear, groups)
    assert found["row-0", "row-1", "d1"].better == "first"
    assert found["row-0", "row-1", "rmse"].better == "second"
    assert found["row-0", "row-1", "rmse"].p == pytest.approx(2 / 401)
    strict = differences(clear, groups, level=0.001)
    assert strict["row-0", "row-1", "d1"].better is None


def test_correction_is_over_the_metrics_of_a_pair():
    found = differences(study(seed=8))
    for first, second in (("row-0", "row-1"), ("row-1", "row-2")):
        pair = [found[first, second, metric] for metric in METRICS]
        np.testing.assert_allclose([each.p_holm for each in pair], holm(np.array([each.p for each in pair])))


def test_or_over_all_metrics_of_all_pairs():
    apart, together = differences(study(seed=8)), differences(study(seed=8), family="all")
    expected = holm(np.array([each.p for each in apart.values()]))
    np.testing.assert_allclose([each.p_holm for each in together.values()], expected)
    assert [(each.p, each.low) for each in together.values()] == [(each.p, each.low) for each in apart.values()]
    assert differences(study(rows=1), family="all") == {}


def test_holm_by_hand():
    np.testing.assert_allclose(holm(np.array([0.01, 0.04, 0.03, 0.005])), [0.03, 0.06, 0.06, 0.02])
    np.testing.assert_allclose(holm(np.array([0.6, 0.2, 0.9])), [1.0, 0.6, 1.0])
    np.testing.assert_allclose(holm(np.array([0.02])), [0.02])
    with pytest.raises(ValueError, match="from 0 to 1"):
        holm(np.array([0.5, np.nan]))


def test_mean_and_deviation_by_hand():
    assert mean_and_deviation([1.0, 2.0, 4.0]) == pytest.approx((7 / 3, (7 / 3) ** 0.5, 3))
    assert mean_and_deviation([0.25]) == (0.25, None, 1)
    for values in ([], [1.0, float("nan")]):
        with pytest.raises(ValueError, match="finite numbers"):
            mean_and_deviation(values)


def test_what_cannot_be_resampled_is_refused():
    scores = study()
    with pytest.raises(ValueError, match=r"1 scene \(a\), expected at least 2"):
        resampled_means(scores, ["a"] * 7)
    with pytest.raises(ValueError, match="7 images but 6 scenes"):
        resampled_means(scores, SCENES[:6])
    with pytest.raises(ValueError, match="'scene' or 'image'"):
        resampled_means(scores, SCENES, by="frame")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="0 resamples"):
        resampled_means(scores, SCENES, resamples=0)
    with pytest.raises(ValueError, match="rows, images and metrics"):
        resampled_means(scores[0], SCENES)  # pyright: ignore[reportArgumentType]
    scores[1, 4, 0] = np.nan
    with pytest.raises(ValueError, match=r"1 scores are NaN or infinite \(first: row 1, image 4, metric 0\)"):
        differences(scores)


def test_names_must_fit_the_scores():
    with pytest.raises(ValueError, match="2 names of rows and 2 of metrics for scores of 3 rows"):
        differences(study(), rows=["a", "b"])
    with pytest.raises(ValueError, match="a name twice"):
        differences(study(), rows=["a", "b", "a"])
