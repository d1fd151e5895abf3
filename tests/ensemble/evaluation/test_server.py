"""KITTI's server: every measured pixel of a frame counts, and only of the first of repeated fits."""

import numpy as np
import pytest
import torch

from ensemble.data.source import RawFrame
from ensemble.evaluation.server import ServerScores


def frame(depth: list[float]) -> RawFrame:
    metres = np.array([depth], np.float32)
    return RawFrame(np.zeros((1, len(depth), 3), np.uint8), metres, metres > 0)


def test_means_over_images_of_the_first_fit():
    server = ServerScores()
    for truth in ([10.0, 0.0, 100.0], [20.0, 20.0, 20.0], [0.0, 0.0, 0.0]):
        predicted = torch.tensor([[[[11.0, 0.0, 100.0]]]])
        server.add(frame(truth), {("mean", 0): predicted, ("mean", 1): 2 * predicted}, nearest=1e-3)
    found = server.compute()["mean"]
    second = [11 / 20, 1e-3 / 20, 5.0]
    assert found["absolute_relative"] == pytest.approx(
        100 * np.mean([0.05, np.mean(np.abs(np.array(second) - 1))]), rel=1e-6
    )
    first = np.sqrt(np.mean([(1000 / 11 - 1000 / 10) ** 2, 0]))
    inverse = np.sqrt(np.mean([(1000 / 11 - 50) ** 2, (1e6 - 50) ** 2, (10 - 50) ** 2]))
    assert found["irmse_per_km"] == pytest.approx(np.mean([first, inverse]), rel=1e-5)
