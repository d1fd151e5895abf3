"""Packages that single kinds of files need and that come with an extra of this one."""

import importlib
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType


def needed(module: str, *, extra: str, kind: str, where: Path | str) -> ModuleType:
    """A module of a package that is not always installed.

    Raises:
        ValueError: It is not; the message names the extra that brings it.
    """
    try:
        return importlib.import_module(module)
    except ImportError:
        raise _missing(module, extra, kind, where) from None


def expect_packages(modules: Iterable[str], *, extra: str, kind: str, where: Path | str) -> None:
    """Refuse to begin what needs modules that are not installed; none is imported.

    Raises:
        ValueError: One is not; the message names the extra that brings it.
    """
    for module in modules:
        if find_spec(module) is None:
            raise _missing(module, extra, kind, where)


def _missing(module: str, extra: str, kind: str, where: Path | str) -> ValueError:
    return ValueError(f"{where}: {kind} needs {module}.\nRun: pip install 'stackdepth[{extra}]'")
