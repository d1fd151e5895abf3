"""``python -m ensemble.deploy.runtime``: what a robot's command reads, names, refuses and says."""

import math
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pillow_heif
import pytest
from command_lines import call, done
from PIL import Image
from robots import site_of_robot

import ensemble
from ensemble.deploy.runtime import ExportedStack, photographs
from ensemble.deploy.runtime.__main__ import main
from ensemble.deploy.runtime.photographs import read_photograph
from ensemble.pretrained import FOLDER

FILE = FOLDER / "nyu-small.onnx"
PIXELS = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)


def photograph(path: Path, *, equivalent: int = 0, orientation: int = 1) -> Path:
    """A file 80x60 by a camera that wrote a focal length (mm, of 35 mm film), where that is not 0."""
    path.parent.mkdir(parents=True, exist_ok=True)
    exif = Image.Exif()
    exif[0x0112] = orientation
    if equivalent:
        exif.get_ifd(0x8769)[0xA405] = equivalent
    Image.fromarray(PIXELS).save(path, exif=exif)
    return path


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path):
    """Calls the command in a folder of its own: its status, and what it said."""
    monkeypatch.chdir(tmp_path)

    def run(*words: object) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["runtime", *map(str, words)])
        status = main()
        return status, capsys.readouterr().err

    return run


def lines_of(told: str) -> list[str]:
    return told.splitlines()


@pytest.mark.parametrize("orientation", [1, 6])
def test_metres_follow_the_lens_as_those_of_meta_predict(run, tmp_path: Path, orientation: int):
    photo = photograph(tmp_path / "photo.png", equivalent=70, orientation=orientation)
    status, told = run(FILE, photo, "--out", "own")
    assert status == 0
    other = done("meta", "predict", FILE, photo, "--out", tmp_path / "theirs", "--only", "depth")
    found, expected = (np.load(tmp_path / folder / "photo_depth.npy") for folder in ("own", "theirs"))
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    (lens,) = [line for line in lines_of(told) if "degrees" in line]
    across = math.degrees(2 * math.atan((80 if orientation == 1 else 60) / 2 / (70 / math.hypot(36, 24) * 100)))
    assert f"sees {across:.0f} degrees across its width (EXIF)" in lens
    assert lens.partition("photo.png: ")[2] in " ".join(other.err.split())
    status, told = run(FILE, photo, "--out", "told", "--fov", 60)
    assert (status, "EXIF" in told) == (0, False)
    assert np.load("told/photo_depth.npy").mean() < 0.7 * found.mean(), "what is told wins over EXIF"


def test_what_no_lens_tells_is_said_once(run, tmp_path: Path):
    photos = [photograph(tmp_path / f"{name}.jpg") for name in "ab"]
    status, told = run(FILE, *photos, "--out", "o")
    assert (status, len(lines_of(told))) == (0, 2)
    assert "a.jpg: no focal length in EXIF: metres as if it saw 63 degrees across its width" in lines_of(told)[0]
    assert "--fov DEGREES tells" in lines_of(told)[0]
    assert lines_of(told)[1] == "2 of 2 predicted, files in o"
    expected = ExportedStack.open(FILE)(Image.open(photos[0])).depth
    np.testing.assert_array_equal(np.load("o/a_depth.npy"), expected)
    assert run(FILE, *photos, "--out", "none", "--fov", 180)[0] == 1
    assert not Path("none").exists()


def test_photographs_of_phones_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    pillow_heif.register_heif_opener()
    Image.fromarray(PIXELS).save(tmp_path / "p.heic")
    assert read_photograph(tmp_path / "p.heic").pixels.shape == (60, 80, 3)
    photograph(tmp_path / "large.png")
    monkeypatch.setattr(photographs, "MOST_PIXELS", 4000)
    with pytest.raises(ValueError, match=r"large.png: has more than 0 million pixels; make it smaller"):
        read_photograph(tmp_path / "large.png")
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(ValueError, match=r"p.heic: HEIC needs pillow_heif.\nRun: pip install pillow-heif"):
        read_photograph(tmp_path / "p.heic")


