"""The pyramid's taps, its weights from every kind of file, and files that must be refused."""

import argparse
import copy
import errno
import os
import pickle
import socket
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import timm
import torch
from huggingface_hub import constants
from narrow import noise
from safetensors.torch import save_file

from base_learners.encoders import build
from base_learners.encoders.build import FITTING, build_encoder, padded_by_size, with_constant_padding
from base_learners.encoders.deferred import unused_deferred
from base_learners.encoders.hub import asked_once, silence_of_hub
from base_learners.encoders.pyramid import Pyramid
from base_learners.encoders.weights import WAY_OUT, read_tensors

MOBILENET = (
    Path(os.environ.get("STACKDEPTH_WEIGHTS", "../shared/data/weights")) / "mobilenetv2_100_imagenet.safetensors"
)
UNIT = {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}


def parameters(module):
    return sum(p.numel() for p in module.parameters())


@pytest.fixture
def ghost():
    torch.manual_seed(0)
    return timm.create_model("ghostnet_100").eval()


def test_taps_equal_hooks_on_the_classifier(ghost, tmp_path):
    save_file(ghost.state_dict(), tmp_path / "ghost.safetensors")
    pyramid = build_encoder(weights=str(tmp_path / "ghost.safetensors"), **UNIT).eval()
    hooked, image = [], noise(1, 3, 96, 128)
    for stage in (0, 2, 4, 6, 9):
        ghost.blocks[stage].register_forward_hook(lambda _module, _inputs, output: hooked.append(output))
    with torch.no_grad():
        ghost(image)
        maps = pyramid(image)
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(maps, hooked, strict=True))
    assert pyramid.channels == tuple(single.shape[1] for single in maps) == (16, 24, 40, 112, 960)


def test_parameters_of_the_deep_taps():
    assert parameters(build_encoder()) == 2_671_428
    assert parameters(timm.create_model("ghostnet_100", features_only=True)) == 948_388  # what must not happen


@pytest.mark.parametrize(("name", "count"), [("ghostnetv2_100", 3_645_828), ("ghostnetv3_100", 5_617_948)])
def test_later_ghostnets_have_deep_taps_and_no_idle_weights(name, count):
    pyramid = build_encoder(name)
    assert parameters(pyramid) == count
    sum(single.square().mean() for single in pyramid(noise(2, 3, 64, 64))).backward()
    assert [key for key, p in pyramid.named_parameters() if p.grad is None] == []


