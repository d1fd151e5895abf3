"""Command line of the data: ``python -m ensemble.data doctor ROOT``, ``pack ROOT OUT`` and ``rooms OUT``."""

import shlex
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ensemble import options
from ensemble.console import counted, messages, print_json, results
from ensemble.console.pulse import pulse
from ensemble.settings.complaints import validated
from ensemble.settings.kinds import COPY, GENERATED, KITTI, OWN, facts_of, kinds_on_disk
from ensemble.settings.layers import Choice, data_settings
from ensemble.settings.schema import MOST, MOST_FRAMES, MOST_PROCESSES, RoomsSettings
from ensemble.settings.trees import SettingsError, check_name, parse_assignments
from ensemble.tables import Table, plain_table
from ensemble.tables.terminal import TerminalTable

if TYPE_CHECKING:
    from rich.progress import Progress

    from ensemble.data.doctor.diagnosis import Diagnosis, Finding, SplitReport

_COPY = facts_of(COPY).title
_KINDS = "|".join(kinds_on_disk())
_SIZES_SHOWN = 3
_ROOM_SIZE = options.default_size(GENERATED)

app = options.application("Data to train on: copies, own images and depth, generated rooms.")


@app.command()
def doctor(
    root: Annotated[Path, typer.Argument(metavar="ROOT", callback=options.place, help="Folder of the data.")],
    data: Annotated[
        str | None,
        typer.Option(metavar=_KINDS, help=f"Kind of data. Default: what --config says, else a copy of {_COPY}."),
    ] = None,
    config: options.Config = None,
    assignments: options.Assignments = None,
    full: Annotated[bool, typer.Option("--full", help="Decode every frame, not a sample.")] = False,
    infilled: Annotated[bool, typer.Option("--infilled", help="In-filled depth where a copy has both kinds.")] = False,
    workers: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, max=MOST_PROCESSES, help="Processes that decode. Default: one per core."),
    ] = None,
    as_json: options.Json = False,
) -> None:
    """What a folder holds, which copy it is or how own data are read, and what is wrong; exit code 1 if anything is."""
    for section in parse_assignments(assignments or ()):
        check_name(section, ("data",), "section of --set for the doctor:")
    choice = Choice(data, root, config, assignments or ())
    settings = data_settings(choice)
    check_name(settings.reader, (COPY, KITTI, OWN), "kind of data to look at:")

    with _bar("decoding" if full else "looking") as progress:
        on_frame = _counted(progress, "frames")
        if settings.reader == KITTI:
            from ensemble.data.doctor.kitti import diagnose_kitti

            diagnosis = diagnose_kitti(root, settings, choice, full=full, workers=workers, on_frame=on_frame)
        elif settings.reader == OWN:
            from ensemble.data.doctor.own_data import diagnose_folder

            diagnosis = diagnose_folder(root, settings, choice, full=full, workers=workers, on_frame=on_frame)
        else:
            from ensemble.data.doctor.diagnosis import diagnose

            filled = infilled or settings.infilled
            looked = {"full": full, "infilled": filled, "workers": workers, "on_frame": on_frame}
            diagnosis = diagnose(root, **looked, words=_words(choice), held_out=settings.test == "held-out")
    if as_json:
        print_json(diagnosis.summary())
    else:
        _show(diagnosis)
    if not diagnosis.trainable:
        raise typer.Exit(1)


def _words(choice: Choice) -> list[str]:
    """The options that chose the settings of a copy, for the command that trains on it."""
    kind = [] if choice.config is not None or choice.kind is not None else ["--data", COPY]
    return [*kind, *choice.words, *(word for each in choice.assignments for word in ("--set", each))]


