"""Files that are either whole or not there: written beside their target, flushed to disk, then renamed."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

TEMPORARY_SUFFIX = ".partial"


@contextmanager
def atomic_file(target: Path) -> Iterator[Path]:
    """A path beside ``target`` to write to; it takes the target's name when the block ends without an error.

    A process that dies inside the block leaves the former target as it was and at most one leftover, which
    ``remove_leftovers`` knows by its name. After an error nothing is left.

    Args:
        target: Final name; its folder is made where it is missing.

    Yields:
        A name in the same folder that does not exist yet.

    Raises:
        FileNotFoundError: The block wrote nothing under the name it was given.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{os.getpid()}-{secrets.token_hex(4)}{TEMPORARY_SUFFIX}")
    try:
        yield temporary
        _sync(temporary)
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync(target.parent)


def write_bytes(target: Path, content: bytes) -> None:
    """Put ``content`` under ``target``, all of it or nothing.

    Raises:
        OSError: It could not be written, for example because the disk is full; a former file is untouched.
    """
    try:
        with atomic_file(target) as temporary:
            temporary.write_bytes(content)
    except OSError as error:
        raise OSError(
            error.errno,
            f"{target}: {len(content)} bytes could not be written ({error.strerror or error}); "
            "what was there before is untouched. Make room or rights, then run the same command again",
        ) from error


def write_text(target: Path, content: str) -> None:
    """Put ``content`` under ``target`` as UTF-8, all of it or nothing."""
    write_bytes(target, content.encode("utf-8"))


def remove_leftovers(folder: Path) -> list[Path]:
    """Remove what killed writers left in ``folder``; only for a caller that knows that nobody is writing there."""
    leftovers = sorted(folder.glob(f".*{TEMPORARY_SUFFIX}"))
    for leftover in leftovers:
        leftover.unlink(missing_ok=True)
    return leftovers


def _sync(path: Path) -> None:
    """Wait until a file's content, or a folder's names, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
