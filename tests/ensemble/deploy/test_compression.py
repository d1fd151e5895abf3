"""Recipes do to weights what they say, reports tell what masks hide, and what cannot be made is told."""

import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import onnxruntime
import openvino
import pytest
import torch
from command_lines import Job, call, done
from openvino import opset13
from PIL import Image
from torch import nn

import ensemble
from base_learners import LEARNERS
from base_learners.contract import DepthPrediction
from base_learners.encoders.build import build_encoder
from ensemble.deploy.compression import report, tuning
from ensemble.deploy.compression.channels import without_channels
from ensemble.deploy.compression.counting import nonzero_weights
from ensemble.deploy.compression.measuring import Timed, Weighed, timed_in_turn
from ensemble.deploy.compression.names import UNITS
from ensemble.deploy.compression.recipes import RECIPES, Made, Recipe, _trained, recipe_of, with_baselines
from ensemble.deploy.compression.report import CompressionReport
from ensemble.deploy.compression.tables import write_report
from ensemble.deploy.compression.tuning import (
    RoundedValues,
    RoundedWeight,
    rounded_to_eight_bits,
    trained_for_eight_bits,
    tune,
)
from ensemble.deploy.compression.weights import clustered, without_smallest
from ensemble.deploy.export import frames
from ensemble.deploy.export.frames import GateFrames, GateImage
from ensemble.deploy.export.quantise import eight_bit_filters, quantised_dynamically
from ensemble.deploy.network import LearnerNetwork
from ensemble.settings.layers import Choice, learner_settings
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


class Plain(nn.Sequential):
    """Layers one after the other, whose last values are depth."""

    def forward(self, image: torch.Tensor) -> DepthPrediction:
        return DepthPrediction(super().forward(image), None)


def test_after_training_for_eight_bits_weights_are_rounded_but_the_last():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 1, 1))
    before = {name: values.clone() for name, values in network.state_dict().items()}
    with rounded_to_eight_bits([network[0]]):
        network(torch.rand(1, 3, 8, 8)).sum().backward()
    after = network.state_dict()
    assert set(after) == set(before)
    weight = after["0.weight"]
    steps = weight / (weight.abs().amax(dim=(1, 2, 3), keepdim=True) / 127)
    torch.testing.assert_close(steps, steps.round(), rtol=0, atol=1e-3)
    assert [name for name in before if not torch.equal(after[name], before[name])] == ["0.weight"]
    assert not network[0]._forward_pre_hooks


def test_training_for_8_bits_leaves_out_what_no_convolution_of_the_file_reads(
    job: Job, monkeypatch: pytest.MonkeyPatch
):
    """As AdaBins' patches, which become bins and queries, wherever they were registered."""
    names = {"first": ("image", "features"), "patches": ("features", "bins"), "last": ("features", "map")}
    made = [
        onnx.helper.make_node("Conv", [read, f"network.members.0.models.0.{name}.weight"], [told], f"bts/{name}")
        for name, (read, told) in names.items()
    ]
    made.insert(1, onnx.helper.make_node("Relu", ["map"], ["depth"], "bts/relu"))
    model = onnx.helper.make_model(onnx.helper.make_graph([*made[:1], *made[2:], made[1]], "x", [], []))
    filters = eight_bit_filters(model)
    assert filters == {"network.members.0.models.0.first.weight"}

    settings = learner_settings("bts", Choice(config=job.config))
    torch.manual_seed(0)
    own = nn.ModuleDict({name: nn.Conv2d(3, 3, 3) for name in ("patches", "first", "last")})
    whole: Any = nn.Module()
    whole.network = nn.Module()
    whole.network.names, whole.network.members = ("bts",), nn.ModuleList([LearnerNetwork([own], [settings])])
    monkeypatch.setattr(tuning, "tune", lambda *_: 0.0)

    def changed(given: set[str] | None) -> set[str]:
        (after,) = trained_for_eight_bits(whole, 1, filters=given).network.members[0].models
        return {name for name, values in after.state_dict().items() if not torch.equal(values, own.state_dict()[name])}

    assert changed(filters) == {"first.weight"}
    assert changed(None) == {"first.weight", "patches.weight", "last.weight"}
    with pytest.raises(ValueError, match="qat: no convolution is of 8 bits in the file"):
        changed(set())


