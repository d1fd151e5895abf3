"""Tells what the system refuses (no right, no lock, no memory, a failing disk) from bytes that are damaged.

Only the second may be answered with the advice to remove a file: what the system refuses today may be whole.
"""

import errno
import os
import stat
from pathlib import Path

BY_CONTENT = frozenset({errno.EINVAL, errno.ELOOP})
"""Errors that a file's own bytes bring about (a place that no file has), or a link where a file is expected."""

_BY_WORDS = {
    "memory allocation failed": "not enough memory",
    "can't allocate memory": "not enough memory",
    "not enough memory": "not enough memory",
    "out of memory": "not enough memory",
    "file locking flag values don't match": "this process has it open already, with other locking",
}
"""Refusals of libraries that come without a number."""


class UnreadableError(ValueError):
    """A file that the system does not hand out; nothing is known against its content."""


class DamagedError(ValueError):
    """A file whose bytes are not those that were written.

    Args:
        path: The file.
        found: In what it differs.
        mend: What to do where there is no copy.
    """

    def __init__(self, path: Path, found: str, mend: str = "") -> None:
        super().__init__(path, found, mend)
        self.path, self.found, self.mend = path, found, mend

    def __str__(self) -> str:
        """What a person reads; it never advises to compute anew what may be whole."""
        return (
            f"{self.path}: damaged since it was written ({self.found}). Bring this file back from a copy; "
            "python -m ensemble.base verify --repair says what to run where there is none"
        )


def refusal(error: BaseException) -> str | None:
    """Why the system refused to read; ``None`` where the bytes that were read are to blame.

    HDF5, PIL and torch raise ``OSError`` for both; a number of the system (``errno``) goes with its own refusals alone.
    """
    if isinstance(error, MemoryError):
        return "not enough memory"
    if isinstance(error, OSError) and error.errno and error.errno not in BY_CONTENT:
        return os.strerror(error.errno)
    return next((reason for words, reason in _BY_WORDS.items() if words in str(error)), None)


def refuse_unreadable(where: object, error: BaseException) -> None:
    """Stop where it was the system that refused; return where something else must be said.

    Args:
        where: The file.
        error: What reading it raised.

    Raises:
        UnreadableError: Says why it cannot be read, and nothing about its content.
        DamagedError: It was raised for this file already, and says more than a reader that goes by the content alone.
    """
    if isinstance(error, UnreadableError | DamagedError):
        raise error
    if reason := refusal(error):
        raise UnreadableError(
            f"{where}: cannot be read ({reason}). Nothing is known against the file itself: mend the cause, "
            "then run the same command again"
        ) from error


def expect_file(path: Path, *, largest: int | None = None) -> None:
    """Refuse what cannot be read to its end: a pipe waits for a writer, and some devices give for ever.

    Args:
        path: The file.
        largest: Bytes that it may have.

    Raises:
        OSError: The system tells nothing of it.
        ValueError: It is no regular file, or larger than that.
    """
    kind = path.stat()
    if not stat.S_ISREG(kind.st_mode):
        raise ValueError(f"{path}: found a folder, a device or a pipe, expected a file")
    if largest is not None and kind.st_size > largest:
        raise ValueError(f"{path}: found {kind.st_size:,} bytes, expected at most {largest:,}")
