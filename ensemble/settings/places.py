"""What ``~`` means: the home folder, wherever a person names a file or a folder."""

import os
from pathlib import Path
from typing import TypeVar

from ensemble.settings.trees import SettingsError

Place = TypeVar("Place", str, Path)


def at_home(place: Place) -> Place:
    """A place whose leading ``~`` is the home folder; a shell does not expand it behind ``=`` or in a file."""
    if "\0" in str(place):
        raise SettingsError(f"expected the name of a file or a folder, found {str(place)!r}")
    return type(place)(os.path.expanduser(place))  # noqa: PTH111  (pathlib's raises where a user is unknown)
