"""Where messages go: tables and JSON to standard output, everything else to standard error."""

import json
from collections.abc import Iterable
from typing import TypeVar

from rich.console import Console
from rich.progress import track

Item = TypeVar("Item")

messages = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)
results = Console(highlight=False, markup=False)


def print_json(plain: object) -> None:
    """Data, or the text of a JSON document, for other programs: never coloured, never wrapped."""
    tree = json.loads(plain) if isinstance(plain, str) else plain
    results.out(json.dumps(tree, indent=2, ensure_ascii=False), highlight=False)


def progress(items: Iterable[Item], title: str) -> Iterable[Item]:
    """The items, with a bar on the terminal that leaves nothing behind; no bar where there is no terminal."""
    off = not messages.is_terminal
    return track(items, description=f"  {title:<10}", console=messages, transient=True, disable=off)
