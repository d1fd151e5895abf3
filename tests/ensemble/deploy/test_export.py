"""Exported files give the depth of their network, or are not there; they name no place, and predict without torch."""

import copy
import hashlib
import json
import random
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import openvino
import pytest
import torch
from calm_stacks import calm
from command_lines import LEARNER_NAMES, Job, call, done
from openvino import opset13
from PIL import Image
from robots import site_of_robot

import ensemble
from base_learners.adabins import AdaBins
from base_learners.encoders.build import build_encoder
from ensemble.data.formats.search import photographs_of
from ensemble.data.transforms import resize_image
from ensemble.deploy.export import write
from ensemble.deploy.export.executorch_file import quantised_program
from ensemble.deploy.export.frames import GateFrames
from ensemble.deploy.export.onnx_file import halve_weights, save_onnx
from ensemble.deploy.export.openvino_file import openvino_model, quantised
from ensemble.deploy.export.openvino_passes import DOUBLED, arrange
from ensemble.deploy.export.parity import Parity, refusal
from ensemble.deploy.export.quantise import eight_bit_filters, quantised_onnx
from ensemble.deploy.export.quiet import quiet
from ensemble.deploy.export.request import ExportRequest
from ensemble.deploy.export.torch_file import open_torch
from ensemble.deploy.export.write import export, measured
from ensemble.deploy.prepared import without_norms
from ensemble.deploy.runtime import ExportedStack, seals
from ensemble.deploy.runtime.resizing import enlarged, seen
from ensemble.deploy.runtime.sessions import open_onnx
from ensemble.metrics.uncertainty import Calibration
from ensemble.settings.trees import SettingsError

