"""The name of every file of a study; the rest of the room asks here."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ensemble.runs.paths import Outputs, Run
from ensemble.runs.refusals import refuse_unreadable
from ensemble.runs.seals import read_bytes
from ensemble.settings.trees import SettingsError, nearest
from ensemble.studies.design.study_file import StudySettings


@dataclass(frozen=True)
class StudyFolder:
    """Everything that a study writes."""

    folder: Path  # ``cache/studies/<name>``

    @property
    def settings(self) -> Path:
        """The study as it was last started (JSON)."""
        return self.folder / "study.json"

    @property
    def database(self) -> Path:
        """Trials, where no other storage is named (SQLite)."""
        return self.folder / "study.db"

    @property
    def storage(self) -> Path:
        """Address of the trials where it is another one (JSON); a password is not in it."""
        return self.folder / "storage.json"

    @property
    def workers(self) -> Path:
        """What workers print."""
        return self.folder / "workers"

    @property
    def comparison(self) -> Path:
        """What ``compare`` writes."""
        return self.folder / "compare"

    def trial(self, arm: str, number: int | str) -> Run:
        """The run of one trial."""
        return Run(self.folder / "trials" / arm / str(number))

    def repeat(self, arm: str, trial: int, budget: str, seed: int) -> Run:
        """The setting of a trial that was the best of its arm, fitted once more."""
        return Run(self.folder / "repeats" / arm / f"trial-{trial}" / budget / f"from-seed-{seed}")


def outcome_file(run: Run) -> Path:
    """What a trial found, written before the storage is told (JSON)."""
    return run.folder / "outcome.json"


def read_outcome(run: Run) -> dict[str, Any] | None:
    """What an earlier attempt at the same trial has found and could not tell."""
    if not outcome_file(run).is_file():
        return None
    return json.loads(read_bytes(outcome_file(run)))


def scores_file(run: Run) -> Path:
    """Scores of every validation frame where a run was best (JSON)."""
    return run.folder / "validation.json"


def study_folder(outputs: Outputs, name: str) -> StudyFolder:
    """The folder of a study."""
    return StudyFolder(outputs.root / "studies" / name)


def known_studies(outputs: Outputs) -> list[str]:
    """Names of the studies that were started below a folder for outputs."""
    return sorted(path.parent.name for path in (outputs.root / "studies").glob("*/study.json"))


def started_study(outputs: Outputs, name: str) -> StudySettings:
    """A study as it was last started.

    Raises:
        SettingsError: There is no study of that name, or what was written of it is damaged.
    """
    known = known_studies(outputs)
    if name not in known:
        hint = nearest(name, known, listing=outputs.command("study", "list"))
        raise SettingsError(f"{outputs.root / 'studies'}: there is no study {name!r}; {hint}")
    file = study_folder(outputs, name).settings
    try:
        return StudySettings.model_validate_json(read_bytes(file))
    except (FileNotFoundError, ValueError) as error:
        if isinstance(error, ValueError):
            refuse_unreadable(file, error)
        raise SettingsError(
            f"{file}: expected a study, and it cannot be read ({str(error).splitlines()[0]}). It is written again by "
            "python -m ensemble.study run FILE, and no trial is lost"
        ) from error
