"""Addresses among what people write: they may hold a password, and what may be secret is never repeated."""

import re

_ADDRESS = re.compile(r"[\w+.-]*://\S*")
_PAGE = re.compile(r"https?://[^\s@?]*")


def may_be_secret(text: str) -> bool:
    """Whether a text holds an address other than that of a page without a name of a user and without parameters."""
    return any(not _PAGE.fullmatch(found) for found in _ADDRESS.findall(text))


def is_address(place: str) -> bool:
    """Whether the name of a file is an address; pathlib makes one slash of two, and a letter alone is a drive."""
    return re.match(r"\s*[A-Za-z][\w+.-]+:/", place) is not None
