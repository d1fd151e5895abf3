"""``python -m ensemble.export``: a stack as a file for a runtime, which gives the same depth."""

from pathlib import Path
from typing import Annotated, Any

import typer

from ensemble import options
from ensemble.commands import completion
from ensemble.console import messages
from ensemble.runs.paths import command_line
from ensemble.settings.places import make_folder

app = options.application("A stack, or a learner, as a file for a runtime, compared with the network it is made of.")

Stack = Annotated[
    str,
    typer.Argument(
        metavar="STACK|RUN", autocompletion=completion.runs, help="A saved stack or learner, file or folder; or a run."
    ),
]
Out = Annotated[Path, typer.Argument(metavar="OUT", callback=options.place, help="The file to write.")]
Size = Annotated[
    str | None,
    typer.Option("--size", metavar="HxW|dynamic", help="That the file takes. Default: the size of the training."),
]
Pixels = Annotated[str, typer.Option("--pixels", metavar="uint8|float32", help="Of the image: 0 to 255, or 0 to 1.")]
Photographs = Annotated[
    Path | None,
    typer.Option(
        "--images",
        metavar="DIR",
        callback=options.place,
        help="Photographs to compare on; not for int8, whose cost depth tells. Default: validation scenes.",
    ),
]
Count = Annotated[
    int | None,
    typer.Option("--count", metavar="N", min=1, help="Of images to compare on. Default: 16; 64 to limit a loss."),
]
Calibrate = Annotated[
    Path | None,
    typer.Option(
        "--calibrate",
        metavar="DIR",
        callback=options.place,
        help="Photographs for the ranges of int8. Default: frames of the training; without these, those compared on.",
    ),
]
MaxLoss = Annotated[
    float | None,
    typer.Option(
        "--max-loss",
        metavar="SHARE",
        min=0,
        max=1,
        help="Of d1, that int8 (default: 0.02) or bf16 (any) may cost; REL may grow by 2.5 times this part of itself.",
    ),
]

Qat = Annotated[
    int,
    typer.Option(
        "--qat",
        metavar="STEPS",
        min=0,
        help="Train learners further as 8 bits have it: on their own data, by their own loss, without a teacher.",
    ),
]


def _precision(words: str) -> typer.models.OptionInfo:
    return typer.Option("--precision", metavar=words, help="Of weights, and of what it computes with.")


@app.command()
def onnx(
    stack: Stack,
    out: Out,
    size: Size = None,
    precision: Annotated[str, _precision("fp32|fp16|int8")] = "fp32",
    pixels: Pixels = "uint8",
    images: Photographs = None,
    count: Count = None,
    calibrate: Calibrate = None,
    max_loss: MaxLoss = None,
    qat: Qat = 0,
    cache_dir: options.CacheDir = None,
) -> None:
    """One file for ONNX Runtime, OpenVINO and browsers; fp16 keeps weights in 16 bits and computes in 32."""
    how = {"pixels": pixels, "images": images, "count": count, "calibrate": calibrate, "max_loss": max_loss, "qat": qat}
    _export("onnx", stack, out, size, cache_dir, precision=precision, **how)


@app.command()
def openvino(
    stack: Stack,
    out: Out,
    size: Size = None,
    precision: Annotated[str, _precision("fp32|fp16|bf16|int8")] = "fp32",
    pixels: Pixels = "uint8",
    images: Photographs = None,
    count: Count = None,
    calibrate: Calibrate = None,
    max_loss: MaxLoss = None,
    qat: Qat = 0,
    cache_dir: options.CacheDir = None,
) -> None:
    """OUT.xml and OUT.bin for OpenVINO, which computes in 32 bits unless bf16 is asked for."""
    how = {"pixels": pixels, "images": images, "count": count, "calibrate": calibrate, "max_loss": max_loss, "qat": qat}
    _export("openvino", stack, out, size, cache_dir, precision=precision, **how)


