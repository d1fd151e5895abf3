"""Every file of the runs, read and held against the checksums that were written with it; and what mends them."""

import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ensemble.runs.paths import FULL, Outputs, Run, model_options
from ensemble.runs.seals import RESULT, SUFFIX, DamagedError, check, checksum_file, sealed_files

_BEGUN = ("settings.json", "sources.json")
_NEEDED = (*_BEGUN, "best.safetensors")
_KEPT = (*_NEEDED, "last.ckpt", "log.jsonl", RESULT)
"""Files of a training; all others come from an evaluation."""


@dataclass(frozen=True)
class Complaint:
    """A file that is not as it was written, or could not be read.

    Attributes:
        path: The file.
        told: What is wrong with it.
        damaged: Whether its bytes are wrong; a system error says nothing about them.
    """

    path: Path
    told: str
    damaged: bool = True


@dataclass(frozen=True)
class CheckedRun:
    """A folder of which every file was read.

    Attributes:
        folder: Of a run, or of the folds of an experiment.
        name: The same, relative to all outputs.
        files: How many have a checksum.
        unsealed: How many have none.
        bytes: Of all of them.
        complaints: In the order of their names.
    """

    folder: Path
    name: str
    files: int
    unsealed: int
    bytes: int
    complaints: tuple[Complaint, ...]

    @property
    def sealed(self) -> bool:
        """Whether anything has a checksum; a run that was begun before there were any has none."""
        return self.files > 0 or any(each.damaged for each in self.complaints)

    def to_plain(self) -> dict[str, Any]:
        """Numbers, strings and lists, ready for JSON, with the keys that a store of predictions has."""
        damaged = [{"path": str(each.path), "complaint": each.told} for each in self.complaints]
        numbers = {"shards": 0, "frames": 0, "bytes": self.bytes, "files": self.files}
        return {"store": self.name, "kind": "run", "sealed": self.sealed, **numbers, "damaged": damaged}


def run_folders(root: Path) -> list[Path]:
    """The folders below one that hold a run, an outcome, or the folds of an experiment."""
    names = ("settings.json", RESULT, "folds.json", "outcome.json")
    return sorted({path.parent for name in names for path in root.rglob(name)})


def verify_run(folder: Path, outputs: Outputs) -> CheckedRun:
    """Read every file of a folder."""
    complaints: list[Complaint] = []
    sealed: dict[str, list[str]] = {}
    try:
        sealed = sealed_files(folder)
    except DamagedError as error:
        complaints.append(Complaint(folder / RESULT, str(error)))
    except OSError as error:
        complaints.append(_unread(folder / RESULT, error))
    for name in _NEEDED:
        if name in sealed and not (folder / name).exists():
            complaints.append(Complaint(folder / name, f"{folder / name}: missing, the run was sealed with it"))
    files = unsealed = size = 0
    for path in sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith(".")):
        if path.name.endswith((".lock", ".db")) or (path.name.endswith(SUFFIX) and path.name not in sealed):
            continue
        try:
            content = path.read_bytes()
            size += len(content)
            known = check(path, content, sealed) or (path.name == RESULT and bool(sealed))
            files, unsealed = files + known, unsealed + (not known)
        except DamagedError as error:
            complaints.append(Complaint(path, str(error)))
        except OSError as error:
            complaints.append(_unread(path, error))
    name = folder.relative_to(outputs.root).as_posix()
    return CheckedRun(folder, name, files, unsealed, size, tuple(complaints))


def repairs(checked: Iterable[CheckedRun], outputs: Outputs) -> list[str]:
    """Command lines that mend what is damaged, in the order to run them: folds, learners, then stacks."""
    found = [each for each in checked if any(complaint.damaged for complaint in each.complaints)]
    ordered = sorted(found, key=lambda each: (not (each.folder / "folds.json").exists(), -len(each.folder.parts)))
    return [line for each in ordered for line in _mending(each, outputs)]


def _mending(checked: CheckedRun, outputs: Outputs) -> list[str]:
    names = {each.path.name for each in checked.complaints if each.damaged}
    parts = checked.folder.relative_to(outputs.root).parts
    if parts[0] != "runs":
        return _remove(checked.folder, names) if not names & {*_NEEDED, RESULT, "outcome.json"} else [
            f"rm -r {shlex.quote(str(checked.folder))}  # then put the study under another name, and run it again"
        ]  # fmt: skip
    if "folds.json" in names or "folds.json.sha256" in names:
        return [*_remove(checked.folder, {"folds.json"}), *_dividing_again(checked.folder, outputs)]
    run, stack = Run(checked.folder), len(parts) == 3
    train = ("meta", "fit") if stack else ("base", "train", parts[2])
    again = outputs.command(*train, "--resume", str(run.folder))
    if names & set(_BEGUN):
        return [f"rm -r {shlex.quote(str(run.folder))}", _beginning_again(parts, outputs)]
    if "best.safetensors" in names or ("last.ckpt" in names and RESULT in names):
        return [f"{again} --fresh"]
    lines = _remove(run.folder, names)
    if RESULT in names or ("last.ckpt" in names and not run.result.is_file()):
        lines.append(again)
    if names - {*_KEPT, *(name + SUFFIX for name in _KEPT)}:
        scored = ("meta", "evaluate", "/".join(parts[1:])) if stack else ("base", "evaluate", parts[2])
        lines.append(outputs.command(*scored, *([] if stack else ["--experiment", parts[1]])))
    return lines


def _remove(folder: Path, names: Iterable[str]) -> list[str]:
    files = [folder / name for name in sorted(names)]
    files += [beside for file in files if (beside := checksum_file(file)).is_file()]
    return [shlex.join(["rm", *map(str, files)])]


def _dividing_again(folder: Path, outputs: Outputs) -> Sequence[str]:
    """Folds follow from the frames; any training divides them as before."""
    for path in sorted(folder.glob(f"*/{FULL}/settings.json")):
        return [outputs.command("base", "train", path.parent.parent.name, "--resume", str(path.parent))]
    return ()


def _beginning_again(parts: tuple[str, ...], outputs: Outputs) -> str:
    as_before = "  # with the --config and --set that it was begun with"
    if len(parts) == 3:
        return outputs.command("meta", "fit", "--name", parts[2], "--experiment", parts[1]) + as_before
    full = outputs.root.joinpath(*parts[:3], FULL)
    options = model_options(parts[3])
    if options and (full / "settings.json").is_file():
        return outputs.command("base", "train", parts[2], *options, "--resume", str(full))
    return outputs.command("base", "train", parts[2], *options, "--experiment", parts[1]) + as_before


def _unread(path: Path, error: OSError) -> Complaint:
    return Complaint(path, f"{path}: cannot be read ({error.strerror or error})", damaged=False)
