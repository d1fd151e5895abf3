"""Gathers scores frame by frame into the rows of a table."""

from collections.abc import Mapping

import torch
from torch import Tensor

from ensemble.data.source import Frame, RawFrame
from ensemble.evaluation.method_info import Description
from ensemble.evaluation.results.scores import ImageScore, ScoreRow
from ensemble.metrics.formulas import METRICS, pixel_errors
from ensemble.metrics.protocols import EvalProtocol, prepare
from ensemble.metrics.statistics import mean_and_deviation
from ensemble.metrics.sums import ImageSums, PixelSums

Cell = tuple[str, int]
"""Name of a row, and which of its repeats."""

PIXELS_TOGETHER = 2**19
"""Of rows that are scored at once: memory for more is asked of the system anew for every step, which takes longer than
the arithmetic does. Scores do not depend on it, bit for bit.
"""


class ScoreTable:
    """The scores of every row on every frame.

    Args:
        protocol: How they are made; of each frame's own size where that is not known before.
        per_image: Whether to keep the scores of every image.

    Attributes:
        images: One entry per row, repeat and frame.
    """

    def __init__(self, protocol: EvalProtocol, *, per_image: bool = True) -> None:
        self._protocol = protocol
        self._sizes: set[tuple[int, int]] = set()
        self.images: list[ImageScore] = []
        self._per_image = per_image
        self._sums: dict[Cell, ImageSums] = {}

    @property
    def protocol(self) -> EvalProtocol:
        """How the frames so far were scored; it names their size where all of them share one."""
        (size,) = self._sizes if len(self._sizes) == 1 else (self._protocol.size,)
        return self._protocol.model_copy(update={"size": size})

    def add(self, frame: Frame, raw: RawFrame, predictions: Mapping[Cell, Tensor]) -> None:
        """Score one frame.

        Args:
            frame: Which.
            raw: Its truth.
            predictions: Depth [1 1 h w] in metres at the size of the truth.
        """
        height, width = raw.depth.shape
        self._sizes.add((height, width))
        together = max(1, PIXELS_TOGETHER // (height * width))
        cells = list(predictions)
        for part in (cells[at : at + together] for at in range(0, len(cells), together)):
            self._add(frame, raw, {cell: predictions[cell] for cell in part})

    def _add(self, frame: Frame, raw: RawFrame, predictions: Mapping[Cell, Tensor]) -> None:
        target, valid = (torch.from_numpy(array)[None, None] for array in (raw.depth, raw.valid))
        shape = (len(predictions), 1, *raw.depth.shape)
        *compared, counts = prepare(
            torch.cat(list(predictions.values())),
            target.expand(shape),
            valid.expand(shape),
            protocol=self._protocol.at(raw.window),
        )
        if self._protocol.relative_to == "prediction":  # every other metric is the same both ways
            compared = [compared[1], compared[0], compared[2]]
        errors = pixel_errors(*compared)
        scores = {name: metric.formula(errors).tolist() for name, metric in METRICS.items()}
        log_ratios = errors.mean(errors.log_ratio).tolist()
        found = {kind: count.tolist() for kind, count in counts._asdict().items()}
        pixels = int(errors.pixels[0])
        for index, (name, repeat) in enumerate(predictions):
            known = {metric: values[index] for metric, values in scores.items()}
            if (name, repeat) not in self._sums:
                self._sums[name, repeat] = ImageSums() if self.protocol.averaging == "image" else PixelSums()
            met = {kind: count[index] for kind, count in found.items()}
            self._sums[name, repeat].update(known, pixels=pixels, mean_log_ratio=log_ratios[index], **met)
            if self._per_image:
                self.images.append(ImageScore(name, frame.id, frame.scene, known if pixels else None, repeat))

    def mean(self, name: str, metric: str) -> float:
        """Of a row over the frames so far."""
        return self._sums[name, 0].compute()[metric]

    def rows(self, described: Mapping[str, Description]) -> list[ScoreRow]:
        """One row per name, in the order in which they were added; repeats are averaged.

        Args:
            described: From ``descriptions_of``.
        """
        repeats: dict[str, list[dict[str, int | float]]] = {}
        for (name, _), sums in self._sums.items():
            repeats.setdefault(name, []).append(sums.compute())
        rows = []
        for name, found in repeats.items():
            about = described[name]
            spreads = {metric: mean_and_deviation([each[metric] for each in found]) for metric in METRICS}
            rows.append(
                ScoreRow(
                    name=name,
                    kind=about.kind,
                    title=about.title,
                    parameters=about.parameters,
                    scores={metric: spread.mean for metric, spread in spreads.items()},
                    deviations={
                        metric: spread.deviation for metric, spread in spreads.items() if spread.deviation is not None
                    }
                    or None,
                    repeats=len(found),
                    images=int(found[0]["images"]),
                    without_valid=int(found[0]["images_without_valid"]),
                    clipped_pixels=sum(int(each["clipped"]) for each in found),
                    note=about.note,
                    mul_adds=about.mul_adds,
                    frames_per_second=None if about.milliseconds is None else 1e3 / about.milliseconds,
                    training_seconds=about.seconds,
                    validation_rel=about.validation_rel,
                    choice_rel=about.choice_rel,
                )
            )
        return rows
