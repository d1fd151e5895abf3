"""Test frames of a stack as arrays: best, median and worst (``gallery.npz``), evenly spread ones (``pictures.npz``)."""

import io
import json
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, UInt8

from ensemble.evaluation.results.scores import SCHEMA, ImageScore
from ensemble.runs.refusals import refuse_unreadable
from ensemble.runs.seals import read_bytes, write_sealed

CHOSEN_BY = "abs_rel"
"""Metric that ranks the frames; lower is better."""


@dataclass(frozen=True)
class GridRow:
    """One frame with everything that a picture of it needs; every array at one size, depths in metres."""

    frame: str
    image: UInt8[np.ndarray, "h w 3"]
    truth: Float[np.ndarray, "h w"]  # measured depth, read only where ``valid``
    valid: Bool[np.ndarray, "h w"]  # pixels that are compared with the truth
    depths: Float[np.ndarray, "k h w"]  # prediction of each learner
    weights: Float[np.ndarray, "k h w"]  # weight of each learner, summing to one
    stack: Float[np.ndarray, "h w"]  # weighted depth

    @property
    def mean(self) -> Float[np.ndarray, "h w"]:
        """The plain mean of the learners."""
        return self.depths.mean(axis=0)


@dataclass(frozen=True)
class GalleryImage:
    """One frame with all that is known of it."""

    rank: str  # ``best``, ``median``, ``worst``, or ``spread`` for one of evenly spread frames
    score: float
    """Of the stack on this frame, by ``CHOSEN_BY``, at the size of the truth as in the tables; NaN where no pixel is
    valid."""
    row: GridRow  # image, truth, learners, weights and stack at one size
    uncertainty: Float[np.ndarray, "h w"] | None  # expected error of the stack in metres; absent where none was judged


@dataclass(frozen=True)
class Gallery:
    """Frames of one stack."""

    stack: str  # name of its row
    learners: tuple[str, ...]  # names for people, in the order of depths and weights
    images: tuple[GalleryImage, ...]  # from best to worst


class RankedFrame(NamedTuple):
    """A frame that stands for many."""

    rank: str
    frame: str
    score: float


def frame_scores(images: Iterable[ImageScore], row: str) -> dict[str, float]:
    """Score of a row on every scored frame by ``CHOSEN_BY``, repeats averaged."""
    found: dict[str, list[float]] = {}
    for image in images:
        if image.row == row and image.scores is not None:
            found.setdefault(image.frame, []).append(image.scores[CHOSEN_BY])
    return {frame: sum(scores) / len(scores) for frame, scores in found.items()}


def ranked_frames(images: Iterable[ImageScore], row: str) -> tuple[RankedFrame, ...]:
    """The best, the median and the worst frame of a row by ``CHOSEN_BY``, repeats averaged, ties by frame id.

    With fewer than three scored frames, as many as there are.
    """
    ranked = sorted((score, frame) for frame, score in frame_scores(images, row).items())
    if not ranked:
        return ()
    middle, last = (len(ranked) - 1) // 2, len(ranked) - 1
    places = {middle: "median"} | {last: "worst"} | {0: "best"}  # of one or two frames, what is said last holds
    return tuple(RankedFrame(places[place], ranked[place][1], ranked[place][0]) for place in sorted(places))


def write_galleries(galleries: Sequence[Gallery], path: Path, *, half: bool = True) -> None:
    """Writes plain arrays; ``half`` keeps metres and weights in half precision, which is enough for looking at them.

    Raises:
        ValueError: A gallery has images of other learners than it names, or a stack comes twice.
    """
    names = [gallery.stack for gallery in galleries]
    if len(set(names)) < len(names):
        raise ValueError(f"{path}: stacks {names}, expected each once")
    arrays: dict[str, np.ndarray] = {}
    described = []
    for place, gallery in enumerate(galleries):
        for index, image in enumerate(gallery.images):
            if not len(image.row.depths) == len(image.row.weights) == len(gallery.learners):
                raise ValueError(
                    f"{path}: frame {image.row.frame} of {gallery.stack} has {len(image.row.depths)} depths and "
                    f"{len(image.row.weights)} weights for the learners {', '.join(gallery.learners)}"
                )
            arrays |= {f"{place}/{index}/{name}": array for name, array in _arrays(image, half=half).items()}
        described.append(
            {
                "stack": gallery.stack,
                "learners": gallery.learners,
                "images": [
                    {"rank": each.rank, "score": each.score, "frame": each.row.frame} for each in gallery.images
                ],
            }
        )
    index_text = json.dumps({"schema": SCHEMA, "galleries": described})
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, index=np.array(index_text), **arrays)
    write_sealed(path, buffer.getvalue())


def read_galleries(path: Path) -> tuple[Gallery, ...]:
    """Reads what ``write_galleries`` wrote.

    Raises:
        ValueError: The file is not such a file, or damaged.
    """
    try:
        with np.load(io.BytesIO(read_bytes(path)), allow_pickle=False) as file:
            index = json.loads(str(file["index"]))
            if index["schema"] != SCHEMA:
                raise ValueError(f"schema {index['schema']} found, {SCHEMA} expected")
            return tuple(_gallery(file, place, described) for place, described in enumerate(index["galleries"]))
    except (ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        refuse_unreadable(path, error)
        raise ValueError(f"{path}: {error}. Evaluate again to rewrite it.") from error


_REAL = ("truth", "depths", "weights", "stack")


def _arrays(image: GalleryImage, *, half: bool) -> dict[str, np.ndarray]:
    arrays = {"image": image.row.image, "valid": image.row.valid}
    kind = np.float16 if half else np.float32
    arrays |= {name: getattr(image.row, name).astype(kind) for name in _REAL}
    return arrays if image.uncertainty is None else arrays | {"uncertainty": image.uncertainty.astype(kind)}


def _gallery(file: Mapping[str, np.ndarray], place: int, described: Mapping[str, Any]) -> Gallery:
    images = []
    for index, image in enumerate(described["images"]):
        prefix = f"{place}/{index}/"
        arrays = {name: file[prefix + name].astype(np.float32) for name in _REAL}
        row = GridRow(frame=image["frame"], image=file[prefix + "image"], valid=file[prefix + "valid"], **arrays)
        uncertain = prefix + "uncertainty"
        uncertainty = file[uncertain].astype(np.float32) if uncertain in file else None
        images.append(GalleryImage(image["rank"], image["score"], row, uncertainty))
    return Gallery(described["stack"], tuple(described["learners"]), tuple(images))
