"""Memory that stays with this process between two uses, where glibc would give it back to the kernel and fetch it anew.

Networks take and free the same large blocks at every call; fetched page by page they cost as much time as computing
(docs/benchmarks.md, *Memory that goes back to the kernel*). A person's own settings (``MALLOC_...``, or
``GLIBC_TUNABLES``) win.
"""

import ctypes
import os
import sys

KEEP_BYTES = 1 << 30
"""Blocks up to this size are kept."""

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8


def keep_large_blocks() -> None:
    """From now on, large blocks that this process frees stay with it."""
    if _is_ours():
        _adjust(_M_MMAP_THRESHOLD, KEEP_BYTES)
        _adjust(_M_TRIM_THRESHOLD, KEEP_BYTES)


def keep_large_blocks_of_children() -> None:
    """Likewise for processes that this one starts."""
    if _is_ours():
        for key in ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_"):
            os.environ[key] = str(KEEP_BYTES)  # read when a process starts


def keep_one_arena() -> None:
    """Let networks compute in threads as fast as in the first one; to be called while there is no other thread.

    Otherwise glibc gives every thread an arena of its own, from which large blocks go back to the kernel at once,
    whatever ``keep_large_blocks`` says.
    """
    if sys.platform == "linux" and "MALLOC_ARENA_MAX" not in os.environ:
        _adjust(_M_ARENA_MAX, 1)


def _is_ours() -> bool:
    tuned = "glibc.malloc" in os.environ.get("GLIBC_TUNABLES", "")
    return sys.platform == "linux" and not tuned and not any(key.startswith("MALLOC_") for key in os.environ)


def _adjust(what: int, value: int) -> None:
    adjust = getattr(ctypes.CDLL(None), "mallopt", None)
    if adjust is not None:  # musl has none
        adjust(what, value)