IMAGE = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
WIDE = np.random.default_rng(1).integers(0, 256, (70, 150, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def exported(job: Job, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A stack of fixed size, a learner of open size, and what commands said of both."""
    folder = tmp_path_factory.mktemp("exported")
    given = ("--cache-dir", job.cache)
    calm("tiny/meta-rgb+d", job).save(folder / "own.stack")
    done("base", "save", "bts", folder / "bts.stack", "--experiment", "tiny", *given)
    told = [
        done("export", "onnx", folder / "own.stack", folder / "own.onnx").err,
        done("export", "onnx", "tiny/bts", folder / "bts.onnx", "--size", "dynamic", "--count", 2, *given).err,
    ]
    (folder / "told.txt").write_text("".join(told))
    return folder


@pytest.mark.slow
def test_a_stack_gives_the_same_depth_error_and_weights(exported: Path):
    stack = ensemble.load(exported / "own.stack", device="cpu", flip=False)
    found, expected = ExportedStack.open(exported / "own.onnx")(IMAGE), stack(IMAGE)
    assert found.error is not None
    np.testing.assert_allclose(found.depth, expected.depth, rtol=0, atol=2e-4)
    np.testing.assert_allclose(found.error, expected.error, rtol=0, atol=2e-4)
    np.testing.assert_allclose(found.weights, expected.weights, rtol=0, atol=1e-4)
    told = (exported / "told.txt").read_text()
    assert "(2 validation frames at 48x64); REL " in told
    assert f"next: python -m ensemble.meta predict {exported / 'own.onnx'} IMAGE --out DIR" in told


@pytest.mark.slow
def test_open_sizes_are_right_at_others_too(exported: Path):
    stack = ensemble.load(exported / "bts.stack", device="cpu", flip=False)
    file = ExportedStack.open(exported / "bts.onnx")
    for image in (IMAGE, WIDE, WIDE.transpose(1, 0, 2)):
        np.testing.assert_allclose(file(image).depth, stack(image).depth, rtol=0, atol=2e-4)
    np.testing.assert_allclose(file(IMAGE, fov=90).depth, stack(IMAGE, fov=90).depth, rtol=0, atol=2e-4)
    assert file(IMAGE).error is None
    with pytest.raises(ValueError, match=r"found size \(50, 64\), expected multiples of 32, or \(48, 64\)"):
        file(IMAGE, size=(50, 64))
    fixed = open_onnx(exported / "own.onnx")
    with pytest.raises(ValueError, match=r"own.onnx: ONNX Runtime cannot compute an image of 64x96 \(.*--size 64x96"):
        fixed.run(np.zeros((1, 3, 64, 96), np.uint8))


@pytest.mark.slow
def test_files_tell_what_they_are_and_no_place(exported: Path, job: Job):
    header = ExportedStack.open(exported / "own.onnx").header
    assert [learner.title for learner in header.learners] == ["AdaBins", "BTS", "LDRN"]
    assert (header.size, header.trained_size, header.depth_range) == ((48, 64), (48, 64), (0.001, 10.0))
    assert header.field_of_view == pytest.approx(63.4, abs=0.5)
    assert header.parity is not None
    assert header.parity["largest"] <= 2e-4
    assert header.parity["stack"][0] > 1e-3, "which averages with the mirrored image"
    assert header.scores is not None
    assert header.scores["scores"] == next(r for r in job.scores["rows"] if r["name"] == "meta-rgb+d")["scores"]
    assert "Apache-2.0" in header.licence
    places = [
        str(Path(ensemble.__file__).parents[1]),
        str(Path(torch.__file__).parents[1]),
        str(exported),
        "site-packages",
        "base_learners/",
    ]
    for name in ("own.onnx", "bts.onnx"):
        content = (exported / name).read_bytes()
        assert [place for place in places if place.encode() in content] == []
        assert {path.name for path in exported.glob(f"{name}*")} == {name}


@pytest.mark.slow
def test_the_ready_network_leaves_with_an_open_size(tmp_path: Path):
    """Its padding follows TensorFlow's: what follows sizes through that took minutes, and no end was seen."""
    for number, image in enumerate((IMAGE, WIDE)):
        Image.fromarray(image).save(tmp_path / f"{number}.png")
    words = ("nyu-small", tmp_path / "open.onnx", "--size", "dynamic", "--images", tmp_path)
    told = " ".join(done("export", "onnx", *words).err.split())
    assert "the stack itself averages with the mirrored image and computes in 16 bits as it was trained" in told
    stack, file = ensemble.load("nyu-small", device="cpu", flip=False), ExportedStack.open(tmp_path / "open.onnx")
    stack.network.in_full_precision()
    for image in (IMAGE, WIDE, WIDE.transpose(1, 0, 2)):
        np.testing.assert_allclose(file(image).depth, stack(image).depth, rtol=0, atol=2e-4)


@pytest.mark.slow
def test_the_graph_that_openvino_computes_faster_says_the_same(job: Job, tmp_path: Path):
    """Planes are split before they are repeated, AdaBins' bins are one kernel, small maps doubled by convolutions."""
    calm("tiny/meta-rgb+d", job).save(tmp_path / "calm.stack")
    stack = ensemble.load(tmp_path / "calm.stack", device="cpu")
    module = write.Leaving(stack.network.flip_averaging(False).in_full_precision(), (64, 64), torch.uint8)
    model = write.onnx_model(module, (64, 64), open_size=False, stride=32)
    layers = {f"{name}.weight" for name, each in module.named_modules() if isinstance(each, torch.nn.Conv2d)}
    small = eight_bit_filters(model)
    assert small < layers, "by the names that training for 8 bits knows them by"
    left_out = {name.partition(".models.0.")[2] for name in layers - small if ".members." in name}
    assert "transformer.patches.weight" in left_out, "wherever it was registered: no convolution reads it"
    assert len(left_out) < 0.1 * len(layers)
    request = ExportRequest("openvino", (64, 64), "fp32")
    save_onnx(model, write.header_of(stack, module, request), tmp_path / "x.onnx")
    plain, arranged = openvino.Core().read_model(str(tmp_path / "x.onnx")), openvino_model(tmp_path / "x.onnx")
    pixels = np.random.default_rng(0).integers(0, 256, (1, 3, 64, 64), np.uint8)
    for one, other in zip(_said(plain, pixels), _said(arranged, pixels), strict=True):
        np.testing.assert_allclose(other, one, rtol=0, atol=5e-5)
    assert _parents(plain, "MatMul") - _parents(arranged, "MatMul") == {"Transpose of Reshape"}
    assert "Interpolate of Concat" in _parents(plain, "Split") - _parents(arranged, "Split")
    doubled = [each for each in arranged.get_ops() if each.get_friendly_name().startswith(DOUBLED)]
    assert {each.get_type_name() for each in doubled} == {"Convolution", "GroupConvolution"}
    left = [each for each in arranged.get_ops() if each.get_type_name() == "Interpolate"]
    assert not [each for each in left if _channels(each) == 1 and each.get_attributes()["mode"] != "nearest"]
    assert "Reshape of Convolution" in _parents(arranged, "Sigmoid") - _parents(plain, "Sigmoid")
    joined = {model: [each for each in model.get_ops() if _joins_planes(each)] for model in (plain, arranged)}
    assert joined[plain]
    assert not joined[arranged]


def _joins_planes(operation: Any) -> bool:
    """Whether it lays maps of one channel ``[1 1 64 64]`` side by side, pixel by pixel."""
    shapes = [[*each.get_partial_shape().to_shape()] for each in operation.input_values()]
    return operation.get_type_name() == "Concat" and all(shape == [1, 1, 64, 64] for shape in shapes)


def test_what_openvino_computes_faster_has_the_size_of_any_image():
    """As AdaBins' product of pixels and bins in a file of an open size; the last of three planes is repeated."""
    image = opset13.parameter([1, 8, -1, -1], np.float32)
    pixels = opset13.transpose(opset13.reshape(image, np.array([1, 8, -1]), special_zero=False), np.array([0, 2, 1]))
    product = opset13.matmul(pixels, np.random.default_rng(0).random((1, 8, 5), np.float32), False, False)
    twice = opset13.interpolate(image, np.array([1, 1, 2, 2], np.float32), "nearest", "scales")
    plane = opset13.split(twice, 1, 8).output(7)
    plain = openvino.Model([opset13.result(product), opset13.result(plane)], [image], "pixels")
    arranged = plain.clone()
    arrange(arranged)
    assert _parents(arranged, "MatMul") == {"Reshape of Transpose"}
    half = plain.clone()
    arrange(half, bf16=True)
    assert _parents(half, "MatMul") == {"Transpose of Reshape"}, "one kernel of bins errs by .3 m in bf16"
    assert "Interpolate of Parameter" not in _parents(arranged, "Split")
    for size in ((3, 5), (8, 2)):
        values = np.random.default_rng(1).random((1, 8, *size), np.float32)
        for one, other in zip(_said(plain, values), _said(arranged, values), strict=True):
            np.testing.assert_allclose(other, one, rtol=1e-5)


def _said(model: Any, pixels: np.ndarray) -> list[np.ndarray]:
    return [*openvino.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})([pixels]).values()]


def _parents(model: Any, kind: str) -> set[str]:
    """What the first value of operators of a kind is made by, and of what."""
    first = [each.input_value(0).get_node() for each in model.get_ops() if each.get_type_name() == kind]
    with_input = [each for each in first if each.get_input_size()]
    return {f"{each.get_type_name()} of {each.input_value(0).get_node().get_type_name()}" for each in with_input}


@pytest.mark.slow
def test_maps_of_depth_stay_in_32_bits(job: Job, tmp_path: Path):
    """LDRN adds up residuals over a pyramid: in 8 bits those cost a trained stack .020 of d1, without them .001."""
    ldrn = ensemble.load("tiny/ldrn", device="cpu", cache_dir=job.cache)
    request = ExportRequest("openvino", (48, 64), "int8")
    module = write.Leaving(ldrn.network.flip_averaging(False).in_full_precision(), (48, 64), torch.uint8)
    model = write.onnx_model(module, (48, 64), open_size=False, stride=32)
    save_onnx(model, write.header_of(ldrn, module, request), tmp_path / "ldrn.onnx")
    small = quantised(openvino_model(tmp_path / "ldrn.onnx"), [np.zeros((1, 3, 48, 64), np.uint8)])
    kinds = {"Add", "Multiply", "Interpolate"}
    maps = [each for each in small.get_ops() if each.get_type_name() in kinds and _channels(each) == 1]
    assert len([each for each in maps if each.get_type_name() == "Add"]) >= 5
    read = [value.get_node().get_type_name() for each in maps for value in each.input_values()]
    assert "FakeQuantize" not in read
    assert "FakeQuantize" in {each.get_type_name() for each in small.get_ops()}


def _channels(operation: Any) -> int | None:
    shape = operation.get_output_partial_shape(0)
    return shape[1].get_length() if shape.rank.get_length() == 4 else None


def test_depth_maps_beside_photographs_are_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    Image.fromarray(IMAGE).save(tmp_path / "rgb.png")
    Image.fromarray(np.full((60, 80), 2000, np.uint16)).save(tmp_path / "depth.png")
    (tmp_path / "notes.txt").write_text("of that day")
    assert photographs_of([tmp_path], "--calibrate") == {"rgb": tmp_path / "rgb.png"}
    told = " ".join(capsys.readouterr().err.split())
    assert "--calibrate: 1 image of one channel and 16 bits, as depth maps are, was left out" in told
    assert f"--calibrate: 1 other file in {tmp_path} was left out: notes.txt" in told
    (tmp_path / "rgb.png").unlink()
    with pytest.raises(SettingsError, match=r"expected photographs such as \.jpg or \.png, found 1 depth map$"):
        photographs_of([tmp_path], "--images")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "damaged"), [("bts.onnx", "bts.onnx"), ("bts.xml", "bts.bin"), ("bts.xml", "bts.xml")]
)
def test_a_flipped_bit_of_a_file_is_never_believed(exported: Path, tmp_path: Path, name: str, damaged: str):
    if name == "bts.onnx":
        shutil.copy(exported / name, tmp_path)
    else:
        done("export", "openvino", exported / "bts.stack", tmp_path / name)
    ExportedStack.open(tmp_path / name)
    whole, generator = (tmp_path / damaged).read_bytes(), random.Random(0)
    for place in (*(generator.randrange(len(whole)) for _ in range(6)), len(whole) - 1):
        content = bytearray(whole)
        content[place] ^= 1 << generator.randrange(7)
        (tmp_path / damaged).write_bytes(content)
        with pytest.raises(
            ValueError, match=rf"{name}: damaged since it was written \(.*{damaged}.*export or fetch it"
        ):
            ExportedStack.open(tmp_path / name)
    (tmp_path / damaged).write_bytes(whole)
    ExportedStack.open(tmp_path / name)


