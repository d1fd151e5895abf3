"""From YAML files and ``--set`` values to settings.

Later sources win: ``configs/base/<architecture>.yaml`` (or ``configs/meta/<inputs>.yaml``),
``configs/data/<kind>.yaml``, then the file given with ``--config``, then every ``--set``. The file may hold a section
``learners`` with what differs for one learner, and a section ``meta`` with what differs for the meta-learner. A name
below ``learners`` that is none of ``configs/base`` is a learner of the experiment's own, whose ``architecture`` is.
"""

import math
import os
import re
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ensemble.settings.complaints import validated
from ensemble.settings.encoders import check_encoder
from ensemble.settings.kinds import COPY, GENERATED, OWN, facts_of, kinds_on_disk
from ensemble.settings.members import check_member
from ensemble.settings.names import (
    NAME,
    check_own_learner,
    known_inputs,
    known_learners,
    learner_file,
    stacked_learners,
)
from ensemble.settings.packaged import name_or_path
from ensemble.settings.places import at_home
from ensemble.settings.schema import MOST, DataSettings, LearnerSettings, ScoredSettings, StackSettings
from ensemble.settings.trees import (
    SettingsError,
    Tree,
    check_name,
    config_folder,
    merged,
    nearest,
    parse_assignments,
    read_yaml,
)

FittedSettings = typing.TypeVar("FittedSettings", LearnerSettings, StackSettings)
RunSettings = typing.TypeVar("RunSettings", bound=ScoredSettings)


SHARED_SECTIONS = ("experiment", "seed", "data", "evaluation")
LEARNER_SECTIONS = ("encoder", "network", "loss", "training", "evaluation")
OWN_SECTIONS = ("architecture", "size", "distillation", *LEARNER_SECTIONS)  # of a learner below ``learners``
BY_LEARNER = ("lr_factors", "loss_weights")
"""Settings of ``live`` that name single learners."""
META_SECTIONS = (*LEARNER_SECTIONS, "learners", "copies", "rows", "level0", "mode", "live")
FILE_SECTIONS = (*SHARED_SECTIONS, "encoder", "training", "learners", "meta")
CHOICES = {
    "network.activation": ("elu", "leaky_relu"),
    "network.interpolate": ("before", "after"),
    "network.weights": ("softmax", "correct", "free"),
    "network.space": ("depth", "log"),
    "network.attention": ("softmax", "performer"),
}
"""Texts that a keyword argument of a network may be."""

WIDEST = 1_000_000
"""Channels, bins or blocks of a network; beyond it a number is a mistake."""

WHERE_GIVEN = {"network.internal_size": [192, 640], "network.shift": 0.1378}
"""What values are like of arguments that are absent where nobody gives them."""

FROM_ZERO = ("network.hooks[0]", "network.hooks[1]")
"""Whole numbers that count from 0; all others begin at 1."""


@dataclass(frozen=True)
class Choice:
    """What a person chose settings by; everything else follows from files."""

    kind: str | None = None
    """Of the data; where absent, what ``config`` says, ``folder`` where it says how files of one's own are called, else
    ``nyu`` where a copy is named, else ``rooms``."""
    root: Path | None = None  # folder of the data
    config: Path | None = None
    assignments: Sequence[str] = ()  # ``section.key=value``, as given with ``--set``

    @property
    def words(self) -> list[str]:
        """The options without ``--set``, for a command line in a message that is to choose the same."""
        config = None if self.config is None else name_or_path(self.config)
        given = (("--data", self.kind), ("--root", self.root), ("--config", config))
        return [word for option, value in given if value is not None for word in (option, str(value))]

    @property
    def shared_words(self) -> list[str]:
        """The same with those ``--set`` that learners share with the meta-learner: encoder, data, evaluation."""
        shared = (each for each in self.assignments if re.match(r"(encoder|data|evaluation)[.=]", each))
        return [*self.words, *(word for each in shared for word in ("--set", each))]

    def also(self, *assignments: str) -> "Choice":
        """The same with further assignments, which win."""
        return replace(self, assignments=(*self.assignments, *assignments))


NOTHING = Choice()
"""Packaged defaults."""


def learner_settings(learner: str, choice: Choice = NOTHING) -> LearnerSettings:
    """The settings of one learner's run.

    Raises:
        SettingsError: Anything unknown, of a wrong type, out of range or contradictory.
    """
    assigned = _assigned(choice, "learner", f"the command's argument, here {learner}")
    if "architecture" in assigned:
        raise SettingsError(
            "--set architecture=...: is chosen by an experiment file, below learners.NAME; leave the --set out"
        )
    layers = _layers(choice, assigned)
    check_name(learner, _named(layers), "learner")
    settings = _learner(learner, layers, assigned)
    if choice.config is not None:
        _check_file(choice.config, layers, assigned)
    check_encoder(settings.encoder)
    return settings


