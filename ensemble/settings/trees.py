"""YAML to trees of settings and trees over trees, with no knowledge of which settings there are."""

import copy
import difflib
import json
import re
import stat
import typing
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from ensemble.settings.addresses import may_be_secret

Tree = dict[str, Any]


class SettingsError(ValueError):
    """A setting that is unknown, of a wrong type, out of range, or that contradicts another one."""


def config_folder() -> Path:
    """The folder ``configs``: inside the installed package, or beside it in a checkout."""
    package = Path(__file__).parents[1]
    packaged = package / "configs"
    return packaged if packaged.is_dir() else package.parent / "configs"


NEAR, NEAR_SHORT, SHORT = 0.6, 0.5, 3
"""How alike a known name must be to a misspelt one, of 1, to be named beside it, and how short names may be less so."""


def near_names(name: str, known: Iterable[str]) -> list[str]:
    """The known names that look like a misspelt one: up to three that are very like it, else the closest."""
    least = NEAR_SHORT if len(name) <= SHORT else NEAR
    likeness = {each: difflib.SequenceMatcher(None, each, name).ratio() for each in sorted(known)}
    close = [each for each in likeness if likeness[each] >= least]
    close.sort(key=lambda each: (-likeness[each], abs(len(each) - len(name))))
    return [each for each in close[:3] if likeness[each] >= 0.8] or close[:1]


LISTED = 20
"""Known names that a message may list."""


def nearest(name: str, known: Iterable[str], *, listing: str | None = None) -> str:
    """A hint for a misspelt name: the closest known ones, the first of all, and the command that lists them."""
    names = sorted(known)
    near = " or ".join(map(repr, near_names(name, names)))
    shown = [*names[:LISTED], *([f"and {len(names) - LISTED} more"] if len(names) > LISTED else [])]
    hint = (f"did you mean {near}? " if near else "") + f"Known: {', '.join(shown) or 'none'}."
    return hint if listing is None else f"{hint} To list them\nRun: {listing}"


def check_name(name: str, known: Iterable[str], what: str) -> None:
    """Refuse an unknown name and answer with the known ones.

    Raises:
        SettingsError: ``name`` is not among ``known``.
    """
    if name not in (names := list(known)):
        raise SettingsError(f"unknown {what} {name!r}; {nearest(name, names)}")


LARGEST_FILE, MOST_NODES, DEEPEST = 1 << 20, 10_000, 50
"""Bytes of a file of settings, values in it with aliases written out, and how deep they may be nested."""

LARGEST_NUMBER = (1 << 63) - 1
"""Whole numbers beyond it fit into no seed and no count."""

_TAGS = {f"tag:yaml.org,2002:{kind}" for kind in ("bool", "float", "int", "map", "merge", "null", "seq", "str")}


class _AddressError(yaml.MarkedYAMLError):
    """A value is an address."""


class _Loader(yaml.SafeLoader):
    """YAML as people who write settings mean it, and no more of it than settings need.

    YAML 1.1 reads ``1e-4`` as text and dates as dates, lets a doubled name win silently, and does not end with the
    file: aliases multiply, sections nest.
    """

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = self._nodes = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """A node, unless there are too many or too deep ones."""
        self._nodes += 1
        self._depth += 1
        if self._depth > DEEPEST or self._nodes > MOST_NODES:
            what = f"{DEEPEST} sections within each other" if self._depth > DEEPEST else f"{MOST_NODES:,} values"
            raise yaml.MarkedYAMLError(problem=f"expected at most {what}", problem_mark=self.peek_event().start_mark)
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
        """A whole number."""
        value = super().construct_yaml_int(node)
        if abs(value) > LARGEST_NUMBER:
            raise yaml.MarkedYAMLError(
                problem=f"expected whole numbers of at most {LARGEST_NUMBER:.0e}", problem_mark=node.start_mark
            )
        return value

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


_Loader.yaml_implicit_resolvers = {
    first: [each for each in resolvers if each[0] in _TAGS]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_yaml_int)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?(\d+(\.\d*)?|\.\d+)[eE][-+]?\d+$"), list("-+0123456789.")
)


