"""Checksums of what a run is made of: written with every file, held against its bytes whenever it is read.

Files that a run needs while it goes on have their SHA-256 beside them (``last.ckpt.sha256``). ``result.json`` seals a
run that is complete: it holds the checksums of all files, of those that an evaluation adds too, and one of itself.
A checksum takes its place before its file and names the former content as well, so a kill between the two leaves a
pair that fits. A file without a checksum is not sealed: runs that were begun before there were any go on as they are.
"""

import fcntl
import hashlib
import json
import os
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ensemble.runs import files
from ensemble.runs.refusals import DamagedError, refuse_unreadable

SUFFIX = ".sha256"
RESULT = "result.json"
_SEAL, _FILES, _WEIGHTS, _ITSELF = "seal", "files", "weights", "itself"
_MARKS = (f'"{_SEAL}"'.encode(), f'"{_ITSELF}"'.encode())
"""Either says that a result was sealed: one flipped bit cannot make it look like one that never was."""
_BLANK = "0" * 64
_COARSE_SECONDS = 3.0
"""Longer than a step of any file system's clock."""
_GENERATIONS = 8
"""Contents that a checksum may stand for; every kill between it and its file adds one."""
_BESIDE = re.compile(r"(?P<now>[0-9a-f]{64})  (?P<name>[^\n]+)\n(?P<before>(# or [0-9a-f]{64}\n)*)")


def checksum_file(path: Path) -> Path:
    """Where the checksum of a file stands."""
    return path.with_name(path.name + SUFFIX)


def write_checked(path: Path, content: bytes) -> None:
    """Put ``content`` under ``path``, all of it or nothing, with its checksum beside it."""
    beside = checksum_file(path)
    now, *older = _generations(content, _former(path))
    sums = f"{now}  {path.name}\n" + "".join(f"# or {each}\n" for each in older)
    with (
        files.told_when_full(path, len(content)),
        files.atomic_file(path) as whole,
        files.atomic_file(beside) as first,  # takes its name when both are on the disk, before the other one does
    ):
        whole.write_bytes(content)
        first.write_text(sums, encoding="utf-8")


def write_sealed(path: Path, content: bytes, *, beside: bool = True) -> None:
    """Put ``content`` under ``path``; where that is in the folder of a sealed run, the seal knows of it.

    Args:
        path: The file.
        content: Of it.
        beside: Keep a checksum beside it where there is no seal; what only people read has none there.
    """
    if not _added_to_seal(path, content) and (beside or checksum_file(path).is_file()):
        write_checked(path, content)
    else:
        files.write_bytes(path, content)


def _added_to_seal(path: Path, content: bytes) -> bool:
    result = path.with_name(RESULT)
    if not result.is_file():
        return False
    with _alone(path.parent):
        record = read_result(result)
        if _SEAL not in record:
            return False
        known = record[_SEAL][_FILES]
        known[path.name] = _generations(content, known.get(path.name, []))
        files.write_text(result, _with_itself(record))
        checksum_file(path).unlink(missing_ok=True)  # of a time when there was no seal
    return True


def write_result(path: Path, record: Mapping[str, Any], covered: Iterable[Path], *, weights: str | None) -> None:
    """Put the record of a complete run on disk, with the checksums of its files and of itself.

    Args:
        path: The file.
        record: What the run found.
        covered: Files that the run has written; those that are missing are left out.
        weights: Fingerprint of the best weights, which readers compute anyway.
    """
    both = (each for file in covered if file != path for each in (file, checksum_file(file)))
    known = {file.name: [digest(read(file))] for file in both if file.is_file()}
    files.write_text(path, _with_itself({**record, _SEAL: {_FILES: known, _WEIGHTS: weights}}))


def read_result(path: Path) -> dict[str, Any]:
    """The record of a complete run.

    Raises:
        DamagedError: It is not as it was written.
        UnreadableError: The system refuses to read it.
    """
    content = read(path)
    try:
        record = json.loads(content)
        if not any(mark in content for mark in _MARKS):
            return record
        itself = record[_SEAL][_ITSELF]
        if digest(content.replace(itself.encode(), _BLANK.encode())) == itself:
            return record
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise DamagedError(path, f"it is no record of a run ({error})") from error
    raise DamagedError(path, "its bytes do not fit the checksum in it")


def seal_of(folder: Path) -> dict[str, Any] | None:
    """The seal of a run; ``None`` where it is not complete, or was completed without one."""
    try:
        return read_result(folder / RESULT).get(_SEAL)
    except FileNotFoundError:
        return None


def sealed_files(folder: Path) -> dict[str, list[str]]:
    """Name -> checksums of the files in a run's seal; empty where it has none."""
    return (seal_of(folder) or {}).get(_FILES, {})


