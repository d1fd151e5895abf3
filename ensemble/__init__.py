"""The application: data, training, cache, evaluation, command lines; and ``load``, the way in for other programs."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from ensemble.runs.stopping import end_plainly

if TYPE_CHECKING:
    from pathlib import Path

    from ensemble.deploy.door import DepthStack

__all__ = ["load"]

if os.path.basename(sys.argv[0]) in ("-m", "stackdepth"):  # noqa: PTH119  (pathlib takes longer than the rest)
    # a command line is about to be imported, which takes as long as some commands
    end_plainly()


def load(
    source: Path | str, *, device: str = "auto", flip: bool | None = None, cache_dir: Path | str | None = None
) -> DepthStack:
    """A fitted stack, or a learner, ready to predict; arguments and errors as in ``ensemble.deploy.loading.load``.

    Examples:
        >>> stack = ensemble.load("kitchen.stack")  # doctest: +SKIP
        >>> stack(image).depth  # doctest: +SKIP
    """
    from ensemble.deploy.loading import load

    return load(source, device=device, flip=flip, cache_dir=cache_dir)
