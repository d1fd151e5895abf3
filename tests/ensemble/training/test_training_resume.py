import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from training_nursery import Nursery

from ensemble.runs.paths import Outputs, Run
from ensemble.training.checkpoints import read_checkpoint

KILLED = -signal.SIGKILL
BATCHES = 4  # an epoch has four steps


def run_of(root: Path) -> Run:
    return Outputs(root).learner_run("test", "adabins")


def order(root: Path) -> list[list[str]]:
    return [line.split(" ", 1) for line in (root / "order.txt").read_text().splitlines()]


def result(root: Path) -> dict[str, Any]:
    found = json.loads(run_of(root).result.read_text())
    return {key: value for key, value in found.items() if key not in ("seconds", "seal")}  # checksums of clocks too


def flat(tree: Any, path: str = "") -> dict[str, Any]:
    if isinstance(tree, dict):
        return {key: value for name in tree for key, value in flat(tree[name], f"{path}.{name}").items()}
    if isinstance(tree, list | tuple):
        return {key: value for at, item in enumerate(tree) for key, value in flat(item, f"{path}[{at}]").items()}
    return {path: tree}


def assert_same_end(resumed: Path, straight: Path) -> None:
    ours, theirs = (read_checkpoint(run_of(root).last) for root in (resumed, straight))
    for part in ("state_dict", "optimizer_states", "lr_schedulers", "global_step", "epoch"):
        left, right = flat(ours[part], part), flat(theirs[part], part)
        assert left.keys() == right.keys()
        for name, value in left.items():
            same = torch.equal(value, right[name]) if isinstance(value, torch.Tensor) else value == right[name]
            assert same, f"{name} differs"
    assert run_of(resumed).best.read_bytes() == run_of(straight).best.read_bytes()
    assert run_of(resumed).log.read_text() == run_of(straight).log.read_text()
    assert result(resumed) == result(straight)
    undisturbed = dict(order(straight))
    assert len(undisturbed) == len(order(straight))
    assert dict(order(resumed)) == undisturbed
    assert all(undisturbed[number] == frames for number, frames in order(resumed)), "a repeated batch differs"


@pytest.fixture(scope="session")
def straight(nursery: Nursery, tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """Runs that were never stopped, by ``accumulate``."""
    roots = {}
    for accumulate in (1, 2):
        roots[accumulate] = tmp_path_factory.mktemp(f"straight{accumulate}")
        assert nursery.run("train", root=str(roots[accumulate]), accumulate=accumulate) == 0
        steps = [line["step"] for line in map(json.loads, run_of(roots[accumulate]).log.read_text().splitlines())]
        assert steps == [1, 2, 3, 4, 4, 5, 6, 7, 8, 8]
    return roots


DEATHS = {
    "before the first checkpoint": (1, 2, ["training_step", 2]),
    "mid-epoch, one step after a checkpoint": (1, 2, ["training_step", 4]),
    "mid-epoch, right after a checkpoint": (1, 1, ["training_step", 3]),
    "second epoch": (1, 1, ["training_step", 7]),
    "accumulating, between two batches of a step": (2, 1, ["training_step", 6]),
    "accumulating, second epoch": (2, 2, ["training_step", 14]),
    "validating": (2, 1, ["validation_step", 2]),
    "best weights written, checkpoint not": (1, 2, ["on_train_epoch_end", 1]),
    "epoch boundary": (1, None, ["training_step", BATCHES + 1]),
    "last epoch validated, checkpoint not written": (1, 2, ["on_train_epoch_end", 2]),
}


LONG = (
    "before the first checkpoint",
    "mid-epoch, one step after a checkpoint",
    "second epoch",
    "accumulating, second epoch",
    "validating",
    "best weights written, checkpoint not",
)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name in LONG else name for name in DEATHS]
)
def test_killed_and_resumed_ends_bit_equal_to_never_stopped(
    name: str, tmp_path: Path, nursery: Nursery, straight: dict[int, Path]
) -> None:
    accumulate, every, die = DEATHS[name]
    training = {"accumulate": accumulate, "checkpoint_every": every}
    assert nursery.run("train", root=str(tmp_path), die=die, **training) == KILLED
    assert not run_of(tmp_path).result.exists()
    assert nursery.run("train", root=str(tmp_path), **training) == 0
    assert_same_end(tmp_path, straight[accumulate])


@pytest.mark.slow
def test_killed_twice_and_resumed_twice(tmp_path: Path, nursery: Nursery, straight: dict[int, Path]) -> None:
    training = {"accumulate": 2, "checkpoint_every": 1}
    assert nursery.run("train", root=str(tmp_path), die=["training_step", 4], **training) == KILLED
    assert nursery.run("train", root=str(tmp_path), die=["training_step", 8], **training) == KILLED
    assert nursery.run("train", root=str(tmp_path), **training) == 0
    assert_same_end(tmp_path, straight[2])


def test_killed_between_the_last_checkpoint_and_the_result(
    tmp_path: Path, nursery: Nursery, straight: dict[int, Path]
) -> None:
    assert nursery.run("train", root=str(tmp_path)) == 0
    run_of(tmp_path).result.unlink()
    assert nursery.run("train", root=str(tmp_path)) == 0
    assert_same_end(tmp_path, straight[1])


@pytest.mark.slow
def test_a_cycle_that_ends_within_an_epoch_is_validated_and_resumed(tmp_path: Path, nursery: Nursery) -> None:
    roots = tmp_path / "straight", tmp_path / "resumed", tmp_path / "resumed at the end"
    for root in roots:
        root.mkdir()
    training = {"max_steps": 6, "checkpoint_every": 1}
    assert nursery.run("train", root=str(roots[0]), **training) == 0
    lines = [json.loads(line) for line in run_of(roots[0]).log.read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2, 3, 4, 4, 5, 6, 6]
    assert "validation/abs_rel" in lines[-1]
    assert nursery.run("train", root=str(roots[1]), die=["training_step", 6], **training) == KILLED
    assert nursery.run("train", root=str(roots[2]), die=["validation_step", 2], **training) == KILLED
    for root in roots[1:]:
        assert nursery.run("train", root=str(root), **training) == 0
        assert_same_end(root, roots[0])


def test_killed_from_outside_while_writing_leaves_no_leftovers(
    tmp_path: Path, nursery: Nursery, straight: dict[int, Path]
) -> None:
    folder = run_of(tmp_path).folder
    folder.mkdir(parents=True)
    leftover = folder / ".last.ckpt.1-abcdef01.partial"
    leftover.write_bytes(b"half a checkpoint")
    os.utime(leftover, (0, 0))  # process 1 lives, but wrote this long ago
    assert nursery.run("train", root=str(tmp_path)) == 0
    assert not list(folder.glob(".*"))
    assert_same_end(tmp_path, straight[1])


@pytest.mark.long
@pytest.mark.slow
def test_killed_at_every_batch(tmp_path: Path, nursery: Nursery, straight: dict[int, Path]) -> None:
    for accumulate in (1, 2):
        for batch in range(1, 8 * accumulate + 1):
            root = tmp_path / f"{accumulate}-{batch}"
            root.mkdir()
            training = {"accumulate": accumulate, "checkpoint_every": 1 + batch % 3}
            assert nursery.run("train", root=str(root), die=["training_step", batch], **training) == KILLED
            assert nursery.run("train", root=str(root), **training) == 0
            assert_same_end(root, straight[accumulate])
