"""``base verify --repair``: what it prints, run line by line, makes of a damaged folder what it was before."""

import json
import random
import re
import shlex
import subprocess
from pathlib import Path

import pytest
from command_lines import Job, call, contents, done
from foreign_maps import noisy_maps, save_npy, source_of

from ensemble.predictions.learners import trained_learner
from ensemble.runs.paths import Outputs
from ensemble.runs.refusals import DamagedError
from ensemble.stacking.stack import load_stack
from ensemble.training.checkpoints import read_checkpoint

OWN_CLOCK = ("last.ckpt", "result.json", ".sha256", "log.jsonl", "writer.lock", ".db")
"""Files that hold times of their own, or are there only while somebody works."""


def flip(path: Path, *, many: int = 1, seed: int = 0) -> None:
    content = bytearray(path.read_bytes())
    for at in random.Random(seed).sample(range(len(content)), many):
        content[at] ^= 16
    path.write_bytes(content)


def mended(cache: Path) -> list[str]:
    """Run what is printed as a shell does, commands of the package within this process."""
    answer = call("base", "verify", "--repair", "--cache-dir", cache)
    assert answer.status == 1
    lines = answer.out.splitlines()
    for line in lines:
        shell, ours, python = line.partition("python -m ensemble.")
        subprocess.run(shell.removesuffix(" && "), shell=True, check=True)
        if ours:
            done(*shlex.split(python, comments=True))
    return lines


def differing(cache: Path, twin: dict[str, bytes]) -> list[str]:
    now = contents(cache)
    assert now.keys() == twin.keys()
    times = re.compile(rb'"(frames_per_second|training_seconds)": [0-9.]+')
    content = {name: (times.sub(b"", now[name]), times.sub(b"", twin[name])) for name in twin}
    return [name for name, (left, right) in content.items() if left != right and not name.endswith(OWN_CLOCK)]


@pytest.fixture
def cache(job: Job, tmp_path: Path) -> Path:
    cache = job.copy_to(tmp_path)
    done("meta", "evaluate", "meta-d", "--cache-dir", cache)
    done("base", "evaluate", "bts", "--config", job.config, "--cache-dir", cache)
    maps = save_npy(tmp_path / "maps", noisy_maps(source_of(job.config), "train", noise=0.1, seed=1))
    done("base", "import", "other", maps, "--role", "oof", "--config", job.config, "--cache-dir", cache)
    return cache


def test_one_bit_is_turned_back(cache: Path):
    twin = contents(cache)
    small = [
        *("folds.json.sha256", "bts/full/settings.json", "bts/fold-1/sources.json", "meta-d/scores.json"),
        *("ldrn/full/settings.json.sha256", "meta-d/settings.json", "meta-d/uncertainty.json", "bts/full/log.jsonl"),
        *("other/fold-0/settings.json", "other/fold-1/result.json", "bts/full/scores.json"),
    ]
    for seed, name in enumerate(small):
        flip(cache / "runs/tiny" / name, seed=seed)
    lines = mended(cache)
    assert len(lines) == len(small)
    now = contents(cache)
    assert [name for name in twin if now.get(name) != twin[name]] == []
    assert now.keys() == twin.keys()
    done("base", "verify", "--cache-dir", cache)


@pytest.mark.slow
def test_what_cannot_be_turned_back_is_made_again_in_order(cache: Path):
    twin = contents(cache)
    victims = [
        *("runs/tiny/meta-d/best.safetensors", "runs/tiny/meta-d/gallery.npz", "runs/tiny/meta-rgb/result.json"),
        *("runs/tiny/bts/full/best.safetensors", "runs/tiny/ldrn/fold-0/last.ckpt", "runs/tiny/folds.json"),
        *("runs/tiny/adabins/fold-1/settings.json", "runs/tiny/ldrn/full/sources.json", "reports/tiny/scores.json"),
        *("runs/tiny/other/fold-0/result.json", "predictions/tiny/bts/oof/fold-1/shard-00000.h5"),
    ]
    for seed, name in enumerate(victims):
        flip(cache / name, many=3, seed=seed)
    lines = mended(cache)
    told = "\n".join(lines)
    steps = [
        "folds.json",
        "bts/full --fresh",
        "--fold 1 --resume",
        "shard-00000",
        "meta-d --fresh",
        "evaluate tiny/meta-d",
    ]
    assert sorted(steps, key=told.index) == steps
    done("base", "verify", "--cache-dir", cache)
    (cache / "runs/tiny/ldrn/fold-0/last.ckpt").touch()  # a run that is complete does without
    (cache / "runs/tiny/ldrn/fold-0/last.ckpt.sha256").touch()
    assert differing(cache, twin) == []


def test_flipped_bits_are_found_by_whoever_reads_and_damage_is_told_apart_from_training_anew(job: Job, tmp_path: Path):
    cache = job.copy_to(tmp_path)
    where = Outputs(cache)
    run, stack = where.learner_run("tiny", "bts"), where.meta_run("tiny", "meta-d")
    readers = {
        run.best: lambda: trained_learner(where, "tiny", "bts"),
        run.settings: lambda: trained_learner(where, "tiny", "bts"),
        stack.sources: lambda: load_stack(stack, where),
        stack.settings: lambda: load_stack(stack, where),
        where.folds("tiny"): lambda: load_stack(stack, where),
        run.last: lambda: read_checkpoint(run.last),
    }
    for path, read in readers.items():
        whole = path.read_bytes()
        for seed in range(100):
            flip(path, seed=seed)
            with pytest.raises(DamagedError, match=rf"{path.name}: damaged since it was written") as caught:
                read()
            assert "--rebuild" not in str(caught.value)
            path.write_bytes(whole)
    flip(run.best)
    for words in (("meta", "evaluate", "meta-d"), ("base", "cache", "bts", "--role", "test", "--config", job.config)):
        answer = call(*words, "--cache-dir", cache)
        assert answer.status == 1
        assert f"{run.best}: damaged since it was written" in answer.err
        assert "--rebuild" not in answer.err
    given = ("--config", job.config, "--cache-dir", cache)
    done("base", "train", "bts", "--fresh", "--set", "seed=7", *given)
    assert "--rebuild" in call("base", "cache", "bts", "--role", "test", *given).err
    assert "trained anew" in call("meta", "evaluate", "meta-d", "--cache-dir", cache).err
    answer = call("base", "verify", "--json", "--cache-dir", cache)
    assert answer.status == 0, answer.err
    assert not any(row["damaged"] for row in json.loads(answer.out))


def test_a_damaged_checkpoint_stops_the_run_that_would_go_on_from_it(job: Job, tmp_path: Path):
    cache = job.copy_to(tmp_path)
    run = Outputs(cache).learner_run("tiny", "bts")
    run.result.unlink()
    flip(run.last)
    answer = call("base", "train", "bts", "--resume", run.folder, "--cache-dir", cache)
    assert answer.status == 1
    assert f"{run.last}: damaged since it was written" in answer.err
    assert not run.result.exists()
    advised = call("base", "verify", "--repair", "--cache-dir", cache).out.splitlines()
    assert any(line.endswith(f"--resume {run.folder} --cache-dir {cache}") for line in advised)
    mended(cache)
    done("base", "verify", "--cache-dir", cache)


def test_repair_and_json_are_not_mixed(tmp_path: Path):
    answer = call("base", "verify", "--repair", "--json", "--cache-dir", tmp_path)
    assert answer.status == 2
    assert "leave out --json" in answer.err