@pytest.mark.parametrize("name", ["ghostnet_050", "mobilenetv2_035", "resnet10t"])
@pytest.mark.parametrize("size", [(64, 96), (75, 101)])
def test_any_model_with_five_strides_and_any_size(name, size):
    pyramid = build_encoder(name).eval()
    with torch.no_grad():
        maps = pyramid(noise(1, 3, *size))
    assert [single.shape[1] for single in maps] == list(pyramid.channels)
    assert [tuple(single.shape[-2:]) for single in maps] == [
        (-(-size[0] // r), -(-size[1] // r)) for r in (2, 4, 8, 16, 32)
    ]


def test_other_strides_and_names_are_refused():
    with pytest.raises(ValueError, match=r"strides \(4, 8, 16, 32\), expected \(2, 4, 8, 16, 32\)"):
        build_encoder("convnext_atto")
    with pytest.raises(ValueError, match="no such model, nearest: ghostnet"):
        build_encoder("ghostnet_10")
    with pytest.raises(ValueError, match="arguments do not fit"):
        build_encoder("ghostnet_050", arguments={"colour": 1})


def test_the_error_for_a_wrong_encoder_names_what_fits():
    for wrong in ("convnext_atto", "vit_tiny_patch16_224"):
        with pytest.raises(ValueError, match=f"{wrong}: .*; .* fit") as error:
            build_encoder(wrong)
        assert FITTING in str(error.value)
    for name in FITTING.replace(" and", ",").split(", "):
        assert len(build_encoder(name).channels) == 5
    with pytest.raises(ValueError, match=r"strides \(2, 4, 8, 16, 32\), expected \(4, 64\)"):
        build_encoder("ghostnet_050", needs=Pyramid((4, 64)))


@pytest.mark.parametrize(
    ("name", "strides"),
    [("ghostnet_050", (4, 8, 16)), ("test_efficientnet", (4, 8, 16, 32)), ("convnext_atto", (4, 8, 16, 32))],
)
def test_a_decoder_gets_the_strides_it_needs_and_no_idle_weights(name, strides):
    pyramid, image = build_encoder(name, needs=Pyramid(strides)), noise(2, 3, 64, 96)
    maps = pyramid(image)
    assert [tuple(single.shape[2:]) for single in maps] == [(64 // stride, 96 // stride) for stride in strides]
    assert tuple(single.shape[1] for single in maps) == pyramid.channels
    sum(single.square().mean() for single in maps).backward()
    assert [key for key, p in pyramid.named_parameters() if p.grad is None] == []


def test_a_part_of_a_pyramid_is_that_of_the_whole():
    whole = build_encoder("ghostnet_050").eval()
    part = build_encoder("ghostnet_050", needs=Pyramid((4, 16))).eval()
    part.features.load_state_dict({key: whole.features.state_dict()[key] for key in part.features.state_dict()})
    image = noise(1, 3, 64, 64)
    with torch.no_grad():
        assert all(torch.equal(a, b) for a, b in zip(part(image), whole(image)[1::2], strict=False))


@pytest.mark.parametrize("name", ["mobilenetv2_050", "tf_efficientnet_lite0", "mobilenetv1_100"])
def test_padding_is_constant_where_strides_divide_the_image(name: str):
    same = build_encoder(name, arguments={"pad_type": "same"} if name.startswith("mobile") else {}).eval()
    image = noise(1, 3, 64, 96)
    with torch.no_grad():
        expected = same(image)
        constant = with_constant_padding(copy.deepcopy(same))
        assert not [each for each in constant.modules() if type(each).__name__ == "Conv2dSame"]
        assert [each for each in same.modules() if type(each).__name__ == "Conv2dSame"]
        assert all(torch.equal(a, b) for a, b in zip(constant(image), expected, strict=True))
        odd = noise(1, 3, 120, 160)
        assert (padded_by_size(same, image), padded_by_size(same, odd)) == ([], [(15, 20)])
        assert not torch.equal(constant(odd)[3], same(odd)[3])


def test_learners_are_imported_without_timm():
    script = "import sys, base_learners; print('timm' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_normalisation_belongs_to_the_encoder():
    plain, shifted = (
        build_encoder("ghostnet_050", mean=(mean,) * 3, std=(std,) * 3) for mean, std in ((0.0, 1.0), (0.5, 0.25))
    )
    shifted.features.load_state_dict(plain.features.state_dict())
    image = noise(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(shifted.eval()(image)[4], plain.eval()((image - 0.5) / 0.25)[4])
    assert build_encoder("ghostnet_050").mean.flatten().tolist() == pytest.approx([0.485, 0.456, 0.406])
    with pytest.raises(ValueError, match=r"encoder.mean: expected 6 values"):
        build_encoder("ghostnet_050", in_channels=6)
    with pytest.raises(ValueError, match="input has 4 channels, expected 3"):
        plain(noise(1, 4, 64, 64))


@pytest.mark.parametrize("channels", [1, 2, 3, 6])
def test_stem_follows_the_input_channels(ghost, tmp_path, channels):
    torch.save(ghost.state_dict(), tmp_path / "ghost.pth")
    normal = {"mean": (0.5,) * channels, "std": (0.5,) * channels}
    stem = build_encoder(in_channels=channels, weights=str(tmp_path / "ghost.pth"), **normal).features.conv_stem.weight
    given = ghost.conv_stem.weight
    expected = {
        1: given.sum(dim=1, keepdim=True),
        2: given[:, :2] * 1.5,
        3: given,
        6: torch.cat([given, given], dim=1) / 2,
    }[channels]
    torch.testing.assert_close(stem, expected)


@pytest.mark.parametrize("wrap", [lambda s: s, lambda s: {"state_dict": {f"module.{k}": v for k, v in s.items()}}])
def test_official_naming_with_and_without_its_classifier(ghost, tmp_path, wrap):
    state, path = ghost.state_dict(), tmp_path / "state_dict_73.98.pth"
    assert len(state) == 512
    for key in ("classifier.weight", "conv_head.bias"):
        torch.save(wrap(state), path)
        loaded = build_encoder(weights=str(path)).features.state_dict()
        assert all(torch.equal(loaded[name], state[name]) for name in loaded)
        del state[key]


def test_missing_misshapen_and_unknown_keys_are_named(ghost, tmp_path):
    state, path = ghost.state_dict(), tmp_path / "ghost.pth"
    del state["bn1.weight"]
    state["bn1.bias"] = torch.zeros(5)
    state["blocks.99.weight"] = torch.zeros(5)
    torch.save(state, path)
    with pytest.raises(ValueError, match=r"ghost.pth: does not fit") as error:
        build_encoder(weights=str(path))
    for part in (
        "1 missing (first: bn1.weight)",
        "1 unknown (first: blocks.99.weight)",
        "first: bn1.bias (5,) instead of (16,)",
    ):
        assert part in str(error.value)


def test_the_older_layout_is_refused_by_name(tmp_path):
    torch.save({"features.0.0.weight": torch.zeros(16, 3, 3, 3)}, tmp_path / "old.pth")
    with pytest.raises(ValueError, match="older GhostNet layout"):
        build_encoder(weights=str(tmp_path / "old.pth"))


class Exploit:
    """Unpickling this creates a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize("write", [lambda c, p: p.write_bytes(pickle.dumps(c, protocol=2)), torch.save])
def test_a_malicious_pickle_is_refused_and_not_executed(tmp_path, write):
    trace, path = tmp_path / "executed", tmp_path / "evil.pth"
    write({"conv_stem.weight": Exploit(trace)}, path)
    with pytest.raises(ValueError, match=r"evil.pth: refused"):
        build_encoder(weights=str(path))
    assert not trace.exists()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("huge.safetensors", (2**62).to_bytes(8, "little") + b"{}"),
        ("short.safetensors", b"\x01"),
        ("empty.pth", b""),
        ("text.pth", b"not weights"),
    ],
)
def test_damaged_files_are_refused_with_the_way_out(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=f"{name}: refused") as error:
        build_encoder(weights=str(tmp_path / name))
    assert "--set encoder.weights=none" in str(error.value)


def test_an_absent_file_and_other_content_are_refused(tmp_path):
    with pytest.raises(ValueError, match="no such file of encoder weights"):
        build_encoder(weights=str(tmp_path / "nothing.pth"))
    torch.save([torch.zeros(3)], tmp_path / "list.pth")
    with pytest.raises(ValueError, match="expected a state dictionary of named tensors, found list"):
        build_encoder(weights=str(tmp_path / "list.pth"))


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """A hub at an address where nobody listens, and an empty cache of it; yields the address."""
    with socket.socket() as unheard:  # bound, and never listens
        unheard.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{unheard.getsockname()[1]}"
        monkeypatch.setattr(constants, "ENDPOINT", address)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
        yield address


def test_a_hub_that_does_not_answer_is_asked_once(hub, caplog, capfd):
    with pytest.raises(ValueError, match=f"ImageNet weights cannot be had: {hub} does not answer") as error:
        build_encoder("test_efficientnet", weights="imagenet")
    assert str(error.value).endswith(WAY_OUT)
    assert "for mobilenetv2_100 with --set encoder.weights=nyu-small" in WAY_OUT
    assert "Retrying" not in caplog.text + capfd.readouterr().err
    with asked_once() as silence:
        assert constants.HF_HUB_OFFLINE
        assert hub in str(silence)
    assert not constants.HF_HUB_OFFLINE


def test_weights_that_were_fetched_before_want_no_hub(hub, tmp_path):
    trained = timm.create_model("test_efficientnet", num_classes=1000)
    folder = tmp_path / "models--timm--test_efficientnet.r160_in1k"
    kept = folder / "snapshots" / ("0" * 40)
    kept.mkdir(parents=True)
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text("0" * 40)
    save_file(trained.state_dict(), kept / "model.safetensors")
    built = build_encoder("test_efficientnet", weights="imagenet").features.state_dict()
    assert torch.equal(built["conv_stem.weight"], trained.state_dict()["conv_stem.weight"])


def test_a_hub_that_answers_with_an_error_is_there(monkeypatch):
    class Refusing(BaseHTTPRequestHandler):
        def do_HEAD(self):
            self.send_error(404)

        def log_message(self, *words):
            """Nothing on the screen."""

    with HTTPServer(("127.0.0.1", 0), Refusing) as server:
        threading.Thread(target=server.handle_request, daemon=True).start()
        monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{server.server_port}")
        assert silence_of_hub() is None
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert silence_of_hub() == "HF_HUB_OFFLINE is set"


def test_a_download_that_breaks_off_names_both_ways_out(hub, monkeypatch):
    monkeypatch.setattr(build, "is_fetched", lambda repository: True)
    create = timm.create_model

    def offline(name, *, pretrained=False, **arguments):
        if pretrained:
            raise FileNotFoundError("cannot reach the hub")
        return create(name, **arguments)

    monkeypatch.setattr(timm, "create_model", offline)
    for name in ("ghostnet_100", "resnet10t"):
        with pytest.raises(ValueError, match="ImageNet weights cannot be had") as error:
            build_encoder(name, weights="imagenet")
        assert "--set encoder.weights=FILE" in str(error.value)
        assert "--set encoder.weights=none" in str(error.value)


def test_the_encoder_of_a_network_fits_another_one(tmp_path):
    """Of a learner of ours, or of a stack of one; in 16 bits too, and whatever else the file holds."""
    plain = build_encoder("mobilenetv2_050")
    with torch.no_grad():
        for parameter in plain.parameters():
            parameter.copy_(torch.randn_like(parameter).half())
    own = {name: value for name, value in plain.state_dict().items() if name.startswith("features.")}
    inside = {f"encoder.{name}": value.half() if value.is_floating_point() else value for name, value in own.items()}
    rest = {"decoder.0.weight": torch.zeros(3), "last.bias": torch.zeros(1)}
    for front in ("", "members.0.models.0."):
        path = tmp_path / f"own{len(front)}.stack"
        save_file({front + name: value.contiguous() for name, value in {**inside, **rest}.items()}, path)
        found = build_encoder("mobilenetv2_050", weights=str(path))
        for name, value in plain.features.state_dict().items():
            torch.testing.assert_close(found.features.state_dict()[name], value)
    two = {f"members.{index}.{name}": value.clone() for index in (0, 1) for name, value in inside.items()}
    save_file(two, tmp_path / "two.stack")
    with pytest.raises(ValueError, match=r"holds 2 encoders of networks .* of which 2 fit this one; expected one"):
        build_encoder("mobilenetv2_050", weights=str(tmp_path / "two.stack"))
    with pytest.raises(ValueError, match=r"holds 1 encoders of networks .* of which 0 fit"):
        build_encoder("ghostnet_050", weights=str(tmp_path / "own0.stack"))


@pytest.mark.skipif(
    not MOBILENET.is_file(), reason=f"no weights at {MOBILENET} (set STACKDEPTH_WEIGHTS to their folder)"
)
def test_mobilenet_weights_load_into_a_features_model():
    pyramid = build_encoder(
        "mobilenetv2_100", weights=str(MOBILENET), arguments={"pad_type": "same"}, mean=(0.5,) * 3, std=(0.5,) * 3
    ).eval()
    assert pyramid.channels == (16, 24, 32, 96, 320)
    with torch.no_grad():
        deepest = pyramid(noise(1, 3, 96, 128))[4]
    assert deepest.shape == (1, 320, 3, 4)
    assert 0.05 < deepest.std() < 20


def test_advice_to_execute_what_is_in_a_file_is_not_passed_on(tmp_path):
    class Command:
        def __reduce__(self):
            return os.system, ("true",)

    for content in (Command(), {"weight": argparse.Namespace()}):
        torch.save(content, tmp_path / "w.pth")
        with pytest.raises(
            ValueError, match=r"it holds (posix\.system|argparse\.Namespace), which is no tensor"
        ) as caught:
            read_tensors(tmp_path / "w.pth")
        assert "weights_only" not in str(caught.value)
        assert "torch.load" not in str(caught.value)


def test_weights_that_the_system_does_not_hand_out_are_not_called_damaged(tmp_path, monkeypatch):
    (tmp_path / "w.safetensors").write_bytes(b"x")

    def refused(*_: object, **__: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("safetensors.torch.load_file", refused)
    with pytest.raises(ValueError, match=r"w\.safetensors: cannot be read \(Input/output error\)"):
        read_tensors(tmp_path / "w.safetensors")


_COMPILED = """
import sys
import base_learners.encoders.build
assert not any(name.startswith("torch._dynamo") for name in sys.modules), "the compiler was imported"
assert "wandb" not in sys.modules, "the tracker was imported, or its stand-in was left behind"
import torch
from timm.models.naflexvit import NaFlexRopeIterator
from torchvision.ops import roi_align
assert roi_align(torch.ones(1, 3, 16, 16), torch.tensor([[0.0, 1, 1, 9, 9]]), 4).eq(1).all()
assert torch.compile(torch.sin, backend="eager")(torch.zeros(2)).eq(0).all()
assert sys.modules["torch._dynamo"].__file__, "a stand-in was left behind"
assert callable(NaFlexRopeIterator.__next__)
from timm.utils.summary import wandb
assert callable(wandb.log) and sys.modules["wandb"].__file__, "who asks for the tracker gets it"
"""


@pytest.mark.slow
def test_the_compiler_of_torch_and_wandb_are_imported_when_they_are_used_and_not_before():
    subprocess.run([sys.executable, "-c", _COMPILED], check=True, cwd=Path(__file__).parents[2])


def test_a_stand_in_gives_way_to_the_real_module(monkeypatch: pytest.MonkeyPatch):
    for name in [name for name in sys.modules if name.startswith("torch._dynamo")]:
        monkeypatch.delitem(sys.modules, name)
    with unused_deferred():
        stand_in = sys.modules["torch._dynamo.utils"]
        assert stand_in.__spec__ is None
        disabled = sys.modules["torch._dynamo"].disable(lambda value: value + 1)
    assert "torch._dynamo" not in sys.modules
    assert disabled.__wrapped__(1) == 2
