"""``python -m ensemble.data``: the doctor's verdicts on good and broken miniatures, and written rooms."""

import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from PIL import Image
from rich.console import Console
from typer.testing import CliRunner

from ensemble.data.__main__ import app
from ensemble.data.doctor.diagnosis import diagnose
from ensemble.data.nyu.recognition import open_nyu
from ensemble.data.rooms.source import write_rooms
from ensemble.settings.schema import RoomsSettings

runner = CliRunner()
DEPTH = "sync_depth_00000.png"


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    write_rooms(tmp_path / "copy", RoomsSettings(scenes=4, test_scenes=2, frames=2), (24, 32))
    return tmp_path / "copy"


def ask(root: Path, *options: str) -> tuple[int, dict]:
    result = runner.invoke(app, ["doctor", str(root), "--json", *options])
    return result.exit_code, json.loads(result.stdout)


def errors(answer: dict) -> str:
    return " | ".join(finding["text"] for finding in answer["findings"] if finding["level"] == "error")


def depth_files(root: Path) -> list[Path]:
    return sorted(root.glob("official_splits/*/*/sync_depth_*.png"))


def change_depth(path: Path, change) -> None:
    depth_mm = np.array(Image.open(path))
    Image.fromarray(change(depth_mm)).save(path)


def test_a_good_copy_passes(copy: Path):
    code, answer = ask(copy, "--full")
    assert code == 0, errors(answer)
    assert (answer["copy"], answer["trainable"]) == ("bts-official", True)
    assert (answer["splits"]["train"]["frames"], answer["splits"]["train"]["scenes"]) == (8, 4)
    assert (answer["splits"]["test"]["frames"], answer["splits"]["test"]["scenes"]) == (4, 2)
    assert answer["splits"]["train"]["sizes"] == [[24, 32]]
    assert 0.3 < answer["splits"]["train"]["nearest"] < answer["splits"]["train"]["median"] < 6


def test_the_table_ends_with_the_next_command(copy: Path):
    result = runner.invoke(app, ["doctor", str(copy)])
    assert result.exit_code == 0
    assert "median depth" in result.stdout
    assert "python -m ensemble.base train adabins --data nyu --root" in result.stdout


def test_a_list_copy_is_recognised(copy: Path):
    lines = []
    for path in sorted(copy.glob("official_splits/train/*/rgb_*.jpg")):
        depth = path.with_name(path.name.replace("rgb", "sync_depth")).with_suffix(".png")
        lines.append(f"/{path.parent.name}/{path.name} /{depth.parent.name}/{depth.name} 518.8579")
    (copy / "official_splits" / "train").rename(copy / "sync")
    (copy / "nyudepthv2_train_files_with_gt.txt").write_text("\n".join(lines))
    code, answer = ask(copy)
    assert (code, answer["copy"]) == (0, "bts-sync"), errors(answer)
    assert answer["splits"]["train"]["frames"] == 8
    (copy / "sync" / "room_0000" / "rgb_00000.jpg").unlink()
    code, answer = ask(copy)
    assert code == 1
    assert "missing files: 1 " in errors(answer)
    (copy / "nyudepthv2_train_files_with_gt.txt").write_text("../x/rgb_1.jpg ../x/sync_depth_1.png 1")
    code, answer = ask(copy)
    assert code == 1
    assert "inside the copy" in errors(answer)


def test_missing_halves_are_counted(copy: Path):
    depth_files(copy)[0].unlink()
    code, answer = ask(copy)
    assert code == 1
    assert "the other half of" in errors(answer)