def test_a_checksum_may_lie_across_pieces_that_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    text = 'weights {"name": "x", "checksum": "%s", "more": 1} weights' % seals.UNSEALED  # noqa: UP031
    for piece in (7, 64, 1000):
        monkeypatch.setattr(seals, "_PIECE", piece)
        path = tmp_path / f"{piece}.onnx"
        path.write_text(text)
        seals.check(path)
        seals.seal(path)
        sealed = path.read_text()
        assert sealed == text.replace(seals.UNSEALED, hashlib.sha256(text.encode()).hexdigest())
        seals.check(path)
        path.write_text(sealed.replace("more", "less"))
        with pytest.raises(ValueError, match="damaged since it was written"):
            seals.check(path)


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Exports whose weights are changed on purpose."""
    made = write.onnx_model

    def changed(*given: object, **named: object) -> onnx.ModelProto:
        model = made(*given, **named)  # pyright: ignore[reportArgumentType]
        weight = max(model.graph.initializer, key=lambda each: int(np.prod(each.dims)))
        values = onnx.numpy_helper.to_array(weight) * 1.05
        weight.CopyFrom(onnx.numpy_helper.from_array(values.astype(np.float32), weight.name))
        return model

    monkeypatch.setattr(write, "onnx_model", changed)


@pytest.mark.slow
@pytest.mark.usefixtures("broken")
def test_the_gate_refuses_what_says_something_else(exported: Path, tmp_path: Path):
    (tmp_path / "broken.onnx").write_text("of before")
    (tmp_path / ".broken.onnx.99999999-0123abcd.making" / "left").mkdir(parents=True)  # no system has so many processes
    answer = call("export", "onnx", exported / "bts.stack", tmp_path / "broken.onnx")
    assert answer.status == 1
    assert "broken.onnx: not written, for depth of the exported file differs by " in answer.err
    assert "expected 0.0002 and 1e-05" in answer.err
    assert [path.name for path in tmp_path.iterdir()] == ["broken.onnx"]
    assert (tmp_path / "broken.onnx").read_text() == "of before"


@pytest.mark.slow
def test_smaller_weights_and_eight_bits(exported: Path, tmp_path: Path):
    stack = ensemble.load(exported / "bts.stack", device="cpu", flip=False)
    frames = GateFrames(stack, None, 2)
    header = ExportedStack.open(exported / "bts.onnx").header
    images = [image.pixels.numpy() for image in frames.at((64, 64))]
    half = onnx.load(exported / "bts.onnx")
    halve_weights(half)
    small = quantised_onnx(onnx.load(exported / "bts.onnx"), images, tmp_path)
    whole = (exported / "bts.onnx").stat().st_size
    means = []
    for precision, model, share in (("fp16", half, 0.85), ("int8", small, 0.9)):
        path = tmp_path / f"{precision}.onnx"
        save_onnx(model, header, path)
        parity = measured(stack.network, path, ExportRequest("onnx", (48, 64), precision), frames)
        assert path.stat().st_size < share * whole
        assert parity.rel is not None
        assert parity.mean > 1e-6
        means.append(parity.mean)
    assert means[0] < 0.02
    assert means[0] < means[1] < 1


@pytest.mark.slow
def test_eight_bits_want_depth_and_a_limit(exported: Path, tmp_path: Path):
    stack = ensemble.load(exported / "bts.stack", device="cpu", flip=False)
    frames = GateFrames(stack, None, 2)
    parity = measured(stack.network, exported / "bts.onnx", ExportRequest("onnx", (48, 64)), frames)
    assert refusal(parity, "int8", 0.02) is None
    farther = replace(parity, largest=1e-3, mean=5e-5)
    assert "differs by 0.001 m at most and 5e-05 m on average, expected 0.0002 and 1e-05" in str(
        refusal(farther, "fp32", 0.02)
    )
    assert refusal(farther, "fp32", 0.02, max_depth=80.0) is None
    assert "expected a loss of at most -1" in str(refusal(parity, "int8", -1))
    Image.fromarray(WIDE).save(tmp_path / "wide.png")
    unknown = measured(
        stack.network, exported / "bts.onnx", ExportRequest("onnx", (48, 64)), GateFrames(stack, tmp_path, 2)
    )
    assert unknown.rel is None
    assert refusal(unknown, "fp32", 0.02) is None
    assert "no depth is known of these images" in str(refusal(unknown, "int8", 0.02))


def test_eight_bits_must_keep_rel_too_and_are_held_against_more_images():
    found = Parity("64 validation frames", 2.0, 0.2, None, None, 0.0, rel=(0.2173, 0.2827), d1=(0.6, 0.61))
    assert refusal(found, "int8", 0.02) == "has REL 0.2827 and the network 0.2173, expected at most 5% more"
    assert refusal(replace(found, rel=(0.2173, 0.2281)), "int8", 0.02) is None
    assert "expected at most 25% more" in str(refusal(found, "int8", 0.1))
    assert refusal(found, "int8", 1.0) is None
    size = (48, 64)
    assert [ExportRequest("onnx", size, bits).compared for bits in ("fp32", "fp16", "int8")] == [16, 16, 64]
    assert ExportRequest("onnx", size, "int8", count=5).compared == 5


@pytest.mark.slow
def test_openvino_and_torch_give_the_same(exported: Path, tmp_path: Path):
    stack = ensemble.load(exported / "bts.stack", device="cpu", flip=False)
    for kind, name, size in (("openvino", "bts.xml", (48, 64)), ("torch", "bts.pt2", None)):
        export(stack, tmp_path / name, ExportRequest(kind, size, pixels="float32", count=2))
    assert {path.name for path in tmp_path.iterdir()} == {"bts.xml", "bts.bin", "bts.pt2"}
    found = ExportedStack.open(tmp_path / "bts.xml")(IMAGE)
    np.testing.assert_allclose(found.depth, stack(IMAGE).depth, rtol=0, atol=2e-4)
    units = np.random.default_rng(2).random((64, 160, 3), np.float32)
    depth = open_torch(tmp_path / "bts.pt2").run(np.ascontiguousarray(units.transpose(2, 0, 1)[None]))["depth"]
    np.testing.assert_allclose(depth[0, 0], stack(units, size=(64, 160)).depth, rtol=0, atol=2e-4)
    here = str(Path(ensemble.__file__).parents[1]).encode()
    assert not any(here in path.read_bytes() or b"site-packages" in path.read_bytes() for path in tmp_path.iterdir())


class _DepthAlone(torch.nn.Module):
    def __init__(self, network: torch.nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.network(image).depth


@pytest.mark.slow
def test_adabins_runs_in_eight_bits_whatever_its_widths(tmp_path: Path):
    torch.manual_seed(0)
    narrow = {"patch_size": 4, "positions": 200, "layers": 1, "heads": 2, "feedforward": 16, "hidden": 16}
    encoder = build_encoder("lcnet_050", weights="none")
    network = AdaBins(encoder, widths=[32, 24, 16, 16, 16], embedding=32, bins=16, queries=8, **narrow).eval()
    image, path = torch.rand(1, 3, 64, 96), tmp_path / "adabins.onnx"
    with quiet():
        torch.onnx.export(_DepthAlone(network), (image,), path, input_names=["image"], dynamo=True, verbose=False)
    model = quantised(openvino_model(path), [image.numpy()])
    depthwise = [each for each in model.get_ops() if each.get_type_name() == "GroupConvolution"]
    scales = [each.input_value(1).get_node().input_value(1).get_partial_shape() for each in depthwise]
    assert scales
    assert {int(str(side)) for each in scales for side in list(each)[1:]} == {1}, "one for every channel"
    products = [each for each in model.get_ops() if each.get_type_name() == "MatMul"]
    (mean,) = (each for each in products if each.get_output_partial_shape(0)[-1] == 1)
    assert mean.input_value(0).get_node().get_type_name() == "Softmax", "probabilities keep their 32 bits"
    (depth,) = openvino.Core().compile_model(model, "CPU")([image.numpy()]).values()  # did not compile with 8-bit bins
    with torch.no_grad():
        np.testing.assert_allclose(depth, network(image).depth, rtol=0, atol=0.1)


@pytest.mark.slow
@pytest.mark.parametrize("learner", ["fastdepth", pytest.param("bts", marks=pytest.mark.long)])
def test_executorch_gives_the_same_in_32_bits_and_is_smaller_in_8(job: Job, tmp_path: Path, learner: str):
    saved, whole, small, photo = (tmp_path / name for name in ("saved.stack", "whole.pte", "small.pte", "photo.png"))
    given = ("--cache-dir", job.cache if learner in LEARNER_NAMES else tmp_path / "cache")
    if learner not in LEARNER_NAMES:
        done("base", "train", learner, "--config", job.config, *given)
    done("base", "save", learner, saved, "--experiment", "tiny", *given)
    stack = ensemble.load(saved, device="cpu", flip=False)
    answer = done("export", "executorch", saved, whole, "--count", 2)
    assert "(2 validation frames at 48x64); REL " in answer.err
    found = ExportedStack.open(whole, runtime="executorch", threads=1)
    np.testing.assert_allclose(found(IMAGE).depth, stack(IMAGE).depth, rtol=0, atol=2e-4)
    assert (found.header.size, found.header.precision, found.learners) == ((48, 64), "fp32", (learner,))
    assert found.header.parity is not None
    here = str(Path(ensemble.__file__).parents[1]).encode()
    assert here not in whole.read_bytes()
    assert b"site-packages" not in whole.read_bytes()

    Image.fromarray(IMAGE).save(photo)
    done("meta", "predict", whole, photo, "--out", tmp_path / "out", "--only", "depth")
    np.testing.assert_allclose(np.load(tmp_path / "out" / "photo_depth.npy"), stack(IMAGE).depth, rtol=0, atol=2e-4)
    export(stack, small, ExportRequest("executorch", (48, 64), "int8", count=2, max_loss=1.0))
    assert small.stat().st_size < 0.6 * whole.stat().st_size
    assert np.abs(ExportedStack.open(small)(IMAGE).depth - stack(IMAGE).depth).mean() < 1
    with pytest.raises(ValueError, match="files in use have 1 of them; expected 1, found 2: open it in a process of"):
        ExportedStack.open(whole, threads=2)  # the pool of the first would go, and what computes in it
    assert ExportedStack.open(whole, threads=1)(IMAGE).depth.tobytes() == found(IMAGE).depth.tobytes()
    del found
    np.testing.assert_allclose(ExportedStack.open(whole, threads=2)(IMAGE).depth, stack(IMAGE).depth, rtol=0, atol=2e-4)
    whole.write_bytes(whole.read_bytes()[:5000])
    with pytest.raises(ValueError, match=r"whole.pte: ExecuTorch cannot read it \(.*\); export it again"):
        ExportedStack.open(whole)


class _ReadTwice(torch.nn.Module):
    """A convolution whose norm and whose own result are both read, as in LDRN's pyramid."""

    def __init__(self) -> None:
        super().__init__()
        self.features, self.norm = torch.nn.Conv2d(3, 8, 3, padding=1), torch.nn.BatchNorm2d(8)
        torch.nn.init.uniform_(self.norm.running_var, 0.01, 0.04)
        torch.nn.init.uniform_(self.norm.weight, 2, 4)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        features = self.features(image)
        return torch.cat([self.norm(features), features], dim=1).mean(dim=1, keepdim=True)


