"""A new learner is one file, one line and one YAML: the steps of CONTRIBUTING.md, taken in a copy of the package."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from command_lines import Job

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[3]
MOST_STEPS = 6

NETWORK = '''"""Toy: every feature of the encoder votes for the logarithm of depth. Source: nobody's paper."""

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor, nn

from base_learners.blocks import upsample_to
from base_learners.contract import DepthPrediction, DepthTarget, ValidMask
from base_learners.losses import resize_like, scale_invariant_log_loss


class Toy(nn.Module):
    """One vote per feature, added up at the size of the image."""

    def __init__(self, encoder: nn.Module, *, max_depth: float = 10.0, sharpness: float = 1.0) -> None:
        super().__init__()
        self.encoder, self.max_depth, self.sharpness = encoder, max_depth, sharpness
        self.votes = nn.ModuleList(nn.Conv2d(channels, 1, 1) for channels in (3, *encoder.channels))

    def forward(self, image: Float[Tensor, "b 3 h w"]) -> DepthPrediction:
        """Depth at the image's size."""
        features = (image, *self.encoder(image))
        votes = (vote(feature) for vote, feature in zip(self.votes, features, strict=True))
        total = 0.1 * sum(upsample_to(each, image) for each in votes)
        return DepthPrediction((self.max_depth * torch.sigmoid(self.sharpness * total.float())).clamp(min=1e-3))


def toy_loss(
    prediction: DepthPrediction, target: DepthTarget, valid: ValidMask, *, scale: float = 10.0
) -> Mapping[str, Tensor]:
    """Scale-invariant log error."""
    return {"silog": scale_invariant_log_loss(resize_like(prediction.depth, target), target, valid, scale=scale)}
'''
YAML = "network:\n  sharpness: 1.0\nloss:\n  scale: 10.0\ntraining:\n  lr: 1.0e-3\n"
DRIVER = """
import json, sys
from pathlib import Path
import pytest
tests, config, cache, out = sys.argv[1:]
chosen = ("-k", "toy and not mobilenetv2")
contract = pytest.main(["-q", "-p", "no:cacheprovider", *chosen, "tests/base_learners/test_every_learner.py"])
sys.path.insert(0, tests)
from command_lines import done
import base_learners
from ensemble.settings.layers import Choice, stack_settings
given = ("--config", config, "--cache-dir", cache)
done("base", "train", "toy", "--folds", 2, *given)
for role in ("oof", "validation", "test"):
    done("base", "cache", "toy", "--role", role, *given)
done("meta", "fit", "--inputs", "d", "--learners", "bts,toy", *given)
scores = done("meta", "evaluate", "meta-d-bts-toy", "--json", "--cache-dir", cache)
helps = [done(*words, "--help").out for words in (("base",), ("base", "train"))]
default = stack_settings("d", Choice(config=Path(config))).learners
found = {"package": base_learners.__file__, "contract": int(contract), "scores": json.loads(scores.out)}
found |= {"helps": helps, "default": default}
Path(out).write_text(json.dumps(found), encoding="utf-8")
"""


def steps_of_contributing() -> list[str]:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    section = re.split(r"^## ", text.partition("## A new learner")[2], flags=re.MULTILINE)[0]
    return re.findall(r"^\d+\. (.*?)(?=^\d+\. |\Z)", section, flags=re.MULTILINE | re.DOTALL)


def test_a_new_learner_takes_at_most_six_steps():
    steps = steps_of_contributing()
    assert 3 <= len(steps) <= MOST_STEPS
    for wanted in ("`base_learners/<name>.py`", "`LEARNERS`", "`configs/base/<name>.yaml`", "base train <name>"):
        assert sum(wanted in step for step in steps) >= 1, wanted


@pytest.fixture(scope="module")
def found(job: Job, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the package says after its learner was added and nothing else was changed."""
    folder = tmp_path_factory.mktemp("toy")
    copy = folder / "package"
    for name in ("base_learners", "meta", "ensemble", "configs", "tests/base_learners"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__", ".*"))
    for name in ("pyproject.toml", "tests/conftest.py", "tests/rooms_once.py"):
        shutil.copy(ROOT / name, copy / name)
    (copy / "base_learners/toy.py").write_text(NETWORK, encoding="utf-8")
    (copy / "configs/base/toy.yaml").write_text(YAML, encoding="utf-8")
    registry = copy / "base_learners/__init__.py"
    text = registry.read_text(encoding="utf-8")
    lines = "from base_learners.ldrn import LDRN, ldrn_loss\n", "    for learner in (\n"
    assert all(text.count(line) == 1 for line in lines)
    text = text.replace(lines[0], f"{lines[0]}from base_learners.toy import Toy, toy_loss\n")
    text = text.replace(lines[1], f'{lines[1]}        BaseLearner("toy", "Toy", Toy, toy_loss),\n')
    registry.write_text(text, encoding="utf-8")

    environment = {name: value for name, value in os.environ.items() if name not in ("NYU_ROOT", "STACKDEPTH_CACHE")}
    out = folder / "found.json"
    words = (Path(__file__).parents[1], job.config, job.copy_to(folder), out)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", DRIVER, *map(str, words)],
        cwd=copy,
        env={**environment, "PYTHONPATH": str(copy), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    answer = json.loads(out.read_text(encoding="utf-8"))
    assert answer["package"] == str(copy / "base_learners/__init__.py"), "it is the copy that was run"
    return {**answer, "cache": words[2], "said": done.stdout}


def test_the_contract_test_runs_for_it_by_itself(found: dict[str, Any]):
    assert found["contract"] == 0, found["said"]
    passed = re.search(r"(\d+) passed", found["said"])
    assert passed is not None
    assert int(passed.group(1)) >= 8


def test_helps_and_defaults_name_it_with_the_others(found: dict[str, Any]):
    for shown in found["helps"]:
        assert re.search(r"adabins,\s*bts,\s*ldrn,\s*toy", shown), shown
    assert found["default"] == ["adabins", "bts", "ldrn", "toy"]


def test_it_is_trained_cached_stacked_and_scored_like_the_others(found: dict[str, Any]):
    rows = {row["name"]: row for row in found["scores"]["rows"]}
    assert [name for name in rows if name in ("bts", "toy", "meta-d-bts-toy")] == ["bts", "toy", "meta-d-bts-toy"]
    assert rows["toy"]["title"] == "Toy"
    assert rows["toy"]["parameters"] > 0
    assert 0 < rows["toy"]["scores"]["abs_rel"] < 10
    assert rows["toy"]["scores"] != rows["bts"]["scores"]
    runs = found["cache"] / "runs/tiny/toy"
    assert sorted(path.name for path in runs.iterdir()) == ["fold-0", "fold-1", "full"]
    stores = {str(path.parent.relative_to(found["cache"])) for path in found["cache"].rglob("toy/*/*/*.h5")}
    assert {f"predictions/tiny/toy/{store}" for store in ("oof/fold-0", "oof/fold-1", "test/full")} <= stores
