"""Patterns of file names: ``*`` is a part of a name, ``**`` anything below, ``{png,jpg}`` one of several.

What the stars stand for is the id of a frame: ``rgb/*/*.png`` and ``depth/*/*.npy`` both make ``kitchen/0001``. All
other characters, brackets and question marks too, stand for themselves, in capitals or not.
"""

import re
from functools import lru_cache

LONGEST_NAME = 255
"""Bytes of the name of a file or a folder, as systems have it."""

_TOKENS = re.compile(r"\*\*/|\*+|\{[^{}]*\}|[^*{]+|\{")
_STARS = {"**/": "(?:(.+)/)?", "**": "(.+)", "*": "([^/]+)"}


def known_pattern(pattern: str) -> str:
    """The same pattern, once it is sure that it is one.

    Raises:
        ValueError: It has no star, leaves the folder of the data, or has a brace without its other half.
    """
    path_within(pattern)
    if "*" not in pattern or "***" in pattern:
        raise ValueError(f"expected a pattern with * or ** for what tells frames apart, found {pattern!r}")
    if re.search("[{}]", re.sub(r"\{[^{}/*]+\}", "", pattern)):
        raise ValueError(f"expected alternatives such as {{png,jpg}}, found {pattern!r}")
    return pattern


def path_within(path: str) -> str:
    """The same path, once it is sure that it leads nowhere but into the folder of the data.

    Raises:
        ValueError: It leads out, or no file can be called so.
    """
    parts = path.split("/")
    if path.startswith(("/", "~")) or ".." in parts or "\\" in path or "" in parts or "\0" in path:
        raise ValueError(f"expected a path within data.root, with / between folders, found {path!r}")
    if any(len(part.encode("utf-8", "surrogateescape")) > LONGEST_NAME for part in parts):
        raise ValueError(f"expected names of at most {LONGEST_NAME} bytes between two /, found longer ones")
    return path


@lru_cache
def _compiled(pattern: str) -> re.Pattern[str]:
    parts = []
    for token in _TOKENS.findall(pattern):
        words = "|".join(re.escape(word.strip()) for word in token[1:-1].split(","))
        parts.append(_STARS.get(token) or (f"(?:{words})" if token.startswith("{") else re.escape(token)))
    return re.compile("".join(parts), re.IGNORECASE | re.DOTALL)


def frame_id(pattern: str, path: str) -> str | None:
    """What the stars of a pattern stand for in a path from the root; ``None`` where it does not fit."""
    match = _compiled(pattern).fullmatch(path)
    return "/".join(part for part in match.groups() if part) if match else None


def fixed_folder(pattern: str) -> str:
    """The folder that every path of a pattern lies in, from the root; empty where that is the root."""
    return re.split(r"[*{]", pattern)[0].rpartition("/")[0]