@pytest.mark.slow
def test_norms_of_convolutions_that_others_read_leave_as_they_are_for_eight_bits():
    torch.manual_seed(0)
    network, image = _ReadTwice().eval(), torch.rand(1, 3, 16, 16)

    def off(prepared: torch.nn.Module) -> float:
        program = quantised_program(torch.export.export(prepared, (image,)), [image.numpy()])
        return float((program.module()(image) - expected).abs().mean() / expected.abs().mean())

    with torch.no_grad():
        expected = network(image)
        folded, kept = off(copy.deepcopy(network)), off(without_norms(copy.deepcopy(network)))
    assert kept < 0.03
    assert folded > 0.2, "torchao folds the norm into what others read: it would not need this any more"


@pytest.mark.slow
@pytest.mark.long
def test_eight_bits_of_executorch_leave_norms_of_convolutions_that_others_read_as_they_are(job: Job, tmp_path: Path):
    stack = ensemble.load("tiny/ldrn", device="cpu", cache_dir=job.cache)
    parity = export(stack, tmp_path / "small.pte", ExportRequest("executorch", (48, 64), "int8", count=4, max_loss=1.0))
    assert parity.rel is not None
    assert parity.rel[1] == pytest.approx(parity.rel[0], rel=0.02)  # a fifth away where such norms were folded


