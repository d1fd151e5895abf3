"""Scores on the test frames: learners, baselines, stacks and their bounds side by side."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from ensemble.console import progress
from ensemble.data.division import open_experiment
from ensemble.data.held_out import test_frames
from ensemble.data.loaders import DepthRows
from ensemble.data.source import Frame, FrameSource, RawFrame
from ensemble.data.transforms import Sample, bring_to_size, valid_depth
from ensemble.evaluation.calibration import calibration_of
from ensemble.evaluation.constant import CONSTANT, MeanLogDepth
from ensemble.evaluation.held_out_rows import cache_test_predictions
from ensemble.evaluation.known_truth import KnownTruth
from ensemble.evaluation.method_info import descriptions_of
from ensemble.evaluation.methods import Methods, Models, Predicted, gather, read_depths
from ensemble.evaluation.results.details import Details, write_details
from ensemble.evaluation.results.gallery import (
    Gallery,
    GalleryImage,
    GridRow,
    RankedFrame,
    frame_scores,
    ranked_frames,
    write_galleries,
)
from ensemble.evaluation.results.protocols import SCHEMA as PROTOCOLS_SCHEMA
from ensemble.evaluation.results.protocols import ProtocolComparison, ProtocolScores, write_protocols
from ensemble.evaluation.results.scores import SCHEMA, Scores, write_per_image, write_scores
from ensemble.evaluation.scoring import ScoreTable
from ensemble.evaluation.server import ServerScores
from ensemble.evaluation.stack_statistics import StackStatistics
from ensemble.metrics.protocols import EvalProtocol, enlarged, protocol_of
from ensemble.metrics.published import OURS, OWN_SIZE, PROTOCOLS, chosen_protocols
from ensemble.predictions.learners import TrainedLearner
from ensemble.predictions.level_zero import LevelZero, open_rows
from ensemble.runs.claims import differing_keys
from ensemble.runs.paths import Outputs, Run
from ensemble.settings.kinds import KITTI
from ensemble.settings.schema import DataSettings, ScoredSettings
from ensemble.stacking.stack import Stack, frames_together, stacked
from meta.weighing import Fused

PICTURE_FRAMES = 5


def evaluate_learner(learner: TrainedLearner, outputs: Outputs, protocols: Sequence[str] = ()) -> Scores:
    """Score one learner on the test frames, from its cached rows; missing ones are cached first.

    Args:
        learner: Which.
        outputs: Where its predictions are.
        protocols: Names of published protocols that the same rows are scored under as well.
    """
    return _evaluate(Methods((LevelZero((learner,)),)), outputs, learner.run, protocols=protocols)


def evaluate_stacks(stacks: Sequence[Stack], outputs: Outputs, folder: Path, protocols: Sequence[str] = ()) -> Scores:
    """Score stacks beside their learners, the baselines and the bounds; writes scores and arrays.

    Fits that differ in nothing but their seed share a row.

    Args:
        stacks: Fits of the meta-learner to the same learners.
        outputs: Where the learners' predictions are.
        folder: Where scores, per-image scores and arrays of chosen frames go.
        protocols: Names of published protocols that the same rows are scored under as well.

    Raises:
        ValueError: The stacks weigh different learners, or frames or rows do not fit together.
    """
    check_same_protocol([(stack.name, stack.settings) for stack in stacks])
    return _evaluate(gather(stacks, outputs), outputs, Run(folder), protocols=protocols)


@torch.inference_mode()
def _evaluate(methods: Methods, outputs: Outputs, out: Run, *, protocols: Sequence[str]) -> Scores:
    first = methods.learners[0].tested[0].settings
    models = [model for learner in methods.level_zero().values() for model in learner.tested]
    check_same_protocol(
        [
            *((model.name, model.settings) for model in models),
            *((stack.name, stack.first.settings) for stack in methods.stacks),
        ]
    )
    experiment = open_experiment(outputs, first)
    source = experiment.source
    frames = test_frames(source, first.data)
    cache_test_predictions(list({model.key: model for model in models}.values()), outputs)
    rows = {key: open_rows(learner, experiment, frames, "test") for key, learner in methods.level_zero().items()}
    protocol = protocol_of(first, "test", flip_averaging=first.evaluation.flip_averaging, size=OWN_SIZE)
    table = ScoreTable(protocol)
    applied = {name: protocol.under(PROTOCOLS[name]) for name in chosen_protocols(protocols, first.data)}
    server = ServerScores(wanted=bool(applied) and first.data.reader == KITTI)
    others = {each: ScoreTable(each, per_image=False) for each in applied.values()}
    statistics = {
        stack.name: StackStatistics(
            stack.first,
            calibration_of(stack.first, outputs),
            tuple(learner.title for learner in stack.first.learners),
            protocol,
        )
        for stack in methods.stacks
    }
    constant = methods.constant or MeanLogDepth(experiment.division.frames.fit, first.data)
    log_mean = constant.depth(source)
    in_pictures = {frames[int(place)].id for place in np.linspace(0, len(frames) - 1, min(PICTURE_FRAMES, len(frames)))}
    truth = KnownTruth(methods.learners, rows, frames, protocol)
    grid = []
    for frame, raw, sample, predicted in _predicted_frames(methods, frames, source, rows):
        for each in predicted:
            if each.fused is not None and each.repeat == 0:
                statistics[each.name].add(raw, each.fused)
                if each.name == methods.stacks[-1].name and frame.id in in_pictures:
                    grid.append(_grid_row(frame, sample, first.data, each.fused))
        depths = {(CONSTANT, 0): log_mean} | {(each.name, each.repeat): each.depth for each in predicted}
        full = {cell: enlarged(depth, raw.depth.shape) for cell, depth in depths.items()}
        full |= truth.bounds(frame, raw, full)
        for each in (table, *others.values()):
            each.add(frame, raw, full)
        server.add(raw, full, nearest=first.data.min_depth)
    described = descriptions_of(methods, outputs)

    def finished(each: ScoreTable) -> Scores:
        protocol = each.protocol.model_dump(mode="json")
        return Scores(SCHEMA, first.experiment, protocol, tuple(each.rows(described)))

    scores = replace(finished(table), alike=truth.alike())
    for older in (out.protocols, out.protocols_table):  # of an earlier evaluation, with other scores
        older.unlink(missing_ok=True)
    write_scores(scores, out.scores)
    if applied:
        published = {name: finished(others[each]) for name, each in applied.items()}
        _write_protocols(out, table.protocol, scores, published, first.data, server.compute())
    write_per_image(table.images, out.per_image)
    if methods.stacks:
        titles = tuple(learner.title for learner in methods.learners)
        last = methods.stacks[-1].name
        by_frame = frame_scores(table.images, last)
        spread = (GalleryImage("spread", by_frame.get(row.frame, math.nan), row, None) for row in grid)
        write_galleries([Gallery(last, titles, tuple(spread))], out.picture_arrays, half=False)
        stacks = {name: each.details() for name, each in statistics.items()}
        write_details(Details(schema=SCHEMA, stacks=stacks), out.details)
        by_id = {frame.id: frame for frame in frames}
        ranked = {name: ranked_frames(table.images, name) for name in statistics}
        shown = {each.frame for places in ranked.values() for each in places}
        samples = {name: bring_to_size(source.read(by_id[name]), first.data.size) for name in shown}
        images = (_ranked_images(each, ranked[name], by_id, samples, rows) for name, each in statistics.items())
        write_galleries([Gallery(name, titles, own) for name, own in zip(statistics, images, strict=True)], out.gallery)
    return scores


def _write_protocols(
    out: Run,
    ours: EvalProtocol,
    scores: Scores,
    published: Mapping[str, Scores],
    data: DataSettings,
    server: dict[str, dict[str, float]],
) -> None:
    """Put scores under published protocols beside ours."""
    columns = {
        name: ProtocolScores(
            scores=each,
            source=PROTOCOLS[name].source,
            remembered=PROTOCOLS[name].remembered,
            departures=ours.departures_from(PROTOCOLS[name], data),
            other_flip=PROTOCOLS[name].flip_averaging != ours.flip_averaging,
        )
        for name, each in published.items()
    }
    comparison = ProtocolComparison(PROTOCOLS_SCHEMA, {OURS: ProtocolScores(scores), **columns}, server)
    write_protocols(comparison, out.protocols)


def check_same_protocol(named: Sequence[tuple[str, ScoredSettings]]) -> None:
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


def _predicted_frames(
    methods: Methods, frames: Sequence[Frame], source: FrameSource, rows: Mapping[Models, DepthRows]
) -> Iterator[tuple[Frame, RawFrame, Sample, list[Predicted]]]:
    """Every frame, at its own and at the working size, with everybody's depth of it; each is read and decoded once."""
    settings = methods.learners[0].tested[0].settings
    together = frames_together(settings)
    for chunk in progress([frames[at : at + together] for at in range(0, len(frames), together)], "scoring"):
        raws = [source.read(frame) for frame in chunk]
        samples = [bring_to_size(raw, settings.data.size) for raw in raws]
        predictions = list(methods.predictions(chunk, torch.stack([each["image"] for each in samples]), rows))
        for index, (frame, raw, sample) in enumerate(zip(chunk, raws, samples, strict=True)):
            yield frame, raw, sample, [each.of(index) for each in predictions]


