"""Files of ``configs`` by their names: experiments for ``--config`` and ready studies."""

from pathlib import Path

from ensemble.settings.places import at_home
from ensemble.settings.trees import SettingsError, config_folder, near_names, nearest

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
    if (file.exists() and not file.is_dir()) or not file.name:
        return file
    if file.parent != Path():
        if not file.is_dir() and (meant := _meant(file)):
            raise SettingsError(f"{file}: there is no such file; {meant}")
        return file
    known, name = packaged(where), file.name.removesuffix(".yaml") if beginnings else file.name
    if name in known:
        return known[name]
    begun = [each for each in known if each.startswith(name) and beginnings]
    if len(begun) == 1:
        return known[begun[0]]
    if begun:
        raise SettingsError(f"{file}: {len(begun)} packaged files begin so: {', '.join(begun)}; name one of them")
    hint = f"{_meant(file)} {nearest(file.stem, known)}".strip()
    raise SettingsError(f"{file}: there is no such file, and no {what} of that name; {hint}")


def _meant(file: Path) -> str:
    """Which YAML file beside a missing one a person may have meant, as a question; empty where none is like it."""
    files = sorted(path for pattern in ("*.yaml", "*.yml") for path in file.parent.glob(pattern))
    near = near_names(file.stem, {path.stem for path in files})
    likely = [str(path) for stem in near for path in files if path.stem == stem]
    return f"did you mean the file {' or '.join(likely)}?" if likely else ""


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
