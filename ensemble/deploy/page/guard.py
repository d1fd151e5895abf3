"""Who may see the page: this machine by its own names, or, where it is shared, whoever knows the password."""

import base64
import binascii
import hmac
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

Scope = Mapping[str, Any]
App = Callable[[Any, Any, Any], Awaitable[None]]

LOCAL = ("127.0.0.1", "localhost", "[::1]")
"""Names that a browser of this machine calls it by. A page of somebody else that has this address looked up under its
own name is refused by them."""


class Guard:
    """Answers requests of strangers with 401 or 403, and lets all others pass.

    Args:
        app: What is guarded, as ASGI has it.
        password: Any user name goes with it (HTTP Basic); ``None`` lets those in who call this machine by a local name.
    """

    def __init__(self, app: App, password: str | None) -> None:
        self._app, self._password = app, password

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        """One connection."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = {name.lower(): value.decode("latin-1") for name, value in scope["headers"]}
        if self._password is None:
            host = headers.get(b"host", "").rpartition(":")[0] or headers.get(b"host", "")
            if host in LOCAL:
                await self._app(scope, receive, send)
            else:
                await refuse(scope, send, 403, "This page is for this machine alone.", {})
        elif knows(headers.get(b"authorization", ""), self._password):
            await self._app(scope, receive, send)
        else:
            ask = {"www-authenticate": 'Basic realm="stackdepth", charset="UTF-8"'}
            await refuse(scope, send, 401, "This page wants its password, with any name.", ask)


def knows(authorization: str, password: str) -> bool:
    """Whether a header of HTTP Basic holds the password, found out in the same time for all wrong ones."""
    kind, _, coded = authorization.partition(" ")
    try:
        told = base64.b64decode(coded, validate=True).partition(b":")[2]
    except (binascii.Error, ValueError):
        return False
    return kind.lower() == "basic" and hmac.compare_digest(told, password.encode())


async def refuse(scope: Scope, send: Any, status: int, words: str, headers: Mapping[str, str]) -> None:
    """Answer a connection with a sentence, and with these headers."""
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008})
        return
    told = {"content-type": "text/plain; charset=utf-8", **headers}
    pairs = [(name.encode(), value.encode()) for name, value in told.items()]
    await send({"type": "http.response.start", "status": status, "headers": pairs})
    await send({"type": "http.response.body", "body": words.encode()})
