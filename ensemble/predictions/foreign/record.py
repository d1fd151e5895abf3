"""Learners whose depth came from elsewhere: which an experiment has, and the record of what was taken in for each."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import get_args

from pydantic import ValidationError

from ensemble.runs.paths import FULL, Outputs, Run, model_options
from ensemble.runs.seals import read_bytes, write_checked
from ensemble.settings.names import Role
from ensemble.settings.schema import ImportSettings, Settings

ROLES: dict[str, Role] = {role: role for role in get_args(Role)}

PLACEHOLDER = "DIR"
"""Stands in a command for a folder that nobody has named yet."""


EVERY_ROLE = "all"
"""Stands for the roles that a stack needs, in the place of one."""


class ImportedRole(Settings):
    """The depth maps of one role."""

    folder: str  # where they lay
    content: str  # fingerprint of all maps as they were read, with their frames
    frames: int
    median: float  # metres, over a sample of the pixels
    doubted: bool = False  # that they are of these frames, or depth at all
    rows: tuple[float, ...] = ()  # how maps change from above to below, in the mean of all; none in older records


class _Record(Settings):
    roles: dict[Role, ImportedRole]


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
    places: Mapping[Role, Path] | None = None,
    align: bool = False,
    options: Sequence[str] = (),
) -> str:
    """The command line that imports the maps of a role again, from the folder that they came from.

    The full fit stands for all folds at once where the role is ``oof``; a placeholder for a folder that nobody has
    said. With ``places`` it imports the maps of all roles. Scale and shift are asked for with ``align``, and in any
    case where the settings hold them.
    """
    words = [settings.learner, *_places(role, str(folder or PLACEHOLDER), places or {})]
    words += ["--unit", settings.unit] if settings.unit is not None else []
    words += ["--inverse"] if settings.inverse else []
    if settings.rays is not None:
        words += ["--ray", "--focal", f"{settings.rays.focal:g}"]
        words += ["--centre", "{:g},{:g}".format(*settings.rays.centre)] if settings.rays.centre is not None else []
    words += ["--align-on", "fit"] if align or settings.alignment is not None else []
    words += model_options(model)
    return outputs.command("base", "import", *words, *options, "--experiment", settings.experiment)


def _places(role: str, folder: str, places: Mapping[Role, Path]) -> list[str]:
    if not places:
        return [folder, "--role", role]
    if len({*places.values()}) == 1:
        return [str(next(iter(places.values()))), "--role", EVERY_ROLE]
    return [word for role, place in places.items() for word in (f"--{role}", str(place))]
