"""A film of depth beside its photographs: decoded ahead of the networks, smoothed and encoded behind them."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
from jaxtyping import Float32, UInt8
from PIL import Image

from ensemble.console import counted, messages, progress
from ensemble.deploy.video import WIDEST
from ensemble.deploy.video.queues import ahead, behind
from ensemble.deploy.video.reading import CameraStoppedError, FilmFrame, FilmSource, OpenFilm
from ensemble.deploy.video.shapes import framed, place_of
from ensemble.deploy.video.sharing import sharing
from ensemble.deploy.video.smoothing import Smoothing
from ensemble.deploy.video.writing import DEPTH_WRITERS, Write, Writer, film_writer
from ensemble.report.drawing.colours import depth_limits, depth_scale
from ensemble.report.drawing.palettes import Palette
from ensemble.runs.files import atomic_file
from ensemble.runs.stopping import Stopped, held_back, stop_asked

if TYPE_CHECKING:
    from ensemble.deploy.door import DepthStack
    from ensemble.deploy.runtime import ExportedStack

WHOLE = 0.9
"""A film whose frames end before this share of the time that it says to last may have been cut off."""

SAMPLES = 5
"""Frames of a film that its scale of colours is chosen by."""

BAR_SHARE, LEAST_BAR, LARGEST_BAR = 1 / 15, 20, 64
"""Rows of the scale below a film, as a share of its own, and their ends: labels are half as high."""


@dataclass(frozen=True)
class FilmRequest:
    """What is wanted of a film.

    Attributes:
        out: File of the film.
        depth: File of its depth; ``None`` where none is wanted.
        alone: Depth alone rather than beside the photographs.
        limits: Metres of the nearest and the farthest colour; by samples of the film where absent.
        smooth: Seconds of the average over time; ``None`` leaves every frame as it is.
        fov: Degrees across the width; ``None``: as the camera of the training.
        seconds: Of the film, at most.
        width: Of the film that is written, columns at most; depth beside it keeps the size of the film that is read.
    """

    out: Path
    depth: Path | None = None
    alone: bool = False
    limits: tuple[float, float] | None = None
    smooth: float | None = None
    fov: float | None = None
    seconds: float | None = None
    width: int = WIDEST


@dataclass
class FilmReport:
    """What became of it.

    Attributes:
        frames: Written.
        seconds: That writing them took.
        network_seconds: Of these, what networks took.
        limits: Metres of the nearest and the farthest colour.
        cuts: Found, where it was smoothed.
        stopped: Why a camera ended before it was told to; empty where it did not.
        short: Seconds that a film lasted, and that it says to last, where these are far more; else ``None``.
        changed: Seconds at which frames first had another size, that, and the one of the film; else ``None``.
    """

    limits: tuple[float, float]
    frames: int = 0
    seconds: float = 0.0
    network_seconds: float = 0.0
    cuts: int = 0
    stopped: str = ""
    short: tuple[float, float] | None = None
    changed: tuple[float, tuple[int, int], tuple[int, int]] | None = None


def film_depth(stack: DepthStack | ExportedStack, source: FilmSource, request: FilmRequest) -> FilmReport:
    """Write a film of what a stack sees in another one, or in a camera.

    A film that is stopped leaves nothing; what was filmed with a camera until it stopped, or was stopped, is kept.

    Raises:
        ValueError: The film cannot be read, a camera sends nothing, or a depth does not fit into the file.
        Stopped: By a signal.
    """
    smoothing = None if request.smooth is None else Smoothing(request.smooth)
    with source.opened() as film, ExitStack() as files:
        images = [film.first] if source.camera else source.samples(SAMPLES)
        limits = request.limits or depth_limits(
            np.concatenate([stack(each, fov=request.fov).depth.ravel() for each in images])
        )
        report = FilmReport(limits)
        picture = Picture.of(Palette.of(depth_scale(*limits)), film.size, alone=request.alone, width=request.width)

        def seen(frame: FilmFrame) -> Float32[np.ndarray, "_h _w"]:
            found, small = stack(frame.picture, fov=request.fov), request.depth is None
            if not frame.whole:
                depth = framed(found.depth, frame.place, film.size, np.nan)
                return picture.places(depth) if small else depth
            return (replace(found, size=picture.pane) if small else found).depth

        def thrown_away(depth: np.ndarray) -> None:
            with tempfile.TemporaryDirectory() as folder:
                beside = replace(request, out=Path(folder) / request.out.name)
                if request.depth is not None:
                    beside = replace(beside, depth=Path(folder) / request.depth.name)
                with _encoding(beside, picture, film, None) as write:
                    write((first, depth))

        first = FilmFrame(film.first, 0.0)
        device = getattr(stack, "device", None)  # an exported file has threads of its own runtime
        if device is not None and device.type == "cpu":
            files.enter_context(sharing(lambda: seen(first), thrown_away))
        encode = files.enter_context(_encoding(request, picture, film, smoothing))
        began, lasted = time.perf_counter(), 0.0
        with ahead(film.frames) as frames, behind(encode) as write:
            for frame in progress(_wanted(frames, source, request, report), "filming"):
                start = time.perf_counter()
                depth = seen(frame)
                report.network_seconds += time.perf_counter() - start
                write((frame, depth))
                if report.changed is None and frame.found not in (None, film.size):
                    report.changed = frame.seconds, frame.found, film.size
                report.frames, lasted = report.frames + 1, frame.seconds + float(1 / film.rate)
        report.seconds = time.perf_counter() - began
        if film.seconds is not None and request.seconds is None and lasted < WHOLE * film.seconds:
            report.short = lasted, film.seconds
        report.cuts = 0 if smoothing is None else smoothing.cuts
        if not report.frames:
            raise Stopped(signal) if (signal := stop_asked()) else ValueError(f"{source.place}: no frame was filmed")
    return report


@contextmanager
def _encoding(
    request: FilmRequest, picture: Picture, film: OpenFilm, smoothing: Smoothing | None
) -> Iterator[Callable[[tuple[FilmFrame, np.ndarray]], None]]:
    """The files that are wanted, for frames with their depth."""
    with ExitStack() as files:
        shown = files.enter_context(_written(request.out, film_writer, picture.size, film.rate))
        depths: Write | None = None
        if request.depth is not None:
            writer = DEPTH_WRITERS[request.depth.suffix.lower()]
            depths = files.enter_context(_written(request.depth, writer, film.size, film.rate))

        def encode(item: tuple[FilmFrame, np.ndarray]) -> None:
            frame, depth = item
            if smoothing is not None:
                depth = smoothing(frame.image, depth, frame.seconds)
            shown(picture(frame.image, depth), frame.seconds)
            if depths is not None:
                depths(depth, frame.seconds)

        yield encode


def film(stack: DepthStack | ExportedStack, source: FilmSource, request: FilmRequest) -> None:
    """Write a film and say what became of it.

    Raises:
        CameraStoppedError: The camera ended by itself; what it has sent is kept.
        ValueError: What is written would take the place of what is read.
        Stopped: By a signal, which ends the film of a camera in order.
    """
    for out in filter(None, (request.out, request.depth)):
        if out.exists() and Path(source.place).exists() and out.samefile(source.place):
            raise ValueError(f"{out}: is the film itself, which would be lost; choose another name for what is written")
    before = _identity(request.out)
    try:
        _film(stack, source, request)
    except (Stopped, ValueError) as error:
        number = error.number if isinstance(error, Stopped) else stop_asked()
        if number is None:
            raise
        stop, kept = Stopped(number), _identity(request.out) != before
        stop.then = "the film until then is kept" if kept else "nothing of it is kept, the same command begins anew"
        raise stop from error


def _identity(path: Path) -> int | None:
    """Which file it is; another one once it was written anew."""
    return path.stat().st_ino if path.exists() else None


def _film(stack: DepthStack | ExportedStack, source: FilmSource, request: FilmRequest) -> None:
    with held_back() if source.camera else nullcontext():
        report = film_depth(stack, source, request)
        near, far = report.limits
        speed, own = report.frames / report.seconds, report.frames / report.network_seconds
        cuts = "" if request.smooth is None else f", {counted(report.cuts, 'cut')}"
        messages.print(
            f"{request.out}: {counted(report.frames, 'frame')}{cuts}, {speed:.1f} a second (networks alone {own:.1f}); "
            f"colours from {near:.2f} to {far:.2f} m in every frame"
        )
        if request.depth is not None:
            what = "whole millimetres" if request.depth.suffix.lower() == ".mkv" else "metres"
            messages.print(f"{request.depth}: depth in {what}")
        if report.changed is not None:
            messages.print(f"{source.place}: {_change(*report.changed)}")
        if report.short is not None:
            lasted, said = report.short
            messages.print(f"{source.place}: its frames end after {lasted:.1f} of {said:.1f} s: was it cut off?")
        if report.stopped:
            raise CameraStoppedError(f"{report.stopped}; what it has sent is in {request.out}")


def _change(moment: float, found: tuple[int, int], size: tuple[int, int]) -> str:
    """That frames changed their size, and what became of them."""
    new, old = (f"{width}x{height}" for height, width in (found, size))
    place = place_of(found, size)
    bars = "" if place == place_of(size, size) else ", with bars beside them, where there is no depth"
    return (
        f"at {moment:.2f} s its frames become {new} after {old}: from there they are brought to {old}{bars}, and "
        "metres follow the changed picture"
    )


@dataclass(frozen=True)
class Picture:
    """A frame of the film: the photograph with its depth to the right, and the scale of colours below.

    Attributes:
        palette: Of depth.
        pane: Height and width of the photograph, and of its depth, in it.
        alone: Depth without the photograph.
    """

    palette: Palette
    pane: tuple[int, int]
    alone: bool

    @classmethod
    def of(cls, palette: Palette, photograph: tuple[int, int], *, alone: bool, width: int) -> Self:
        """For photographs of a height and width, made smaller where the whole would have more columns than told."""
        most = min(photograph[1], max(1, width if alone else width // 2))
        return cls(palette, (max(1, round(photograph[0] * most / photograph[1])), most), alone)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the whole."""
        height, width = self.pane
        return height + self.bar, width if self.alone else 2 * width

    @property
    def bar(self) -> int:
        """Rows of the scale; an even number, as films are encoded."""
        wanted = round(BAR_SHARE * self.pane[0])
        return min(LARGEST_BAR, max(LEAST_BAR, wanted + wanted % 2))

    @cached_property
    def _bar(self) -> UInt8[np.ndarray, "bar w 3"]:
        width = self.pane[1]
        bar = self.palette.bar(width, self.bar, "m")
        return bar if self.alone else np.hstack([np.full((self.bar, width, 3), 20, np.uint8), bar])

    def __call__(
        self, image: UInt8[np.ndarray, "h w 3"], depth: Float32[np.ndarray, "h w"]
    ) -> UInt8[np.ndarray, "high wide 3"]:
        """The pixels."""
        shown = self.places(depth)
        coloured = self.palette(shown)
        if (none := np.isnan(shown)).any():
            coloured[none] = 0
        return np.vstack([coloured if self.alone else np.hstack([self._smaller(image), coloured]), self._bar])

    def places(self, depth: Float32[np.ndarray, "h w"]) -> Float32[np.ndarray, "_h _w"]:
        """Depth at the centres of the pixels of the film: a mean over an edge would be depth of nothing."""
        if depth.shape == self.pane:
            return depth
        rows, columns = ((np.arange(few) + 0.5) * many // few for few, many in zip(self.pane, depth.shape, strict=True))
        return depth[rows.astype(int)[:, None], columns.astype(int)]

    def _smaller(self, image: UInt8[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "_h _w 3"]:
        if image.shape[:2] == self.pane:
            return image
        height, width = self.pane
        return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BOX))


def _wanted(
    frames: Iterator[FilmFrame], source: FilmSource, request: FilmRequest, report: FilmReport
) -> Iterator[FilmFrame]:
    """Frames until the film, the wanted time, or the patience of whoever films with a camera is at its end."""
    try:
        for frame in frames:
            if (request.seconds is not None and frame.seconds >= request.seconds) or (
                source.camera and stop_asked() is not None
            ):
                return
            yield frame
    except CameraStoppedError as error:
        if stop_asked() is None:
            report.stopped = str(error)


@contextmanager
def _written(path: Path, writer: Writer, size: tuple[int, int], rate: Fraction) -> Iterator[Write]:
    """A writer of a file that is there when it is whole."""
    with atomic_file(path) as beside, writer(beside, size, rate) as write:
        yield write
