"""Depth maps from elsewhere join the stack as a learner, or are refused with the command that mends it."""

import json
import shlex
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest import mock

import h5py
import numpy as np
import pytest
import yaml
from command_lines import Answer, Job, call, contents, done
from foreign_maps import FORMATS, Maps, noisy_maps, save_npy, source_of
from PIL import Image

import ensemble
from ensemble.commands import completion
from ensemble.data.division import open_experiment
from ensemble.data.nyu.camera import COLOUR
from ensemble.predictions.foreign import checks, guesses
from ensemble.predictions.level_zero import level_zero, open_rows
from ensemble.runs.paths import Outputs
from ensemble.settings.kinds import KindFacts
from ensemble.settings.trees import SettingsError

ROLES = ("oof", "validation", "test")


@dataclass(frozen=True)
class Foreign:
    config: Path
    maps: Mapping[str, Maps]
    train: Path
    test: Path

    def of(self, role: str) -> Path:
        return self.test if role == "test" else self.train

    def take(self, cache: Path, folder: Path, role: str, *words: object, name: str = "other") -> Answer:
        return call("base", "import", name, folder, "--role", role, *words, *self.given(cache))

    def take_all(self, cache: Path, *words: object, name: str = "other") -> None:
        for role in ROLES:
            answer = self.take(cache, self.of(role), role, *words, name=name)
            assert answer.status == 0, answer.err

    def given(self, cache: Path) -> tuple[object, ...]:
        return ("--config", self.config, "--cache-dir", cache)


@pytest.fixture(scope="session")
def foreign(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Foreign:
    folder = tmp_path_factory.mktemp("foreign")
    maps = {split: noisy_maps(source_of(tiny), split, noise=0.05, seed=1) for split in ("train", "test")}
    return Foreign(tiny, maps, *(save_npy(folder / split, maps[split]) for split in ("train", "test")))


@pytest.fixture
def copy(foreign: Foreign, tmp_path: Path) -> Path:
    """The maps of the training split, to be spoilt."""
    return shutil.copytree(foreign.train, tmp_path / "maps")


def files_below(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def rows_of(cache: Path, role: str) -> dict[str, np.ndarray]:
    where = Outputs(cache)
    learner = level_zero(where, "tiny", "other", rows="oof", level0="full")
    settings = learner.tested[0].settings
    experiment = open_experiment(where, settings)
    division = experiment.division
    frames = division.frames.fit if role == "oof" else division.frames.validation
    rows = open_rows(learner, experiment, frames, role)  # pyright: ignore[reportArgumentType]
    return {frame.id: rows.read(frame.id) for frame in frames}


@pytest.mark.parametrize("kind", FORMATS)
def test_every_kind_of_file_gives_the_same_rows(foreign: Foreign, tmp_path: Path, kind: str):
    place = FORMATS[kind](tmp_path / "maps", foreign.maps["train"])
    cache = tmp_path / "cache"
    for role in ("oof", "validation"):
        answer = foreign.take(cache, place, role)
        assert answer.status == 0, answer.err
    found = rows_of(cache, "oof") | rows_of(cache, "validation")
    assert set(found) == set(foreign.maps["train"])
    tolerance = 0.0002 + (0.0005 if kind in ("png", "flat whole millimetres") else 0)
    for name, metres in found.items():
        assert metres.shape == (48, 64)
        np.testing.assert_allclose(metres, foreign.maps["train"][name], atol=tolerance, rtol=0)
    folds = json.loads((cache / "runs/tiny/folds.json").read_text())
    stored = {path.parent.name for path in (cache / "predictions/tiny/other/oof").rglob("*.h5")}
    assert stored == {f"fold-{fold}" for fold in range(folds["folds"])}


def test_other_sizes_are_resized_bilinearly(foreign: Foreign, tmp_path: Path):
    coarse = {name: metres[::2, ::2].copy() for name, metres in foreign.maps["train"].items()}
    assert foreign.take(tmp_path / "cache", save_npy(tmp_path / "maps", coarse), "validation").status == 0
    assert foreign.take(tmp_path / "cache", foreign.train, "oof").status == 0
    for name, row in rows_of(tmp_path / "cache", "validation").items():
        small = coarse[name].astype(np.float64)
        between = 0.75 * small[:, :-1] + 0.25 * small[:, 1:]  # of columns 1, 3, 5 ... in the middle of two
        expected = 0.75 * between[:-1] + 0.25 * between[1:]
        np.testing.assert_allclose(row[1:-1:2, 1:-1:2], expected, atol=0.0002, rtol=0)


def drop(folder: Path, first: Path) -> None:
    first.unlink()


def add_stranger(folder: Path, first: Path) -> None:
    shutil.copy(first, folder / "room_9999__0000.npy")


def double(folder: Path, first: Path) -> None:
    shutil.copy(first, folder / f"{first.parent.name}__{first.name}")


def changed(change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Path, Path], None]:
    def spoil(folder: Path, first: Path) -> None:
        np.save(first, change(np.load(first)))

    return spoil


def with_pixel(value: float) -> Callable[[np.ndarray], np.ndarray]:
    def change(metres: np.ndarray) -> np.ndarray:
        metres[3, 4] = value
        return metres

    return change


def eight_bits(folder: Path, first: Path) -> None:
    Image.fromarray((np.load(first) * 25).astype(np.uint8)).save(first.with_suffix(".png"))
    first.unlink()


def pickled(folder: Path, first: Path) -> None:
    np.save(first, np.array([[{}]], dtype=object), allow_pickle=True)


def cut_short(folder: Path, first: Path) -> None:
    first.write_bytes(first.read_bytes()[:400])


def two_arrays(folder: Path, first: Path) -> None:
    np.savez(first.with_suffix(".npz"), a=np.load(first), b=np.load(first))
    first.unlink()


def external_link(folder: Path, first: Path) -> None:
    with h5py.File(folder.parent / "outside.h5", "w") as outside:
        outside["depth"] = np.load(first)
    with h5py.File(first.with_suffix(".h5"), "w") as file:
        file["depth"] = h5py.ExternalLink("../../outside.h5", "/depth")
    first.unlink()


def virtual_dataset(folder: Path, first: Path) -> None:
    metres = np.load(first)
    with h5py.File(folder.parent / "outside.h5", "w") as outside:
        outside["depth"] = metres
    layout = h5py.VirtualLayout(metres.shape, metres.dtype)
    layout[:] = h5py.VirtualSource(str(folder.parent / "outside.h5"), "depth", metres.shape)
    with h5py.File(first.with_suffix(".h5"), "w") as file:
        file.create_virtual_dataset("depth", layout)
    first.unlink()


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (drop, "1 of 6 oof frames have no depth map (first: {id})"),
        (add_stranger, "1 depth maps are called by no frame of the data"),
        (double, "1 of 6 oof frames have more than one depth map"),
        (changed(with_pixel(np.nan)), "(frame {id}): 1 of 3072 pixels are NaN or infinite"),
        (changed(with_pixel(np.inf)), "(frame {id}): 1 of 3072 pixels are NaN or infinite"),
        (changed(with_pixel(0)), "(frame {id}): 1 of 3072 pixels are 0 or negative"),
        (changed(with_pixel(-1)), "(frame {id}): 1 of 3072 pixels are 0 or negative"),
        (changed(with_pixel(11)), "frame {id} reaches 11 m, expected at most data.max_depth, 10 m"),
        (changed(lambda metres: np.stack([metres] * 2)), "expected a depth map of height x width"),
        (changed(lambda metres: metres[:, 4:]), "48x60 pixels have another shape than the frames (48x64)"),
        (changed(lambda metres: metres.astype(np.uint8)), "expected depth of 16 bits or more, found uint8"),
        (changed(lambda metres: metres > 1), "expected real numbers (metres) or whole ones (millimetres), found bool"),
        (changed(lambda metres: metres * 1000), "frame {id} has a median depth of"),
        (eight_bits, "expected a 16-bit PNG"),
        (pickled, "damaged or not as expected"),
        (cut_short, "damaged or not as expected"),
        (two_arrays, "2 arrays of"),
        (external_link, "'depth' is a soft or external link; nothing outside of the file is read"),
        (virtual_dataset, "'depth' is a virtual dataset, which reads other files"),
    ],
)
def test_what_is_no_prediction_of_every_frame_is_refused(
    foreign: Foreign, copy: Path, tmp_path: Path, spoil: Callable[[Path, Path], None], expected: str
):
    division = foreign.take(tmp_path / "asked", foreign.train, "oof")
    assert division.status == 0
    frame_id = next(iter(rows_of_oof(tmp_path / "asked")))
    spoil(copy, copy / f"{frame_id}.npy")
    answer = foreign.take(tmp_path / "cache", copy, "oof")
    assert answer.status == 1
    assert expected.format(id=frame_id) in answer.err
    assert answer.advised[:6] == ["base", "import", "other", str(copy), "--role", "oof"]
    assert not files_below(tmp_path / "cache")


