"""What an export cannot keep is told before the work, and how far a file is from its stack, of networks of a moment."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from base_learners.contract import DepthPrediction
from base_learners.encoders.build import build_encoder
from ensemble.data.transforms import Original, seen_at
from ensemble.deploy.export import frames, write
from ensemble.deploy.export.frames import GateFrames, GateImage
from ensemble.deploy.export.parity import Parity, from_stack, refusal
from ensemble.deploy.export.request import ExportRequest, check_photographs
from ensemble.deploy.network import LearnerNetwork, StackNetwork, StackOutput
from ensemble.deploy.runtime import seals
from ensemble.settings.layers import Choice, learner_settings
from ensemble.settings.trees import SettingsError

SIZE = (48, 64)


@pytest.mark.parametrize(
    ("kind", "precision", "more", "told"),
    [
        ("onnx", "int8", {"images": Path()}, "what int8 costs cannot be told; leave it out .* as --calibrate DIR"),
        ("openvino", "bf16", {"images": Path(), "max_loss": 0.1}, "what bf16 costs cannot be held to --max-loss"),
        ("onnx", "fp32", {"max_loss": 0.1}, "--max-loss: is for --precision int8 and bf16 alone"),
        ("openvino", "fp16", {"max_loss": 0.1}, "--max-loss: is for --precision int8 and bf16 alone"),
        ("onnx", "int8", {"max_loss": float("nan")}, "--max-loss nan: expected a share of d1, such as 0.02"),
        ("onnx", "fp32", {"images": Path(__file__)}, "--images .*: expected a folder with photographs, found a file"),
        ("onnx", "int8", {"calibrate": Path(__file__)}, "--calibrate .*: expected a folder .*, found a file"),
    ],
)
def test_arguments_that_contradict_each_other_are_told(kind: str, precision: str, more: dict[str, Any], told: str):
    with pytest.raises(SettingsError, match=told):
        ExportRequest(kind, SIZE, precision, **more)


def test_photographs_may_be_what_bf16_is_compared_on():
    assert ExportRequest("openvino", SIZE, "bf16", images=Path()).loss_allowed is None
    check_photographs("--images", Path())


@pytest.mark.parametrize(
    ("kind", "name", "told"),
    [
        ("onnx", "taken.onnx", "taken.onnx: expected the name of a file to write, found a folder"),
        ("openvino", "taken.xml", "taken.bin: expected the name of a file to write, found a folder"),
        ("openvino", "K.XML", "K.XML: expected a name that ends in .xml for openvino"),
        ("onnx", "file/below/x.onnx", "x.onnx in .*below: expected a folder, found something else in .*file$"),
    ],
)
def test_a_name_that_no_file_can_have_is_told(tmp_path: Path, kind: str, name: str, told: str):
    for folder in ("taken.onnx", "taken.bin"):
        (tmp_path / folder).mkdir()
    (tmp_path / "file").write_text("")
    ExportRequest(kind, SIZE).check_place(tmp_path / "new" / f"free.{name.lower().rpartition('.')[2]}")
    with pytest.raises(SettingsError, match=told):
        ExportRequest(kind, SIZE).check_place(tmp_path / name)


def test_weights_belong_to_a_file_however_its_ending_is_written(tmp_path: Path):
    for name in ("k.XML", "k.bin"):
        (tmp_path / name).write_bytes(b"")
    assert seals.parts(tmp_path / "k.XML") == [tmp_path / "k.bin", tmp_path / "k.XML"]


def test_what_bf16_may_cost_is_limited_where_that_is_asked():
    found = Parity("64 validation frames", 2.0, 0.2, None, None, 0.0, rel=(0.2, 0.2), d1=(0.53, 0.485))
    assert refusal(found, "bf16", None) is None
    assert "d1 falls from 0.5300 to 0.4850, expected a loss of at most 0.02" in str(refusal(found, "bf16", 0.02))
    assert "cannot be scored: no depth is known" in str(refusal(replace(found, rel=None, d1=None), "bf16", 0.02))
    requests = [ExportRequest("openvino", SIZE, "bf16", max_loss=limit) for limit in (None, 0.02)]
    assert [(each.loss_allowed, each.compared) for each in requests] == [(None, 16), (0.02, 64)]


@pytest.mark.parametrize(("scored", "told"), [(True, "those, for depth tells"), (False, "--images DIR")])
def test_photographs_are_no_way_out_where_depth_has_to_be_known(
    monkeypatch: pytest.MonkeyPatch, scored: bool, told: str
):
    def gone(_: object) -> None:
        raise OSError("no such folder")

    monkeypatch.setattr(frames, "open_source", gone)
    stack: Any = SimpleNamespace(network=SimpleNamespace(settings=SimpleNamespace(data=None)), header=SimpleNamespace())
    stack.header.name = "own"
    with pytest.raises(SettingsError, match=rf"own: .* are not there \(no such folder\); expected .*{told}"):
        GateFrames(stack, None, 2, scored=scored)


class _Learner(nn.Module):
    """Depth by the colours of an image, or by the deepest map of an encoder."""

    def __init__(self, encoder: nn.Module | None = None) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, image: torch.Tensor) -> DepthPrediction:
        deepest = image if self.encoder is None else self.encoder(image)[-1]
        return DepthPrediction(image[:, :1] + deepest.mean())


def _network(model: nn.Module, *assignments: str) -> StackNetwork:
    settings = learner_settings("bts", Choice("rooms", assignments=("data.crop=null", *assignments)))
    return StackNetwork(("bts",), [LearnerNetwork([model], [settings])], settings)


@pytest.mark.parametrize(
    ("name", "pads", "size", "met"),
    [
        ("mobilenetv2_050", "same", "120,160", "15x20"),
        ("tf_efficientnet_lite0", None, "72,96", "9x12"),
        ("mobilenetv2_050", "same", "64,96", None),
        ("mobilenetv2_050", "", "120,160", None),
    ],
)
def test_open_sizes_of_encoders_that_pad_by_size_are_refused_where_it_differs(
    name: str, pads: str | None, size: str, met: str | None
):
    encoder = build_encoder(name, arguments={} if pads is None else {"pad_type": pads})
    network = _network(_Learner(encoder).eval(), f"data.size=[{size}]")
    if met is None:
        write.check_open_size(network, "onnx")
        return
    whole = size.replace(",", "x")
    told = f"meets one of {met} at {whole}, the size of the training; .* Expected one size: --size {whole}$"
    with pytest.raises(SettingsError, match=told):
        write.check_open_size(network, "onnx")
    write.check_open_size(network, "torch")  # it takes multiples alone


def test_open_sizes_of_learners_with_a_size_of_their_own_are_refused():
    """Some ended in a traceback of torch, others at the gate."""
    network = _network(_Learner(), "data.size=[48,64]", "size=[64,96]")
    told = "bts saw frames at another size than 48x64, .* Expected one size: --size 48x64$"
    for kind in ("onnx", "torch"):
        with pytest.raises(SettingsError, match=told):
            write.check_open_size(network, kind)


def test_a_file_is_held_beside_what_a_learner_says_of_the_whole_frame(capsys: pytest.CaptureFixture[str]):
    """One with a size of its own sees more in the frame than in the image that a file takes."""
    whole = torch.randint(0, 256, (1, 3, 192, 256), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    image = GateImage(seen_at(whole, SIZE).mul(255).round().byte(), whole, None, None)
    network = _network(_Learner(), "data.size=[48,64]", "size=[96,128]", "evaluation.flip_averaging=false")

    def as_stacks(image: np.ndarray) -> dict[str, np.ndarray]:
        return _maps(network(torch.from_numpy(image) / 255, Original(whole, SIZE)))

    def as_files(image: np.ndarray) -> dict[str, np.ndarray]:
        return _maps(network(torch.from_numpy(image) / 255))

    assert from_stack(network, as_stacks, [image], "uint8") == (0, 0)
    largest, mean = from_stack(network, as_files, [image], "uint8")
    assert largest > mean > 0.01
    parity = Parity("1 photograph", 0.0, 0.0, None, None, 0.0, rel=None, d1=None, stack=(largest, mean))
    write.say(parity, Path(__file__), "fp32", network)
    told = " ".join(capsys.readouterr().err.split())
    assert "lets bts see the whole frame at a size of its own, which files do not" in told


def test_files_of_torch_are_compared_at_multiples_of_the_stride():
    """They take no other; the size of the training need not be one."""
    network, asked = _network(_Learner(), "data.size=[48,64]"), []
    held: Any = SimpleNamespace(at=lambda size: asked.append(size) or [_gate_image(size)], what="an image")

    def opened(_: Path) -> Any:
        return SimpleNamespace(run=lambda image: _maps(network(torch.from_numpy(image) / 255)))

    for kind, sizes in (("onnx", [(48, 64), (96, 96)]), ("torch", [(64, 64), (96, 96)])):
        asked.clear()
        with pytest.MonkeyPatch.context() as patch:
            patch.setitem(write.OPENED, kind, opened)
            write.measured(network, Path(), ExportRequest(kind, None), held)
        assert asked == sizes


def _maps(said: StackOutput) -> dict[str, np.ndarray]:
    return {name: maps.numpy() for name, maps in said._asdict().items() if maps is not None}


def _gate_image(size: tuple[int, int]) -> GateImage:
    pixels = torch.zeros(1, 3, *size, dtype=torch.uint8)
    return GateImage(pixels, pixels, None, None)
