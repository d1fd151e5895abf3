"""Every file of the runs, read and held against the checksums that were written with it."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ensemble.runs.paths import Outputs
from ensemble.runs.refusals import DamagedError, UnreadableError
from ensemble.runs.seals import RESULT, SUFFIX, check, read, sealed_files

NEEDED = ("settings.json", "sources.json", "best.safetensors")
"""Files that a run that is complete cannot do without."""

_MARKS = ("settings.json", RESULT, "folds.json", "scores.json", "outcome.json", "study.json")
"""Names that make a folder one that is checked."""


@dataclass(frozen=True)
class Complaint:
    """A file that is not as it was written, or that the system does not hand out.

    Attributes:
        path: The file.
        told: What is wrong with it.
        damaged: Whether its bytes are wrong; otherwise nothing is known against them.
        mend: The command that mends it, where it is not one that follows from the kind of file.
    """

    path: Path
    told: str
    damaged: bool = True
    mend: str = ""


@dataclass(frozen=True)
class CheckedRun:
    """A folder of which every file was read.

    Attributes:
        folder: Of a run, the folds of an experiment, a study, or an evaluation.
        name: The same, relative to all outputs.
        files: How many have a checksum.
        bytes: Of all files.
        complaints: In the order of their names.
    """

    folder: Path
    name: str
    files: int
    bytes: int
    complaints: tuple[Complaint, ...]

    @property
    def sealed(self) -> bool:
        """Whether anything has a checksum; a run that was begun before there were any has none."""
        return self.files > 0

    @property
    def is_study(self) -> bool:
        """Whether it is the folder of a study, whose trials are in a storage."""
        return (self.folder / "study.json").is_file()

    def also(self, complaints: Iterable[Complaint]) -> "CheckedRun":
        """The same with further complaints."""
        return replace(self, complaints=(*self.complaints, *complaints))

    def to_plain(self) -> dict[str, Any]:
        """Numbers, strings and lists, ready for JSON, with keys that a store of predictions has too."""
        told = [({"path": str(each.path), "complaint": each.told}, each.damaged) for each in self.complaints]
        return {
            "store": self.name,
            "kind": "run",
            "files": self.files,
            "bytes": self.bytes,
            "damaged": [plain for plain, damaged in told if damaged],
            "unreadable": [plain for plain, damaged in told if not damaged],
        }


def run_folders(root: Path) -> list[Path]:
    """The folders below one that hold runs, folds, outcomes, studies or evaluations."""
    return sorted({path.parent for name in _MARKS for path in root.rglob(name)})


def verify_run(folder: Path, outputs: Outputs) -> CheckedRun:
    """Read every file of a folder."""
    complaints: dict[Path, Complaint] = {}
    known: dict[str, list[str]] = {}
    files = size = 0

    def complain(path: Path, error: ValueError) -> None:
        path = error.path if isinstance(error, DamagedError) else path
        complaints.setdefault(path, Complaint(path, str(error), isinstance(error, DamagedError)))

    try:
        known = sealed_files(folder)
    except (DamagedError, UnreadableError) as error:
        complain(folder / RESULT, error)
    intact = not complaints
    for path in (folder / name for name in NEEDED if name in known):
        if not path.exists():
            complain(path, DamagedError(path, f"it is missing, and {RESULT} knows it"))
    for path in sorted(path for path in folder.iterdir() if path.is_file() and _is_checked(path, known)):
        try:
            content = read(path)
            size += len(content)
            files += check(path, content, None if intact else {}) or (path.name == RESULT and bool(known))
        except (DamagedError, UnreadableError) as error:
            files += 1
            complain(path, error)
    return CheckedRun(folder, folder.relative_to(outputs.root).as_posix(), files, size, tuple(complaints.values()))


def _is_checked(path: Path, sealed: dict[str, list[str]]) -> bool:
    """Checksums beside a file are read with it; locks and databases change whenever somebody looks."""
    return path.name in sealed or (not path.name.startswith(".") and path.suffix not in (SUFFIX, ".lock", ".db"))
