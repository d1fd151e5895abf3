"""Films and cameras as frames with their times, upright and in square pixels, one at a time."""

import os
import re
import select
import stat
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
from av.container import InputContainer
from av.error import FFmpegError
from jaxtyping import UInt8

from ensemble.console import counted
from ensemble.deploy.video.shapes import Place, brought_to, check_aspect, place_of, seen_by_people
from ensemble.runs.refusals import refuse_unreadable
from ensemble.runs.stopping import stop_asked

CAMERA_SECONDS = 10.0
"""A camera that sends nothing for so long has stopped."""

_CAMERAS = {"linux": ("v4l2", "/dev/video{}"), "darwin": ("avfoundation", "{}"), "win32": ("dshow", "video={}")}
"""How FFmpeg calls cameras, by the system."""

_USUAL_RATE = Fraction(30)
"""Frames a second of what tells none."""

_AGAIN = 0.5
"""Seconds by which times go back where another film was joined to the one before: they go on from there."""

_LOOK = 0.1
"""Seconds after which a silent pipe is left to see whether a signal has come."""


class CameraStoppedError(ValueError):
    """A camera sends nothing more; what was seen until then is whole."""


class FilmFrame(NamedTuple):
    """One frame.

    Attributes:
        image: RGB, upright, in square pixels, as large as the first of its film.
        seconds: Since the first one.
        found: Height and width that it had before; ``None``: the same.
    """

    image: UInt8[np.ndarray, "h w 3"]
    seconds: float
    found: tuple[int, int] | None = None

    @property
    def place(self) -> Place:
        """Where in the image its picture lies."""
        size = self.image.shape[0], self.image.shape[1]
        return place_of(self.found or size, size)

    @property
    def whole(self) -> bool:
        """Whether there are no bars beside its picture."""
        size = self.image.shape[0], self.image.shape[1]
        return self.place == place_of(size, size)

    @property
    def picture(self) -> UInt8[np.ndarray, "_h _w 3"]:
        """What networks are to look at: the image without the bars beside a picture of another shape."""
        return np.ascontiguousarray(self.image[self.place])


@dataclass(frozen=True)
class OpenFilm:
    """A film that is being read.

    Attributes:
        size: Height and width of a frame, upright, in square pixels.
        rate: Frames a second, on average.
        first: Its first image.
        frames: All of them, the first one included, once.
        seconds: That it says to last; ``None`` where it does not say so.
    """

    size: tuple[int, int]
    rate: Fraction
    first: UInt8[np.ndarray, "h w 3"]
    frames: Iterator[FilmFrame]
    seconds: float | None = None


