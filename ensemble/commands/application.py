"""How command lines look: commands by name with their whole first sentence, one style of words in capitals."""

import re
import textwrap
from collections.abc import Sequence
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from ensemble.console.pulse import pulse
from ensemble.settings.schema import MOST
from ensemble.settings.trees import SettingsError, check_name, nearest

_BOUNDS = re.compile(r"(?:(?P<low>[-\d.e]+)<(?P<open>=?))?x<=(?P<high>[-\d.e]+)|x>(?P<only_open>=?)(?P<only>[-\d.e]+)")

WHOLE = 10_000
"""Characters that the first sentence of a command may have in a list: it is wrapped, never cut."""


BRIEF = 56
"""Characters of what a shell says beside a word that it completes: Typer wraps the rest into a line of its own, which
fish then offers as one more word."""


class Command(TyperCommand):
    """A command whose arguments stand in its help as they are typed, and that knows what was meant by an option."""

    def get_short_help_str(self, limit: int = WHOLE) -> str:
        """Its first sentence, for lists of a shell as well."""
        return super().get_short_help_str(WHOLE)

    def shell_complete(self, ctx: Any, incomplete: str) -> list[Any]:
        """Options that a shell offers, each with one short line."""
        return _brief(super().shell_complete(ctx, incomplete))

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """The words of a command line; a ``SettingsError`` names the nearest options of an unknown one."""
        if not ctx.resilient_parsing:
            refuse_addresses(args)
        words = [*args]
        try:
            return super().parse_args(ctx, args)
        except Exception as error:  # Typer brings a Click of its own, whose classes have no public name
            if not ctx.resilient_parsing and type(error).__name__ == "BadParameter":
                raise SettingsError(self._complaint(ctx, words, error)) from error
            if ctx.resilient_parsing or type(error).__name__ != "NoSuchOption":
                raise
            known = [option for each in self.get_params(ctx) for option in (*each.opts, *each.secondary_opts)]
            unknown = str(getattr(error, "option_name", ""))
            options = [option for option in known if option.startswith("--")]
            raise SettingsError(f"unknown option {unknown!r}; {nearest(unknown, options)}") from error

    def _complaint(self, ctx: Any, words: list[str], error: Any) -> str:
        """What is wrong with the value of an option, and the value, which Typer does not name."""
        expected = error.message.removeprefix("Input should ").removeprefix("be ").partition(", unable to")[0]
        expected = f"a number {expected}" if expected.startswith(("greater", "less")) else expected
        found = self.make_parser(ctx).parse_args(args=words)[0].get(error.param.name)
        option = max(error.param.opts, key=len)
        return f"{option}: expected {expected}" + ("" if found is None else f", found {found!r}")

    def invoke(self, ctx: Any) -> Any:
        """Run the command, with a sign of life where it says nothing."""
        with pulse.beating():
            return super().invoke(ctx)

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """The words behind the name of the command."""
        return ["[OPTIONS]", *(_shape(each) for each in self.get_params(ctx) if each.param_type_name == "argument")]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Arguments and options, each with what it is."""
        rows: dict[str, list[tuple[str, str]]] = {"argument": [], "option": []}
        for each in self.get_params(ctx):
            record = each.get_help_record(ctx)
            if record is not None:
                kind, record = each.param_type_name, (record[0], _BOUNDS.sub(_in_words, record[1]))
                rows[kind].append((_shape(each), record[1]) if kind == "argument" else record)
        for title, kind in (("Arguments", "argument"), ("Options", "option")):
            if rows[kind]:
                with formatter.section(title):
                    _write_rows(formatter, rows[kind])


class Commands(TyperGroup):
    """Commands of a command line; an unknown name is answered with the known ones."""

    called = "command"

    def shell_complete(self, ctx: Any, incomplete: str) -> list[Any]:
        """Commands that a shell offers, each with one short line of what lists say of it."""
        items = super().shell_complete(ctx, incomplete)
        for item in items:
            if item.value in self.list_commands(ctx):
                item.help = self.first_sentence(ctx, item.value)
        return _brief(items)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """The words behind the name of the command line."""
        if not ctx.resilient_parsing:
            refuse_addresses(args)
        return super().parse_args(ctx, args)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command that the first word names; a ``SettingsError`` where there is none."""
        if not ctx.resilient_parsing and not args[0].startswith("-"):
            check_name(args[0], self.list_commands(ctx), self.called)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """The commands with their first sentences, however long these are."""
        with formatter.section(f"{self.called.capitalize()}s"):
            _write_rows(formatter, [(name, self.first_sentence(ctx, name)) for name in self.list_commands(ctx)])

    def first_sentence(self, ctx: Any, name: str) -> str:
        """What a list of commands says of one."""
        command = self.get_command(ctx, name)
        return "" if command is None else command.get_short_help_str()