def rows_of_oof(cache: Path) -> list[str]:
    """Frames of the first fold."""
    with h5py.File(next((cache / "predictions/tiny/other/oof/fold-0").glob("*.h5"))) as file:
        return [name.decode() for name in file["frame"][:]]  # pyright: ignore


def test_missing_maps_come_with_the_command_that_goes_on(foreign: Foreign, copy: Path, tmp_path: Path):
    victim = next(path for path in sorted(copy.rglob("*.npy")))
    kept = victim.read_bytes()
    words = ("base", "import", "other", copy, "--role")
    for role in ("oof", "validation"):
        victim.unlink()
        answer = call(*words, role, *foreign.given(tmp_path / "cache"))
        victim.write_bytes(kept)
        if answer.status:
            assert f"{victim.parent.name}/{victim.stem}" in answer.err
            done(*answer.advised)
            return
    pytest.fail("no role missed the map")


def test_millimetres_are_told_and_mended(foreign: Foreign, tmp_path: Path):
    in_mm = {name: metres * 1000 for name, metres in foreign.maps["train"].items()}
    folder = save_npy(tmp_path / "maps", in_mm)
    answer = foreign.take(tmp_path / "cache", folder, "validation")
    assert answer.status == 1
    assert "it looks like millimetres" in answer.err
    assert tuple(answer.advised[answer.advised.index("--unit") :][:2]) == ("--unit", "mm")
    done(*answer.advised)
    assert foreign.take(tmp_path / "cache", folder, "oof", "--unit", "mm").status == 0
    for name, row in rows_of(tmp_path / "cache", "validation").items():
        np.testing.assert_allclose(row, foreign.maps["train"][name], atol=0.0002)
    answer = foreign.take(tmp_path / "cache", foreign.train, "oof")
    assert answer.status == 2
    assert "--unit: mm against None" in answer.err
    whole = {name: np.rint(metres).astype(np.uint16) for name, metres in foreign.maps["train"].items()}
    answer = foreign.take(tmp_path / "cache", save_npy(tmp_path / "whole", whole), "oof", name="whole")
    assert "it looks like metres" in answer.err
    assert "--unit" in answer.advised


def test_mixed_units_are_told_and_not_sent_in_circles(foreign: Foreign, tmp_path: Path):
    mixed = {
        name: metres * (1000 if index == 5 else 1) for index, (name, metres) in enumerate(foreign.maps["train"].items())
    }
    folder = save_npy(tmp_path / "maps", mixed)
    for words in ((), ("--unit", "m")):
        answer = foreign.take(tmp_path / "cache", folder, "oof", *words)
        assert answer.status == 1
        assert "units are mixed" in answer.err


def test_depth_that_has_the_size_of_metres_and_no_scale_is_refused(foreign: Foreign, tmp_path: Path):
    cache = tmp_path / "cache"
    changes = {"shrunk": lambda metres: 0.6 * metres, "squeezed": lambda metres: 0.3 * metres + 2}
    for name, change in changes.items():
        folder = save_npy(tmp_path / name, {frame: change(metres) for frame, metres in foreign.maps["train"].items()})
        answer = foreign.take(cache, folder, "oof", name=name)
        assert answer.status == 1, name
        assert "it looks as if it had no scale" in answer.err
        assert "--align-on" in answer.advised
        assert foreign.take(cache, folder, "oof", "--unit", "m", name=name).status == 0, "whoever says so is believed"
    rng = np.random.default_rng(0)
    poor = {name: (m * rng.uniform(0.6, 1.3, m.shape)).astype(np.float32) for name, m in foreign.maps["train"].items()}
    assert foreign.take(cache, save_npy(tmp_path / "poor", poor), "oof", name="poor").status == 0


