"""What ``~`` means: the home folder, wherever a person names a file or a folder."""

import os
from pathlib import Path
from typing import TypeVar

Place = TypeVar("Place", str, Path)


def at_home(place: Place) -> Place:
    """A place whose leading ``~`` is the home folder; a shell does not expand it behind ``=`` or in a file."""
    return type(place)(os.path.expanduser(place))  # noqa: PTH111  (pathlib's raises where a user is unknown)
