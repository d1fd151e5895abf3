"""Compositions: planted rows, trained seeds, and a chosen set on its way through fit, evaluate, save and load."""

import itertools
import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import torch
import yaml
from command_lines import TINY, Job, call, done
from foreign_maps import save_npy, source_of
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Annotation, Text
from matplotlib.transforms import Bbox

from ensemble.data.rooms.source import RoomsSource
from ensemble.deploy.loading import load
from ensemble.predictions.level_zero import level_zero_of
from ensemble.report.drawing.fronts import figure_of, front_of
from ensemble.runs.paths import Outputs
from ensemble.runs.records import stored_settings
from ensemble.settings.budgets import cost_budget
from ensemble.settings.members import member_of
from ensemble.settings.schema import StackSettings
from ensemble.settings.trees import SettingsError
from ensemble.stacking import composition
from ensemble.stacking.candidates import Cost, candidates, costs_of
from ensemble.stacking.composition import EVERYTHING, RIVAL, ComposedSet, Composition, Gain, Kind, Library, compose
from ensemble.training.networks import build_stack

BIAS = {"left": 0.15, "right": -0.15}
"""Log errors that are opposite, beside those of the best one, whose sign is that of the image."""


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Depth maps of three learners: the best one alone, and two that err in opposite ways."""
    folder = tmp_path_factory.mktemp("planted")
    config = folder / "config.yaml"
    config.write_text(TINY.replace("scenes: 4,", "scenes: 9,").replace("folds: 2", "folds: 3"), encoding="utf-8")
    source, rng = source_of(config), np.random.default_rng(0)
    for name in ("best", *BIAS):
        maps = {}
        for frame in source.frames:
            truth = source.read(frame).depth
            bias = BIAS.get(name, 0.1 * rng.choice([-1, 1]))
            maps[frame.id] = (truth * np.exp(bias + 0.02 * rng.normal(size=truth.shape))).astype(np.float32)
        save_npy(folder / name, maps)
        words = ("--role", "all", "--unit", "m", "--config", config, "--cache-dir", folder / "cache")
        done("base", "import", name, folder / name, *words)
    return folder


def asked(folder: Path, *words: object) -> tuple[object, ...]:
    return ("meta", "compose", "--config", folder / "config.yaml", "--cache-dir", folder / "cache", *words)


def test_learners_that_err_in_opposite_ways_are_chosen_before_the_best_one(planted: Path, tmp_path: Path):
    read = RoomsSource.read

    def never_test(source, frame):
        assert frame.split != "test"
        return read(source, frame)

    out = tmp_path / "set.yaml"
    with mock.patch.object(RoomsSource, "read", never_test):
        found = json.loads(done(*asked(planted, "--budget", "1ms", "--out", out, "--json")).out)
    sets = {each["name"]: each for each in found["sets"]}
    assert sets["1ms"]["members"] == {"left": 1, "right": 1}
    assert sets["1ms"]["by_fold"] == [{"left": 1, "right": 1}] * 3
    assert sets["1ms"]["against_seeds"]["gain"] > 0.5
    assert sets["1ms"]["against_seeds"]["low"] > 0.5
    assert {name for name, each in sets.items() if each["kind"] == "rival"} == {"mean of all 3", "1 seed of best"}
    assert sets["mean of all 3"]["against_all"]["gain"] == 0
    assert sets["1ms"]["scores"]["abs_rel"] == pytest.approx(0.0141 * 0.8, rel=0.1)  # of noise alone, halved in squares
    assert yaml.safe_load(out.read_text())["meta"]["learners"] == ["left", "right"]
    assert out.with_suffix(".png").read_bytes().startswith(b"\x89PNG")


def test_the_table_says_how_it_was_judged_and_fits_a_terminal(planted: Path, tmp_path: Path):
    answer = done(*asked(planted, "--budget", "1ms", "--budget", "2.5M", "--out", tmp_path / "set.yaml"))
    assert max(map(len, answer.out.splitlines())) <= 80
    told = " ".join(answer.out.split())
    assert "judged by what the other folds have chosen (leave-one-fold-out)" in told
    assert "1ms: left + right: gain over the mean of all 3 +" in told
    assert "3 of 3 folds, left out one at a time, leave the same set." in told
    assert {path.name for path in tmp_path.iterdir()} == {"set-1ms.yaml", "set-2.5M.yaml", "set.png"}
    follows = [line for line in answer.err.splitlines() if line.startswith("next: ")]
    assert len(follows) == 2
    done(*shlex.split(follows[0].removeprefix("next: python -m ensemble.")))
    settings = stored_settings(StackSettings, planted / "cache/runs/tiny/composed-1ms/settings.json")
    assert settings.learners == ("left", "right")


def test_frames_are_judged_by_sets_that_did_not_see_their_scenes(planted: Path, monkeypatch: pytest.MonkeyPatch):
    """Nothing that the frames of a fold hold can change the set that judges them."""
    outputs = Outputs(planted / "cache")
    members = candidates(outputs, "tiny")
    costs, budgets = costs_of(members), [cost_budget("1ms")]
    before = compose(members, costs, budgets, outputs).of_kind("chosen")[0]
    judged: list[Sequence] = []
    judging, products_of = composition._judged, composition.products_of

    def spy(members, outputs, settings, sets):
        judged.extend(sets)
        return judging(members, outputs, settings, sets)

    def spoilt(members, outputs, settings):
        products, scenes = products_of(members, outputs, settings)
        folds = composition.open_experiment(outputs, settings).division.folds.fold_of
        first = np.array([folds[scene] == 0 for scene in scenes])
        products[first] = np.diag([0.0, 99.0, 99.0])  # on them alone the first one would be perfect
        return products, scenes

    monkeypatch.setattr(composition, "_judged", spy)
    monkeypatch.setattr(composition, "products_of", spoilt)
    after = compose(members, costs, budgets, outputs).of_kind("chosen")[0]
    assert after.members == {"best": 1}
    assert after.by_fold[0] == before.by_fold[0] == {"left": 1, "right": 1}
    assert after.by_fold[1:] == ({"best": 1},) * 2
    scenes = compose_scenes(outputs)
    for sets, fold in zip(judged, scenes, strict=True):
        assert sets["1ms"] == ((0, 1, 1) if fold == 0 else (1, 0, 0))


def compose_scenes(outputs: Outputs) -> list[int]:
    """The fold of every frame to fit, in order."""
    settings = candidates(outputs, "tiny")[0].tested[0].settings
    division = composition.open_experiment(outputs, settings).division
    return [division.folds.fold_of[frame.scene] for frame in division.frames.fit]


def test_seeds_of_the_best_learner_and_the_mean_of_all_are_always_there():
    names = ("adabins", "ldrn", "ldrn#1", "ldrn#2", "ldrn#3")
    library = Library(names, tuple(Cost(10.0 * (1 + (name == "adabins")), 1.0, 1.0) for name in names))
    rng = np.random.default_rng(0)
    errors = rng.normal(size=(5, 1000)) * np.array([2.0, 1.0, 1.1, 1.2, 0.9])[:, None]
    products = errors @ errors.T / 1000
    sets = library.sets(products, [cost_budget("25ms"), cost_budget("60ms")])
    assert sets[EVERYTHING] == (1, 1, 1, 1, 1)
    assert sets[RIVAL] == (0, 1, 1, 1, 0), "three, the experiment's own first; which is best alone is luck"
    for name, most in (("25ms", 25), ("60ms", 60)):
        assert library.cost(sets[name]).milliseconds <= most
    limits = library.limits(cost_budget("25ms"))
    assert library.seeds_of_the_best(products, limits) == (0, 1, 1, 0, 0), "as many as the budget buys"
    assert sets[RIVAL, "25ms"] == (0, 1, 1, 0, 0)
    assert sets[RIVAL, "60ms"] == sets[RIVAL]
    with pytest.raises(SettingsError, match="--budget 5ms: the cheapest candidate, ldrn, costs 10ms by itself"):
        library.sets(products, [cost_budget("5ms")])


def test_seeds_that_a_budget_buys_have_a_row_of_their_own_where_these_are_fewer(planted: Path):
    outputs = Outputs(planted / "cache")
    members = candidates(outputs, "tiny")
    budgets = [cost_budget(f"{many}G") for many in (1, 2, 3)]
    with mock.patch.object(composition, "member_of", return_value=member_of("best")):  # three seeds of one learner
        found = compose(members, [Cost(1.0, 1.0, 1.0)] * 3, budgets, outputs)
    assert [each.name for each in found.of_kind("rival")] == ["mean of all 3", "3 seeds of best", *RIVALS_OF_BEST]
    assert [each.seeds for each in found.of_kind("chosen")] == [*RIVALS_OF_BEST, "3 seeds of best"]
    one, two, three = found.of_kind("chosen")
    assert [each.cost.giga_mul_adds for each in (one, two, three)] == [1, 2, 2], "the third one brings nothing here"
    assert one.against_seeds is not None
    assert one.against_seeds.gain == 0, "the same network"
    assert two.against_seeds is not None
    assert two.against_seeds.gain > 0.5
    assert two.against_seeds.better is not None


RIVALS_OF_BEST = ["1 seed of best", "2 seeds of best"]


@pytest.mark.parametrize("text", ["", "500", "ms", "0ms", "-3G", "1e9M", "3 GB", "nan G"])
def test_other_budgets_are_refused(text: str):
    with pytest.raises(SettingsError, match="such as 500ms, 30G or 10M"):
        cost_budget(text)


def test_the_front_holds_what_nothing_beats_in_both(planted: Path):
    outputs = Outputs(planted / "cache")
    members = candidates(outputs, "tiny")
    found = compose(members, [Cost(1.0), Cost(3.0), Cost(3.0)], [cost_budget("10ms")], outputs)
    assert [each.text for each in front_of(found.sets)] == ["best", "left + right"]


def crowded() -> Composition:
    """Sets as close to each other as those of docs/results.md."""

    def at(name: str, kind: Kind, milliseconds: float, percent: float, half: float) -> ComposedSet:
        gain = 1 - percent / 100
        spread = Gain(gain, gain - half / 100, gain + half / 100, None, None)
        return ComposedSet(name, kind, {name: 1}, Cost(milliseconds), {}, spread)

    chosen = [("0.55G", 40, 99.9, 1.8), ("0.8G", 59, 98.8, 1.9), ("1.05G", 76, 98.4, 1.3), ("1.6G", 117, 98, 1.3)]
    rivals = [("2 seeds of a", 38, 100.4, 3), ("3 seeds of a", 57, 99.3, 2.3), ("mean of all 13", 253, 100, 0.1)]
    alone = [("a", 17, 105.3), ("b#1", 19, 103.6), ("c#1", 19, 103.1), ("c", 21, 104.9), ("a#1", 21, 107.2)]
    sets = [at(name, "chosen", *rest) for name, *rest in chosen] + [at(name, "rival", *rest) for name, *rest in rivals]
    return Composition("tiny", 10, 5, 2, (*sets, *(at(name, "alone", *rest, 0.0) for name, *rest in alone)))


def test_names_in_the_picture_lie_on_no_point_line_or_other_name():
    figure = figure_of(crowded())
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    (axes,) = figure.axes
    names = [each for each in axes.texts if isinstance(each, Annotation)]
    assert {"0.8G", "2 seeds of a", "mean of all 13", "c#1"} <= {each.get_text() for each in names}
    boxes = {each.get_text(): Text.get_window_extent(each, canvas.get_renderer()) for each in names}
    drawn = [axes.transData.transform(line.get_xydata()) for line in axes.lines if line.get_zorder() > 0]
    drawn += [axes.transData.transform(bar) for each in axes.collections for bar in each.get_segments()]
    for text, box in boxes.items():
        assert not [other for other in boxes if other != text and box.overlaps(boxes[other])], text
        assert not box.overlaps(axes.get_legend().get_window_extent()), text
        assert axes.bbox.x0 <= box.x0 < box.x1 <= axes.bbox.x1, text
        for line in drawn:
            assert not any(box.contains(*place) for place in line), f"{text} lies on a point"
    for step in [line for line in axes.lines if line.get_label() == "front"]:
        corners = axes.transData.transform(np.column_stack(step.get_data()))
        for (x, y), (next_x, next_y) in itertools.pairwise(corners):
            for box in boxes.values():
                assert not box.overlaps(Bbox([[x, y], [next_x, y + 0.1]]))
                assert not box.overlaps(Bbox([[next_x, next_y], [next_x + 0.1, y]]))
    for bar in (bar for each in axes.collections for bar in each.get_segments()):
        (x, low), (_, high) = axes.transData.transform(bar)
        for text, box in boxes.items():
            assert not box.overlaps(Bbox([[x, low], [x + 0.1, high]])), f"{text} lies on an error bar"


@pytest.mark.parametrize("name", ["bts#", "bts#x", "bts#01", "#1", "bts#1#2", "nobody#1"])
def test_names_of_members_that_are_none_are_refused(job: Job, name: str):
    given = ("--config", job.config, "--cache-dir", job.cache)
    answer = call("meta", "fit", "--inputs", "d", "--learners", f"ldrn,{name}", *given)
    assert answer.status == 2
    assert "Traceback" not in answer.err


def test_imports_have_no_seeds_and_the_own_seed_has_no_sign(planted: Path, job: Job):
    given = ("--config", planted / "config.yaml", "--cache-dir", planted / "cache")
    answer = call("meta", "fit", "--inputs", "d", "--learners", "left,right#1", *given)
    assert "right#1: right was imported, so there are no other seeds of it" in answer.err
    given = ("--config", job.config, "--cache-dir", job.cache)
    answer = call("meta", "fit", "--inputs", "d", "--learners", "bts,ldrn#0", *given)
    assert "ldrn#0: 0 is the seed of its full fit; call it ldrn" in answer.err


@pytest.fixture(scope="module")
def seeds(job: Job, tmp_path_factory: pytest.TempPathFactory) -> Job:
    """The job with a second seed of BTS, full and without every fold."""
    cache = job.copy_to(tmp_path_factory.mktemp("seeds"))
    done("base", "train", "bts", "--folds", 2, "--seeds", 1, "--config", job.config, "--cache-dir", cache)
    return Job(job.config, cache, cache, [], {}, [], job.table)


def test_every_seed_with_models_of_all_folds_is_a_candidate(seeds: Job, tmp_path: Path):
    outputs, out = Outputs(seeds.cache), tmp_path / "set.yaml"
    members = candidates(outputs, "tiny")
    assert [member.name for member in members] == ["adabins", "bts", "bts#1", "ldrn"]
    costs = costs_of(members)
    assert costs[1] == costs[2], "what is built alike is timed once"
    budget = f"{costs[1].million_parameters + costs[2].million_parameters:.6f}M"
    given = ("--config", seeds.config, "--cache-dir", seeds.cache)
    found = json.loads(done("meta", "compose", "--budget", budget, "--out", out, "--json", *given).out)
    chosen, everything, *_ = found["sets"]
    assert (chosen["kind"], everything["name"]) == ("chosen", "mean of all 4")
    assert chosen["cost"]["million_parameters"] <= float(budget[:-1]) + 1e-9
    assert everything["cost"]["million_parameters"] == pytest.approx(sum(cost.million_parameters for cost in costs))
    assert chosen["cost"]["million_parameters"] < everything["cost"]["million_parameters"]


def test_a_composition_goes_through_fit_evaluate_save_and_load(seeds: Job, tmp_path: Path):
    """The stack has an input map of every member, begins with their counts, and predicts what it was scored with."""
    config = tmp_path / "set.yaml"
    tree = yaml.safe_load(seeds.config.read_text())
    tree["meta"] |= {"learners": ["bts", "bts#1", "ldrn"], "copies": {"bts#1": 2}}
    config.write_text(yaml.safe_dump(tree))
    given = ("--config", config, "--cache-dir", seeds.cache)
    done("meta", "fit", "--inputs", "rgb+d", "--name", "composed", *given)
    outputs = Outputs(seeds.cache)
    run = outputs.meta_run("tiny", "composed")
    settings = stored_settings(StackSettings, run.settings)
    assert settings.learners == ("bts", "bts#1", "ldrn")
    models = [
        learner.tested[0].run.folder.relative_to(seeds.cache / "runs/tiny")
        for learner in level_zero_of(settings, outputs)
    ]
    assert models == [Path("bts/full"), Path("bts/seed-1"), Path("ldrn/full")]
    assert set(json.loads(run.sources.read_text())) >= {"weights of bts/seed-1", "weights of bts/seed-1-fold-1"}
    untrained = build_stack(settings).eval()
    with torch.no_grad():
        weights = untrained(torch.rand(1, 6, 48, 64))
    torch.testing.assert_close(weights[0, :, 0, 0], torch.tensor([0.25, 0.5, 0.25]))
    rows = json.loads(done("meta", "evaluate", "composed", "--json", "--cache-dir", seeds.cache).out)["rows"]
    assert {"bts", "bts#1", "ldrn", "composed"} <= {row["name"] for row in rows}
    assert next(row["title"] for row in rows if row["name"] == "bts#1") == "BTS, seed 1"
    done("report", "composed", "--cache-dir", seeds.cache)
    done("meta", "fit", "--inputs", "d", "--learners", "bts#1,adabins", "--name", "pair", *given)
    rows = json.loads(done("meta", "evaluate", "pair", "--json", "--cache-dir", seeds.cache).out)["rows"]
    titles = {row["name"]: row["title"] for row in rows}
    assert (titles["best-single"], titles["seed-mean"]) == ("best single (BTS, seed 1)", "mean of 2 seeds of BTS")
    saved = tmp_path / "composed.stack"
    done("meta", "save", "composed", saved, "--cache-dir", seeds.cache)
    stack = load(str(saved))
    assert stack.learners == ("bts", "bts#1", "ldrn")
    image = (255 * np.random.default_rng(0).random((48, 64, 3))).astype(np.uint8)
    found = stack(image)
    maps = [np.asarray(found.learners[name]) for name in stack.learners]
    assert not np.array_equal(maps[0], maps[1]), "another seed is another network"
    done("base", "verify", "--cache-dir", seeds.cache)


def test_a_member_that_is_not_trained_is_named_with_the_command_that_trains_it(seeds: Job):
    given = ("--config", seeds.config, "--cache-dir", seeds.cache)
    answer = call("meta", "fit", "--inputs", "d", "--learners", "bts,ldrn#3", *given)
    assert answer.status == 1
    assert answer.advised[:5] == ["base", "train", "ldrn", "--seeds", "3"]


def test_too_few_candidates_are_answered_with_the_command_that_trains_more(job: Job, tmp_path: Path):
    answer = call("meta", "compose", "--budget", "5M", "--config", job.config, "--cache-dir", tmp_path)
    assert answer.status == 1
    assert answer.advised[1:7] == ["train", "adabins", "--folds", "5", "--seeds", "0,1,2"]
    assert not member_of("adabins").seed
