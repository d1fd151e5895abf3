"""``stackdepth``: all command lines by one name; ``stackdepth base train`` is ``python -m ensemble.base train``."""

import importlib
from collections.abc import Mapping
from importlib.metadata import version
from typing import Annotated, Any

import typer

from ensemble import options
from ensemble.commands.application import Commands, application
from ensemble.console import name_commands, results
from ensemble.settings.trees import SettingsError

TOOLS: Mapping[str, tuple[str, str]] = {
    "predict": ("ensemble.predict", "Depth of photographs, by a network that comes with the package."),
    "base": ("ensemble.base", "Learners: train, cache, import, verify, evaluate, save, predict."),
    "meta": ("ensemble.meta", "Stacks: fit, evaluate, save, fuse, predict."),
    "study": ("ensemble.study", "Studies with Optuna: run, show, compare."),
    "export": ("ensemble.export", "Files for ONNX Runtime, OpenVINO, ExecuTorch and torch."),
    "points": ("ensemble.points", "A photograph as coloured points in space."),
    "video": ("ensemble.video", "A film, or a camera, with its depth beside it."),
    "view": ("ensemble.view", "A page in the browser: photographs and their depth."),
    "report": ("ensemble.report.__main__", "Tables with error bars and one page."),
    "data": ("ensemble.data.__main__", "Copies of a data set: doctor, pack, rooms."),
    "demo": ("ensemble.demo", "The whole job on generated rooms."),
}


class Tools(Commands):
    """Every command line as a command of its own, imported when it is named."""

    called = "tool"

    def list_commands(self, ctx: Any) -> list[str]:
        """Their names in the order of the work."""
        return list(TOOLS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command line of a name."""
        if cmd_name not in TOOLS:
            return None
        return typer.main.get_command(importlib.import_module(TOOLS[cmd_name][0]).app)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """The words of a command line; none at all ask for help."""
        return super().parse_args(ctx, args if args or ctx.resilient_parsing else ["--help"])

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The tool that the first word names; a ``SettingsError`` names those that have a command of that name."""
        word = args[0]
        if word not in TOOLS and not word.startswith("-") and not ctx.resilient_parsing:
            having = [tool for tool in TOOLS if word in getattr(self.get_command(ctx, tool), "commands", ())]
            if having:
                told = " or ".join(f"stackdepth {tool} {word}" for tool in having)
                raise SettingsError(f"unknown {self.called} {word!r}; did you mean {told}?")
        return super().resolve_command(ctx, args)

    def first_sentence(self, ctx: Any, name: str) -> str:
        """What a list says of one, without its import."""
        return TOOLS[name][1]


app = application("Monocular depth: learners, stacks of them, and studies.", cls=Tools, completion=True)


def _say_version(wanted: bool) -> None:
    if wanted:
        results.print(f"stackdepth {version('stackdepth')}")
        raise typer.Exit


@app.callback()
def tools(
    version: Annotated[
        bool, typer.Option("--version", callback=_say_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Monocular depth: learners, stacks of them, and studies."""


def main() -> None:
    """Hand the words over to the tool that the first of them names."""
    name_commands("stackdepth ")
    options.run(app, "stackdepth")


if __name__ == "__main__":
    main()
