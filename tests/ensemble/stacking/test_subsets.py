"""Which learner earns its place: numbers against ones made separately, folds kept apart, no test frame read."""

import json
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from command_lines import TINY, call, done
from foreign_maps import noisy_maps, save_npy, source_of

from ensemble.data.division import division_of
from ensemble.data.rooms.source import RoomsSource
from ensemble.predictions.level_zero import with_all_folds
from ensemble.runs.paths import Outputs
from ensemble.stacking import subsets
from meta.combiners import ConstantWeights

NOISE = {"first": (0.1, 1), "second": (0.1, 2), "useless": (0.8, 3)}
TOO_FAR = 1.06
"""The factor of two further learners, which say the same."""


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three learners that were imported: two that err independently, and one whose depth says little."""
    folder = tmp_path_factory.mktemp("subsets")
    config = folder / "config.yaml"
    config.write_text(TINY.replace("scenes: 4,", "scenes: 9,").replace("folds: 2", "folds: 3"), encoding="utf-8")
    for name, (noise, seed) in NOISE.items():
        save_npy(folder / name, noisy_maps(source_of(config), "train", noise=noise, seed=seed))
    far = {name: TOO_FAR * depth for name, depth in noisy_maps(source_of(config), "train", noise=0.1, seed=4).items()}
    save_npy(folder / "far", far)
    save_npy(folder / "far-again", far)
    for name in (*NOISE, "far", "far-again"):
        for role in ("oof", "validation"):
            words = ("--role", role, "--config", config, "--cache-dir", folder / "cache")
            done("base", "import", name, folder / name, *words)
    return folder / "cache"


@pytest.fixture(scope="module")
def told(cache: Path) -> dict:
    read = RoomsSource.read

    def never_test(source, frame):
        assert frame.split != "test"
        return read(source, frame)

    with mock.patch.object(RoomsSource, "read", never_test):
        words = ("--learners", ",".join(NOISE), "--experiment", "tiny", "--json", "--cache-dir", cache)
        return json.loads(done("meta", "compare-subsets", *words).out)


def test_every_subset_stands_under_every_combiner(told: dict):
    found = [(tuple(each["learners"]), each["combiner"]) for each in told["subsets"]]
    assert len(found) == len(set(found)) == 3 * 2 + 4 * 6
    assert {combiner for subset, combiner in found if len(subset) == 1} == {"alone", "depth-range"}
    assert {combiner for subset, combiner in found if len(subset) > 1} == {
        *("mean", "median", "log-mean", "inverse-variance", "weighted-log-mean", "depth-range")
    }
    assert len(told["best"]) == 7
    for best in told["best"]:
        same = [each["scores"]["abs_rel"] for each in told["subsets"] if each["learners"] == best["learners"]]
        assert best["scores"]["abs_rel"] == min(same)


def test_scores_agree_with_ones_made_separately(cache: Path, told: dict):
    source = source_of(cache.parent / "config.yaml")
    frames = {frame.id: frame for frame in source.frames if frame.split == "train"}
    folds = json.loads((cache / "runs/tiny/folds.json").read_text())["fold_of"]
    kept = [name for name, frame in frames.items() if frame.scene in folds]
    assert len(kept) == told["frames"]
    errors = []
    for name in kept:
        truth = source.read(frames[name]).depth.astype(np.float64)
        both = np.mean([np.load(cache.parent / learner / f"{name}.npy") for learner in ("first", "second")], axis=0)
        errors.append((np.abs(both - truth) / truth).mean())
    row = next(
        each for each in told["subsets"] if each["learners"] == ["first", "second"] and each["combiner"] == "mean"
    )
    assert row["scores"]["abs_rel"] == pytest.approx(np.mean(errors), rel=2e-3)


def test_each_learner_gets_a_verdict(told: dict):
    places = {place["learner"]: place for place in told["places"]}
    assert list(places) == list(NOISE)
    best = {tuple(each["learners"]): each["scores"]["abs_rel"] for each in told["best"]}
    for name, place in places.items():
        rest = tuple(each for each in NOISE if each != name)
        assert place["difference"] == pytest.approx(best[rest] - best[tuple(NOISE)], abs=0.005)  # best on all folds
        assert place["low"] <= place["difference"] <= place["high"]
        assert 0 < place["p_holm"] <= 1
    for name in ("first", "second"):
        assert places[name]["verdict"] == "earns its place"
        assert places[name]["low"] > 0
        assert places[name]["sentence"].startswith(f"{name} earns its place: without it REL rises by 0.0")
    assert abs(places["useless"]["difference"]) < 0.1 * places["first"]["difference"]


def test_a_place_is_what_is_lost_where_rules_are_those_of_other_folds(cache: Path, monkeypatch: pytest.MonkeyPatch):
    seen: list[dict[tuple[str, ...], tuple[str, np.ndarray]]] = []
    places_of = subsets._places

    def spy(names, per_frame, scenes):
        seen.append(per_frame)
        return places_of(names, per_frame, scenes)

    monkeypatch.setattr(subsets, "_places", spy)
    learners = with_all_folds(Outputs(cache), "tiny", list(NOISE), folds=3)
    found = subsets.compare_subsets(learners, Outputs(cache), learners[0].tested[0].settings)
    (per_frame,) = seen
    means = {subset: scores.mean() for subset, (_, scores) in per_frame.items()}
    for place in found.places:
        rest = tuple(each for each in NOISE if each != place.learner)
        assert place.difference == pytest.approx(means[rest] - means[tuple(NOISE)], abs=1e-12)


def test_a_second_learner_earns_nothing_by_letting_the_first_be_scaled(cache: Path):
    words = ("--learners", "far,far-again", "--experiment", "tiny", "--json", "--cache-dir", cache)
    told = json.loads(done("meta", "compare-subsets", *words).out)
    assert [place["verdict"] for place in told["places"]] == ["does not earn its place"] * 2
    best = {tuple(each["learners"]): each["scores"]["abs_rel"] for each in told["best"]}
    alone = next(each for each in told["subsets"] if each["learners"] == ["far"] and each["combiner"] == "alone")
    assert best["far",] < 0.95 * alone["scores"]["abs_rel"]  # scaled
    assert best["far", "far-again"] == pytest.approx(best["far",], rel=0.01)


def test_the_rule_of_a_fold_is_chosen_on_the_other_folds():
    rules = {"one": [0.1, 0.1, 0.3, 0.3], "two": [0.2, 0.2, 0.1, 0.1]}
    arrays = {(("a",), name): np.array([[value, 0, 0] for value in values]) for name, values in rules.items()}
    arrays[("b",), "one"] = np.zeros((4, 3))
    found = subsets._chosen_on_other_folds(arrays, ("a",), np.array([0, 0, 1, 1]))
    assert found.tolist() == [0.2, 0.2, 0.3, 0.3]  # each rule is the best one on the other two frames alone


def test_weights_never_see_the_fold_that_they_are_scored_on(cache: Path, monkeypatch: pytest.MonkeyPatch):
    seen: list[set[float]] = []

    def spy(depths: np.ndarray, target: np.ndarray) -> ConstantWeights:
        seen.append(set(target.tolist()))
        return ConstantWeights((0.5, 0.5))

    monkeypatch.setattr(subsets, "FITTED_COMBINERS", {"spy": spy})
    where = Outputs(cache)
    learners = with_all_folds(where, "tiny", ["first", "second"], folds=3)
    settings = learners[0].tested[0].settings
    comparison = subsets.compare_subsets(learners, where, settings)
    assert len(seen) == 3
    source = source_of(cache.parent / "config.yaml")
    division = division_of(where, "tiny", source, settings.data)
    for fold, target in enumerate(seen):
        own = {float(d) for f in division.of_role("oof", fold) for d in source.read(f).depth.ravel()}
        others = {float(d) for f in division.frames.fit for d in source.read(f).depth.ravel()} - own
        assert len(target & others) > 0.9 * len(target)
        assert len(target & own) < 0.1 * len(target)  # depths that occur on both sides
    assert {each.combiner for each in comparison.scores} == {"alone", "mean", "median", "log-mean", "spy"}


@pytest.mark.parametrize(
    ("difference", "p", "verdict"),
    [
        (0.01, 0.01, "earns its place"),
        (0.01, 0.05, "does not earn its place"),
        (-0.01, 0.2, "does not earn its place"),
        (-0.01, 0.01, "does harm"),
        (0.0, 0.0002, "does not earn its place"),
    ],
)
def test_a_verdict_needs_significance(difference: float, p: float, verdict: str):
    assert subsets._verdict(difference, p) == verdict
    place = subsets.Place("x", "mean", difference, difference - 0.001, difference + 0.001, p, verdict)  # pyright: ignore
    assert place.sentence.startswith(f"x {verdict}: without it REL ")
    if verdict == "does harm":
        assert "falls by 0.0100 (95 % interval 0.0090 to 0.0110" in place.sentence


def test_the_table_fits_eighty_columns(cache: Path):
    words = ("--learners", "first,second", "--experiment", "tiny", "--cache-dir", cache)
    answer = done("meta", "compare-subsets", *words)
    assert max(map(len, answer.out.splitlines())) <= 80
    assert "first + second" in answer.out
    assert "without it REL" in " ".join(answer.out.split())
    assert "intervals are too narrow" in answer.err


def test_what_cannot_be_compared_is_refused(cache: Path, tmp_path: Path):
    given = ("--experiment", "tiny", "--cache-dir", cache)
    assert call("meta", "compare-subsets", "--learners", "first", *given).status == 2
    assert call("meta", "compare-subsets", "--learners", "first,first", *given).status == 2
    assert call("meta", "compare-subsets", "--learners", "first,nobody", *given).status == 2
    answer = call("meta", "compare-subsets", "--learners", "first,bts", *given)
    assert answer.status == 1
    assert "4 models are missing (first: bts/full)" in answer.err
    assert answer.advised[:5] == ["base", "train", "bts", "--folds", "3"]
    answer = call("meta", "compare-subsets", "--config", cache.parent / "config.yaml", "--cache-dir", tmp_path)
    assert answer.status == 1
    assert answer.advised[:5] == ["base", "train", "ldrn", "--folds", "3"]
