"""The settings that a run was begun with, read back from its folder."""

import typing
from pathlib import Path

from pydantic import ValidationError

from ensemble.runs.seals import read_bytes
from ensemble.settings.schema import Settings

SomeSettings = typing.TypeVar("SomeSettings", bound=Settings)


def stored_settings(kind: type[SomeSettings], path: Path) -> SomeSettings:
    """The settings that a run was begun with.

    Raises:
        ValueError: The file is missing, damaged, unreadable, or holds settings of something else.
    """
    try:
        return kind.model_validate_json(read_bytes(path))
    except FileNotFoundError as error:
        raise ValueError(f"{path}: the run's settings cannot be read ({error.strerror})") from error
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(map(str, problem["loc"])) or "the file"
        raise ValueError(
            f"{path}: expected the settings of {_WHOSE[kind.__name__]}, but {where} does not fit ({problem['msg']})"
        ) from error


_WHOSE = {
    "LearnerSettings": "a learner's run",
    "ImportSettings": "an imported learner",
    "StackSettings": "a fit of the meta-learner",
}