def test_depth_without_a_scale_wants_one_of_training(foreign: Foreign, tmp_path: Path):
    cache, folder = tmp_path / "cache", tmp_path / "relative"
    for split in ("train", "test"):
        save_npy(folder / split, {name: (metres - 0.5) / 8 for name, metres in foreign.maps[split].items()})
    refused = foreign.take(cache, folder / "train", "oof")
    assert refused.status == 1
    assert "so it is not in metres" in refused.err
    assert "--align-on" in refused.advised
    answer = foreign.take(cache, foreign.train, "oof", "--relative")
    assert answer.status == 1
    assert "(--relative) cannot be weighed against metres" in answer.err
    for role in ("validation", "test"):
        early = foreign.take(cache, folder / ("test" if role == "test" else "train"), role, "--align-on", "fit")
        assert early.status == 1
        assert "takes scale and shift from the rows of training" in early.err
        assert early.advised[:5] == ["base", "import", "other", "DIR", "--role"]
    done(*refused.advised)
    stored = json.loads((cache / "runs/tiny/other/full/settings.json").read_text())["alignment"]
    ids = [frame for fold in (0, 1) for frame in frames_of(cache, fold)]
    truth = {frame.id: source_of(foreign.config).read(frame).depth for frame in source_of(foreign.config).frames[:8]}
    relative = np.concatenate([np.load(folder / f"train/{name}.npy").ravel() for name in ids])
    scale, shift = np.polyfit(relative.astype(np.float64), np.concatenate([truth[name].ravel() for name in ids]), 1)
    assert stored["scale"] == pytest.approx(scale, rel=0.02)
    assert stored["shift"] == pytest.approx(shift, abs=0.05)
    assert stored["frames"] == 6
    with mock.patch.object(checks, "_sampled", wraps=checks._sampled) as truth_read:
        for role in ("validation", "test"):
            split = "test" if role == "test" else "train"
            assert foreign.take(cache, folder / split, role, "--align-on", "fit").status == 0
    assert {one.args[2].split for one in truth_read.call_args_list} == {"train"}
    for name, row in rows_of(cache, "validation").items():
        expected = stored["scale"] * np.load(folder / f"train/{name}.npy") + stored["shift"]
        np.testing.assert_allclose(row, expected.clip(0.001, 10), atol=0.0002)
    assert "REL" in done("base", "evaluate", "other", *foreign.given(cache)).out
    answer = foreign.take(cache, foreign.train, "validation")
    assert answer.status == 2
    assert "--align-on fit: True against False" in answer.err


def frames_of(cache: Path, fold: int) -> list[str]:
    with h5py.File(next((cache / f"predictions/tiny/other/oof/fold-{fold}").glob("*.h5"))) as file:
        return [name.decode() for name in file["frame"][:]]  # pyright: ignore


def test_inverse_depth_is_refused(foreign: Foreign, tmp_path: Path):
    folder = save_npy(tmp_path / "maps", {name: 1 / metres for name, metres in foreign.maps["train"].items()})
    answer = foreign.take(tmp_path / "cache", folder, "oof", "--align-on", "fit")
    assert answer.status == 1
    assert "the maps look like inverse depth: so the truth is met to 4%, and as read to " in answer.err


def test_a_new_scale_makes_the_other_roles_stale(foreign: Foreign, tmp_path: Path):
    cache, align = tmp_path / "cache", ("--align-on", "fit")
    foreign.take_all(cache, *align)
    other = save_npy(tmp_path / "maps", {name: metres / 2 for name, metres in foreign.maps["train"].items()})
    refused = foreign.take(cache, other, "oof", *align)
    assert refused.status == 1
    assert f"{other}: other has other maps of oof frames already, of {foreign.train}; give these" in refused.err
    assert refused.advised[-1] == "--rebuild"
    done(*refused.advised)
    for role in ("validation", "test"):
        stale = call("base", "cache", "other", "--role", role, *foreign.given(cache))
        assert "stale: weights changed" in stale.err
        assert "--align-on" in stale.advised
        done(*stale.advised)
        done("base", "cache", "other", "--role", role, *foreign.given(cache))


def test_test_maps_come_after_maps_of_training_and_in_their_unit(foreign: Foreign, tmp_path: Path):
    cache = tmp_path / "cache"
    answer = foreign.take(cache, foreign.test, "test")
    assert answer.status == 1
    assert "the truth of test frames is never read for it" in answer.err
    assert foreign.take(cache, foreign.train, "validation").status == 0
    small = save_npy(tmp_path / "small", {name: metres / 8 for name, metres in foreign.maps["test"].items()})
    answer = foreign.take(cache, small, "test")
    assert answer.status == 1
    assert "times the depth" in answer.err
    done("base", "import", "other", foreign.test, "--role", "test", *foreign.given(cache))


def test_imports_and_networks_work_together(job: Job, foreign: Foreign, tmp_path: Path):
    cache = job.copy_to(tmp_path)
    foreign.take_all(cache)
    given = ("--config", job.config, "--cache-dir", cache)
    done("meta", "fit", "--inputs", "rgb+d", "--learners", "adabins,other", *given)
    stack = "meta-rgb+d-adabins-other"
    told = json.loads(done("meta", "evaluate", stack, "--json", "--cache-dir", cache).out)
    rows = {row["name"]: row for row in told["rows"]}
    assert {"adabins", "other", "mean", "weighted-log-mean", stack} <= set(rows)
    assert rows["other"]["parameters"] is None
    assert rows["adabins"]["parameters"] > 0
    assert rows["other"]["scores"]["abs_rel"] < 0.1 < rows["adabins"]["scores"]["abs_rel"]
    done("meta", "compare-subsets", "--learners", "adabins,other", *given)
    assert "every frame of other/full is there already" in done("base", "cache", "other", "--role", "test", *given).err

    Image.fromarray(np.zeros((48, 64, 3), np.uint8)).save(tmp_path / "photo.png")
    words = ("meta", "predict", stack, tmp_path / "photo.png", "--out", tmp_path / "out", "--cache-dir", cache)
    answer = call(*words)
    assert answer.status == 1
    assert "other was imported as depth maps: there is no network of it" in answer.err
    for words in (
        ("predict", "tiny/other", tmp_path / "photo.png", "--out", tmp_path / "out"),
        ("save", "tiny/other", tmp_path / "o"),
    ):
        answer = call("base", *words, "--cache-dir", cache)
        assert answer.status == 1
        assert "there is no network of it to predict with or to save, its maps are its depth" in answer.err
    context = mock.Mock(params={"cache_dir": cache})
    offered = [name for name in completion.runs(context) if "other" in name]
    assert offered == [f"tiny/{stack}", "tiny/other", stack, "other"], "folds of an import are no networks"
    assert completion.stacks(context)[-1] == stack
    assert not {*completion.stacks(context)} & {"tiny/other", "other", "tiny/bts", "bts", "tiny/bts/fold-0"}
    assert completion.trained(context) == ["adabins", "bts", "ldrn"], "there is no network of an import to save"
    answer = call("base", "cache", "other", "--role", "test", "--seeds", "0", *given)
    assert answer.status == 2
    assert "other was imported, so there are no other seeds of it" in answer.err
    answer = call("base", "cache", "other", "--role", "test", "--rebuild", *given)
    assert "--rebuild works on the import" in answer.err
    done(*answer.advised)
    answer = call("meta", "fit", "--inputs", "d", "--learners", "bts,other", "--training", "joint", *given)
    assert answer.status == 2
    assert "unknown network to train" in answer.err
    answer = call("meta", "fit", "--inputs", "d", "--learners", "bts,othr", *given)
    assert answer.status == 2
    assert (
        "did you mean 'other'? Known: adabins, bts, bts_fast, dpt, fastdepth, ffn, ldrn, ldrn_fast, other" in answer.err
    )
    answer = call("meta", "fit", "--inputs", "d", "--learners", "bts,other", "--name", "other", *given)
    assert answer.status == 2

    other = save_npy(tmp_path / "maps", {name: metres * 0.99 for name, metres in foreign.maps["train"].items()})
    answer = foreign.take(cache, other, "validation")
    assert answer.status == 1
    assert f"{other}: other has other maps of validation frames already, of " in answer.err
    assert answer.advised[-1] == "--rebuild"
    assert foreign.take(cache, other, "validation", "--rebuild").status == 0
    answer = call("meta", "evaluate", stack, "--cache-dir", cache)
    assert answer.status == 1
    assert "weights of other/full" in answer.err
    done(*answer.advised)


