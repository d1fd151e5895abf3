"""Fingerprints: one short text that changes where anything that a run rests on changes."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence


def fingerprint(value: Mapping | Sequence | str | int | float | None) -> str:
    """Hexadecimal SHA-256 of plain data; the order of mapping keys does not matter.

    Raises:
        TypeError: Something in it has no JSON form.
        ValueError: Something in it is NaN or infinite.
    """
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def lines_fingerprint(lines: Iterable[str]) -> str:
    """Hexadecimal digest of text lines; the same lines in another order give another one."""
    digest = hashlib.sha256()
    for line in lines:
        digest.update(line.encode("utf-8", errors="surrogateescape"))
        digest.update(b"\n")
    return digest.hexdigest()