def _grid_row(frame: Frame, sample: Sample, data: DataSettings, fused: Fused) -> GridRow:
    valid = sample["valid"] & valid_depth(sample["depth"], data.min_depth, data.max_depth)
    return GridRow(
        frame=frame.id,
        image=(sample["image"] * 255).round().to(torch.uint8).permute(1, 2, 0).numpy(),
        truth=sample["depth"][0].numpy(),
        valid=valid[0].numpy(),
        depths=fused.learners[0].numpy(),
        weights=fused.maps[0, : fused.learners.shape[1]].numpy(),
        stack=fused.depth[0, 0].numpy(),
    )


def _ranked_images(
    statistics: StackStatistics,
    ranked: Sequence[RankedFrame],
    frames: Mapping[str, Frame],
    samples: Mapping[str, Sample],
    rows: Mapping[Models, DepthRows],
) -> tuple[GalleryImage, ...]:
    """The best, the median and the worst frame of a stack with everything that is known of them.

    Which these are is known when all are scored, and what was made of all would fill memory: these few are fused again.

    Args:
        statistics: Of the stack.
        ranked: The frames.
        frames: By id.
        samples: At the working size, by id.
        rows: Cached depth of its learners.
    """
    stack, images = statistics.stack, []
    for place in ranked:
        frame, sample = frames[place.frame], samples[place.frame]
        fused = stacked(stack, sample["image"][None], read_depths(stack.learners, rows, [frame]))
        error = statistics.calibration.of(fused)
        row = _grid_row(frame, sample, stack.settings.data, fused)
        images.append(GalleryImage(place.rank, place.score, row, error[0, 0].numpy()))
    return tuple(images)
