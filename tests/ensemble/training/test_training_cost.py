"""Costs of networks against numbers computed by hand."""

import json

import pytest
import torch
from rich.console import Console
from torch import nn

from ensemble.metrics.study import Published
from ensemble.report.tables.costs import profile_table
from ensemble.tables.terminal import TerminalTable
from ensemble.training.cost import (
    META_PUBLISHED,
    Profile,
    ProfileRow,
    count_mul_adds,
    count_parameters,
    profile_json,
    profile_network,
)


class Tokens(nn.Module):
    """Feeds the pixels of a map as tokens to a layer that takes (b, n, d)."""

    def __init__(self, layer: nn.Module, *, copies: int = 1):
        super().__init__()
        self.layer = layer
        self.copies = copies

    def forward(self, image):
        tokens = image.flatten(2).transpose(1, 2)
        return self.layer(*[tokens] * self.copies)


def profile(**changes) -> Profile:
    values = {
        "size": (480, 640),
        "device": "cpu",
        "channels_last": False,
        "repeats": 5,
        "parameters": 17_553_668,
        "megabytes": 70.214672,
        "mul_adds": 14_300_000_000,
        "milliseconds": 800.0,
        "frames_per_second": 1.25,
    }
    return Profile(**(values | changes))


ADABINS = ProfileRow("adabins", "AdaBins", profile(), 9_187_200_000, Published(17_553_668, 9.57e9, 15.94, {}))


def rendered(rows, width=100) -> str:
    console = Console(width=width, record=True, file=open("/dev/null", "w"))  # noqa: PTH123, SIM115
    with console.file:
        console.print(TerminalTable(profile_table(rows)))
        return console.export_text()


@pytest.mark.parametrize(
    ("module", "channels", "size", "expected"),
    [
        pytest.param(nn.Conv2d(3, 8, 3, padding=1), 3, (10, 10), 8 * 3 * 9 * 100, id="dense"),
        pytest.param(nn.Conv2d(3, 8, 3, stride=2, padding=1), 3, (10, 14), 8 * 3 * 9 * 5 * 7, id="strided"),
        pytest.param(nn.Conv2d(8, 8, 3, padding=1, groups=8), 8, (10, 10), 8 * 9 * 100, id="depthwise"),
        pytest.param(nn.Conv2d(8, 8, 3, padding=2, dilation=2), 8, (6, 6), 64 * 9 * 36, id="dilated"),
        pytest.param(Tokens(nn.Linear(16, 5)), 16, (4, 5), 20 * 16 * 5, id="linear"),
        pytest.param(
            # three projections in, one out; query-key and weight-value products
            Tokens(nn.MultiheadAttention(16, 4, batch_first=True), copies=3),
            16,
            (4, 5),
            4 * 20 * 16 * 16 + 2 * 20 * 20 * 16,
            id="attention",
        ),
        pytest.param(
            Tokens(nn.TransformerEncoderLayer(16, 4, dim_feedforward=32, batch_first=True)),
            16,
            (4, 5),
            4 * 20 * 16 * 16 + 2 * 20 * 20 * 16 + 2 * 20 * 16 * 32,
            id="transformer layer",
        ),
    ],
)
def test_mul_adds_equal_the_count_by_hand(module, channels, size, expected):
    assert count_mul_adds(module, size, channels=channels) == expected


def test_counting_leaves_modes_and_the_fused_attention_switch_as_they_were():
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
    network.train()
    network[1].eval()
    mean = network[1].running_mean.clone()
    assert torch.backends.mha.get_fastpath_enabled()
    count_mul_adds(network, (4, 4))
    assert network.training
    assert network[0].training
    assert not network[1].training
    assert torch.equal(network[1].running_mean, mean)
    assert torch.backends.mha.get_fastpath_enabled()


def test_shared_parameters_count_once():
    layer = nn.Linear(4, 4)
    assert count_parameters(nn.Sequential(layer, layer, nn.Linear(4, 1, bias=False))) == 24


@pytest.mark.parametrize("channels_last", [False, True])
def test_profile_of_a_small_network(channels_last):
    network = nn.Sequential(nn.Conv2d(6, 8, 3, padding=1), nn.BatchNorm2d(8), nn.Conv2d(8, 1, 1))
    network.train()
    found = profile_network(network, (10, 12), device="cpu", channels=6, repeats=3, channels_last=channels_last)
    assert found.parameters == 6 * 8 * 9 + 8 + 16 + 8 + 1
    assert found.megabytes == pytest.approx(4e-6 * found.parameters)
    assert found.mul_adds == 120 * (6 * 8 * 9 + 8)
    assert found.milliseconds > 0
    assert found.frames_per_second == pytest.approx(1e3 / found.milliseconds)
    assert (found.size, found.device, found.repeats, found.channels_last) == ((10, 12), "cpu", 3, channels_last)
    assert network.training
    assert network[1].num_batches_tracked == 0
    assert network[0].weight.is_contiguous()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"repeats": 0}, "found repeats 0"),
        ({"channels": 0}, "channels 0"),
        ({"size": (0, 8)}, "found size 0x8"),
    ],
)
def test_bad_arguments_are_named(changes, message):
    arguments = {"size": (8, 8), "device": "cpu", "repeats": 1, "channels": 3} | changes
    with pytest.raises(ValueError, match=message):
        profile_network(nn.Conv2d(3, 1, 1), arguments.pop("size"), **arguments)


def test_table_shows_ours_above_the_published_row():
    text = rendered([ADABINS, ProfileRow("mine", "Mine", profile(parameters=1_000), None, None)])
    assert text.count("17,553,668") == 2
    assert "9.19 (-4.0 %)" in text
    assert "9.57" in text
    assert "15.94" in text
    assert "14.30" in text
    assert "torch.utils.flop_counter" in text.replace("\n", " ")
    assert text.index("AdaBins") < text.index("published") < text.index("Mine")
    assert text.count("  published") == 1


def test_table_fits_eighty_columns():
    meta = ProfileRow("meta-rgb+d", "Meta-learner rgb+d", profile(), 1_600_000_000, META_PUBLISHED["rgb+d"])
    text = rendered([ADABINS, meta], width=80)
    assert "…" not in text
    assert "4,266,678" in text
    assert "17,553,668" in text


def test_networks_measured_at_two_sizes_tell_them_behind_their_names():
    text = rendered([ADABINS, ProfileRow("bts", "BTS", profile(size=(416, 544)))])
    assert "AdaBins, 480x640" in text
    assert "BTS, 416x544" in text
    assert "AdaBins, " not in rendered([ADABINS])


def test_json_has_the_promised_keys_and_plain_numbers():
    (row,) = json.loads(profile_json([ADABINS]))
    assert row["learner"] == "adabins"
    assert row["parameters"] == 17_553_668
    assert row["mul_adds"] == 14_300_000_000
    assert row["milliseconds"] == 800.0
    assert row["mul_adds_416x544"] == 9_187_200_000
    assert row["deviation_percent"] == pytest.approx(-4.0)
    assert row["published"] == {"parameters": 17_553_668, "mul_adds": 9.57e9, "frames_per_second": 15.94}


def test_deviation_needs_both_counts():
    assert ProfileRow("a", "A", profile(), None, Published(1, 1.0)).deviation_percent is None
    assert ProfileRow("a", "A", profile(), 3, None).deviation_percent is None
    assert ProfileRow("a", "A", profile(), 3, Published(1, 2.0)).deviation_percent == pytest.approx(50)
