"""The page on an address: warmed up, guarded, alone with its own files, and away without a trace."""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ensemble.console import messages
from ensemble.console.pulse import pulse
from ensemble.deploy.card import model_card
from ensemble.deploy.page.examples import write_examples
from ensemble.deploy.page.guard import Guard
from ensemble.deploy.page.intake import Intake
from ensemble.deploy.page.sessions import Sessions
from ensemble.deploy.page.turns import Turns
from ensemble.deploy.page.wording import MEGABYTES, without_front_matter
from ensemble.runs.stopping import Stopped

if TYPE_CHECKING:
    import uvicorn

    from ensemble.deploy.door import DepthStack
    from ensemble.deploy.page.page import Site

PATIENCE = 2
"""Seconds that requests get to end when the page is stopped."""

_AT_HOME = {"GRADIO_ANALYTICS_ENABLED": "False", "HF_HUB_OFFLINE": "1", "GRADIO_SSR_MODE": "False"}
"""What keeps Gradio from asking others for anything."""


@dataclass(frozen=True)
class Address:
    """Where the page is.

    Attributes:
        host: That it listens on.
        port: Likewise; 0 takes any that is free.
        password: Of whoever is not at this machine; ``None`` where nobody else may come.
    """

    host: str = "127.0.0.1"
    port: int = 0
    password: str | None = None


def serve(
    stack: DepthStack, address: Address, *, student: DepthStack | None = None, reports: Mapping[str, Path]
) -> None:
    """Show the page until a signal ends it.

    Args:
        stack: Ready to predict.
        address: Where.
        student: To compare it with.
        reports: Pages of evaluations by their titles.

    Raises:
        OSError: The address is taken, or none of this machine.
    """
    with tempfile.TemporaryDirectory(prefix="stackdepth-view-") as folder, _listening(address) as listener:
        root = Path(folder)
        os.environ.update(_AT_HOME, GRADIO_TEMP_DIR=str(root))
        pulse.doing = "making the page ready"
        sessions = Sessions(root, root / "examples")

        import uvicorn

        from ensemble.deploy.page.page import Site

        about = without_front_matter(model_card(stack.header))
        links = [(title, _report_link(number)) for number, title in enumerate(reports)]
        site = Site(stack, student, write_examples(sessions.root / "examples"), sessions, about, links)
        site.warm(site.examples[0])
        app = _application(site, list(reports.values()), address.password)

        host, port = listener.getsockname()[:2]
        settings = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=PATIENCE)
        with pulse.muted(), sessions.swept():
            shown = f"[{host}]" if ":" in host else host
            messages.print(f"page: http://{shown}:{port}   (Ctrl-C ends it)")
            try:
                _beside(site.networks, uvicorn.Server(settings), listener)
            except Stopped as stop:
                stop.then = "the page is closed, and what visitors have sent is gone"
                raise


def _application(site: Site, reports: Sequence[Path], password: str | None) -> Guard:
    import gradio as gr
    from fastapi import FastAPI, HTTPException
    from fastapi.responses import FileResponse
    from gradio.themes import Base

    from ensemble.deploy.page.page import page

    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)

    @app.get(_report_link("{number}"))
    def report(number: int) -> FileResponse:
        """One of the pages that are listed; no name of a file comes from outside."""
        if not 0 <= number < len(reports):
            raise HTTPException(404, f"there is no report {number}; the page lists {len(reports)}")
        return FileResponse(reports[number], media_type="text/html")

    fonts = ["system-ui", "sans-serif"], ["ui-monospace", "monospace"]
    mounted = gr.mount_gradio_app(
        app,
        page(site),
        path="/",
        theme=Base(font=fonts[0], font_mono=fonts[1]),
        css_paths=Path(__file__).with_name("page.css"),
        js=Path(__file__).with_name("page.js").read_text(encoding="utf-8"),
        allowed_paths=[str(site.sessions.root)],
        max_file_size=f"{MEGABYTES}mb",
        footer_links=[],
        ssr_mode=False,
        enable_monitoring=False,
        show_error=True,
    )
    return Guard(Intake(mounted, site.sessions), password)


def _report_link(number: int | str) -> str:
    return f"/reports/{number}"


def _beside(networks: Turns, server: uvicorn.Server, listener: socket.socket) -> None:
    """The server in a thread of its own, and what networks have to do for it in this one, until either ends."""
    with ThreadPoolExecutor(1, thread_name_prefix="page") as threads:
        served = threads.submit(server.run, sockets=[listener])
        served.add_done_callback(lambda _: networks.end())
        try:
            networks.work()
        finally:
            server.should_exit = True
    served.result()


def _listening(address: Address) -> socket.socket:
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    listener = socket.socket(family, proto=socket.IPPROTO_TCP)  # else asyncio leaves Nagle on: 40 ms for every answer
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((address.host, address.port))
    except OSError as error:
        listener.close()
        raise OSError(
            error.errno, f"{address.host}:{address.port}: {error.strerror}; choose another --port, or address"
        ) from error
    return listener


def found_reports(root: Path) -> dict[str, Path]:
    """Report pages below the folder of all runs, by what a person calls them."""
    return {str(path.parent.relative_to(root)): path for path in sorted(root.glob("*/**/report.html"))}
