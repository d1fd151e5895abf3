"""The application: data, training, cache, evaluation, command lines; and ``load``, the way in for other programs."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from ensemble import alone
from ensemble.runs.stopping import end_plainly

if TYPE_CHECKING:
    from pathlib import Path

    from ensemble.deploy.door import DepthStack

__all__ = ["load"]

if os.path.basename(sys.argv[0]) in ("-m", "stackdepth"):  # noqa: PTH119  (pathlib takes longer than the rest)
    # a command line is about to be imported, which takes as long as some commands
    end_plainly()
    alone.refuse_command(sys.orig_argv)


def load(
    source: Path | str, *, device: str = "auto", flip: bool | None = None, cache_dir: Path | str | None = None
) -> DepthStack:
    """A fitted stack, or a learner, ready to predict; arguments and errors as in ``ensemble.deploy.loading.load``.

    Raises:
        ImportError: Torch, or what comes with it, is not installed.

    Examples:
        >>> stack = ensemble.load("kitchen.stack")  # doctest: +SKIP
        >>> stack(image).depth  # doctest: +SKIP
    """
    try:
        from ensemble.deploy.loading import load
    except ImportError as error:
        raise alone.needs_torch(source, error) from error

    return load(source, device=device, flip=flip, cache_dir=cache_dir)
