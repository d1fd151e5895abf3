"""The page through HTTP, as a browser uses it: the first photograph, and what later ones cost beside their networks."""

import io
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import httpx
import numpy as np
import torch
import typer
from PIL import Image

from benchmarks.serving import PHOTOGRAPH, untrained
from benchmarks.spent import REPOSITORY
from benchmarks.tables import Table, Target, milliseconds, write_section
from ensemble.data.rooms.camera import render_frame
from ensemble.deploy.door import DepthStack
from ensemble.settings.layers import Choice

MOST_SECONDS, MOST_SHARE = 3.0, 1.1
UNTIMED = 2
"""Photographs before those that are timed."""


class Shown(NamedTuple):
    """Seconds of a page and of its networks.

    Attributes:
        first: Of the first photograph after the page has said that it is there.
        parts: Medians of later ones: sending, the answer, and fetching both pictures.
        whole: Of all three.
        own: Of the networks alone.
        empty: Of an answer without a photograph.
        worked: Processor time of the page for one.
        worked_alone: Of the networks alone for one.
    """

    first: float
    parts: tuple[float, ...]
    whole: float
    own: float
    empty: float
    worked: float
    worked_alone: float

    @property
    def against(self) -> str:
        """A later photograph beside its networks alone."""
        return f"{self.whole / self.own - 1:+.1%} ({milliseconds(self.whole)} and {milliseconds(self.own)} ms)"


def main(
    stack: Annotated[Path | None, typer.Option(help="A saved stack; where absent a small and a large one.")] = None,
    repeats: Annotated[int, typer.Option(min=1, help="Photographs that are timed.")] = 15,
) -> None:
    """Sends photographs to the page of a stack, in turn with its networks; writes the section."""
    with tempfile.TemporaryDirectory() as folder:
        if stack is None:
            places = {
                "the demo's networks": Path(folder) / "demo.stack",
                "the published widths": Path(folder) / "large",
            }
            choices = Choice("rooms", config=REPOSITORY / "configs" / "demo.yaml"), Choice("nyu")
            for place, choice in zip(places.values(), choices, strict=True):
                untrained(choice).save(place)
        else:
            places = {stack.stem: stack}
        found = {name: _shown(place, repeats) for name, place in places.items()}
    write_section(
        "page",
        "The page",
        targets=[
            target
            for name, shown in found.items()
            for target in (
                Target(
                    f"first photograph after the page is up, {name}",
                    f"<= {MOST_SECONDS:g} s",
                    f"{shown.first:.2f} s",
                    shown.first <= MOST_SECONDS,
                ),
                Target(
                    f"later ones against `stack(image)`, {name}",
                    f"<= {MOST_SHARE - 1:.0%} more",
                    shown.against,
                    shown.whole <= MOST_SHARE * shown.own,
                    _why(shown),
                ),
            )
        ],
        parts=[
            f"Medians of {repeats} photographs of "
            f"{PHOTOGRAPH[0]}x{PHOTOGRAPH[1]} by the clock on the wall, {torch.get_num_threads()} threads, the page "
            "and `stack(image).depth` in turn: a JPEG file is sent, the answer comes, and the pictures "
            "of photograph and depth are fetched. *Empty* is an answer of the page without a photograph.",
            Table(
                (
                    *("ms", "sending", "answer", "pictures", "together", "networks alone", "empty"),
                    *("page, processor", "networks, processor"),
                ),
                [
                    (
                        name,
                        *map(milliseconds, (*shown.parts, shown.whole, shown.own, shown.empty)),
                        *map(milliseconds, (shown.worked, shown.worked_alone)),
                    )
                    for name, shown in found.items()
                ],
            ),
        ],
    )


def _why(shown: Shown) -> str:
    if shown.whole <= MOST_SHARE * shown.own:
        return ""
    return f"the web's own way takes {milliseconds(shown.empty + shown.parts[0] + shown.parts[-1])} ms of it"