class _Calibrated(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.features = torch.nn.Conv2d(3, 16, 3, padding=1)
        self.calibration = Calibration((0.0, 0.2, 0.5, 2.0), (0.01, 0.04, 0.09, 1.0))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.calibration.apply(self.features(image).square().mean(dim=1, keepdim=True))


def test_a_calibration_stays_in_64_bits_where_a_network_is_brought_to_8():
    network, image = _Calibrated().eval(), torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    other_layout = image.contiguous(memory_format=torch.channels_last).numpy()
    program = quantised_program(torch.export.export(network, (image,)), [other_layout])
    assert program.example_inputs[0][0].is_contiguous()
    called = [str(node.target) for node in program.graph.nodes]
    assert sum("quantize_per_channel" in name or "quantize_per_tensor" in name for name in called) >= 2
    with torch.no_grad():
        np.testing.assert_allclose(program.module()(image), network(image), rtol=0.05, atol=0)


@pytest.mark.slow
def test_what_cannot_be_exported_is_said(exported: Path, tmp_path: Path):
    cases = {
        ("openvino", "bts.stack", "x.onnx"): (2, "expected a name that ends in .xml for openvino"),
        ("onnx", "bts.stack", "x.onnx", "--precision", "bf16"): (2, "precision of onnx 'bf16'"),
        ("onnx", "bts.stack", "x.onnx", "--max-loss", -0.9): (2, "--max-loss: "),
        ("onnx", "bts.stack", "x.onnx", "--max-loss", 0.1): (2, "--max-loss: is for --precision int8 and bf16 alone"),
        ("onnx", "bts.stack", "x.onnx", "--calibrate", tmp_path): (2, "--calibrate: is for --precision int8 alone"),
        ("onnx", "bts.stack", "x.onnx", "--images", tmp_path): (
            2,
            "expected photographs such as .jpg or .png, found none",
        ),
        ("executorch", "bts.stack", "x.pte", "--size", "dynamic"): (2, "takes images of one size; expected HxW"),
        ("torch", "bts.stack", "x.pt2", "--precision", "int8"): (2, "unknown precision of torch 'int8'"),
    }
    for (kind, stack, out, *options), (status, told) in cases.items():
        answer = call("export", kind, exported / stack, tmp_path / out, *options)
        assert told in answer.err
        assert answer.status == status
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_missing_packages_name_their_extra(exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for package in ("onnx", "onnxruntime", "openvino", "executorch", "executorch.runtime"):
        monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.setattr(write, "GateFrames", lambda *_: pytest.fail("it was begun"))
    answer = call("export", "onnx", exported / "bts.stack", tmp_path / "x.onnx")
    assert f"{tmp_path}/x.onnx: export onnx needs onnx.\nRun: pip install 'stackdepth[onnx]'" in answer.err
    monkeypatch.delitem(sys.modules, "onnx")
    answer = call("export", "onnx", exported / "bts.stack", tmp_path / "x.onnx")
    assert "x.onnx: export onnx needs onnxruntime.\nRun: pip install 'stackdepth[onnx]'" in answer.err
    Image.fromarray(IMAGE).save(tmp_path / "photo.png")
    answer = call("meta", "predict", exported / "bts.onnx", tmp_path / "photo.png", "--out", tmp_path / "o")
    assert (answer.status, answer.err.strip().splitlines()[-1]) == (1, "Run: pip install onnxruntime")
    answer = call("export", "executorch", exported / "bts.stack", tmp_path / "x.pte")
    assert "pip install 'stackdepth[executorch]'" in answer.err
    (tmp_path / "x.pte").write_bytes(b"")
    with pytest.raises(ValueError, match=r"such files need executorch.\nRun: pip install executorch torch"):
        ExportedStack.open(tmp_path / "x.pte")


@pytest.mark.slow
def test_photographs_by_an_exported_file_are_those_of_the_stack(exported: Path, tmp_path: Path):
    Image.fromarray(IMAGE).save(tmp_path / "photo.png")
    words = ("--only", "depth,error,weights,pictures")
    for name, more in (("own.onnx", ()), ("own.stack", ("--no-flip",))):
        done("meta", "predict", exported / name, tmp_path / "photo.png", "--out", tmp_path / name, *words, *more)
    ours, theirs = (sorted(path.name for path in (tmp_path / name).iterdir()) for name in ("own.onnx", "own.stack"))
    assert ours == theirs
    for name in (name for name in ours if name.endswith(".npy")):
        pair = [np.load(tmp_path / which / name) for which in ("own.onnx", "own.stack")]
        np.testing.assert_allclose(*pair, rtol=0, atol=2e-4)
    for options, told in (
        (("--runtime", "openvino"), "ends in .xml"),
        (("--device", "cuda"), "are computed on the CPU"),
    ):
        answer = call("meta", "predict", exported / "own.onnx", tmp_path / "photo.png", "--out", tmp_path, *options)
        assert told in answer.err
        assert answer.status != 0


IMPORTED = (
    "import json, runpy, sys\n"
    "name, *words = sys.argv[1].split()\n"
    "sys.argv = [name, *words, *sys.argv[2:]]\n"
    "try:\n    runpy.run_module(name, run_name='__main__', alter_sys=False)\n"
    "except SystemExit as stop:\n    assert not stop.code, stop.code\n"
    "print(json.dumps(sorted({module.partition('.')[0] for module in sys.modules})))\n"
)
"""Runs a module as a command and prints what was imported."""


def imported(command: str, *words: object, path: Path, options: tuple[str, ...] = ()) -> set[str]:
    ran = subprocess.run(
        [sys.executable, *options, "-c", IMPORTED, command, *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
        env={"PYTHONPATH": str(path), "OMP_NUM_THREADS": "1"},
    )
    assert ran.returncode == 0, ran.stderr
    return set(json.loads(ran.stdout.splitlines()[-1]))


@pytest.mark.slow
def test_predicting_imports_no_torch(exported: Path, tmp_path: Path):
    Image.fromarray(IMAGE).save(tmp_path / "photo.png")
    words = (exported / "own.onnx", tmp_path / "photo.png", "--out", tmp_path / "out")
    modules = imported("ensemble.meta predict", *words, path=Path(ensemble.__file__).parents[1])
    assert "onnxruntime" in modules
    assert not modules & {"torch", "timm", "lightning", "onnx", "torchvision"}
    assert (tmp_path / "out" / "photo_depth_mm.png").is_file()


@pytest.mark.slow
def test_a_robot_needs_numpy_pillow_and_a_runtime(exported: Path, tmp_path: Path):
    site = site_of_robot(tmp_path)
    Image.fromarray(IMAGE).save(tmp_path / "photo.png")
    words = (exported / "own.onnx", tmp_path / "photo.png", "--out", tmp_path / "out")
    assert "onnxruntime" in imported("ensemble.deploy.runtime", *words, path=site, options=("-S", "-s"))
    expected = ExportedStack.open(exported / "own.onnx")(IMAGE)
    np.testing.assert_allclose(np.load(tmp_path / "out" / "photo_depth.npy"), expected.depth, rtol=0, atol=1e-5)
    np.testing.assert_allclose(np.load(tmp_path / "out" / "photo_error.npy"), expected.error, rtol=0, atol=1e-5)


@pytest.mark.parametrize("size", [(30, 40), (48, 64), (97, 131), (20, 200)])
def test_images_and_maps_are_resized_as_torch_does(size: tuple[int, int]):
    """And a strip whose pixels are made of more than 128, whose weights have the bits that torch gives at most."""
    strip = np.random.default_rng(3).integers(0, 256, (3, 17_000, 3), dtype=np.uint8)
    narrow = resize_image(strip, (3, size[1])).mul(255).round().byte().permute(1, 2, 0).numpy()
    np.testing.assert_array_equal(seen(strip, (3, size[1])), narrow)
    ours = resize_image(IMAGE, size).mul(255).round().byte().permute(1, 2, 0).numpy()
    np.testing.assert_array_equal(seen(IMAGE, size), ours)
    floats = torch.from_numpy(IMAGE / np.float32(255)).permute(2, 0, 1)[None]
    theirs = torch.nn.functional.interpolate(floats, size, mode="bilinear", antialias=True)[0].permute(1, 2, 0)
    np.testing.assert_allclose(seen(IMAGE / np.float32(255), size), theirs.numpy(), rtol=0, atol=2e-5)
    maps = torch.rand(1, 2, 48, 64, generator=torch.Generator().manual_seed(0))
    grown = torch.nn.functional.interpolate(maps, size, mode="bilinear", align_corners=False)
    np.testing.assert_allclose(enlarged(maps[0].numpy(), size), grown[0].numpy(), rtol=0, atol=2e-5)
