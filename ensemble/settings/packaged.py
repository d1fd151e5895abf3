"""Files of ``configs`` by their names: experiments for ``--config`` and ready studies."""

from pathlib import Path

from ensemble.settings.places import at_home
from ensemble.settings.trees import SettingsError, config_folder, nearest

EXPERIMENTS = ("*.yaml", "experiments/*.yaml")
STUDIES = ("study/*.yaml",)
"""Where they lie below ``configs``."""


def packaged(where: tuple[str, ...]) -> dict[str, Path]:
    """Name -> file of what is packaged there."""
    return {path.stem: path for pattern in where for path in sorted(config_folder().glob(pattern))}


def found_file(file: Path, where: tuple[str, ...], what: str, *, beginnings: bool = False) -> Path:
    """The file that a person means: one that is there, else the packaged one of that name.

    Args:
        file: As it was typed.
        where: Patterns below ``configs``.
        what: The packaged files are.
        beginnings: Whether the beginning of a name will do, where a single name begins so.

    Raises:
        SettingsError: There is neither, or more than one name begins so.
    """
    if (file.exists() and not file.is_dir()) or file.parent != Path() or not file.name:
        return file
    known, name = packaged(where), file.name.removesuffix(".yaml") if beginnings else file.name
    if name in known:
        return known[name]
    begun = [each for each in known if each.startswith(name) and beginnings]
    if len(begun) == 1:
        return known[begun[0]]
    if begun:
        raise SettingsError(f"{file}: {len(begun)} packaged files begin so: {', '.join(begun)}; name one of them")
    raise SettingsError(f"{file}: there is no such file, and no {what} of that name; {nearest(file.stem, known)}")


def config_file(value: Path | None) -> Path | None:
    """Callback of ``--config``."""
    return None if value is None else found_file(at_home(value), EXPERIMENTS, "packaged experiment", beginnings=True)


def study_file(value: Path) -> Path:
    """Callback of an argument that names a study to begin."""
    return found_file(at_home(value), STUDIES, "ready study")


def name_or_path(file: Path) -> str:
    """What a command line calls an experiment file: its name where it is packaged."""
    known = packaged(EXPERIMENTS)
    return file.stem if known.get(file.stem) == file else str(file)