def stack_settings(
    inputs: str,
    choice: Choice = NOTHING,
    *,
    learners: Sequence[str] | None = None,
    inherited: Mapping[str, Any] | None = None,
    imported: Sequence[str] = (),
) -> StackSettings:
    """The settings of one fit of the meta-learner.

    ``inherited`` are the sections ``data`` and ``evaluation`` of the learners' runs; they win over files, and
    assignments win over them. ``imported`` names further learners, whose depth came from elsewhere.

    Raises:
        SettingsError: Anything unknown, of a wrong type, out of range or contradictory.
    """
    check_name(inputs, known_inputs(), "inputs")
    _refuse_of_file(choice)
    assigned, root = _assigned(choice, "inputs", f"--inputs, here {inputs}"), choice.root
    layers = _layers(choice, assigned)
    if inherited is not None:
        layers.append(dict(inherited))
        layers.append({"data": {"root": str(at_home(root).absolute())}} if root is not None else {})
    settings = _stack(inputs, layers, assigned, learners)
    for learner in settings.learners:
        check_member(learner, (*_named(layers), *imported))
    if choice.config is not None:
        _check_file(choice.config, layers, assigned)
    check_encoder(settings.encoder)
    return settings


def learners_to_stack(choice: Choice = NOTHING) -> tuple[str, ...]:
    """Whose predictions the same choice would weigh: those of its file or assignments, else those of ours but students.

    Raises:
        SettingsError: They are no list of names.
    """
    assigned = parse_assignments(choice.assignments)
    chosen = [_mapping(layer.get("meta", {}), "meta") for layer in _layers(choice, assigned)]
    named = [each["learners"] for each in (*chosen, assigned) if "learners" in each]
    if not named:
        return stacked_learners()
    if not isinstance(named[-1], list) or not named[-1] or not all(isinstance(name, str) for name in named[-1]):
        raise SettingsError(f"learners: expected a list of names such as [bts, ldrn], found {named[-1]!r}")
    return tuple(named[-1])


def _refuse_of_file(choice: Choice) -> None:
    """Refuse a ``--set`` of a stack that names its section of an experiment file, where others stand beside it."""
    for each in choice.assignments:
        key = each.partition("=")[0].strip()
        if key.startswith("meta."):
            own = each.strip().removeprefix("meta.")
            raise SettingsError(
                f"--set {each}: a stack has no setting {key}; its section meta is one of experiment files, and --set "
                f"of this command means it by itself: --set {own}"
            )


def _assigned(choice: Choice, named: str, chosen_by: str) -> Tree:
    """The tree of all ``--set``; refused with the one setting that something else chooses, as it would go unheard."""
    assigned = parse_assignments(choice.assignments)
    if named in assigned:
        raise SettingsError(f"--set {named}=...: is chosen by {chosen_by}; leave the --set out")
    return assigned


def named_learners(choice: Choice = NOTHING) -> tuple[str, ...]:
    """The learners that the same choice could train: those of ``configs/base``, then those that its file adds.

    Raises:
        SettingsError: The file cannot be read, or names something unknown.
    """
    return _named([] if choice.config is None else [_experiment_file(choice.config)])


def experiment_name(choice: Choice = NOTHING) -> str:
    """The experiment that the same choice would train under.

    Raises:
        SettingsError: Unknown sections or learners, or a name that cannot be that of a folder.
    """
    assigned = parse_assignments(choice.assignments)
    tree: Tree = {}
    for layer in (*_layers(choice, assigned), assigned):
        tree = merged(tree, {key: layer[key] for key in ("experiment", "data") if key in layer})
    name = tree.get("experiment", tree["data"]["kind"])
    if not isinstance(name, str) or not re.fullmatch(NAME, name):
        raise SettingsError(f"experiment: expected a name of letters, digits and . _ + -, found {name!r}")
    return name


def data_settings(choice: Choice = NOTHING) -> DataSettings:
    """The data that the same choice would train on.

    Raises:
        SettingsError: Anything unknown, of a wrong type, out of range or contradictory.
    """
    assigned = parse_assignments(choice.assignments)
    tree: Tree = {}
    for layer in (*_layers(choice, assigned), assigned):
        tree = merged(tree, _mapping(layer.get("data", {}), "data"))
    return validated(DataSettings, tree, where="data.")


def told_of_data(choice: Choice) -> set[str]:
    """Keys of ``data`` that the experiment file or an assignment names; the others are as they come.

    Raises:
        SettingsError: The file cannot be read.
    """
    file = {} if choice.config is None else _experiment_file(choice.config)
    assigned = parse_assignments(choice.assignments)
    return {key for layer in (file, assigned) for key in _mapping(layer.get("data", {}), "data")}


