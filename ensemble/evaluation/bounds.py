"""Rows of a table that look at the truth: what weights could reach, and what of that is luck."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float
from torch import Tensor

from ensemble.data.source import Frame
from ensemble.metrics.protocols import EvalProtocol, enlarged
from ensemble.runs.names import SHUFFLED
from meta.bounds import IMAGE_BOUNDS, PIXEL_BOUNDS, oracle_convex, with_disagreement_of

BOUNDS = (*PIXEL_BOUNDS, SHUFFLED, *IMAGE_BOUNDS)
"""Rows that look at the truth, by name, in the order of the table; their docstrings say what they are bounds of.

They are made of the learners in the table; a fine-tuned or joint stack weighs learners of its own.
A stack weighs at the working size. Where it trusts neighbouring pixels to different learners, what is interpolated
between the two may lie a little outside of the interpolated learners, and so beyond the oracles.
"""


def partners(frames: Sequence[Frame], *, seed: int = 0) -> dict[str, Frame]:
    """Another frame for every one, drawn from other scenes, or where there is one scene only from its other frames.

    Returns:
        By id; empty where there is a single frame.
    """
    rng = np.random.default_rng(seed)
    found = {}
    for frame in frames:
        others = [each for each in frames if each.scene != frame.scene] or [each for each in frames if each != frame]
        if others:
            found[frame.id] = others[int(rng.integers(len(others)))]
    return found


def bounds_of(
    learners: Float[Tensor, "1 k h w"],
    target: Float[Tensor, "1 1 h w"],
    valid: Bool[Tensor, "1 1 h w"],
    *,
    others: Float[Tensor, "1 k _h _w"] | None,
    protocol: EvalProtocol,
) -> dict[str, Float[Tensor, "1 1 h w"]]:
    """What is reached by who knows the truth, at its size.

    Those of an image learn from the pixels that the protocol scores.

    Args:
        learners: Metres.
        target: Metres.
        valid: Pixels that have a truth.
        others: The learners' depth of another image, at any size; without it there is no shuffled oracle.
        protocol: Which pixels count.
    """
    scored = protocol.mask(target, valid)
    found = {name: bound(learners, target, valid) for name, bound in PIXEL_BOUNDS.items()}
    if others is not None:
        shuffled = with_disagreement_of(learners, enlarged(others, target.shape[-2:]), scored)
        found[SHUFFLED] = oracle_convex(shuffled, target, valid)
    return found | {name: bound(learners, target, scored) for name, bound in IMAGE_BOUNDS.items()}