def test_an_experiment_of_imports_alone_needs_no_list_of_them(foreign: Foreign, tmp_path: Path):
    """Nobody asks for networks that come with the package where there are none; what is fitted says what follows."""
    cache = tmp_path / "cache"
    for name in ("good", "other"):
        foreign.take_all(cache, name=name)
    given = foreign.given(cache)
    done("meta", "compare-subsets", *given)
    done("meta", "fit", "--inputs", "d", *given)
    stack = "meta-d-good-other"
    saved = done("meta", "save", stack, tmp_path / "two.stack", "--cache-dir", cache).err
    assert (
        f"next: python -m ensemble.meta fuse {tmp_path}/two.stack --maps good=DIR --maps other=DIR --out DIR" in saved
    )
    with pytest.raises(ValueError, match="good, other were imported as depth maps"):
        ensemble.load(tmp_path / "two.stack", device="cpu")(np.zeros((48, 64, 3), np.uint8))
    with pytest.raises(SettingsError, match=r"did you mean the file .*two\.stack\?"):
        ensemble.load(tmp_path / "two.stac")


def test_a_role_that_was_not_imported_is_asked_for(job: Job, foreign: Foreign, tmp_path: Path):
    cache = job.copy_to(tmp_path)
    given = ("--config", job.config, "--cache-dir", cache)
    for role in ("oof", "validation"):
        assert foreign.take(cache, foreign.train, role).status == 0
    answer = call("base", "evaluate", "other", *given)
    assert answer.status == 1
    assert "4 of 4 test frames have no prediction" in answer.err
    assert answer.advised[:6] == ["base", "import", "other", "DIR", "--role", "test"]
    shutil.rmtree(cache / "runs/tiny/other/fold-1")
    answer = call("meta", "fit", "--inputs", "d", "--learners", "bts,other", *given)
    assert answer.status == 1
    assert answer.advised[:6] == ["base", "import", "other", "DIR", "--role", "oof"]


def test_a_fit_that_was_refused_for_missing_rows_goes_on_once_they_are_there(
    job: Job, foreign: Foreign, tmp_path: Path
):
    cache = job.copy_to(tmp_path)
    fit = ("meta", "fit", "--inputs", "d", "--learners", "bts,other", "--name", "half", "--config", job.config)
    assert foreign.take(cache, foreign.train, "oof").status == 0
    answer = call(*fit, "--cache-dir", cache)
    assert answer.status == 1
    assert answer.advised[:6] == ["base", "import", "other", "DIR", "--role", "validation"]
    assert foreign.take(cache, foreign.train, "validation").status == 0
    done(*fit, "--cache-dir", cache)
    assert (cache / "runs/tiny/half/result.json").is_file()


def test_an_import_goes_on_where_it_was(foreign: Foreign, tmp_path: Path):
    cache = tmp_path / "cache"
    assert foreign.take(cache, foreign.train, "oof").status == 0
    before = contents(cache)
    answer = foreign.take(cache, foreign.train, "oof")
    assert "0 frames imported as other/fold-0, 4 were there" in answer.err
    assert contents(cache) == before
    shutil.rmtree(cache / "predictions/tiny/other/oof/fold-1")
    answer = foreign.take(cache, foreign.train, "oof")
    assert "2 frames imported as other/fold-1" in answer.err
    assert contents(cache) == before


def test_a_damaged_shard_of_an_import_is_mended_by_the_import(foreign: Foreign, tmp_path: Path):
    cache = tmp_path / "cache"
    assert foreign.take(cache, foreign.train, "oof").status == 0
    before = contents(cache)
    victim = cache / "predictions/tiny/other/oof/fold-1/shard-00000.h5"
    victim.write_bytes(victim.read_bytes()[:-1])
    answer = call("base", "verify", "--cache-dir", cache)
    assert answer.status == 1
    remove, fill = answer.err.splitlines()[-1].split(" && ")
    assert remove == f"rm '{victim}'"
    assert " --role oof --fold 1 " in fill
    victim.unlink()
    tool, *words = shlex.split(fill.removeprefix("python -m ensemble."))
    done(tool, *words)
    assert contents(cache) == before


def test_maps_by_the_model_of_one_fold(foreign: Foreign, tmp_path: Path):
    for fold in (0, 1):
        assert foreign.take(tmp_path / "cache", foreign.train, "oof", "--fold", fold).status == 0
    assert foreign.take(tmp_path / "all", foreign.train, "oof").status == 0
    assert contents(tmp_path / "cache/predictions") == contents(tmp_path / "all/predictions")


def test_names_that_mean_something_else_are_refused(job: Job, foreign: Foreign):
    for name in ("adabins", "mean", "weighted-log-mean", "seed-mean", "meta-d", "a,b", "../up"):
        answer = foreign.take(job.cache, foreign.train, "oof", name=name)
        assert answer.status == 2, name
        assert repr(name) in answer.err
    for words in (("--unit", "cm"), ("--align-on", "test")):
        assert foreign.take(job.cache, foreign.train, "oof", *words).status == 2
    assert foreign.take(job.cache, foreign.train / "none", "oof").status == 2
    assert foreign.take(job.cache, foreign.train, "training").status == 2


def of_pixels(change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Path, Maps], Path]:
    return lambda folder, maps: save_npy(folder, {name: change(metres) for name, metres in maps.items()})


def with_holes(metres: np.ndarray) -> np.ndarray:
    holed = metres / 40
    holed[:4] = 0
    return holed


def with_marks(mark: float) -> Callable[[np.ndarray], np.ndarray]:
    def change(metres: np.ndarray) -> np.ndarray:
        marked = metres / 40
        marked[:4] = mark
        return marked

    return change


def with_saturated_holes(metres: np.ndarray) -> np.ndarray:
    whole = np.rint(metres * 100).astype(np.uint16)
    whole[:4] = 65535
    return whole