def test_a_photograph_that_cannot_be_computed_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """As the command of a robot does; what was said of the others is not lost."""
    predict, photos = ExportedStack.__call__, [photograph(tmp_path / f"{name}.png") for name in "ab"]

    def not_finite(stack: ExportedStack, image: np.ndarray, **how: Any) -> Any:
        if not image.any():
            raise FloatingPointError("nyu-small: depth is NaN or infinite; nothing is repaired here")
        return predict(stack, image, **how)

    Image.new("RGB", (80, 60)).save(photos[0])
    monkeypatch.setattr(ExportedStack, "__call__", not_finite)
    answer = call("meta", "predict", FILE, *photos, "--out", tmp_path / "o", "--only", "depth")
    assert answer.status == 1
    told = " ".join(answer.err.split())
    assert f"error: {photos[0]}: nyu-small: depth is NaN or infinite" in told
    assert "1 of 2 predicted" in told
    assert (tmp_path / "o/b_depth.npy").is_file()


def test_photographs_of_one_name_have_results_of_their_own(run, tmp_path: Path):
    photograph(tmp_path / "a/p.jpg", equivalent=28)
    photograph(tmp_path / "b/p.jpg", equivalent=50)
    photograph(tmp_path / "b/q.jpg")
    assert run(FILE, "a/p.jpg", "b/p.jpg", "b/q.jpg", "--out", "o")[0] == 0
    written = {path.relative_to("o").as_posix() for path in Path("o").rglob("*.npy")}
    assert written == {"a/p_depth.npy", "b/p_depth.npy", "q_depth.npy"}
    assert np.load("o/a/p_depth.npy").mean() < np.load("o/b/p_depth.npy").mean()
    photograph(tmp_path / "c/a/p.jpg")
    status, told = run(FILE, "a/p.jpg", "c/a/p.jpg", "--out", "again")
    assert status == 1
    assert "photographs of one name, p.jpg; their results would collide" in told
    assert not Path("again").exists()


def test_bad_photographs_are_named_and_the_others_predicted(run, tmp_path: Path):
    whole = photograph(tmp_path / "whole.jpg").read_bytes()
    (tmp_path / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.jpg").write_text("no image")
    status, told = run(FILE, "nope.jpg", "cut.jpg", "text.jpg", "whole.jpg", "--out", "o", "--fov", 63)
    assert status == 1
    lines = lines_of(told)
    assert lines[0] == "error: nope.jpg: no such file"
    assert lines[1].startswith("error: cut.jpg: damaged or cut short (image file is truncated")
    assert lines[2].startswith("error: text.jpg: is no image that Pillow reads")
    assert lines[3:] == ["1 of 4 predicted, files in o"]
    assert Path("o/whole_depth.npy").is_file()
    assert run(FILE, "nope.jpg", "--out", "none") == (1, "error: nope.jpg: no such file\n0 of 1 predicted\n")


def test_a_folder_stands_for_its_photographs(run, tmp_path: Path):
    for name in ("a.jpg", "below/b.png", "._a.jpg"):
        photograph(tmp_path / "photos" / name)
    (tmp_path / "photos/notes.txt").write_text("")
    assert run(FILE, "photos", "--out", "photos")[0] == 0
    status, told = run(FILE, "photos", "--out", "photos")
    assert status == 0
    assert lines_of(told)[0].startswith("2 results of a prediction in photos were left out: a_depth_mm.png")
    assert lines_of(told)[-1] == "2 of 2 predicted, files in photos"
    assert Path("photos/below/b_depth.npy").is_file()
    Path("empty").mkdir()
    status, told = run(FILE, "empty", "--out", "o")
    assert status == 1
    assert told.startswith("error: empty: found no photograph, expected files that end in .jpg")


@pytest.mark.parametrize("out", ["taken", "taken/below"])
def test_a_file_in_the_place_of_the_folder_is_refused_first(run, tmp_path: Path, out: str):
    (tmp_path / "taken").write_text("mine")
    status, told = run("no.onnx", photograph(tmp_path / "p.jpg"), "--out", out)
    expected = f"error: --out {out}: expected a folder, found something else in taken; choose another name\n"
    assert (status, told) == (1, expected)
    assert (tmp_path / "taken").read_text() == "mine"


def test_a_packaged_network_goes_by_its_name(run, tmp_path: Path):
    photo = photograph(tmp_path / "p.jpg", equivalent=28)
    assert run("nyu-small", photo, "--out", "o")[0] == 0
    assert run(FILE, photo, "--out", "file")[0] == 0
    np.testing.assert_array_equal(np.load("o/p_depth.npy"), np.load("file/p_depth.npy"))
    status, told = run("nyu-small", photo, "--out", "o", "--runtime", "openvino")
    assert status == 1
    assert "expected a file for openvino, whose name ends in .xml" in told


def test_a_missing_runtime_is_named_without_an_extra_that_brings_torch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "x.bin").touch()
    for package, name, told in (
        ("onnxruntime", "x.onnx", "pip install onnxruntime"),
        ("openvino", "x.xml", "pip install openvino"),
        ("executorch.runtime", "x.pte", "pip install executorch torch"),
    ):
        monkeypatch.setitem(sys.modules, package, None)
        (tmp_path / name).touch()
        with pytest.raises(ValueError, match=rf"{name}: such files need {package.partition('.')[0]}\.\nRun: {told}$"):
            ExportedStack.open(tmp_path / name)


