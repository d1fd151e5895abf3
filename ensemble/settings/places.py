"""What ``~`` means: the home folder, wherever a person names a file or a folder."""

import os
from pathlib import Path
from typing import TypeVar

from ensemble.settings.addresses import is_address
from ensemble.settings.trees import SettingsError

Place = TypeVar("Place", str, Path)


def at_home(place: Place, named_by: str = "") -> Place:
    """A place whose leading ``~`` is the home folder; a shell does not expand it behind ``=`` or in a file.

    Args:
        place: As a person wrote it.
        named_by: Option or variable that holds it, for messages.

    Raises:
        SettingsError: It cannot be the name of a file, or is the address of something else.
    """
    before = f"{named_by}: " if named_by else ""
    if "\0" in str(place):
        raise SettingsError(f"{before}expected the name of a file or a folder, found {str(place)!r}")
    if is_address(str(place)):
        raise SettingsError(f"{before}expected a file or a folder, found an address, which is not repeated here")
    return type(place)(os.path.expanduser(place))  # noqa: PTH111  (pathlib's raises where a user is unknown)


def make_folder(place: Path, option: str) -> None:
    """Make a folder that a long job will write to, before it begins.

    Raises:
        SettingsError: It cannot be made.
    """
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SettingsError(f"{option} {place}: cannot be made ({error.strerror}); name another folder") from error


def folder_to_write(place: Path, option: str) -> Path:
    """A folder that is there or can be made.

    Raises:
        SettingsError: Something else has its name, or that of a folder above it.
    """
    for above in (place, *place.parents):
        if os.path.lexists(above):
            if not above.is_dir():
                raise SettingsError(f"{option} {place}: expected a folder, found something else in {above}")
            break
    return place
