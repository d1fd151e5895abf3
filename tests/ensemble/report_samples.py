"""A made-up evaluation on disk: five learners' worth of rows, repeats, details and pictures, quick to write."""

from pathlib import Path

import numpy as np

from ensemble.evaluation.results.details import (
    Details,
    ReliabilityDetails,
    SparsificationDetails,
    StackDetails,
    UncertaintyDetails,
    write_details,
)
from ensemble.evaluation.results.gallery import Gallery, GalleryImage, GridRow, ranked_frames, write_galleries
from ensemble.evaluation.results.likeness import Likeness
from ensemble.evaluation.results.scores import (
    METRIC_NAMES,
    SCHEMA,
    ImageScore,
    Kind,
    ScoreRow,
    Scores,
    write_per_image,
    write_scores,
)
from ensemble.evaluation.stack_statistics import WeightStatistics
from ensemble.runs.paths import Run

HOSTILE = 'scene_0/<script src="//evil">alert(1)</script>&"\''
LEARNERS = ("AdaBins", "BTS", "LapDepth")
PROTOCOL = {
    "split": "test",
    "test": "held-out",
    "crop": "eigen",
    "min_depth": 0.001,
    "max_depth": 10.0,
    "flip_averaging": True,
    "averaging": "image",
    "size": [480, 640],
}
BASE = np.array([0.68, 0.91, 0.97, 0.2, 0.17, 0.66, 0.24, 0.083, 22.0])
ROWS: tuple[tuple[str, Kind, str, float, int], ...] = (
    # name, kind, title, how much worse than the mean (relative error), fits
    ("mean log depth", "constant", "mean log depth map", 0.9, 1),
    ("adabins", "learner", "AdaBins", 0.25, 1),
    ("bts", "learner", "BTS", 0.08, 1),
    ("ldrn", "learner", "LapDepth", 0.12, 1),
    ("best-single", "combiner", "best single (BTS)", 0.08, 1),
    ("seed-mean", "combiner", "mean of 3 seeds of BTS", 0.02, 1),
    ("mean", "combiner", "mean", 0.0, 1),
    ("median", "combiner", "median", 0.015, 1),
    ("inverse-variance", "fitted", "inverse variance", -0.01, 1),
    ("meta-d", "stack", "stack d", -0.012, 3),
    ("meta-rgb+d", "stack", "stack rgb+d, joint", -0.06, 3),
    ("oracle pick", "bound", "oracle pick", -0.4, 1),
    ("oracle convex", "bound", "oracle convex", -0.45, 1),
    ("oracle shuffled", "bound", "oracle shuffled", -0.44, 1),
    ("weights per image", "bound", "weights per image", -0.2, 1),
)
ALIKE = Likeness(
    LEARNERS,
    images=47,
    within=((1, 0.88, 0.9), (0.88, 1, 0.92), (0.9, 0.92, 1)),
    scales=((1, 0.85, -0.1), (0.85, 1, None), (-0.1, None, 1)),
    scale_shares=(0.3, 0.31, 0.35),
    mean_scale_share=0.33,
    disagreement_share=0.09,
    inside=0.254,
)
PARAMETERS = {"adabins": 17_553_668, "bts": 8_900_728, "ldrn": 8_000_000, "meta-d": 4_266_246, "meta-rgb+d": 4_266_678}


def image_scores(rows=ROWS, *, scenes: int = 12, per_scene: int = 4, seed: int = 0) -> list[ImageScore]:
    """Rows err alike on an image, more so within a scene; an image of the last scene has no valid pixel."""
    rng = np.random.default_rng(seed)
    frames = [
        (f"scene_{index // per_scene}/{index}", f"scene_{index // per_scene}") for index in range(scenes * per_scene)
    ]
    frames[0] = (HOSTILE, "scene_0")
    hardness = np.repeat(rng.normal(1, 0.2, scenes), per_scene) * rng.normal(1, 0.1, len(frames))
    found = []
    for name, _, _, worse, fits in rows:
        own = np.random.default_rng([seed, *name.encode()])
        for repeat in range(fits):
            for index, (frame, scene) in enumerate(frames):
                factor = hardness[index] * (1 + worse + own.normal(0, 0.05, len(METRIC_NAMES)))
                found.append(ImageScore(name, frame, scene, _values(factor), repeat))
    last = frames[-1][0]
    return [ImageScore(i.row, i.frame, i.scene, None, i.repeat) if i.frame == last else i for i in found]


