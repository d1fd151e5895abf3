"""SIGTERM and SIGINT end a command where its state is safe, with one line and a status that tells which it was."""

import atexit
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGINT)

ECHO_SECONDS = 0.1
"""``timeout`` signals the process and then its group, and a launcher passes on what its group has got already."""

PATIENCE_SECONDS = 5.0
"""A further SIGTERM within this time does not disturb what ends in order; a later one asks anew."""

UNREAD_SECONDS = 0.5
"""What a process says at its end waits so long for a reader of a full pipe."""


class Stopped(BaseException):
    """A person, a scheduler or a container has ended this process; like KeyboardInterrupt, it is no error.

    Args:
        number: Of the signal.
        step: Optimiser steps that are kept, where the process was training.

    Attributes:
        then: What becomes of it, in words.
    """

    def __init__(self, number: int, step: int | None = None) -> None:
        super().__init__(number, step)
        self.number, self.step, self.then = number, step, "the same command goes on"

    @property
    def status(self) -> int:
        """Exit status, as shells tell the end by a signal."""
        return 128 + self.number

    def __str__(self) -> str:
        """The one line that a person reads."""
        place = "" if self.step is None else f" at step {self.step}"
        return f"stopped by {signal.Signals(self.number).name}{place}; {self.then}"


def end_plainly() -> None:
    """Until ``stoppable``, the signals end this process at once: what has not begun has nothing to keep."""
    for number in SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _end)
    atexit.register(_take_apart)  # before anybody else has registered: it is called last


def _take_apart() -> None:
    """Say what is left to say, then end: all is done.

    The interpreter would forget its handlers first and then take a second or two to take apart the libraries, in which
    a signal makes a failure of what is complete. Whoever has something to close has done so by now.
    """
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):  # nobody reads, or it was closed
            stream.flush()
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    if _state.status is not None:
        os._exit(_state.status)


def _leave_unread() -> None:
    """Turn from standard output and error where a full pipe waits for a reader: nothing that is said waits for it.

    What stands in the buffers goes nowhere too, so that the interpreter can flush them when it ends.
    """
    for descriptor in (1, 2):
        try:
            taken = select.select([], [descriptor], [], UNREAD_SECONDS)[1]
        except OSError:  # it was closed
            continue
        if not taken:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, descriptor)
            os.close(nowhere)


def _end(number: int, _: FrameType | None) -> None:
    if time.monotonic() - _state.since < ECHO_SECONDS:
        return
    _leave_unread()
    with suppress(OSError):  # there is no standard error
        os.write(2, f"{Stopped(number)}\n".encode())
    os._exit(Stopped(number).status)


@dataclass
class _State:
    answering: bool = False
    asked: int | None = None
    since: float = 0.0
    held_back: bool = False
    status: int | None = None
    hook: Callable[["sys.UnraisableHookArgs"], object] = sys.__unraisablehook__


_state = _State()


@contextmanager
def stoppable() -> Iterator[None]:
    """Within the block, the first SIGTERM or SIGINT raises ``Stopped``, and a second SIGINT ends the process at once.

    What was done about the signals before comes back with the end of the block. A SIGINT that whoever started this
    process has switched off, as shells do for jobs in the background, stays so.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _state.answering, _state.asked, _state.held_back = True, None, False
    before = {number: signal.getsignal(number) for number in SIGNALS}
    _state.hook, sys.unraisablehook = sys.unraisablehook, _unheard
    answer_signals()
    try:
        yield
    finally:
        sys.unraisablehook = _state.hook
        for number, handler in before.items():
            signal.signal(number, handler)
        _state.answering, _state.asked = False, None


def answer_signals() -> None:
    """Within ``stoppable``, take the signals back from whoever has them; Lightning makes its own of SIGTERM."""
    for number in SIGNALS:
        if _state.answering and signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _answer)


def ends_with(status: object) -> None:
    """Note what a command line ends with, as ``sys.exit`` takes it, for the end of the process."""
    if status is None or isinstance(status, int):
        _state.status = status or 0


def stop_asked() -> int | None:
    """The signal that asks this process to end; ``None`` where there was none."""
    return _state.asked


def stop_within(error: BaseException) -> Stopped | None:
    """The end by a signal that a library has made an error of its own of; else ``None``.

    Pydantic repeats what it was, matplotlib's compiled parts forget it: whatever goes wrong after a signal is taken for
    its end. What the system refuses (a full disk, no memory) while state is made safe is still told.
    """
    if _state.asked is None:
        return None
    stop, link = Stopped(_state.asked), error
    if not isinstance(error, OSError | MemoryError):
        return stop
    while link is not None:
        if isinstance(link, Stopped) or str(stop) in str(link):
            return stop
        link = link.__cause__ or link.__context__
    return None


@contextmanager
def held_back() -> Iterator[None]:
    """Within the block a signal is noted and nothing else; the block looks at ``stop_asked`` where its state is safe.

    Raises:
        Stopped: A signal was noted, and the block has come to its end without looking.
    """
    _state.held_back = True
    try:
        yield
    finally:
        _state.held_back = False
    if _state.asked is not None:
        raise Stopped(_state.asked)


def _unheard(told: "sys.UnraisableHookArgs") -> None:
    """Ask again for an end that fell into a callback of the interpreter, which forgets every error."""
    if not isinstance(told.exc_value, Stopped):
        _state.hook(told)
        return
    _state.asked = None
    threading.Timer(ECHO_SECONDS, os.kill, (os.getpid(), told.exc_value.number)).start()


def _answer(number: int, _: FrameType | None) -> None:
    now, first = time.monotonic(), _state.asked is None
    elapsed = now - _state.since
    if not first and elapsed < ECHO_SECONDS:
        return
    if not first and number == signal.SIGINT:
        os._exit(128 + number)
    if not first and elapsed < PATIENCE_SECONDS:
        return
    _state.asked, _state.since = number, now
    _leave_unread()
    if not _state.held_back:
        raise Stopped(number)