def normalised(metres: np.ndarray) -> np.ndarray:
    return (metres - metres.min() + 0.01) / np.ptp(metres)


def distances(metres: np.ndarray) -> np.ndarray:
    """To the camera of generated rooms, at their size."""
    return (metres / COLOUR.resized((480, 640), (48, 64)).axis_share((48, 64))).astype(np.float32)


ALIGN = ("--align-on", "fit")
WRONG_GUESSES = {
    "of TUM": (of_pixels(lambda metres: np.rint(metres * 5000).astype(np.uint16)), (), "5000 per metre: --unit tum"),
    "of KITTI": (of_pixels(lambda metres: np.rint(metres * 256).astype(np.uint16)), (), "256 per metre: --unit kitti"),
    "upside down": (of_pixels(lambda metres: metres[::-1]), (), "the maps lie upside down"),
    "mirrored": (of_pixels(lambda metres: metres[:, ::-1]), (), "the maps lie mirrored left to right"),
    "turned": (of_pixels(lambda metres: metres[::-1, ::-1] / 40), ("--align-on", "fit"), "turned by half a circle"),
    "normalised one by one": (
        of_pixels(normalised),
        ALIGN,
        "every map has a scale of its own",
    ),
    "normalised one by one in 16 bits": (
        of_pixels(lambda metres: np.rint(60000 * normalised(metres)).astype(np.uint16)),
        (),
        "every map has a scale of its own",
    ),
    "normalised one by one, small": (
        of_pixels(lambda metres: 0.02 * normalised(metres)),
        (),
        "every map has a scale of its own",
    ),
    "normalised one by one to metres": (
        of_pixels(lambda metres: 6 * normalised(metres) + 1),
        (),
        "every map has a scale of its own",
    ),
    "normalised one by one, inverse": (
        of_pixels(lambda metres: normalised(1 / metres)),
        ("--inverse", *ALIGN),
        "every map has a scale of its own",
    ),
    "inverse": (of_pixels(lambda metres: 1 / metres), (), "the maps look like inverse depth"),
    "inverse without a scale": (of_pixels(lambda metres: 300 / metres + 7), ALIGN, "the maps look like inverse depth"),
    "no inverse": (of_pixels(lambda metres: metres), ("--inverse", *ALIGN), "the maps look like depth"),
    "inverse and mirrored": (
        of_pixels(lambda metres: 1 / metres[:, ::-1]),
        ALIGN,
        "the maps lie mirrored left to right and look like inverse depth",
    ),
    "logarithm": (of_pixels(lambda metres: np.log(metres)), (), "the maps look like the logarithm of depth"),
    "logarithm to 10": (of_pixels(lambda metres: np.log10(metres)), ALIGN, "the maps look like the logarithm of depth"),
    "distances": (of_pixels(distances), (), "as the distance to the camera is in place of depth along its axis"),
    "distances without a scale": (
        of_pixels(lambda metres: distances(metres) / 7),
        ALIGN,
        "as the distance to the camera",
    ),
    "depth for distances": (
        of_pixels(lambda metres: metres),
        ("--ray", "--focal", 51.9),
        "depth is too small towards the edges of frames",
    ),
    "another focal length": (
        of_pixels(distances),
        ("--ray", "--focal", 200),
        "--focal 200: expected about that of the camera of the images, 51.",
    ),
    "marked by -1": (of_pixels(with_marks(-1)), ALIGN, "256 of 3072 pixels are -1, as holes are marked"),
    "saturated": (of_pixels(with_saturated_holes), ALIGN, "256 of 3072 pixels are 65535, as holes are marked"),
    "sky": (of_pixels(with_marks(1e10)), ALIGN, "256 of 3072 pixels are more than 100 times the median"),
    "with holes": (of_pixels(with_holes), ("--align-on", "fit"), "256 of 3072 pixels are 0 or negative"),
}


@pytest.mark.parametrize("case", WRONG_GUESSES)
def test_a_wrong_guess_is_named_and_not_obeyed(foreign: Foreign, tmp_path: Path, case: str):
    save, words, expected = WRONG_GUESSES[case]
    smooth = noisy_maps(source_of(foreign.config), "train", noise=0.01, seed=3)
    answer = foreign.take(tmp_path / "cache", save(tmp_path / "maps", smooth), "oof", *words)
    assert answer.status == 1
    assert expected in answer.err
    assert not [*(tmp_path / "cache").rglob("*.h5")]


def divided_by(figure: Callable[[np.ndarray], np.floating]) -> Callable[[np.ndarray], np.ndarray]:
    return lambda metres: (metres / figure(metres)).astype(np.float32)


AT_TWELVE_PERCENT = {
    "upside down": (lambda metres: metres[::-1], (), "the maps lie upside down"),
    "mirrored": (lambda metres: metres[:, ::-1], (), "the maps lie mirrored left to right"),
    "logarithm": (np.log, (), "the maps look like the logarithm of depth"),
    "divided by its mean": (divided_by(np.mean), ALIGN, "every map has a scale of its own"),
    "divided by its median": (divided_by(np.median), ALIGN, "every map has a scale of its own"),
    "divided by its mean, told as metres": (
        divided_by(lambda metres: 4 * metres.mean()),
        (),
        "every map has a scale of its own",
    ),
    "distances": (distances, (), "as the distance to the camera is in place of depth along its axis"),
    "depth for distances": (lambda metres: metres, ("--ray", "--focal", 51.9), "depth is too small towards the edges"),
    "twelve times": (lambda metres: metres * 12, (), "and in millimetres it would be no likelier"),
    "millimetres told as TUM's": (lambda metres: metres * 1000, ("--unit", "tum"), "1000 per metre: --unit mm"),
    "negated": (lambda metres: 10 - metres, ALIGN, "the maps look like depth with its sign turned"),
    "negated, told as inverse": (
        lambda metres: 10 - metres,
        ("--inverse", *ALIGN),
        "the maps look like depth with its sign turned",
    ),
    "marked by 0": (lambda metres: np.where(metres < np.quantile(metres, 0.1), 0, metres), (), "are 0 or negative"),
}


def min_max(metres: np.ndarray) -> np.ndarray:
    return ((metres - metres.min()) / np.ptp(metres)).astype(np.float32)


def by_a_factor_of_its_own(metres: np.ndarray) -> np.ndarray:
    """Some maps reach beyond the largest depth by it."""
    return (metres * (0.6, 0.9, 1.3, 1.9)[int(1e4 * float(metres[0, 0])) % 4]).astype(np.float32)


def with_a_third_of_marks(metres: np.ndarray) -> np.ndarray:
    marked = metres.copy()
    marked[:16] = -1
    return marked


