"""An experiment that commit 98bccfb wrote goes on: its files are known, its numbers stay, what is missing is added.

``legacy/make_fixture.sh`` says how ``legacy/cache.tar.gz`` was made. The archive is not to be made again: where one of
these tests fails, people's folders below ``cache/`` are in danger.
"""

import json
import shutil
import tarfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import yaml
from command_lines import contents, done

from ensemble.runs.claims import with_influence

LEGACY = Path(__file__).parent / "legacy"
EXPERIMENT = ("--config", LEGACY / "legacy.yaml")
LEARNERS = ("adabins", "bts", "ldrn")
RUNS = Path("runs/legacy")
TRIALS = Path("studies/legacy/trials")
FRAMES = {"oof": 8, "fit": 8, "validation": 2, "test": 4}

SCORED = 1e-6
"""Relative tolerance of scores: the same rows and the same weights on another machine."""
TRAINED = 1e-3
"""The same of what some optimiser steps on another machine end with."""
PREDICTED = {
    ("small", "depth"): 1e-4,
    ("small", "uncertainty"): 1e-3,
    ("large", "depth"): 1e-2,
    ("large", "uncertainty"): 1e-2,
}
"""The same of photographs."""
UNREADABLE = (".ckpt", ".safetensors", ".h5", ".npz", ".npy", ".png")
"""Files of numbers, in which any few bytes may stand."""
MEASURED = ("seconds", "frames_per_second")
"""What a clock says."""


class Legacy(NamedTuple):
    """A copy of the archive: what to go on with, and what the old code made of it."""

    cache: Path
    expected: Path

    @property
    def given(self) -> tuple[object, ...]:
        return (*EXPERIMENT, "--cache-dir", self.cache)


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Legacy:
    """For looking only."""
    folder = tmp_path_factory.mktemp("legacy")
    with tarfile.open(LEGACY / "cache.tar.gz") as packed:
        packed.extractall(folder, filter="data")
    return Legacy(folder / "cache", folder / "expected")