class Visitor:
    """A browser's way through the page, without the browser."""

    def __init__(self, url: str) -> None:
        self._client = httpx.Client(base_url=url, timeout=120)
        config = self._client.get("/config").json()
        components = {each["id"]: each for each in config["components"]}
        photograph = next(key for key, each in components.items() if each["props"].get("elem_id") == "photograph")
        self._taking = next(each for each in config["dependencies"] if [photograph, "change"] in each["targets"])
        self._others = [components[key]["props"].get("value") for key in self._taking["inputs"][1:]]
        self._api = config["api_prefix"]

    def send(self, photograph: bytes) -> str:
        """The place of a photograph on the server."""
        file = {"files": ("photograph.jpg", photograph, "image/jpeg")}
        return self._client.post(f"{self._api}/upload", files=file).raise_for_status().json()[0]

    def ask(self, place: str | None) -> list[Any]:
        """What the page answers to it."""
        given = None if place is None else {"path": place, "meta": {"_type": "gradio.FileData"}}
        wanted = {"data": [given, *self._others], "fn_index": self._taking["id"], "session_hash": "visitor"}
        return self._client.post(f"{self._api}/run/predict", json=wanted).raise_for_status().json()["data"]

    def fetch(self, answer: list[Any]) -> None:
        """Both pictures of an answer."""
        (pictures,) = (each for each in answer if isinstance(each, list) and len(each) == 2)
        for picture in pictures:
            self._client.get(picture["url"]).raise_for_status()


@contextmanager
def _served(place: Path) -> Iterator[tuple[str, int]]:
    """Address and process of a page, from the moment that it says it is there."""
    command = [sys.executable, "-m", "ensemble.view", str(place), "--port", "0"]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment, cwd=place.parent)
    with process:
        try:
            said = next(line for line in process.stderr or () if line.startswith("page: "))
            yield re.findall(r"http://\S+", said)[0], process.pid
        finally:
            process.terminate()


def _shown(place: Path, repeats: int) -> Shown:
    stack, sizes = DepthStack.open(place), range(repeats + UNTIMED)
    images = [render_frame(PHOTOGRAPH, seed=(0, 1, seed), frame=0, holes=False, noise=False).image for seed in sizes]
    files = [_jpeg(image) for image in images]
    with _served(place) as (url, page):
        began = time.perf_counter()
        visitor = Visitor(url)
        visitor.fetch(visitor.ask(visitor.send(files[0])))
        first = time.perf_counter() - began
        parts, own, worked, worked_alone = [], [], [], []
        for image, file in zip(images, files, strict=True):
            before = _processor_seconds(page)
            parts.append(_visit(visitor, file))
            worked.append(_processor_seconds(page) - before)
            start, before = time.perf_counter(), time.process_time()
            _ = stack(image).depth
            own.append(time.perf_counter() - start)
            worked_alone.append(time.process_time() - before)
        empty = [_seconds(lambda: visitor.ask(None)) for _ in sizes]
    kept = np.array(parts[UNTIMED:])
    return Shown(
        first,
        tuple(np.median(kept, axis=0).tolist()),
        float(np.median(kept.sum(axis=1))),
        statistics.median(own[UNTIMED:]),
        statistics.median(empty[UNTIMED:]),
        statistics.mean(worked[UNTIMED:]),
        statistics.mean(worked_alone[UNTIMED:]),
    )


def _visit(visitor: Visitor, file: bytes) -> tuple[float, ...]:
    moments = [time.perf_counter()]
    place = visitor.send(file)
    moments.append(time.perf_counter())
    answer = visitor.ask(place)
    moments.append(time.perf_counter())
    visitor.fetch(answer)
    moments.append(time.perf_counter())
    return tuple(np.diff(moments).tolist())


def _seconds(work: Any) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _processor_seconds(process: int) -> float:
    """Of all threads of a process until now (Linux)."""
    fields = Path(f"/proc/{process}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _jpeg(image: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=92)
    return buffer.getvalue()


if __name__ == "__main__":
    typer.run(main)
