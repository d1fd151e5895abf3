"""Files that are either whole or not there: written beside their target, flushed to disk, then renamed."""

import os
import re
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

TEMPORARY_SUFFIX = ".partial"
_FOLDER_SUFFIX = ".making"
_WRITING_SECONDS = 600
"""Longer than any file takes: the number of a dead process may be that of another one by then."""


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
    temporary = _temporary(target, TEMPORARY_SUFFIX)
    try:
        yield temporary
        _sync(temporary)
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync(target.parent)


@contextmanager
def folder_beside(target: Path) -> Iterator[Path]:
    """A folder beside ``target`` for what it is made of, which is gone when the block ends.

    What processes left that were killed while they made the same target is removed first. Whether a process is dead is
    known of this machine alone: two machines cannot make one target at a time.

    Args:
        target: Final name; its folder is there.

    Yields:
        An empty folder.
    """
    for left in target.parent.glob(f".*{_FOLDER_SUFFIX}"):
        pid = _writer(left)
        of_target = left.stem.rpartition(".")[0] == f".{target.name}"
        if of_target and pid is not None and (pid == os.getpid() or not is_alive(pid)):
            shutil.rmtree(left, ignore_errors=True)
    folder = _temporary(target, _FOLDER_SUFFIX)
    folder.mkdir(mode=0o700)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def write_bytes(target: Path, content: bytes) -> None:
    """Put ``content`` under ``target``, all of it or nothing.

    Raises:
        OSError: It could not be written, for example because the disk is full; a former file is untouched.
    """
    with told_when_full(target, len(content)), atomic_file(target) as temporary:
        temporary.write_bytes(content)


@contextmanager
def told_when_full(target: Path, size: int) -> Iterator[None]:
    """End an error of the system with the file that could not be written, the cause, and what to do.

    Args:
        target: The file.
        size: Bytes of it.
    """
    try:
        yield
    except OSError as error:
        raise OSError(
            error.errno,
            f"{target}: {size} bytes could not be written ({error.strerror or error}); "
            "what was there before is untouched. Make room or rights, then run the same command again",
        ) from error


def write_text(target: Path, content: str) -> None:
    """Put ``content`` under ``target`` as UTF-8, all of it or nothing."""
    write_bytes(target, content.encode("utf-8"))


def remove_leftovers(folder: Path) -> list[Path]:
    """Remove what killed writers left in ``folder``; only for a caller that has its lock.

    What a process of this machine has touched just now is left to it: not everyone who adds a file takes the lock.
    """
    found = leftovers(folder)
    for leftover in found:
        leftover.unlink(missing_ok=True)
    return found


def leftovers(folder: Path) -> list[Path]:
    """What killed writers left in ``folder``, as far as that can be told."""
    return [path for path in sorted(folder.glob(f".*{TEMPORARY_SUFFIX}")) if not _is_in_use(path)]


def is_alive(pid: int) -> bool:
    """Whether there is such a process on this machine."""
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def _temporary(target: Path, suffix: str) -> Path:
    """A free name beside a target, which tells the process that took it."""
    return target.with_name(f".{target.name}.{os.getpid()}-{secrets.token_hex(4)}{suffix}")


def _writer(leftover: Path) -> int | None:
    """The number of the process that took a temporary name; ``None`` of others."""
    match = re.search(r"\.([1-9]\d*)-[0-9a-f]{8}$", leftover.stem)
    return None if match is None else int(match.group(1))


def _is_in_use(leftover: Path) -> bool:
    pid = _writer(leftover)
    if pid is None or pid == os.getpid() or not is_alive(pid):
        return False
    try:
        return time.time() - leftover.stat().st_mtime < _WRITING_SECONDS
    except FileNotFoundError:
        return True  # it was given its name just now


def _sync(path: Path) -> None:
    """Wait until a file's content, or a folder's names, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
