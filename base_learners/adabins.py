"""AdaBins: a decoder, a small transformer that divides the depth range into bins, and a mixture of the bins per pixel.

Sources: Bhat et al. 2021, AdaBins, sections 3.2 to 3.4; the widths are those of the published GhostNet study.
Deviations: 1x1 convolutions are not padded; the query product and the convolution after it are one matrix per image.
"""

from collections.abc import Mapping, Sequence
from functools import partial

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from base_learners.blocks import SeparableConv, full_precision, initialise, upsample_to
from base_learners.contract import DepthPrediction, DepthTarget, MapsByStride, ValidMask
from base_learners.encoders.pyramid import Encoder
from base_learners.losses import bin_chamfer_loss, resize_like, scale_invariant_log_loss


class BinTransformer(nn.Module):
    """The mini-ViT: patches of the decoded map become one vector of bin widths and the queries of the mixture.

    Arguments are those of ``AdaBins``; ``channels`` is its ``embedding``.
    """

    def __init__(
        self,
        channels: int,
        *,
        bins: int,
        queries: int,
        patch_size: int,
        positions: int,
        layers: int,
        heads: int,
        feedforward: int,
        hidden: int,
        dropout: float,
    ) -> None:
        super().__init__()
        if channels % heads:
            raise ValueError(f"AdaBins: embedding is {channels}, expected a multiple of heads {heads}")
        self.queries = queries
        self.patch_size = patch_size
        self.patches = nn.Conv2d(channels, channels, patch_size, stride=patch_size)
        self.positions = nn.Parameter(torch.rand(positions, channels))
        make_layer = partial(nn.TransformerEncoderLayer, channels, heads, feedforward, dropout, batch_first=True)
        self.layers = nn.Sequential(*(make_layer() for _ in range(layers)))
        self.widths = nn.Sequential(
            nn.Linear(channels, hidden),
            nn.LeakyReLU(),
            nn.Linear(hidden, hidden),
            nn.LeakyReLU(),
            nn.Linear(hidden, bins),
        )

    def forward(
        self, features: Float[Tensor, "b c h w"]
    ) -> tuple[Float[Tensor, "b bins"], Float[Tensor, "b queries d"]]:
        """Unnormalised bin widths and query kernels; a map of fewer patches than these need is refused."""
        self._check_size(features.shape[-2], features.shape[-1])
        tokens = self.patches(features).flatten(2).transpose(1, 2)
        tokens = self.layers(tokens + self._positions(tokens.shape[1]))
        return self.widths(tokens[:, 0]), tokens[:, 1 : self.queries + 1]

    def _positions(self, count: int) -> Float[Tensor, "count c"]:
        if isinstance(count, torch.SymInt):  # an export leaves it open, so that both cases below are one
            return self._resampled(count)
        if count <= len(self.positions):
            return self.positions[:count]
        return F.interpolate(self.positions.T[None], size=count, mode="linear", align_corners=False)[0].T

    def _resampled(self, count: int) -> Float[Tensor, "count c"]:
        """The same vectors for any number of patches, without asking whether there are enough."""
        known = len(self.positions)
        patch = torch.arange(count, device=self.positions.device)
        place = ((patch + 0.5) * (known / (patch[-1:] + 1)).clamp(max=1) - 0.5).clamp(0, known - 1)
        before = place.floor().long()
        after, share = (before + 1).clamp(max=known - 1), (place - before)[:, None].to(self.positions.dtype)
        return self.positions[before] * (1 - share) + self.positions[after] * share

    def _check_size(self, height: int, width: int) -> None:
        patch, needed = self.patch_size, self.queries + 1
        rows, columns = height // patch, width // patch
        if rows * columns >= needed:
            return
        fitting = next((p for p in range(patch - 1, 0, -1) if (height // p) * (width // p) >= needed), None)
        smallest = next(
            (row, column)
            for row in range(1, needed + 1)
            if row * (column := max(1, round(row * width / height))) >= needed
        )
        advice = f", or set patch_size to at most {fitting}" if fitting else ""
        raise ValueError(
            f"AdaBins: an image of about {2 * height}x{2 * width} gives {rows}x{columns} = {rows * columns} patches of "
            f"{patch}x{patch} at half its size, expected at least {needed} ({self.queries} queries and the bins); "
            f"the smallest size of this shape is {2 * patch * smallest[0]}x{2 * patch * smallest[1]}: "
            f"use larger images{advice}"
        )


class AdaBins(nn.Module):
    """Image to metres by adaptive bins.

    Args:
        max_depth: Metres; upper end of the last bin.
        min_depth: Metres; lower end of the first bin.
        widths: Channels of the bottleneck and of the decoder at strides 16, 8, 4 and 2.
        embedding: Channels of the decoded map, of the tokens and of the queries.
        bins: Bins of the depth range.
        queries: Tokens that serve as 1x1 kernels on the map.
        patch_size: Height and width of a patch at stride 2.
        positions: Learned position vectors.
        feedforward: Hidden width of a transformer layer.
        hidden: Hidden width of the perceptron that divides the range.
        dropout: Of the transformer layers.
    """

    def __init__(
        self,
        encoder: Encoder,
        *,
        max_depth: float = 10.0,
        min_depth: float = 1e-3,
        widths: Sequence[int] = (2048, 1024, 512, 256, 128),
        embedding: int = 128,
        bins: int = 256,
        queries: int = 128,
        patch_size: int = 16,
        positions: int = 500,
        layers: int = 4,
        heads: int = 4,
        feedforward: int = 1024,
        hidden: int = 256,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.min_depth, self.max_depth = min_depth, max_depth
        self.encoder = encoder
        *skips, deepest = encoder.channels
        self.adaptor = nn.Conv2d(deepest, widths[0], 1)
        self.bottleneck = nn.Conv2d(widths[0], widths[0], 1)
        inputs = [widths[0], *(width + skip for width, skip in zip(widths[1:], reversed(skips), strict=True))]
        self.decoder = nn.ModuleList(
            SeparableConv(above, width, first=nn.LeakyReLU, second=nn.LeakyReLU)
            for above, width in zip(inputs, widths[1:], strict=False)
        )
        self.embed = SeparableConv(inputs[-1], embedding)
        self.transformer = BinTransformer(
            embedding,
            bins=bins,
            queries=queries,
            patch_size=patch_size,
            positions=positions,
            layers=layers,
            heads=heads,
            feedforward=feedforward,
            hidden=hidden,
            dropout=dropout,
        )
        self.refine = SeparableConv(embedding, embedding)
        self.mixture = nn.Linear(queries, bins)
        # Queries and map have deviation 1 at the start: so do the logits, and no bin is chosen before training.
        nn.init.normal_(self.mixture.weight, std=(queries * embedding) ** -0.5)
        for part in (self.adaptor, self.bottleneck, self.decoder, self.embed, self.refine):
            initialise(part)

    def forward(self, image: Float[Tensor, "b 3 h w"]) -> DepthPrediction:
        """Depth at the image's size, with the centres of its bins; refuses images too small for so many queries."""
        return self.with_maps(image)[0]

    def with_maps(self, image: Float[Tensor, "b 3 h w"]) -> tuple[DepthPrediction, MapsByStride]:
        """The same, and the decoder's maps beside the skips that they are joined with."""
        maps = self._decode(image)
        features = self.embed(maps[2])
        logits, queries = self.transformer(features)
        with full_precision(image):
            centres = bin_centres(logits.float(), min_depth=self.min_depth, max_depth=self.max_depth)
        depth = self._mix(self.refine(features), queries, centres)
        depth = upsample_to(depth, image).clamp(self.min_depth, self.max_depth)
        return DepthPrediction(depth, centres), maps

    def _decode(self, image: Tensor) -> MapsByStride:
        *skips, x = self.encoder(image)
        x, maps = self.bottleneck(self.adaptor(x)), {}
        for stride, block, skip in zip((16, 8, 4, 2), self.decoder, reversed(skips), strict=True):
            x = maps[stride] = torch.cat([upsample_to(block(x), skip), skip], dim=1)
        return maps

    def _mix(self, features: Tensor, queries: Tensor, centres: Tensor) -> Float[Tensor, "b 1 h w"]:
        """Expected bin centre of every pixel; bins are the last axis, where softmax runs over adjacent numbers."""
        batch, _, height, width = features.shape
        kernels = self.mixture.weight @ queries
        pixels = features.flatten(2).transpose(1, 2)
        logits = torch.baddbmm(self.mixture.bias, pixels, kernels.transpose(1, 2))
        with full_precision(features):
            depth = torch.softmax(logits.float(), dim=-1) @ centres[:, :, None]
        return depth.transpose(1, 2).reshape(batch, 1, height, width)


def bin_centres(logits: Float[Tensor, "b bins"], *, min_depth: float, max_depth: float) -> Float[Tensor, "b bins"]:
    """Centres in metres, ascending, of bins that divide the depth range.

    Source: Bhat et al. 2021, eq. 2 and 3; widths are ``relu(logit) + 0.1`` before they are divided by their sum.
    """
    widths = F.relu(logits) + 0.1
    widths = widths / widths.sum(dim=1, keepdim=True)
    upper = widths.cumsum(dim=1)
    return min_depth + (max_depth - min_depth) * (upper - widths / 2)


def adabins_loss(
    prediction: DepthPrediction,
    target: DepthTarget,
    valid: ValidMask,
    *,
    mean_weight: float = 0.85,
    scale: float = 10.0,
    chamfer_weight: float = 0.1,
) -> Mapping[str, Tensor]:
    """Scale-invariant log error, and ``chamfer_weight`` times the distance between bin centres and measured depths.

    Raises:
        ValueError: No pixel is valid, or the prediction has no bin centres.

    Source: Bhat et al. 2021, eq. 5 to 7.
    """
    if prediction.bin_centres is None:
        raise ValueError("adabins_loss: the prediction has no bin centres; use the loss of its own network")
    depth = resize_like(prediction.depth, target)
    return {
        "silog": scale_invariant_log_loss(depth, target, valid, mean_weight=mean_weight, scale=scale),
        "chamfer": chamfer_weight * bin_chamfer_loss(prediction.bin_centres, target, valid),
    }
