"""Folds of the scenes to fit: decided once per experiment, kept in a file, so that out-of-fold means the same for all.

Every run and every cached row carries the file's fingerprint.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float64, Int64
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ensemble.data.source import Frame
from ensemble.runs.files import leftovers
from ensemble.runs.locks import PATIENCE, StoreLock
from ensemble.runs.seals import read_text, write_checked

SCHEMA = 1

LEAST_GAIN = 1e-9
"""Of the imbalance, by an exchange of two scenes; with less the search is at its end."""


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


def divide_into_folds(frames: Sequence[Frame], count: int, log_depths: Mapping[str, float] | None = None) -> Folds:
    """Folds of about equally many frames to fit that never cut a scene, at most as many as there are scenes.

    Where the mean log depth of every scene is given, the folds are about equally deep as well: scenes of two folds
    are exchanged, the best exchange first, while that lowers what folds are apart in their shares of the frames and in
    the mean log depth of their frames. One fold that is deeper than the rest is a test of another scale.

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
    if log_depths is None:
        return Folds(count, fold_of)
    names, sizes = sorted(fold_of), Counter(scenes)
    columns = ([fold_of[name] for name in names], [sizes[name] for name in names], [log_depths[name] for name in names])
    levelled = _levelled(*map(np.array, columns), count=count)
    return Folds(count, dict(zip(names, levelled.tolist(), strict=True)))


def _levelled(
    folds: Int64[np.ndarray, " scenes"],
    sizes: Int64[np.ndarray, " scenes"],
    log_depths: Float64[np.ndarray, " scenes"],
    *,
    count: int,
) -> Int64[np.ndarray, " scenes"]:
    """Folds of scenes after exchanges that make them alike in frames and in depth; never more apart than before.

    One percent of the frames weighs as much as one percent of depth.
    """
    share, depths = sizes.sum() / count, sizes * (log_depths - np.average(log_depths, weights=sizes))

    def apart(frames: np.ndarray, total: np.ndarray) -> np.ndarray:
        return np.square(frames / share - 1) + np.square(total / frames)

    folds = folds.copy()
    fewer, shallower = sizes[:, None] - sizes, depths[:, None] - depths  # what the fold of the first scene gives away
    while True:
        frames, total = (np.bincount(folds, values, minlength=count)[folds] for values in (sizes, depths))
        before = apart(frames, total)
        after = apart(frames[:, None] - fewer, total[:, None] - shallower)
        gain = before[:, None] + before - after - after.T
        gain[folds[:, None] == folds] = 0
        first, second = np.unravel_index(gain.argmax(), gain.shape)
        if gain[first, second] < LEAST_GAIN:
            return folds
        folds[[first, second]] = folds[[second, first]]


def folds_of_experiment(
    path: Path,
    frames: Sequence[Frame],
    count: int,
    log_depths: Callable[[], Mapping[str, float] | None] = lambda: None,
    *,
    write: bool = True,
) -> Folds:
    """The folds of an experiment's frames to fit: read from its file, or decided and written where there is none yet.

    With fewer scenes than ``count`` there are as many folds as scenes. ``log_depths`` is asked for the mean log depth
    of scenes where folds are decided. Without ``write`` nothing is written, and ``keep_folds`` does so later.

    Raises:
        ValueError: The file is damaged, or divides other scenes or into another number of folds.
    """
    if not write and not path.is_file():
        return divide_into_folds(frames, count, log_depths())
    if not path.is_file() or leftovers(path.parent):
        depths = None if path.is_file() else log_depths()  # others wait for the lock, so reading comes before
        with StoreLock(path.parent, patience=PATIENCE, keep=False):
            if not path.is_file():
                folds = divide_into_folds(frames, count, depths)
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


def keep_folds(path: Path, folds: Folds) -> None:
    """Write down folds that were decided without being written.

    Raises:
        ValueError: The experiment was divided otherwise in the meantime.
    """
    if not path.is_file():
        with StoreLock(path.parent, patience=PATIENCE, keep=False):
            if not path.is_file():
                write_checked(path, folds.text.encode())
    if read_folds(path).fingerprint != folds.fingerprint:
        raise ValueError(f"{path}: another command divided this experiment otherwise just now; give the same one again")


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
