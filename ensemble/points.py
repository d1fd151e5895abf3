"""``python -m ensemble.points``: a photograph as coloured points in space, in metres."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ensemble import options
from ensemble.commands import completion
from ensemble.console import counted, messages
from ensemble.settings.trees import SettingsError

if TYPE_CHECKING:
    from ensemble.data.intrinsics import Intrinsics

app = options.application("A photograph as coloured points in space, for viewers and other programs.")


@app.command()
def points(
    stack: Annotated[
        str,
        typer.Argument(
            metavar="STACK|RUN", autocompletion=completion.runs, help="A saved stack or learner, a run, or an export."
        ),
    ],
    image: Annotated[Path, typer.Argument(metavar="IMAGE", callback=options.place, help="A photograph.")],
    out: Annotated[
        Path, typer.Option(metavar="FILE", callback=options.place, help="To write: x.ply, or x.glb for viewers.")
    ],
    fov: options.FieldOfView = None,
    intrinsics: Annotated[
        str | None,
        typer.Option(metavar="FX,FY,CX,CY", help="The camera, in pixels of the whole photograph, in place of --fov."),
    ] = None,
    drop_edges: Annotated[
        bool, typer.Option("--drop-edges", help="Leave out the slopes between near and far at edges of depth.")
    ] = False,
    max_error: Annotated[
        float | None, typer.Option(metavar="METRES", min=0.0, help="Leave out points with a larger expected error.")
    ] = None,
    most: Annotated[
        int | None, typer.Option("--points", metavar="N", min=1, help="At most so many, of a regular grid.")
    ] = None,
    device: options.Device = "auto",
    no_flip: options.NoFlip = False,
    cache_dir: options.CacheDir = None,
) -> None:
    """Coloured points of a photograph as PLY or GLB: metres, x to the right, y down, z away from the camera."""
    options.Wanted.of("depth", "npy", None, device, no_flip=no_flip, fov=fov)
    if fov is not None and intrinsics is not None:
        raise SettingsError("--fov and --intrinsics both tell the camera: expected one of them")

    from ensemble.deploy.points.files import check_ending, save_points

    check_ending(out)
    camera = None if intrinsics is None else _camera(intrinsics)

    from ensemble.deploy.opening import open_any
    from ensemble.deploy.points.photograph import points_of

    loaded = open_any(stack, device=device, flip=False if no_flip else None, cache_dir=cache_dir)
    cloud = points_of(loaded, image, fov=fov, intrinsics=camera, drop_edges=drop_edges, max_error=max_error, most=most)
    save_points(out, cloud)
    near, far = cloud.positions[:, 2].min(), cloud.positions[:, 2].max()
    kept = len(cloud.positions)
    left = "" if max_error is None and not drop_edges else f" ({cloud.left_out} of {kept + cloud.left_out} left out)"
    messages.print(f"{out}: {counted(kept, 'point')}{left}, {near:.2f} to {far:.2f} m away")


def _camera(text: str) -> Intrinsics:
    """A camera out of ``FX,FY,CX,CY``."""
    from ensemble.data.intrinsics import Intrinsics

    try:
        fx, fy, cx, cy = (float(word) for word in options.listed(text))
    except ValueError:
        fx = fy = cx = cy = math.nan
    if not (0 < fx < math.inf and 0 < fy < math.inf and math.isfinite(cx) and math.isfinite(cy)):
        raise SettingsError(
            f"--intrinsics {text!r}: expected FX,FY,CX,CY in pixels of the photograph, such as 518.9,519.5,325.6,253.7"
        )
    return Intrinsics(fx, fy, cx, cy)


if __name__ == "__main__":
    options.run(app)
