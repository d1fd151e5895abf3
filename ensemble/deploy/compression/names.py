"""Which recipes there are, by name alone: a mistake is told before torch is loaded."""

import re
from collections.abc import Mapping, Sequence

from ensemble.settings.trees import SettingsError, check_name

UNITS: Mapping[str, str] = {
    **dict.fromkeys(("fp32", "fp16", "int8-dynamic", "int8-static", "qat"), ""),
    "prune": "percent",
    "structured": "percent",
    "kmeans": "values",
    **dict.fromkeys(("fp32-openvino", "bf16", "int8-openvino"), ""),
}
"""By recipe; a number follows the name where there is a unit, as in ``prune-50``."""

LIMITS: Mapping[str, tuple[int, int]] = {"percent": (1, 99), "values": (2, 256)}
"""Least and largest number by its unit."""


def check_recipes(names: Sequence[str], steps: int) -> None:
    """Refuse recipes that there are none of, and training for 8 bits without a step.

    Raises:
        SettingsError: Likewise.
    """
    for name in names:
        if parsed_recipe(name)[0] == "qat" and not steps:
            raise SettingsError(
                "qat: expected at least one step to train further, found --steps 0; without training it is int8-static"
            )


def parsed_recipe(name: str) -> tuple[str, int]:
    """The word of a recipe and its number, which is 0 where it has none.

    Raises:
        SettingsError: There is no such recipe, or the number is none that makes sense.
    """
    numbered = re.fullmatch(r"([a-z]+)-([0-9]{1,3})", name)
    word, number = (numbered.group(1), int(numbered.group(2))) if numbered else (name, 0)
    check_name(word, tuple(UNITS), "recipe")
    unit = UNITS[word]
    low, high = LIMITS.get(unit, (0, 0))
    if not low <= number <= high:
        wanted = f"{word}-N with N from {low} to {high} ({unit})" if unit else word
        raise SettingsError(f"recipe {name!r}: expected {wanted}")
    return word, number