def test_weights_that_are_not_zero_are_counted_by_their_zero_points(tmp_path: Path):
    """As in files of 32, 16 and 8 bits: neither biases nor scales, and an unsigned 128 is nothing."""

    def count(nodes: Sequence[tuple[str, list[str], dict[str, Any]]], **constants: np.ndarray) -> int:
        made = [
            onnx.helper.make_node(kind, read, [f"told-{index}"], **how) for index, (kind, read, how) in enumerate(nodes)
        ]
        held = [onnx.numpy_helper.from_array(values, name) for name, values in constants.items()]
        onnx.save(onnx.helper.make_model(onnx.helper.make_graph(made, "x", [], [], held)), tmp_path / "x.onnx")
        return nonzero_weights("onnx", tmp_path / "x.onnx")

    filters = np.array([[0, 1, 2], [3, 0, 0]], np.float32).reshape(2, 1, 1, 3)
    bias, scales = np.ones(2, np.float32), np.array([0.1, 0.2], np.float32)
    assert count([("Conv", ["image", "w", "b"], {})], w=filters, b=bias, places=np.arange(9)) == 3
    half = [("Cast", ["w"], {"to": 1}), ("Conv", ["image", "told-0"], {}), ("Conv", ["other", "told-0"], {})]
    assert count(half, w=filters.astype(np.float16)) == 3
    small = [("DequantizeLinear", ["w", "s", "z"], {"axis": 0}), ("Conv", ["image", "told-0"], {})]
    assert count(small, w=filters.astype(np.int8), s=scales, z=np.array([0, 3], np.int8)) == 2 + 2
    own = [("DynamicQuantizeLinear", ["image"], {}), ("ConvInteger", ["told-0", "w", "z-image", "z"], {})]
    assert count(own, w=(filters + 128).astype(np.uint8), z=np.array(128, np.uint8), s=scales[:1]) == 3
    product = [("MatMulInteger", ["values", "w", "", "z"], {})]
    assert count(product, w=np.array([[7, 9], [7, 8]], np.uint8), z=np.array([7, 9], np.uint8)) == 1


def test_weights_of_openvino_are_counted_by_their_zero_points(tmp_path: Path):
    image = opset13.parameter([1, 2, 4, 4], np.float32)
    small = opset13.convert(opset13.constant(np.array([[5, 6], [5, 5]], np.int8).reshape(2, 2, 1, 1)), "f32")
    scaled = opset13.multiply(opset13.subtract(small, np.float32(5)), np.array([2, 3], np.float32).reshape(2, 1, 1, 1))
    values = opset13.convolution(opset13.multiply(image, np.float32(2)), scaled, [1, 1], [0, 0], [0, 0], [1, 1])
    openvino.save_model(openvino.Model([opset13.result(values)], [image]), tmp_path / "x.xml", compress_to_fp16=False)
    assert nonzero_weights("openvino", tmp_path / "x.xml") == 1


def test_weights_of_openvino_whose_sides_are_computed_are_counted(tmp_path: Path):
    """As depthwise convolutions of an ONNX file are read."""
    image = opset13.parameter([1, 2, 4, 4], np.float32)
    sides = opset13.add(opset13.constant(np.array([2, 1, 1, 3, 3])), opset13.constant(np.array(0)))
    filters = opset13.reshape(opset13.constant(np.ones((2, 1, 3, 3), np.float32)), sides, special_zero=False)
    values = opset13.group_convolution(image, filters, [1, 1], [0, 0], [0, 0], [1, 1])
    openvino.save_model(openvino.Model([opset13.result(values)], [image]), tmp_path / "x.xml", compress_to_fp16=False)
    assert nonzero_weights("openvino", tmp_path / "x.xml") == 18


