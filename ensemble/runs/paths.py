"""The name of every file that a stage writes; nothing else in the package spells a path below ``cache/``."""

import os
import re
import shlex
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from ensemble.runs.seals import read_result
from ensemble.settings.names import stacked_learners
from ensemble.settings.places import at_home, folder_to_write
from ensemble.settings.schema import StackSettings
from ensemble.settings.trees import SettingsError, nearest

ENVIRONMENT_VARIABLE = "STACKDEPTH_CACHE"
FULL = "full"
"""The model of a learner that is fitted to all scenes to fit."""


def fold_model(fold: int, seed: int | None = None) -> str:
    """The model of a learner that never saw the scenes of a fold: from the experiment's own seed, or a further one."""
    return f"fold-{fold}" if seed is None else f"{seed_model(seed)}-fold-{fold}"


def seed_model(seed: int) -> str:
    """A further model of a learner, fitted to all scenes to fit from another seed."""
    return f"seed-{seed}"


class ModelParts(NamedTuple):
    """What the name of a model says of it."""

    seed: int | None  # of a further seed; absent where it is the experiment's own
    fold: int | None  # whose scenes it never saw; absent of a full fit


def parts_of(model: str) -> ModelParts:
    """The seed and the fold in the name of a model."""
    found = re.fullmatch(r"(?:seed-([0-9]+))?-?(?:fold-([0-9]+))?", model)
    return ModelParts(*(None if part is None else int(part) for part in found.groups())) if found else NEITHER


NEITHER = ModelParts(None, None)
"""The full fit from the experiment's own seed."""


def model_options(model: str) -> tuple[str, ...]:
    """The command-line options that choose a model; none for the full fit."""
    seed, fold = parts_of(model)
    named = (("--fold", fold), ("--seeds", seed))
    return tuple(word for option, number in named if number is not None for word in (option, str(number)))


@dataclass(frozen=True)
class Run:
    """The files of one training run.

    Attributes:
        folder: Everything below belongs to this run alone.
    """

    folder: Path

    @property
    def settings(self) -> Path:
        """What the run was asked to do (JSON); its presence makes the folder a run."""
        return self.folder / "settings.json"

    @property
    def sources(self) -> Path:
        """Fingerprints of what the run rests on (JSON): folds, a learner's frames, the weights that a stack weighs."""
        return self.folder / "sources.json"

    @property
    def camera(self) -> Path:
        """Focal length of the training camera (JSON), where that is no fact of the kind of data."""
        return self.folder / "camera.json"

    @property
    def last(self) -> Path:
        """Checkpoint to go on from: weights, optimiser, schedule, progress."""
        return self.folder / "last.ckpt"

    @property
    def best(self) -> Path:
        """Weights with the best score on the validation scenes (safetensors)."""
        return self.folder / "best.safetensors"

    @property
    def result(self) -> Path:
        """Written once, when training is complete (JSON): best score, its step, wall time."""
        return self.folder / "result.json"

    def read_result(self) -> dict[str, Any]:
        """What ``result`` holds of a training that is complete."""
        return read_result(self.result)

    @property
    def state(self) -> str:
        """How far the run is: begun, complete or evaluated."""
        return "evaluated" if self.scores.is_file() else "complete" if self.result.is_file() else "begun"

    @property
    def log(self) -> Path:
        """One JSON object a line: losses, learning rates, validation scores."""
        return self.folder / "log.jsonl"

    @property
    def scores(self) -> Path:
        """Scores on the test frames with their protocol (JSON)."""
        return self.folder / "scores.json"

    @property
    def table(self) -> Path:
        """The same as a table for a document (Markdown)."""
        return self.folder / "table.md"

    @property
    def per_image(self) -> Path:
        """Scores of every row on every test frame (CSV)."""
        return self.folder / "per_image.csv"

    @property
    def protocols(self) -> Path:
        """The same rows under published protocols as well (JSON)."""
        return self.folder / "protocols.json"

    @property
    def protocols_table(self) -> Path:
        """The same as tables for a document (Markdown)."""
        return self.folder / "protocols.md"

    @property
    def details(self) -> Path:
        """Weights and uncertainty of every stack on the test frames (JSON)."""
        return self.folder / "details.json"

    @property
    def gallery(self) -> Path:
        """Arrays of the best, the median and the worst test frame of every stack (NPZ)."""
        return self.folder / "gallery.npz"

    @property
    def reports(self) -> tuple[Path, ...]:
        """The report in every format: Markdown, LaTeX, CSV, every pair of rows as CSV, HTML."""
        names = ("report.md", "report.tex", "report.csv", "report_pairs.csv", "report.html")
        return tuple(self.folder / name for name in names)

    @property
    def picture_arrays(self) -> Path:
        """Arrays of the test frames in ``pictures``, evenly spread (NPZ)."""
        return self.folder / "pictures.npz"

    @property
    def pictures(self) -> Path:
        """Picture grid of some test frames."""
        return self.folder / "pictures.png"

    @property
    def uncertainty(self) -> Path:
        """How large an error goes with a disagreement of the learners (JSON)."""
        return self.folder / "uncertainty.json"

    @property
    def written(self) -> tuple[Path, ...]:
        """Every file that the run writes, what claims to be complete first and the settings last."""
        return (
            *(self.result, self.uncertainty, self.scores, self.table, self.per_image, self.details),
            *(self.protocols, self.protocols_table, self.gallery, self.picture_arrays, self.pictures),
            *(*self.reports, self.lr_range, self.last, self.best, self.log),
            *(self.sources, self.settings),
        )

    @property
    def lr_range(self) -> Path:
        """Curve of the learning-rate range test."""
        return self.folder / "lr_range.png"


