"""Every test that docs/reliability.md names exists, and every row of its tables names one."""

import ast
import re
from pathlib import Path

TESTS = Path(__file__).parents[1]
TABLE = TESTS.parent / "docs" / "reliability.md"


def test_every_row_is_held_by_tests_that_exist():
    known = {
        f"{path.name}::{node.name}"
        for path in TESTS.rglob("test_*.py")
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.FunctionDef)
    }
    rows = re.findall(r"^\| (\d+) \|(.*)$", TABLE.read_text(encoding="utf-8"), re.M)
    assert [int(number) for number, _ in rows] == list(range(1, len(rows) + 1))
    for number, row in rows:
        named = re.findall(r"`(test_[\w.]+::\w+)`", row)
        assert named, f"row {number} names no test"
        assert set(named) <= known, f"row {number}: {sorted(set(named) - known)}"
