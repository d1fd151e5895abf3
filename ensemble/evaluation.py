"""Scores on the test frames: every learner, the fixed combiners, the stacks and their bounds side by side."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from base_learners import LEARNERS
from ensemble.config import DataSettings, LearnerSettings, StackSettings
from ensemble.console import progress
from ensemble.data import open_source
from ensemble.data.held_out import test_frames
from ensemble.data.source import Frame, FrameSource, RawFrame
from ensemble.data.splits import training_frames
from ensemble.data.transforms import bring_to_size, valid_depth
from ensemble.files import write_text
from ensemble.metrics import METRICS, Counts, EvalProtocol, ScoreSums, image_scores, prepare
from ensemble.networks import TrainedLearner, common_data, differing_keys, load_learner
from ensemble.pictures import GridRow, picture_grid
from ensemble.prediction import cache_predictions, open_predictions
from ensemble.profiling import count_parameters
from ensemble.report import SCHEMA, ImageScore, Kind, ScoreRow, Scores, markdown_table, write_per_image, write_scores
from ensemble.runs import Outputs, Run
from ensemble.stacking import Stack, stack_weights
from ensemble.stages import protocol_of
from meta.fusion import COMBINERS, check_depths, check_weights, fuse, oracle_convex, oracle_pick

BOUNDS: Mapping[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "oracle pick": oracle_pick,
    "oracle convex": oracle_convex,
}
"""Combiners [b k h w] -> [b 1 h w] that look at the truth: no weights at the size of the truth can beat them.

A stack weighs at the working size. Where it trusts neighbouring pixels to different learners, what is interpolated
between the two may lie a little outside of the interpolated learners, and so beyond the bound.
"""

CONSTANT_FRAMES = 200
"""Training frames that the constant predictions are computed from, spread evenly."""

PICTURE_FRAMES = 5


def evaluate_learner(learner: TrainedLearner, outputs: Outputs) -> Scores:
    """Score one learner on the test frames, from its cached rows; missing ones are cached first."""
    return _evaluate((learner,), (), outputs, learner.run, pictures=None)


def evaluate_stacks(stacks: Sequence[Stack], outputs: Outputs, folder: Path) -> Scores:
    """Score stacks beside their learners, the fixed combiners and the bounds; writes scores and pictures.

    Args:
        stacks: Fits of the meta-learner to the same learners.
        outputs: Where the learners' predictions are.
        folder: Where scores, per-image scores and the picture grid go.

    Raises:
        ValueError: The stacks weigh different learners, or frames or rows do not fit together.
    """
    first = stacks[0]
    for stack in stacks[1:]:
        if _weighed(stack) != _weighed(first):
            raise ValueError(
                f"{first.name} weighs {_weighed(first)}, {stack.name} weighs {_weighed(stack)}: "
                "evaluate them one by one"
            )
    out = Run(folder)
    return _evaluate(first.learners, stacks, outputs, out, pictures=out.pictures)


def cache_test_predictions(
    trained: Sequence[TrainedLearner], outputs: Outputs, *, rebuild: bool = False, workers: int = 0
) -> None:
    """Write every asked learner's depth of every test frame, as ``cache_predictions`` does for frames of training."""
    data = common_data(trained)
    frames = test_frames(open_source(data), data)
    cache_predictions(trained, outputs, "test", frames, rebuild=rebuild, workers=workers)


def _weighed(stack: Stack) -> str:
    return f"{', '.join(stack.settings.learners)} of {stack.settings.experiment}"


@torch.inference_mode()
def _evaluate(
    learners: Sequence[TrainedLearner], stacks: Sequence[Stack], outputs: Outputs, out: Run, *, pictures: Path | None
) -> Scores:
    settings = learners[0].settings
    check_same_protocol(
        [*((learner.name, learner.settings) for learner in learners), *((s.name, s.settings) for s in stacks)]
    )
    source = open_source(settings.data)
    frames = test_frames(source, settings.data)
    cache_test_predictions(learners, outputs, workers=settings.data.workers)
    rows = open_predictions(learners, outputs, source, frames, "test")
    size = source.read(frames[0]).depth.shape
    protocol = protocol_of(settings, "test", flip_averaging=settings.evaluation.flip_averaging, size=(size[0], size[1]))
    table = _ScoreTable(protocol, list(rows))
    log_mean = mean_log_depth(source, training_frames(source, settings.data).fit, settings)
    in_pictures = {int(index) for index in np.linspace(0, len(frames) - 1, min(PICTURE_FRAMES, len(frames)))}
    grid = []
    for index, frame in enumerate(progress(frames, "scoring")):
        raw = source.read(frame)
        working = bring_to_size(raw, settings.data.size)
        depths = torch.stack([torch.from_numpy(row.read(frame.id)) for row in rows.values()])[None]
        weights = {stack.name: stack_weights(stack, working["image"][None], depths) for stack in stacks}
        check_depths(depths, list(rows))
        for weight in weights.values():
            check_weights(weight)
        fused = {name: fuse(weight, depths) for name, weight in weights.items()}
        table.add(frame, raw, _predictions_of_frame(log_mean, list(rows), depths, fused))
        if stacks and index in in_pictures:
            name = stacks[-1].name
            grid.append(_grid_row(frame, working, settings.data, depths, weights[name], fused[name]))
    scores = Scores(
        schema=SCHEMA,
        experiment=settings.experiment,
        protocol=table.protocol.model_dump(mode="json"),
        rows=tuple(table.rows(learners, stacks)),
    )
    write_scores(scores, out.scores)
    write_text(out.table, markdown_table(scores))
    write_per_image(table.images, out.per_image)
    if pictures is not None:
        picture_grid(grid, pictures, [LEARNERS[learner.name].title for learner in learners])
    return scores


