"""Whether an exported file is as it was written: a checksum of all its bytes stands in its own header."""

import hashlib
import mmap
import re
from collections.abc import Iterator
from pathlib import Path

UNSEALED = "0" * 64
"""Stands for the checksum of a file that is still being made, and while its bytes are summed up."""

_QUOTE = rb'(?:"|\\"|&quot;)'  # as JSON has it, within JSON, within XML
_FIELD = re.compile(_QUOTE + rb"checksum" + _QUOTE + rb": " + _QUOTE + rb"([0-9a-f]{64})" + _QUOTE)
_PIECE = 1 << 22


def parts(path: Path) -> list[Path]:
    """A file, and its weights where they are another one; the weights come first, so that no file lacks its own."""
    weights = path.with_suffix(".bin")
    return [weights, path] if path.suffix.lower() == ".xml" and weights.is_file() else [path]


def seal(path: Path) -> None:
    """Write the checksum of a file, and of the weights beside it, into its header; a file without a place for it stays.

    Args:
        path: Whose header has ``UNSEALED`` as its checksum.
    """
    place, found = _place(path)
    if found == UNSEALED:
        checksum = _checksum(path, place)
        with path.open("r+b") as file:
            file.seek(place)
            file.write(checksum.encode())


def check(path: Path) -> None:
    """Refuse a file whose bytes are not those that were written; what was never sealed is not looked at.

    Raises:
        OSError: It cannot be read.
        ValueError: It is damaged, or has the weights of another file beside it.
    """
    place, found = _place(path)
    if found not in ("", UNSEALED) and _checksum(path, place) != found:
        names = " and ".join(part.name for part in parts(path))
        raise ValueError(
            f"{path}: damaged since it was written ({names}: the checksum does not fit); export or fetch it again"
        )


def _place(path: Path) -> tuple[int, str]:
    """Where the checksum stands in a file, and what it is; empty where there is none."""
    with path.open("rb") as file:
        if path.stat().st_size == 0:
            return 0, ""
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            found = _FIELD.search(content)
            return (0, "") if found is None else (found.start(1), found[1].decode())


def _checksum(path: Path, place: int) -> str:
    digest = hashlib.sha256()
    for part in parts(path):
        first = 0
        for piece in _pieces(part):
            begin = place - first if part == path else len(piece)
            if -len(UNSEALED) < begin < len(piece):  # as if it were not there yet
                piece = bytearray(piece)
                inside = slice(max(begin, 0), min(begin + len(UNSEALED), len(piece)))
                piece[inside] = b"0" * (inside.stop - inside.start)
            digest.update(piece)
            first += len(piece)
    return digest.hexdigest()


def _pieces(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            yield piece
