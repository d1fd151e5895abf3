"""DPT's size and cost to the digit, the authors' weights under their names, and what it refuses."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from narrow import narrow_network, noise
from torch.utils.flop_counter import FlopCounterMode

from base_learners.blocks import upsample_to
from base_learners.dpt import DPT, Fusion, Readout
from base_learners.encoders.build import build_encoder
from base_learners.encoders.pyramid import WITH_TRANSFORMER
from base_learners.transformer import Transformer

HYBRID, LIGHT = "vit_base_r50_s16_384", "tf_efficientnet_b0"
NEVER_READ = 769_000 + 1_536 + 1_180_160
"""Classifier, final norm, and first residual unit of the deepest fusion, which published code builds and counts."""


def on_meta(encoder: str = HYBRID, **changes) -> DPT:
    with torch.device("meta"):
        return DPT(build_encoder(encoder, needs=WITH_TRANSFORMER), **changes).eval()


def parameters(network: torch.nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def giga(network: DPT, size: tuple[int, int]) -> float:
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(torch.empty(1, 3, *size, device="meta"))
    return counter.get_total_flops() / 2e9


@pytest.mark.parametrize(
    ("hooks", "as_published", "built"),
    [((8, 11), 123_146_985, 121_196_289), ((2, 5), 80_619_753, 78_669_057), ((0, 1), 52_268_265, 50_317_569)],
)
def test_parameters_are_the_published_ones(hooks, as_published, built):
    network = on_meta(hooks=hooks)
    assert parameters(network) == built
    assert built + NEVER_READ == as_published
    assert parameters(network.encoder) == 11_894_848
    assert len(network.transformer.blocks) == hooks[1] + 1


@pytest.mark.parametrize(
    ("hooks", "built", "megabytes"),
    [((8, 11), 114_832_701, 467.1), ((2, 5), 72_305_469, 297.0), ((0, 1), 43_953_981, 183.6)],
)
def test_parameters_on_efficientnet_are_the_published_ones(hooks, built, megabytes):
    network = on_meta(LIGHT, hooks=hooks)
    assert parameters(network) == built
    assert (built + NEVER_READ) * 4 / 1e6 == pytest.approx(megabytes, abs=0.05)
    assert parameters(network.encoder) == 4_007_548
    assert network.encoder.channels == (24, 40, 1280)


@pytest.mark.parametrize(("heads", "attention"), [(1, "softmax"), (24, "softmax"), (1, "performer")])
def test_heads_and_kinds_of_attention_have_equal_parameters(heads, attention):
    assert parameters(on_meta(hooks=(0, 1), heads=heads, attention=attention)) == 50_317_569


@pytest.mark.parametrize(
    ("hooks", "size", "expected"),
    [
        ((8, 11), (192, 640), 105.5),
        ((2, 5), (192, 640), 83.0),
        ((0, 1), (384, 384), 81.7),
        ((8, 11), (352, 1216), 404.1),
    ],
)
def test_multiply_adds_are_the_published_ones(hooks, size, expected):
    assert giga(on_meta(hooks=hooks), size) == pytest.approx(expected, abs=0.05)


def test_the_internal_size_alone_decides_the_cost():
    assert giga(on_meta(hooks=(0, 1), internal_size=[192, 640]), (352, 1216)) == pytest.approx(67.9, abs=0.05)


def test_a_decoder_of_96_channels_is_a_quarter_of_the_cut_network():
    wide, narrow = (giga(on_meta(hooks=(0, 1), decoder_width=width), (192, 640)) for width in (256, 96))
    assert (wide, narrow) == (pytest.approx(67.91, abs=0.01), pytest.approx(29.53, abs=0.01))


def authors_file(folder: Path, network: DPT, *, heads_of_readout: bool = True) -> tuple[Path, dict[str, torch.Tensor]]:
    """A file in the authors' naming with the shapes of a network, and with what nothing reads."""
    names = {"encoder.features.": "pretrained.model.", "transformer.": "pretrained.model."}
    names |= {"project.": "pretrained.model.patch_embed.proj.", "readouts.0.": "pretrained.act_postprocess3.0."}
    names |= {"readouts.1.": "pretrained.act_postprocess4.0.", "reassemble.0.": "pretrained.act_postprocess3.3."}
    names |= {f"reassemble.1.{part}.": f"pretrained.act_postprocess4.{part + 3}." for part in (0, 1)}
    names |= {f"narrow.{level}.": f"scratch.layer{level + 1}_rn." for level in range(4)}
    names |= {f"head.{part}.": f"scratch.output_conv.{2 * part}." for part in range(3)}
    parts = {"skip": "resConfUnit1", "refine": "resConfUnit2", "mix": "out_conv"}
    for level in range(4):
        names |= {f"fusion.{level}.{own}.": f"scratch.refinenet{level + 1}.{theirs}." for own, theirs in parts.items()}
    given = {}
    for index, (name, value) in enumerate(network.state_dict().items()):
        if name not in ("encoder.mean", "encoder.std"):
            start = next(start for start in names if name.startswith(start))
            given[names[start] + name.removeprefix(start)] = noise(*value.shape, seed=index) / 10
    width = network.head[0].in_channels
    for unit in ("conv1", "conv2"):
        given[f"scratch.refinenet4.resConfUnit1.{unit}.weight"] = torch.zeros(width, width, 3, 3)
        given[f"scratch.refinenet4.resConfUnit1.{unit}.bias"] = torch.zeros(width)
    for part, shape in {
        "norm.weight": (32,),
        "norm.bias": (32,),
        "head.weight": (1000, 32),
        "head.bias": (1000,),
    }.items():
        given[f"pretrained.model.{part}"] = torch.zeros(shape)
    path = folder / "dpt_hybrid.pt"
    torch.save(given, path)
    return path, given


