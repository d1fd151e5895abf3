"""What happens without a network, and that nothing of this machine is kept for others."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from command_lines import Job, contents

from base_learners.encoders.weights import WAY_OUT

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
    assert answer.stderr.rstrip().endswith(WAY_OUT)
    assert "Retry" not in answer.stderr
    assert contents(cache) == before


def test_the_runtime_of_exported_files_writes_nothing_into_the_home_folder(tmp_path: Path):
    pytest.importorskip("onnxruntime")
    kept = {
        name: value for name, value in os.environ.items() if name not in ("XDG_CACHE_HOME", "ORT_DISABLE_TELEMETRY")
    }
    subprocess.run(
        [sys.executable, "-c", "import ensemble.deploy.runtime.sessions, onnxruntime"],
        env={**kept, "HOME": str(tmp_path), "PYTHONPATH": str(CHECKOUT)},
        check=True,
    )
    assert not contents(tmp_path)