def read(path: Path) -> bytes:
    """A file's content, whatever its checksum.

    Raises:
        UnreadableError: The system refuses to read it.
        FileNotFoundError: There is none.
    """
    try:
        return path.read_bytes()
    except (OSError, MemoryError) as error:
        if not isinstance(error, FileNotFoundError):
            refuse_unreadable(path, error)
        raise


def read_bytes(path: Path) -> bytes:
    """A file's content.

    Raises:
        DamagedError: It does not fit a checksum that was written with it.
        UnreadableError: The system refuses to read it.
        FileNotFoundError: There is none.
    """
    state = _state(path)
    content = read(path)
    if state is None or _known_good.get(path) != state:
        check(path, content)
    return content


def read_text(path: Path) -> str:
    """The same as UTF-8."""
    return read_bytes(path).decode("utf-8")


def checksums(path: Path, sealed: Mapping[str, list[str]] | None = None) -> Iterator[tuple[str, list[str]]]:
    """Names of files that hold checksums of a file, that beside it first, and what its content may have.

    Args:
        path: The file.
        sealed: Checksums in the seal of its run, for a caller that has read it.

    Raises:
        DamagedError: A file that holds them is not as it was written.
    """
    if checksum_file(path).is_file():
        yield checksum_file(path).name, _read_beside(path)
    if path.name != RESULT and path.name in (sealed := sealed_files(path.parent) if sealed is None else sealed):
        yield RESULT, sealed[path.name]


def check(path: Path, content: bytes, sealed: Mapping[str, list[str]] | None = None) -> bool:
    """Hold a file's content against its checksums, and say whether it has any; arguments as in ``checksums``.

    Raises:
        DamagedError: It does not fit.
    """
    found, wrong = "", ""
    for where, known in checksums(path, sealed):
        found = found or digest(content)
        if found in known and wrong:
            raise DamagedError(checksum_file(path), f"{path.name} fits its checksum in {where}")
        if found in known:
            return True
        if where != RESULT and differing_bits(found, known[0]) == 1:
            raise DamagedError(checksum_file(path), f"one bit of it is not that of {path.name}")
        wrong = wrong or f"SHA-256 {found[:12]} found, {known[0][:12]} expected by {where}"
    if wrong:
        raise DamagedError(path, wrong)
    return False


def differing_bits(one: str, other: str) -> int:
    """In how many bits two texts differ."""
    return sum((a ^ b).bit_count() for a, b in zip(one.encode(), other.encode(), strict=False))


def fingerprint_of(path: Path, begun: bytes) -> str:
    """SHA-256 of ``begun`` and weights; where the seal has the same, they are checked without a further pass.

    Raises:
        DamagedError: They are not as they were written.
        UnreadableError: The system refuses to read them.
    """
    state = _state(path)
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, lambda: hashlib.sha256(begun)).hexdigest()
    except OSError as error:
        if not isinstance(error, FileNotFoundError):
            refuse_unreadable(path, error)
        raise
    seal = seal_of(path.parent)
    if (seal is not None and seal[_WEIGHTS] == found) or check(path, read(path)):
        _known_good[path] = state
    return found


_known_good: dict[Path, tuple[int, ...] | None] = {}
"""Weights that this process has held against their checksums, and the state of their file before."""


def _state(path: Path) -> tuple[int, ...] | None:
    """What changes with a file's content; ``None`` where clocks are too coarse to tell."""
    with suppress(OSError):
        found = path.stat()
        if time.time() - found.st_ctime > _COARSE_SECONDS:
            return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
    return None


def _read_beside(path: Path) -> list[str]:
    beside = checksum_file(path)
    found = _BESIDE.fullmatch(read(beside).decode("utf-8", errors="replace"))
    if found is None or found["name"] != path.name:
        raise DamagedError(beside, f"expected the checksum of {path.name}")
    return [found["now"], *re.findall(r"[0-9a-f]{64}", found["before"])]


def _former(path: Path) -> list[str]:
    with suppress(FileNotFoundError, DamagedError):  # whoever writes a file anew mends its checksum
        return _read_beside(path)
    with suppress(FileNotFoundError):
        return [digest(read(path))]
    return []


def _generations(content: bytes, before: Iterable[str]) -> list[str]:
    return list(dict.fromkeys([digest(content), *before]))[:_GENERATIONS]


def _with_itself(record: Mapping[str, Any]) -> str:
    text = json.dumps({**record, _SEAL: {**record[_SEAL], _ITSELF: _BLANK}}, indent=2) + "\n"
    return text.replace(_BLANK, digest(text.encode()))


def digest(content: bytes) -> str:
    """SHA-256 of some bytes."""
    return hashlib.sha256(content).hexdigest()


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One process at a time changes a seal; where the file system has no locks, whoever comes last has the word."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
