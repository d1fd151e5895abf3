"""Options that several command lines share, how they show tables, and how their errors end."""

import errno
import os
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import typer

from ensemble.commands import completion
from ensemble.commands.application import application as application
from ensemble.console import messages, print_json, results
from ensemble.metrics.published import ALL, PROTOCOLS
from ensemble.runs.allocator import keep_large_blocks, keep_large_blocks_of_children
from ensemble.runs.launched import check_numbers
from ensemble.runs.refusals import refusal
from ensemble.runs.stopping import Stopped, ends_with, stop_within, stoppable
from ensemble.settings.kinds import COPY, GENERATED, facts_of, kinds_on_disk, known_kinds
from ensemble.settings.layers import Choice, experiment_name
from ensemble.settings.names import known_learners
from ensemble.settings.packaged import config_file
from ensemble.settings.places import at_home, folder_to_write
from ensemble.settings.schema import LARGEST_SIDE
from ensemble.settings.trees import SettingsError, assignments_of, check_name
from ensemble.tables import Table
from ensemble.tables.terminal import TerminalTable

_VARIABLE = facts_of(COPY).variable
_PLACES = ", ".join(f"{facts_of(kind).variable} for {kind}" for kind in kinds_on_disk())


def place(value: Path | None) -> Path | None:
    """Callback of every option and argument that names a file or a folder."""
    return None if value is None else at_home(value)


def new_folder(param: typer.CallbackParam, value: Path | None) -> Path | None:
    """The same of those that name a folder to write to, which may be there."""
    named = param.metavar if param.param_type_name == "argument" else max(param.opts, key=len)
    return None if value is None else folder_to_write(at_home(value), named or "")


def places(values: list[Path]) -> list[Path]:
    """The same of arguments that name several, all of which must be there.

    Raises:
        SettingsError: One is not.
    """
    found = [at_home(value) for value in values]
    for path in found:
        if not path.exists():
            raise SettingsError(f"{path}: there is no such file or folder")
    return found


def at_homes(values: list[Path]) -> list[Path]:
    """The same of arguments that may be missing: those that are there are dealt with all the same."""
    return [at_home(value) for value in values]


def some_places(values: list[Path] | None) -> list[Path] | None:
    """The same of options that name several or none."""
    return places(values) if values else None


Data = Annotated[
    str | None,
    typer.Option(
        metavar="|".join(known_kinds()),
        help=f"Kind of data. Default: {COPY} where --root or {_VARIABLE} names a copy, else {GENERATED}.",
    ),
]
Root = Annotated[
    Path | None, typer.Option(metavar="DIR", callback=place, help=f"Folder of the data. Default: {_PLACES}.")
]
Config = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE|NAME",
        callback=config_file,
        autocompletion=completion.configs,
        help="Experiment (YAML) that wins over the packaged defaults and may name further learners: a file, or the "
        "name of a packaged one.",
    ),
]
Assignments = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="One setting, such as training.lr=3e-4.")
]
Experiment = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        autocompletion=completion.experiments,
        help="Names the folders below the cache that belong together.",
    ),
]
CacheDir = Annotated[
    Path | None,
    typer.Option(
        "--cache-dir",
        metavar="DIR",
        callback=place,
        help="Where everything is written. Default: STACKDEPTH_CACHE, else cache.",
    ),
]
Seeds = Annotated[
    str | None,
    typer.Option(metavar="N,...", help="Repeat with these seeds; the run of the settings' own seed keeps its name."),
]
Resume = Annotated[
    str | None,
    typer.Option(metavar="RUN", autocompletion=completion.runs, help="Go on with this run, with its own settings."),
]
Learner = Annotated[
    str,
    typer.Argument(
        metavar="LEARNER",
        autocompletion=completion.learners,
        help=f"A learner of ours ({', '.join(known_learners())}), or a further one that the experiment file names "
        "(learners.NAME.architecture).",
    ),
]
AnyLearner = Annotated[
    str,
    typer.Argument(
        metavar="LEARNER",
        autocompletion=completion.learners,
        help=f"A learner of ours ({', '.join(known_learners())}), a further one that the experiment file names "
        "(learners.NAME.architecture), or an imported one.",
    ),
]
Fresh = Annotated[bool, typer.Option("--fresh", help="Throw away what an earlier run of this name has written.")]
Wandb = Annotated[
    bool, typer.Option("--wandb", help="Track with Weights & Biases as well; offline where there is no key.")
]
KINDS = ("depth", "error", "weights", "pictures")
DEFAULT_KINDS = "depth,error,pictures"
FORMATS = ("png", "npy", "npz", "tiff", "exr")
DEFAULT_FORMATS = "png,npy"
"""What is written of a photograph, and how."""

