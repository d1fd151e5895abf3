"""Times of many images: which rows there are, that their figures belong together, and what is refused."""

import json

import pytest
import torch
from torch import nn
from typer.testing import CliRunner

from ensemble.base import app
from ensemble.report.tables.costs import speed_table
from ensemble.settings.layers import config_folder
from ensemble.settings.names import known_learners
from ensemble.training.speed import UNTIMED, image_seconds, speed_rows

TINY = config_folder() / "experiments" / "rooms_tiny.yaml"


def test_every_learner_student_and_stack_has_a_row():
    words = ["profile", "--images", "2", "--size", "48x64", "--config", str(TINY), "--json"]
    found = CliRunner().invoke(app, words)
    assert found.exit_code == 0, found.output
    rows = {row["learner"]: row for row in json.loads(found.stdout[found.stdout.index("[") :])}
    assert list(rows) == [*known_learners(), "meta-d", "meta-rgb+d", "stack-rgb+d"]
    for row in rows.values():
        assert (row["images"], row["size"]) == (2, [48, 64])
        assert row["frames_per_second"] == pytest.approx(1e3 / row["milliseconds"])
        assert row["deviation"] >= 0
    parts = [rows[name] for name in ("adabins", "bts", "ldrn", "meta-rgb+d")]
    for figure in ("parameters", "mul_adds", "milliseconds"):
        assert rows["stack-rgb+d"][figure] == pytest.approx(sum(part[figure] for part in parts))


class Counting(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[torch.Tensor] = []

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        self.seen.append(image.clone())
        return image


def test_every_image_is_another_one_and_the_first_are_not_timed():
    network = Counting()
    seconds = image_seconds(network, (4, 6), images=5, device="cpu")
    assert len(seconds) == 5
    assert len(network.seen) == UNTIMED + 5
    assert all(image.shape == (1, 3, 4, 6) for image in network.seen)
    assert len({image.sum().item() for image in network.seen}) == len(network.seen)


def test_one_learner_and_its_table():
    (row,) = speed_rows("dpt", (48, 64), images=3, device="cpu", config=TINY)
    table = speed_table([row])
    assert [cell.text for cell in table.rows[0].cells][:2] == ["DPT", f"{row.parameters:,}"]
    assert table.rows[0].cells[-1].text == f"{1e3 / row.milliseconds:.2f}"
    assert "3 random images of 48x64" in table.caption
    assert row.megabytes == pytest.approx(4e-6 * row.parameters)


def test_one_image_has_no_deviation():
    with pytest.raises(ValueError, match="--images 1: expected at least 2"):
        speed_rows("dpt", (48, 64), images=1, device="cpu", config=TINY)