WRONG_DIAGNOSES = {
    "from 0 to 1 one by one": (min_max, (), "every map has a scale of its own"),
    "inverse from 0 to 1 one by one": (lambda metres: min_max(1 / metres), ("--inverse", *ALIGN), "a scale of its own"),
    "factors of their own": (by_a_factor_of_its_own, (), "every map has a scale of its own"),
    "holes of -1": (
        with_a_third_of_marks,
        (),
        "1024 of 3072 pixels are -1, as holes are marked, by others with 0 or NaN",
    ),
    "holes of -1, with a unit": (with_a_third_of_marks, ("--unit", "m"), "1024 of 3072 pixels are -1, as holes are"),
}


@pytest.mark.parametrize("case", WRONG_DIAGNOSES)
def test_the_diagnosis_that_fits_best_is_told(foreign: Foreign, tmp_path: Path, case: str):
    assert_named(foreign, tmp_path, WRONG_DIAGNOSES[case], noise=0.02, seed=3)


@pytest.mark.parametrize("case", AT_TWELVE_PERCENT)
def test_a_wrong_guess_of_a_network_that_errs_is_named(foreign: Foreign, tmp_path: Path, case: str):
    assert_named(foreign, tmp_path, AT_TWELVE_PERCENT[case], noise=0.12, seed=5)


def assert_named(foreign: Foreign, folder: Path, case: tuple[Any, Any, str], *, noise: float, seed: int) -> None:
    """Maps of a network that errs so much, changed: refused in these words, and nothing is written."""
    change, words, expected = case
    maps = noisy_maps(source_of(foreign.config), "train", noise=noise, seed=seed)
    answer = foreign.take(folder / "cache", of_pixels(change)(folder / "maps", maps), "oof", *words)
    assert answer.status == 1
    assert expected in answer.err
    assert not [*(folder / "cache").rglob("*.h5")]


@pytest.fixture
def farther(foreign: Foreign, tmp_path: Path) -> Foreign:
    """The same with a largest depth of 20 m."""
    tree = yaml.safe_load(foreign.config.read_text(encoding="utf-8"))
    tree["data"]["max_depth"] = 20.0
    (tmp_path / "farther.yaml").write_text(yaml.safe_dump(tree), encoding="utf-8")
    return replace(foreign, config=tmp_path / "farther.yaml")


@pytest.mark.parametrize(("factor", "unit"), [(5000, "tum"), (4000, "matterport"), (8000, "sunrgbd")])
def test_a_unit_is_told_by_frames_behind_the_first_one(farther: Foreign, tmp_path: Path, factor: int, unit: str):
    """As millimetres some frames stay below the largest depth."""
    smooth = noisy_maps(source_of(farther.config), "train", noise=0.01, seed=3)
    rising = {name: metres * (1 if index else 0.2) for index, (name, metres) in enumerate(smooth.items())}
    save = of_pixels(lambda metres: np.rint(metres * factor).astype(np.uint16))
    answer = farther.take(tmp_path / "cache", save(tmp_path / "maps", rising), "oof")
    assert answer.status == 1
    assert f"{factor} per metre: --unit {unit}" in answer.err


def test_a_near_frame_of_a_coarse_unit_is_read(foreign: Foreign, tmp_path: Path):
    """At 25 per metre no number is above 255, and no unit that is known by a name has as few."""
    rooms = noisy_maps(source_of(foreign.config), "train", noise=0.01, seed=3)
    maps = tmp_path / "maps"
    for name, metres in rooms.items():
        (maps / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.rint(metres * 25).astype(np.uint16)).save(maps / f"{name}.png")
    cache = tmp_path / "cache"
    answer = foreign.take(cache, maps, "oof")
    assert answer.status == 1
    assert "expected depth in millimetres, found values of at most" in answer.err
    assert "it looks like" not in answer.err
    assert foreign.take(cache, maps, "oof", "--divisor", 25).status == 0
    for name, depth in rows_of(cache, "oof").items():
        np.testing.assert_allclose(depth, rooms[name], atol=0.021)


def test_small_numbers_are_named_by_the_truth_of_training(foreign: Foreign, tmp_path: Path):
    cache, maps = tmp_path / "cache", tmp_path / "maps"
    for name, metres in foreign.maps["train"].items():
        (maps / name).parent.mkdir(parents=True, exist_ok=True)
        most = 204 if name.endswith("/0000") else 65535
        Image.fromarray(np.rint(metres * 100).clip(0, most).astype(np.uint16)).save(maps / f"{name}.png")
    answer = foreign.take(cache, maps, "oof")
    assert "write it again as millimetres: it looks like 100 per metre: --unit vkitti" in answer.err
    done(*answer.advised)


def test_data_settings_that_an_experiment_has_otherwise_are_named(foreign: Foreign, farther: Foreign, tmp_path: Path):
    cache = tmp_path / "cache"
    assert foreign.take(cache, foreign.train, "oof").status == 0
    answer = farther.take(cache, foreign.train, "validation", name="more")
    assert answer.status == 2
    assert "experiment tiny has other data settings than were told (data.max_depth: 10.0 against 20.0)" in answer.err


