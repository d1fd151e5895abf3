"""Fills the stores of several learners in one pass over the frames."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeVar

import numpy as np
from jaxtyping import Float

from ensemble.predictions.store.writer import PredictionWriter

Content = TypeVar("Content")
"""What the frames of a block are predicted from."""

Row = tuple[str, Float[np.ndarray, "h w"]]
"""Frame id and depth in metres."""


def fill_stores(
    writers: Mapping[str, PredictionWriter],
    blocks: Iterable[tuple[Sequence[str], Content]],
    predict: Callable[[str, Content], Iterable[Row]],
) -> None:
    """Write what is missing, a shard of one store after that of another, so that a kill loses one of them at most.

    Writers are open; blocks are of no more frames than a shard holds, with what they are predicted from; ``predict``
    makes the rows of a block out of the name of a store and the content of the block.
    """
    missing = {name: set(writer.missing()) for name, writer in writers.items()}
    for frame_ids, content in blocks:
        for name, writer in writers.items():
            wanted = missing[name].intersection(frame_ids)
            if not wanted:
                continue
            for frame_id, depth in predict(name, content):
                if frame_id in wanted:
                    writer.append(frame_id, depth)
            writer.commit()
            missing[name] -= wanted
