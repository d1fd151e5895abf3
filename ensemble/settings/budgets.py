"""What a set of learners may cost: milliseconds, multiply-adds or parameters."""

import re
from dataclasses import dataclass
from types import MappingProxyType

from ensemble.settings.trees import SettingsError

UNITS = MappingProxyType({"ms": "milliseconds", "G": "giga_mul_adds", "M": "million_parameters"})
"""Unit on the command line -> field of ``ensemble.stacking.candidates.Cost``."""


@dataclass(frozen=True)
class CostBudget:
    """The most that a set of learners may cost for one image."""

    amount: float
    unit: str  # key in ``UNITS``

    @property
    def text(self) -> str:
        """As on the command line."""
        return f"{self.amount:.10g}{self.unit}"


def cost_budget(text: str) -> CostBudget:
    """A budget out of ``500ms``, ``30G`` (multiply-adds) or ``10M`` (parameters).

    Raises:
        SettingsError: The text is something else.
    """
    match = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,6})?) ?(ms|G|M)", text.strip())
    if match is None or float(match.group(1)) == 0:
        raise SettingsError(
            f"--budget {text!r}: expected milliseconds, 1e9 multiply-adds or 1e6 parameters, such as 500ms, 30G or 10M"
        )
    return CostBudget(float(match.group(1)), match.group(2))
