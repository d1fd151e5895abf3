import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import training_runs as runs

from ensemble.predictions.learners import load_learner, trained_learner
from ensemble.runs.paths import Outputs, Run

pytestmark = pytest.mark.slow

HERE = Path(__file__).parent
ROOT = HERE.parents[2]


def torchrun(notes: Path, *arguments: str) -> None:
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{HERE}", "OMP_NUM_THREADS": "1", "NOTES": str(notes)}
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", *arguments]
    ended = subprocess.run(command, cwd=notes, env=environment, capture_output=True, text=True, timeout=300)
    assert ended.returncode == 0, ended.stderr[-3000:]


def assert_validated_once(notes: Path, *, frames: int, steps: tuple[int, ...]) -> None:
    parts = [(notes / f"validated-{rank}").read_text().splitlines() for rank in range(2)]
    assert all(parts)
    assert len({*parts[0], *parts[1]}) == len(parts[0]) + len(parts[1]) == frames * len(steps)
    assert {int(line.split()[0]) for part in parts for line in part} == set(steps)


def assert_equal_weights(notes: Path) -> None:
    assert (notes / "weights-0").read_text() == (notes / "weights-1").read_text()


def bts_arguments(cache: Path) -> list[str]:
    assignments = runs.narrow_assignments(runs.NARROW_BTS)
    options = [part for assignment in assignments for part in ("--set", assignment)]
    return ["train", "bts", "--data", "rooms", "--cache-dir", str(cache), *options]


def assert_trained(cache: Path) -> None:
    trained = trained_learner(Outputs(cache), "test", "bts")
    lines = runs.log_lines(trained.run)
    assert [line["step"] for line in lines] == [1, 2, 3, 4, 4, 5, 6, 7, 8, 8]
    assert [line["validation/images"] for line in runs.validation_lines(trained.run)] == [4, 4]
    names = {path.name for path in trained.run.folder.iterdir()}
    written = {"settings.json", "sources.json", "last.ckpt", "best.safetensors", "log.jsonl", "result.json"}
    checksums = {f"{name}.sha256" for name in written if not name.startswith(("log", "result"))}
    assert names == written | checksums | {"writer.lock"}
    assert json.loads(trained.run.result.read_text())["steps"] == 8
    depth = load_learner(trained)(torch.rand(1, 3, 48, 64)).depth
    assert depth.shape == (1, 1, 48, 64)


@pytest.fixture(scope="module")
def trained_by_two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two processes left that trained the toy, the toy by the clock, then bts from the command line."""
    notes = tmp_path_factory.mktemp("two")
    for phase in ("toy", "timed", "bts"):
        (notes / phase).mkdir()
    torchrun(notes, str(HERE / "training_two_processes.py"), *bts_arguments(notes / "cache"))
    return notes


def test_two_processes_train_as_one(trained_by_two: Path, tmp_path: Path) -> None:
    """Without batch norm, and with a loss that is a mean over images, two processes compute what one computes."""
    one, two = runs.toy_fit(tmp_path), Run(trained_by_two / "toy" / "run")
    for name, values in runs.weights(one).items():
        assert torch.allclose(values, runs.weights(two)[name], atol=1e-5), name
    assert [line["step"] for line in runs.log_lines(two)] == [1, 2, 3, 4, 4, 5, 6, 7, 8, 8]
    for left, right in zip(runs.log_lines(one), runs.log_lines(two), strict=True):
        assert left == pytest.approx(right, abs=1e-4)
    assert [line["validation/images"] for line in runs.validation_lines(two)] == [5, 5]
    assert_validated_once(trained_by_two / "toy", frames=5, steps=(4, 8))
    assert_equal_weights(trained_by_two / "toy")


def test_two_processes_agree_on_the_time_that_is_left(trained_by_two: Path) -> None:
    run = Run(trained_by_two / "timed" / "run")
    assert [line["step"] for line in runs.log_lines(run)] == [1, 2, 3, 4, 4, 5, 6, 6]
    assert json.loads(run.result.read_text())["budget"] == {"unit": "seconds", "asked": 6.0, "spent": 6.0}
    assert_equal_weights(trained_by_two / "timed")


def test_two_processes_train_bts_from_the_command_line(trained_by_two: Path) -> None:
    """Batch norm sees half a batch in each process on a CPU, where there is no SyncBN; what is kept is the first's."""
    assert_trained(trained_by_two / "cache")
    assert_validated_once(trained_by_two / "bts", frames=4, steps=(4, 8))
    assert_equal_weights(trained_by_two / "bts")


@pytest.mark.slow
def test_two_processes_train_bts_without_a_script_around_it(tmp_path: Path) -> None:
    torchrun(tmp_path, "-m", "ensemble.base", *bts_arguments(tmp_path / "cache"))
    assert_trained(tmp_path / "cache")
