"""Colours of depth, weights and errors: what is near, what a learner gets beyond its share, what is wrong."""

import numpy as np
from jaxtyping import Bool, Float, UInt8
from matplotlib import colormaps
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm, Normalize, TwoSlopeNorm

DEPTH_MAP = "magma_r"
"""Near is bright, far is dark; lightness falls evenly with the logarithm of the metres, as relative errors count."""
WEIGHT_MAP = "PuOr_r"
"""White where a learner gets what the plain mean would give it, orange above, purple below."""
ERROR_MAP = "YlOrRd"
"""Pale where the depth is right."""

SPARSE, THICKER = 0.5, 1
"""Share of measured pixels below which a picture shows them thicker, and by how many pixels."""

INVALID = (128, 128, 128)

Rgb = UInt8[np.ndarray, "h w 3"]


def depth_colours(
    depth: Float[np.ndarray, "h w"], near: float, far: float, *, valid: Bool[np.ndarray, "h w"] | None = None
) -> Rgb:
    """Metres as colours: bright at ``near`` or nearer, dark at ``far`` or farther, grey where there is no depth.

    Without ``valid`` a pixel has depth where it is finite and positive.
    """
    shown = np.isfinite(depth) & (depth > 0)
    scale = depth_scale(near, far)
    return coloured(depth, shown if valid is None else shown & valid, scale, filler=near)


def weight_colours(weight: Float[np.ndarray, "h w"], learners: int, spread: float) -> Rgb:
    """A weight map: white at ``1 / learners``, full colour at ``spread`` from it."""
    return coloured(weight, np.isfinite(weight), weight_scale(learners, spread))


def error_colours(
    predicted: Float[np.ndarray, "h w"],
    truth: Float[np.ndarray, "h w"],
    valid: Bool[np.ndarray, "h w"],
    *,
    largest: float,
) -> Rgb:
    """Absolute error: pale at 0, dark at ``largest`` metres or more, grey where there is no truth."""
    error = np.abs(predicted - np.where(valid, truth, 0))
    return coloured(error, valid & np.isfinite(error), error_scale(largest))


def depth_scale(near: float, far: float) -> ScalarMappable:
    """Metres to colours.

    Raises:
        ValueError: Not 0 < near < far.
    """
    if not 0 < near < far:
        raise ValueError(f"depth colours: found near {near} m and far {far} m, expected 0 < near < far")
    return ScalarMappable(LogNorm(near, far, clip=True), colormaps[DEPTH_MAP])


def weight_scale(learners: int, spread: float) -> ScalarMappable:
    """Weights to colours around the plain mean's."""
    centre = 1 / learners
    return ScalarMappable(TwoSlopeNorm(centre, max(0.0, centre - spread), centre + spread), colormaps[WEIGHT_MAP])


def error_scale(largest: float) -> ScalarMappable:
    """Absolute errors in metres to colours."""
    return ScalarMappable(Normalize(0, largest, clip=True), colormaps[ERROR_MAP])


def depth_limits(depth: Float[np.ndarray, "..."]) -> tuple[float, float]:
    """Near and far of a scale, outliers aside: from 1 cm on, and 10 cm apart so that a flat wall shows no noise."""
    near, far = (max(0.01, float(limit)) for limit in np.percentile(depth, (1, 99)))
    return near, max(far, near + 0.1)


def weight_spread(weights: Float[np.ndarray, "k ..."]) -> float:
    """How far weights go from the plain mean's, outliers aside; at least .02, so that equal weights stay white."""
    return max(0.02, float(np.percentile(np.abs(weights - 1 / len(weights)), 99)))


def coloured(
    values: Float[np.ndarray, "h w"], shown: Bool[np.ndarray, "h w"], scale: ScalarMappable, *, filler: float = 0.0
) -> Rgb:
    """Values as colours of a scale, grey where none is shown; ``filler`` is any value that the scale knows."""
    colours = scale.to_rgba(np.where(shown, values, filler), bytes=True)[..., :3]
    return np.where(shown[..., None], colours, np.array(INVALID, dtype=np.uint8))


def thickened(
    truth: Float[np.ndarray, "h w"], valid: Bool[np.ndarray, "h w"]
) -> tuple[Float[np.ndarray, "h w"], Bool[np.ndarray, "h w"]]:
    """Truth and mask for a picture: where measurements are few, each also fills the empty pixels beside it.

    Of several measurements beside a pixel the nearest one counts. Scores never see this.
    """
    if not 0 < valid.mean() < SPARSE:
        return truth, valid
    metres = np.pad(np.where(valid, truth, np.inf), THICKER, constant_values=np.inf)
    windows = np.lib.stride_tricks.sliding_window_view(metres, (2 * THICKER + 1, 2 * THICKER + 1))
    grown = windows.min(axis=(2, 3))
    shown = np.where(valid, truth, grown)
    known = np.isfinite(shown)
    return np.where(known, shown, 0).astype(truth.dtype), known
