"""Lists of pairs, one line of ``rgb depth ...`` each, as they lie beside the copies or inside of them."""

from pathlib import PurePosixPath
from typing import NamedTuple

from ensemble.data.copies import Problem

_LONGEST_NAME = 255


class ListedPair(NamedTuple):
    """A line of a list: image and depth, relative to a folder that the copy decides."""

    rgb: PurePosixPath
    depth: PurePosixPath

    @property
    def name(self) -> str:
        """The path of the image without suffix."""
        return str(self.rgb.with_suffix(""))


def read_lines(text: str, place: str, *, separator: str | None = None) -> tuple[tuple[ListedPair, ...], list[Problem]]:
    """The pairs of a list, each once in their order, and what is wrong with its other lines.

    Leading slashes mean nothing and columns after the second one neither; ``place`` names the list in messages, and
    columns are apart by white space where no separator is given.
    """
    pairs: dict[str, ListedPair] = {}
    problems: list[Problem] = []
    expected = (separator or " ").join(("rgb", "depth"))
    for number, line in enumerate(text.splitlines(), start=1):
        fields = [field.strip() for field in line.split(separator)]
        if not any(fields):
            continue
        if len(fields) < 2 or not all(fields[:2]):
            problems.append(Problem("layout", f"{place}:{number}: expected '{expected}', found {line!r}"))
        elif outside := [field for field in fields[:2] if leads_outside(field)]:
            text = f"{place}:{number}: expected a path '<scene>/<file>' inside the copy, found {outside[0]!r}"
            problems.append(Problem("foreign", text))
        else:
            pair = ListedPair(*(PurePosixPath(field.lstrip("/")) for field in fields[:2]))
            if pair.name in pairs:
                problems.append(Problem("doubled", f"{pair.name} in {place}:{number}"))
            pairs.setdefault(pair.name, pair)
    if not pairs and not problems:
        problems.append(
            Problem("layout", f"{place}: expected lines of '{expected}', found none; take the original list")
        )
    return tuple(pairs.values()), problems


def leads_outside(name: str, *, parts: int = 2) -> bool:
    """Whether a name in a list or archive leads out of its folder or has too few parts; a leading slash is none."""
    path = PurePosixPath(name.lstrip("/"))
    too_long = any(len(part.encode("utf-8", "surrogateescape")) > _LONGEST_NAME for part in path.parts)
    return too_long or ".." in path.parts or any(sign in name for sign in "\\:\0") or len(path.parts) < parts