Out = Annotated[Path, typer.Option(metavar="DIR", callback=new_folder, help="Folder to write to.")]
Images = Annotated[
    list[Path], typer.Argument(metavar="IMAGE|DIR", callback=at_homes, help="Photographs of any size and make.")
]
Only = Annotated[str, typer.Option(metavar="KIND,...", help=f"{', '.join(KINDS)}.")]
Formats = Annotated[
    str,
    typer.Option(
        "--format",
        metavar="NAME,...",
        help=f"{', '.join(FORMATS)} (extra exr); png is depth alone, in mm, or in 1/256 m beyond 65.5 m.",
    ),
]
OutputSize = Annotated[
    str | None, typer.Option(metavar="image|working", help="Of what is written. Default: the image's, to 1 Mpixel.")
]
Device = Annotated[str, typer.Option(metavar="auto|cpu|cuda", help="Where to predict.")]
Runtime = Annotated[
    str | None,
    typer.Option(
        metavar="onnx|openvino|executorch",
        help="That computes an exported file. Default: by its ending, .onnx, .xml or .pte.",
    ),
]
NoFlip = Annotated[bool, typer.Option("--no-flip", help="Do not average with the mirrored image: half the time.")]
FieldOfView = Annotated[
    float | None,
    typer.Option("--fov", metavar="DEGREES", help="Across the width of the photographs. Default: what EXIF tells."),
]
Saved = Annotated[
    Path, typer.Argument(metavar="OUT", callback=place, help="A file such as kitchen.stack, or a folder without a dot.")
]
Half = Annotated[bool, typer.Option("--half", help="Keep weights in 16 bits, and say what that costs.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
Published = Annotated[bool, typer.Option("--published", help="Print the published rows below (other data, no match).")]
Protocols = Annotated[
    str | None,
    typer.Option(
        "--protocol",
        metavar="NAME,...",
        help=f"Score the same rows by published rules as well: {', '.join(PROTOCOLS)}, or all for the data.",
    ),
]


def run(app: typer.Typer, name: str | None = None) -> None:
    """Run a command line; what a person can mend ends with a message and no traceback.

    Exit status 2 stands for a mistake in what was asked, 1 for anything that went wrong while doing it, 143 for an end
    by SIGTERM and 130 for one by SIGINT. ``STACKDEPTH_TRACEBACK=1`` shows where an error was raised.

    Args:
        app: The command line.
        name: What a person types for it; as Python tells where absent.
    """
    settle()
    with stoppable():
        try:
            _run(app, name)
        except Stopped as stop:
            messages.print(str(stop))
            ends_with(stop.status)
            sys.exit(stop.status)
        except SystemExit as end:
            ends_with(end.code)
            raise


def _run(app: typer.Typer, name: str | None) -> None:
    try:
        check_numbers()
        app(prog_name=name)
    except Exception as error:
        if (stop := stop_within(error)) is not None:
            raise stop from error
        if not isinstance(error, ValueError | OSError | FloatingPointError | MemoryError | RuntimeError):
            raise
        reason = refusal(error) if isinstance(error, MemoryError | RuntimeError) else None
        if os.environ.get("STACKDEPTH_TRACEBACK") or (isinstance(error, RuntimeError) and reason is None):
            raise
        less = "lower data.size, training.batch_size or the widths of the network, then run the same command again"
        messages.print(f"error: {f'{reason} ({error}); {less}' if reason else error}", style="red")
        no_name = isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG  # found where it is looked up first
        sys.exit(2 if isinstance(error, SettingsError) or no_name else 1)


def show(*tables: Table, plain: object = None, as_json: bool = False) -> None:
    """Print what was asked for: tables as wide as the terminal allows, or the same as JSON, from data or from text."""
    if as_json:
        print_json(plain)
        return
    for table in tables:
        results.print(TerminalTable(table))


def choice(
    data: str | None,
    root: Path | None,
    config: Path | None,
    assignments: list[str] | None,
    experiment: str | None,
) -> Choice:
    """What the shared options choose; ``--experiment`` is one of the ``--set`` values."""
    named = [] if experiment is None else assignments_of({"experiment": experiment})
    return Choice(data, root, config, (*(assignments or ()), *named))


def experiment_words(choice: Choice, experiment: str) -> list[str]:
    """The option that names an experiment in a further command line, where the others would choose another one."""
    return [] if experiment == experiment_name(replace(choice, assignments=())) else ["--experiment", experiment]


def root_words(root: Path | None) -> list[str]:
    """The option that names the folder of the data in a further command line, where it was given."""
    return [] if root is None else ["--root", str(root)]


def listed(text: str) -> tuple[str, ...]:
    """The words of ``depth,error``, in their order."""
    return tuple(word.strip() for word in text.split(","))


def chosen(text: str, known: Sequence[str], option: str) -> tuple[str, ...]:
    """The words of ``depth,error``, each known and once.

    Raises:
        SettingsError: One is unknown.
    """
    words = listed(text)
    for word in words:
        check_name(word, known, option)
    return tuple(dict.fromkeys(words))


@dataclass(frozen=True)
class Wanted:
    """What is to be written of photographs.

    Attributes:
        kinds: Of ``KINDS``.
        formats: Of ``FORMATS``.
        size: ``image``, ``working``, or ``None``: the image's as long as that is not large.
        flip: ``False`` predicts once; ``None`` as it was scored.
        fov: Degrees across the width of every photograph; ``None`` leaves it to their EXIF data.
    """

    kinds: tuple[str, ...]
    formats: tuple[str, ...]
    size: str | None
    flip: bool | None
    fov: float | None = None

    @classmethod
    def of(
        cls, only: str, formats: str, size: str | None, device: str, *, no_flip: bool, fov: float | None = None
    ) -> "Wanted":
        """Out of the options.

        Raises:
            SettingsError: A word is unknown, or no camera has such a field of view.
        """
        if fov is not None and not 0 < fov < 180:
            raise SettingsError(f"--fov {fov:g}: expected degrees across the width, more than 0 and less than 180")
        check_name(device, ("auto", "cpu", "cuda"), "device")
        if size is not None:
            check_name(size, ("image", "working"), "size")
        kinds, endings = chosen(only, KINDS, "kind of file"), chosen(formats, FORMATS, "format")
        return cls(kinds, endings, size, False if no_flip else None, fov)


def parse_seeds(text: str | None) -> list[int]:
    """Seeds out of ``0,1,2``; none where the option is absent.

    Raises:
        SettingsError: The text is something else, or a seed stands twice.
    """
    if text is None:
        return []
    words = listed(text)
    if not all(re.fullmatch("[0-9]{1,18}", word) for word in words) or len({*map(int, words)}) < len(words):
        raise SettingsError(f"--seeds {text!r}: expected different whole numbers such as 0,1,2")
    return [int(word) for word in words]


def parse_protocols(text: str | None) -> tuple[str, ...]:
    """Names out of ``bts,fastdepth``, each once; none where the option is absent, and ``all`` stays what it is.

    Raises:
        SettingsError: A name is not that of a published protocol.
    """
    words = listed(text) if text is not None else ()
    if words == (ALL,):
        return words
    for word in words:
        check_name(word, PROTOCOLS, "protocol")
    return tuple(dict.fromkeys(words))


def parse_budget(text: str | None) -> list[str]:
    """Settings out of ``500steps`` or ``300seconds``; they replace a budget of the other kind.

    Raises:
        SettingsError: The text is something else.
    """
    if text is None:
        return []
    match = re.fullmatch(r"([1-9][0-9]{0,8}) ?(steps|seconds)", text.strip())
    if match is None:
        raise SettingsError(f"--budget {text!r}: expected a whole number of steps or seconds, such as 500steps")
    other = {"steps": "seconds", "seconds": "steps"}[match.group(2)]
    return [f"training.max_{match.group(2)}={match.group(1)}", f"training.max_{other}=null"]


def default_size(kind: str) -> str:
    """Height and width of the frames of a kind of data, as ``parse_size`` reads them."""
    return "{}x{}".format(*facts_of(kind).frame)


def parse_size(text: str, *, smallest: int = 1) -> tuple[int, int]:
    """Height and width out of ``HxW``.

    Raises:
        SettingsError: The text is something else.
    """
    match = re.fullmatch(r"([0-9]{1,5})x([0-9]{1,5})", text.strip())
    if match is None or not all(int(number) for number in match.groups()):
        raise SettingsError(f"--size {text!r}: expected HEIGHTxWIDTH, for example {default_size(COPY)}")
    height, width = (int(number) for number in match.groups())
    if min(height, width) < smallest or max(height, width) > LARGEST_SIDE:
        raise SettingsError(f"--size {text!r}: expected sides of at least {smallest} and at most {LARGEST_SIDE} pixels")
    return height, width


SPINS = "10000"
"""Torch's waiting threads spin for long, which slows a busy machine down many times; without spinning an idle machine
takes twice as long. In between both are well."""


def settle() -> None:
    """Set up this process, before torch is imported, and those that it will start; a person's own settings win."""
    os.environ.setdefault("GOMP_SPINCOUNT", SPINS)
    keep_large_blocks()
    keep_large_blocks_of_children()  # whose settings would be those of a person here
