"""The scale of images from rows: a planted one is found on new scenes, and noise is left alone."""

import numpy as np
import pytest
import torch

from ensemble.stacking.scale_correction import COMPONENTS, ROWS_PER_COMPONENT, ScaleRows, fit_scale


def rows_of(count: int, seed: int, *, planted: float) -> ScaleRows:
    """Images, two of a scene, whose scale goes with a statistic and a pooled feature, or with nothing."""
    rng = np.random.default_rng(seed)
    features, statistics = rng.normal(size=(count, 30)) * np.linspace(3, 0.1, 30), 5 + rng.normal(size=(count, 12))
    scale = 0.3 * planted * (statistics[:, 2] - 5) + 0.1 * planted * features[:, 0] / 3
    target = 0.07 + scale + 0.05 * rng.normal(size=count)
    return ScaleRows(features, statistics, target, [f"scene-{index // 2}" for index in range(count)])


def told(fitted: dict[str, torch.Tensor], rows: ScaleRows) -> np.ndarray:
    kept = {name: value.double().numpy() for name, value in fitted.items()}
    projected = (rows.features - kept["pooled_mean"]) @ kept["components"].T
    seen = (np.concatenate([projected, rows.statistics], axis=1) - kept["mean"]) / kept["deviation"]
    squared = np.square(seen[:, None] - kept["rows"][None]).sum(axis=2)
    return np.exp(-kept["gamma"] * squared) @ kept["dual"]


def test_a_planted_scale_is_found_on_scenes_that_were_not_seen():
    fitted, new = fit_scale(rows_of(300, 0, planted=1)), rows_of(200, 1, planted=1)
    wanted = new.target - 0.07
    assert 1 - np.square(wanted - told(fitted, new)).sum() / np.square(wanted).sum() > 0.7
    assert fitted["components"].shape == (min(30, COMPONENTS, 300 // ROWS_PER_COMPONENT), 30)


@pytest.mark.parametrize("seed", range(5))
def test_of_noise_little_or_nothing_is_learnt(seed: int):
    fitted, new = fit_scale(rows_of(200, seed, planted=0)), rows_of(200, 99, planted=0)
    assert np.abs(told(fitted, new)).max() < 0.05  # a shift of all images is no knowledge of images
    assert np.sqrt(np.mean(told(fitted, new) ** 2)) < 0.012


def test_without_a_second_scene_or_with_features_that_never_change_nothing_is_learnt():
    rows = rows_of(40, 0, planted=1)
    alone = fit_scale(ScaleRows(rows.features, rows.statistics, rows.target, ["one"] * 40))
    assert len(alone["dual"]) == len(alone["rows"]) == 0
    still = fit_scale(ScaleRows(np.ones((40, 30)), np.full((40, 12), 0.1), rows.target, rows.scenes))
    assert all(value.isfinite().all() for value in still.values())