@app.command()
def rooms(
    out: Annotated[Path, typer.Argument(metavar="OUT", callback=options.new_folder, help="Folder to create.")],
    scenes: Annotated[int, typer.Option(metavar="N", min=1, max=MOST_FRAMES, help="Training scenes.")] = 40,
    frames: Annotated[int, typer.Option(metavar="N", min=1, max=MOST_FRAMES, help="Frames per scene.")] = 6,
    test_scenes: Annotated[int, typer.Option(metavar="N", min=1, max=MOST_FRAMES, help="Test scenes.")] = 10,
    size: Annotated[
        str | None, typer.Option(help=f"Height and width. Default: {_ROOM_SIZE}.", metavar="HxW", show_default=False)
    ] = None,
    seed: Annotated[int, typer.Option(metavar="N", min=0, max=MOST, help="Everything follows from it.")] = 0,
    holes: Annotated[bool, typer.Option("--holes", help="Drop depth where a Kinect would.")] = False,
    noise: Annotated[bool, typer.Option("--noise", help="Add a Kinect's depth noise.")] = False,
    outdoor: Annotated[
        bool, typer.Option("--outdoor", help="Streets in KITTI's layout: road, facades, cars, sky, sparse depth.")
    ] = False,
) -> None:
    """Writes generated rooms in the BTS layout, official_splits/{train,test}/<scene>/; or streets, as KITTI."""
    tree = {"scenes": scenes, "test_scenes": test_scenes, "frames": frames, "seed": seed, "holes": holes}
    settings = validated(RoomsSettings, {**tree, "noise": noise})
    if outdoor:
        _write_streets(out, settings, size)
        return
    from ensemble.data.rooms.source import write_rooms

    pixels = options.parse_size(size or _ROOM_SIZE)
    with _bar(f"writing {out}") as progress:
        count = write_rooms(out, settings, pixels, _counted(progress, "frames"))
    results.print(
        f"{out}: {counted(count, 'frame')} of {scenes} training and {test_scenes} test scenes", soft_wrap=True
    )


def _write_streets(out: Path, settings: RoomsSettings, size: str | None) -> None:
    if size is not None or settings.holes or settings.noise:
        raise SettingsError(
            "--outdoor: expected no --size, --holes or --noise, found one of them; frames have the sizes of KITTI's "
            "dates, and scans the noise of its laser"
        )
    from ensemble.data.rooms.drives import write_drives

    with _bar(f"writing {out}") as progress:
        count = write_drives(out, settings, _counted(progress, "frames"))
    results.print(
        f"{out}: {counted(count, 'frame')} of {settings.scenes} training and {settings.test_scenes} test drives; "
        f"train with --data {KITTI} --root {shlex.quote(str(out))}",
        soft_wrap=True,
    )


@app.command()
def pack(
    root: Annotated[Path, typer.Argument(metavar="ROOT", callback=options.place, help="Folder of the copy.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", callback=options.new_folder, help="Folder of the pack.")],
    sample: Annotated[bool, typer.Option("--sample", help="The doctor decodes a sample first, not all.")] = False,
    infilled: Annotated[bool, typer.Option("--infilled", help="In-filled depth where a copy has both kinds.")] = False,
    rebuild: Annotated[bool, typer.Option("--rebuild", help="Throw away what is there and begin anew.")] = False,
    codec: Annotated[
        str, typer.Option(metavar="none|lz4", help="none, or lz4: 30 % smaller, slower to read.")
    ] = "none",
    data: Annotated[
        str, typer.Option(metavar=f"{COPY}|{KITTI}", help="Kind of data; of frames of several sizes the KB crop.")
    ] = COPY,
    assignments: options.Assignments = None,
) -> None:
    """Packs a copy for fast training; a pack that was not finished goes on. Use it like any copy: --root OUT."""
    check_name(data, (COPY, KITTI), "kind of data to pack:")
    settings = data_settings(Choice(data, root, None, assignments or ())) if data == KITTI else None

    from ensemble.data.packs.writing import write_pack

    with _bar(f"packing {out}") as progress:
        count = write_pack(
            root,
            out,
            full=not sample,
            infilled=infilled,
            rebuild=rebuild,
            codec=codec,
            data=settings,
            on_look=_counted(progress, "doctor"),
            on_frame=_counted(progress, "frames"),
        )
    results.print(
        f"{out}: {counted(count, 'frame')}, read back and compared; "
        f"train with --data {data} --root {shlex.quote(str(out))}",
        soft_wrap=True,
    )


@contextmanager
def _bar(title: str) -> Iterator["Progress"]:
    """The same while it is shown; elsewhere a line of dots knows what is being done."""
    with _progress(title) as progress:
        if progress.disable:
            pulse.doing = title
            yield progress
        else:
            with pulse.muted():
                yield progress


