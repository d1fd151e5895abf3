"""The same rows scored under several published protocols, and the file that they stand in: ``protocols.json``."""

from dataclasses import field
from pathlib import Path

from pydantic import TypeAdapter
from pydantic.dataclasses import dataclass as checked_dataclass

from ensemble.evaluation.results.scores import CHECKED, Scores, read_checked
from ensemble.metrics.published import OURS
from ensemble.runs.seals import write_sealed

SCHEMA = 1


@checked_dataclass(frozen=True, config=CHECKED)
class ProtocolScores:
    """All rows under one protocol."""

    scores: Scores  # the table, with the protocol as it was applied
    source: str = ""  # where the protocol is published; empty for ours
    remembered: str = ""  # what of it is from memory and not read there
    departures: tuple[str, ...] = ()  # in what these scores are made otherwise than there
    other_flip: bool = False
    """Whether it is published with flip averaging and these rows were made without, or the reverse."""


@checked_dataclass(frozen=True, config=CHECKED)
class ProtocolComparison:
    """The same cached rows under several protocols, ours first."""

    schema: int  # version of this layout
    protocols: dict[str, ProtocolScores]  # by name
    server: dict[str, dict[str, float]] = field(default_factory=dict)
    """What KITTI's server prints of each row, by name and metric; of other data nothing."""

    def __post_init__(self) -> None:
        """Refuses protocols that were not applied to the same rows."""
        if self.schema != SCHEMA:
            raise ValueError(f"schema {self.schema} found, {SCHEMA} expected; evaluate again")
        names = {name: [row.name for row in each.scores.rows] for name, each in self.protocols.items()}
        if OURS not in names or any(rows != names[OURS] for rows in names.values()):
            raise ValueError(f"expected the same rows under {OURS!r} and every other protocol, found {names}")


_COMPARISON = TypeAdapter(ProtocolComparison)


def write_protocols(comparison: ProtocolComparison, path: Path) -> None:
    """Writes at once: a reader sees the old file or the new one."""
    write_sealed(path, _COMPARISON.dump_json(comparison, indent=2) + b"\n")


def read_protocols(path: Path) -> ProtocolComparison:
    """Reads what ``write_protocols`` wrote; errors as in ``read_checked``."""
    return read_checked(_COMPARISON, path)
