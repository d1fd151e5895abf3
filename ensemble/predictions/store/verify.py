"""Every byte of the cache, read and held against the checksums that were written with it."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ensemble.console import progress
from ensemble.predictions.available import networks_of
from ensemble.predictions.foreign.record import PLACEHOLDER, import_command, read_roles
from ensemble.predictions.store import SCHEMA, CacheError
from ensemble.predictions.store.shards import damaged, is_intact, read_index, shard_paths
from ensemble.runs.paths import Outputs, Run, model_options
from ensemble.runs.records import stored_settings
from ensemble.runs.refusals import UnreadableError
from ensemble.settings.schema import ImportSettings
from ensemble.settings.trees import check_name


@dataclass(frozen=True)
class CheckedShard:
    """A shard that was read from its first byte to its last.

    Attributes:
        path: The file.
        bytes: Its length.
        frames: Rows in it; 0 where it is damaged or of another schema.
        complaint: What is wrong with it, and the commands that mend it; empty where it is as it was written.
        unreadable: Whether the system does not hand it out, so that nothing is known against its content.
    """

    path: Path
    bytes: int
    frames: int = 0
    complaint: str = ""
    unreadable: bool = False


@dataclass(frozen=True)
class CheckedStore:
    """The shards of one model's rows for one role.

    Attributes:
        name: Experiment, learner, role and model.
        shards: In the order of their numbers.
    """

    name: str
    shards: tuple[CheckedShard, ...]

    @property
    def damaged(self) -> tuple[CheckedShard, ...]:
        """Those that are not as they were written."""
        return tuple(shard for shard in self.shards if shard.complaint and not shard.unreadable)

    @property
    def unreadable(self) -> tuple[CheckedShard, ...]:
        """Those that the system does not hand out."""
        return tuple(shard for shard in self.shards if shard.unreadable)

    def to_plain(self) -> dict[str, Any]:
        """Numbers, strings and lists, ready for JSON."""
        return {
            "store": self.name,
            "kind": "predictions",
            "shards": len(self.shards),
            "frames": sum(shard.frames for shard in self.shards),
            "bytes": sum(shard.bytes for shard in self.shards),
            "damaged": [{"path": str(shard.path), "complaint": shard.complaint} for shard in self.damaged],
            "unreadable": [{"path": str(shard.path), "complaint": shard.complaint} for shard in self.unreadable],
        }


def verify_stores(outputs: Outputs, experiments: Sequence[str] = ()) -> list[CheckedStore]:
    """Read all cached predictions of some experiments; whether they are stale only their readers can tell.

    Args:
        outputs: Where they are.
        experiments: Names; all that have cached predictions where empty.

    Raises:
        SettingsError: There is no experiment, and no study, of a name.
    """
    root = outputs.predictions("any", "any", "any").parents[3]
    known = sorted(folder.name for folder in root.glob("*/"))
    begun = {folder.name for kind in ("runs", "studies") for folder in outputs.root.glob(f"{kind}/*/")}
    for experiment in experiments:
        check_name(experiment, sorted({*known, *begun}), "experiment")
    folders = [folder for each in dict.fromkeys(experiments or known) for folder in sorted(root.glob(f"{each}/*/*/*/"))]
    checked: dict[Path, list[CheckedShard]] = {}
    for path in progress([path for folder in folders for path in shard_paths(folder)], "verifying"):
        checked.setdefault(path.parent, []).append(_checked(path, mend=filling(outputs, path.parent)))
    return [CheckedStore(folder.relative_to(root).as_posix(), tuple(shards)) for folder, shards in checked.items()]


def _checked(path: Path, *, mend: str) -> CheckedShard:
    size = 0
    try:
        size = path.lstat().st_size
        if not is_intact(path):
            raise damaged(path, "its bytes do not fit its checksum", mend=mend)
        return CheckedShard(path, size, _frames(path, mend=mend))
    except CacheError as error:
        return CheckedShard(path, size, complaint=str(error))
    except UnreadableError as error:
        return CheckedShard(path, size, complaint=str(error), unreadable=True)
    except OSError as error:
        return CheckedShard(path, size, complaint=f"{path}: cannot be read ({error.strerror})", unreadable=True)


def _frames(path: Path, *, mend: str) -> int:
    """Number of rows of a shard, whatever it was made from."""
    description = read_index(path, expected={}, mend=mend).description
    if description["schema"] != SCHEMA:
        return 0
    return len(read_index(path, expected=description, mend=mend).frames)


TAUGHT = ("depth", "expected-error")
"""Folders of what a teacher says of frames, where these are no rows of a learner."""


def _teaching(outputs: Outputs, experiment: str, teacher: str, role: str) -> str:
    """The command that asks a teacher again; where files and folders were, a person must say."""
    run = f"{experiment}/{teacher}" if outputs.meta_run(experiment, teacher).settings.is_file() else ""
    alone = teacher if teacher in networks_of(outputs, experiment) else "TEACHER"
    words = ("--unlabelled", "DIR") if role == "unlabelled" else ()
    return outputs.command("base", "teach", run or alone, "--experiment", experiment, *words)


def filling(outputs: Outputs, folder: Path) -> str:
    """The command that fills a store."""
    experiment, learner, role, model = folder.parts[-4:]
    run = outputs.learner_run(experiment, learner, model)
    if role == "unlabelled" or model in TAUGHT:
        return _teaching(outputs, experiment, learner, role)
    fit = outputs.meta_run(experiment, model.rpartition("-")[0])
    if fit.settings.is_file():  # the learner was trained together with it
        return outputs.command("meta", "evaluate", f"{experiment}/{fit.folder.name}")
    if learner in networks_of(outputs, experiment):
        words = ("cache", learner, "--role", role, *model_options(model))
        return outputs.command("base", *words, "--experiment", experiment)
    for folder in (run.folder, *sorted(run.folder.parent.glob("*/"))):  # other folds come from the same maps
        with suppress(ValueError):
            settings, roles = stored_settings(ImportSettings, folder / run.settings.name), read_roles(Run(folder))
            if role in roles:
                return import_command(outputs, settings, role, model=model, folder=roles[role].folder)
    words = ("import", learner, PLACEHOLDER, "--role", role, *model_options(model))
    return outputs.command("base", *words, "--experiment", experiment)
