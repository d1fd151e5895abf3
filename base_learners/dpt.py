"""DPT-Hybrid: convolutions, a vision transformer over their deepest map, and a convolutional decoder of both.

Source: Ranftl et al. 2021, Vision Transformers for Dense Prediction, section 3; efficient variants (fewer blocks, other
numbers of heads, Performer attention, a light backbone) as a study of 2022 cut them on KITTI.
Deviations: blocks after the last that is read, the classifier, the final norm and the first residual unit of the
deepest fusion, which published files hold and nothing reads, are not built; depth is held within its range; the bias of
the last convolution starts at indoor depths.
"""

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from base_learners.blocks import ResidualUnit, full_precision, upsample_to
from base_learners.contract import DepthPrediction, DepthTarget, ValidMask
from base_learners.encoders.pyramid import Encoder
from base_learners.losses import resize_like, scale_invariant_log_loss
from base_learners.transformer import Transformer

STRIDE = 32
"""Sides that the network runs at are multiples of this, in pixels."""
PATCH = 16
"""Pixels of the image per token, downwards and to the right."""
SMALLEST_INVERSE = 1e-8
"""1 / metres; below it, inverse depth has no depth."""
HEAD_WIDTH = 32


class Fusion(nn.Module):
    """Adds a skip where there is one, refines, doubles the size, and mixes channels."""

    def __init__(self, width: int, *, skip: bool) -> None:
        super().__init__()
        self.skip = ResidualUnit(width) if skip else None
        self.refine = ResidualUnit(width)
        self.mix = nn.Conv2d(width, width, 1)

    def forward(self, x: Float[Tensor, "b c h w"], skip: Tensor | None = None) -> Float[Tensor, "b c H W"]:
        """A map of twice the height and width."""
        if self.skip is not None:
            x = x + self.skip(skip)
        return self.mix(_doubled(self.refine(x)))


