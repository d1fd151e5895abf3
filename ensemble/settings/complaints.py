"""One way to say what is wrong with settings: path, what was expected, what was found, the nearest known name."""

import json
import re
import typing
from collections.abc import Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from ensemble.settings.trees import SettingsError, Tree, nearest

Model = TypeVar("Model", bound=BaseModel)

_QUOTED = re.compile("'([^']*)'")


def validated(kind: type[Model], tree: Tree, *, key: str = "setting", whole: str = "", where: str = "") -> Model:
    """Settings out of a tree; as JSON because pydantic is strict there in the sense of YAML: lists stand for tuples.

    ``key`` is what a name in the tree is called, ``whole`` the tree itself, for problems of all of it.

    Raises:
        SettingsError: One line for every problem, each behind ``where``.
    """
    try:
        return kind.model_validate_json(json.dumps(tree, default=str), strict=True)
    except ValidationError as error:
        own = [problem for problem in error.errors() if problem["type"] != "default_factory_not_called"]  # follows
        raise SettingsError("\n".join(where + _explain(kind, problem, key, whole) for problem in own)) from error


def _explain(kind: type[BaseModel], problem: Any, key: str, whole: str) -> str:
    where = [str(part) for part in problem["loc"]]
    path = ".".join(where) or whole
    before = f"{path}: " if path else ""
    if problem["type"] == "extra_forbidden":
        return f"{before}there is no such {key}; {nearest(where[-1], _fields(kind, where[:-1]))}"
    if problem["type"] == "missing":
        return f"{before}is missing"
    message = problem["msg"]
    if problem["type"] == "value_error":
        return before + message.removeprefix("Value error, ")
    expected = message.replace("Input should be an object", "a section of settings").removeprefix("Input should ")
    found = problem.get("input")
    hint = f"; {nearest(str(found), _QUOTED.findall(message))}" if problem["type"] == "literal_error" else ""
    return f"{before}expected {expected.removeprefix('be ')}, found {found!r}{hint}"


def _fields(kind: Any, parents: Sequence[str]) -> list[str]:
    """Names of the section that lies below some parents."""
    for parent in parents:
        if not _is_model(kind):
            kind = next(part for part in typing.get_args(kind) if _is_model(part))
        else:
            kind = kind.model_fields[parent].annotation
    return list(kind.model_fields)


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)