def _progress(title: str) -> "Progress":
    """A progress bar on stderr that leaves nothing behind, and none where there is no terminal."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    return Progress(
        TextColumn(title.replace("{", "{{").replace("}", "}}"), markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=messages,
        transient=True,
        disable=not messages.is_terminal,
    )


def _counted(progress: "Progress", name: str) -> Callable[[int, int], None]:
    """A line of the progress bar, and what tells it how many of all are done."""
    task = progress.add_task(name, total=None)

    def count(done: int, total: int) -> None:
        progress.update(task, completed=done, total=total)
        if progress.disable:
            pulse.doing = f"{name}: {done} of {total}"

    return count


def _show(diagnosis: "Diagnosis") -> None:
    """The diagnosis for a person: what it is, a table, the findings, and what to do next."""
    results.print(f"{diagnosis.title} in {diagnosis.root}", soft_wrap=True)
    if diagnosis.splits:
        results.print(TerminalTable(_table(diagnosis)))
        counts = [f"{count} {kind}" for kind, count in diagnosis.files.items() if count]
        results.print(f"files: {', '.join(counts) or 'none missing, damaged or doubled'}\n")
    for finding in sorted(diagnosis.findings, key=lambda finding: finding.level):
        _show_finding(finding, diagnosis.root)
    results.print()
    if diagnosis.command:
        sample = "" if diagnosis.full else ", as far as a sample tells (--full decodes every frame)"
        results.print(f"Ready to train{sample}:\n{diagnosis.command}", soft_wrap=True)
    else:
        errors = sum(finding.level == "error" for finding in diagnosis.findings)
        results.print(f"Not ready to train: {errors} {'error' if errors == 1 else 'errors'}, see above.")


def _show_finding(finding: "Finding", root: Path) -> None:
    """A finding: on a terminal indented, with short paths; elsewhere on one line, so that it can be searched for."""
    from rich.table import Table as Grid

    if not results.is_terminal:
        results.print(f"{finding.level}: {finding.text}", soft_wrap=True)
        return
    row = Grid.grid(padding=(0, 1))
    row.add_column(style="red" if finding.level == "error" else "cyan", width=len("error"))
    row.add_column(overflow="fold")
    row.add_row(finding.level, finding.text.replace(f"{root}/", ""))
    results.print(row)


def _table(diagnosis: "Diagnosis") -> Table:
    reports = list(diagnosis.splits.values())
    published = (f" of {report.published}" if report.published else "" for report in reports)
    lines = [
        ("frames", *(f"{report.frames}{of}" for report, of in zip(reports, published, strict=True))),
        ("scenes", *(f"{report.scenes}" for report in reports)),
        ("decoded", *(f"{report.decoded}" for report in reports)),
        ("height x width", *(_sizes(report) for report in reports)),
        *((f"{name} depth", *map(_metres, values)) for name, values in _depths(reports).items()),
        ("depth scale", *(report.scale for report in reports)),
        _measured_share(reports),
    ]
    if any(report.border != "unknown" for report in reports):
        lines.append(("image border", *(report.border for report in reports)))
    return plain_table(["", *diagnosis.splits], lines)


def _sizes(report: "SplitReport") -> str:
    """The sizes of a split, the first few of many."""
    shown = ", ".join(f"{height}x{width}" for height, width in report.sizes[:_SIZES_SHOWN])
    return f"{shown}, {len(report.sizes)} in all" if len(report.sizes) > _SIZES_SHOWN else shown or "-"


def _depths(reports: Sequence["SplitReport"]) -> dict[str, list[float | None]]:
    """Depths of every split by name, the nearest first: quantiles in place of the median where they are known."""
    named = ("nearest", "median", "farthest")
    depths: dict[str, list[float | None]] = {name: [getattr(report, name) for report in reports] for name in named}
    known = next((report.quantiles for report in reports if report.quantiles), None)
    if known is None:
        return depths
    between = {name: [(report.quantiles or {}).get(name) for report in reports] for name in known}
    return {"nearest": depths["nearest"], **between, "farthest": depths["farthest"]}


def _measured_share(reports: Sequence["SplitReport"]) -> tuple[str, ...]:
    """Holes of copies, which have few; pixels with a truth of own data, which may have few."""
    if any(report.quantiles for report in reports):
        return "valid pixels", *("-" if report.holes is None else f"{1 - report.holes:.1%}" for report in reports)
    return "holes", *("-" if report.holes is None else f"{report.holes:.1%}" for report in reports)


def _metres(depth: float | None) -> str:
    return "-" if depth is None else f"{depth:.3f} m"


if __name__ == "__main__":
    options.run(app)
