"""One writer per store: a POSIX lock that dies with its process and a record that says whose it is."""

import fcntl
import json
import os
import socket
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

LOCK_NAME = "writer.lock"
_OWNER_PATIENCE_SECONDS = 2.0

# POSIX locks belong to a process: forked loader workers do not inherit them, but neither do they tell two writers of
# one process apart, and closing any descriptor of the file would drop the lock. Hence this set.
_held: set[tuple[int, Path]] = set()
_held_guard = threading.Lock()


class LockedError(ValueError):
    """A folder that another process has in its hands."""


class StoreLock:
    """The right to write into a folder, from ``acquire`` until ``release`` or the end of the process.

    The file stays when the lock goes: removing it would let two writers lock two different files of the same name.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._path = directory / LOCK_NAME
        self._descriptor: int | None = None
        self._key = (os.getpid(), directory.resolve())

    def acquire(self) -> None:
        """Take the lock, or say at once who has it.

        Raises:
            LockedError: A live process has it.
        """
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
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, json.dumps(record).encode("utf-8"), 0)

    def release(self) -> None:
        """Give the lock back; nothing happens where it is not held."""
        if self._descriptor is None:
            return
        with _held_guard:
            os.ftruncate(self._descriptor, 0)
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
            if self._is_current(descriptor):
                return descriptor
            os.close(descriptor)  # somebody removed the folder between opening and locking

    def _is_current(self, descriptor: int) -> bool:
        try:
            return os.path.samestat(os.fstat(descriptor), self._path.stat())
        except FileNotFoundError:
            return False

    def _owner(self, descriptor: int) -> str:
        """Who holds the lock; waits a moment for an owner that has locked but not signed yet."""
        give_up = time.monotonic() + _OWNER_PATIENCE_SECONDS
        while time.monotonic() < give_up:
            try:
                record = json.loads(os.pread(descriptor, 4096, 0))
            except ValueError:
                record = None
            if record is not None and (record["host"] != socket.gethostname() or _is_alive(record["pid"])):
                return f"pid {record['pid']} on {record['host']} since {record['start']}"
            time.sleep(0.02)
        return "a process that has not signed its lock"

    def _refusal(self, owner: str) -> LockedError:
        return LockedError(
            f"{self._directory}: is being written by {owner}. Wait until it is done or end it, then run again; "
            "the lock goes with its process, no file has to be removed."
        )


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
