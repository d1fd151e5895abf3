"""Learners whose depth came from elsewhere: which an experiment has, and the record of what was taken in for each."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from ensemble.runs.paths import FULL, Outputs, Run, model_options
from ensemble.runs.seals import read_bytes, write_checked
from ensemble.settings.schema import ImportSettings, Settings

PLACEHOLDER = "DIR"
"""Stands in a command for a folder that nobody has named yet."""


class ImportedRole(Settings):
    """The depth maps of one role."""

    folder: str  # where they lay
    content: str  # fingerprint of all maps as they were read, with their frames
    frames: int
    median: float  # metres, over a sample of the pixels


class _Record(Settings):
    roles: dict[Literal["fit", "validation", "test", "oof"], ImportedRole]


def read_roles(run: Run) -> dict[str, ImportedRole]:
    """What was imported for one model, by role.

    Raises:
        ValueError: The record is missing or damaged.
    """
    try:
        return {**_Record.model_validate_json(read_bytes(run.result)).roles}
    except (FileNotFoundError, ValidationError) as error:
        raise ValueError(
            f"{run.result}: expected the record of an imported learner, found something else ({error}); "
            f"remove {run.folder.parent} and import its depth maps again"
        ) from error


def write_roles(run: Run, roles: Mapping[str, ImportedRole]) -> None:
    """Put the record of one model on disk."""
    content = _Record.model_validate({"roles": dict(roles)}).model_dump_json(indent=2) + "\n"
    write_checked(run.result, content.encode())


def import_command(
    outputs: Outputs,
    settings: ImportSettings,
    role: str,
    *,
    model: str = FULL,
    folder: Path | str | None = None,
    align: bool = False,
    options: Sequence[str] = (),
) -> str:
    """The command line that imports the maps of a role again, from the folder that they came from.

    The full fit stands for all folds at once where the role is ``oof``; a placeholder for a folder that nobody has
    said. Scale and shift are asked for with ``align``, and in any case where the settings hold them.
    """
    words = [settings.learner, str(folder or PLACEHOLDER), "--role", role]
    words += ["--unit", settings.unit] if settings.unit is not None else []
    words += ["--align-on", "fit"] if align or settings.alignment is not None else []
    words += model_options(model)
    return outputs.command("base", "import", *words, *options, "--experiment", settings.experiment)