SMALL = {"width": 32, "blocks": 12, "heads": 4, "feedforward": 64, "positions": (24, 24), "decoder_width": 16}


def hybrid(weights: Path | str = "none", **changes) -> DPT:
    torch.manual_seed(0)
    encoder = build_encoder(HYBRID, needs=WITH_TRANSFORMER, weights=str(weights), arguments={"depth": 0})
    return DPT(encoder, **{**SMALL, **changes}).eval()


@pytest.fixture(scope="module")
def published(tmp_path_factory) -> tuple[Path, dict[str, torch.Tensor]]:
    return authors_file(tmp_path_factory.mktemp("weights"), hybrid())


KNOWN = [
    "pretrained.model.cls_token",
    "pretrained.model.pos_embed",
    "pretrained.model.patch_embed.proj.weight",
    "pretrained.model.patch_embed.backbone.stem.conv.weight",
    "pretrained.model.patch_embed.backbone.stages.0.blocks.0.conv1.weight",
    "pretrained.model.blocks.11.attn.qkv.weight",
    "pretrained.model.blocks.0.mlp.fc1.bias",
    "pretrained.model.blocks.3.norm2.weight",
    "pretrained.act_postprocess3.0.project.0.weight",
    "pretrained.act_postprocess3.3.weight",
    "pretrained.act_postprocess4.0.project.0.bias",
    "pretrained.act_postprocess4.3.bias",
    "pretrained.act_postprocess4.4.weight",
    "scratch.layer1_rn.weight",
    "scratch.layer4_rn.weight",
    "scratch.refinenet1.out_conv.weight",
    "scratch.refinenet2.resConfUnit2.conv1.bias",
    "scratch.refinenet4.resConfUnit1.conv2.weight",
    "scratch.output_conv.0.weight",
    "scratch.output_conv.2.weight",
    "scratch.output_conv.4.bias",
]
"""Names of the authors' module structure."""


