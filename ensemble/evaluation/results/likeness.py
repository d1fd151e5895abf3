"""How alike the learners of an evaluation err, as it stands in ``scores.json``."""

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass as checked_dataclass

Correlations = tuple[tuple[float | None, ...], ...]
"""Of every two learners; ``None`` where one does not vary."""


@checked_dataclass(frozen=True, config=ConfigDict(extra="forbid", allow_inf_nan=False))
class Likeness:
    """Natural-log errors of the learners that a table combines, over the scored images; each has the same say."""

    learners: tuple[str, ...]  # titles, in the order of everything else here
    images: int
    within: Correlations  # of errors within images: the scale of each image taken out
    scales: Correlations  # of the scales of images, the mean log errors
    scale_shares: tuple[float | None, ...]  # per learner, share of its mean squared log error that is scale of images
    mean_scale_share: float | None  # likewise of the plain mean
    disagreement_share: float | None
    """Share of the learners' mean squared log error that their disagreement is: what averaging in logs takes away."""
    inside: float  # share of pixels whose truth lies between the nearest and the farthest learner

    def __post_init__(self) -> None:
        """Refuses numbers of other learners."""
        lengths = {len(self.scale_shares), *(len(rows) for rows in (self.within, self.scales))}
        lengths |= {len(row) for rows in (self.within, self.scales) for row in rows}
        if lengths != {len(self.learners)}:
            raise ValueError(f"likeness of {len(self.learners)} learners: found numbers of {sorted(lengths)}")
