"""What comes in: calls that name no file but what was sent to this page, and word of who is there."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

from starlette.requests import ClientDisconnect

from ensemble.deploy.page.guard import App, refuse
from ensemble.deploy.page.sessions import Sessions

MOST_BYTES = 1 << 20
"""Of a call, which holds what controls say; files are sent by themselves."""

_UPLOAD = re.compile(r"/gradio_api/upload/?")
_HEARTBEAT = re.compile(r"/gradio_api/heartbeat/([^/]+)/?")


class Intake:
    """Refuses calls with the name of any other file, of this machine or an address, before Gradio looks it up.

    Args:
        app: What is called, as ASGI has it.
        sessions: That know what was sent, and are told of browsers that hold their line.
    """

    def __init__(self, app: App, sessions: Sessions) -> None:
        self._app, self._sessions = app, sessions

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """One connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        beat = _HEARTBEAT.fullmatch(scope["path"])
        try:
            if scope["method"] == "POST" and not _UPLOAD.fullmatch(scope["path"]):
                body = await _body(receive)
                if (why := self._unwanted(body)) is not None:
                    await refuse(scope, send, 403, why, {})
                    return
                receive = _again(body, receive)
            with self._sessions.here(beat[1]) if beat else nullcontext():
                await self._app(scope, receive, send)
        except ClientDisconnect:  # whoever has gone waits for no answer
            return

    def _unwanted(self, body: bytes) -> str | None:
        """Why a call is refused; ``None`` where it is not."""
        if len(body) > MOST_BYTES:
            return f"A call of this page has at most {MOST_BYTES} bytes."
        try:
            named = list(_paths(json.loads(body or b"null")))
        except (ValueError, RecursionError):
            return "A call of this page is JSON."
        if all(isinstance(path, str) and self._sessions.holds(path) for path in named):
            return None
        return "This page looks at photographs that were sent to it, and at no other file."


def _paths(told: Any) -> Iterator[Any]:
    """Every ``path`` within."""
    if isinstance(told, dict):
        if told.get("path") is not None:
            yield told["path"]
        told = list(told.values())
    if isinstance(told, list):
        for each in told:
            yield from _paths(each)


async def _body(receive: Any) -> bytes:
    """All of it, or a little more than is allowed."""
    body, more = bytearray(), True
    while more and len(body) <= MOST_BYTES:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        body += message.get("body", b"")
        more = message.get("more_body", False)
    return bytes(body)


def _again(body: bytes, receive: Any) -> Any:
    """Receives a body that was read before, then whatever follows."""
    left = [{"type": "http.request", "body": body, "more_body": False}]

    async def again() -> Any:
        return left.pop() if left else await receive()

    return again