def test_training_that_diverges_names_learner_step_and_what_to_do(job: Job, monkeypatch: pytest.MonkeyPatch):
    settings = learner_settings("bts", Choice(config=job.config))
    monkeypatch.setattr(
        tuning, "_batches", lambda *_: iter([{"image": torch.rand(1, 3, 4, 4), "frame": ["room/7"]}] * 2)
    )
    losses = iter([1.0, float("nan")])
    monkeypatch.setattr(tuning, "own_losses", lambda *_: lambda said, _: {"silog": next(losses) * said.depth.mean()})
    told = (
        r"bts: at step 2 of 3 .* not finite \(first frame of the batch room/7\)\. Train fewer steps \(--steps .*--qat"
    )
    with pytest.raises(FloatingPointError, match=told):
        tune(Plain(nn.Conv2d(3, 1, 1)), settings, 3)


def test_a_recipe_that_fails_is_told_and_the_others_are_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """In making its file, in what that says, in what it takes: nowhere is the report lost."""
    wrong = {"qat": FloatingPointError("bts: at step 2"), "fp16": TypeError("no such\n operator")}

    def recipe(name: str) -> tuple[Recipe, int]:
        def make(*_: object) -> Made:
            if name in wrong:
                raise wrong[name]
            return Made(None, 1)

        return Recipe(make, RECIPES[name.partition("-")[0] if name == "prune-50" else name].runtime), 0

    def opened(path: Path, _: int) -> SimpleNamespace:
        depth = np.full((1, 1, 2, 2), np.nan if path.stem == "prune-50" else 1.5)
        return SimpleNamespace(run=lambda _: {"depth": depth})

    def peak(_: str, path: Path) -> float:
        if path.stem in ("int8-static", "fp32-openvino"):
            raise ValueError(f"{path.name}: the process that measures its memory failed")
        return 30.0

    monkeypatch.setattr(report, "recipe_of", recipe)
    monkeypatch.setattr(report, "write", lambda *given: given[-1].write_bytes(b"x"))
    monkeypatch.setattr(report, "RUNTIMES", dict.fromkeys(("onnx", "openvino"), opened))
    monkeypatch.setattr(report, "weighed", lambda _: Weighed(1, 1))
    monkeypatch.setattr(report, "nonzero_weights", lambda *_: 1)
    monkeypatch.setattr(report, "peak_megabytes", peak)
    work: Any = SimpleNamespace(folder=tmp_path)
    pixels = torch.zeros(1, 3, 2, 2, dtype=torch.uint8)
    images = [GateImage(pixels, pixels, None, None)] * 2
    names = ["fp32", "qat", "fp16", "prune-50", "int8-static", "fp32-openvino", "bf16", "int8-dynamic"]
    files, unmet = report._files(work, names, images)
    assert unmet == {
        "qat": "bts: at step 2",
        "fp16": "TypeError: no such operator",
        "prune-50": "its depth of 2 of 2 images is not finite; nothing is repaired here",
        "int8-static": "int8-static.onnx: the process that measures its memory failed",
        "fp32-openvino": "fp32-openvino.xml: the process that measures its memory failed",
        "bf16": "fp32-openvino, which it is held against, could not be made",
    }
    rows = report._measured(files, images, (), 1)
    assert [(row.recipe, row.peak_megabytes, row.mean_gap) for row in rows] == [
        ("fp32", 30, 0),
        ("int8-dynamic", 30, 0),
    ]
    wrong["fp32"] = FloatingPointError("itself")
    with pytest.raises(FloatingPointError, match="itself"):
        report._files(work, names, images)


def test_a_page_says_whose_ranges_files_of_8_bits_have(tmp_path: Path):
    row = report.Measured("fp32", "onnx", Weighed(1, 1), 1, 1, Timed(1.0, 1.0), 1.0, {}, {}, 0.0, "")
    found = CompressionReport("bts", (48, 64), "2 photographs", 0, (row,), {}, "2 of these images themselves")
    write_report(found, tmp_path)
    assert "are those of 2 of these images themselves." in (tmp_path / "compression.md").read_text()
    assert json.loads((tmp_path / "compression.json").read_text())["calibrated"] == "2 of these images themselves"