class Readout(nn.Module):
    """Mixes the class token into every other token and makes a map of them (readout "project")."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.project = nn.Sequential(nn.Linear(2 * width, width), nn.GELU())

    def forward(self, tokens: Float[Tensor, "b n c"], class_token: Float[Tensor, "b 1 c"], like: Tensor) -> Tensor:
        """A map as high and wide as ``like``."""
        mixed = self.project(torch.cat([tokens, class_token.expand_as(tokens)], dim=-1))
        return mixed.transpose(1, 2).unflatten(2, like.shape[-2:])


class DPT(nn.Module):
    """Image to metres.

    Its backbone is the encoder that it is given: the convolutions of a hybrid of timm, or those of any light network,
    whose map at stride 32 is enlarged for the transformer.

    Args:
        max_depth: Metres; the largest depth.
        min_depth: Metres; the smallest depth.
        width: Channels of a token.
        blocks: Of the transformer, of which those after the last that is read are left out.
        heads: Of the attention; they share ``width``.
        feedforward: Channels inside a block.
        positions: Rows and columns of the learnt positions, which other maps get resized.
        hooks: Numbers of the two blocks that the decoder reads, from 0.
        attention: ``softmax``, or ``performer`` for one whose cost is linear in the number of tokens.
        decoder_width: Channels of the decoder.
        internal_size: Height and width that images are brought to before anything else, multiples of 32; where absent
            the next multiples of their own.
        scale: Factor of the output of the last convolution; depth is 1 / (``scale`` * output + ``shift``).
        shift: 1 / metres; 1 / ``max_depth`` where absent. Published weights for KITTI want scale 0.00006016 and shift
            0.00579, those for NYU Depth v2 0.000305 and 0.1378.

    Raises:
        ValueError: The blocks are not there, heads do not divide the width, sizes are no multiples of 32, or the
            decoder has no channels.
    """

    def __init__(
        self,
        encoder: Encoder,
        *,
        max_depth: float = 10.0,
        min_depth: float = 1e-3,
        width: int = 768,
        blocks: int = 12,
        heads: int = 12,
        feedforward: int = 3072,
        positions: Sequence[int] = (24, 24),
        hooks: Sequence[int] = (8, 11),
        attention: str = "softmax",
        decoder_width: int = 256,
        internal_size: Sequence[int] | None = None,
        scale: float = 1.0,
        shift: float | None = None,
    ) -> None:
        super().__init__()
        _check_hooks(hooks, blocks)
        if decoder_width < 2 or not scale > 0:
            raise ValueError(
                f"DPT: decoder_width {decoder_width} and scale {scale}, expected 2 channels at least, of which the "
                "head takes half, and a factor above 0"
            )
        self.internal_size = _checked_size(internal_size)
        self.min_depth, self.max_depth = min_depth, max_depth
        self.scale, self.shift = scale, 1 / max_depth if shift is None else shift
        self.encoder = encoder
        fine, middle, deepest = encoder.channels
        self.project = _projection(deepest, width, stride=encoder.strides[-1])
        self.transformer = Transformer(
            width, heads=heads, hidden=feedforward, positions=positions, hooks=hooks, attention=attention
        )
        self.readouts = nn.ModuleList(Readout(width) for _ in hooks)
        self.reassemble = nn.ModuleList(
            (
                nn.Conv2d(width, width, 1),
                nn.Sequential(nn.Conv2d(width, width, 1), nn.Conv2d(width, width, 3, stride=2, padding=1)),
            )
        )
        self.narrow = nn.ModuleList(
            nn.Conv2d(channels, decoder_width, 3, padding=1, bias=False) for channels in (fine, middle, width, width)
        )
        self.fusion = nn.ModuleList(Fusion(decoder_width, skip=level < 3) for level in range(4))
        self.head = nn.ModuleList(
            (
                nn.Conv2d(decoder_width, decoder_width // 2, 3, padding=1),
                nn.Conv2d(decoder_width // 2, HEAD_WIDTH, 3, padding=1),
                nn.Conv2d(HEAD_WIDTH, 1, 1),
            )
        )
        self._start_indoors()
        self.unfilled = fill(self, encoder.rest)
        encoder.rest = {}

    def forward(self, image: Float[Tensor, "b 3 h w"]) -> DepthPrediction:
        """Depth at the image's size."""
        levels = self._levels(self._at_internal_size(image))
        x = None
        for fuse, level in zip(reversed(self.fusion), reversed(levels), strict=True):
            x = fuse(level) if x is None else fuse(x, level)
        first, second, last = self.head
        x = last(F.relu(second(_doubled(first(x)))))
        with full_precision(x):
            inverse = self.scale * F.relu(x.float()) + self.shift
            depth = upsample_to(1 / inverse.clamp(min=SMALLEST_INVERSE), image)
            return DepthPrediction(depth.clamp(self.min_depth, self.max_depth))

    def _levels(self, image: Float[Tensor, "b 3 h w"]) -> list[Tensor]:
        """Maps of the decoder's width at strides 4, 8, 16 and 32."""
        fine, middle, deepest = self.encoder(image)
        patches = self.project(deepest)
        hooked = zip(self.transformer(patches), self.readouts, self.reassemble, strict=True)
        maps = [reassemble(readout(*tokens, patches)) for tokens, readout, reassemble in hooked]
        return [narrow(level) for narrow, level in zip(self.narrow, (fine, middle, *maps), strict=True)]

    def _at_internal_size(self, image: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 H W"]:
        height, width = image.shape[-2:]
        size = self.internal_size or (_next_multiple(height), _next_multiple(width))
        return upsample_to(image, image.new_empty(0, *size))

    def _start_indoors(self) -> None:
        """Start at a quarter of the largest depth, with an output above zero, where a ReLU learns."""
        inverse = 4 / self.max_depth
        *_, bias = self.head[-1].parameters()
        nn.init.constant_(bias, max(inverse - self.shift, 0.1 * inverse) / self.scale)


def dpt_loss(
    prediction: DepthPrediction,
    target: DepthTarget,
    valid: ValidMask,
    *,
    mean_weight: float = 0.85,
    scale: float = 10.0,
) -> Mapping[str, Tensor]:
    """Scale-invariant log error (``mean_weight``, ``scale``).

    Raises:
        ValueError: No pixel is valid.

    Source: Eigen et al. 2014, eq. 4.
    """
    depth = resize_like(prediction.depth, target)
    return {"silog": scale_invariant_log_loss(depth, target, valid, mean_weight=mean_weight, scale=scale)}


def fill(network: DPT, given: Mapping[str, Tensor]) -> tuple[str, ...]:
    """Begin with weights in the authors' naming, or in timm's for the transformer, where names and shapes agree.

    Blocks that were cut are not read. What the encoder has loaded itself is not among the weights.

    Returns:
        Names of the network's tensors beyond the encoder that they do not fill; none where the weights are of an
        encoder alone, which leaves all of them.
    """
    own = {name: value for name, value in network.state_dict().items() if not name.startswith("encoder.")}
    sources = {name: _published_name(name) for name in own}
    if not {*sources.values()} & {*given}:
        return ()
    fitting = {
        name: given[source]
        for name, source in sources.items()
        if source in given and given[source].shape == own[name].shape
    }
    network.load_state_dict(fitting, strict=False)
    return tuple(name for name in own if name not in fitting)


_PUBLISHED = {
    "project.": "patch_embed.proj.",
    "transformer.": "",
    "readouts.0.project.0.": "pretrained.act_postprocess3.0.project.0.",
    "readouts.1.project.0.": "pretrained.act_postprocess4.0.project.0.",
    "reassemble.0.": "pretrained.act_postprocess3.3.",
    "reassemble.1.0.": "pretrained.act_postprocess4.3.",
    "reassemble.1.1.": "pretrained.act_postprocess4.4.",
    **{f"narrow.{level}.": f"scratch.layer{level + 1}_rn." for level in range(4)},
    **{f"fusion.{level}.skip.": f"scratch.refinenet{level + 1}.resConfUnit1." for level in range(4)},
    **{f"fusion.{level}.refine.": f"scratch.refinenet{level + 1}.resConfUnit2." for level in range(4)},
    **{f"fusion.{level}.mix.": f"scratch.refinenet{level + 1}.out_conv." for level in range(4)},
    "head.0.": "scratch.output_conv.0.",
    "head.1.": "scratch.output_conv.2.",
    "head.2.": "scratch.output_conv.4.",
}
"""How names begin here -> in the authors' files, less what the encoder takes off (``pretrained.model.``)."""


def _published_name(name: str) -> str:
    start = next(start for start in _PUBLISHED if name.startswith(start))
    return _PUBLISHED[start] + name.removeprefix(start)


def _projection(channels: int, width: int, *, stride: int) -> nn.Module:
    """From the deepest map of the backbone to tokens at stride 16."""
    if stride == PATCH:
        return nn.Conv2d(channels, width, 1)
    enlarged = stride // PATCH
    return nn.ConvTranspose2d(channels, width, enlarged, stride=enlarged)


def _doubled(x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c H W"]:
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True)


def _next_multiple(pixels: int) -> int:
    return (pixels + STRIDE - 1) // STRIDE * STRIDE


def _check_hooks(hooks: Sequence[int], blocks: int) -> None:
    if len(hooks) != 2 or not 0 <= hooks[0] < hooks[1] < blocks:
        raise ValueError(
            f"DPT: hooks {list(hooks)}, expected two ascending numbers of the {blocks} blocks, 0 .. {blocks - 1}; "
            "network.blocks says how many there are"
        )


def _checked_size(size: Sequence[int] | None) -> tuple[int, int] | None:
    if size is None:
        return None
    if len(size) != 2 or any(side < STRIDE or side % STRIDE for side in size):
        near = [max(STRIDE, round(side / STRIDE) * STRIDE) for side in size]
        raise ValueError(
            f"DPT: internal_size {list(size)}, expected height and width that are multiples of {STRIDE} pixels, such "
            f"as {near if len(near) == 2 else [192, 640]}"
        )
    height, width = size
    return height, width