def test_every_weight_of_the_authors_file_is_loaded(published):
    path, given = published
    assert set(KNOWN) <= set(given)
    network, other = hybrid(path), hybrid()
    assert network.unfilled == ()
    own, fresh = network.state_dict(), other.state_dict()
    same = [name for name in own if name not in ("encoder.mean", "encoder.std") and torch.equal(own[name], fresh[name])]
    assert same == [], "every tensor came from the file"
    assert torch.equal(
        own["transformer.blocks.11.attn.qkv.weight"], given["pretrained.model.blocks.11.attn.qkv.weight"]
    )
    assert torch.equal(own["reassemble.1.1.weight"], given["pretrained.act_postprocess4.4.weight"])
    assert torch.equal(own["fusion.0.skip.conv2.bias"], given["scratch.refinenet1.resConfUnit1.conv2.bias"])
    assert torch.equal(own["head.2.weight"], given["scratch.output_conv.4.weight"])


def test_cut_variants_begin_with_the_blocks_that_they_keep(published):
    path, given = published
    cut = hybrid(path, hooks=(0, 1), heads=1)
    assert cut.unfilled == ()
    qkv = cut.state_dict()["transformer.blocks.1.attn.qkv.weight"]
    assert torch.equal(qkv, given["pretrained.model.blocks.1.attn.qkv.weight"])


def test_performers_begin_with_everything_but_their_features(published):
    performer = hybrid(published[0], hooks=(0, 1), attention="performer")
    assert performer.unfilled == tuple(f"transformer.blocks.{block}.attn.features" for block in (0, 1))


def test_a_narrower_decoder_says_what_it_does_not_begin_with(published):
    narrow = hybrid(published[0], decoder_width=8)
    parts = {name.split(".")[0] for name in narrow.unfilled}
    assert parts == {"narrow", "fusion", "head"}
    assert "head.2.weight" not in narrow.unfilled, "the last convolution has as many channels in every decoder"


def test_a_file_without_the_backbone_is_refused(published, tmp_path):
    path = tmp_path / "half.pt"
    torch.save({name: value for name, value in published[1].items() if "backbone.stages.2" not in name}, path)
    with pytest.raises(ValueError, match=r"half.pt: does not fit the encoder: \d+ missing \(first: patch_embed"):
        hybrid(path)


def test_weights_of_a_convolutional_encoder_alone_leave_the_rest(tmp_path):
    source = build_encoder("mobilenetv2_035", needs=WITH_TRANSFORMER)
    torch.save(source.features.state_dict(), tmp_path / "encoder.pt")
    encoder = build_encoder("mobilenetv2_035", needs=WITH_TRANSFORMER, weights=str(tmp_path / "encoder.pt"))
    assert torch.equal(encoder.features.conv_head.weight, source.features.conv_head.weight)
    assert DPT(encoder, **{**SMALL, "hooks": (0, 1)}).unfilled == ()


def test_positions_are_resized_bilinearly_with_corners_not_aligned():
    small = {"heads": 1, "hidden": 4, "hooks": (0,), "attention": "softmax"}
    transformer = Transformer(2, positions=(2, 2), **small)
    transformer.pos_embed.data[0, 1:, 0] = torch.tensor([0.0, 1.0, 2.0, 3.0])
    resized = transformer._positions(torch.zeros(1, 2, 2, 4))[0, 0]
    torch.testing.assert_close(resized[0], torch.tensor([0.0, 0.25, 0.75, 1.0]))
    torch.testing.assert_close(resized[1], resized[0] + 2)
    assert torch.equal(transformer._positions(torch.zeros(1, 2, 2, 2))[0, 0].flatten(), torch.arange(4.0))


def test_fusion_keeps_corners_and_adds_the_skip():
    fusion = Fusion(1, skip=True)
    for parameter in fusion.parameters():
        torch.nn.init.zeros_(parameter)
    torch.nn.init.ones_(fusion.mix.weight)
    x, skip = torch.tensor([[1.0, 2.0], [3.0, 4.0]]).view(1, 1, 2, 2), torch.full((1, 1, 2, 2), 10.0)
    out = fusion(x, skip)[0, 0]
    assert out.shape == (4, 4)
    torch.testing.assert_close(out[::3, ::3], torch.tensor([[11.0, 12.0], [13.0, 14.0]]))


