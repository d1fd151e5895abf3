"""What the rows of a table say beside their scores: titles, notes, and what a predictor costs."""

import functools
import json
from collections.abc import Iterable
from dataclasses import dataclass, replace

from ensemble.evaluation.bounds import BOUNDS
from ensemble.evaluation.methods import Methods, StackMethod
from ensemble.evaluation.results.scores import Kind
from ensemble.predictions.level_zero import LevelZero
from ensemble.runs.names import BAR, BEST_SINGLE, SEED_MEAN
from ensemble.runs.paths import Outputs, Run, stack_name
from ensemble.settings.schema import LearnerSettings, StackSettings
from ensemble.stacking.choice import kept_choice
from ensemble.training.cost import Profile, WithScale, profile_network
from ensemble.training.networks import build_learner, unloaded
from meta.fusion import COMBINERS
from meta.inputs import channel_count

WEIGHTED = {
    "inverse-variance": "inverse variance",
    BAR: "weighted log-mean",
    "depth-range": "weights by depth range",
}

REPEATS = 3
"""Timed passes of a network."""


def title_of(settings: StackSettings, name: str) -> str:
    """A stack's name for people: what it sees, and in what it differs from the default; a name of its own as it is."""
    words = [f"stack {settings.inputs}"]
    words += [{"finetune": "fine-tuned", "joint": "joint"}[settings.mode]] if settings.mode != "frozen" else []
    words += ["in-sample rows"] if settings.mode == "frozen" and settings.rows == "fit" else []
    words += ["correcting"] if settings.corrects else []
    words += ["mean of folds"] if settings.level0 == "folds" else []
    own = not name.startswith(stack_name(settings))
    return f"{name} ({', '.join(words)})" if own else ", ".join(words)


@dataclass(frozen=True)
class Description:
    """What a row says beside its scores; costs are those of one image at the size it is seen at, not mirrored.

    Attributes:
        kind: What sort of predictor it is.
        title: For people.
        note: Likewise.
        parameters: Its own; of a stack, those of the meta-learner.
        mul_adds: Likewise.
        milliseconds: From image to depth, everything that is needed for it.
        seconds: Its own training; of repeats, the mean.
        validation_rel: Of a stack, its REL on the validation scenes; of repeats, the mean.
        choice_rel: Of a stack that was cross-validated, its REL on frames that its fits never saw.
    """

    kind: Kind
    title: str
    note: str = ""
    parameters: int | None = None
    mul_adds: int | None = None
    milliseconds: float | None = None
    seconds: float | None = None
    validation_rel: float | None = None
    choice_rel: float | None = None


def descriptions_of(methods: Methods, outputs: Outputs) -> dict[str, Description]:
    """What every row says beside its scores; networks are timed on one image."""
    found = {"mean log depth": Description("constant", "mean log depth map")}
    for learner in methods.learners:
        found[learner.name] = _learner(learner, "learner", learner.title)
    if methods.baselines is None:
        return found
    baselines = methods.baselines
    together = _sum(found[learner.name].milliseconds for learner in methods.learners)
    on_rows = f"{'out-of-fold' if baselines.rows == 'oof' else 'validation'} rows"
    best = found[baselines.best]
    found[BEST_SINGLE] = replace(
        best, kind="combiner", title=f"best single ({best.title})", note=f"chosen on {on_rows}"
    )
    if methods.seed_models is not None:
        count = len(methods.seed_models.tested)
        row = _learner(methods.seed_models, "combiner", f"mean of {count} seeds of {methods.seed_models.title}")
        found[SEED_MEAN] = replace(row, note=f"{count} full fits, the cost of {count} learners")
    for name in COMBINERS:
        found[name] = Description("combiner", name, milliseconds=together)
    for name in baselines.combiners:
        found[name] = Description("fitted", WEIGHTED[name], f"fitted to {on_rows}", milliseconds=together)
    for stack in methods.stacks:
        found |= _stack_rows(stack, outputs)
    return {**found, **{name: Description("bound", name) for name in BOUNDS}}


def _stack_rows(stack: StackMethod, outputs: Outputs) -> dict[str, Description]:
    first = stack.first
    learners = [_learner(learner, "learner", learner.title) for learner in first.learners]
    together = _sum(learner.milliseconds for learner in learners)
    channels = channel_count(first.settings.inputs, len(learners))
    whole = WithScale(first.network)
    cost = profile_network(whole, first.settings.data.size, device="cpu", channels=channels, repeats=REPEATS)
    seeds = ", ".join(str(repeat.settings.seed) for repeat in stack.repeats)
    mean = f"mean of the learners of {stack.name}"
    return {
        f"mean of {stack.name}": Description("combiner", mean, milliseconds=together),
        stack.name: Description(
            "stack",
            title_of(first.settings, stack.name),
            f"seeds {seeds}" if len(stack.repeats) > 1 else "",
            cost.parameters,
            cost.mul_adds,
            None if together is None else together + cost.milliseconds,
            _mean(_training_seconds(repeat.run) for repeat in stack.repeats),
            _mean(_validation_rel(repeat.run) for repeat in stack.repeats),
            None if stack.trains_learners else kept_choice(first.settings, first.name, outputs, first.learners),
        ),
    }


def _learner(learner: LevelZero, kind: Kind, title: str) -> Description:
    """Costs of all models whose mean is a learner's depth."""
    if any(model.is_import for model in learner.tested):
        return Description(kind, title, "imported depth maps")
    costs = [_cost(_Built(model.network_settings)) for model in learner.tested]
    return Description(
        kind,
        title,
        "",
        sum(cost.parameters for cost in costs),
        sum(cost.mul_adds for cost in costs),
        sum(cost.milliseconds for cost in costs),
        _sum(_training_seconds(model.run) for model in learner.tested),
    )


class _Built:
    """How a network is built, whatever its weights: models that are built alike cost the same and are timed once."""

    def __init__(self, settings: LearnerSettings) -> None:
        self.settings = settings
        parts = settings.model_dump(mode="json", include={"network", "encoder"})
        self._key = json.dumps([settings.architecture, parts, settings.seen.size], sort_keys=True)

    def __hash__(self) -> int:
        return hash(self._key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Built) and self._key == other._key


@functools.cache
def _cost(built: _Built) -> Profile:
    network = build_learner(unloaded(built.settings))
    return profile_network(network, built.settings.seen.size, device="cpu", repeats=REPEATS)


def _training_seconds(run: Run) -> float | None:
    return run.read_result().get("seconds")


def _validation_rel(run: Run) -> float | None:
    result = run.read_result()
    return result.get("best") if result.get("metric") == "abs_rel" else None


def _sum(values: Iterable[float | None]) -> float | None:
    known = list(values)
    return None if None in known else float(sum(value for value in known if value is not None))


def _mean(values: Iterable[float | None]) -> float | None:
    known = list(values)
    total = _sum(known)
    return None if total is None else total / len(known)