@pytest.mark.parametrize("name", [DEPTH, "rgb_00000.jpg"])
def test_truncated_files_are_named(copy: Path, name: str):
    path = copy / "official_splits" / "train" / "room_0001" / name
    path.write_bytes(path.read_bytes()[:-20])
    code, answer = ask(copy, "--full")
    assert code == 1
    assert str(path) in errors(answer)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda depth_mm: depth_mm * 4, "median depth is"),
        (lambda depth_mm: (depth_mm // 10).astype(np.uint16), "median depth is"),
        (lambda depth_mm: (depth_mm // 1000).astype(np.uint16), "cannot be used"),
        (lambda depth_mm: (depth_mm // 40).astype(np.uint8), "cannot be used"),
        (lambda depth_mm: depth_mm * 0, "no decoded frame has a measurement"),
    ],
)
def test_wrong_units_are_found(copy: Path, change, message: str):
    for path in depth_files(copy):
        change_depth(path, change)
    code, answer = ask(copy)
    assert code == 1
    assert message in errors(answer)


def test_8_bit_depth_scaled_to_millimetres_is_found(tmp_path: Path):
    write_rooms(tmp_path / "copy", RoomsSettings(scenes=3, test_scenes=1, frames=1), (96, 128))
    assert diagnose(tmp_path / "copy").trainable
    for path in depth_files(tmp_path / "copy"):
        change_depth(path, lambda depth_mm: (depth_mm // 39 * 39).astype(np.uint16))
    code, answer = ask(tmp_path / "copy")
    assert code == 1
    assert "8-bit depth in a 16-bit file" in errors(answer)


def test_a_part_in_another_unit_is_found_and_named(tmp_path: Path):
    write_rooms(tmp_path / "copy", RoomsSettings(scenes=10, test_scenes=2, frames=1), (96, 128))
    paths = sorted((tmp_path / "copy").glob("official_splits/train/*/sync_depth_*.png"))
    for path in paths[:4]:
        change_depth(path, lambda depth_mm: depth_mm // 10 + 300 * (depth_mm > 0).astype(np.uint16))
    assert diagnose(tmp_path / "copy").trainable, "0.3 m nearer than a tenth is a close look at a wall"
    for path in paths[:4]:
        change_depth(path, lambda depth_mm: depth_mm // 2)
    code, answer = ask(tmp_path / "copy", "--full")
    assert code == 1
    assert "train: 4 of 10 decoded frames have a median depth outside 0.5 .. 6.0 m (first: room_0000" in errors(answer)


def test_a_part_in_8_bits_is_found_and_named_and_few_levels_alone_are_not(tmp_path: Path):
    write_rooms(tmp_path / "copy", RoomsSettings(scenes=10, test_scenes=2, frames=1), (96, 128))
    paths = sorted((tmp_path / "copy").glob("official_splits/train/*/sync_depth_*.png"))
    for path in paths:
        change_depth(path, lambda depth_mm: (depth_mm // 28 * 28).astype(np.uint16))
        assert len(np.unique(np.array(Image.open(path)))) <= 256
    code, answer = ask(tmp_path / "copy", "--full")
    assert code == 0, errors(answer)
    change_depth(paths[3], lambda depth_mm: (depth_mm // 39 * 39).astype(np.uint16))
    code, answer = ask(tmp_path / "copy", "--full")
    assert code == 1
    assert "train: 1 of 10 decoded frames have 8-bit depth in a 16-bit file (first: room_0003" in errors(answer)


@pytest.mark.parametrize("gone", ["train/room_0001", "test"])
def test_a_folder_that_is_a_dead_link_is_missing(copy: Path, gone: str):
    folder = copy / "official_splits" / gone
    folder.rename(copy / "moved")
    folder.symlink_to(copy / "elsewhere")
    code, answer = ask(copy)
    assert code == 1
    assert f"{folder}, a link to {copy / 'elsewhere'}, which is not there" in errors(answer)


def test_a_scene_in_both_splits_is_found(copy: Path):
    (copy / "official_splits" / "test" / "hall_0000").rename(copy / "official_splits" / "test" / "room_0002")
    code, answer = ask(copy)
    assert code == 1
    assert "in the training and in the test split (first: room_0002)" in errors(answer)


def test_a_copy_without_test_split_says_what_to_set(copy: Path):
    (copy / "official_splits" / "test").rename(copy / "elsewhere")
    result = runner.invoke(app, ["doctor", str(copy)])
    assert result.exit_code == 0
    assert "--set data.test=held-out" in result.stdout


def test_a_copy_that_a_config_tests_on_held_out_scenes_keeps_it(copy: Path):
    (copy / "official_splits" / "test").rename(copy / "elsewhere")
    result = runner.invoke(app, ["doctor", str(copy), "--config", "nyu_small"])
    assert result.exit_code == 0
    assert "there is no test split" not in result.stdout
    assert result.stdout.splitlines()[-1].endswith(f"base train adabins --root {copy} --config nyu_small")
    told = runner.invoke(app, ["doctor", str(copy), "--set", "data.test=held-out"]).stdout
    assert "there is no test split" not in told
    assert told.splitlines()[-1].endswith(f"train adabins --data nyu --root {copy} --set data.test=held-out")


@pytest.mark.parametrize("value", [0, 255])
def test_the_border_has_a_colour(copy: Path, value: int):
    for path in copy.glob("official_splits/*/*/rgb_*.jpg"):
        image = np.array(Image.open(path))
        image[:4], image[-4:], image[:, :4], image[:, -4:] = (value,) * 4
        Image.fromarray(image).save(path, quality=95)
    assert ask(copy)[1]["splits"]["train"]["border"] == {0: "black", 255: "white"}[value]


def test_a_terminal_of_80_columns_shows_everything(copy: Path):
    broken = copy / "official_splits" / "train" / "room_0001" / DEPTH
    broken.write_bytes(broken.read_bytes()[:-20])
    shown = io.StringIO()
    console = Console(file=shown, force_terminal=True, color_system=None, width=80, highlight=False, markup=False)
    with mock.patch("ensemble.data.__main__.results", console):
        result = runner.invoke(app, ["doctor", str(copy)])
    lines = shown.getvalue().splitlines()
    assert result.exit_code == 1
    assert max(len(line) for line in lines[1:]) <= 80  # the first names the folder
    assert any(re.fullmatch(r" frames +8 of 795 +4 of 654 *", line) for line in lines)
    assert any(line.startswith("error files that cannot be used: 1") for line in lines)
    assert f"room_0001/{DEPTH}" in shown.getvalue()
    assert "files: 1 damaged" in lines
    assert lines[-1] == "Not ready to train: 1 error, see above."


def test_findings_in_a_pipe_stay_on_their_lines(copy: Path):
    depth_files(copy)[0].unlink()
    lines = runner.invoke(app, ["doctor", str(copy), "--full", "--workers", "1"]).stdout.splitlines()
    (error,) = (line for line in lines if line.startswith("error: "))
    assert str(depth_files(copy)[0].parent) in error
    assert error.endswith("complete the copy, or take their lines out of its list")


def test_a_missing_folder_is_no_copy(tmp_path: Path):
    status, found = ask(tmp_path / "missing")
    assert status == 1
    assert "no such folder; expected a copy of NYU Depth v2 (data.root or NYU_ROOT), or data of another" in str(found)


def test_rooms_are_written_and_readable(tmp_path: Path):
    out = tmp_path / "out"
    command = ["rooms", str(out), "--scenes", "3", "--frames", "2", "--test-scenes", "1", "--size", "24x32"]
    result = runner.invoke(app, command)
    assert result.exit_code == 0, result.output
    assert "8 frames of 3 training and 1 test scenes" in result.stdout
    assert len(open_nyu(out).frames) == 8
    assert ask(out)[0] == 0
    assert runner.invoke(app, command).stdout == result.stdout  # it was stopped when all was there
    again = typed(*command, "--seed", "1")
    assert again.returncode == 1
    assert "already has official_splits of other rooms" in again.stderr
    assert "Traceback" not in again.stderr


def test_a_folder_that_cannot_be_made_is_told_without_a_traceback(tmp_path: Path):
    (tmp_path / "file").write_text("no folder")
    answer = typed("rooms", str(tmp_path / "file" / "out"), "--scenes", "1", "--frames", "1", "--size", "24x32")
    assert answer.returncode == 2
    assert str(tmp_path / "file") in answer.stderr
    assert "Traceback" not in answer.stderr


def typed(*words: str) -> subprocess.CompletedProcess[str]:
    """What a person who types the command gets to see."""
    command = [sys.executable, "-m", "ensemble.data", *words]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False, timeout=120)


@pytest.mark.parametrize("size", ["24", "24x", "0x32", "24,32"])
def test_a_wrong_size_is_refused(tmp_path: Path, size: str):
    answer = typed("rooms", str(tmp_path / "out"), "--size", size)
    assert (answer.returncode, answer.stderr) == (
        2,
        f"error: --size {size!r}: expected HEIGHTxWIDTH, for example 480x640\n",
    )
    assert not (tmp_path / "out").exists()


def test_help_loads_no_heavy_library():
    code = (
        "import sys; from typer.testing import CliRunner; from ensemble.data.__main__ import app; "
        "assert CliRunner().invoke(app, ['--help']).exit_code == 0; "
        "sys.exit(sorted({'torch', 'torchvision', 'h5py', 'sklearn'} & set(sys.modules)) or None)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=os.environ, check=False)
    assert done.returncode == 0, done.stderr


def test_the_real_copy_is_fit_for_training():
    root = Path(os.environ.get("NYU_ROOT", "../shared/data/nyu_depth_v2"))
    if not root.is_dir():
        pytest.skip("needs a copy of NYU Depth v2: set NYU_ROOT")
    diagnosis = diagnose(root)
    assert diagnosis.trainable, diagnosis.findings
    assert diagnosis.splits["train"].frames > 0
