"""``python -m ensemble.predict``: depth of photographs at once, by a network that comes with the package."""

from pathlib import Path
from typing import Annotated

import typer

from ensemble import options
from ensemble.commands import completion
from ensemble.pretrained import DEFAULT, PRETRAINED

app = options.application("Depth of photographs, by a network that comes with the package.")

_NAMES = ", ".join(f"{name} ({told})" for name, told in PRETRAINED.items())


@app.command()
def predict(
    images: options.Images,
    out: options.Out = Path("depth"),
    model: Annotated[
        str,
        typer.Option(
            metavar="NAME|SAVED|RUN", autocompletion=completion.runs, help=f"{_NAMES}, or a network of your own."
        ),
    ] = DEFAULT,
    only: options.Only = options.DEFAULT_KINDS,
    formats: options.Formats = options.DEFAULT_FORMATS,
    size: options.OutputSize = None,
    device: options.Device = "auto",
    no_flip: options.NoFlip = False,
    fov: options.FieldOfView = None,
    runtime: options.Runtime = None,
    cache_dir: options.CacheDir = None,
) -> None:
    """Depth of photographs: 16-bit PNG in millimetres, metres as .npy, pictures; of a stack the expected error too."""
    wanted = options.Wanted.of(only, formats, size, device, no_flip=no_flip, fov=fov)

    from ensemble.deploy.opening import open_any
    from ensemble.deploy.photographs import predict_photographs

    loaded = open_any(model, device=device, flip=wanted.flip, runtime=runtime, cache_dir=cache_dir)
    predict_photographs(loaded, images, out, wanted)


if __name__ == "__main__":
    options.run(app)
