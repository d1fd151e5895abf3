"""The whole way outdoors on generated streets: train, out-of-fold rows, stack, three protocols, and the page."""

from pathlib import Path

import pytest
from command_lines import done

from ensemble.evaluation.results.protocols import read_protocols
from ensemble.evaluation.results.scores import read_scores
from ensemble.metrics.published import OURS

FAST = ("--set", "training.max_steps=4", "--set", "meta.training.max_steps=4")


@pytest.mark.slow
def test_the_whole_way_on_streets(tmp_path: Path):
    streets, cache = tmp_path / "streets", ("--cache-dir", tmp_path / "cache")
    given = ("--config", "kitti_streets_tiny", "--root", streets, *cache)
    done("data", "rooms", streets, "--outdoor", "--scenes", "5", "--test-scenes", "2", "--frames", "1")
    for learner in ("adabins", "bts", "ldrn"):
        done("base", "train", learner, "--folds", "2", *given, *FAST[:2])
    done("base", "cache", "adabins", "bts", "ldrn", "--role", "oof", *given, *FAST[:2])
    done("meta", "fit", "--inputs", "rgb+d", *given, *FAST)
    done("meta", "evaluate", "meta-rgb+d", "--protocol", "all", *cache)
    done("report", "meta-rgb+d", *cache)
    folder = tmp_path / "cache" / "runs" / "kitti-streets-tiny" / "meta-rgb+d"
    scores = read_scores(folder / "scores.json")
    assert (scores.protocol["crop"], scores.protocol["max_depth"], scores.protocol["size"]) == (
        "garg",
        80.0,
        [352, 1216],
    )
    assert {row.images for row in scores.rows} == {2}
    compared = read_protocols(folder / "protocols.json").protocols
    assert list(compared) == [OURS, "kitti-bts", "kitti-adabins", "kitti-monodepth2"]
    rel = {name: {row.name: row.scores["abs_rel"] for row in each.scores.rows} for name, each in compared.items()}
    assert rel["kitti-bts"] == rel[OURS]
    assert rel["kitti-adabins"]["mean"] != rel[OURS]["mean"]
    assert rel["kitti-monodepth2"]["mean"] != rel[OURS]["mean"]
    server = read_protocols(folder / "protocols.json").server
    assert server["mean"]["absolute_relative"] == pytest.approx(100 * rel[OURS]["mean"], rel=0.5)
    assert "| SILog ↓ | sqErrorRel, % ↓ | absErrorRel, % ↓ | iRMSE, 1/km ↓ |" in (folder / "protocols.md").read_text()
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "NYU Depth v2 alone" in page
    assert "stack rgb, fine-tuned" not in page
    assert "48 to 80 m" in page
