"""One module from image to depth: learners, meta-learner and calibration of a fitted stack, and nothing of its runs.

Inside is what ``evaluate`` computes from cached rows, so the same image gets the same depth; nothing here reads a file.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple, Self

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ensemble.data.transforms import Original, padded, seen_at
from ensemble.metrics.expected_error import ExpectedError
from ensemble.metrics.protocols import enlarged
from ensemble.settings.schema import LearnerSettings, StackSettings
from ensemble.training.networks import predict_depth
from meta.unet import MetaUNet
from meta.weighing import fused_by


class StackOutput(NamedTuple):
    """What a stack says of a batch of images, at their size.

    Attributes:
        depth: Metres, [b 1 h w].
        error: Root mean squared error to be expected, metres, [b 1 h w]; ``None`` of a learner alone.
        weights: Of the learners, [b k h w].
        learners: Their own depth, metres, [b k h w].
    """

    depth: Tensor
    error: Tensor | None
    weights: Tensor
    learners: Tensor


class LearnerNetwork(nn.Module):
    """A learner as a stack meets it: the mean of its models, each as it was trained and at the size it was trained at.

    Args:
        models: Networks from image to ``DepthPrediction``.
        settings: Of each.
    """

    def __init__(self, models: Sequence[nn.Module], settings: Sequence[LearnerSettings]) -> None:
        super().__init__()
        self.models = nn.ModuleList(models)
        self.settings = tuple(settings)
        self.flip: bool | None = None

    def forward(self, image: Float[Tensor, "b 3 h w"], original: Original | None = None) -> Float[Tensor, "b 1 h w"]:
        """Depth in metres of images in [0, 1], at their size.

        A model with a size of its own sees the ``original`` resized to that, as its cached rows were made; only where
        there is none, the image. Its depth is brought to the size of the image as those rows are.
        """
        original = original or Original(image, (image.shape[-2], image.shape[-1]))
        depths = [
            predict_depth(model, image, settings, flip=self.flip)
            if settings.seen.size == settings.data.size
            else self._by_its_own_view(model, settings, image, original)
            for model, settings in zip(self.models, self.settings, strict=True)
        ]
        return torch.stack(depths).mean(dim=0)

    def _by_its_own_view(
        self, model: nn.Module, settings: LearnerSettings, image: Tensor, original: Original
    ) -> Tensor:
        """Depth of a view that is to the image as the sizes of training are to each other."""
        inside, shared = original.inside, settings.data.size
        height, width = (
            max(1, round(side * own / of)) for side, own, of in zip(inside, settings.seen.size, shared, strict=True)
        )
        view = seen_at(original.pixels, (height, width)).to(image.device)
        view = view if tuple(inside) == tuple(shared) else padded(view)
        depth = predict_depth(model, view, settings, flip=self.flip)[..., :height, :width]
        return padded(enlarged(depth, inside), image.shape[-2:])


class StackNetwork(nn.Module):
    """Image in, depth out: the learners' depths, weighed by the meta-learner, with the error that is to be expected.

    Args:
        names: Of the learners, in the order of their weights.
        members: Their networks, in this order; ``None`` for one whose depth maps were imported.
        settings: Of the stack; of the learner where there is one alone.
        meta: The meta-learner, unless there is one learner alone.
        calibration: The error that is to be expected, likewise.

    It sees an image once, until ``as_scored`` or ``flip_averaging`` say otherwise.
    """

    def __init__(
        self,
        names: Sequence[str],
        members: Sequence[LearnerNetwork | None],
        settings: LearnerSettings | StackSettings,
        meta: MetaUNet | None = None,
        calibration: ExpectedError | None = None,
    ) -> None:
        super().__init__()
        self.names, self.settings = tuple(names), settings
        self.imported = tuple(name for name, member in zip(names, members, strict=True) if member is None)
        self.members = nn.ModuleList([nn.Identity() if member is None else member for member in members])
        self.meta = meta
        self.calibration = calibration
        self.flip_averaging(False)
        self.eval()

    def as_scored(self) -> Self:
        """Average with the mirrored image where stack and learners were scored so; a new module does not."""
        self.flip = self.settings.evaluation.flip_averaging
        for member in self.members:
            if isinstance(member, LearnerNetwork):
                member.flip = None
        return self

    def in_full_precision(self) -> Self:
        """Learners that were trained in mixed precision predict in it; from here on they do so in 32 bits."""
        for member in self.members:
            if isinstance(member, LearnerNetwork):
                member.settings = tuple(
                    own.model_copy(update={"training": own.training.model_copy(update={"precision": "32-true"})})
                    for own in member.settings
                )
        return self

    def flip_averaging(self, enabled: bool) -> Self:
        """Average learners and weights with those of the mirrored image, or do not, whatever they were scored with."""
        self.flip = enabled
        for member in self.members:
            if isinstance(member, LearnerNetwork):
                member.flip = enabled
        return self

    @contextmanager
    def flipping(self, enabled: bool | None) -> Iterator[None]:
        """For a while average with the mirrored image, or do not; ``None`` changes nothing."""
        members = [member for member in self.members if isinstance(member, LearnerNetwork)]
        before = self.flip, [member.flip for member in members]
        if enabled is not None:
            self.flip_averaging(enabled)
        try:
            yield
        finally:
            self.flip = before[0]
            for member, flip in zip(members, before[1], strict=True):
                member.flip = flip

    def forward(self, image: Float[Tensor, "b 3 h w"], original: Original | None = None) -> StackOutput:
        """Depth of images in [0, 1] whose sides the encoders can halve, with what they were made of where it is known.

        Raises:
            ValueError: The depth of a learner was imported: there is no network of it, and ``fuse`` wants its maps.
        """
        if self.imported:
            were = "were" if len(self.imported) > 1 else "was"
            raise ValueError(
                f"{', '.join(self.imported)} {were} imported as depth maps: there is no network of it to predict an "
                "image with; fuse new maps (meta fuse), or fit a stack without it (--learners)"
            )
        return self.fuse(image, torch.cat([member(image, original) for member in self.members], dim=1))

    def fuse(self, image: Float[Tensor, "b 3 h w"], depths: Float[Tensor, "b k h w"]) -> StackOutput:
        """The same from the learners' depths in metres."""
        settings, meta = self.settings, self.meta
        if meta is None or not isinstance(settings, StackSettings):
            return StackOutput(depths, None, torch.ones_like(depths), depths)

        fused = fused_by(meta, image, depths, inputs=settings.inputs, max_depth=settings.data.max_depth, flip=self.flip)
        error = None if self.calibration is None else self.calibration.of(fused)
        return StackOutput(fused.depth, error, fused.maps[:, : len(self.names)], depths)
