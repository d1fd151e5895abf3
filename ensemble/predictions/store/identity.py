"""What cached predictions were made from, and how a difference is told."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Literal, get_args

from ensemble.settings.names import Role

SCHEMA = 2
"""Version of the layout that ``ensemble.predictions.store.shards`` writes; anything else is refused."""

KeptRole = Literal[Role, "unlabelled"]
"""Whose rows are kept: the roles of frames, and photographs that nobody measured."""

Description = Mapping[str, str | int | float]

KEYS = (
    "schema",
    "learner",
    "role",
    "fold",
    "weights",
    "preprocessing",
    "frames",
    "folds",
    "height",
    "width",
    "max_depth",
)
"""What a shard says about itself, and in this order what is told first where it differs."""

TITLES = {key: key for key in KEYS} | {"frames": "file list", "max_depth": "largest depth"}


class CacheError(ValueError):
    """A prediction store that cannot be used; the message names the store and the command that mends it."""


class StaleCacheError(CacheError):
    """A store that was made from something else than what is asked for."""


class DamagedCacheError(CacheError):
    """A shard whose bytes are not those that were written."""


@dataclass(frozen=True)
class CacheIdentity:
    """What the rows of one store were made from."""

    learner: str  # its name in the experiment
    role: KeptRole  # which frames, seen from the learner: ``fit`` it was trained on, ``oof`` its fold never saw
    fold: int | None  # the fold whose model predicted; ``None`` for the model of the full fit
    weights: str  # hexadecimal fingerprint of the weights
    preprocessing: str  # hexadecimal fingerprint of everything between file and network, and back
    frames: str  # hexadecimal fingerprint of the file list
    folds: str  # hexadecimal fingerprint of how the scenes to fit are divided into folds

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[\w.+-]{1,128}", self.learner):
            raise ValueError(f"learner {self.learner!r}: expected letters, digits, '_', '.', '+' or '-'")
        if self.role not in get_args(KeptRole):
            raise ValueError(f"role {self.role!r}: expected one of {', '.join(get_args(KeptRole))}")
        if self.fold is not None and self.fold < 0:
            raise ValueError(f"fold {self.fold}: expected 0 or more, or None for the full fit")
        for name in ("weights", "preprocessing", "frames", "folds"):
            value = getattr(self, name)
            if not re.fullmatch(r"[0-9a-f]{8,128}", value):
                raise ValueError(f"{name}: expected a fingerprint of 8 to 128 hexadecimal digits, found {value!r}")

    def description(self, *, size: tuple[int, int], max_depth: float) -> Description:
        """Everything a shard says about itself: rows of ``size`` (height, width), up to ``max_depth`` metres."""
        return {
            "schema": SCHEMA,
            **asdict(self),
            "fold": -1 if self.fold is None else self.fold,
            "height": size[0],
            "width": size[1],
            "max_depth": float(max_depth),
        }


def differences_between(stored: Description, expected: Description) -> list[str]:
    """What ``stored`` says otherwise than ``expected``; a foreign schema is told alone, the rest means nothing then."""
    told = ("schema",) if stored["schema"] != expected["schema"] else TITLES
    return [
        f"{TITLES[key]} changed: stored {stored[key]}, expected {expected[key]}"
        for key in told
        if stored[key] != expected[key]
    ]


def without_rebuild(command: str) -> str:
    """The command that goes on filling a store; complaints about stale rows add ``--rebuild`` to it."""
    return command.replace(" --rebuild", "")


def check_frames(frame_ids: Sequence[str], *, where: str) -> None:
    """Refuse a list of frames that names none, or one of them twice.

    Raises:
        ValueError: No frame, a doubled frame, or an id that is not 1 to 1024 bytes of printable text.
    """
    if not frame_ids:
        raise ValueError(f"{where}: the list of frames is empty; expected at least one frame id")
    seen: set[str] = set()
    for frame_id in frame_ids:
        if not frame_id.isprintable() or not 1 <= len(frame_id.encode("utf-8")) <= 1024:
            raise ValueError(f"{where}: frame id {frame_id[:80]!r}: expected 1 to 1024 bytes of printable text")
        if frame_id in seen:
            raise ValueError(f"{where}: frame {frame_id} stands twice in the list of frames; name each frame once")
        seen.add(frame_id)