def test_readout_gives_every_token_the_class_token():
    readout = Readout(2)
    torch.nn.init.zeros_(readout.project[0].bias)
    readout.project[0].weight.data = torch.tensor([[1.0, 0, 0, 0], [0, 0, 1.0, 0]])
    tokens, class_token = torch.arange(12.0).view(1, 6, 2), torch.tensor([[[7.0, 8.0]]])
    found = readout(tokens, class_token, torch.zeros(1, 2, 2, 3))
    torch.testing.assert_close(found[0, 0], F.gelu(torch.tensor([[0.0, 2.0, 4.0], [6.0, 8.0, 10.0]])))
    torch.testing.assert_close(found[0, 1], F.gelu(torch.full((2, 3), 7.0)))


@pytest.mark.parametrize(("scale", "shift", "depth"), [(0.000305, 0.1378, 1 / 0.1378), (1.0, None, 10.0)])
def test_output_becomes_metres_by_scale_and_shift(scale, shift, depth):
    network = narrow_network("dpt", scale=scale, shift=shift).eval()
    last = network.head[-1]
    torch.nn.init.zeros_(last.weight)
    torch.nn.init.constant_(last.bias, -1)  # below zero: the ReLU leaves the shift alone
    assert network(noise(1, 3, 64, 64)).depth.mean().item() == pytest.approx(depth, rel=1e-5)
    torch.nn.init.constant_(last.bias, 0.5 / scale)
    expected = 1 / (0.5 + (0.1 if shift is None else shift))
    assert network(noise(1, 3, 64, 64)).depth.mean().item() == pytest.approx(expected, rel=1e-4)


def test_it_starts_near_a_quarter_of_the_largest_depth():
    for largest in (10.0, 80.0):
        depth = narrow_network("dpt", max_depth=largest).eval()(noise(4, 3, 64, 96)).depth
        assert depth.median().item() == pytest.approx(largest / 4, rel=0.5)


def test_an_internal_size_is_what_the_network_sees():
    network, image = narrow_network("dpt", internal_size=[64, 96]).eval(), noise(1, 3, 100, 150)
    inside = network(upsample_to(image, image.new_empty(0, 64, 96))).depth
    torch.testing.assert_close(network(image).depth, upsample_to(inside, image))


def test_what_cannot_be_built_is_refused():
    with pytest.raises(ValueError, match=r"hooks \[1, 3\], expected two ascending numbers of the 3 blocks, 0 .. 2"):
        narrow_network("dpt", hooks=[1, 3])
    with pytest.raises(ValueError, match=r"hooks \[1, 1\]"):
        narrow_network("dpt", hooks=[1, 1])
    with pytest.raises(ValueError, match="5 heads do not divide a width of 32"):
        narrow_network("dpt", heads=5)
    with pytest.raises(
        ValueError, match=r"internal_size \[190, 640\], .* multiples of 32 pixels, such as \[192, 640\]"
    ):
        narrow_network("dpt", internal_size=[190, 640])
    with pytest.raises(ValueError, match=r"internal_size \[64\], expected height and width"):
        narrow_network("dpt", internal_size=[64])
    for changes in ({"decoder_width": 1}, {"scale": 0.0}, {"scale": -1.0}):
        with pytest.raises(
            ValueError, match="expected 2 channels at least, of which the head takes half, and a factor"
        ):
            narrow_network("dpt", **changes)
    with pytest.raises(ValueError, match="'linear', expected softmax or performer"):
        narrow_network("dpt", attention="linear")
    with pytest.raises(ValueError, match="encoder vit_tiny_patch16_224: has maps of convolutions at strides"):
        narrow_network("dpt", encoder="vit_tiny_patch16_224")
