"""Folds of the scenes to fit: decided once per experiment, kept in a file, so that out-of-fold means the same for all.

Every run and every cached row carries the file's fingerprint.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ensemble.data.source import Frame
from ensemble.runs.files import leftovers
from ensemble.runs.locks import PATIENCE, StoreLock
from ensemble.runs.seals import read_text, write_checked

SCHEMA = 1


@dataclass(frozen=True)
class Folds:
    """Which fold, counted from 0, leaves a scene out."""

    count: int
    fold_of: Mapping[str, int]

    @property
    def text(self) -> str:
        """The content of the file."""
        content = {"schema": SCHEMA, "folds": self.count, "fold_of": dict(sorted(self.fold_of.items()))}
        return json.dumps(content, indent=1) + "\n"

    @property
    def fingerprint(self) -> str:
        """Hexadecimal SHA-256 of the content of the file."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    def fitted_by(self, fold: int | None, frames: Sequence[Frame]) -> tuple[Frame, ...]:
        """The frames that the model of a fold is fitted to; all of them for the full fit (``None``)."""
        self._check(fold)
        return tuple(frame for frame in frames if fold is None or self.fold_of[frame.scene] != fold)

    def left_out_by(self, fold: int, frames: Sequence[Frame]) -> tuple[Frame, ...]:
        """The frames whose scenes the model of a fold never saw."""
        self._check(fold)
        return tuple(frame for frame in frames if self.fold_of[frame.scene] == fold)

    def _check(self, fold: int | None) -> None:
        if fold is not None and self.count < 2:
            raise ValueError(
                "folds: all frames to fit are of one scene, so no model can leave it out; give more scenes"
            )
        if fold is not None and not 0 <= fold < self.count:
            raise ValueError(f"fold {fold}: expected 0 to {self.count - 1}")


def divide_into_folds(frames: Sequence[Frame], count: int) -> Folds:
    """Folds of about equally many frames to fit that never cut a scene, at most as many as there are scenes.

    Source: scikit-learn's ``GroupKFold``, which gives the largest scene left to the smallest fold.
    """
    ordered = sorted(frames, key=lambda frame: frame.id)
    scenes = [frame.scene for frame in ordered]
    count = min(count, len(set(scenes)))
    if count == 1:
        return Folds(1, dict.fromkeys(scenes, 0))  # nothing to leave out: only a full fit is possible
    from sklearn.model_selection import GroupKFold

    fold_of: dict[str, int] = {}
    places = np.zeros(len(ordered))
    for fold, (_, left_out) in enumerate(GroupKFold(n_splits=count).split(places, groups=scenes)):
        fold_of |= {scenes[index]: fold for index in left_out}
    return Folds(count, fold_of)


def folds_of_experiment(path: Path, frames: Sequence[Frame], count: int) -> Folds:
    """The folds of an experiment's frames to fit: read from its file, or decided and written where there is none yet.

    With fewer scenes than ``count`` there are as many folds as scenes.

    Raises:
        ValueError: The file is damaged, or divides other scenes or into another number of folds.
    """
    if not path.is_file() or leftovers(path.parent):
        with StoreLock(path.parent, patience=PATIENCE, keep=False):
            if not path.is_file():
                folds = divide_into_folds(frames, count)
                write_checked(path, folds.text.encode())
                return folds
    folds = read_folds(path)
    scenes = {frame.scene for frame in frames}
    if folds.count != min(count, len(scenes)):
        found, expected = f"{folds.count} folds", f"{min(count, len(scenes))} (data.folds)"
    elif set(folds.fold_of) != scenes:
        other = sorted(scenes ^ set(folds.fold_of))
        found, expected = f"{len(folds.fold_of)} scenes", f"{len(scenes)} scenes (first difference: {other[0]})"
    else:
        return folds
    raise ValueError(
        f"{path}: this experiment was divided otherwise: found {found}, expected {expected}. "
        "Give --experiment NAME to begin another one; or remove this file, and train every run of this one again"
    )


class _Content(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    schema_: int = Field(alias="schema")
    folds: int = Field(ge=1)
    fold_of: dict[str, int]


def read_folds(path: Path, *, decide: str = "python -m ensemble.base train LEARNER --folds N") -> Folds:
    """Read the file of folds; where nobody has decided them, the command ``decide`` does.

    Raises:
        ValueError: It is absent, damaged, of another schema, or a fold is empty.
    """
    if not path.exists():
        raise ValueError(
            f"{path}: no folds were decided yet; the first training of an experiment divides the scenes.\nRun: {decide}"
        )
    mend = "remove it, and train every run of this experiment again"
    try:
        content = _Content.model_validate_json(read_text(path))
    except (FileNotFoundError, UnicodeDecodeError, ValidationError) as error:
        raise ValueError(f"{path}: expected scenes and their folds, found something else ({error}); {mend}") from error
    if content.schema_ != SCHEMA:
        raise ValueError(f"{path}: schema {content.schema_} found, {SCHEMA} expected; {mend}")
    if set(content.fold_of.values()) != set(range(content.folds)):
        raise ValueError(f"{path}: expected folds 0 to {content.folds - 1}, each with a scene; {mend}")
    return Folds(content.folds, content.fold_of)
