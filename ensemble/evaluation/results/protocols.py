"""The same rows scored under several published protocols, and the file that they stand in: ``protocols.json``."""

from pathlib import Path

from pydantic import TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as checked_dataclass

from ensemble.evaluation.results.scores import CHECKED, Scores, first_mistake
from ensemble.metrics.published import OURS
from ensemble.runs.seals import read_bytes, write_sealed

SCHEMA = 1


@checked_dataclass(frozen=True, config=CHECKED)
class ProtocolScores:
    """All rows under one protocol.

    Attributes:
        scores: The table, with the protocol as it was applied.
        source: Where the protocol is published; empty for ours.
        remembered: What of it is from memory and not read there.
        departures: In what these scores are made otherwise than there.
        other_flip: Whether it is published with flip averaging and these rows were made without, or the reverse.
    """

    scores: Scores
    source: str = ""
    remembered: str = ""
    departures: tuple[str, ...] = ()
    other_flip: bool = False


@checked_dataclass(frozen=True, config=CHECKED)
class ProtocolComparison:
    """The same cached rows under several protocols, ours first.

    Attributes:
        schema: Version of this layout.
        protocols: By name.
    """

    schema: int
    protocols: dict[str, ProtocolScores]

    def __post_init__(self) -> None:
        """Refuses protocols that were not applied to the same rows."""
        if self.schema != SCHEMA:
            raise ValueError(f"schema {self.schema} found, {SCHEMA} expected; evaluate again")
        names = {name: [row.name for row in each.scores.rows] for name, each in self.protocols.items()}
        if OURS not in names or any(rows != names[OURS] for rows in names.values()):
            raise ValueError(f"expected the same rows under {OURS!r} and every other protocol, found {names}")


_COMPARISON = TypeAdapter(ProtocolComparison)


def protocols_json(comparison: ProtocolComparison) -> str:
    """The whole of it, indented, with a final newline."""
    return _COMPARISON.dump_json(comparison, indent=2).decode() + "\n"


def write_protocols(comparison: ProtocolComparison, path: Path) -> None:
    """Writes at once: a reader sees the old file or the new one."""
    write_sealed(path, protocols_json(comparison).encode())


def read_protocols(path: Path) -> ProtocolComparison:
    """Reads what ``write_protocols`` wrote.

    Raises:
        ValueError: The file is not such a file; the message names it and what is wrong.
    """
    try:
        return _COMPARISON.validate_json(read_bytes(path))
    except ValidationError as error:
        raise ValueError(f"{path}: {first_mistake(error)}. Evaluate again to rewrite it.") from error
