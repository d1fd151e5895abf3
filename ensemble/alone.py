"""What is said where nothing is installed but what exported files need: NumPy, Pillow and one runtime."""

import sys
from collections.abc import Sequence
from importlib.util import find_spec
from itertools import pairwise

RUNTIME = "ensemble.deploy.runtime"


def refuse_command(words: Sequence[str]) -> None:
    """End a command line that needs the rest, before it is imported.

    Args:
        words: Of the process, as ``sys.orig_argv`` has them.

    Raises:
        SystemExit: One of our command lines is called, it is not that of exported files, and typer is not installed.
    """
    module = next((name for flag, name in pairwise(words) if flag == "-m"), "ensemble")
    ours = module.partition(".")[0] == "ensemble" and not module.startswith(RUNTIME)
    if ours and find_spec("typer") is None:
        sys.exit(
            "error: this environment has what exported files need alone (typer is not installed).\n"
            f"Run: python -m {RUNTIME} FILE IMAGE... --out DIR, or pip install stackdepth for everything else"
        )


def needs_torch(source: object, error: ImportError) -> ImportError:
    """The error of ``ensemble.load`` where torch, or what comes with it, is not installed."""
    return ImportError(
        f"{source}: ensemble.load needs torch and what comes with it ({error}); exported files are opened by "
        f"{RUNTIME}.ExportedStack.open, which does without.\nRun: pip install stackdepth"
    )