def test_maps_of_other_frames_are_doubted(foreign: Foreign, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(guesses, "FEWEST_FRAMES", 4)
    monkeypatch.setattr(guesses, "BY_CHANCE", 10.0)
    answer = foreign.take(tmp_path / "cache", foreign.train, "oof")
    assert answer.status == 0
    assert (
        "the maps do not go with their frames (rank correlation of their medians with those of the truth" in answer.err
    )


def test_maps_that_do_not_follow_the_truth_are_doubted(foreign: Foreign, tmp_path: Path):
    """A constant is a learner as others are, of which it is said that it is none; so is noise."""
    assert "do not follow" not in foreign.take(tmp_path / "good", foreign.train, "oof").err
    noise = np.random.default_rng(0)
    for name, change in {
        "constant": lambda metres: np.full_like(metres, 2.5),
        "noise": lambda metres: noise.uniform(1, 5, metres.shape).astype(np.float32),
    }.items():
        maps = of_pixels(change)(tmp_path / name / "maps", foreign.maps["train"])
        answer = foreign.take(tmp_path / name / "cache", maps, "oof")
        assert answer.status == 0
        assert "within frames the maps do not follow the truth (correlation " in " ".join(answer.err.split())


def test_maps_of_test_frames_that_lie_upside_down_are_named(foreign: Foreign, tmp_path: Path):
    """Their truth is not read: those of the other roles tell that what is near lies below."""
    cache = tmp_path / "cache"
    for role in ("oof", "validation"):
        assert foreign.take(cache, foreign.train, role).status == 0
    turned = of_pixels(lambda metres: metres[::-1])(tmp_path / "maps", foreign.maps["test"])
    answer = foreign.take(cache, turned, "test")
    assert answer.status == 1
    assert "the maps lie upside down, or those of the other roles do" in answer.err
    assert foreign.take(cache, foreign.test, "test").status == 0


def test_the_unit_that_was_advised_is_right(foreign: Foreign, tmp_path: Path):
    maps = of_pixels(lambda metres: np.rint(metres * 5000).astype(np.uint16))(tmp_path / "maps", foreign.maps["train"])
    cache = tmp_path / "cache"
    done(*foreign.take(cache, maps, "oof").advised)
    for name, depth in rows_of(cache, "oof").items():
        np.testing.assert_allclose(depth, foreign.maps["train"][name], atol=2e-3)
    answer = foreign.take(cache, maps, "validation", "--divisor", 5000)
    assert "--unit: tum against 5000" in answer.err
    assert foreign.take(cache, maps, "validation", "--unit", "tum").status == 0
    answer = foreign.take(cache, maps, "validation", "--unit", "tum", "--divisor", 5000)
    assert (answer.status, "give one of them" in answer.err) == (2, True)
    answer = foreign.take(cache, maps, "validation", "--unit", "tumm")
    assert (answer.status, "did you mean 'tum'" in answer.err) == (2, True)


def test_inverse_depth_is_fitted_in_its_own_terms_and_inverted(foreign: Foreign, tmp_path: Path):
    cache, place = tmp_path / "cache", tmp_path / "maps"
    for split in ("train", "test"):
        save_npy(place / split, {name: 30 / metres + 7 for name, metres in foreign.maps[split].items()})
    answer = foreign.take(cache, place / "train", "oof", "--inverse")
    assert answer.status == 2
    assert "add --align-on fit" in answer.err
    refused = foreign.take(cache, place / "train", "oof")
    assert tuple(word for word in refused.advised if word.startswith("--")).count("--inverse") == 1
    done(*refused.advised)
    answer = foreign.take(cache, place / "train", "validation", *ALIGN)
    assert answer.status == 2
    assert "--inverse: True against False" in answer.err
    for role in ("validation", "test"):
        answer = foreign.take(cache, place / ("test" if role == "test" else "train"), role, "--inverse", *ALIGN)
        assert answer.status == 0, answer.err
    stored = json.loads((cache / "runs/tiny/other/full/settings.json").read_text())["alignment"]
    for name, row in rows_of(cache, "validation").items():
        inverse = stored["scale"] * (30 / foreign.maps["train"][name].astype(np.float64) + 7) + stored["shift"]
        np.testing.assert_allclose(row, 1 / inverse.clip(0.1, 1000), atol=0.0002)
        np.testing.assert_allclose(row, foreign.maps["train"][name], rtol=0.05)
    victim = next((cache / "predictions/tiny/other/validation").rglob("*.h5"))
    victim.write_bytes(victim.read_bytes()[:-1])
    assert " --inverse --align-on fit " in call("base", "verify", "--cache-dir", cache).err


def test_distances_become_depth_along_the_axis(foreign: Foreign, tmp_path: Path):
    cache, camera = tmp_path / "cache", COLOUR.resized((480, 640), (48, 64))
    place = of_pixels(distances)(tmp_path / "maps", foreign.maps["train"])
    told = ("--ray", "--focal", camera.fx, "--centre", f"{camera.cx},{camera.cy}")
    for role in ("oof", "validation"):
        answer = foreign.take(cache, place, role, *told)
        assert answer.status == 0, answer.err
    for name, row in rows_of(cache, "validation").items():
        np.testing.assert_allclose(row, foreign.maps["train"][name], rtol=2e-3)
    half = {name: metres[::2, ::2] for name, metres in foreign.maps["train"].items()}
    smaller = save_npy(tmp_path / "half", {name: distances_at_half(metres) for name, metres in half.items()})
    answer = foreign.take(cache, smaller, "validation", *told, "--rebuild")
    assert answer.status == 0, "pixels are those of the first maps"
    for name, row in rows_of(cache, "validation").items():
        assert abs(np.median(row / foreign.maps["train"][name]) - 1) < 0.02
    advised = foreign.take(tmp_path / "other", place, "oof", "--ray", "--focal", 400).advised
    done(*advised)
    for name, row in rows_of(tmp_path / "other", "oof").items():
        np.testing.assert_allclose(row, foreign.maps["train"][name], rtol=2e-2)
    answer = foreign.take(cache, place, "validation", "--ray", "--focal", 40)
    assert (answer.status, "--ray: focal=" in answer.err) == (2, True)
    assert foreign.take(tmp_path / "sure", place, "oof", "--no-ray").status == 0, "whoever says so is believed"
    for words, message in (
        (("--ray",), "expected --focal PIXELS as well"),
        (("--focal", 50), "add --ray"),
        (("--ray", "--focal", -1), "expected a focal length in pixels"),
        (("--ray", "--focal", 50, "--centre", "3"), "expected column and row, such as 511.5,383.5"),
        (("--ray", "--focal", 50, "--inverse", *ALIGN), "--inverse and --ray"),
    ):
        answer = foreign.take(tmp_path / "none", place, "oof", *words)
        assert answer.status == 2
        assert message in answer.err


def distances_at_half(metres: np.ndarray) -> np.ndarray:
    camera = COLOUR.resized((480, 640), (24, 32))
    return (metres / camera.axis_share((24, 32))).astype(np.float32)


def test_all_roles_at_once(foreign: Foreign, tmp_path: Path):
    one, many = tmp_path / "one", tmp_path / "many"
    foreign.take_all(one, *ALIGN)
    both = shutil.copytree(foreign.train, tmp_path / "both")
    shutil.copytree(foreign.test, both, dirs_exist_ok=True)
    places = ("--oof", foreign.train, "--validation", foreign.train, "--test", foreign.test)
    done("base", "import", "other", *places, *ALIGN, *foreign.given(many))
    assert contents(many / "predictions") == contents(one / "predictions")
    done("base", "import", "other", both, "--role", "all", *ALIGN, *foreign.given(tmp_path / "both_cache"))
    assert contents(tmp_path / "both_cache/predictions") == contents(one / "predictions")
    again = done("base", "import", "other", *places, *ALIGN, *foreign.given(many)).err
    assert again.count("0 frames imported") == 4
    halved = {"train": tmp_path / "halved", "test": tmp_path / "halved_test"}
    for split, folder in halved.items():
        save_npy(folder, {name: metres / 2 for name, metres in foreign.maps[split].items()})
    places = ("--oof", halved["train"], "--validation", halved["train"], "--test", halved["test"])
    done("base", "import", "other", *places, *ALIGN, "--rebuild", *foreign.given(many))
    scale = json.loads((many / "runs/tiny/other/full/settings.json").read_text())["alignment"]["scale"]
    assert scale == pytest.approx(2, rel=0.1)
    for name, row in rows_of(many, "validation").items():
        np.testing.assert_allclose(row, foreign.maps["train"][name], rtol=0.1)


def test_nothing_is_written_before_all_roles_are_checked(foreign: Foreign, copy: Path, tmp_path: Path):
    test = shutil.copytree(foreign.test, tmp_path / "test")
    victim = sorted(test.rglob("*.npy"))[-1]
    np.save(victim, np.load(victim) * np.nan)
    cache = tmp_path / "cache"
    answer = call("base", "import", "other", "--oof", copy, "--validation", copy, "--test", test, *foreign.given(cache))
    assert answer.status == 1
    assert "3072 of 3072 pixels are NaN" in answer.err
    assert not files_below(cache)
    assert answer.advised[:4] == ["base", "import", "other", "--oof"]
    shutil.copytree(foreign.test, test, dirs_exist_ok=True)
    done(*answer.advised)
    in_tum = {split: tmp_path / f"tum_{split}" for split in ("train", "test")}
    for split, folder in in_tum.items():
        of_pixels(lambda metres: np.rint(metres * 5000).astype(np.uint16))(folder, foreign.maps[split])
    words = ("--oof", in_tum["train"], "--validation", in_tum["train"], "--test", in_tum["test"])
    answer = call("base", "import", "tum", *words, *foreign.given(cache))
    done(*answer.advised)


def test_ways_to_name_the_roles_do_not_mix(foreign: Foreign, tmp_path: Path):
    place = foreign.train
    for words, message in (
        (("--oof", place), "found --oof, expected --oof DIR --validation DIR --test DIR"),
        ((place, "--oof", place, "--validation", place, "--test", place), "found --oof, --validation, --test, DIR"),
        ((place,), "expected --role"),
        (("--role", "oof"), "expected the folder of its depth maps"),
        ((place, "--role", "every"), "unknown role 'every'"),
        ((place, "--role", "all", "--fold", 0), "--fold 0: the model of a fold has maps of one role"),
    ):
        answer = call("base", "import", "other", *words, *foreign.given(tmp_path / "cache"))
        assert answer.status == 2
        assert message in answer.err


def test_limits_follow_the_largest_depth(foreign: Foreign, tmp_path: Path):
    config = tmp_path / "far.yaml"
    tree = yaml.safe_load(foreign.config.read_text())
    tree["data"]["max_depth"] = 80
    config.write_text(yaml.safe_dump(tree))
    maps = {name: metres.copy() for name, metres in foreign.maps["train"].items()}
    for metres in maps.values():
        metres[:8] = 79
    place = save_npy(tmp_path / "maps", maps)
    given = ("--config", config, "--cache-dir", tmp_path / "cache")
    done("base", "import", "other", place, "--role", "oof", *given)
    done("base", "import", "other", place, "--role", "validation", *given)
    for row in rows_of(tmp_path / "cache", "validation").values():
        np.testing.assert_allclose(row[:8], 79, atol=0.01)


def test_whoever_names_the_unit_is_believed(foreign: Foreign, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Frames of 2 m are no likely ones of a kind whose frames are 20 to 60 m deep."""
    monkeypatch.setattr(checks.DataSettings, "facts", property(lambda _: FAR_FACTS))
    answer = foreign.take(tmp_path / "cache", foreign.train, "oof")
    assert answer.status == 1
    assert "where 20 .. 60 m is likely" in answer.err
    assert foreign.take(tmp_path / "cache", foreign.train, "oof", "--unit", "m").status == 0


FAR_FACTS = KindFacts(title="far", frame=(480, 640), max_depth=10, likely_depth=(20, 60))


def test_maps_of_half_precision_are_read_without_a_warning(foreign: Foreign, tmp_path: Path):
    halves = {name: metres.astype(np.float16) for name, metres in foreign.maps["train"].items()}
    answer = foreign.take(tmp_path / "cache", save_npy(tmp_path / "maps", halves), "validation")
    assert answer.status == 0, answer.err
    halves = {name: np.where(np.eye(48, 64) > 0, np.float16(np.inf), metres) for name, metres in halves.items()}
    answer = foreign.take(tmp_path / "other", save_npy(tmp_path / "holed", halves), "validation")
    assert "48 of 3072 pixels are NaN or infinite" in answer.err


def test_names_as_commands_write_them_are_those_of_frames(foreign: Foreign, tmp_path: Path):
    maps = {f"{name}_depth": metres for name, metres in foreign.maps["train"].items()}
    beside = {
        f"{name}{end}": metres for name, metres in foreign.maps["train"].items() for end in ("_error", "_weights")
    }
    folder = save_npy(tmp_path / "maps", {**maps, **beside})
    for role in ("oof", "validation"):
        answer = foreign.take(tmp_path / "cache", folder, role)
        assert answer.status == 0, answer.err
        assert answer.err.count("called NAME_depth") == 1
        assert answer.err.count(f"{folder}: {len(beside)} files are called as what is written beside") == 1
    for name, row in rows_of(tmp_path / "cache", "validation").items():
        np.testing.assert_allclose(row, foreign.maps["train"][name], atol=0.0002)
    name = next(iter(foreign.maps["train"]))
    np.save(folder / f"{name}.npy", foreign.maps["train"][name])
    answer = foreign.take(tmp_path / "other", folder, "oof")
    assert f"1 depth maps are called by no frame of the data (first: {folder}/{name}_depth.npy)" in answer.err


@pytest.mark.parametrize("several", [False, True])
def test_an_import_of_all_roles_says_everything_once(foreign: Foreign, tmp_path: Path, several: bool):
    whole = {name: np.full_like(metres, 2.5) for split in foreign.maps.values() for name, metres in split.items()}
    folder = save_npy(tmp_path / "maps", whole)
    places = [word for role in ROLES for word in (f"--{role}", shutil.copytree(folder, tmp_path / role))]
    words = places if several else [folder, "--role", "all"]
    sampled = checks._sampled
    with mock.patch.object(checks, "_sampled", lambda *given: sampled(*given)._replace(rays=None)):
        answer = call("base", "import", "flat", *words, *foreign.given(tmp_path / "cache"))
    assert answer.status == 0, answer.err
    assert answer.err.count("the camera of the images is not known") == 1
    assert answer.err.count("do not follow the truth") == 1


def test_a_command_that_mends_relative_maps_says_again_that_they_are(foreign: Foreign, copy: Path, tmp_path: Path):
    first = sorted(copy.rglob("*.npy"))[0]
    np.save(first, with_pixel(np.nan)(np.load(first)))
    (tmp_path / "cache").mkdir()
    for role in ("oof", "validation"):
        answer = foreign.take(tmp_path / "cache", copy, role, "--relative", *ALIGN)
        if answer.status:
            assert "--relative" in answer.advised
            return
    pytest.fail("no role has the frame")