def test_openvino_without_its_weights_says_which_file_is_missing(tmp_path: Path):
    (tmp_path / "lone.xml").write_text("<net/>")
    with pytest.raises(ValueError, match=r"lone\.xml: lone\.bin, its weights, is missing beside it"):
        ExportedStack.open(tmp_path / "lone.xml")


@pytest.fixture
def robot(tmp_path: Path):
    """Runs Python where NumPy, Pillow and onnxruntime are installed, and this package without what it depends on."""
    site = site_of_robot(tmp_path)
    kept = {"PYTHONPATH": str(site), "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1", "PATH": os.environ["PATH"]}

    def run(*words: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-S", "-s", *map(str, words)]
        return subprocess.run(command, cwd=tmp_path, env=kept, capture_output=True, text=True, check=False)

    return run


def test_a_robot_predicts_by_name(robot, tmp_path: Path):
    ran = robot(
        "-m", "ensemble.deploy.runtime", "nyu-small", photograph(tmp_path / "p.jpg", equivalent=28), "--out", "o"
    )
    assert (ran.returncode, ran.stderr.splitlines()[-1]) == (0, "1 of 1 predicted, files in o")


def test_other_commands_of_a_robot_end_with_the_one_that_works(robot, tmp_path: Path):
    script = tmp_path / "stackdepth"  # as pip writes it
    script.write_text("import sys\nfrom ensemble.__main__ import main\nsys.exit(main())\n")
    for words in (
        (script, "predict", "p.jpg"),
        ("-m", "ensemble", "--version"),
        ("-m", "ensemble.meta", "predict", "x"),
    ):
        ran = robot(*words)
        assert ran.returncode == 1
        told, advice = ran.stderr.splitlines()
        assert told == "error: this environment has what exported files need alone (typer is not installed)."
        assert advice.startswith("Run: python -m ensemble.deploy.runtime FILE IMAGE... --out DIR, or pip install stack")
    own = tmp_path / "site/own.py"  # a program that imports the package is none of its commands
    own.write_text("from ensemble.deploy.runtime import ExportedStack\nprint(ExportedStack)\n")
    assert robot("-m", "own").returncode == 0


def test_load_without_torch_says_what_opens_exported_files(robot):
    ran = robot("-c", "import ensemble; ensemble.load('x.onnx')")
    last = ran.stderr.splitlines()[-2:]
    assert last[0].startswith("ImportError: x.onnx: ensemble.load needs torch and what comes with it (No module named")
    assert "exported files are opened by ensemble.deploy.runtime.ExportedStack.open" in last[0]
    assert last[1] == "Run: pip install stackdepth"


def test_load_with_torch_says_that_it_is_an_exported_file(tmp_path: Path):
    shutil.copy(FILE, tmp_path / "x.onnx")
    for name in ("x.xml", "x.pte", "x.pt2"):
        (tmp_path / name).write_bytes(b"exported, as far as its name tells")
    for name in ("x.onnx", "x.xml", "x.pte"):
        with pytest.raises(
            ValueError, match=rf"{name}: is an exported file .*runtime\.ExportedStack\.open\(\".*{name}\"\) op"
        ):
            ensemble.load(tmp_path / name)
    opened = r"torch\.export\.load\(\".*x\.pt2\"\)\.module\(\) opens it"
    with pytest.raises(ValueError, match=opened):
        ensemble.load(tmp_path / "x.pt2")
    photo = photograph(tmp_path / "p.jpg")
    for words in (
        ("meta", "predict", tmp_path / "x.pt2", photo, "--out", tmp_path / "o"),
        ("export", "onnx", tmp_path / "x.onnx", tmp_path / "out.onnx"),
        ("base", "train", "fastdepth", "--teacher", tmp_path / "x.onnx", "--cache-dir", tmp_path / "cache"),
    ):
        answer = call(*words)
        assert answer.status != 0
        assert "is an exported file by its ending, expected what" in answer.err
        assert "header too large" not in answer.err
        assert answer.err.count("error: ") == 1
