"""Where messages go: tables and JSON to standard output, everything else to standard error."""

import json
import re
from collections.abc import Iterable, Iterator, Sized
from typing import Any, TypeVar

from rich.console import Console
from rich.progress import track

from ensemble.console.pulse import pulse

Item = TypeVar("Item")

_MODULE = re.compile(r"\bpython -m ensemble\.(?=[a-z])")


class HeardConsole(Console):
    """A console that ends a line of dots before it says something, and names commands as a person types them.

    Attributes:
        typed: What was typed in place of ``python -m ensemble.``, with its space; ``None`` where it was just that.
    """

    typed: str | None = None

    def print(self, *objects: Any, **how: Any) -> None:
        """Say something, the shared pulse first."""
        pulse.heard()
        pulse.doing = "working"
        super().print(*(self._as_typed(each) for each in objects), **how)

    def out(self, *objects: Any, **how: Any) -> None:
        """The same of text as it is."""
        pulse.heard()
        super().out(*objects, **how)

    def _as_typed(self, said: Any) -> Any:
        return said if self.typed is None or not isinstance(said, str) else _MODULE.sub(self.typed, said)


messages = HeardConsole(stderr=True, highlight=False, markup=False, soft_wrap=True)
results = HeardConsole(highlight=False, markup=False)


def name_commands(typed: str) -> None:
    """Say commands with these words in place of ``python -m ensemble.`` from now on."""
    messages.typed = results.typed = typed


def print_json(plain: object) -> None:
    """Data, or the text of a JSON document, for other programs: never coloured, never wrapped."""
    tree = json.loads(plain) if isinstance(plain, str) else plain
    results.out(json.dumps(tree, indent=2, ensure_ascii=False), highlight=False)


def progress(items: Iterable[Item], title: str) -> Iterator[Item]:
    """The items, with a bar on the terminal that leaves nothing behind; elsewhere a line of dots knows of them."""
    if messages.is_terminal:
        with pulse.muted():
            yield from track(items, description=f"  {title:<10}", console=messages, transient=True)
        return
    of = f" of {len(items)}" if isinstance(items, Sized) else ""
    for number, item in enumerate(items, 1):
        pulse.doing = f"{title} {number}{of}"
        yield item
    pulse.doing = "working"


def counted(number: int, one: str, many: str | None = None) -> str:
    """A number of things: ``1 frame``, ``2 frames``."""
    return f"{number} {one if number == 1 else many or one + 's'}"


def duration(seconds: float) -> str:
    """Hours, minutes or seconds, as a person says them."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"
