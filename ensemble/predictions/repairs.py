"""The commands that mend what a check of predictions, runs and studies has found, in the order to run them."""

import hashlib
import shlex
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from ensemble.predictions.available import networks_of
from ensemble.predictions.store.verify import CheckedStore, filling
from ensemble.predictions.training_commands import training_command
from ensemble.runs.paths import FULL, Outputs, Run
from ensemble.runs.refusals import DamagedError
from ensemble.runs.seals import RESULT, SUFFIX, checksums, differing_bits, digest, read
from ensemble.runs.verify import NEEDED, CheckedRun, Complaint

_FILES, _FULL, _MODELS, _ROWS, _STACKS, _SCORES = range(6)
"""What rests on what: later ones are made from earlier ones."""

_SMALL = 1 << 14
"""Bytes of a file whose every bit can be tried in about a second."""

_TRAINED = (*NEEDED, RESULT, "last.ckpt", "log.jsonl")


def repairs(stores: Iterable[CheckedStore], runs: Iterable[CheckedRun], outputs: Outputs) -> list[str]:
    """Command lines, and remarks where a person must decide."""
    ranked = [line for run in runs for line in _mending(run, outputs)]
    for shard in (shard for store in stores for shard in store.damaged):
        last = shard.complaint.splitlines()[-1]
        ranked.append((_ROWS, last if last.startswith("rm ") else f"# {last}"))
    return [line for _, line in sorted(ranked, key=lambda each: each[0])]


def _mending(run: CheckedRun, outputs: Outputs) -> Iterator[tuple[int, str]]:
    others: list[Path] = []
    for complaint in (each for each in run.complaints if each.damaged):
        line = complaint.mend or _bit_back(complaint)
        if line:
            yield _FILES, line
        elif complaint.path.suffix == SUFFIX:
            yield _FILES, _summed_again(complaint.path)
        else:
            others.append(complaint.path)
    if others:
        yield from _made_again(run.folder, {path.name for path in others}, outputs)


def _bit_back(complaint: Complaint) -> str:
    """The command that turns one bit back; empty where more than one is wrong, or where trying takes long."""
    path = complaint.path
    try:
        content, known = read(path), {each for _, sums in checksums(path) for each in sums}
    except (FileNotFoundError, DamagedError):
        return ""
    before = hashlib.sha256()
    for at, byte in enumerate(content if known and len(content) <= _SMALL else b""):
        for bit in range(8):
            right = bytes([byte ^ 1 << bit])
            tried = before.copy()
            tried.update(right + content[at + 1 :])
            if tried.hexdigest() in known:
                place = shlex.quote(str(path))
                return f"printf '\\{right[0]:03o}' | dd of={place} bs=1 seek={at} conv=notrunc status=none"
        before.update(content[at : at + 1])
    return ""


def _summed_again(beside: Path) -> str:
    file = beside.with_suffix("")
    if (beside.parent / RESULT).is_file():
        return shlex.join(["rm", str(beside)])  # the seal knows the sum
    right = f"{digest(read(file))}  {file.name}\n"
    if differing_bits(right, read(beside).decode("latin-1")[: len(right)]) > 1:
        return f"# {file}: bring it back from a copy, with its checksum"
    return f"(cd {shlex.quote(str(file.parent))} && sha256sum {file.name} > {beside.name})"


def _made_again(folder: Path, names: set[str], outputs: Outputs) -> Iterator[tuple[int, str]]:
    kind, *parts = folder.relative_to(outputs.root).parts
    removal = shlex.join(["rm", "-f", *(str(folder / name) + end for name in sorted(names) for end in ("", SUFFIX))])
    if kind == "studies" and "settings.json" in names:
        yield _SCORES, f"# bring {folder} back from a copy, or run the study under another name"
    elif kind == "studies" and not names & set(_TRAINED):
        yield _FILES, removal
        yield _SCORES, "# python -m ensemble.study run FILE writes again what it needs"
    elif kind == "reports":
        yield _FILES, removal
        yield _SCORES, _evaluated_again(outputs, parts[0])
    elif "folds.json" in names:
        yield _FILES, removal
        yield _FULL, _divided_again(folder, outputs)
    elif kind == "runs" and len(parts) == 3 and parts[1] not in networks_of(outputs, parts[0]):
        yield _MODELS, shlex.join(["rm", "-r", str(folder)])
        for store in sorted(outputs.root.glob(f"predictions/{parts[0]}/{parts[1]}/*/{parts[2]}")):
            yield _MODELS, filling(outputs, store)
    else:
        stack = kind == "studies" or len(parts) == 2
        yield from _trained_again(Run(folder), names, stack, parts, outputs, removal)
        if kind == "runs" and (names - set(_TRAINED) or Run(folder).scores.is_file()):
            words = (
                ("meta", "evaluate", "/".join(parts))
                if stack
                else ("base", "evaluate", parts[1], "--experiment", parts[0])
            )
            yield _SCORES, outputs.command(*words)


def _trained_again(
    run: Run, names: set[str], stack: bool, parts: Sequence[str], outputs: Outputs, removal: str
) -> Iterator[tuple[int, str]]:
    rank = _STACKS if stack else _FULL if parts[-1] == FULL else _MODELS
    again = (*(("meta", "fit") if stack else ("base", "train", parts[1])), "--resume", str(run.folder))
    if run.settings.name in names:
        yield rank, shlex.join(["rm", "-r", str(run.folder)])
        yield rank, _begun_again(stack, parts, outputs)
    elif names & set(NEEDED) or {RESULT, run.last.name} <= names:
        yield rank, outputs.command(*again, "--fresh")
    else:
        yield _FILES, removal
        if RESULT in names or not run.result.is_file():
            yield rank, outputs.command(*again)


def _divided_again(folder: Path, outputs: Outputs) -> str:
    """Folds follow from the frames; any training divides them as before."""
    for path in sorted(folder.glob(f"*/{FULL}/{RESULT}")):
        if path.parent.parent.name in networks_of(outputs, folder.name):
            return outputs.command("base", "train", path.parent.parent.name, "--resume", str(path.parent))
    return "# the next training divides the scenes again, as before where --folds is the same"


def _begun_again(stack: bool, parts: Sequence[str], outputs: Outputs) -> str:
    as_before = "  # with the --config and --set that it was begun with"
    if stack:
        return outputs.command("meta", "fit", "--name", parts[-1], "--experiment", parts[0]) + as_before
    again = training_command(outputs, *parts[:3], anew=True)
    return again if "--resume" in again else again + as_before


def _evaluated_again(outputs: Outputs, name: str) -> str:
    """Of all fits of an experiment; where a person has named an evaluation, that person knows which."""
    if stacks := _stacks(outputs, name):
        return outputs.command("meta", "evaluate", *stacks)
    return (
        f"# evaluate the fits again that it was made of: {outputs.command('meta', 'evaluate', '--name', name)} RUN..."
    )


def _stacks(outputs: Outputs, experiment: str) -> list[str]:
    return [f"{experiment}/{path.parent.name}" for path in sorted(outputs.root.glob(f"runs/{experiment}/*/{RESULT}"))]
