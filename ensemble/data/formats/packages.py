"""Packages that single kinds of files need and that come with an extra of this one."""

import importlib
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
        raise ValueError(f"{where}: {kind} needs {module}.\nRun: pip install 'stackdepth[{extra}]'") from None
