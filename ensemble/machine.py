"""How this process treats its machine: threads wait without burning a core, memory is kept for the next step."""

import ctypes
import os
import sys

SPINS = "10000"
"""Torch's waiting threads spin for long, which slows a busy machine down many times; without spinning an idle machine
takes twice as long. In between both are well."""

KEEP_BYTES = 1 << 30
"""glibc gives larger blocks back to the kernel when they are freed, and a training step gets all of them anew, page by
page: docs/benchmarks.md says what that costs."""

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3


def settle() -> None:
    """Set up this process, before torch is imported, and those that it will start; a person's own settings win."""
    os.environ.setdefault("GOMP_SPINCOUNT", SPINS)
    if sys.platform != "linux" or any(key.startswith("MALLOC_") for key in os.environ):
        return
    for key in ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_"):
        os.environ[key] = str(KEEP_BYTES)  # read when a process starts
    adjust = getattr(ctypes.CDLL(None), "mallopt", None)
    if adjust is not None:  # musl has none
        adjust(_M_MMAP_THRESHOLD, KEEP_BYTES)
        adjust(_M_TRIM_THRESHOLD, KEEP_BYTES)
