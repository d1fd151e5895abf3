"""``stackdepth``: all command lines by one name; ``stackdepth base train`` is ``python -m ensemble.base train``."""

import importlib
import sys
from collections.abc import Mapping
from importlib.metadata import version

from ensemble import options
from ensemble.console import messages, results
from ensemble.settings.trees import SettingsError, check_name

TOOLS: Mapping[str, tuple[str, str]] = {
    "base": ("ensemble.base", "learners: train, cache, import, verify, evaluate, save, predict"),
    "meta": ("ensemble.meta", "stacks: fit, evaluate, save, fuse, predict"),
    "study": ("ensemble.study", "studies with Optuna: run, show, compare"),
    "report": ("ensemble.report.__main__", "tables with error bars and one page"),
    "data": ("ensemble.data.__main__", "copies of a data set: doctor, pack, rooms"),
    "demo": ("ensemble.demo", "the whole job on generated rooms"),
}


def main() -> None:
    """Hand the words over to the tool that the first of them names."""
    words = sys.argv[1:]
    if words == ["--version"]:
        results.print(f"stackdepth {version('stackdepth')}")
    elif not words or words in (["--help"], ["-h"]):
        results.print("stackdepth TOOL COMMAND ...\n")
        for name, (_, told) in TOOLS.items():
            results.print(f"  {name:<8}{told}")
        results.print("\nstackdepth TOOL --help tells more.")
    else:
        try:
            check_name(words[0], TOOLS, "tool")
        except SettingsError as error:
            messages.print(f"error: {error}", style="red")
            sys.exit(2)
        sys.argv = [f"stackdepth {words[0]}", *words[1:]]
        options.run(importlib.import_module(TOOLS[words[0]][0]).app)


if __name__ == "__main__":
    main()