def test_8_bits_are_calibrated_on_frames_to_fit_where_these_are_there(
    job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    stack = ensemble.load("tiny/bts", device="cpu", cache_dir=job.cache)
    judging = GateFrames(stack, None, 4)
    images, told = judging.to_calibrate((48, 64))
    assert told == f"{len(images)} frames to fit"
    scored = [image.pixels for image in judging.at((48, 64))]
    assert not any(torch.equal(image.pixels, other) for image in images for other in scored)
    Image.fromarray(np.zeros((48, 64, 3), np.uint8)).save(tmp_path / "x.png")

    def gone(*_: object) -> None:
        raise FileNotFoundError("no such folder")

    monkeypatch.setattr(frames, "open_source", gone)
    images, told = GateFrames(stack, tmp_path, 4).to_calibrate((48, 64))
    assert (len(images), told) == (1, "1 of these images themselves, which flatters them")


def test_dynamic_8_bits_have_a_range_for_every_channel_where_the_runtime_computes_that(tmp_path: Path):
    generator = np.random.default_rng(0)
    held = {"w": generator.normal(size=(4, 3, 1, 1)), "m": generator.normal(size=(5, 7))}
    nodes = [
        onnx.helper.make_node("Conv", ["image", "w"], ["maps"], "conv"),
        onnx.helper.make_node("MatMul", ["maps", "m"], ["depth"], "product"),
    ]
    ends = [
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)
        for name, shape in (("image", (1, 3, 2, 5)), ("depth", (1, 4, 2, 7)))
    ]
    constants = [onnx.numpy_helper.from_array(values.astype(np.float32), name) for name, values in held.items()]
    graph = onnx.helper.make_graph(nodes, "x", ends[:1], ends[1:], constants)
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=9)
    small = quantised_dynamically(model, tmp_path)
    scales = {each.name: [*each.dims] for each in small.graph.initializer if each.name.endswith("_scale")}
    assert scales == {"w_scale": [], "m_scale": [7]}
    image = generator.random((1, 3, 2, 5), np.float32)
    both = [
        onnxruntime.InferenceSession(each.SerializeToString(), providers=["CPUExecutionProvider"]).run(
            None, {"image": image}
        )[0]
        for each in (model, small)
    ]
    np.testing.assert_allclose(both[1], both[0], rtol=0, atol=0.05 * np.abs(both[0]).max())


def test_who_was_trained_without_its_teacher_is_named(job: Job):
    alone, taught = (
        learner_settings("fastdepth", Choice(config=job.config, assignments=words))
        for words in ([], ['distillation.teacher="meta-d"'])
    )
    for settings, told in ((alone, "its own loss"), (taught, "its own loss, without the teacher of fastdepth")):
        stack = SimpleNamespace(names=("fastdepth",), members=[LearnerNetwork([nn.Identity()], [settings])])
        work: Any = SimpleNamespace(network=SimpleNamespace(network=stack), steps=2)
        assert _trained(work, "further") == f"trained 2 steps further, by {told}"


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


def miniature(name: str) -> nn.Module:
    """A learner's network with a hundredth of the weights that it has elsewhere."""
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
    encoder = build_encoder("test_efficientnet", weights="none")
    return LEARNERS[name].network(encoder, widths=(64, 48, 32, 16, 16), **more[name]).eval()


@pytest.mark.parametrize("name", ["adabins", "bts", "ldrn"])
def test_channels_of_every_learner_come_away_in_eights_and_leave_attention_whole(name: str):
    network = miniature(name)
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
    assert rows["qat"]["note"] == "trained 1 step further as 8 bits have it, by their own loss"
    assert "are those of 6 frames to fit." in page
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
    refused = call("export", "report", "tiny/bts", "--recipes", "fp16,qat", "--steps", 0, "--cache-dir", job.cache)
    assert refused.status == 2
    assert "qat: expected at least one step to train further, found --steps 0" in refused.err
    answer = call("export", "report", "tiny/bts", "--out", "/proc/x", "--cache-dir", job.cache)
    assert answer.status == 2
    assert "--out /proc/x: cannot be made (No such file or directory); name another" in answer.err