def moved(settings: RunSettings, root: Path | None) -> RunSettings:
    """The settings of a run whose data lie elsewhere now.

    Raises:
        SettingsError: The run's data lie in no folder.
    """
    if root is None:
        return settings
    if settings.data.facts.variable is None:
        expected = " or ".join(kinds_on_disk())
        raise SettingsError(
            f"--root {root}: this run uses data.kind {settings.data.kind}, expected {expected}; leave it out"
        )
    return settings.model_copy(update={"data": settings.data.model_copy(update={"root": at_home(root).absolute()})})


def _learner(learner: str, layers: Sequence[Tree], assigned: Tree) -> LearnerSettings:
    specials = [_mapping(_of_learners(layer).get(learner, {}), f"learners.{learner}") for layer in layers]
    architecture = next((each["architecture"] for each in reversed(specials) if "architecture" in each), learner)
    own = read_yaml(learner_file(architecture))
    tree = own
    for layer, special in zip(layers, specials, strict=True):
        common = {key: layer[key] for key in (*SHARED_SECTIONS, "encoder", "training") if key in layer}
        tree = merged(merged(tree, common), special)
    return _finished(LearnerSettings, merged(tree, assigned), own, {"learner": learner})


def _of_learners(layer: Tree) -> Tree:
    return _mapping(layer.get("learners", {}), "learners")


def _named(layers: Sequence[Tree]) -> tuple[str, ...]:
    """Names of all learners there are: those of ``configs/base``, then those that layers add."""
    return tuple(dict.fromkeys((*known_learners(), *(name for layer in layers for name in _of_learners(layer)))))


def _stack(inputs: str, layers: Sequence[Tree], assigned: Tree, learners: Sequence[str] | None) -> StackSettings:
    own = read_yaml(config_folder() / "meta" / f"{inputs}.yaml")
    tree = own
    for layer in layers:
        common = {key: layer[key] for key in SHARED_SECTIONS if key in layer}
        tree = _with_members(merged(tree, common), _mapping(layer.get("meta", {}), "meta"))
    tree = _with_members(tree, {"learners": list(learners)} if learners is not None else {})
    return _finished(StackSettings, _with_members(tree, assigned), own, {"inputs": inputs})


def _with_members(tree: Tree, layer: Tree) -> Tree:
    """A further layer over ``tree``; one that names other learners leaves behind what ``tree`` says of single ones.

    Counts belong to a composition as a whole, so all of them go; settings of live learners stay for those who stay.
    """
    if not isinstance(named := layer.get("learners"), list):
        return merged(tree, layer)
    before = tree["learners"] if "learners" in tree else [*stacked_learners()]
    if isinstance(before, list) and sorted(map(str, named)) != sorted(map(str, before)):
        tree = {key: value for key, value in tree.items() if key != "copies"}
        if isinstance(live := tree.get("live"), dict):
            tree["live"] = {key: _of(named, value) if key in BY_LEARNER else value for key, value in live.items()}
    return merged(tree, layer)


def _of(learners: Sequence[Any], values: Any) -> Any:
    return {name: values[name] for name in values if name in learners} if isinstance(values, dict) else values


def _finished(kind: type[FittedSettings], tree: Tree, own: Tree, named: Tree) -> FittedSettings:
    """Settings out of all layers; keyword arguments are held against the names and types in the class's own file."""
    tree = {"experiment": _mapping(tree["data"], "data")["kind"], **tree, **named}
    for section in ("network", "loss"):
        tree[section] = _checked_arguments(tree.get(section, {}), own.get(section, {}), section)
    settings = validated(kind, tree)
    last = settings.training.last_phase
    if last is None:
        return settings
    loss = _checked_arguments(last.loss, own.get("loss", {}), "training.last_phase.loss")
    training = settings.training.model_copy(update={"last_phase": last.model_copy(update={"loss": loss})})
    return settings.model_copy(update={"training": training})


def _layers(choice: Choice, assigned: Tree) -> list[Tree]:
    """Data file, experiment file and command-line options, in the order in which they win."""
    root = choice.root
    chosen = _experiment_file(choice.config) if choice.config is not None else {}
    named, asked = (_mapping(tree.get("data", {}), "data") for tree in (chosen, assigned))
    place = asked.get("root") or root or named.get("root")
    some = place or os.environ.get(facts_of(COPY).variable or "")
    usual = OWN if "folder" in named or "folder" in asked else COPY if some else GENERATED
    kind = str(asked.get("kind") or choice.kind or named.get("kind") or usual)
    variable = facts_of(kind).variable
    if variable is None and root is not None:
        expected, add = " or ".join(kinds_on_disk()), " or ".join(f"--data {each}" for each in kinds_on_disk())
        raise SettingsError(
            f"--root {root}: expected data.kind {expected}, found {kind}; add {add}, or leave --root out to use {kind}"
        )
    options: Tree = {"data": {"kind": kind}}
    if variable is not None and (place := place or os.environ.get(variable)):
        options["data"]["root"] = (
            str(at_home(Path(place), variable).absolute()) if isinstance(place, str | Path) else place
        )
    return [_sections(config_folder() / "data" / f"{kind}.yaml"), chosen, options]


