"""The folder that data lie in: of the settings, or of the environment variable of their kind."""

import os
from pathlib import Path

from ensemble.settings.places import at_home
from ensemble.settings.schema import DataSettings


def root_of(settings: DataSettings) -> Path:
    """The folder of the data.

    Raises:
        ValueError: Nothing names it.
    """
    facts = settings.facts
    root = settings.root or os.environ.get(facts.variable or "")
    if not root:
        raise ValueError(
            f"data.kind={settings.kind}: expected the folder of {facts.title} in data.root (--root DIR) "
            f"or in the environment variable {facts.variable}, found neither"
        )
    return at_home(Path(root), facts.variable or "")
