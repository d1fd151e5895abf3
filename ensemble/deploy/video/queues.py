"""Work beside the networks: frames are decoded ahead of them and encoded behind them, a few at a time."""

import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

Item = TypeVar("Item")

WAITING = 3
"""Items that may wait between two threads; so memory does not grow with a film."""

_LOOK = 0.1
"""Seconds after which a thread that waits looks whether the other one has ended."""
_END = object()


@contextmanager
def ahead(items: Iterable[Item]) -> Iterator[Iterator[Item]]:
    """The items, made in a thread of their own; an error there is raised where they are asked for."""
    line: queue.Queue[object] = queue.Queue(WAITING)
    done = threading.Event()
    failed: list[BaseException] = []

    def work() -> None:
        try:
            for item in items:
                if not _put(line, item, done):
                    return
        except BaseException as error:  # raised below, in the thread that asks
            failed.append(error)
        _put(line, _END, done)

    def asked() -> Iterator[Item]:
        while (item := line.get()) is not _END:
            yield item  # pyright: ignore[reportReturnType]
        if failed:
            raise failed[0]

    thread = threading.Thread(target=work, name="ahead", daemon=True)
    thread.start()
    try:
        yield asked()
    finally:
        done.set()
        thread.join()


@contextmanager
def behind(work: Callable[[Item], object]) -> Iterator[Callable[[Item], None]]:
    """Hand items over to a thread of their own; the block ends when all are done, at once where an error leaves it.

    An error of the work is raised at the next item, or at the end.
    """
    line: queue.Queue[object] = queue.Queue(WAITING)
    gone = threading.Event()
    failed: list[BaseException] = []

    def loop() -> None:
        try:
            while not gone.is_set():
                try:
                    item = line.get(timeout=_LOOK)
                except queue.Empty:
                    continue
                if item is _END:
                    return
                work(item)  # pyright: ignore[reportArgumentType]
        except BaseException as error:  # raised in the thread that hands over
            failed.append(error)
            gone.set()

    def hand_over(item: Item) -> None:
        if not _put(line, item, gone):
            raise failed[0]

    thread = threading.Thread(target=loop, name="behind", daemon=True)
    thread.start()
    try:
        yield hand_over
        _put(line, _END, gone)
    except BaseException:
        gone.set()
        raise
    finally:
        thread.join()
    if failed:
        raise failed[0]


def _put(line: "queue.Queue[object]", item: object, done: threading.Event) -> bool:
    """Whether the item found its place before the other thread had ended."""
    while not done.is_set():
        try:
            line.put(item, timeout=_LOOK)
        except queue.Full:
            continue
        return True
    return False
