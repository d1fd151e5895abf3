"""Pictures: colours that mean what the legend says, and files that give back the same metres."""

import re

import numpy as np
import pytest
from PIL import Image

from ensemble.evaluation.results.gallery import GridRow
from ensemble.report.drawing.colours import (
    INVALID,
    depth_colours,
    depth_limits,
    depth_scale,
    error_colours,
    thickened,
    weight_colours,
    weight_spread,
)
from ensemble.report.drawing.picture_grid import _broken, picture_grid, relative_error
from ensemble.report.drawing.pictures import draw_prediction, learning_rate_curve, save_depth_png

LEARNERS = ("adabins", "bts", "ldrn")


def array(*values) -> np.ndarray:
    return np.array([values], dtype=np.float32)


def lightness(colours) -> np.ndarray:
    return colours.astype(float) @ [0.2126, 0.7152, 0.0722]


def grid_row(h=24, w=32, learners=3, frame="group_031/rgb_00412", seed=0) -> GridRow:
    generator = np.random.default_rng(seed)
    truth = np.linspace(1, 5, h * w, dtype=np.float32).reshape(h, w)
    depths = truth * generator.uniform(0.8, 1.2, (learners, h, w)).astype(np.float32)
    weights = generator.dirichlet(np.ones(learners), (h, w)).transpose(2, 0, 1).astype(np.float32)
    valid = np.ones((h, w), dtype=bool)
    valid[:3] = False
    image = generator.integers(0, 256, (h, w, 3), dtype=np.uint8)
    return GridRow(frame, image, truth, valid, depths, weights, (weights * depths).sum(axis=0))


def test_near_is_bright_far_is_dark_and_evenly_so_in_ratios():
    colours = depth_colours(array(1.0, 2.0, 4.0, 8.0, 16.0), 1.0, 16.0)
    assert colours.dtype == np.uint8
    steps = np.diff(lightness(colours)[0])
    assert (steps < 0).all()
    assert np.array_equal(depth_colours(array(0.5, 99.0), 1.0, 16.0)[0], colours[0, [0, -1]])


@pytest.mark.parametrize("hole", [0.0, -1.0, np.nan, np.inf])
def test_pixels_without_depth_are_grey(hole):
    assert tuple(depth_colours(array(1.0, hole), 1.0, 2.0)[0, 1]) == INVALID


def test_invalid_pixels_are_grey_whatever_they_hold():
    valid = np.array([[True, False, False]])
    colours = depth_colours(array(1.5, 1.5, np.nan), 1.0, 2.0, valid=valid)
    assert tuple(colours[0, 0]) != INVALID
    assert (colours[0, 1:] == INVALID).all()
    errors = error_colours(array(1.0, 1.0, 1.0), array(1.0, 2.0, np.nan), valid, largest=1.0)
    assert tuple(errors[0, 0]) != INVALID
    assert (errors[0, 1:] == INVALID).all()


def test_errors_darken_and_saturate():
    truth = array(3.0, 3.0, 3.0, 3.0)
    colours = error_colours(array(3.0, 3.25, 2.5, 9.0), truth, truth > 0, largest=0.5)
    assert (np.diff(lightness(colours)[0, :3]) < 0).all()
    assert np.array_equal(colours[0, 2], colours[0, 3])


def test_a_prediction_that_is_not_finite_is_not_shown_as_right():
    assert tuple(error_colours(array(np.nan), array(1.0), np.array([[True]]), largest=1.0)[0, 0]) == INVALID


@pytest.mark.parametrize("learners", [1, 2, 3, 5])
def test_the_weight_of_the_plain_mean_is_near_white(learners):
    share = 1 / learners
    below, equal, above = weight_colours(array(share - 0.1, share, share + 0.1), learners, 0.1)[0].astype(int)
    assert equal.min() > 240
    assert below[2] > below[1]  # purple
    assert above[0] > above[2]  # orange


def test_scales_follow_the_values_but_never_magnify_noise():
    assert weight_spread(np.full((3, 4, 4), 1 / 3)) == 0.02
    assert weight_spread(np.stack([np.full((4, 4), 0.8), np.full((4, 4), 0.2)])) == pytest.approx(0.3)
    assert depth_limits(np.full(100, 2.0)) == (2.0, pytest.approx(2.1))
    assert depth_limits(np.linspace(1, 2, 101)) == (pytest.approx(1.01), pytest.approx(1.99))
    assert depth_limits(np.zeros(10))[0] == 0.01


