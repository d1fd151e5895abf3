"""Where messages go: tables and JSON to standard output, everything else to standard error."""

from collections.abc import Iterable
from typing import TypeVar

from rich.console import Console
from rich.progress import track

Item = TypeVar("Item")

messages = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)
results = Console(highlight=False, markup=False)


def progress(items: Iterable[Item], title: str) -> Iterable[Item]:
    """The items, with a bar on the terminal that leaves nothing behind; no bar where there is no terminal."""
    off = not messages.is_terminal
    return track(items, description=f"  {title:<10}", console=messages, transient=True, disable=off)
