"""Scores of a frame do not depend on how many rows are scored at once."""

import numpy as np
import pytest
import torch

from ensemble.data.source import Frame, RawFrame
from ensemble.evaluation import scoring
from ensemble.evaluation.scoring import ScoreTable
from ensemble.metrics.protocols import EvalProtocol

SIZE = (48, 64)


@pytest.mark.parametrize("averaging", ["image", "pixel"])
def test_rows_are_scored_alike_alone_and_together(monkeypatch: pytest.MonkeyPatch, averaging: str):
    protocol = EvalProtocol(
        split="test",
        test="held-out",
        crop="eigen",
        min_depth=1e-3,
        max_depth=8.0,
        flip_averaging=True,
        averaging=averaging,
        size=SIZE,
    )
    rng = np.random.default_rng(0)
    truth = rng.uniform(1, 9, SIZE).astype(np.float32)
    maps = torch.from_numpy(rng.uniform(0.5, 9.5, (7, 1, 1, *SIZE)).astype(np.float32))
    holes = [rng.random(SIZE) < share for share in (0.0, 0.5, 0.9)]
    raws = [RawFrame(np.zeros((*SIZE, 3), dtype=np.uint8), truth, valid) for valid in holes]
    found = []
    for rows in (1, 3, 100):
        monkeypatch.setattr(scoring, "PIXELS_TOGETHER", rows * SIZE[0] * SIZE[1])
        table = ScoreTable(protocol)
        for index, raw in enumerate(raws):
            table.add(Frame(f"a/{index}", "a", "test"), raw, {(f"row {k // 2}", k % 2): maps[k] for k in range(7)})
        found.append((table.images, {name: table.mean(name, "rmse") for name in ("row 0", "row 3")}))
    assert len(found[0][0]) == 3 * 7
    assert found[0] == found[1] == found[2]
