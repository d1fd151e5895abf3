"""What is found in a folder that is searched; a file that somebody names is read whatever it is called."""

from pathlib import Path


def files_below(folder: Path) -> list[Path]:
    """Everything in a folder and those below it that is no folder, by name, without what is hidden."""
    return sorted(path for path in folder.rglob("*") if not (is_hidden(path.relative_to(folder)) or path.is_dir()))


def is_hidden(inside: Path) -> bool:
    """Whether a path within a folder begins with a dot somewhere, as what systems keep for themselves does.

    macOS writes ``._plain.jpg`` beside a ``plain.jpg`` that it copies to other file systems.
    """
    return any(part.startswith(".") for part in inside.parts)
