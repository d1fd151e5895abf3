"""A file that is ready to compute, and what is said where it is not."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ensemble.deploy.runtime.header import ExportHeader

Run = Callable[[np.ndarray], Mapping[str, np.ndarray]]
"""From images [1 3 h w] to depth [1 1 h w], maybe error, and weights [1 k h w], by name."""


@dataclass(frozen=True)
class Session:
    """A file, ready to compute, and what it says of itself."""

    header: ExportHeader
    run: Run


def missing(path: Path, package: str, *others: str) -> ValueError:
    """The error where a runtime, or what it needs, is not installed; extras of this package would bring all of it."""
    return ValueError(f"{path}: such files need {package}.\nRun: pip install {' '.join((package, *others))}")


def last_line(error: Exception) -> str:
    """What was wrong: where it was noticed stands before it."""
    return str(error).strip().rpartition("\n")[2] or type(error).__name__


def first_line(error: Exception) -> str:
    """What a runtime said."""
    return str(error).strip().partition("\n")[0] or type(error).__name__