@pytest.mark.parametrize(("near", "far"), [(0.0, 1.0), (2.0, 2.0), (3.0, 1.0), (float("nan"), 1.0)])
def test_a_scale_needs_a_positive_range(near, far):
    with pytest.raises(ValueError, match="expected 0 < near < far"):
        depth_scale(near, far)


def test_depth_png_holds_exact_millimetres(tmp_path):
    millimetres = np.array([[0, 1, 1234, 9995, 65535]])
    path = save_depth_png(tmp_path / "kitchen.1", (millimetres / 1000).astype(np.float32))
    assert path == tmp_path / "kitchen.1_depth_mm.png"
    with Image.open(path) as picture:
        assert picture.mode == "I;16"
        found = np.asarray(picture)
    assert found.dtype == np.uint16
    assert np.array_equal(found, millimetres)


def test_depth_png_beyond_the_reach_of_millimetres_holds_kittis_steps(tmp_path):
    steps = np.array([[0, 1, 1234, 20480, 65535]])
    path = save_depth_png(tmp_path / "street", (steps / 256).astype(np.float32))
    assert path == tmp_path / "street_depth_kitti.png"
    with Image.open(path) as picture:
        assert np.array_equal(np.asarray(picture), steps)


@pytest.mark.parametrize(
    ("bad", "most"), [(-0.001, "65.535"), (np.nan, "65.535"), (np.inf, "255.996"), (256.1, "255.996")]
)
def test_depth_that_does_not_fit_into_16_bits_is_refused_and_nothing_is_written(tmp_path, bad, most):
    with pytest.raises(ValueError, match=rf"png: 1 of 2 depths .*expected 0 \.\. {re.escape(most)} m"):
        save_depth_png(tmp_path / "depth", array(1.0, bad))
    assert list(tmp_path.iterdir()) == []


def test_pictures_draw_a_sparse_truth_thicker_and_a_dense_one_as_it_is():
    truth, valid = np.zeros((9, 12), np.float32), np.zeros((9, 12), bool)
    truth[4, 4], truth[4, 6], valid[4, 4:7:2] = 30.0, 5.0, True
    shown, known = thickened(truth, valid)
    assert known.sum() == 15
    assert known[3:6, 3:8].all()
    assert (shown[4, 4], shown[4, 5], shown[4, 6], shown[3, 3]) == (30.0, 5.0, 5.0, 30.0)
    assert not thickened(truth, np.zeros_like(valid))[1].any()
    dense = np.ones_like(valid)
    dense[0] = False
    assert np.array_equal(thickened(truth, dense)[1], dense)


def test_long_ids_are_broken_where_they_would_stand_on_pictures():
    assert _broken("group_031/rgb_00412") == ["group_031/", "rgb_00412"]
    lines = _broken("2011_09_26_drive_9500_sync/image_02/0000000005")
    assert lines == ["2011_09_26_drive_", "9500_sync/", "image_02/", "0000000005"]
    assert max(map(len, _broken("x" * 50))) <= 20
    assert "".join(_broken("x" * 50)) == "x" * 50


def test_pictures_of_a_prediction(tmp_path):
    row = grid_row()
    expected = np.linspace(0.1, 0.9, row.stack.size, dtype=np.float32).reshape(row.stack.shape)
    place = tmp_path / "new" / "kitchen.1"
    assert len(draw_prediction(place, row.image, row.stack, row.weights, LEARNERS, None)) == 2
    paths = draw_prediction(place, row.image, row.stack, row.weights, LEARNERS, expected)
    names = ["kitchen.1_depth_colour.png", "kitchen.1_weights.png", "kitchen.1_error_colour.png"]
    assert [path.name for path in paths] == names
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == sorted(names)
    with Image.open(paths[0]) as two, Image.open(paths[1]) as three, Image.open(paths[2]) as error:
        assert three.width / two.width == pytest.approx(1.5, rel=0.02)
        assert three.height == two.height
        assert error.size == two.size
        assert len(np.unique(np.asarray(error.convert("RGB")).reshape(-1, 3), axis=0)) > 50


def test_prediction_names_every_learner(tmp_path):
    row = grid_row()
    with pytest.raises(ValueError, match="found 3 weight maps for the learners adabins, bts"):
        draw_prediction(tmp_path / "a", row.image, row.stack, row.weights, LEARNERS[:2], None)


