"""What the pages of ``docs`` show: blocks of code, and the commands that people are to type."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"


def blocks(page: str, language: str) -> list[str]:
    """Code of a page in its order."""
    text = (DOCS / page).read_text(encoding="utf-8")
    return re.findall(rf"```{language}\n(.*?)```", text, re.S)


def commands(page: str) -> Iterator[tuple[str, ...]]:
    """Words after ``python -m ensemble.`` of every line to type."""
    for line in "".join(blocks(page, "bash")).splitlines():
        words = shlex.split(line)
        assert words[:2] == ["python", "-m"], line
        yield words[2].removeprefix("ensemble."), *words[3:]
