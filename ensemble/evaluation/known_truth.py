"""What is said of the learners of a table by who knows the truth: their bounds, and how alike they err."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from ensemble.data.loaders import DepthRows
from ensemble.data.source import Frame, RawFrame
from ensemble.evaluation.bounds import bounds_of, partners
from ensemble.evaluation.likeness import LikenessSums
from ensemble.evaluation.methods import Models, read_depths
from ensemble.evaluation.results.likeness import Likeness
from ensemble.evaluation.scoring import Cell
from ensemble.metrics.protocols import EvalProtocol
from ensemble.predictions.level_zero import LevelZero


class KnownTruth:
    """What can be said of the learners of a table by who knows the truth; nothing of a single learner.

    Args:
        learners: In the order of the table.
        rows: Cached depth of every one.
        frames: All that are scored.
        protocol: Which pixels count.
    """

    def __init__(
        self,
        learners: Sequence[LevelZero],
        rows: Mapping[Models, DepthRows],
        frames: Sequence[Frame],
        protocol: EvalProtocol,
    ) -> None:
        self._learners, self._rows, self._protocol = tuple(learners), rows, protocol
        self._several = len(learners) > 1
        self._partners = partners(frames) if self._several else {}
        self._likeness = LikenessSums([learner.title for learner in learners], protocol)

    def bounds(self, frame: Frame, raw: RawFrame, depths: Mapping[Cell, Tensor]) -> dict[Cell, Tensor]:
        """The bounds of a frame at the size of its truth; how alike the learners err on it is kept.

        Args:
            frame: Which.
            raw: Its truth.
            depths: Metres [1 1 h w] at the size of the truth, of every learner at least.
        """
        if not self._several:
            return {}
        learners = torch.cat([depths[learner.name, 0] for learner in self._learners], dim=1)
        target, known = (torch.from_numpy(array)[None, None] for array in (raw.depth, raw.valid))
        partner = self._partners.get(frame.id)
        others = None if partner is None else read_depths(self._learners, self._rows, [partner])
        protocol = self._protocol.at(raw.window)
        found = bounds_of(learners, target, known, others=others, protocol=protocol)
        self._likeness.add(learners, target, known, window=raw.window)
        return {(name, 0): depth for name, depth in found.items()}

    def alike(self) -> tuple[Likeness, ...]:
        """How alike the learners err on the frames so far."""
        return (self._likeness.compute(),) if self._several else ()
