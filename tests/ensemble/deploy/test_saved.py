"""A saved stack is one file or folder that predicts by itself, as its run did, and is refused where it is damaged."""

import hashlib
import json
import math
import random
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from command_lines import Job, call, done
from PIL import Image
from safetensors import safe_open
from safetensors.torch import save_file

import ensemble
from ensemble.data import division
from ensemble.deploy.card import model_card
from ensemble.deploy.door import DepthStack
from ensemble.deploy.fitted import began
from ensemble.runs.paths import Outputs
from ensemble.stacking.stack import load_stack

IMAGE = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def saved(job: Job, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file, a folder, the same in 16 bits, and a learner."""
    folder = tmp_path_factory.mktemp("saved")
    given = ("--cache-dir", job.cache)
    for out in ("own.stack", "own"):
        done("meta", "save", "meta-rgb+d", folder / out, *given)
    told = done("meta", "save", "meta-rgb+d", folder / "half.stack", "--half", *given).err
    (folder / "told.txt").write_text(told)
    done("base", "save", "bts", folder / "bts.stack", "--experiment", "tiny", *given)
    return folder


@pytest.fixture
def nothing_but(saved: Path, tmp_path: Path) -> Iterator[Path]:
    """A copy, while no data can be opened."""
    with mock.patch.object(division, "open_source", side_effect=AssertionError("data were opened")):
        yield Path(shutil.copytree(saved, tmp_path / "elsewhere"))


def test_files_and_folders_predict_as_the_run_does(job: Job, nothing_but: Path):
    expected = ensemble.load("tiny/meta-rgb+d", device="cpu", cache_dir=job.cache)(IMAGE)
    assert expected.error is not None
    for name in ("own.stack", "own"):
        stack = ensemble.load(nothing_but / name, device="cpu")
        assert stack.learners == ("adabins", "bts", "ldrn")
        found = stack(IMAGE)
        assert found.error is not None
        np.testing.assert_array_equal(found.depth, expected.depth)
        np.testing.assert_array_equal(found.error, expected.error)
        np.testing.assert_array_equal(found.weights, expected.weights)
        assert [*found.learners] == ["adabins", "bts", "ldrn"]
    learner = ensemble.load(nothing_but / "bts.stack", device="cpu")(IMAGE)
    np.testing.assert_allclose(learner.depth, expected.learners["bts"], rtol=1e-6)


def test_the_header_tells_scores_sources_and_no_place(job: Job, saved: Path):
    header = ensemble.load(saved / "own.stack").header
    rows = {row["name"]: row for row in job.scores["rows"]}
    assert header.scores is not None
    assert header.scores["scores"] == rows["meta-rgb+d"]["scores"]
    assert header.scores["protocol"]["split"] == "test"
    assert "folds" in header.sources
    assert "weights of bts/full" in header.sources
    assert "frames of bts/full" in header.sources
    assert str(job.cache) not in header.model_dump_json()
    assert header.versions.keys() == {"stackdepth", "torch", "timm"}


def test_sixteen_bits_halve_the_file_and_say_what_they_cost(saved: Path):
    whole, half = ((saved / name).stat().st_size for name in ("own.stack", "half.stack"))
    assert half < 0.75 * whole
    with safe_open(saved / "half.stack", "np") as file:
        assert {str(file.get_tensor(name).dtype) for name in file.keys()} == {"float16", "int64"}  # noqa: SIM118
    told = (saved / "told.txt").read_text().splitlines()[-2]
    assert told.startswith("REL on the test frames, computed in 32 bits: ")
    rel = [float(word) for word in told.split() if word.startswith("0.")]
    assert abs(rel[0] - rel[1]) <= 0.0005
    near, own = (ensemble.load(saved / name)(IMAGE).depth for name in ("half.stack", "own.stack"))
    assert 0 < np.median(np.abs(near / own - 1)) < 0.01


def test_folders_are_those_of_huggingface_hub(saved: Path, tmp_path: Path):
    assert {path.name for path in (saved / "own").iterdir()} == {"README.md", "config.json", "model.safetensors"}
    card = (saved / "own" / "README.md").read_text()
    assert card.startswith("---\nlibrary_name: stackdepth\n")
    assert all(word in card for word in ("AdaBins, BTS, LDRN", "## Scores", "## Limits", "## Licence", "rooms"))
    stack = DepthStack.from_pretrained(saved / "own")
    stack.save_pretrained(tmp_path / "again")
    for name in ("README.md", "config.json", "model.safetensors"):
        assert (tmp_path / "again" / name).read_bytes() == (saved / "own" / name).read_bytes()


def test_what_encoders_began_with_is_told_without_its_place(job: Job, tmp_path: Path):
    stack = ensemble.load("tiny/meta-rgb+d", device="cpu", cache_dir=job.cache)
    assert stack.header.began == {}, "random numbers"
    assert "Encoders began" not in model_card(stack.header)
    settings = load_stack(Outputs(job.cache).find_run("tiny/meta-rgb+d"), Outputs(job.cache)).settings
    begun = {
        name: settings.model_copy(update={"encoder": settings.encoder.model_copy(update={"weights": weights})})
        for name, weights in (("ldrn", "nyu-small"), ("bts", f"{tmp_path}/own.safetensors"), ("adabins", "none"))
    }
    found = began({name: [own] for name, own in begun.items()})
    assert found == {"ldrn": "nyu-small", "bts": "own.safetensors"}
    card = model_card(stack.header.model_copy(update={"began": found}))
    assert (
        "LDRN from `nyu-small`, BTS from `own.safetensors` (`nyu-small` comes with the package: ImageNet, then" in card
    )
    assert "and so do those of the weights that encoders began with." in card


def test_a_learner_is_found_by_its_name_alone(job: Job, tmp_path: Path):
    words = ("base", "save", "bts", tmp_path / "bts.stack", "--cache-dir", job.cache)
    assert done(*words).err.startswith(f"{tmp_path}/bts.stack: bts\n"), "there is one experiment that has it"
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"empty: there is a folder without config\.json"):
        ensemble.load(tmp_path / "empty")


def test_a_flipped_bit_is_never_believed(saved: Path, tmp_path: Path):
    expected, generator = ensemble.load(saved / "own.stack", device="cpu")(IMAGE).depth, random.Random(0)
    whole = (saved / "own.stack").read_bytes()
    refused = 0
    for place in [*range(64), *(generator.randrange(len(whole)) for _ in range(60))]:
        content = bytearray(whole)
        content[place] ^= 1 << generator.randrange(8)
        (tmp_path / "own.stack").write_bytes(content)
        told, stack = "", None
        try:
            stack = ensemble.load(tmp_path / "own.stack", device="cpu")
        except ValueError as error:
            told = str(error)
        refused += str(tmp_path / "own.stack") in told
        assert stack is None or np.array_equal(stack(IMAGE).depth, expected)
    assert refused >= 120


def test_what_is_no_saved_stack_is_refused_by_name(job: Job, tmp_path: Path):
    (tmp_path / "text.stack").write_text("nothing")
    best = job.cache / "runs" / "tiny" / "bts" / "full" / "best.safetensors"
    for place in (tmp_path / "text.stack", best):
        with pytest.raises(ValueError, match=r"expected what `python -m ensemble\.meta save`"):
            ensemble.load(place)
    with pytest.raises(ValueError, match=r"no-such: there is no such file, and no such run either"):
        ensemble.load("no-such", cache_dir=job.cache)
    Image.fromarray(IMAGE).save(tmp_path / "photo.png")
    words = ("--out", tmp_path / "o", "--cache-dir", job.cache)
    answer = call("meta", "predict", tmp_path / "text.stack", tmp_path / "photo.png", *words)
    assert answer.status == 1
    assert "text.stack: expected what" in answer.err


def test_what_was_cut_short_or_is_of_another_version_says_so(saved: Path, tmp_path: Path):
    whole, place = (saved / "bts.stack").read_bytes(), tmp_path / "bts.stack"
    header = int.from_bytes(whole[:8], "little")
    for length in (header // 2, header + 8, len(whole) // 2, len(whole) - 1):
        place.write_bytes(whole[:length])
        told = re.escape(f"{place}: cut short, ") + r"[\d,]+ bytes? (is|are) missing; save or fetch it again$"
        with pytest.raises(ValueError, match=told):
            ensemble.load(place)
    place.unlink()
    place = Path(shutil.copytree(saved / "own", tmp_path / "own"))
    text = (place / "config.json").read_text()
    for found, told in (
        (
            text.replace('"format": "stackdepth/1"', '"format": "stackdepth/9"'),
            "of the format 'stackdepth/9', expected",
        ),
        (
            text.replace('"learners"', '"lerners"'),
            "damaged since it was written, or of a newer version: learners in its",
        ),
        ("{}", "no header of a saved stack"),
    ):
        (place / "config.json").write_text(found)
        with pytest.raises(ValueError, match=re.escape(told)):
            ensemble.load(place)


def test_a_file_of_another_kind_is_not_written_over(job: Job, saved: Path, tmp_path: Path):
    own = tmp_path / "settings.yaml"
    own.write_text("kept")
    answer = call("meta", "save", "meta-rgb", own, "--cache-dir", job.cache)
    assert (answer.status, own.read_text()) == (1, "kept")
    assert f"{own}: expected a name that is free or that of a saved stack" in answer.err
    shutil.copy(saved / "own.stack", tmp_path / "again.safetensors")
    (tmp_path / "cut.stack").write_text("what was left of it")
    for name, told in (("again.safetensors", "meta-rgb+d, which was saved there, is replaced"), ("cut.stack", "")):
        said = done("meta", "save", "meta-rgb", tmp_path / name, "--cache-dir", job.cache).err
        assert told in " ".join(said.split())
        assert ensemble.load(tmp_path / name).learners
    assert "is replaced" not in done("meta", "save", "meta-rgb", tmp_path / "cut.stack", "--cache-dir", job.cache).err


def test_loading_imports_neither_trainer_nor_store(saved: Path, tmp_path: Path):
    program = (
        "import json, sys, numpy, ensemble\n"
        "stack = ensemble.load(sys.argv[1], device='cpu')\n"
        "print(json.dumps([float(stack(numpy.zeros((48, 64, 3), numpy.uint8)).depth.mean()), sorted(sys.modules)]))\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program, str(saved / "own.stack")],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=True,
        env={"PYTHONPATH": str(Path(ensemble.__file__).parents[1]), "OMP_NUM_THREADS": "1"},
    )
    depth, modules = json.loads(ran.stdout)
    assert depth > 0
    heavy = {"lightning", "torchmetrics", "matplotlib", "optuna", "sklearn", "cv2", "scipy", "h5py", "wandb"}
    assert not heavy & set(modules)


def test_photographs_by_a_saved_stack(job: Job, saved: Path, tmp_path: Path):
    Image.fromarray(IMAGE).save(tmp_path / "photo.png")
    for stack, out in ((saved / "own.stack", "saved"), ("meta-rgb+d", "run")):
        done("meta", "predict", stack, tmp_path / "photo.png", "--out", tmp_path / out, "--cache-dir", job.cache)
    files = {out: {path.name: path.read_bytes() for path in (tmp_path / out).iterdir()} for out in ("saved", "run")}
    assert len(files["run"]) == 6
    assert files["saved"] == files["run"]


def test_files_of_before_something_was_kept_still_load(saved: Path, tmp_path: Path):
    with safe_open(saved / "own.stack", "pt") as file:
        weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        header = json.loads(file.metadata()["stackdepth"])
    assert header.pop("focal") == pytest.approx(math.sqrt(518.8579 * 519.4696) / 10)
    for learner in header["learners"]:
        assert learner.pop("median") is None
    told = {name: value for name, value in header.items() if name != "checksum"}
    digest = hashlib.sha256(json.dumps(told, sort_keys=True).encode())
    for name in sorted(weights):
        digest.update(f"{name} {weights[name].dtype} {tuple(weights[name].shape)}\n".encode())
        digest.update(weights[name].numpy().tobytes())
    header["checksum"] = digest.hexdigest()
    save_file(weights, tmp_path / "old.stack", {"stackdepth": json.dumps(header)})
    old, own = (ensemble.load(place, device="cpu") for place in (tmp_path / "old.stack", saved / "own.stack"))
    np.testing.assert_array_equal(old(IMAGE).depth, own(IMAGE).depth)
    with pytest.raises(ValueError, match="focal length of its training camera is not known"):
        old(IMAGE, fov=60)
    Image.fromarray(IMAGE).save(tmp_path / "photo.png")
    words = ("meta", "predict", tmp_path / "old.stack", tmp_path / "photo.png", "--out", tmp_path / "o")
    assert done(*words).err.startswith("1 of 1 predicted")
    answer = call(*words, "--fov", 60)
    assert answer.status == 1
    assert "focal length of its training camera is not known" in answer.err
    old.save(tmp_path / "again.stack")
    np.testing.assert_array_equal(ensemble.load(tmp_path / "again.stack", device="cpu")(IMAGE).depth, own(IMAGE).depth)


def test_a_folder_with_other_files_is_never_written_into(job: Job, tmp_path: Path):
    project, empty = tmp_path / "project", tmp_path / "empty"
    for folder in (project, empty):
        folder.mkdir()
    for name in ("README.md", "config.json"):
        (project / name).write_text("mine")
    where = ("--cache-dir", job.cache)
    refused = call("meta", "save", "meta-d", project, *where)
    assert refused.status == 1
    assert "expected a name that is free or that of a saved stack" in refused.err
    assert {path.name: path.read_text() for path in project.iterdir()} == {"README.md": "mine", "config.json": "mine"}
    for _ in range(2):  # and once more over itself
        done("meta", "save", "meta-d", empty, *where)
    assert (empty / "model.safetensors").is_file()
