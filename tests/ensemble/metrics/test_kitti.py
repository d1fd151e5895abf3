"""KITTI's crops in whole pixels, its three protocols, and the metrics of its server."""

from typing import Any

import numpy as np
import pytest
import torch

from ensemble.data.source import Frame, RawFrame
from ensemble.evaluation.scoring import ScoreTable
from ensemble.metrics.kitti import KB, SERVER_METRICS, Window, kb_corner, kitti_region
from ensemble.metrics.protocols import EvalProtocol, crop_region, prepare
from ensemble.metrics.published import OWN_SIZE, PROTOCOLS, chosen_protocols
from ensemble.settings.schema import DataSettings, KittiSettings

PIXELS = {
    (375, 1242): ((153, 44, 371, 1197), (124, 44, 342, 1197), (23, 13), (166, 56, 372, 1185)),
    (376, 1241): ((153, 44, 372, 1196), (124, 44, 343, 1196), (24, 12), (167, 55, 373, 1184)),
    (374, 1238): ((152, 44, 370, 1193), (124, 44, 341, 1193), (22, 11), (165, 54, 371, 1183)),
    (370, 1226): ((151, 44, 366, 1181), (122, 44, 337, 1181), (18, 5), (161, 48, 367, 1177)),
    (370, 1224): ((151, 43, 366, 1180), (122, 43, 337, 1180), (18, 4), (161, 47, 367, 1176)),
}
"""By height and width: Garg's crop, Eigen's, the corner of the KB crop, and Garg's crop of that in the whole frame."""


def ours(**rules: object) -> EvalProtocol:
    named = {"crop": "garg", "min_depth": 1e-3, "max_depth": 80.0, "flip_averaging": False, "size": OWN_SIZE}
    return EvalProtocol.model_validate({"split": "test", "test": "official", **named, **rules})


def maps(values: Any) -> torch.Tensor:
    return torch.from_numpy(np.asarray(values, dtype=np.float64))[None, None]


@pytest.mark.parametrize("size", PIXELS)
def test_crops_have_the_published_pixels_at_every_size(size: tuple[int, int]):
    garg, eigen, corner, garg_of_kb = PIXELS[size]
    assert kitti_region("garg", size) == garg
    assert kitti_region("eigen-kitti", size) == eigen
    assert kb_corner(size) == corner
    assert kitti_region("garg-kb", size) == garg_of_kb
    assert crop_region("garg", size) == garg


@pytest.mark.parametrize("size", PIXELS)
def test_of_a_kb_crop_the_same_pixels_are_scored_as_of_the_whole_frame(size: tuple[int, int]):
    window = Window(*kb_corner(size), size)
    for crop in ("garg", "garg-kb"):
        whole = torch.zeros(size)
        top, left, bottom, right = kitti_region(crop, size)
        whole[top:bottom, left:right] = 1
        cut = torch.zeros(KB)
        top, left, bottom, right = kitti_region(crop, KB, window)
        cut[top:bottom, left:right] = 1
        assert torch.equal(whole[window.top : window.top + KB[0], window.left : window.left + KB[1]], cut)
        assert whole.sum() == cut.sum()  # so no scored pixel lies outside of the KB crop


def test_a_frame_that_holds_no_kb_crop_is_refused():
    with pytest.raises(ValueError, match="expected a frame of at least 352x1216, found 351x1242"):
        kb_corner((351, 1242))


def test_a_window_that_lies_beside_the_crop_scores_nothing():
    truth = torch.full((1, 1, 20, 30), 5.0)
    scored = ours().at(Window(0, 0, (375, 1242))).mask(truth, torch.ones_like(truth, dtype=torch.bool))
    assert not scored.any()


def test_tables_score_each_frame_by_the_place_it_was_cut_from():
    generator = np.random.default_rng(0)
    table = ScoreTable(ours())
    by_hand = []
    for number, size in enumerate(PIXELS):
        depth = generator.uniform(2, 70, size).astype(np.float32)
        top, left = kb_corner(size)
        cut = np.ascontiguousarray(depth[top:, left : left + KB[1]])
        predicted = cut * generator.uniform(0.7, 1.4, KB).astype(np.float32)
        raw = RawFrame(np.zeros((*KB, 3), np.uint8), cut, cut > 0, None, Window(top, left, size))
        table.add(Frame(str(number), str(number), "test"), raw, {("a", 0): torch.from_numpy(predicted)[None, None]})
        whole = np.zeros(size, np.float32)
        whole[top:, left : left + KB[1]] = predicted  # put back into a frame of zeros, as BTS does
        rows, columns = slice(*PIXELS[size][0][::2]), slice(*PIXELS[size][0][1::2])
        error = np.abs(np.clip(whole, 1e-3, 80) - depth)[rows, columns] / depth[rows, columns]
        by_hand.append(error.mean(dtype=np.float64))
    assert table.mean("a", "abs_rel") == pytest.approx(np.mean(by_hand), rel=1e-6)
    assert "window" not in table.protocol.model_dump()


