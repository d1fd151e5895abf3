"""Command line of the data: ``python -m ensemble.data doctor ROOT`` and ``python -m ensemble.data rooms OUT``."""

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ensemble import options
from ensemble.setting_trees import SettingsError

if TYPE_CHECKING:
    from rich.progress import Progress
    from rich.table import Table

    from ensemble.data.doctor import Diagnosis

app = typer.Typer(help="Copies of NYU Depth v2 and generated rooms.", no_args_is_help=True, add_completion=False)


@app.command()
def doctor(
    root: Annotated[Path, typer.Argument(help="Folder of the copy.")],
    full: Annotated[bool, typer.Option("--full", help="Decode every frame, not a sample.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON in place of the table.")] = False,
) -> None:
    """Which copy of NYU Depth v2 this is, what it holds, and what is wrong with it; exit code 1 if anything is."""
    from rich.console import Console

    from ensemble.data.doctor import diagnose

    with _progress(f"decoding {root}") as progress:
        task = progress.add_task("frames", total=None)
        diagnosis = diagnose(
            root, full=full, on_frame=lambda done, total: progress.update(task, completed=done, total=total)
        )
    if as_json:
        content = {**dataclasses.asdict(diagnosis), "trainable": diagnosis.trainable}
        typer.echo(json.dumps(content, indent=2, default=str))
    else:
        console = Console()
        console.print(f"{root}: {diagnosis.title}", markup=False, highlight=False)
        console.print(_table(diagnosis))
        for finding in diagnosis.findings:
            console.print(f"{finding.level}: {finding.text}", markup=False, highlight=False, soft_wrap=True)
        console.print(_verdict(diagnosis), markup=False, highlight=False, soft_wrap=True)
    if not diagnosis.trainable:
        raise typer.Exit(1)


@app.command()
def rooms(
    out: Annotated[Path, typer.Argument(help="Folder to create.")],
    scenes: Annotated[int, typer.Option(min=1, help="Training scenes.")] = 40,
    frames: Annotated[int, typer.Option(min=1, help="Frames per scene.")] = 6,
    test_scenes: Annotated[int, typer.Option(min=1, help="Test scenes.")] = 10,
    size: Annotated[str, typer.Option(help="Height and width.", metavar="HxW")] = "480x640",
    seed: Annotated[int, typer.Option(min=0, help="Everything follows from it.")] = 0,
    holes: Annotated[bool, typer.Option("--holes", help="Drop depth where a Kinect would.")] = False,
    noise: Annotated[bool, typer.Option("--noise", help="Add a Kinect's depth noise.")] = False,
) -> None:
    """Writes generated rooms in the BTS layout, official_splits/{train,test}/<scene>/."""
    from ensemble.config import RoomsSettings
    from ensemble.data.rooms import write_rooms

    try:
        pixels = options.parse_size(size)
    except SettingsError as error:
        raise typer.BadParameter(str(error)) from error
    settings = RoomsSettings(scenes=scenes, test_scenes=test_scenes, frames=frames, seed=seed, holes=holes, noise=noise)
    with _progress(f"writing {out}") as progress:
        task = progress.add_task("frames", total=None)
        count = write_rooms(
            out,
            settings,
            pixels,
            lambda done, total: progress.update(task, completed=done, total=total),
        )
    typer.echo(f"{out}: {count} frames of {scenes} training and {test_scenes} test scenes")


def _progress(title: str) -> "Progress":
    """A progress bar on stderr that leaves nothing behind."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    return Progress(
        TextColumn(title.replace("{", "{{").replace("}", "}}"), markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )


def _table(diagnosis: "Diagnosis") -> "Table":
    from rich.table import Table

    table = Table("", *diagnosis.splits)
    reports = list(diagnosis.splits.values())
    table.add_row("frames", *(f"{report.frames}" for report in reports))
    table.add_row("scenes", *(f"{report.scenes}" for report in reports))
    table.add_row("decoded", *(f"{report.decoded}" for report in reports))
    table.add_row("sizes", *(", ".join(f"{h}x{w}" for h, w in report.sizes) for report in reports))
    for name in ("nearest", "median", "farthest"):
        depths = (getattr(report, name) for report in reports)
        table.add_row(f"{name} depth", *("-" if depth is None else f"{depth:.3f} m" for depth in depths))
    table.add_row("holes", *("-" if report.holes is None else f"{report.holes:.1%}" for report in reports))
    table.add_row("image border", *(report.border for report in reports))
    return table


def _verdict(diagnosis: "Diagnosis") -> str:
    errors = sum(finding.level == "error" for finding in diagnosis.findings)
    if errors:
        return f"Not ready to train on: {errors} errors."
    test = "" if "test" in diagnosis.splits else " --set data.test=held-out"
    return f"Ready. Run: python -m ensemble.base train adabins --data nyu --root {diagnosis.root}{test}"


if __name__ == "__main__":
    options.run(app)
