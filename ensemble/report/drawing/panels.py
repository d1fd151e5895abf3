"""Pictures of chosen frames as small files that a page can hold within itself."""

import base64
import io
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from matplotlib import colormaps
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm, Normalize
from PIL import Image

from ensemble.evaluation.results.gallery import Gallery, GalleryImage
from ensemble.report.drawing import LARGEST_ERROR
from ensemble.report.drawing.colours import (
    Rgb,
    coloured,
    depth_colours,
    depth_limits,
    depth_scale,
    thickened,
    weight_colours,
    weight_scale,
    weight_spread,
)
from ensemble.report.drawing.figures import weight_unit

WIDEST = 320
"""Pixels; larger pictures are made smaller."""

STOPS = 9


@dataclass(frozen=True)
class Panel:
    """One picture: what it shows, and the whole file as a data URI."""

    title: str
    source: str


@dataclass(frozen=True)
class Strip:
    """The pictures of one frame."""

    rank: str
    frame: str
    score: float
    panels: tuple[Panel, ...]


@dataclass(frozen=True)
class ColourBar:
    """The scale of a kind of panel: its colours in even steps, and the numbers at both ends and in the middle."""

    title: str
    colours: tuple[str, ...]
    ticks: tuple[str, ...]


@dataclass(frozen=True)
class Pictures:
    """All strips of one stack; a kind of panel has one scale in all of them."""

    stack: str  # its name for people
    columns: int  # panels side by side where there is room, so that a learner's weights stand below its depth
    strips: tuple[Strip, ...]  # one per frame
    bars: tuple[ColourBar, ...]  # one per kind of panel


def draw_gallery(gallery: Gallery, title: str) -> Pictures:
    """Image, truth, learners, stack, signed relative error, uncertainty and weights of one frame or more."""
    rows = [image.row for image in gallery.images]
    depths = [*(row.stack.ravel() for row in rows), *(row.truth[row.valid] for row in rows)]
    near, far = depth_limits(np.concatenate(depths))
    spread = weight_spread(np.concatenate([row.weights.reshape(len(gallery.learners), -1) for row in rows], axis=1))
    uncertain = [image.uncertainty.ravel() for image in gallery.images if image.uncertainty is not None]
    sure = _uncertainty_scale(float(np.nanpercentile(np.concatenate(uncertain), 98))) if uncertain else None
    scales = {
        "depth, metres": depth_scale(near, far),
        "signed relative error of the stack (blue: too near, red: too far)": _error_scale(),
        **({} if sure is None else {"expected error of the stack, metres": sure}),
        weight_unit(len(gallery.learners)): weight_scale(len(gallery.learners), spread),
    }
    strips = [_strip(image, gallery, near, far, spread, sure) for image in gallery.images]
    return Pictures(title, len(gallery.learners) + 3, tuple(strips), _bars(scales))


def relative_error_colours(
    predicted: Float[np.ndarray, "h w"], truth: Float[np.ndarray, "h w"], valid: Bool[np.ndarray, "h w"]
) -> Rgb:
    """Blue where the prediction is too near, red where too far, white where right, grey where there is no truth."""
    usable = valid & (truth > 0)
    error = np.where(usable, predicted - truth, 0) / np.where(usable, truth, 1)
    return coloured(error, usable, _error_scale())


def data_uri(picture: Rgb, *, photograph: bool = False) -> str:
    """A picture as a file within a page: JPEG for photographs, else PNG."""
    image = Image.fromarray(picture)
    if image.width > WIDEST:
        image = image.resize((WIDEST, max(1, round(image.height * WIDEST / image.width))), Image.Resampling.BOX)
    buffer = io.BytesIO()
    kind = "jpeg" if photograph else "png"
    image.save(buffer, format=kind, **({"quality": 85} if photograph else {}))
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _strip(
    image: GalleryImage, gallery: Gallery, near: float, far: float, spread: float, sure: ScalarMappable | None
) -> Strip:
    row, learners = image.row, gallery.learners
    truth, known = thickened(row.truth, row.valid)
    maps = [("truth", depth_colours(truth, near, far, valid=known))]
    maps += [(name, depth_colours(depth, near, far)) for name, depth in zip(learners, row.depths, strict=True)]
    maps += [("stack", depth_colours(row.stack, near, far))]
    maps += [("error of the stack", relative_error_colours(row.stack, truth, known))]
    if sure is not None and image.uncertainty is not None:
        finite = np.isfinite(image.uncertainty)
        maps += [("uncertainty", coloured(image.uncertainty, finite, sure))]
    maps += [
        (f"weight of {name}, mean {weight.mean():.2f}", weight_colours(weight, len(learners), spread))
        for name, weight in zip(learners, row.weights, strict=True)
    ]
    panels = (Panel("image", data_uri(row.image, photograph=True)), *(Panel(t, data_uri(p)) for t, p in maps))
    return Strip(image.rank, row.frame, image.score, panels)


def _bars(scales: Mapping[str, ScalarMappable]) -> tuple[ColourBar, ...]:
    bars = []
    for title, scale in scales.items():
        low, high = scale.get_clim()
        far_apart = isinstance(scale.norm, LogNorm)
        values = np.geomspace(low, high, STOPS) if far_apart else np.linspace(low, high, STOPS)
        colours = tuple(
            "#{:02x}{:02x}{:02x}".format(*colour[:3]) for colour in scale.to_rgba(values, bytes=True).tolist()
        )
        ticks = tuple(f"{value:.2g}" for value in values[[0, STOPS // 2, -1]])
        bars.append(ColourBar(title, colours, ticks))
    return tuple(bars)


def _error_scale() -> ScalarMappable:
    return ScalarMappable(Normalize(-LARGEST_ERROR, LARGEST_ERROR, clip=True), colormaps["RdBu_r"])


def _uncertainty_scale(largest: float) -> ScalarMappable:
    return ScalarMappable(Normalize(0, max(0.05, largest), clip=True), colormaps["cividis"])
