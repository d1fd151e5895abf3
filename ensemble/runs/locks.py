"""One writer per store: a POSIX lock that dies with its process and a record that says whose it is."""

import errno
import fcntl
import json
import os
import socket
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ensemble.console import messages
from ensemble.runs.files import is_alive, remove_leftovers, told_when_full

LOCK_NAME = "writer.lock"
PATIENCE = 30.0
"""Seconds to wait for somebody who writes a few files."""

_OWNER_PATIENCE_SECONDS = 2.0
_NO_LOCKS = frozenset({errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL})
"""What file systems without locks answer."""

# POSIX locks belong to a process: forked loader workers do not inherit them, but neither do they tell two writers of
# one process apart, and closing any descriptor of the file would drop the lock. Hence this set.
_held: set[tuple[int, Path]] = set()
_held_guard = threading.Lock()


class LockedError(ValueError):
    """A folder that another process has in its hands."""


class StoreLock:
    """The right to write into a folder, from ``acquire`` until ``release`` or the end of the process.

    Whoever gets it removes what killed writers left in the folder. Where the file system has no locks, the record in
    the file stands for one: it goes when its writer ends, but not when that is killed.

    Args:
        directory: The folder.
        patience: Seconds to wait for an owner that is expected to be done soon.
        keep: Leave the file when the lock goes; in folders that people look at it goes as well, which costs a waiting
            writer another look.
    """

    def __init__(self, directory: Path, *, patience: float = 0.0, keep: bool = True) -> None:
        self._directory = directory
        self._patience = patience
        self._keep = keep
        self._path = directory / LOCK_NAME
        self._descriptor: int | None = None
        self._key = (os.getpid(), directory.resolve())

    def acquire(self) -> None:
        """Take the lock, or say who has it.

        Raises:
            LockedError: A live process has it.
            OSError: The folder cannot be written to.
        """
        give_up = time.monotonic() + self._patience
        while True:
            try:
                self._acquire()
            except LockedError:
                if time.monotonic() >= give_up:
                    raise
                time.sleep(0.05)
            else:
                remove_leftovers(self._directory)
                return

    def _acquire(self) -> None:
        self._key = (os.getpid(), self._directory.resolve())
        with _held_guard:
            if self._key in _held:
                raise self._refusal(f"this process (pid {os.getpid()}) itself, through another writer")
            self._descriptor = self._lock_file()
            _held.add(self._key)
        record = {
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "start": datetime.now(UTC).isoformat("T", "seconds"),
        }
        signature = json.dumps(record).encode("utf-8")
        try:
            with told_when_full(self._path, len(signature)):
                os.ftruncate(self._descriptor, 0)
                os.pwrite(self._descriptor, signature, 0)
        except BaseException:
            self.release()
            raise

    def release(self) -> None:
        """Give the lock back; nothing happens where it is not held."""
        if self._descriptor is None:
            return
        with _held_guard:
            os.ftruncate(self._descriptor, 0)
            if not self._keep:
                self._path.unlink(missing_ok=True)  # before others can lock it; see _is_current
            os.close(self._descriptor)
            self._descriptor = None
            _held.discard(self._key)

    def __enter__(self) -> "StoreLock":
        self._directory.mkdir(parents=True, exist_ok=True)
        self.acquire()
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def _lock_file(self) -> int:
        while True:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
            try:
                fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except (BlockingIOError, PermissionError) as error:
                owner = self._owner(descriptor)
                os.close(descriptor)
                raise self._refusal(owner) from error
            except OSError as error:
                if error.errno not in _NO_LOCKS:
                    os.close(descriptor)
                    raise OSError(error.errno, f"{self._path}: cannot be locked ({error.strerror})") from error
                self._go_on_without(descriptor, error)
                return descriptor
            if self._is_current(descriptor):
                return descriptor
            os.close(descriptor)  # somebody removed it between opening and locking

    def _go_on_without(self, descriptor: int, error: OSError) -> None:
        """Where there are no locks, the record of a writer that may be alive keeps others out.

        Raises:
            LockedError: Somebody has signed, and has not ended as far as that can be told from here.
        """
        record = _record(descriptor)
        here = record is not None and record["host"] == socket.gethostname()
        if record is not None and not (here and (record["pid"] == os.getpid() or not is_alive(record["pid"]))):
            os.close(descriptor)
            raise LockedError(
                f"{self._directory}: is being written by {_told(record)}, and its file system has no locks "
                f"({error.strerror}). Wait until it is done; if it was killed, remove {self._path} and run again"
            ) from error
        messages.print(
            f"warning: {self._directory}: its file system has no locks ({error.strerror}); going on without one. Do "
            "not write into this folder from two machines at once",
            style="yellow",
        )

    def _is_current(self, descriptor: int) -> bool:
        try:
            return os.path.samestat(os.fstat(descriptor), self._path.stat())
        except FileNotFoundError:
            return False

    def _owner(self, descriptor: int) -> str:
        """Who holds the lock; waits a moment for an owner that has locked but not signed yet."""
        give_up = time.monotonic() + _OWNER_PATIENCE_SECONDS
        while time.monotonic() < give_up:
            record = _record(descriptor)
            if record is not None and (record["host"] != socket.gethostname() or is_alive(record["pid"])):
                return _told(record)
            time.sleep(0.02)
        return "a process that has not signed its lock"

    def _refusal(self, owner: str) -> LockedError:
        return LockedError(
            f"{self._directory}: is being written by {owner}. Wait until it is done or end it, then run again; "
            "the lock goes with its process, no file has to be removed."
        )


def _record(descriptor: int) -> dict[str, Any] | None:
    """What an owner has signed with; nothing where nobody has, or not wholly yet."""
    try:
        return json.loads(os.pread(descriptor, 4096, 0))
    except ValueError:
        return None


def _told(record: dict[str, Any]) -> str:
    return f"pid {record['pid']} on {record['host']} since {record['start']}"
