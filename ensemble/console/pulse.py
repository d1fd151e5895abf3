"""A sign of life where a command has said nothing for a while: a line of dots on standard error that others end."""

import os
import select
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

QUIET = 2.0
"""Seconds of silence that a dot ends."""
DOTS = 20
"""Of one line; the next one says anew what is being done."""
OFF = "STACKDEPTH_QUIET"
"""Environment variable that switches the dots off, for logs that other programs read."""


class Pulse:
    """What is being done, and how long nothing was said of it.

    Attributes:
        doing: In words, for the beginning of a line of dots.
    """

    def __init__(self, write: Callable[[str], object], now: Callable[[], float] = time.monotonic) -> None:
        self.doing = ""
        self._write, self._now = write, now
        self._lock = threading.RLock()  # a signal may want to say something while something is said
        self._heard, self._dots, self._muted = now(), 0, 0
        os.register_at_fork(
            before=self._lock.acquire, after_in_parent=self._lock.release, after_in_child=self._forget_and_release
        )

    def heard(self) -> None:
        """Something is about to be said: end the line of dots, and wait again."""
        with self._lock:
            with suppress(OSError, ValueError):  # nobody reads any more
                self._end_line()
            self._heard = self._now()

    def tick(self) -> None:
        """Write a dot where it has been quiet for long enough."""
        with self._lock:
            if self._muted or self._now() - self._heard < QUIET:
                return
            if self._dots == DOTS:
                self._end_line()
            self._write("." if self._dots else f"  {self.doing} .")
            self._dots += 1
            self._heard = self._now()

    @contextmanager
    def muted(self) -> Iterator[None]:
        """No dots: something else moves on the screen."""
        self.heard()
        with self._lock:
            self._muted += 1
        try:
            yield
        finally:
            with self._lock:
                self._muted -= 1
                self._heard = self._now()

    @contextmanager
    def beating(self) -> Iterator[None]:
        """Ticks in the background, where standard error is that of this process and of no one else."""
        elsewhere = sys.stderr is None or sys.stderr is not sys.__stderr__
        if elsewhere or os.environ.get(OFF) or os.environ.get("RANK", "0") != "0":
            yield
            return
        end = threading.Event()
        thread = threading.Thread(target=self._beat, args=(end,), name="pulse", daemon=True)
        self.doing, self._heard = "loading libraries", self._now()
        thread.start()
        try:
            yield
        finally:
            end.set()
            thread.join()
            self.heard()

    def _beat(self, end: threading.Event) -> None:
        while not end.wait(QUIET / 10):
            try:
                if _is_read():  # a dot that waits for a reader would keep everyone else waiting for the lock
                    self.tick()
            except (OSError, ValueError):  # nobody reads any more
                return

    def _end_line(self) -> None:
        dots, self._dots = self._dots, 0
        if dots:
            self._write("\n")

    def _forget_and_release(self) -> None:
        self._dots = 0
        self._lock.release()


def _is_read() -> bool:
    """Whether standard error takes a dot at once: it does not where a pipe is full and nobody reads it."""
    return bool(select.select([], [sys.stderr], [], 0)[1])


def _write(text: str) -> None:
    sys.stderr.write(text)
    sys.stderr.flush()


pulse = Pulse(_write)
