"""``python -m ensemble.video``: a film, or a camera, with its depth beside it."""

from pathlib import Path
from typing import Annotated

import typer

from ensemble import options
from ensemble.commands import completion
from ensemble.deploy.video import WIDEST
from ensemble.settings.trees import SettingsError

app = options.application("A film, or a camera, with its depth beside it.")


@app.command()
def video(
    stack: Annotated[
        str,
        typer.Argument(
            metavar="STACK|RUN", autocompletion=completion.runs, help="A saved stack or learner, a run, or an export."
        ),
    ],
    source: Annotated[
        str,
        typer.Argument(
            metavar="FILE|CAMERA|-",
            help="A film, a pipe (-: standard input), or the number of a camera, such as 0; Ctrl-C ends it.",
        ),
    ],
    out: Annotated[Path, typer.Option(metavar="FILE.mp4", callback=options.place, help="Film to write (H.264).")],
    depth: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.mkv|FILE.npz",
            callback=options.place,
            help="Depth to write: 16-bit millimetres without loss (FFV1), or metres (NumPy).",
        ),
    ] = None,
    alone: Annotated[bool, typer.Option("--alone", help="Depth alone, not beside the photographs.")] = False,
    limits: Annotated[
        str | None,
        typer.Option(
            "--range", metavar="NEAR,FAR", help="Metres of the first and last colour. Default: by samples of the film."
        ),
    ] = None,
    smooth: Annotated[
        float | None,
        typer.Option(metavar="SECONDS", min=0.001, help="Average depth over time, anew at cuts and where it jumps."),
    ] = None,
    seconds: Annotated[float | None, typer.Option(metavar="SECONDS", min=0.001, help="Stop after so many.")] = None,
    width: Annotated[
        int, typer.Option(metavar="N", min=64, help="Columns of the film at most; wider ones are written smaller.")
    ] = WIDEST,
    fov: options.FieldOfView = None,
    device: options.Device = "auto",
    no_flip: options.NoFlip = False,
    cache_dir: options.CacheDir = None,
) -> None:
    """A film of depth beside its photographs, with one scale of colours from its first frame to its last."""
    options.Wanted.of("depth", "npy", None, device, no_flip=no_flip, fov=fov)
    ends = None if limits is None else _limits(limits)

    from ensemble.data.formats.packages import needed

    needed("av", extra="video", kind="a film", where=source)

    from ensemble.deploy.opening import open_any
    from ensemble.deploy.video.film import FilmRequest, film
    from ensemble.deploy.video.reading import FilmSource
    from ensemble.deploy.video.writing import check_endings

    check_endings(out, depth)
    found = FilmSource.named(source)
    loaded = open_any(stack, device=device, flip=False if no_flip else None, cache_dir=cache_dir)
    film(loaded, found, FilmRequest(out, depth, alone, ends, smooth, fov, seconds, width))


def _limits(text: str) -> tuple[float, float]:
    """Metres out of ``NEAR,FAR``."""
    try:
        near, far = (float(word) for word in options.listed(text))
    except ValueError:
        near = far = 0.0
    if not 0 < near < far < float("inf"):
        raise SettingsError(f"--range {text!r}: expected NEAR,FAR in metres, such as 0.5,6")
    return near, far


if __name__ == "__main__":
    options.run(app)
