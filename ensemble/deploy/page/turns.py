"""Work of many threads that one thread does, in turn."""

import queue
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

Result = TypeVar("Result")


class ClosedError(RuntimeError):
    """Nobody works any more."""


class Turns:
    """Calls of other threads, answered in the thread that ``work``s, one after the other.

    For networks this is the first thread of the process: OpenMP of GCC lets helpers wait awake for the next operator
    where a process has no more of them than processors, and those of a second thread are more. Asleep they take longer
    to wake than the operators of a small network.
    """

    def __init__(self) -> None:
        self._asked: queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = queue.SimpleQueue()
        self._closed = False

    def call(self, function: Callable[..., Result], *arguments: Any) -> Result:
        """What the function says of the arguments, or raises, when it is its turn.

        Raises:
            ClosedError: Nobody works any more.
        """
        answer: Future[Result] = Future()
        self._asked.put((answer, lambda: function(*arguments)))
        if self._closed:
            self._turn_away()
        return answer.result()

    def work(self) -> None:
        """Answer until the ``end``, or until something that is no error, such as a signal, ends this thread's work."""
        try:
            while (turn := self._asked.get()) is not None:
                answer, asked = turn
                try:
                    answer.set_result(asked())
                except Exception as error:  # whoever has called gets it
                    answer.set_exception(error)
                except BaseException:
                    answer.set_exception(_closed())
                    raise
        finally:
            self._closed = True
            self._turn_away()

    def end(self) -> None:
        """Let ``work`` return after what was asked before."""
        self._asked.put(None)

    def _turn_away(self) -> None:
        while True:
            try:
                turn = self._asked.get_nowait()
            except queue.Empty:
                return
            if turn is not None:
                turn[0].set_exception(_closed())


def _closed() -> ClosedError:
    return ClosedError("the page is closed")
