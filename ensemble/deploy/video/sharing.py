"""Cores for networks, and for the decoding, colouring and encoding that go on beside them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

Seen = TypeVar("Seen")


def leaves_one(alone: float, fewer: float, beside: float) -> bool:
    """Whether films are faster where networks leave one core to others.

    Args:
        alone: Seconds of the networks for a frame with all cores.
        fewer: Likewise with one less.
        beside: Seconds of a core that the rest of a frame takes. Where all cores are the networks', either waits for
            the other.
    """
    return max(fewer, beside) < alone + beside


@contextmanager
def sharing(compute: Callable[[], Seen], beside: Callable[[Seen], object]) -> Iterator[None]:
    """Within the block torch computes with all of its threads or with one less, whichever makes films faster.

    Args:
        compute: Has networks look at a frame.
        beside: Does the rest, with what they say of it.
    """
    import torch

    threads = torch.get_num_threads()

    def seconds() -> float:
        start = time.perf_counter()
        compute()
        return time.perf_counter() - start

    try:
        if threads > 1:
            seen = compute()
            start = time.process_time()  # of all threads: an encoder has its own
            beside(seen)
            spent = time.process_time() - start
            alone = seconds()
            torch.set_num_threads(threads - 1)
            compute()  # kernels are made anew for a number of threads
            fewer = seconds()
            if not leaves_one(alone, fewer, spent):
                torch.set_num_threads(threads)
        yield
    finally:
        torch.set_num_threads(threads)