@pytest.fixture
def legacy(archive: Legacy, tmp_path: Path) -> Legacy:
    return Legacy(shutil.copytree(archive.cache, tmp_path / "cache"), archive.expected)


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def lines(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def assert_same(found: Any, expected: Any, tolerance: float, *, counts: int = 0, at: str = "") -> None:
    """Equal but for rounding: real numbers within a relative tolerance, whole ones within ``counts``."""
    if isinstance(expected, dict):
        assert isinstance(found, dict), at
        assert found.keys() == expected.keys(), at
        for key in expected.keys() - set(MEASURED):
            assert_same(found[key], expected[key], tolerance, counts=counts, at=f"{at}.{key}")
    elif isinstance(expected, list):
        assert isinstance(found, list), at
        assert len(found) == len(expected), at
        for index, (ours, theirs) in enumerate(zip(found, expected, strict=True)):
            assert_same(ours, theirs, tolerance, counts=counts, at=f"{at}[{index}]")
    elif isinstance(expected, float):
        assert found == pytest.approx(expected, rel=tolerance, abs=tolerance / 100), at
    elif isinstance(expected, int) and not isinstance(expected, bool):
        assert abs(found - expected) <= counts, at
    else:
        assert found == expected, at


def assert_same_run(found: Path, expected: Path) -> None:
    """Asked the same, resting on the same files, with the same course and the same end."""
    ours, theirs = (with_influence(read(folder / "settings.json")) for folder in (found, expected))
    assert ours == theirs
    assert read(found / "sources.json") == read(expected / "sources.json")
    assert_same(lines(found / "log.jsonl"), lines(expected / "log.jsonl"), TRAINED)
    result = read(found / "result.json")
    assert {"best.safetensors", "settings.json"} <= result.pop("seal")["files"].keys()
    assert_same(result, read(expected / "result.json"), TRAINED)


def changed(before: dict[str, bytes], after: dict[str, bytes]) -> list[str]:
    """Names of files that are not as they were, or are gone; new ones do not count."""
    return [name for name, content in before.items() if after.get(name) != content]


def test_the_archive_names_no_machine(archive: Legacy):
    with tarfile.open(LEGACY / "cache.tar.gz") as packed:
        assert {(each.uid, each.gid, each.uname, each.gname) for each in packed} == {(0, 0, "", "")}
    for path in archive.cache.parent.rglob("*.*"):
        found = [place for place in (b"/tmp", b"/home/", b"/root", b"/Users/") if place in path.read_bytes()]
        assert path.suffix in UNREADABLE or not found, path
    assert all(read(path)["data"]["root"] is None for path in archive.cache.rglob("settings.json"))


def test_complete_runs_are_left_as_they_are(legacy: Legacy):
    before = contents(legacy.cache)
    complete = "complete already (give --fresh to start over)"
    for learner in LEARNERS:
        told = done("base", "train", learner, "--folds", 2, *legacy.given).err
        assert told.count(complete) == 3, "full, fold-0 and fold-1"
    assert done("base", "train", "bts", "--seeds", "0,1", *legacy.given).err.count(complete) == 2
    assert complete in done("base", "train", "bts", "--resume", "legacy/bts/seed-1", "--cache-dir", legacy.cache).err
    assert complete in done("meta", "fit", "--inputs", "d", *legacy.given).err
    assert complete in done("meta", "fit", "--resume", "legacy/meta-d", "--cache-dir", legacy.cache).err
    assert contents(legacy.cache) == before


def test_a_run_that_was_killed_goes_on_to_the_end_that_it_would_have_had(legacy: Legacy):
    run = legacy.cache / RUNS / "adabins/seed-3"
    assert (run / "last.ckpt").is_file()
    assert not (run / "result.json").exists()
    assert lines(run / "log.jsonl")[-1]["step"] == 4
    before = contents(legacy.cache)
    halfway = before[str(RUNS / "adabins/seed-3/best.safetensors")]
    told = done("base", "train", "adabins", "--seeds", 3, *legacy.given).err
    assert "going on after step 3 (epoch 2, 1 of 2 steps done)" in told
    assert_same_run(run, legacy.expected / RUNS / "adabins/seed-3")
    assert (run / "best.safetensors").read_bytes() != halfway
    touched = changed(before, contents(legacy.cache))
    assert touched
    assert all(name.startswith(str(RUNS / "adabins/seed-3")) for name in touched)
    told = done("base", "cache", "adabins", "--role", "test", "--seeds", 3, *legacy.given).err
    assert "test: caching 4 frames of adabins/seed-3" in told


def test_every_cached_row_is_found(legacy: Legacy):
    before = contents(legacy.cache)
    for role in FRAMES:
        told = done("base", "cache", *LEARNERS, "--role", role, *legacy.given).err
        assert f"{role}: every frame of adabins/" in told
        assert "caching" not in told
    told = done("base", "cache", "bts", "--role", "test", "--seeds", "0,1", *legacy.given).err
    assert "caching" not in told
    assert contents(legacy.cache) == before


def test_every_byte_of_the_rows_is_verified(archive: Legacy):
    answer = done("base", "verify", "--json", "--cache-dir", archive.cache)
    rows = json.loads(answer.out)
    stores = {row["store"]: row for row in rows if row["kind"] == "predictions"}
    wanted = {f"legacy/{learner}/{role}/full": FRAMES[role] for learner in LEARNERS for role in FRAMES if role != "oof"}
    wanted |= {f"legacy/{learner}/oof/fold-{fold}": 4 for learner in LEARNERS for fold in (0, 1)}
    wanted |= {"legacy/bts/test/seed-1": 4}
    assert {name: row["frames"] for name, row in stores.items()} == wanted
    assert not any(row["damaged"] for row in rows)
    bare = [row for row in rows if row["kind"] == "run"]
    assert {row["files"] for row in bare} == {0}
    assert f"{len(bare)} of {len(bare)} folders, begun before checksums were kept, have none" in answer.err


def test_another_stack_is_fitted_to_the_old_rows(legacy: Legacy):
    before = contents(legacy.cache)
    done("meta", "fit", "--inputs", "rgb+d", *legacy.given)
    assert_same_run(legacy.cache / RUNS / "meta-rgb+d", legacy.expected / RUNS / "meta-rgb+d")
    after = contents(legacy.cache)
    assert not changed(before, after)
    assert all(name.startswith(str(RUNS / "meta-rgb+d")) for name in after.keys() - before.keys())


GONE = ("global",)
"""Rows that evaluations of that time had and today's have not: the weighted log-mean stands in their place."""
NEW = (
    "weighted-log-mean", "oracle shuffled", "weights per image", "scale per image", "scale and slope per image",
)  # fmt: skip


def test_an_evaluation_gives_the_old_scores(legacy: Legacy):
    run = legacy.cache / RUNS / "meta-d"
    old = {name: read(run / f"{name}.json") for name in ("scores", "details", "uncertainty")}
    images = (run / "per_image.csv").read_text(encoding="utf-8").splitlines()
    predictions = contents(legacy.cache / "predictions")
    with np.load(run / "gallery.npz") as packed:
        gallery = {name: packed[name] for name in packed.files}
    for name in ("scores.json", "details.json", "uncertainty.json", "per_image.csv", "gallery.npz"):
        (run / name).unlink()
    told = json.loads(done("meta", "evaluate", "meta-d", "--json", "--cache-dir", legacy.cache).out)
    assert contents(legacy.cache / "predictions") == predictions
    assert read(run / "scores.json") == told
    assert {row["name"] for row in told["rows"]} == {row["name"] for row in old["scores"]["rows"]} - {*GONE} | {*NEW}
    (alike,) = told.pop("alike")
    assert alike["learners"] == ["AdaBins", "BTS", "LDRN"]
    assert {row.pop("choice_rel") for row in told["rows"]} == {None}, "no stack of then was cross-validated"
    told["rows"] = [row for row in told["rows"] if row["name"] not in NEW]
    old["scores"]["rows"] = [row for row in old["scores"]["rows"] if row["name"] not in GONE]
    assert_same(told, old["scores"], SCORED)
    found = {name: read(run / f"{name}.json") for name in ("details", "uncertainty")}
    assert found["details"]["stacks"]["meta-d"]["uncertainty"].pop("images") is None, "too few scenes for an image part"
    medians = found["uncertainty"].pop("medians")
    assert len(medians) == len(old["details"]["stacks"]["meta-d"]["weights"]["learners"])
    for name, now in found.items():
        assert_same(now, old[name], 1e-5, counts=2)
    cells = [line.split(",") for line in (run / "per_image.csv").read_text(encoding="utf-8").splitlines()]
    cells = [line for line in cells if line[0] not in NEW]
    images = [line for line in images if line.split(",")[0] not in GONE]
    assert [line[:4] for line in cells] == [line.split(",")[:4] for line in images]
    scores = [[float(cell) for cell in line[4:]] for line in cells[1:]]
    np.testing.assert_allclose(scores, [[*map(float, line.split(",")[4:])] for line in images[1:]], rtol=SCORED)
    with np.load(run / "gallery.npz") as packed:
        assert set(packed.files) == set(gallery)
        for name, array in gallery.items():
            if array.dtype.kind == "U":
                assert_same(json.loads(packed[name].item()), json.loads(array.item()), 1e-5)
            else:
                assert (packed[name].dtype, packed[name].shape) == (array.dtype, array.shape)
                np.testing.assert_allclose(packed[name].astype(float), array.astype(float), rtol=2e-3)  # halves


def test_a_study_goes_on_with_one_more_trial_in_each_arm(legacy: Legacy):
    given = ("--cache-dir", legacy.cache)
    before = contents(legacy.cache)
    asked = yaml.safe_load((LEGACY / "study.yaml").read_text(encoding="utf-8"))["about"]
    assert json.loads(done("study", "list", "--json", *given).out) == [{"study": "legacy", "about": asked}]
    values = {arm: read(legacy.cache / TRIALS / arm / "0/outcome.json")["values"][0] for arm in ("frozen", "finetune")}
    shown = json.loads(done("study", "show", "legacy", "--json", *given).out)
    assert shown["remaining"] == 0
    assert {arm["arm"]: (arm["complete"], arm["best"], arm["best_trial"]) for arm in shown["arms"]} == {
        arm: (1, value, 0) for arm, value in values.items()
    }
    assert contents(legacy.cache) == before, "looking changes nothing"

    told = done("study", "run", LEGACY / "study.yaml", "--trials", 2, "--workers", 0, *given).err
    assert "legacy: 2 arms, 2 of 4 trials to run" in told
    shown = json.loads(done("study", "show", "legacy", "--json", *given).out)
    assert (shown["trials"], shown["remaining"]) == (2, 0)
    assert [(arm["done"], arm["complete"], arm["failed"]) for arm in shown["arms"]] == [(2, 2, 0)] * 2
    for arm in shown["arms"]:
        found, expected = (root / TRIALS / arm["arm"] / "1" for root in (legacy.cache, legacy.expected))
        assert_same(*(with_influence(read(place / "settings.json")) for place in (found, expected)), 1e-6)
        outcome = read(found / "outcome.json")
        asked = read(found / "settings.json")["training"]["lr"]  # six digits of what was drawn
        assert outcome.pop("params")["training.lr"] == pytest.approx(asked, rel=1e-5)
        assert_same(outcome, read(expected / "outcome.json"), TRAINED)
        assert arm["best"] == min(values[arm["arm"]], outcome["values"][0])
    after = contents(legacy.cache)
    assert changed(before, after) == ["studies/legacy/study.db", "studies/legacy/study.json"]
    new = {name for name in after.keys() - before.keys() if not name.startswith("studies/legacy/trials/")}
    assert new == {"studies/legacy/study.json.sha256"}


def test_the_old_stack_predicts_photographs(legacy: Legacy, tmp_path: Path):
    before = contents(legacy.cache)
    out, photos = tmp_path / "out", [legacy.expected / f"{name}.png" for name in ("small", "large")]
    done("meta", "predict", "meta-d", *photos, "--out", out, "--cache-dir", legacy.cache)
    shapes = {"small": (32, 48), "large": (80, 120)}  # the small one is not resampled, which may round
    for (name, kind), tolerance in PREDICTED.items():
        now = {"uncertainty": "error"}.get(kind, kind)  # as the file is called since
        found, expected = np.load(out / f"{name}_{now}.npy"), np.load(legacy.expected / f"{name}_{kind}.npy")
        assert found.shape == shapes[name]
        np.testing.assert_allclose(found, expected, rtol=tolerance)
    assert contents(legacy.cache) == before