def table(
    images: list[ImageScore], rows=ROWS, *, experiment: str = "samples", protocol=None, alike: bool = True
) -> Scores:
    """The rows whose means those images are."""
    found = []
    for name, kind, title, _, fits in rows:
        own = [image for image in images if image.row == name]
        per_fit = np.array(
            [
                np.mean([[i.scores[m] for m in METRIC_NAMES] for i in own if i.repeat == repeat and i.scores], axis=0)
                for repeat in range(fits)
            ]
        )
        spread = dict(zip(METRIC_NAMES, map(float, per_fit.std(axis=0, ddof=1)), strict=True)) if fits > 1 else None
        parameters = PARAMETERS.get(name)
        found.append(
            ScoreRow(
                name=name,
                kind=kind,
                title=title,
                parameters=parameters,
                scores=dict(zip(METRIC_NAMES, map(float, per_fit.mean(axis=0)), strict=True)),
                images=sum(i.scores is not None for i in own) // fits,
                without_valid=sum(i.scores is None for i in own) // fits,
                clipped_pixels=0,
                deviations=spread,
                repeats=fits,
                mul_adds=None if parameters is None else parameters * 300,
                frames_per_second=None if parameters is None else 24.5,
                training_seconds=None if parameters is None else 5432.0,
                note="seeds 0, 1, 2" if fits > 1 else "",
            )
        )
    chosen = PROTOCOL if protocol is None else protocol
    return Scores(SCHEMA, experiment, chosen, tuple(found), (ALIKE,) if alike else ())


def write_evaluation(folder: Path, *, rows=ROWS, extras: bool = True, size=(24, 32), **changes) -> Run:
    """All files of an evaluation, as ``meta evaluate`` leaves them."""
    run = Run(folder)
    images = image_scores(rows)
    write_scores(table(images, rows, **changes), run.scores)
    write_per_image(images, run.per_image)
    stacks = [row for row in rows if row[1] == "stack"]
    if extras:
        write_details(Details(SCHEMA, {name: details(seed) for seed, (name, *_) in enumerate(stacks)}), run.details)
        write_galleries([gallery(name, images, size) for name, *_ in stacks], run.gallery)
    return run


def weights(rng, size) -> np.ndarray:
    raw = np.exp(np.cumsum(rng.normal(0, 0.1, (3, *size)), axis=2))
    return (raw / raw.sum(axis=0)).astype(np.float32)


def details(seed: int) -> StackDetails:
    rng = np.random.default_rng(seed)
    statistics = WeightStatistics(LEARNERS)
    truth = rng.uniform(0.6, 9.0, (40, 60)).astype(np.float32)
    statistics.update(weights(rng, (40, 60)), truth, np.ones((40, 60), dtype=bool))
    fractions = tuple(index / 50 for index in range(50))
    curves = {
        metric: SparsificationDetails(
            fractions,
            tuple(scale * (1 - 0.5 * each) for each in fractions),
            tuple(scale * (1 - each) for each in fractions),
            ause=0.25 * scale,
            aurg=0.25 * scale,
        )
        for metric, scale in (("rmse", 0.66), ("abs_rel", 0.19))
    }
    predicted = (0.1, 0.3, 0.5, 0.9, 1.4)
    observed = (0.15, 0.28, 0.56, 0.8, 1.6)
    reliability = ReliabilityDetails(predicted, observed, (100, 400, 900, 300, 20), ence=0.12)
    return StackDetails(statistics.compute(), UncertaintyDetails(curves, reliability))  # pyright: ignore[reportArgumentType]


def gallery(stack: str, images: list[ImageScore], size) -> Gallery:
    rng = np.random.default_rng(len(stack))
    found = []
    for rank, frame, score in ranked_frames(images, stack):
        y, x = np.mgrid[: size[0], : size[1]] / max(size)
        truth = (1.5 + 4 * x + y + 0.4 * np.sin(9 * x)).astype(np.float32)
        depths = np.stack([truth * (1 + 0.2 * np.sin(5 * y + k) * np.cos(4 * x)) for k in range(3)]).astype(np.float32)
        weight = weights(rng, size)
        image = np.stack([128 + 100 * np.sin(12 * x), 128 + 90 * np.cos(9 * y), 255 * x], axis=2).clip(0, 255)
        valid = (x > 0.05) & (y > 0.03)
        row = GridRow(frame, image.astype(np.uint8), truth, valid, depths, weight, (weight * depths).sum(axis=0))
        found.append(GalleryImage(rank, score, row, depths.std(axis=0)))
    return Gallery(stack, LEARNERS, tuple(found))


def _values(factor: np.ndarray) -> dict[str, float]:
    values = np.concatenate([1 - (1 - BASE[:3]) * factor[:3], BASE[3:] * factor[3:]])
    return dict(zip(METRIC_NAMES, map(float, values), strict=True))