def check_same_protocol(named: Sequence[tuple[str, LearnerSettings | StackSettings]]) -> None:
    """Refuse rows of one table that were made under different protocols; the data are compared elsewhere.

    Raises:
        ValueError: Crop or flip averaging differ.
    """
    first, settings = named[0]
    scored = {"crop", "flip_averaging"}
    wanted = settings.evaluation.model_dump(include=scored)
    for name, other in named[1:]:
        differing = differing_keys(wanted, other.evaluation.model_dump(include=scored), "evaluation.")
        if differing:
            raise ValueError(
                f"{first} and {name} of experiment {settings.experiment} are scored under different protocols: "
                f"{'; '.join(differing)}. Train or fit one of them again with the settings of the other"
            )


def mean_log_depth(source: FrameSource, frames: Sequence[Frame], settings: LearnerSettings) -> Tensor:
    """What can be said without looking: the mean log depth of every pixel over training frames, as metres [1 1 h w].

    Pixels that were never measured take the mean over all pixels.
    """
    data = settings.data
    total = torch.zeros(1, *data.size, dtype=torch.float64)
    count = torch.zeros(1, *data.size, dtype=torch.float64)
    chosen = np.linspace(0, len(frames) - 1, min(CONSTANT_FRAMES, len(frames))).astype(int)
    for index in sorted(set(chosen.tolist())):
        sample = bring_to_size(source.read(frames[index]), data.size)
        valid = sample["valid"] & valid_depth(sample["depth"], data.min_depth, data.max_depth)
        total += sample["depth"].double().where(valid, 1.0).log()
        count += valid
    overall = total.sum() / count.sum()
    return torch.where(count > 0, total / count.clamp(min=1), overall).exp().float()[None]


def _predictions_of_frame(
    log_mean: Tensor, learners: Sequence[str], depths: Tensor, fused: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Depth [1 1 h w] at the working size by row name, in the order of the table; bounds are not among them."""
    rows = {"mean log depth": log_mean}
    rows |= {name: depths[:, index : index + 1] for index, name in enumerate(learners)}
    if len(learners) > 1:
        rows |= {name: combine(depths) for name, combine in COMBINERS.items()}
    return {**rows, **fused}


class _ScoreTable:
    """Gathers the scores of every row on every frame."""

    def __init__(self, protocol: EvalProtocol, learners: Sequence[str]) -> None:
        self.protocol = protocol
        self.images: list[ImageScore] = []
        self._learners = list(learners)
        self._sums: dict[str, ScoreSums] = {}

    def add(self, frame: Frame, raw: RawFrame, predictions: Mapping[str, Tensor]) -> None:
        """Score one frame at the size of its truth."""
        target, valid = (torch.from_numpy(array)[None, None] for array in (raw.depth, raw.valid))
        size = raw.depth.shape
        rows = {name: F.interpolate(d, size, mode="bilinear", align_corners=False) for name, d in predictions.items()}
        if len(self._learners) > 1:
            depths = torch.cat([rows[name] for name in self._learners], dim=1)
            rows |= {name: bound(depths, target, valid) for name, bound in BOUNDS.items()}
        shape = (len(rows), 1, *size)
        *compared, counts = prepare(
            torch.cat(list(rows.values())), target.expand(shape), valid.expand(shape), protocol=self.protocol
        )
        scores = image_scores(*compared)
        scored = bool(compared[2].any())
        for index, name in enumerate(rows):
            own = {metric: values[index : index + 1] for metric, values in scores.items()}
            sums = self._sums.setdefault(name, ScoreSums())
            sums.update(own, Counts(*(count[index : index + 1] for count in counts)))
            known = {metric: float(value) for metric, value in own.items()}
            self.images.append(ImageScore(name, frame.id, frame.scene, known if scored else None))

    def rows(self, learners: Sequence[TrainedLearner], stacks: Sequence[Stack]) -> list[ScoreRow]:
        """One row per predictor, in the order in which they were added."""
        described: dict[str, tuple[Kind, str, int | None]] = {}
        described["mean log depth"] = ("constant", "mean log depth map", None)
        for learner in learners:
            parameters = count_parameters(load_learner(learner))
            described[learner.name] = ("learner", LEARNERS[learner.name].title, parameters)
        described |= {name: ("combiner", name, None) for name in COMBINERS}
        for stack in stacks:
            described[stack.name] = ("stack", f"stack {stack.settings.inputs}", count_parameters(stack.network))
        described |= {name: ("bound", name, None) for name in BOUNDS}
        rows = []
        for name, sums in self._sums.items():
            found = sums.compute()
            kind, title, parameters = described[name]
            rows.append(
                ScoreRow(
                    name=name,
                    kind=kind,
                    title=title,
                    parameters=parameters,
                    scores={metric: found[metric] for metric in METRICS},
                    images=int(found["images"]),
                    without_valid=int(found["images_without_valid"]),
                    clipped_pixels=int(found["clipped"]),
                )
            )
        return rows


def _grid_row(
    frame: Frame, sample: Mapping[str, Tensor], data: DataSettings, depths: Tensor, weights: Tensor, stack: Tensor
) -> GridRow:
    valid = sample["valid"] & valid_depth(sample["depth"], data.min_depth, data.max_depth)
    return GridRow(
        frame=frame.id,
        image=(sample["image"] * 255).round().to(torch.uint8).permute(1, 2, 0).numpy(),
        truth=sample["depth"][0].numpy(),
        valid=valid[0].numpy(),
        depths=depths[0].numpy(),
        weights=weights[0].numpy(),
        stack=stack[0, 0].numpy(),
    )