@app.command()
def executorch(
    stack: Stack,
    out: Out,
    size: Annotated[
        str | None, typer.Option(metavar="HxW", help="That the file takes. Default: the size of the training.")
    ] = None,
    precision: Annotated[str, _precision("fp32|int8")] = "fp32",
    pixels: Pixels = "uint8",
    images: Photographs = None,
    count: Count = None,
    calibrate: Calibrate = None,
    max_loss: MaxLoss = None,
    qat: Qat = 0,
    cache_dir: options.CacheDir = None,
) -> None:
    """One file (.pte) for ExecuTorch, which runs on phones; XNNPACK computes what it can."""
    how = {"pixels": pixels, "images": images, "count": count, "calibrate": calibrate, "max_loss": max_loss, "qat": qat}
    _export("executorch", stack, out, size, cache_dir, precision=precision, **how)


@app.command()
def torch(
    stack: Stack,
    out: Out,
    size: Size = None,
    precision: Annotated[str, _precision("fp32")] = "fp32",
    pixels: Pixels = "uint8",
    images: Photographs = None,
    count: Count = None,
    cache_dir: options.CacheDir = None,
) -> None:
    """A program of torch (.pt2), which runs without this package."""
    _export("torch", stack, out, size, cache_dir, precision=precision, pixels=pixels, images=images, count=count)


RECIPES = "fp32,fp16,bf16,int8-dynamic,int8-static,prune-50,prune-90,structured-30,kmeans-16"


@app.command()
def report(
    stack: Stack,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", callback=options.new_folder, help="For Markdown, CSV, JSON, a picture."),
    ] = None,
    recipes: Annotated[
        str, typer.Option(metavar="NAME,...", help="Also qat, int8-openvino, and other numbers.")
    ] = RECIPES,
    images: Annotated[
        str, typer.Option(metavar="DIR|validation", help="What is scored; of photographs no depth is known.")
    ] = "validation",
    count: Annotated[int, typer.Option(metavar="N", min=1, help="Of images to score.")] = 64,
    steps: Annotated[
        int, typer.Option(metavar="N", min=0, help="Of training further, by own losses: structured, qat.")
    ] = 200,
    rounds: Annotated[int, typer.Option(metavar="N", min=1, help="Of timing.")] = 15,
    cache_dir: options.CacheDir = None,
    as_json: options.Json = False,
) -> None:
    """What recipes that make networks smaller save and cost, each made as a file and measured."""
    folder = None if images == "validation" else options.place(Path(images))
    names = options.listed(recipes)

    from ensemble.deploy.compression.names import check_recipes
    from ensemble.deploy.export.request import check_photographs
    from ensemble.deploy.named import named

    check_recipes(names, steps)
    check_photographs("--images", folder)
    named(stack, cache_dir)
    if out is not None:
        make_folder(out, "--out")

    from ensemble.deploy.compression.report import Asked, compression_report
    from ensemble.deploy.compression.tables import costs_table, lessons, scores_table, write_report
    from ensemble.deploy.loading import load

    loaded = load(stack, device="cpu", cache_dir=cache_dir)
    found = compression_report(loaded, Asked(names, folder, count, steps, rounds))
    tables = [costs_table(found), *([scores_table(found)] if found.rows[0].means else [])]
    options.show(*tables, plain=found.to_json(), as_json=as_json)
    for sentence in (*lessons(found), *(f"{name}: not met, because {why}" for name, why in found.unmet.items())):
        messages.print(sentence)
    if out is not None:
        messages.print(f"{out}: {', '.join(write_report(found, out))}")


def _export(
    kind: str, stack: str, out: Path, size: str | None, cache_dir: Path | None, *, precision: str, **how: Any
) -> None:
    """Write the file; ``how`` is the rest of what ``ExportRequest`` holds."""
    fixed = None if size in (None, "dynamic") else options.parse_size(size)

    from ensemble.deploy.export.request import ExportRequest
    from ensemble.deploy.named import named

    asked = ExportRequest(kind, fixed, precision, **how)
    asked.check_place(out)
    if size is not None:
        asked.check_size()
    named(stack, cache_dir)

    from ensemble.deploy.export.write import export, say
    from ensemble.deploy.loading import load

    loaded = load(stack, device="cpu", cache_dir=cache_dir)
    if size is None:
        asked = asked.at(loaded.trained_size)
    say(export(loaded, out, asked), out, precision, loaded.network)
    if kind != "torch":
        messages.print(f"next: {command_line('meta', 'predict', str(out), 'IMAGE', '--out', 'DIR')}")


if __name__ == "__main__":
    options.run(app)
