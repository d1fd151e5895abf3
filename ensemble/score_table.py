"""Gathers scores frame by frame and describes the rows that they make."""

from collections.abc import Mapping

import torch
from torch import Tensor

from ensemble.config import StackSettings
from ensemble.data.source import Frame, RawFrame
from ensemble.entrants import Entrants, StackRow
from ensemble.metrics import METRICS, Counts, EvalProtocol, ScoreSums, image_scores, prepare
from ensemble.networks import load_learner
from ensemble.profiling import count_parameters
from ensemble.report import ImageScore, Kind, ScoreRow
from ensemble.rows import LevelZero
from ensemble.runs import stack_name
from ensemble.statistics import mean_and_deviation

Cell = tuple[str, int]
"""Name of a row, and which of its repeats."""

WEIGHTED = {"inverse-variance": "inverse variance", "global": "global weights", "depth-range": "weights by depth range"}


class ScoreTable:
    """The scores of every row on every frame.

    Args:
        protocol: How they are made.

    Attributes:
        images: One entry per row, repeat and frame.
    """

    def __init__(self, protocol: EvalProtocol) -> None:
        self.protocol = protocol
        self.images: list[ImageScore] = []
        self._sums: dict[Cell, ScoreSums] = {}

    def add(self, frame: Frame, raw: RawFrame, predictions: Mapping[Cell, Tensor]) -> None:
        """Score one frame.

        Args:
            frame: Which.
            raw: Its truth.
            predictions: Depth [1 1 h w] in metres at the size of the truth.
        """
        target, valid = (torch.from_numpy(array)[None, None] for array in (raw.depth, raw.valid))
        shape = (len(predictions), 1, *raw.depth.shape)
        *compared, counts = prepare(
            torch.cat(list(predictions.values())), target.expand(shape), valid.expand(shape), protocol=self.protocol
        )
        scores = image_scores(*compared)
        scored = bool(compared[2].any())
        for index, (name, repeat) in enumerate(predictions):
            own = {metric: values[index : index + 1] for metric, values in scores.items()}
            sums = self._sums.setdefault((name, repeat), ScoreSums())
            sums.update(own, Counts(*(count[index : index + 1] for count in counts)))
            known = {metric: float(value) for metric, value in own.items()}
            self.images.append(ImageScore(name, frame.id, frame.scene, known if scored else None, repeat))

    def rows(self, entrants: Entrants) -> list[ScoreRow]:
        """One row per name, in the order in which they were added; repeats are averaged."""
        described = _descriptions(entrants)
        repeats: dict[str, list[dict[str, int | float]]] = {}
        for (name, _), sums in self._sums.items():
            repeats.setdefault(name, []).append(sums.compute())
        rows = []
        for name, found in repeats.items():
            kind, title, parameters, note = described[name]
            spreads = {metric: mean_and_deviation([each[metric] for each in found]) for metric in METRICS}
            rows.append(
                ScoreRow(
                    name=name,
                    kind=kind,
                    title=title,
                    parameters=parameters,
                    scores={metric: spread.mean for metric, spread in spreads.items()},
                    deviations={
                        metric: spread.deviation for metric, spread in spreads.items() if spread.deviation is not None
                    }
                    or None,
                    repeats=len(found),
                    images=int(found[0]["images"]),
                    without_valid=int(found[0]["images_without_valid"]),
                    clipped_pixels=sum(int(each["clipped"]) for each in found),
                    note=note,
                )
            )
        return rows


def title_of(settings: StackSettings, name: str) -> str:
    """A stack's name for people: what it sees, and in what it differs from the default; a name of its own as it is."""
    words = [f"stack {settings.inputs}"]
    words += [{"finetune": "fine-tuned", "joint": "joint"}[settings.mode]] if settings.mode != "frozen" else []
    words += ["in-sample rows"] if settings.mode == "frozen" and settings.rows == "fit" else []
    words += ["mean of folds"] if settings.level0 == "folds" else []
    own = not name.startswith(stack_name(settings))
    return f"{name} ({', '.join(words)})" if own else ", ".join(words)


def _descriptions(entrants: Entrants) -> dict[str, tuple[Kind, str, int | None, str]]:
    """Kind, title, own parameters and note of every row."""
    found: dict[str, tuple[Kind, str, int | None, str]] = {}
    found["mean log depth"] = ("constant", "mean log depth map", None, "")
    titles: dict[str, str] = {}
    for learner in entrants.learners:
        titles[learner.name] = learner.title
        found[learner.name] = ("learner", titles[learner.name], *_networks_of(learner))
    if entrants.ladder is not None:
        ladder = entrants.ladder
        chosen = f"chosen on {'out-of-fold' if ladder.rows == 'oof' else 'in-sample'} rows"
        found["best-single"] = ("combiner", f"best single ({titles[ladder.best]})", None, chosen)
        if entrants.seed_models is not None:
            count = len(entrants.seed_models.tested)
            title = f"mean of {count} seeds of {titles[ladder.best]}"
            found["seed-mean"] = ("combiner", title, None, f"{count} full fits, the cost of {count} learners")
        found |= {name: ("combiner", name, None, "") for name in ("mean", "median", "log-mean")}
        fitted = f"fitted to {'out-of-fold' if ladder.rows == 'oof' else 'in-sample'} rows"
        found |= {name: ("fitted", WEIGHTED[name], None, fitted) for name in ladder.combiners}
    for stack in entrants.stacks:
        found[f"mean of {stack.name}"] = ("combiner", f"mean of the learners of {stack.name}", None, "")
        found[stack.name] = ("stack", *_stack_description(stack))
    found |= {name: ("bound", name, None, "") for name in ("oracle pick", "oracle convex")}
    return found


def _stack_description(stack: StackRow) -> tuple[str, int, str]:
    seeds = ", ".join(str(repeat.settings.seed) for repeat in stack.repeats)
    note = f"seeds {seeds}" if len(stack.repeats) > 1 else ""
    return title_of(stack.first.settings, stack.name), count_parameters(stack.first.network), note


def _networks_of(learner: LevelZero) -> tuple[int | None, str]:
    """Parameters and note of a learner."""
    if any(model.is_import for model in learner.tested):
        return None, "imported depth maps"
    return sum(count_parameters(load_learner(model)) for model in learner.tested), ""
