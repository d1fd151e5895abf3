"""Where the hub of pretrained weights does not answer, trainings end with one message, before anything is written."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from command_lines import Job, contents

CHECKOUT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.parametrize("words", [("base", "train", "bts"), ("meta", "fit", "--inputs", "d", "--name", "offline")])
def test_a_training_from_pretrained_weights_is_refused_at_once(words: tuple[str, ...], job: Job, tmp_path: Path):
    tool, *rest = words
    cache = job.cache if tool == "meta" else tmp_path / "cache"
    before = contents(cache)
    given = ("--config", job.config, "--cache-dir", cache, "--set", "encoder.weights=imagenet")
    hub = {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HOME": str(tmp_path), "PYTHONPATH": str(CHECKOUT)}
    answer = subprocess.run(
        [sys.executable, "-m", f"ensemble.{tool}", *rest, *map(str, given)],
        env={**os.environ, **hub},
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 2, answer.stderr
    assert answer.stderr.splitlines()[-1].startswith(
        "error: encoder test_efficientnet: timm's ImageNet weights cannot be had: http://127.0.0.1:9 does not answer ("
    )
    assert answer.stderr.rstrip().endswith(
        "--set encoder.weights=FILE, or train without one with --set encoder.weights=none."
    )
    assert "Retry" not in answer.stderr
    assert contents(cache) == before
