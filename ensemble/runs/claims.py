"""Whose a run is: begun with these settings, resting on these sources; gone on with, refused, or forgotten."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ensemble.console import messages
from ensemble.runs.launched import processes
from ensemble.runs.locks import StoreLock
from ensemble.runs.paths import Run
from ensemble.runs.records import stored_settings
from ensemble.runs.seals import checksum_file, read_text, write_checked
from ensemble.settings.schema import Settings


def differing_keys(left: Mapping[str, Any], right: Mapping[str, Any], prefix: str = "") -> list[str]:
    """``section.key: left against right`` for every setting that differs."""
    found = []
    for key in sorted({*left, *right}):
        a, b = left.get(key), right.get(key)
        if isinstance(a, dict) and isinstance(b, dict):
            found += differing_keys(a, b, f"{prefix}{key}.")
        elif a != b:
            found.append(f"{prefix}{key}: {a!r} against {b!r}")
    return found


FRAMES, FOLDS = "frames", "folds"
"""Names in the record of what a run rests on; that of a stack holds the weights of its learners as well."""


def differing_sources(run: Run, sources: Mapping[str, str]) -> list[str]:
    """What is no longer that which a run rests on: folds, the frames of a learner, the weights that a stack weighs.

    Raises:
        ValueError: The record of the run is missing or damaged; then nothing can be said of what it rests on.
    """
    try:
        rests_on = json.loads(read_text(run.sources))
    except (FileNotFoundError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(f"{run.sources}: cannot be read ({error}); give --fresh to start the run over") from error
    before = {name: value[:12] for name, value in rests_on.items() if name in sources}
    now = {name: value[:12] for name, value in sources.items()}
    return differing_keys(before, now)


WITHOUT_INFLUENCE = (
    *(("data", "workers"), ("data", "preload"), ("data", "root")),
    *(("training", "checkpoint_every"), ("training", "memory_format")),
)
"""Settings that change no result, or by rounding alone, and so may change when a run goes on."""

PROCESSES = processes()
"""How many of us torchrun has started."""


def is_complete(run: Run, settings: Settings, *, fresh: bool, keep_both: str, sources: Mapping[str, str]) -> bool:
    """Whether a run is complete already; nothing is written.

    Args:
        run: Its files.
        settings: What is asked for now.
        fresh: Remove what is there.
        keep_both: The option that puts another run beside this one.
        sources: Fingerprints of what the run is made from.

    Raises:
        ValueError: The folder holds a run with other settings, or one that was made from something else.
    """
    asked = settings.model_dump(mode="json")
    if fresh:
        _forget(run)
    if run.settings.is_file():
        begun = stored_settings(type(settings), run.settings).model_dump(mode="json")
        differing = differing_keys(with_influence(begun), with_influence(asked))
        differing += differing_sources(run, sources)
        if differing:
            raise ValueError(
                f"{run.folder}: this run was begun with something else ({'; '.join(differing)}). "
                f"Give --fresh to start it over, or {keep_both} to keep both"
            )
    if run.settings.is_file() and run.result.is_file():
        run.read_result()  # not complete where it is damaged
        messages.print(f"{run.folder}: complete already (give --fresh to start over)")
        return True
    return False


def claim(run: Run, settings: Settings, sources: Mapping[str, str]) -> None:
    """Write what a run is made from, unless it was begun already."""
    if not run.settings.is_file():
        write_checked(run.sources, (json.dumps(dict(sources), indent=2) + "\n").encode())
        write_checked(run.settings, (json.dumps(settings.model_dump(mode="json"), indent=2) + "\n").encode())


def _forget(run: Run) -> None:
    """Remove every file of a run; pictures of test frames and scores of former weights must not outlive them.

    Raises:
        ValueError: There are several of us, who would remove each other's files, or somebody is training this run.
    """
    if PROCESSES > 1:
        raise ValueError(f"--fresh does not work with {PROCESSES} processes; remove the folder {run.folder} yourself")
    with StoreLock(run.folder):
        for file in run.written:
            file.unlink(missing_ok=True)
            checksum_file(file).unlink(missing_ok=True)


def with_influence(tree: dict[str, Any]) -> dict[str, Any]:
    """Settings, as plain data, without those that change no result."""
    result = {key: dict(value) if isinstance(value, dict) else value for key, value in tree.items()}
    for section, key in WITHOUT_INFLUENCE:
        result[section].pop(key, None)
    teacher = result.get("distillation", {}).get("teacher")
    if teacher is not None and Path(teacher).exists():  # runs of before hold a file as it was typed
        result["distillation"]["teacher"] = str(Path(teacher).absolute())
    for name, member in result.get("members", {}).items():
        result["members"][name] = with_influence(member)
    return result
