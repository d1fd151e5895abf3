"""Which files of some places are photographs, for commands that read depth maps as well."""

import os
from collections.abc import Sequence
from pathlib import Path

from ensemble.console import counted, messages
from ensemble.data.formats.depth_files import READERS
from ensemble.data.formats.photographs import without_depth_maps
from ensemble.photographs import search as photographs
from ensemble.photographs.search import Found
from ensemble.settings.trees import SettingsError


def search(places: Sequence[Path], out: Path | None = None) -> Found:
    """As ``ensemble.photographs.search.search`` does; depth maps are no other files."""
    return photographs.search(places, out, known=READERS)


def photographs_of(folders: Sequence[Path], option: str) -> dict[str, Path]:
    """The photographs of folders that an option names, without the depth maps beside them; what is left out is said.

    Raises:
        SettingsError: One is no folder, or holds none.
    """
    for folder in folders:
        if not folder.is_dir():
            raise SettingsError(f"{option} {folder}: expected a folder with photographs, found none of that name")
    searched = search(folders)
    alone = without_depth_maps(searched.photographs)
    for folder in folders:
        if not any(_lies_in(path, folder) for path in alone.values()):
            maps = sum(_lies_in(path, folder) for path in searched.photographs.values())
            found = counted(maps, "depth map") if maps else "none"
            raise SettingsError(f"{option} {folder}: expected photographs such as .jpg or .png, found {found}")
    lines = searched.left_out()
    if maps := len(searched.photographs) - len(alone):
        lines.append(
            f"{counted(maps, 'image')} of one channel and 16 bits, as depth maps are, "
            f"{'was' if maps == 1 else 'were'} left out"
        )
    for line in lines:
        messages.print(f"{option}: {line}")
    return alone


def _lies_in(path: Path, folder: Path) -> bool:
    """Whether a file has a place below a folder, wherever links of both lead."""
    return Path(os.path.abspath(path)).is_relative_to(os.path.abspath(folder))  # noqa: PTH100 (resolve follows links)