def read_yaml(path: Path) -> Tree:
    """The tree of settings in a YAML file.

    Raises:
        SettingsError: The file is missing, is no regular file of a size that settings have, is not YAML, asks for more
            than settings need, or holds no mapping.
    """
    try:
        kind = path.stat()
        if not stat.S_ISREG(kind.st_mode):
            raise SettingsError(f"{path}: expected a file of settings, found a folder, a device or a pipe")
        if kind.st_size > LARGEST_FILE:
            raise SettingsError(f"{path}: {kind.st_size:,} bytes, expected settings of at most {LARGEST_FILE:,}")
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise SettingsError(f"{path}: there is no such file") from error
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: cannot be read as text: {error}") from error
    tree = _parsed(text, f"{path}: ")
    if not isinstance(tree, dict):
        raise SettingsError(f"{path}: expected a mapping of settings, found {type(tree).__name__}")
    return tree


def _parsed(text: str, where: str, what: str = "valid YAML") -> Any:
    """What YAML says; where it is wrong and holds an address, nothing of it is told but the line."""
    try:
        return _loaded(text, where, what)
    except SettingsError as error:
        cause = error.__cause__
        if not (may_be_secret(text) or isinstance(cause, _AddressError)):
            raise
        mark = cause.problem_mark if isinstance(cause, yaml.MarkedYAMLError) else None
        near = "" if mark is None else f"line {mark.line + 1}: "
        raise SettingsError(
            f"{where}{near}expected {what} of settings without an address, which may hold a password; it is not "
            "repeated here, and --storage alone takes one"
        ) from None


def _loaded(text: str, where: str, what: str) -> Any:
    """What YAML says, once it is sure that it ends and that no value is larger than settings have."""
    try:
        loader = _Loader(text)  # a SafeLoader
        try:
            node = loader.get_single_node()
            if node is None:
                return None
            _check_node(node, where)
            return loader.construct_document(node)
        finally:
            loader.dispose()
    except yaml.YAMLError as error:
        raise SettingsError(f"{where}is not {what}: {error}") from error
    except (ValueError, OverflowError, LookupError) as error:  # PyYAML's own of !!bool x
        if isinstance(error, SettingsError):
            raise
        raise SettingsError(f"{where}holds a value that cannot be read ({error!r:.200})") from error


def _check_node(root: yaml.Node, where: str) -> None:
    """Refuse a tree that is too large once its aliases are written out, that holds itself, or asks for another kind."""
    sizes: dict[int, int] = {}
    begun: set[int] = set()

    def size(node: yaml.Node) -> int:
        if node.tag not in _TAGS:
            line, kind = node.start_mark.line + 1, node.tag.partition(",2002:")[2] or node.tag
            raise SettingsError(f"{where}is not valid YAML of settings: line {line} asks for the kind {kind!r}")
        if isinstance(node, yaml.ScalarNode):
            if may_be_secret(node.value):
                raise _AddressError(problem_mark=node.start_mark)
            return 1
        if id(node) not in sizes:
            if id(node) in begun:
                raise SettingsError(f"{where}a section holds itself")
            begun.add(id(node))
            pairs = node.value if isinstance(node, yaml.MappingNode) else [(each,) for each in node.value]
            sizes[id(node)] = 1 + sum(size(each) for pair in pairs for each in pair)
        if sizes[id(node)] > MOST_NODES:
            raise SettingsError(f"{where}expected at most {MOST_NODES:,} values once its aliases are written out")
        return sizes[id(node)]

    size(root)


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
        if may_be_secret(assignment):
            raise SettingsError("--set: found an address, which is not repeated here; no setting is one")
        key, equals, text = assignment.partition("=")
        if not equals or not key.strip():
            raise SettingsError(f"--set {assignment!r}: expected key=value, for example training.lr=3e-4")
        value = _parsed(text, f"--set {assignment!r}: {text!r} ", "a valid value")
        if key.count(".") > DEEPEST:
            raise SettingsError(f"--set {assignment!r}: expected at most {DEEPEST} sections within each other")
        for part in reversed(key.strip().split(".")):
            value = {part: value}
        tree = merged(tree, value)
    return tree


def assignments_of(values: Mapping[str, Any]) -> list[str]:
    """The ``--set section.key=value`` arguments that stand for values by ``section.key``."""
    return [f"{key}={json.dumps(value)}" for key, value in values.items()]


def flat(tree: Tree, prefix: str = "") -> Tree:
    """The values of a tree by ``section.key``."""
    values: Tree = {}
    for key, value in tree.items():
        values |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return values