def test_median_scaling_forgives_the_scale_of_every_image():
    generator = np.random.default_rng(1)
    truth = torch.from_numpy(generator.uniform(2, 70, (2, 1, 375, 1242)))
    valid = torch.from_numpy(generator.random((2, 1, 375, 1242)) < 0.2)
    scales = torch.tensor([0.02, 7.0], dtype=torch.float64)[:, None, None, None]
    protocol = ours().under(PROTOCOLS["kitti-monodepth2"])
    predicted, *_ = prepare(truth * scales, truth, valid, protocol=protocol)
    torch.testing.assert_close(predicted, truth.clamp(1e-3, 80))
    unscaled, *_ = prepare(truth * scales, truth, valid, protocol=ours().under(PROTOCOLS["kitti-bts"]))
    assert not torch.allclose(unscaled, truth)
    none_valid, *_ = prepare(truth, truth, torch.zeros_like(valid), protocol=protocol)
    torch.testing.assert_close(none_valid, truth)


def test_rules_of_the_three_protocols_differ():
    rules = {name: ours().under(PROTOCOLS[name]) for name in PROTOCOLS if name.startswith("kitti")}
    assert {name: (rule.crop, rule.scaling, rule.max_depth) for name, rule in rules.items()} == {
        "kitti-bts": ("garg", "none", 80.0),
        "kitti-adabins": ("garg-kb", "none", 80.0),
        "kitti-monodepth2": ("garg", "median", 80.0),
    }


def test_all_stands_for_the_protocols_of_the_data():
    kitti, nyu = DataSettings(kind="kitti"), DataSettings(kind="nyu")
    assert chosen_protocols(("all",), kitti) == ("kitti-bts", "kitti-adabins", "kitti-monodepth2")
    assert not {*chosen_protocols(("all",), nyu)} & {*chosen_protocols(("all",), kitti)}
    assert chosen_protocols(("bts", "kitti-bts"), kitti) == ("bts", "kitti-bts")


def test_departures_say_what_rows_were_made_of():
    scans = DataSettings(kind="kitti", kitti=KittiSettings(depth="velodyne", crop="none"), size=(192, 640))
    rule, rows = PROTOCOLS["kitti-bts"], ours()
    told = " ".join(rows.departures_from(rule, scans))
    assert "published on annotated depth" in told
    assert "networks see the KB crop there; these rows are of whole frames" in told
    assert "all 352x1216 pixels there; these rows have 192x640" in told
    assert "defined for KITTI, scored here on NYU Depth v2" in " ".join(
        rows.departures_from(rule, DataSettings(kind="nyu"))
    )
    assert len(rows.departures_from(rule, DataSettings(kind="kitti"))) == len(rule.beyond)


def test_metrics_of_the_server_against_numpy():
    generator = np.random.default_rng(2)
    truth, predicted = generator.uniform(2, 80, (5, 7)), generator.uniform(2, 80, (5, 7))
    valid = generator.random((5, 7)) < 0.6
    target = np.where(valid, truth, np.nan)
    found = {
        name: float(metric(maps(predicted), maps(target), maps(valid).bool()))
        for name, metric in SERVER_METRICS.items()
    }
    p, t = predicted[valid], truth[valid]
    assert found == pytest.approx(
        {
            "silog_x100": 100 * np.std(np.log(p) - np.log(t)),
            "squared_relative": 100 * np.mean((p - t) ** 2 / t**2),
            "absolute_relative": 100 * np.mean(np.abs(p - t) / t),
            "irmse_per_km": np.sqrt(np.mean((1000 / p - 1000 / t) ** 2)),
        }
    )


def test_one_metre_more_at_ten_metres_is_known_by_hand():
    found = {
        name: float(metric(maps([[11.0, 11.0]]), maps([[10.0, 10.0]]), maps([[1, 1]]).bool()))
        for name, metric in SERVER_METRICS.items()
    }
    assert found == pytest.approx(
        {"silog_x100": 0.0, "squared_relative": 1.0, "absolute_relative": 10.0, "irmse_per_km": 1000 / 110}, abs=1e-12
    )
