"""What torchrun says of this process and its siblings."""

import os
import re

from ensemble.settings.trees import SettingsError

_SET_TOGETHER = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


def told(variable: str, otherwise: int) -> int:
    """The whole number in a variable of the environment; ``otherwise`` where it is not set.

    Raises:
        SettingsError: It holds something else.
    """
    text = os.environ.get(variable, "").strip() or str(otherwise)
    if not re.fullmatch(r"[0-9]{1,6}", text) or int(text) < (variable.endswith("WORLD_SIZE")):
        raise SettingsError(f"{variable}: expected a whole number as torchrun sets it; unset it to train alone")
    return int(text)


def is_first() -> bool:
    """Whether this process is the one of those that train together which writes what all of them know."""
    return told("RANK", 0) == 0


def check_numbers() -> None:
    """Look at all of these variables before a library does, whose import ends where one of them is no number."""
    for variable in ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE"):
        told(variable, 1)


def processes() -> int:
    """How many processes train together.

    Raises:
        SettingsError: Several, of which no launcher has told: a training would wait for the others for ever.
    """
    count = told("WORLD_SIZE", 1)
    missing = [name for name in _SET_TOGETHER if not os.environ.get(name)]
    if count > 1 and missing:
        raise SettingsError(
            f"WORLD_SIZE: found {count}, expected {', '.join(missing)} beside it, as torchrun sets them; "
            "unset it to train alone"
        )
    return count
