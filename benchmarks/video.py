"""Films of depth: frames a second beside the networks' own, and memory over the minutes of a film."""

import tempfile
import threading
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer

from benchmarks.tables import Table, Target, write_section
from ensemble.data.rooms.camera import render_frame
from ensemble.deploy.door import DepthStack
from ensemble.deploy.video.film import FilmReport, FilmRequest, film_depth
from ensemble.deploy.video.reading import FilmSource
from ensemble.deploy.video.writing import film_writer

RATE = 10
STEPS = 20
"""Frames of a room before the next one."""
LEAST_SHARE, MOST_GROWTH = 0.95, 0.02


def main(
    stack: Annotated[Path, typer.Option(help="A saved stack.")],
    minutes: Annotated[float, typer.Option(min=0.1, help="Of the generated film.")] = 10.0,
    height: Annotated[int, typer.Option(min=32, help="Of its frames; they are 4:3.")] = 240,
) -> None:
    """Films a generated film, watches memory meanwhile, and writes the section."""
    torch.set_num_threads(1)
    loaded = DepthStack.open(stack)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "film.mp4"
        _generate(place, round(60 * RATE * minutes), (height, height * 4 // 3))
        watched = Memory()
        with watched:
            report = film_depth(
                loaded,
                FilmSource.named(str(place)),
                FilmRequest(Path(folder) / "depth.mp4", Path(folder) / "depth.mkv", smooth=0.5),
            )
    share, growth = _share(report), watched.growth
    write_section(
        "video",
        "Films",
        targets=[
            Target(
                "frames a second of the networks' own", f">= {LEAST_SHARE:.0%}", f"{share:.1%}", share >= LEAST_SHARE
            ),
            Target(
                "memory at the end beside a tenth in", f"<= +{MOST_GROWTH:.0%}", f"{growth:+.1%}", growth <= MOST_GROWTH
            ),
        ],
        parts=[
            f"{report.frames} frames of {height} rows ({', '.join(loaded.learners)}), written as H.264 beside "
            "the photographs and as 16-bit FFV1, smoothed; decoded and encoded beside the networks:",
            Table(
                ("frames", "frames/s", "networks alone", "memory a tenth in, MB", "at the end, MB"),
                [
                    (
                        str(report.frames),
                        f"{report.frames / report.seconds:.1f}",
                        f"{report.frames / report.network_seconds:.1f}",
                        f"{watched.early:.0f}",
                        f"{watched.late:.0f}",
                    )
                ],
            ),
        ],
    )


class Memory:
    """Megabytes of this process, looked at every half second within the block."""

    def __enter__(self) -> "Memory":
        self._seen: list[float] = []
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    def _look(self) -> None:
        pages = 4096 / 2**20
        while not self._end.wait(0.5):
            self._seen.append(int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * pages)

    @property
    def early(self) -> float:
        """The most of the second tenth of the time."""
        tenth = max(1, len(self._seen) // 10)
        return max(self._seen[tenth : 2 * tenth + 1])

    @property
    def late(self) -> float:
        """The most of the last tenth."""
        return max(self._seen[-max(1, len(self._seen) // 10) :])

    @property
    def growth(self) -> float:
        """Of the second over the first, as a share."""
        return self.late / self.early - 1


def _share(report: FilmReport) -> float:
    return report.network_seconds / report.seconds


def _generate(place: Path, frames: int, size: tuple[int, int]) -> None:
    """A film of windows that move over rooms."""
    began = time.perf_counter()
    with film_writer(place, size, Fraction(RATE)) as write:
        for number, image in enumerate(_images(frames, size)):
            write(image, number / RATE)
    typer.echo(f"film of {frames} frames in {time.perf_counter() - began:.0f} s", err=True)


def _images(frames: int, size: tuple[int, int]) -> Iterator[np.ndarray]:
    rooms = [
        render_frame((size[0], size[1] + 4 * STEPS), seed=(0, 0, number), frame=0, holes=False, noise=False).image
        for number in range(8)
    ]
    for number in range(frames):
        left = 4 * (number % STEPS)
        yield np.ascontiguousarray(rooms[number // STEPS % len(rooms)][:, left : left + size[1]])


if __name__ == "__main__":
    typer.run(main)