def _sections(path: Path) -> Tree:
    """The settings of a file, without what ``facts_of`` reads there."""
    return {section: value for section, value in read_yaml(path).items() if section != "source"}


def _experiment_file(config: Path) -> Tree:
    """The tree of ``--config``, with all names of sections and learners checked."""
    chosen = _sections(config)
    for section in chosen:
        check_name(section, FILE_SECTIONS, f"section of {config}")
    special = _of_learners(chosen)
    owners = {f"learners.{learner}": own for learner, own in special.items()} | {"meta": chosen.get("meta", {})}
    for learner in special:
        _check_learner(learner, _mapping(special[learner], f"learners.{learner}"), config)
    for owner, own in owners.items():
        known = META_SECTIONS if owner == "meta" else OWN_SECTIONS
        for section in _mapping(own, owner):
            check_name(section, known, f"section of {owner} in {config}")
    return chosen


def _check_learner(learner: str, own: Tree, config: Path) -> None:
    """Refuse a learner of an experiment file whose name and architecture do not tell what to build."""
    if "architecture" not in own and learner not in known_learners():
        raise SettingsError(
            f"unknown learner in {config} {learner!r}; {nearest(learner, known_learners())} A learner of one's own "
            f"says what it is: learners.{learner}.architecture"
        )
    try:
        check_own_learner(learner, str(own.get("architecture", learner)))
    except SettingsError as error:
        raise SettingsError(f"{config}: {error}") from error


def _check_file(config: Path, layers: Sequence[Tree], assigned: Tree) -> None:
    """Refuse a mistake in any part of an experiment file, so that it is not found after the first training."""
    for learner in _named(layers):
        known = (*SHARED_SECTIONS, "encoder", "training")
        given = {key: assigned[key] for key in known if key in assigned}
        if teacher := assigned.get("distillation", {}).get("teacher"):
            given["distillation"] = {"teacher": teacher}  # what the file says of distillation is read then
        try:
            _learner(learner, layers, given)
        except SettingsError as error:
            raise SettingsError(f"{config}, for {learner}: {error}") from error
    try:
        _stack(known_inputs()[0], layers, {key: assigned[key] for key in SHARED_SECTIONS if key in assigned}, None)
    except SettingsError as error:
        raise SettingsError(f"{config}, for the meta-learner: {error}") from error


def _mapping(value: object, where: str) -> Tree:
    if not isinstance(value, dict):
        raise SettingsError(f"{where}: expected a mapping of settings, found {value!r}")
    return value


def _checked_arguments(given: object, defaults: Tree, section: str) -> Tree:
    """Keyword arguments whose names and types agree with those of the learner's YAML file."""
    arguments = {}
    for key, value in _mapping(given, section).items():
        check_name(str(key), defaults, f"setting {section}.{key}: there is no")
        arguments[key] = _like(value, defaults[key], f"{section}.{key}")
    return arguments


def _like(value: Any, default: Any, where: str) -> Any:
    """``value`` as the type of ``default``: a whole number may stand for a real one, nothing else is converted."""
    if default is None and value is not None:
        default = WHERE_GIVEN.get(where)
    if isinstance(default, list):
        if not isinstance(value, list) or len(value) != len(default):
            raise SettingsError(f"{where}: expected a list of {len(default)} such as {default}, found {value!r}")
        return [
            _like(item, like, f"{where}[{index}]")
            for index, (item, like) in enumerate(zip(value, default, strict=True))
        ]
    if isinstance(default, float) and type(value) is int:
        value = float(value)
    if default is not None and type(value) is not type(default):
        names = {"int": "a whole number", "float": "a number", "str": "a text", "bool": "true or false"}
        kind = type(default).__name__
        raise SettingsError(f"{where}: expected {names.get(kind, kind)} such as {default!r}, found {value!r}")
    if isinstance(value, float) and not (math.isfinite(value) and 0 <= value <= MOST):
        raise SettingsError(
            f"{where}: expected a finite number from 0 to {MOST:.0e} such as {default!r}, found {value!r}"
        )
    least = 0 if where in FROM_ZERO else 1
    if type(value) is int and not least <= value <= WIDEST:
        raise SettingsError(
            f"{where}: expected a whole number of at least {least} and at most {WIDEST} such as {default!r}, "
            f"found {value!r}"
        )
    if where in CHOICES:
        check_name(str(value), CHOICES[where], where)
    return value