def command_line(tool: str, *words: str) -> str:
    """A command line, ready to be pasted into a shell."""
    return shlex.join(("python", "-m", f"ensemble.{tool}", *words))


@dataclass(frozen=True)
class Outputs:
    """The folder that every stage writes below.

    Attributes:
        root: ``./cache``, ``--cache-dir`` or ``STACKDEPTH_CACHE``.
        named: Whether ``--cache-dir`` named it, so that commands in messages must name it as well.
    """

    root: Path
    named: bool = False

    def command(self, tool: str, *words: str) -> str:
        """A command line that works on this folder, ready to be pasted into a shell."""
        where = ("--cache-dir", str(self.root)) if self.named else ()
        return command_line(tool, *words, *where)

    def learner_run(self, experiment: str, learner: str, model: str = FULL) -> Run:
        """The run of one model of a learner: the full fit, that of a fold, or these of another seed."""
        return Run(self.root / "runs" / experiment / learner / model)

    def folds(self, experiment: str) -> Path:
        """Which fold leaves a scene out (JSON); written once, shared by every run of the experiment."""
        return self.root / "runs" / experiment / "folds.json"

    def meta_run(self, experiment: str, name: str) -> Run:
        """A fit of the meta-learner."""
        return Run(self.root / "runs" / experiment / name)

    def cross_validation(self, experiment: str, name: str) -> Path:
        """What cross-validation says of a fit of the meta-learner (JSON), for reports that choose among fits."""
        return self.root / "runs" / experiment / f"{name}-cross-validation.json"

    def repeats(self, run: Run) -> list[Run]:
        """A fit of the meta-learner, and those that repeat it from other seeds and are complete."""
        found = [Run(folder) for folder in sorted(run.folder.parent.glob(f"{run.folder.name}-seed-*"))]
        return [run, *(each for each in found if each.result.is_file())]

    def predictions(self, experiment: str, learner: str, role: str, model: str = FULL) -> Path:
        """The folder of the shards with the predictions of one model of a learner for one role."""
        return self.root / "predictions" / experiment / learner / role / model

    def report(self, experiment: str) -> Path:
        """The folder of the tables and pictures of an experiment, or of an evaluation that has a name of its own."""
        return self.root / "reports" / experiment

    def name_of(self, run: Run) -> str:
        """What a person may call a run: the last part of its name where that is unique."""
        name = run.folder.name
        full = f"{run.folder.parent.name}/{name}"
        return name if name in self.short_names() or full not in self.runs() else full

    def reports(self) -> list[str]:
        """Experiments that have a report, and evaluations with names of their own."""
        return sorted(path.parent.name for path in (self.root / "reports").glob("*/scores.json"))

    def find_run(self, name: str, *, beside: Iterable[str] = ()) -> Run:
        """The run that a person means: its folder, ``experiment/name``, or a name that is unique.

        Args:
            name: What the person typed.
            beside: Further names that would have done in its place.

        Raises:
            SettingsError: No run, or more than one, goes by this name.
        """
        folder = self.root / "runs"
        for place in (Path(name), folder / name, folder / name / FULL):
            if Run(place).settings.is_file():
                return Run(place)
        runs = self.runs()
        found = [full for full in runs if name == full.rpartition("/")[2]]
        if len(found) == 1:
            return runs[found[0]]
        if found:
            raise SettingsError(f"{folder}: {len(found)} runs are called {name!r}; name one of {', '.join(found)}")
        names = runs if "/" in name else (full.rpartition("/")[2] for full in runs if full.count("/") == 1)
        hint = nearest(name, {*names, *beside}, listing=self.command("base", "runs"))
        raise SettingsError(f"{folder}: there is no run {name!r}; {hint}")

    def runs(self) -> dict[str, Run]:
        """Every run by its name: ``experiment/bts`` of a full fit, ``experiment/bts/fold-0``, ``experiment/meta-d``."""
        folder = self.root / "runs"
        known = sorted(path.parent for path in folder.rglob("settings.json"))
        return {str(each.relative_to(folder)).removesuffix(f"/{FULL}"): Run(each) for each in known}

    def short_names(self) -> list[str]:
        """The last parts of names of runs, where one run alone has it."""
        counted = Counter(name.rpartition("/")[2] for name in self.runs())
        return [name for name, count in counted.items() if count == 1]


def outputs(folder: Path | None = None) -> Outputs:
    """Where to write: the folder asked for, else ``STACKDEPTH_CACHE``, else ``./cache``.

    Raises:
        SettingsError: There is a file of that name.
    """
    option = ENVIRONMENT_VARIABLE if folder is None else "--cache-dir"
    root = at_home(folder or Path(os.environ.get(ENVIRONMENT_VARIABLE) or "cache"), option)
    return Outputs(folder_to_write(root, option), named=folder is not None)


def stack_name(settings: StackSettings, *, repeat: bool = False) -> str:
    """The run name of a stack: what it sees, and in what it differs from the default.

    Args:
        settings: Of the stack.
        repeat: Whether it repeats another fit from its seed.
    """
    words = ["meta", settings.inputs]
    words += [settings.mode] if settings.mode != "frozen" else []
    words += ["fit"] if settings.mode == "frozen" and settings.rows == "fit" else []
    words += ["folds"] if settings.level0 == "folds" else []
    words += settings.learners if settings.learners != stacked_learners() else []
    return "-".join([*words, *([seed_model(settings.seed)] if repeat else [])])
