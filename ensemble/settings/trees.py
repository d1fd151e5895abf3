"""YAML to trees of settings and trees over trees, with no knowledge of which settings there are."""

import copy
import difflib
import re
import typing
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

Tree = dict[str, Any]


class SettingsError(ValueError):
    """A setting that is unknown, of a wrong type, out of range, or that contradicts another one."""


def config_folder() -> Path:
    """The folder ``configs``: inside the installed package, or beside it in a checkout."""
    package = Path(__file__).parents[1]
    packaged = package / "configs"
    return packaged if packaged.is_dir() else package.parent / "configs"


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint for a misspelt name: the closest known one, and all of them."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    return (f"did you mean {close[0]!r}? " if close else "") + f"Known: {', '.join(names) or 'none'}."


def check_name(name: str, known: Iterable[str], what: str) -> None:
    """Refuse an unknown name and answer with the known ones.

    Raises:
        SettingsError: ``name`` is not among ``known``.
    """
    if name not in (names := list(known)):
        raise SettingsError(f"unknown {what} {name!r}; {nearest(name, names)}")


class _Loader(yaml.SafeLoader):
    """YAML 1.1 reads ``1e-4`` as text, and lets a doubled name win silently; people who write settings mean neither."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[typing.Hashable, Any]:
        """A mapping whose keys are names that stand there once."""
        seen = set[str]()
        for key, _ in node.value:
            if key.tag not in ("tag:yaml.org,2002:str", "tag:yaml.org,2002:merge"):
                raise yaml.MarkedYAMLError(
                    problem=f"expected a name as key, found {key.value!r}", problem_mark=key.start_mark
                )
            if key.value in seen:
                raise yaml.MarkedYAMLError(problem=f"{key.value!r} stands here twice", problem_mark=key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?(\d+(\.\d*)?|\.\d+)[eE][-+]?\d+$"), list("-+0123456789.")
)


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
            value = yaml.load(text, Loader=_Loader)  # a SafeLoader
        except yaml.YAMLError as error:
            raise SettingsError(f"--set {assignment!r}: {text!r} is not a valid value: {error}") from error
        for part in reversed(key.strip().split(".")):
            value = {part: value}
        tree = merged(tree, value)
    return tree
