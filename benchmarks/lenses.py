"""What telling the lens of a photograph is worth: crops of test frames, whose camera is known, as other lenses see."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
import typer

import ensemble
from benchmarks.tables import Table, write_section
from ensemble.data import open_source
from ensemble.data.held_out import test_frames
from ensemble.data.source import RawFrame
from ensemble.deploy.door import DepthStack
from ensemble.deploy.export.frames import spread
from ensemble.deploy.runtime import ExportedStack
from ensemble.metrics.statistics import few_scenes, paired_differences
from ensemble.photographs.views import view_of_focal
from ensemble.pretrained import PRETRAINED, pretrained

SHAPES = {
    "the whole frame": (1.0, 1.0),
    "16:9": (0.75, 1.0),
    "2:1": (2 / 3, 1.0),
    "upright, 3:4": (1.0, 9 / 16),
    "zoom 1.33": (0.75, 0.75),
    "zoom 2": (0.5, 0.5),
}
"""Shares of height and width of the middle of a frame of 4:3."""

WAYS = ("stack", "stack, told", "file", "file, told")


class Error(NamedTuple):
    """Of one crop: the median of log(predicted / measured), and the mean of |predicted - measured| / measured."""

    bias: float
    rel: float


def main(
    stacks: Annotated[
        list[str] | None, typer.Option("--stack", help="Beside nyu-small: a saved one, or a run.")
    ] = None,
    count: Annotated[int, typer.Option(min=2, help="Of test frames, evenly spread.")] = 60,
) -> None:
    """Predicts crops with and without their field of view, and writes the section."""
    parts: list[Table | str] = [
        "Test frames, cut so that their camera is another one: of another shape, or with a longer lens. "
        "*Told*: with the field of view that the cut has (`fov=`), so that metres are multiplied by the "
        "*focal ratio*; else as a camera with the focal length of training. *Bias* is the mean over frames of "
        "the median of log(predicted / measured), *REL* the mean error as a share of depth. *File* is the "
        "package's export of a fixed size, which sees other shapes smaller than the stack and pads them. The "
        "last column is REL of the stack told minus untold, with its interval of 95 % over scenes. A cut is "
        "no photograph of another place: what stands in it is what rooms hold."
    ]
    for name in ("nyu-small", *(stacks or ())):
        stack = ensemble.load(name, device="cpu", flip=False)
        file = ExportedStack.open(pretrained(Path(name), "onnx")) if name in PRETRAINED else None
        parts += _measured(stack, file, count)
    write_section("lenses", "Lenses", targets=[], parts=parts)


def _measured(stack: DepthStack, file: ExportedStack | None, count: int) -> list[Table | str]:
    data = stack.network.settings.data
    source = open_source(data)
    every = test_frames(source, data)
    frames = [every[place] for place in spread(len(every), count)]
    scenes = [frame.scene for frame in frames]
    found: dict[str, list[list[Error]]] = {name: [] for name in SHAPES}
    ratios: dict[str, float] = {}
    for frame in frames:
        raw = source.read(frame)
        for name, shares in SHAPES.items():
            cut = _middle(raw, *shares)
            found[name].append(_errors(cut, stack, file))
            ratios[name] = stack.focal_ratio(cut.depth.shape, cut.fov)
    ways = [f"{way}: bias, REL" for way in WAYS[: len(found["16:9"][0])]]
    table = Table(
        ("cut", "focal ratio", *ways, "told - untold"),
        [_row(name, errors, scenes, ratios[name]) for name, errors in found.items()],
    )
    said = f"{stack.header.name}, {len(frames)} test frames of {len(set(scenes))} scenes:"
    return [said, table, *([few] if (few := few_scenes(len(set(scenes)))) else [])]


class _Cut(NamedTuple):
    image: np.ndarray
    depth: np.ndarray
    valid: np.ndarray
    fov: float


def _middle(raw: RawFrame, tall: float, wide: float) -> _Cut:
    height, width = raw.depth.shape
    rows, columns = round(tall * height), round(wide * width)
    top, left = (height - rows) // 2, (width - columns) // 2
    part = slice(top, top + rows), slice(left, left + columns)
    if raw.intrinsics is None:
        raise ValueError("expected frames whose camera is known, found none of it")
    return _Cut(raw.image[part], raw.depth[part], raw.valid[part], view_of_focal(raw.intrinsics.focal, columns))


def _errors(cut: _Cut, stack: DepthStack, file: ExportedStack | None) -> list[Error]:
    data = stack.network.settings.data
    valid = cut.valid & (cut.depth > data.min_depth) & (cut.depth < data.max_depth)
    measured = cut.depth[valid]
    errors = []
    for predict in (stack, *([file] if file is not None else [])):
        for fov in (None, cut.fov):
            said = predict(cut.image, fov=fov).depth[valid]
            bias, rel = np.median(np.log(said / measured)), np.mean(np.abs(said - measured) / measured)
            errors.append(Error(float(bias), float(rel)))
    return errors


def _row(name: str, errors: Sequence[Sequence[Error]], scenes: Sequence[str], ratio: float) -> tuple[str, ...]:
    rel = np.array(errors)[:, :2, 1].T[:, :, None]
    (told,) = paired_differences(rel[::-1], scenes, rows=("told", "untold"), metrics={"rel": False})
    said = [f"{bias:+.3f}, {rel:.3f}" for bias, rel in np.mean(errors, axis=0)]
    return name, f"{ratio:.2f}", *said, f"{told.difference:+.3f} ({told.low:+.3f} to {told.high:+.3f})"


if __name__ == "__main__":
    typer.run(main)
