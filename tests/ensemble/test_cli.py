"""The whole job through its command lines: what they write, say, refuse, and how what they advise mends it."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from command_lines import LEARNER_NAMES, Job, call, contents, done
from PIL import Image

from ensemble.settings.names import known_learners

COMMANDS = {
    "base": (
        "train",
        "jobs",
        "lr-range",
        "cache",
        "import",
        "runs",
        "verify",
        "evaluate",
        "save",
        "predict",
        "profile",
        "teach",
    ),
    "export": ("onnx", "openvino", "executorch", "torch", "report"),
    "meta": ("fit", "compare-subsets", "cross-validate", "compose", "evaluate", "save", "fuse", "predict"),
    "data": ("doctor", "rooms", "pack"),
    "study": ("run", "show", "list", "best", "compare", "sweep"),
}
SINGLE_COMMANDS = ("demo", "points", "predict", "video", "view", "report")
FOLDER = Path("runs/tiny")


def typed(tool: str, *words: object) -> subprocess.CompletedProcess[str]:
    """What a person who types the command gets to see."""
    command = [sys.executable, "-m", f"ensemble.{tool}", *map(str, words)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


@pytest.mark.parametrize("tool", COMMANDS)
def test_every_command_has_help(tool: str):
    shown = done(tool, "--help").out
    assert done(tool, "-h").out == shown
    for command in COMMANDS[tool]:
        assert f"\n  {command} " in shown
        assert "--help" in done(tool, command, "--help").out


@pytest.mark.parametrize("tool", SINGLE_COMMANDS)
def test_every_tool_of_one_command_has_help(tool: str):
    answers = [typed(tool, word) for word in ("--help", "-h")]
    assert [answer.returncode for answer in answers] == [0, 0], answers
    assert "--cache-dir" in answers[0].stdout
    assert answers[0].stdout == answers[1].stdout


@pytest.mark.parametrize("tool", COMMANDS)
def test_an_unknown_command_is_answered_with_the_known_ones(tool: str):
    first = COMMANDS[tool][0]
    answer = call(tool, f"{first}z")
    assert answer.status == 2
    assert answer.err == (
        f"error: unknown command '{first}z'; did you mean '{first}'? Known: {', '.join(sorted(COMMANDS[tool]))}.\n"
    )
    assert call(tool, "--zzz").status == 2


def test_one_name_leads_to_every_tool(job: Job):
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}

    def stackdepth(*words: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "ensemble", *map(str, words)]
        return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)

    shown = stackdepth()
    assert (shown.returncode, shown.stderr, shown.stdout) == (0, "", stackdepth("--help").stdout)
    assert all(f"\n  {tool} " in shown.stdout for tool in (*COMMANDS, *SINGLE_COMMANDS))
    assert re.fullmatch(r"stackdepth \d+\.\d+\.\d+\n", stackdepth("--version").stdout)
    answer = stackdepth("meto", "fit")
    assert answer.returncode == 2
    assert "unknown tool 'meto'; did you mean 'meta'?" in answer.stderr
    assert stackdepth("meta", "fitt").returncode == 2
    ours = stackdepth("base", "verify", "--json", "--cache-dir", job.cache)
    assert ours.returncode == 0
    assert json.loads(ours.stdout) == json.loads(typed("base", "verify", "--json", "--cache-dir", job.cache).stdout)


def test_the_first_line_names_the_data(job: Job):
    assert job.first_lines == 3 * [
        "data: generated rooms (name a copy of NYU Depth v2 with --root or NYU_ROOT to train on it)"
    ]


def test_every_image_is_read_once_for_all_learners(job: Job):
    sizes = {role: len(count) for role, count in job.images_read.items()}
    assert sizes == {"fit": 6, "oof": 6, "validation": 2, "test": 4}
    assert all(set(count.values()) == {1} for count in job.images_read.values())
    assert set(job.images_read["oof"]) == set(job.images_read["fit"])
    frames = [frame for role, count in job.images_read.items() if role != "oof" for frame in count]
    assert len(set(frames)) == 12


def test_the_table_holds_every_row(job: Job):
    rows = {row["name"]: row for row in job.scores["rows"]}
    stacks = ["meta-d", "meta-rgb", "meta-rgb+d"]
    wanted = ["mean log depth", *LEARNER_NAMES, "mean", "median", *stacks, "oracle pick", "oracle convex"]
    assert [name for name in rows if name in wanted] == wanted
    assert {row["images"] for row in rows.values()} == {4}
    for metric in ("abs_rel", "rmse"):
        best = rows["oracle convex"]["scores"][metric]
        for name in ("oracle pick", *LEARNER_NAMES, "mean", "median", *stacks):
            assert best <= rows[name]["scores"][metric] + 1e-6, (metric, name)
    assert rows["meta-d"]["parameters"] > 0
    assert job.scores["protocol"]["crop"] == "none"
    assert job.scores["protocol"]["flip_averaging"] is True
    folder = job.cache / "reports" / "tiny"
    assert {"scores.json", "table.md", "per_image.csv", "pictures.png"} <= {path.name for path in folder.iterdir()}


def test_a_learner_is_scored_alone(job: Job):
    alone = json.loads(done("base", "evaluate", "bts", "--config", job.config, "--json", "--cache-dir", job.cache).out)
    rows = {row["name"]: row for row in alone["rows"]}
    together = {row["name"]: row for row in job.scores["rows"]}
    assert set(rows) == {"mean log depth", "bts"}
    assert rows["bts"]["scores"] == together["bts"]["scores"]
    table = done("base", "evaluate", "bts", "--experiment", "tiny", "--published", "--cache-dir", job.cache).out
    assert "BTS" in table
    assert max(map(len, table.splitlines())) <= 80


def test_photographs_keep_their_size(job: Job, tmp_path: Path):
    pixels = np.random.default_rng(0).integers(0, 256, (70, 90, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    answer = done(
        "meta", "predict", "meta-d", tmp_path / "photo.png", "--out", tmp_path / "o", "--cache-dir", job.cache
    )
    assert str(tmp_path / "o") in answer.err
    metres = np.load(tmp_path / "o" / "photo_depth.npy")
    assert metres.shape == (70, 90)
    assert metres.dtype == np.float32
    with Image.open(tmp_path / "o" / "photo_depth_mm.png") as picture:
        millimetres = np.asarray(picture)
    assert millimetres.dtype == np.uint16
    assert np.abs(millimetres / 1000 - metres.astype(np.float64)).max() <= 0.0005 + 1e-9
    with Image.open(tmp_path / "o" / "photo_depth_colour.png") as picture:
        assert picture.width > 90, "the photograph and its depth, side by side"
    expected_error = np.load(tmp_path / "o" / "photo_error.npy")
    assert (expected_error.shape, expected_error.dtype) == ((70, 90), np.float32)
    assert {path.name for path in (tmp_path / "o").iterdir()} == {
        "photo_depth_mm.png",
        "photo_depth.npy",
        "photo_depth_colour.png",
        "photo_weights.png",
        "photo_error.npy",
        "photo_error_colour.png",
    }


def test_predict_refuses_what_is_no_photograph(job: Job, tmp_path: Path):
    (tmp_path / "a.png").write_bytes(b"text")
    words = ("--out", tmp_path / "o", "--cache-dir", job.cache)
    answer = call("meta", "predict", "meta-d", tmp_path / "none.png", *words)
    assert answer.status == 1
    assert "none.png: there is no such file or folder\nerror: 0 of 1 predicted" in answer.err
    answer = call("meta", "predict", "meta-d", tmp_path / "a.png", *words)
    assert answer.status == 1
    assert str(tmp_path / "a.png") in answer.err


def test_a_whole_cache_is_verified(job: Job):
    answer = done("base", "verify", "--cache-dir", job.cache)
    shards = sorted((job.cache / "predictions").rglob("*.h5"))
    runs = {
        path.parent.relative_to(job.cache).as_posix()
        for path in job.cache.rglob("*.json")
        if path.name in ("settings.json", "scores.json")
    }
    folders = {*runs, "runs/tiny"}
    told = f"{len(shards)} shards and {len(folders)} folders below {job.cache}, all as they were written\n"
    assert answer.err == told
    assert "tiny/bts/oof/fold-0" in answer.out
    assert max(map(len, answer.out.splitlines())) <= 80
    rows = json.loads(done("base", "verify", "--json", "--cache-dir", job.cache).out)
    assert {row["store"] for row in rows if row["kind"] == "run"} == folders
    assert all(row["files"] > 0 for row in rows if row["kind"] == "run")
    stores = {row["store"]: row for row in rows if row["kind"] == "predictions"}
    assert stores.keys() == {str(path.parent.relative_to(job.cache / "predictions")) for path in shards}
    assert (stores["tiny/bts/test/full"]["frames"], stores["tiny/bts/fit/full"]["frames"]) == (4, 6)
    assert sum(row["bytes"] for row in stores.values()) == sum(path.stat().st_size for path in shards)
    answer = call("base", "verify", "tinny", "--cache-dir", job.cache)
    assert answer.status == 2
    assert "unknown experiment 'tinny'; did you mean 'tiny'?" in answer.err


def test_nothing_cached_is_nothing_damaged(tmp_path: Path):
    assert done("base", "verify", "--json", "--cache-dir", tmp_path / "none").out.strip() == "[]"


def mend_as_told(shard: Path, complaint: str) -> None:
    remove, fill = complaint.splitlines()[-1].split(" && ")
    assert remove == f"rm '{shard}'"
    shard.unlink()
    tool, *words = shlex.split(fill.removeprefix("python -m ensemble."))
    done(tool, *words)


@pytest.mark.slow
def test_a_damaged_shard_of_learners_that_were_trained_with_a_stack_is_mended_by_its_evaluation(
    job: Job, tmp_path: Path
):
    cache = job.copy_to(tmp_path)
    given = ("--config", job.config, "--cache-dir", cache)
    done("meta", "fit", "--inputs", "d", "--training", "joint", "--name", "together", *given)
    done("meta", "evaluate", "together", "--cache-dir", cache)
    (victim,) = cache.glob("predictions/tiny/bts/test/together-*/shard-00000.h5")
    whole = victim.read_bytes()
    victim.write_bytes(whole[:-1])
    answer = call("base", "verify", "--cache-dir", cache)
    assert answer.status == 1
    mend_as_told(victim, answer.err)
    assert victim.read_bytes() == whole


def test_a_flipped_bit_is_named_with_the_commands_that_mend_it(job: Job, tmp_path: Path):
    cache = job.copy_to(tmp_path)
    victims = [cache / f"predictions/tiny/{name}/shard-00000.h5" for name in ("bts/oof/fold-1", "ldrn/test/full")]
    for victim in victims:
        content = bytearray(victim.read_bytes())
        content[len(content) // 2] ^= 4
        victim.write_bytes(content)
    answer = call("base", "verify", "tiny", "--json", "--cache-dir", cache)
    assert answer.status == 1
    told = {shard["path"]: shard["complaint"] for row in json.loads(answer.out) for shard in row["damaged"]}
    assert list(told) == [str(victim) for victim in victims]
    assert answer.err.count("error: ") == 2
    for victim, complaint in zip(victims, told.values(), strict=True):
        assert f"{victim}: not a shard as it was written: its bytes do not fit its checksum" in complaint
        mend_as_told(victim, complaint)
    done("base", "verify", "--cache-dir", cache)
    assert contents(cache / "predictions").keys() == contents(job.cache / "predictions").keys()
    assert [victim.read_bytes() for victim in victims] == [
        (job.cache / victim.relative_to(cache)).read_bytes() for victim in victims
    ]


@pytest.mark.slow
def test_cost_as_json(job: Job):
    shown = json.loads(done("base", "profile", "--config", job.config, "--size", "48x64", "--repeats", 1, "--json").out)
    assert [row["learner"] for row in shown] == [*known_learners(), "meta-d", "meta-rgb+d"]
    for row in shown:
        assert row["parameters"] > 0
        assert row["mul_adds"] > 0
        assert row["milliseconds"] > 0


@pytest.mark.filterwarnings("ignore:You defined a `validation_step` but have no `val_dataloader`")
def test_learning_rate_range(job: Job, tmp_path: Path):
    words = ("base", "lr-range", "bts", "--config", job.config, "--steps", 10, "--cache-dir", tmp_path)
    told = json.loads(done(*words, "--json").out)
    assert told["rates"] == sorted(told["rates"])
    assert len(told["rates"]) == len(told["losses"]) >= 5
    assert (tmp_path / FOLDER / "bts/full/lr_range.png").stat().st_size > 0
    assert [path.name for path in (tmp_path / FOLDER / "bts/full").iterdir()] == ["lr_range.png"]


def test_a_complete_run_is_left_as_it_is(job: Job):
    before = contents(job.cache / FOLDER)
    given = ("--config", job.config, "--cache-dir", job.cache)
    for words in (("base", "train", "bts"), ("meta", "fit", "--inputs", "d")):
        assert "complete already (give --fresh to start over)" in done(*words, *given).err
    assert "every frame of bts/full is there already" in done("base", "cache", "bts", "--role", "test", *given).err
    assert contents(job.cache / FOLDER) == before


def test_changed_settings_are_refused_by_name(job: Job):
    before = contents(job.cache / FOLDER)
    given = ("--config", job.config, "--cache-dir", job.cache)
    answer = call("base", "train", "bts", *given, "--set", "training.lr=0.5", "--set", "data.rooms.seed=9")
    assert answer.status == 1
    assert "training.lr: 0.00086 against 0.5" in answer.err
    assert "data.rooms.seed: 0 against 9" in answer.err
    assert "--fresh" in answer.err
    answer = call("meta", "fit", "--inputs", "d", *given, "--set", "training.lr=0.5")
    assert answer.status == 1
    assert "training.lr: 0.01 against 0.5" in answer.err
    assert "--name NAME" in answer.err
    answer = call("meta", "fit", "--inputs", "d", *given, "--set", "data.size=[32, 32]", "--set", "data.crop=null")
    assert answer.status == 1
    assert "data" in answer.err
    assert "size" in answer.err
    assert contents(job.cache / FOLDER) == before


def test_resume(job: Job, tmp_path: Path):
    cache = job.copy_to(tmp_path)
    run = cache / FOLDER / "bts/full"
    (run / "result.json").unlink()
    given = ("--cache-dir", cache)
    advised = call("base", "evaluate", "bts", "--experiment", "tiny", *given).advised
    assert advised == ["base", "train", "bts", "--resume", str(run), "--cache-dir", str(cache)]
    done(*advised)
    assert contents(run)["best.safetensors"] == contents(job.cache / FOLDER / "bts/full")["best.safetensors"]
    done("base", "train", "bts", "--resume", "tiny/bts", *given)
    answer = call("base", "train", "ldrn", "--resume", run, *given)
    assert answer.status == 2
    assert "is a run of bts, not of ldrn" in answer.err
    answer = call("base", "train", "bts", "--resume", run, "--cache-dir", tmp_path / "other")
    assert answer.status == 2
    assert "--cache-dir" in answer.err
    assert call("base", "train", "bts", "--resume", run, "--set", "seed=1", *given).status == 2


@pytest.mark.parametrize("words", [("evaluate",), ("evaluate", "meta-d"), ("fit", "--resume")])
def test_a_learners_run_in_the_place_of_a_fit_is_answered_with_the_fits(job: Job, words: tuple[str, ...]):
    answer = call("meta", *words, "tiny/bts", "--cache-dir", job.cache)
    assert answer.status == 2
    assert "'tiny/bts': expected a fit of the meta-learner, found a run of the learner bts" in answer.err
    assert "fits in tiny: meta-d, meta-rgb, meta-rgb+d. " in answer.err
    assert answer.advised[:5] == ["base", "evaluate", "bts", "--experiment", "tiny"]
    done(*answer.advised)


def test_stale_rows_are_refused_and_the_advised_commands_mend_it(job: Job, tmp_path: Path):
    cache = job.copy_to(tmp_path)
    given = ("--cache-dir", cache)
    done("base", "train", "bts", "--config", job.config, *given, "--fresh", "--set", "seed=5")
    answer = call("meta", "evaluate", "meta-d", *given)
    assert answer.status == 1
    assert "trained anew" in answer.err
    assert "weights of bts" in answer.err
    refit = answer.advised
    assert refit[:3] == ["meta", "fit", "--resume"]
    assert "--fresh" in refit
    others = {name: contents(cache / "predictions/tiny" / name) for name in ("adabins", "ldrn")}
    answer = call(*refit)
    assert answer.status == 1
    assert "weights" in answer.err
    assert answer.advised[:5] == ["base", "cache", "bts", "--role", "validation"]
    done(*answer.advised)
    done(*refit)
    answer = call("meta", "evaluate", "meta-d", *given)
    done(*answer.advised)
    done("meta", "evaluate", "meta-d", *given)
    assert {name: contents(cache / "predictions/tiny" / name) for name in others} == others


@pytest.mark.parametrize(
    ("changed", "what"),
    [("evaluation.flip_averaging=false", "preprocessing"), ("data.rooms.seed=3", "file list"), ("seed=5", "weights")],
)
def test_rows_of_something_else_are_refused_with_both_fingerprints(job: Job, tmp_path: Path, changed: str, what: str):
    cache = job.copy_to(tmp_path)
    given = ("--config", job.config, "--cache-dir", cache)
    done("base", "train", "bts", *given, "--fresh", "--set", changed)
    answer = call("base", "cache", "bts", "--role", "test", *given)
    assert answer.status == 1
    line = next(part for part in answer.err.splitlines() if what in part)
    assert len([word for word in line.replace(",", " ").replace(";", " ").split() if _is_fingerprint(word)]) >= 2, line
    advised = answer.advised
    assert advised[-1] == "--rebuild"
    done(*advised)
    done("base", "cache", "bts", "--role", "test", *given)


def _is_fingerprint(word: str) -> bool:
    word = word.strip("'\"().:")
    return len(word) >= 8 and all(letter in "0123456789abcdef" for letter in word)


def test_fresh_forgets_everything_of_the_run(job: Job, tmp_path: Path):
    cache = job.copy_to(tmp_path)
    given = ("--config", job.config, "--cache-dir", cache)
    done("base", "evaluate", "bts", *given)
    assert (cache / FOLDER / "bts/full/per_image.csv").is_file()
    done("base", "train", "bts", *given, "--fresh", "--set", "training.max_steps=1")
    assert not (cache / FOLDER / "bts/full/per_image.csv").exists()
    assert not (cache / FOLDER / "bts/full/scores.json").exists()
    assert json.loads((cache / FOLDER / "bts/full/result.json").read_text())["steps"] == 1


def test_a_missing_learner_is_answered_with_its_training(job: Job, tmp_path: Path):
    answer = call("meta", "fit", "--inputs", "d", "--config", job.config, "--cache-dir", tmp_path)
    assert answer.status == 1
    assert "adabins was not trained" in answer.err
    wanted = ["base", "train", "adabins", "--config", job.config, "--experiment", "tiny", "--cache-dir", tmp_path]
    assert answer.advised == list(map(str, wanted))
    done(*answer.advised)
    advised = call("meta", "fit", "--inputs", "d", "--config", job.config, "--cache-dir", tmp_path).advised
    assert advised[:5] == ["base", "train", "adabins", "--fold", "0"]
    in_sample = ("meta", "fit", "--inputs", "d", "--rows", "fit", "--config", job.config, "--cache-dir", tmp_path)
    assert call(*in_sample).advised[2] == "bts"


def test_the_environment_names_the_cache(job: Job, tmp_path: Path):
    cache = job.copy_to(tmp_path)
    shutil.rmtree(cache / "predictions/tiny/bts/test")
    done("base", "cache", "bts", "--role", "test", "--config", job.config, STACKDEPTH_CACHE=str(cache))
    assert list((cache / "predictions/tiny/bts/test/full").glob("*.h5"))
    answer = call("base", "evaluate", "bts", "--experiment", "other", STACKDEPTH_CACHE=str(cache))
    assert "--cache-dir" not in answer.err
    assert str(cache) in answer.err


def test_same_seed_same_bits(job: Job, tmp_path: Path):
    weights = {}
    for name, given in {"again": [], "other": ["--set", "seed=1"]}.items():
        done("base", "train", "bts", "--config", job.config, "--cache-dir", tmp_path / name, *given)
        weights[name] = (tmp_path / name / FOLDER / "bts/full/best.safetensors").read_bytes()
    assert weights["again"] == (job.cache / FOLDER / "bts/full/best.safetensors").read_bytes()
    assert weights["other"] != weights["again"]


def test_a_copy_of_nyu_in_the_environment_is_trained_on(job: Job, tmp_path: Path):
    nyu = tmp_path / "nyu"
    done("data", "rooms", nyu, "--scenes", 4, "--frames", 2, "--test-scenes", 2, "--size", "60x80")
    given = [
        "--cache-dir",
        tmp_path / "cache",
        "--set",
        "data.size=[48, 64]",
        "--set",
        "data.crop=null",
        "--set",
        "data.workers=0",
    ]
    given += [
        "--set",
        "training.max_steps=1",
        "--set",
        "training.batch_size=2",
        "--set",
        "encoder={name: test_efficientnet, weights: none}",
    ]
    given += ["--set", "network.adaptor=16", "--set", "network.widths=[16, 12, 8, 8, 8]"]
    answer = done("base", "train", "bts", *given, NYU_ROOT=str(nyu))
    assert answer.err.splitlines()[0] == f"data: NYU Depth v2 in {nyu}"
    assert "6 frames to fit, 2 to validate, 48x64" in answer.err
    nyu.rename(tmp_path / "moved")
    options = ("--experiment", "nyu", "--cache-dir", tmp_path / "cache", "--root", tmp_path / "moved")
    assert json.loads(done("base", "evaluate", "bts", *options, "--json").out)["protocol"]["size"] == [60, 80]


def test_cost_without_a_file_is_that_of_the_published_network():
    (row,) = json.loads(done("base", "profile", "adabins", "--size", "416x544", "--repeats", 1, "--json").out)
    assert row["parameters"] == 17_553_668
    assert row["mul_adds"] == pytest.approx(9.57e9, rel=0.1)
