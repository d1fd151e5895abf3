"""What a command says once, however many folders, roles or frames it is true of."""

from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from ensemble.console.streams import messages

_said: ContextVar[set[Hashable] | None] = ContextVar("said", default=None)


@contextmanager
def said_once() -> Iterator[None]:
    """Within it ``notice`` is silent about what it has said before."""
    token = _said.set(set())
    try:
        yield
    finally:
        _said.reset(token)


def notice(text: str, *, about: Hashable = None, style: str | None = None) -> None:
    """Print a message, unless the same was said before.

    Args:
        text: The message.
        about: What makes two messages the same; the text where absent.
        style: As ``Console.print`` takes it.
    """
    known = _said.get()
    if known is not None and (text if about is None else about) in known:
        return
    if known is not None:
        known.add(text if about is None else about)
    messages.print(text, style=style)
