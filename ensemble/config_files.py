"""From YAML files and ``--set`` values to settings.

Later sources win: ``configs/base/<learner>.yaml`` (or ``configs/meta/<inputs>.yaml``), ``configs/data/<kind>.yaml``,
then the file given with ``--config``, then every ``--set``. The last three may hold a section ``learners`` with what
differs for one learner, and a section ``meta`` with what differs for the meta-learner.
"""

import copy
import difflib
import os
import re
import typing
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from ensemble.config import DataSettings, LearnerSettings, Settings, StackSettings

Tree = dict[str, Any]
SomeSettings = typing.TypeVar("SomeSettings", bound=Settings)


class SettingsError(ValueError):
    """A setting that is unknown, of a wrong type, out of range, or that contradicts another one."""


SHARED_SECTIONS = ("experiment", "seed", "data", "evaluation")
LEARNER_SECTIONS = ("encoder", "network", "loss", "training", "evaluation")
FILE_SECTIONS = (*SHARED_SECTIONS, "encoder", "training", "learners", "meta")


class _Loader(yaml.SafeLoader):
    """YAML 1.1 reads ``1e-4`` as text; people who write settings mean a number."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?(\d+(\.\d*)?|\.\d+)[eE][-+]?\d+$"), list("-+0123456789.")
)


def config_folder() -> Path:
    """The folder ``configs``: inside the installed package, or beside it in a checkout."""
    packaged = Path(__file__).parent / "configs"
    return packaged if packaged.is_dir() else Path(__file__).parent.parent / "configs"


def known_learners() -> tuple[str, ...]:
    """Names of the learners that have a YAML file, without importing their networks."""
    return tuple(sorted(path.stem for path in (config_folder() / "base").glob("*.yaml")))


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint for a misspelt name: the closest known one, and all of them."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    return (f"did you mean {close[0]!r}? " if close else "") + f"Known: {', '.join(names)}."


def check_name(name: str, known: Iterable[str], what: str) -> None:
    """Refuse an unknown name and answer with the known ones.

    Raises:
        SettingsError: ``name`` is not among ``known``.
    """
    if name not in (names := list(known)):
        raise SettingsError(f"unknown {what} {name!r}; {nearest(name, names)}")


def read_yaml(path: Path) -> Tree:
    """The tree of settings in a YAML file.

    Raises:
        SettingsError: The file is missing, is not YAML, or holds no mapping.
    """
    try:
        tree = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)  # a SafeLoader
    except FileNotFoundError as error:
        raise SettingsError(f"{path}: there is no such file") from error
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: cannot be read as text: {error}") from error
    except yaml.YAMLError as error:
        raise SettingsError(f"{path}: is not valid YAML: {error}") from error
    if not isinstance(tree, dict):
        raise SettingsError(f"{path}: expected a mapping of settings, found {type(tree).__name__}")
    return tree


def merged(lower: Mapping[str, Any], upper: Mapping[str, Any]) -> Tree:
    """``lower`` with every value that ``upper`` has, section by section."""
    result = copy.deepcopy(dict(lower))
    for key, value in upper.items():
        below = result.get(key)
        result[key] = merged(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return result


def parse_assignments(assignments: Sequence[str]) -> Tree:
    """The tree that ``--set section.key=value`` arguments describe; values are YAML.

    Raises:
        SettingsError: An argument has no ``=``, no key, or a value that is not YAML.
    """
    tree: Tree = {}
    for assignment in assignments:
        key, equals, text = assignment.partition("=")
        if not equals or not key.strip():
            raise SettingsError(f"--set {assignment!r}: expected key=value, for example training.lr=3e-4")
        try:
            value = yaml.load(text, Loader=_Loader)
        except yaml.YAMLError as error:
            raise SettingsError(f"--set {assignment!r}: the value is not valid YAML") from error
        for part in reversed(key.strip().split(".")):
            value = {part: value}
        tree = merged(tree, value)
    return tree


def learner_settings(
    learner: str,
    *,
    kind: str | None = None,
    root: Path | None = None,
    config: Path | None = None,
    assignments: Sequence[str] = (),
) -> LearnerSettings:
    """The settings of one learner's run.

    Args:
        learner: Name of a learner.
        kind: ``rooms`` or ``nyu``; where absent, what ``config`` says, else ``nyu`` where a copy is named, else rooms.
        root: Folder of a copy of NYU Depth v2.
        config: An experiment file.
        assignments: ``section.key=value``, as given with ``--set``.

    Raises:
        SettingsError: Anything unknown, of a wrong type, out of range or contradictory.
    """
    check_name(learner, known_learners(), "learner")
    own = read_yaml(config_folder() / "base" / f"{learner}.yaml")
    layers = _layers(kind, root, config)
    tree = own
    for layer in layers:
        common = {key: layer[key] for key in (*SHARED_SECTIONS, "encoder", "training") if key in layer}
        tree = merged(merged(tree, common), _section(layer, "learners", learner))
    tree = merged(tree, parse_assignments(assignments))
    tree = {"experiment": tree.get("data", {}).get("kind", "rooms"), **tree, "learner": learner}
    for section in ("network", "loss"):
        tree[section] = _checked_arguments(tree.get(section, {}), own.get(section, {}), section)
    return _validated(LearnerSettings, tree)


def stack_settings(
    inputs: str,
    *,
    learners: Sequence[str] | None = None,
    kind: str | None = None,
    root: Path | None = None,
    config: Path | None = None,
    assignments: Sequence[str] = (),
    inherited: Mapping[str, Any] | None = None,
) -> StackSettings:
    """The settings of one fit of the meta-learner.

    Args:
        inputs: ``rgb``, ``d`` or ``rgb+d``.
        learners: Whose predictions are weighed.
        kind: As in :func:`learner_settings`.
        root: As in :func:`learner_settings`.
        config: As in :func:`learner_settings`.
        assignments: As in :func:`learner_settings`.
        inherited: The section ``data`` of the learners' runs; it wins over files, and ``assignments`` win over it.

    Raises:
        SettingsError: Anything unknown, of a wrong type, out of range or contradictory.
    """
    check_name(inputs, (path.stem for path in (config_folder() / "meta").glob("*.yaml")), "inputs")
    own = read_yaml(config_folder() / "meta" / f"{inputs}.yaml")
    tree = own
    for layer in _layers(kind, root, config):
        common = {key: layer[key] for key in SHARED_SECTIONS if key in layer}
        tree = merged(merged(tree, common), _mapping(layer.get("meta", {}), "meta"))
    if learners is not None:
        tree = merged(tree, {"learners": list(learners)})
    if inherited is not None:
        tree = {**tree, "data": dict(inherited)}
        tree = merged(tree, {"data": {"root": str(root)}} if root is not None else {})
    tree = merged(tree, parse_assignments(assignments))
    tree = {"experiment": tree.get("data", {}).get("kind", "rooms"), **tree, "inputs": inputs}
    for section in ("network", "loss"):
        tree[section] = _checked_arguments(tree.get(section, {}), own.get(section, {}), section)
    return _validated(StackSettings, tree)


def experiment_name(
    *, kind: str | None = None, root: Path | None = None, config: Path | None = None, assignments: Sequence[str] = ()
) -> str:
    """The experiment that the same options would train under."""
    tree: Tree = {}
    for layer in (*_layers(kind, root, config), parse_assignments(assignments)):
        tree = merged(tree, {key: layer[key] for key in ("experiment", "data") if key in layer})
    return str(tree.get("experiment", tree["data"]["kind"]))


def _layers(kind: str | None, root: Path | None, config: Path | None) -> list[Tree]:
    """Data file, experiment file and command-line options, in the order in which they win."""
    chosen = read_yaml(config) if config is not None else {}
    for section in chosen:
        check_name(section, FILE_SECTIONS, f"section of {config}")
    for learner in _mapping(chosen.get("learners", {}), "learners"):
        check_name(learner, known_learners(), f"learner in {config}")
    named = _mapping(chosen.get("data", {}), "data").get("kind")
    root = root or (Path(os.environ["NYU_ROOT"]) if os.environ.get("NYU_ROOT") else None)
    kind = kind or named or ("nyu" if root is not None else "rooms")
    check_name(str(kind), typing.get_args(DataSettings.model_fields["kind"].annotation), "data")
    options: Tree = {"data": {"kind": kind}}
    if root is not None and kind == "nyu":
        options["data"]["root"] = str(root)
    return [read_yaml(config_folder() / "data" / f"{kind}.yaml"), chosen, options]


def _section(layer: Tree, section: str, name: str) -> Tree:
    own = _mapping(_mapping(layer.get(section, {}), section).get(name, {}), f"{section}.{name}")
    for key in own:
        check_name(key, LEARNER_SECTIONS, f"section of {section}.{name}")
    return own


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
    if isinstance(default, float) and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(default, list) and isinstance(value, list) and default:
        return [_like(item, default[0], where) for item in value]
    if default is not None and type(value) is not type(default):
        raise SettingsError(f"{where}: expected {type(default).__name__} such as {default!r}, found {value!r}")
    return value


def _validated(kind: type[SomeSettings], tree: Tree) -> SomeSettings:
    try:
        return kind.model_validate(tree)
    except ValidationError as error:
        raise SettingsError("\n".join(_explain(kind, tree, problem) for problem in error.errors())) from error


def _explain(kind: type[Settings], tree: Tree, problem: Any) -> str:
    """One line for one problem: the setting's path, what was found, and the nearest name of an unknown key."""
    *parents, last = [str(part) for part in problem["loc"]] or [""]
    path = ".".join([*parents, last])
    if problem["type"] == "extra_forbidden":
        owner: Any = kind
        for parent in parents:
            owner = owner.model_fields[parent].annotation
        if isinstance(owner, type) and issubclass(owner, BaseModel):
            return f"{path}: there is no such setting; {nearest(last, owner.model_fields)}"
    message = problem["msg"].removeprefix("Value error, ")
    found = problem.get("input")
    shown = f" (found {found!r})" if not isinstance(found, dict) else ""
    return f"{path}: {message}{shown}" if path else message