def refuse_addresses(words: Sequence[str]) -> None:
    """Stop before anybody repeats an address: it may hold a password, and ``--storage`` alone knows what to hide.

    Raises:
        SettingsError: One stands elsewhere.
    """
    options = words.index("--") if "--" in words else len(words)  # behind it, --storage is no option
    for place, (before, word) in enumerate(zip(("", *words), words, strict=False)):
        expected = place < options and (before == "--storage" or word.startswith("--storage="))
        if "://" in word and not expected:
            where = before if before.startswith("--") else "the command line"
            raise SettingsError(
                f"{where}: found an address, which is not repeated here; expected it behind --storage alone, "
                "where study commands are told where trials are kept"
            )


class CommandLine(typer.Typer):
    """A Typer application whose commands look as ``Command`` says."""

    def command(self, name: str | None = None, *, cls: type[TyperCommand] | None = Command, **given: Any) -> Any:
        """Register a function as a command."""
        return super().command(name, cls=cls, **given)


def application(help_text: str, *, cls: type[TyperGroup] = Commands, completion: bool = False) -> CommandLine:
    """A command line whose unexpected errors keep their traceback."""
    return CommandLine(
        cls=cls,
        help=help_text,
        no_args_is_help=True,
        add_completion=completion,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
    )


def _brief(items: list[Any]) -> list[Any]:
    """Completions whose help is one short line."""
    for item in items:
        item.help = item.help and textwrap.shorten(item.help, BRIEF, placeholder=" ...")
    return items


WIDEST_NAME, GAP = 30, 2
"""Columns that the names in a list may take before what is said of one begins in the line below, and between both."""


def _write_rows(formatter: Any, rows: Sequence[tuple[str, str]]) -> None:
    """Names, and what is said of each beside it, wrapped between words alone: a name with hyphens stays whole."""
    margin = " " * formatter.current_indent
    column = min(WIDEST_NAME, max(len(name) for name, _ in rows)) + GAP
    width = max(formatter.width - len(margin) - column, 10)
    for name, said in rows:
        lines = textwrap.wrap(said, width, break_on_hyphens=False)
        if len(name) > column - GAP and lines:
            lines = ["", *lines]
        first, *others = lines or [""]
        formatter.write(f"{margin}{name:<{column}}{first}".rstrip() + "\n")
        for line in others:
            formatter.write(f"{margin}{'':<{column}}{line}\n")


def _in_words(bounds: re.Match[str]) -> str:
    """``at least 1`` for ``x>=1``, and for a range whose upper end is only there to refuse nonsense."""
    low = bounds["low"] or bounds["only"]
    at_least = f"{'at least' if (bounds['open'] or bounds['only_open']) else 'more than'} {low}"
    if bounds["high"] is None or float(bounds["high"]) >= MOST:
        return at_least
    return f"at most {bounds['high']}" if low is None else f"{at_least}, at most {bounds['high']}"


def _shape(argument: Any) -> str:
    """How an argument is typed: ``RUN``, ``RUN...`` where there may be more, in brackets where it may be left out."""
    name = argument.metavar or argument.name.upper()
    name = name if argument.required else f"[{name}]"
    return name if argument.nargs == 1 else f"{name}..."
