"""Recipes do to weights what they say, reports tell what masks hide, and what cannot be made is told."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from command_lines import Job, call, done
from torch import nn

from base_learners import LEARNERS
from base_learners.encoders.build import build_encoder
from ensemble.deploy.compression import report
from ensemble.deploy.compression.channels import without_channels
from ensemble.deploy.compression.measuring import timed_in_turn
from ensemble.deploy.compression.names import UNITS
from ensemble.deploy.compression.recipes import RECIPES, recipe_of, with_baselines
from ensemble.deploy.compression.tuning import RoundedValues, RoundedWeight, rounded_to_eight_bits
from ensemble.deploy.compression.weights import clustered, without_smallest
from ensemble.settings.trees import SettingsError


def test_the_smallest_weights_of_all_layers_together_become_zeros():
    layers = [np.array([[0.1, -4.0], [3.0, 0.2]], np.float32), np.array([[5.0, -0.05]], np.float32)]
    first, second = without_smallest(layers, 0.5)
    np.testing.assert_array_equal(first, np.array([[0, -4], [3, 0]], np.float32))
    np.testing.assert_array_equal(second, np.array([[5, 0]], np.float32))
    assert all(one is other for one, other in zip(without_smallest(layers, 0.0), layers, strict=True))


def test_clusters_are_the_means_of_what_lies_together():
    weight = np.array([[-1.0, -0.8, 0.9], [1.0, 1.1, -0.9]], np.float32)
    found = clustered(weight, 2)
    np.testing.assert_allclose(found, [[-0.9, -0.9, 1.0], [1.0, 1.0, -0.9]], atol=1e-6)
    assert found.dtype == np.float32


def test_weights_of_eight_bits_have_a_scale_for_every_channel():
    weight = torch.tensor([[[[1.27, 0.004]]], [[[0.0127, 0.0051]]]], requires_grad=True)
    found = RoundedWeight()(weight)
    torch.testing.assert_close(found, torch.tensor([[[[1.27, 0.0]]], [[[0.0127, 0.0051]]]]), rtol=0, atol=1e-6)
    found.sum().backward()
    torch.testing.assert_close(weight.grad, torch.ones_like(weight))


def test_values_of_eight_bits_have_255_steps_between_what_was_met():
    rounded = RoundedValues()
    found = rounded(torch.tensor([0.0, 0.4, 25.5]))
    torch.testing.assert_close(found, torch.tensor([0.0, 0.4, 25.5]), rtol=0, atol=1e-5)
    with torch.no_grad():
        again = rounded(torch.tensor([0.26, 30.0]))
    torch.testing.assert_close(again, torch.tensor([0.3, 25.5]), rtol=0, atol=1e-5)


def test_after_training_for_eight_bits_weights_are_rounded_but_the_last():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 1, 1))
    before = {name: values.clone() for name, values in network.state_dict().items()}
    with rounded_to_eight_bits(network):
        network(torch.rand(1, 3, 8, 8)).sum().backward()
    after = network.state_dict()
    assert set(after) == set(before)
    weight = after["0.weight"]
    steps = weight / (weight.abs().amax(dim=(1, 2, 3), keepdim=True) / 127)
    torch.testing.assert_close(steps, steps.round(), rtol=0, atol=1e-3)
    assert [name for name in before if not torch.equal(after[name], before[name])] == ["0.weight"]
    assert not network[0]._forward_pre_hooks


def test_recipes_are_named_with_their_number():
    assert recipe_of("prune-90")[1] == 90
    assert with_baselines(["bf16", "fp16"]) == ["fp32", "fp32-openvino", "bf16", "fp16"]
    for name, told in {
        "prune": "expected prune-N with N from 1 to 99",
        "kmeans-1": "from 2 to 256",
        "fp32-3": "did you mean 'fp32'",
        "zip": "unknown recipe 'zip'",
    }.items():
        with pytest.raises(SettingsError, match=told):
            recipe_of(name)


def test_times_are_held_against_the_same_round():
    calls: list[str] = []
    found = timed_in_turn(
        {"fp32": lambda: calls.append("a"), "twice": lambda: [calls.append("b"), sum(range(10**5))]},
        {"fp32": "fp32", "twice": "fp32"},
        rounds=3,
    )
    assert calls == ["a", "b"] * 4
    assert found["fp32"].ratio == 1
    assert found["twice"].ratio > 1


@pytest.mark.slow
def test_a_report_tells_what_masks_hide(job: Job, tmp_path: Path):
    names = "fp16,int8-static,prune-50,kmeans-16,structured-30,qat,bf16"
    words = ("tiny/bts", "--recipes", names, "--steps", 2, "--rounds", 2, "--out", tmp_path / "out", "--json")
    answer = done("export", "report", *words, "--cache-dir", job.cache)
    told = json.loads(answer.out)
    rows = {row["recipe"]: row for row in told["rows"]}
    assert next(iter(rows)) == "fp32"
    assert {*rows, *told["not_met"]} == {*names.split(","), "fp32", "fp32-openvino"}
    plain, mask, half = (rows[name] for name in ("fp32", "prune-50", "fp16"))
    assert mask["weight"]["stored"] == pytest.approx(plain["weight"]["stored"], rel=1e-3)
    assert mask["mul_adds"] == plain["mul_adds"]
    assert mask["nonzero"] < 0.6 * plain["nonzero"]
    assert mask["weight"]["zipped"] < 0.8 * plain["weight"]["zipped"]
    assert half["weight"]["stored"] < 0.85 * plain["weight"]["stored"]
    assert set(plain["means"]) == {"d1", "d2", "d3", "abs_rel", "sq_rel", "rmse", "rmse_log", "log10"}
    assert plain["peak_megabytes"] > 20
    assert "prune-50: the file has 1.00 of the bytes of fp32" in answer.err
    text = (tmp_path / "out" / "compression.md").read_text()
    assert "| prune-50 | ONNX Runtime |" in text
    assert all(f"- {name}: not met, because " in text for name in told["not_met"])
    assert (tmp_path / "out" / "compression.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "out" / "compression.csv").read_text().startswith("recipe,runtime,bytes,")


@pytest.mark.parametrize("name", ["adabins", "bts", "ldrn"])
def test_channels_of_every_learner_come_away_in_eights_and_leave_attention_whole(name: str):
    more = {
        "adabins": {
            "embedding": 16,
            "bins": 8,
            "queries": 4,
            "patch_size": 4,
            "positions": 60,
            "layers": 1,
            "heads": 2,
        },
        "bts": {"adaptor": 64},
        "ldrn": {"adaptor": 64, "context": 32},
    }
    torch.manual_seed(0)
    network = (
        LEARNERS[name]
        .network(build_encoder("test_efficientnet", weights="none"), widths=(64, 48, 32, 16, 16), **more[name])
        .eval()
    )
    image = torch.rand(1, 3, 64, 64)
    own = {key: values.clone() for key, values in network.state_dict().items()}
    fewer = without_channels(network, image, 0.5)
    assert all(torch.equal(values, own[key]) for key, values in network.state_dict().items())
    before, after = (
        {key: layer.out_channels for key, layer in each.named_modules() if isinstance(layer, nn.Conv2d)}
        for each in (network, fewer)
    )
    changed = [key for key in before if after[key] != before[key]]
    assert len(changed) > 5
    assert [after[key] % 8 for key in changed if before[key] % 8 == 0] == [0] * sum(
        before[key] % 8 == 0 for key in changed
    )
    assert sum(each.numel() for each in fewer.parameters()) < 0.8 * sum(each.numel() for each in network.parameters())
    attention = [layer for layer in fewer.modules() if isinstance(layer, nn.MultiheadAttention)]
    assert {layer.embed_dim for layer in attention} == ({16} if name == "adabins" else set())


def whole_report(job: Job, folder: Path, names: str) -> tuple[dict[str, Any], str]:
    """What the command says of a whole stack, and its page."""
    words = ("tiny/meta-rgb+d", "--recipes", names, "--steps", 1, "--rounds", 1, "--count", 2, "--out", folder)
    told = json.loads(done("export", "report", *words, "--json", "--cache-dir", job.cache).out)
    assert told["name"] == "meta-rgb+d"
    return told, (folder / "compression.md").read_text()


@pytest.mark.slow
def test_a_report_of_a_whole_stack(job: Job, tmp_path: Path):
    told, page = whole_report(job, tmp_path / "out", "fp16,prune-90,structured-30")
    rows = {row["recipe"]: row for row in told["rows"]}
    assert {*rows, *told["not_met"]} == {"fp32", "fp16", "prune-90", "structured-30"}
    assert set(told["not_met"]) <= {"structured-30"}
    assert rows["fp16"]["weight"]["stored"] < 0.7 * rows["fp32"]["weight"]["stored"]
    assert rows["prune-90"]["nonzero"] < 0.5 * rows["fp32"]["nonzero"]
    reasons = told["not_met"].get("structured-30") or rows["structured-30"]["note"]
    assert reasons in page


@pytest.mark.slow
@pytest.mark.long
def test_a_report_of_a_whole_stack_in_8_bits(job: Job, tmp_path: Path):
    told, page = whole_report(job, tmp_path / "out", "fp16,int8-static,qat,int8-openvino")
    rows = {row["recipe"]: row for row in told["rows"]}
    assert {*rows} == {"fp32", "fp16", "int8-static", "qat", "int8-openvino", "fp32-openvino"}
    assert told["not_met"] == {}
    assert rows["int8-static"]["weight"]["stored"] < rows["fp16"]["weight"]["stored"] < rows["fp32"]["weight"]["stored"]
    assert rows["qat"]["note"] == "trained 1 steps as 8 bits have it"
    assert "| int8-openvino | OpenVINO |" in page


@pytest.mark.slow
def test_channels_that_are_gone_save_products(job: Job, tmp_path: Path):
    given = ("--cache-dir", tmp_path / "cache")
    done("base", "train", "fastdepth", "--config", job.config, *given)
    words = ("--recipes", "structured-50,qat", "--steps", 2, "--rounds", 1, "--count", 2, "--json")
    told = json.loads(done("export", "report", "tiny/fastdepth", *words, *given).out)
    assert told["not_met"] == {}
    plain, fewer, small = told["rows"]
    assert fewer["mul_adds"] < 0.8 * plain["mul_adds"]
    assert fewer["weight"]["stored"] < 0.8 * plain["weight"]["stored"]
    assert "trained 2 steps further" in fewer["note"]
    assert small["recipe"] == "qat"
    out = tmp_path / "student.onnx"
    answer = done(
        *("export", "onnx", "tiny/fastdepth", out, "--precision", "int8", "--qat", 2, "--max-loss", 1.0), *given
    )
    assert out.is_file()
    assert "student.onnx: " in answer.err
    refused = call("export", "onnx", "tiny/fastdepth", out, "--qat", 2, *given)
    assert "--qat: is for --precision int8 alone" in refused.err


def test_names_that_are_checked_before_torch_is_loaded_are_those_of_the_recipes():
    assert [*UNITS] == [*RECIPES]


def test_a_folder_that_cannot_be_made_is_named_before_the_work(job: Job, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(report, "compression_report", lambda *_: pytest.fail("it was begun"))
    answer = call("export", "report", "tiny/bts", "--out", "/proc/x", "--cache-dir", job.cache)
    assert answer.status == 2
    assert "--out /proc/x: cannot be made (No such file or directory); name another" in answer.err
