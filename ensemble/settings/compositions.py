"""A composition as an experiment file: what a person gave, with the members that were chosen."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from ensemble.settings.trees import read_yaml


def composed_file(config: Path | None, experiment: str, members: Mapping[str, int], *, remarks: list[str]) -> str:
    """The text of a file for ``--config`` of ``meta fit``: ``config`` with ``meta.learners`` and ``meta.copies``.

    Args:
        config: The experiment file that the members were chosen with, if there was one; its other settings stay.
        experiment: Of the members' runs.
        members: How often each counts.
        remarks: Lines of comment above.
    """
    tree = {} if config is None else read_yaml(config)
    meta: dict[str, Any] = {key: value for key, value in (tree.get("meta") or {}).items() if key != "copies"}
    several = {name: count for name, count in members.items() if count > 1}
    meta |= {"learners": [*members]} | ({"copies": several} if several else {})
    text = yaml.safe_dump(
        {**tree, "experiment": experiment, "meta": meta}, sort_keys=False, default_flow_style=None, width=110
    )
    return "".join(f"# {line}\n" for line in remarks) + text
