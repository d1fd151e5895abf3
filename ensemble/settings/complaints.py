"""One way to say what is wrong with settings: path, what was expected, what was found, the nearest known name."""

import re
import typing
from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, ValidationError

from ensemble.settings.trees import nearest

_QUOTED = re.compile("'([^']*)'")


def complaints(error: ValidationError, kind: type[BaseModel], *, key: str = "setting", whole: str = "") -> list[str]:
    """One line for every problem of a tree that is not what a class asks for.

    Args:
        error: Pydantic's.
        kind: The class.
        key: What a name in the tree is called.
        whole: What the tree is called, for problems of all of it.
    """
    own = [problem for problem in error.errors() if problem["type"] != "default_factory_not_called"]  # follows
    return [_explain(kind, problem, key, whole) for problem in own]


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
