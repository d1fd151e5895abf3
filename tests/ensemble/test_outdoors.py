"""The whole way outdoors, as the README has it: its commands for KITTI on miniatures and on generated streets."""

import re
import shlex
from pathlib import Path

import pytest
from command_lines import done
from kitti_miniatures import write_kitti
from test_readme import README

from ensemble.evaluation.results.protocols import read_protocols
from ensemble.evaluation.results.scores import read_scores
from ensemble.metrics.published import OURS

SMALLER = {"kitti_small": "kitti_streets_tiny", "3": "2"}
"""Words of the README's commands, and what stands for them on few streets: the experiment, and its folds."""

FEW_STEPS = ("--set", "training.max_steps=4", "--set", "training.batch_size=2")


def commands_for_kitti() -> list[list[str]]:
    """Words after ``python -m ensemble.`` of every command in the block that starts with KITTI_ROOT, loops unrolled."""
    block = re.search(r"```bash\nexport KITTI_ROOT=[^\n]*\n(.*?)```", README.read_text(encoding="utf-8"), re.S)
    assert block is not None
    commands = []
    for line in block.group(1).splitlines():
        loop = re.fullmatch(r"for (\w+) in (.*); do (.*); done", line)
        for value in loop.group(2).split() if loop else [""]:
            text = loop.group(3).replace(f"${loop.group(1)}", value) if loop else line
            words = shlex.split(text)[2:]
            commands.append([words[0].removeprefix("ensemble."), *(SMALLER.get(word, word) for word in words[1:])])
    return commands


def whole_job(root: Path, cache: Path) -> Path:
    """Types the README's block and returns the folder of its stack."""
    commands = commands_for_kitti()
    assert [words[:2] for words in commands][3:] == [
        ["base", "cache"],
        ["meta", "fit"],
        ["meta", "evaluate"],
        ["report", "meta-rgb+d"],
    ]
    for words in commands:
        steps = FEW_STEPS if words[1] in ("train", "fit") else ()
        done(*words, *steps, KITTI_ROOT=str(root), STACKDEPTH_CACHE=str(cache))
    return cache / "runs" / "kitti-streets-tiny" / "meta-rgb+d"


@pytest.mark.slow
def test_the_commands_for_kitti_do_the_whole_job_on_streets(tmp_path: Path):
    streets = tmp_path / "streets"
    done("data", "rooms", streets, "--outdoor", "--scenes", "5", "--test-scenes", "2", "--frames", "1")
    folder = whole_job(streets, tmp_path / "cache")
    scores = read_scores(folder / "scores.json")
    assert [scores.protocol[key] for key in ("crop", "max_depth", "size")] == ["garg", 80.0, [352, 1216]]
    assert {row.images for row in scores.rows} == {2}
    compared = read_protocols(folder / "protocols.json")
    assert list(compared.protocols) == [OURS, "kitti-bts", "kitti-adabins", "kitti-monodepth2"]
    rel = {
        name: {row.name: row.scores["abs_rel"] for row in each.scores.rows} for name, each in compared.protocols.items()
    }
    assert rel["kitti-bts"] == rel[OURS]
    assert len({rel[name]["mean"] for name in (OURS, "kitti-adabins", "kitti-monodepth2")}) == 3
    assert compared.server["mean"]["absolute_relative"] == pytest.approx(100 * rel[OURS]["mean"], rel=0.5)
    heading = "| SILog ↓ | sqErrorRel, % ↓ | absErrorRel, % ↓ | iRMSE, 1/km ↓ |"
    assert heading in (folder / "protocols.md").read_text(encoding="utf-8")
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "NYU Depth v2 alone" in page
    assert "stack rgb, fine-tuned" not in page
    assert "48 to 80 m" in page


@pytest.mark.slow
@pytest.mark.parametrize("merged", [False, pytest.param(True, marks=pytest.mark.long)], ids=["train-and-val", "merged"])
def test_the_commands_for_kitti_do_the_whole_job_on_a_miniature(tmp_path: Path, merged: bool):
    root = write_kitti(tmp_path / "kitti", merged=merged)
    seen = done("data", "doctor", root, "--data", "kitti").out
    assert ("merged" in seen) is merged
    folder = whole_job(root, tmp_path / "cache")
    scores = read_scores(folder / "scores.json")
    assert {row.images for row in scores.rows} == {2}  # of three that the list names: one has no depth
    assert scores.protocol["size"] == [352, 1216]  # five dates of five sizes
    assert list(read_protocols(folder / "protocols.json").protocols)[1:] == [
        "kitti-bts",
        "kitti-adabins",
        "kitti-monodepth2",
    ]
    assert "stack rgb+d" in (folder / "report.html").read_text(encoding="utf-8")