def test_relative_error_reads_valid_pixels_only():
    truth = array(1.0, 2.0, np.nan)
    valid = np.array([[True, True, False]])
    depths = np.stack([array(1.5, 2.0, 7.0)])
    row = GridRow("f", np.zeros((1, 3, 3), np.uint8), truth, valid, depths, np.ones_like(depths), depths[0])
    assert relative_error(row, row.stack) == pytest.approx(0.25)
    nowhere = GridRow("f", row.image, truth, np.zeros_like(valid), depths, row.weights, row.stack)
    assert np.isnan(relative_error(nowhere, row.stack))


def test_grid_grows_with_frames_and_learners(tmp_path):
    sizes = {}
    for frames, learners in [(1, 3), (2, 3), (1, 2)]:
        path = tmp_path / f"{frames}-{learners}.png"
        picture_grid([grid_row(learners=learners, seed=i) for i in range(frames)], path, LEARNERS[:learners])
        with Image.open(path) as picture:
            sizes[frames, learners] = picture.size
    panel = 150 * 1.35
    assert sizes[2, 3][0] == sizes[1, 3][0]
    assert sizes[2, 3][1] - sizes[1, 3][1] == pytest.approx(panel * 24 / 32, abs=10)
    assert sizes[1, 3][0] - sizes[1, 2][0] == pytest.approx(2 * panel, abs=15)


def test_panels_stand_in_the_grid_in_their_colours(tmp_path):
    row = grid_row()
    flat = np.full_like(row.truth, 2.0)
    constant = GridRow(
        frame="f",
        image=np.full_like(row.image, (10, 200, 30)),
        truth=flat,
        valid=np.zeros_like(row.valid),
        depths=np.stack([flat] * 3),
        weights=np.full_like(row.weights, 1 / 3),
        stack=flat,
    )
    picture_grid([constant], tmp_path / "grid.png", LEARNERS)
    with Image.open(tmp_path / "grid.png") as picture:
        pixels = np.asarray(picture.convert("RGB")).reshape(-1, 3)
    panel = (150 * 1.35) * (150 * 1.35 * 24 / 32)
    assert (pixels == (10, 200, 30)).all(axis=1).sum() == pytest.approx(panel, rel=0.03)
    near = depth_colours(flat, 2.0, 2.1)[0, 0]
    assert (pixels == near).all(axis=1).sum() == pytest.approx(4 * panel, rel=0.03)
    assert (pixels == INVALID).all(axis=1).sum() == pytest.approx(3 * panel, rel=0.03)


def test_one_learner_and_equal_weights_can_be_drawn(tmp_path):
    picture_grid([grid_row(learners=1)], tmp_path / "grid.png", ["bts"])
    assert (tmp_path / "grid.png").stat().st_size > 0


def test_grid_refuses_what_does_not_fit_together(tmp_path):
    path = tmp_path / "grid.png"
    with pytest.raises(ValueError, match="found no frame"):
        picture_grid([], path, LEARNERS)
    with pytest.raises(ValueError, match=r"group_031/rgb_00412 has 3 depths and 3 weight maps .* adabins, bts$"):
        picture_grid([grid_row()], path, LEARNERS[:2])
    with pytest.raises(ValueError, match="frame other differs in size from 24x32"):
        picture_grid([grid_row(), grid_row(h=20, frame="other")], path, LEARNERS)
    assert not path.exists()


@pytest.mark.parametrize("suggestion", [None, 1e-3])
def test_learning_rate_curve_is_drawn_past_a_loss_that_exploded(tmp_path, suggestion):
    rates = np.geomspace(1e-6, 1, 20)
    losses = [*np.linspace(3, 1, 17), 1e30, np.inf, np.nan]
    learning_rate_curve(tmp_path / "curve.png", rates, losses, suggestion)
    with Image.open(tmp_path / "curve.png") as picture:
        assert picture.size == (900, 540)
        red = (np.asarray(picture.convert("RGB")) == (214, 39, 40)).all(axis=2).sum()
    assert (red > 100) == (suggestion is not None)


@pytest.mark.parametrize(("rates", "losses"), [([1e-3], [1.0, 2.0]), ([1e-3, 1e-2], [np.nan, np.inf]), ([], [])])
def test_learning_rate_curve_needs_a_finite_loss_per_rate(tmp_path, rates, losses):
    with pytest.raises(ValueError, match="range test: found"):
        learning_rate_curve(tmp_path / "curve.png", rates, losses, None)