@dataclass(frozen=True)
class FilmSource:
    """A film, or a camera.

    Attributes:
        place: What FFmpeg opens.
        camera: Whether it goes on until somebody stops it.
        device: FFmpeg's name for this kind of camera; ``None`` of a film and of a pipe.
        patience: Seconds that a camera may send nothing.
    """

    place: str
    camera: bool
    device: str | None = None
    patience: float = CAMERA_SECONDS

    @classmethod
    def named(cls, text: str) -> "FilmSource":
        """A file, a number that a system knows a camera by, a device or pipe that is read as one, or ``-``.

        Raises:
            ValueError: There is no such file, and it is no number; or standard input is not told where it comes from.
        """
        if text.isdigit():
            device, pattern = _CAMERAS.get(sys.platform, _CAMERAS["linux"])
            return cls(pattern.format(text), camera=True, device=device)
        path = Path("/dev/stdin" if text == "-" else text).expanduser()
        descriptor = _descriptor(path)
        if not path.exists():
            raise ValueError(f"{path}: there is no such film; expected a file, or the number of a camera such as 0")
        try:
            mode = path.stat().st_mode
        except OSError as error:
            refuse_unreadable(path, error)
            raise
        if stat.S_ISCHR(mode) and descriptor is not None:
            raise ValueError(
                f"{text}: nothing is sent there (found a terminal, or nothing); expected a film through a pipe, as in "
                "cat FILM | stackdepth video STACK - --out x.mp4"
            )
        if stat.S_ISCHR(mode):
            return cls(str(path), camera=True, device=_CAMERAS["linux"][0])
        if stat.S_ISDIR(mode):
            raise ValueError(f"{path}: is a folder; expected a film, or the number of a camera such as 0")
        return cls(str(path), camera=stat.S_ISFIFO(mode) or (stat.S_ISSOCK(mode) and descriptor is not None))

    @property
    def piped(self) -> bool:
        """Whether it comes through a pipe, whose writer ends it by closing it."""
        return self.camera and self.device is None

    @contextmanager
    def opened(self) -> Iterator["OpenFilm"]:
        """The film from its beginning; errors below are raised by its frames as well.

        Raises:
            CameraStoppedError: A camera that has sent frames sends no more, or a pipe that nobody has closed.
            ValueError: It cannot be opened, holds no film, or is damaged.
        """
        with ExitStack() as files:
            with self._complaining(0):
                pipe = files.enter_context(closing(_Pipe(self.place, self.patience))) if self.piped else None
            with self._complaining(0, pipe):
                container = files.enter_context(self._container(pipe))
                stream = _video(container, self.place)
                rate = stream.average_rate or stream.guessed_rate or _USUAL_RATE
                seconds = None if self.camera else _seconds(container, stream)
                frames = self._frames(container.decode(stream), rate, _Pictures(stream, self.place), pipe)
                first = next(frames, None)
            if first is None:
                raise ValueError(f"{self.place}: no frame of it can be read; expected a film")
            height, width = first.image.shape[:2]
            yield OpenFilm((height, width), rate, first.image, chain([first], frames), seconds)

    def _frames(
        self, decoded: Iterator["av.VideoFrame"], rate: Fraction, pictures: "_Pictures", pipe: "_Pipe | None"
    ) -> Iterator[FilmFrame]:
        count, start, last = 0, 0.0, -1.0
        while True:
            with self._complaining(count, pipe):
                frame = next(decoded, None)
            if frame is None:
                break
            moment = float(count / rate) if frame.time is None else frame.time
            start = start if count else moment
            if last - (moment - start) > _AGAIN:
                start = moment - last - float(1 / rate)
            count += 1
            if moment - start > last:  # a time that is told twice is shown once
                last = moment - start
                yield pictures(frame, last)
        if self.camera and not (count and pipe is not None and pipe.closed):
            raise self._complaint(count, None, pipe)

    def samples(self, count: int) -> Iterator[UInt8[np.ndarray, "_h _w 3"]]:
        """Pictures spread over a film, as far as it can be sought in; at least the first one.

        Raises:
            ValueError: As ``opened`` says.
        """
        with self._complaining(0), self._container() as container:
            stream = _video(container, self.place)
            pictures = _Pictures(stream, self.place)
            whole = container.duration or 0
            for number in range(count if whole else 1):
                if number:
                    container.seek(whole * number // count)
                frame = next(container.decode(stream), None)
                if frame is not None:
                    yield pictures(frame, 0.0).picture

    @contextmanager
    def _container(self, pipe: "_Pipe | None" = None) -> Iterator[InputContainer]:
        with ExitStack() as files:
            if pipe is not None:
                container = av.open(pipe, mode="r")
            else:
                timeout = (self.patience, self.patience) if self.camera else None
                container = av.open(self.place, mode="r", format=self.device, timeout=timeout)
            files.enter_context(container)
            kind = container.format.name
            if not self.camera and (kind == "image2" or kind.endswith("_pipe")):
                raise ValueError(
                    f"{self.place}: is a photograph; expected a film, such as MP4 (predict takes photographs)"
                )
            yield container

    @contextmanager
    def _complaining(self, count: int, pipe: "_Pipe | None" = None) -> Iterator[None]:
        """Errors of FFmpeg as ours, after so many frames."""
        try:
            yield
        except (FFmpegError, OSError) as error:
            raise self._complaint(count, error, pipe) from error

    def _complaint(self, count: int, error: BaseException | None, pipe: "_Pipe | None") -> ValueError:
        why = "it sends nothing more" if error is None else _cause(error)
        if not self.camera:
            where = f"damaged after {counted(count, 'frame')}" if count else "cannot be read as a film"
            return ValueError(f"{self.place}: {where} ({why}); expected a whole film, such as MP4 or MKV")
        if pipe is not None and pipe.closed and pipe.received and not count:
            return ValueError(
                f"{self.place}: what came through the pipe cannot be read as a film ({why}); expected one that is "
                "read from its beginning to its end, such as MKV or MPEG-TS"
            )
        if count:
            return CameraStoppedError(f"{self.place}: the camera stopped after {counted(count, 'frame')} ({why})")
        return ValueError(f"{self.place}: the camera sends nothing ({why}); is it there, and free?")


class _Pictures:
    """Frames as people see them, all as large as the first.

    Args:
        stream: That they are decoded from.
        place: Of the film.
    """

    def __init__(self, stream: "av.VideoStream", place: str) -> None:
        self._stream, self._place = stream, place
        self._size: tuple[int, int] | None = None
        self._told: tuple[Fraction | None, Fraction] = None, Fraction(1)

    def __call__(self, frame: "av.VideoFrame", seconds: float) -> FilmFrame:
        """A frame that was decoded from the stream just now."""
        decoded = self._stream.codec_context.sample_aspect_ratio
        if self._size is None:  # the container may know better than the codec, until the codec tells of a change
            self._told = decoded, self._stream.sample_aspect_ratio or Fraction(1)
        aspect = self._told[1] if decoded == self._told[0] else decoded or Fraction(1)
        check_aspect(aspect, self._place)
        image = seen_by_people(frame, aspect)
        found = image.shape[0], image.shape[1]
        self._size = self._size or found
        return FilmFrame(brought_to(image, self._size), seconds, found)


class _Pipe:
    """A pipe as a camera: silence for too long, or a signal, is its end, where FFmpeg would wait for a writer for ever.

    Args:
        place: Of the pipe.
        patience: Seconds that nothing may come.

    Attributes:
        closed: Whether its writer has closed it, and all has been read.
        received: Bytes that came through it.
    """

    def __init__(self, place: str, patience: float) -> None:
        self._patience, self.closed, self.received = patience, False, 0
        given = _descriptor(Path(place))
        # What was given is not opened anew: a pipe that was closed before it is opened never tells that it was.
        self._descriptor = os.open(place, os.O_RDONLY | os.O_NONBLOCK) if given is None else os.dup(given)
        self._ready = select.poll()
        self._ready.register(self._descriptor, select.POLLIN)

    def read(self, size: int) -> bytes:
        """At most so many bytes; none at the end."""
        until = time.monotonic() + self._patience
        while stop_asked() is None and time.monotonic() < until:
            if self._ready.poll(1000 * _LOOK):
                found = os.read(self._descriptor, size)
                self.closed, self.received = not found, self.received + len(found)
                return found
        return b""

    def close(self) -> None:
        """Let go of the pipe."""
        os.close(self._descriptor)


def _descriptor(path: Path) -> int | None:
    """The number of a file that whoever started this process has opened for it; ``None`` of any other path."""
    if path == Path("/dev/stdin"):
        return 0
    given = re.fullmatch(r"/(?:dev|proc/self)/fd/(\d+)", str(path))
    return None if given is None else int(given[1])


def _video(container: InputContainer, place: str) -> "av.VideoStream":
    if not container.streams.video:
        others = counted(len(container.streams), "other stream")
        raise ValueError(f"{place}: holds no pictures (found {others}); expected a film")
    stream = container.streams.video[0]
    stream.thread_type = "AUTO"
    return stream


def _seconds(container: InputContainer, stream: "av.VideoStream") -> float | None:
    if stream.duration is not None and stream.time_base is not None:
        return float(stream.duration * stream.time_base)
    return None if container.duration is None else container.duration / av.time_base


def _cause(error: BaseException) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
