"""Typed settings: what can be asked of a run, in which units, and within which limits.

``ensemble.settings.layers`` reads them from YAML. Nothing here imports torch, so that a typo is answered at once.
"""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from ensemble.settings.kinds import KindFacts, facts_of
from ensemble.settings.places import at_home


class Settings(BaseModel):
    """Base of every settings class: frozen, and unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


Positive = Annotated[int, Field(gt=0)]
Fraction = Annotated[float, Field(ge=0, lt=1)]
Probability = Annotated[float, Field(ge=0, le=1)]
Factor = tuple[Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)]]
ImageSize = tuple[Positive, Positive]
SMALLEST_SIDE = 32
"""Pixels: the deepest map of an encoder has one for 32 by 32 of these."""

Side = Annotated[int, Field(ge=SMALLEST_SIDE)]
Deviation = Annotated[float, Field(gt=0)]
NAME = r"^[A-Za-z0-9][A-Za-z0-9._+-]*$"
Name = Annotated[str, Field(pattern=NAME, max_length=100)]


def _known_kind(kind: str) -> str:
    facts_of(kind)
    return kind


class RoomsSettings(Settings):
    """Generated indoor scenes.

    Attributes:
        scenes: Number of training scenes.
        test_scenes: Number of test scenes, generated from other seeds than the training scenes.
        frames: Camera poses per scene.
        seed: Everything follows from it.
        holes: Drop depth where a Kinect would: at edges, on dark and grazing surfaces.
        noise: Depth noise that grows with the square of the distance, as a Kinect's does.
    """

    scenes: Positive = 40
    test_scenes: Positive = 10
    frames: Positive = 6
    seed: Annotated[int, Field(ge=0)] = 0
    holes: bool = False
    noise: bool = False


class AugmentationSettings(Settings):
    """Random changes of a training frame.

    Attributes:
        flip: Probability of a horizontal flip.
        photometric: Probability that brightness, contrast and colour change.
        brightness: Range of the brightness factor.
        contrast: Range of the contrast factor.
        colour: Range of the factor drawn for each channel.
        rotation: Largest angle in degrees, either way; what turns in from outside is invalid, never zero depth.
    """

    flip: Probability = 0.5
    photometric: Probability = 0.5
    brightness: Factor = (0.9, 1.1)
    contrast: Factor = (0.9, 1.1)
    colour: Factor = (0.9, 1.1)
    rotation: Annotated[float, Field(ge=0, le=45)] = 2.5

    @model_validator(mode="after")
    def _ranges_ascend(self) -> Self:
        for name in ("brightness", "contrast", "colour"):
            low, high = getattr(self, name)
            if low > high:
                raise ValueError(f"{name}: the range must ascend, found {low} .. {high}")
        return self


class DataSettings(Settings):
    """Where frames come from, at what size, and how they are split by scene.

    Attributes:
        kind: ``rooms`` generates scenes; ``nyu`` reads a copy of NYU Depth v2 from disk; ``facts`` says what they are.
        root: Folder of the data, for kinds that lie in one.
        infilled: Take depth whose holes were filled where a copy has both kinds (the labelled set), not measured depth.
        size: Height and width that every frame is brought to; predictions are cached at this size.
        border: Rows and columns (top, left, bottom, right, in pixels of the kind's frame) that training crops stay in.
        crop: Height and width of a training crop, in pixels of ``size``; the whole frame where absent.
        min_depth: Metres; nearer measurements are invalid.
        max_depth: Metres; farther measurements are invalid, and networks predict up to here.
        validation_fraction: Share of the training scenes that selects checkpoints and is never trained on.
        test: ``official`` scores on the data's own test split; ``held-out`` on scenes taken out of its training split.
        test_fraction: Share of scenes taken out with ``held-out``.
        split_seed: Shuffles scenes before they are divided.
        folds: Parts that the scenes to fit are divided into for out-of-fold predictions.
        rooms: Generated scenes.
        augmentation: Random changes of training frames.
        preload: Keep decoded frames of the training split in memory.
        workers: Loader processes.
    """

    kind: Annotated[str, AfterValidator(_known_kind)] = "rooms"
    root: Annotated[Path, AfterValidator(at_home)] | None = None
    infilled: bool = False
    size: tuple[Side, Side] = Field(default_factory=lambda data: facts_of(data["kind"]).frame)
    border: tuple[int, int, int, int] | None = None
    crop: ImageSize | None = None
    min_depth: Annotated[float, Field(gt=0)] = 1e-3
    max_depth: Annotated[float, Field(gt=0)] = Field(default_factory=lambda data: facts_of(data["kind"]).max_depth)
    validation_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.1
    test: Literal["official", "held-out"] = "official"
    test_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.2
    split_seed: Annotated[int, Field(ge=0)] = 0
    folds: Annotated[int, Field(ge=2)] = 5
    rooms: RoomsSettings = RoomsSettings()
    augmentation: AugmentationSettings = AugmentationSettings()
    preload: bool = False
    workers: Annotated[int, Field(ge=0)] = 0

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.min_depth >= self.max_depth:
            raise ValueError(f"min_depth {self.min_depth} m must be below max_depth {self.max_depth} m")
        if self.border is not None:
            (top, left, bottom, right), (height, width) = self.border, self.facts.frame
            if not (0 <= top < bottom <= height and 0 <= left < right <= width):
                raise ValueError(
                    f"border {self.border}: expected top, left, bottom, right within a {height}x{width} frame"
                )
        if self.crop is not None:
            height, width = self.crop_region[2:]
            if self.crop[0] > height or self.crop[1] > width:
                raise ValueError(f"crop {self.crop} does not fit into the {height}x{width} pixels it is taken from")
        return self

    @property
    def facts(self) -> KindFacts:
        """What is known of all data of this kind."""
        return facts_of(self.kind)

    @property
    def crop_region(self) -> tuple[int, int, int, int]:
        """Top, left, height and width, in pixels of ``size``, of the region that training crops are taken from."""
        height, width = self.size
        if self.border is None:
            return 0, 0, height, width
        rows, columns = self.facts.frame
        top, bottom = (round(row * height / rows) for row in (self.border[0], self.border[2]))
        left, right = (round(column * width / columns) for column in (self.border[1], self.border[3]))
        return top, left, bottom - top, right - left


class EncoderSettings(Settings):
    """The encoder whose features a decoder reads.

    Attributes:
        name: Any timm model with what the decoder needs; a pyramid of five strides for those of the study.
        weights: ``imagenet`` asks timm for its pretrained weights, ``none`` starts from random ones, anything else is
            a file with a state dictionary (safetensors, or a PyTorch file of plain tensors).
        arguments: Further arguments of timm's ``create_model``.
        mean: Channel means that images are normalised with; timm's own where absent.
        std: Channel standard deviations, likewise.
    """

    name: str = "ghostnet_100"
    weights: Annotated[str, AfterValidator(at_home)] = "none"
    arguments: dict[str, Any] = {}
    mean: tuple[float, float, float] | None = None
    std: tuple[Deviation, Deviation, Deviation] | None = None


class TrainingSettings(Settings):
    """The optimiser, its one cycle, and when things are written.

    Attributes:
        epochs: Passes over the training frames.
        max_steps: Stop after so many optimiser steps (and shape the cycle to them); ``None`` leaves it to ``epochs``.
        max_seconds: Stop after so many seconds of training (and shape the cycle to them), looks at the validation
            scenes not counted; how far a run gets then depends on the machine.
        batch_size: Frames per optimiser step over all processes and accumulated batches.
        accumulate: Batches whose gradients are added up for one step.
        lr: Largest learning rate, reached at the end of the warm-up.
        encoder_lr_factor: The encoder's learning rate as a multiple of ``lr``.
        weight_decay: Of AdamW.
        warmup_fraction: Share of the steps in which the learning rate climbs linearly.
        start_divisor: The first learning rate is ``lr / start_divisor``.
        end_divisor: The last learning rate is ``lr / end_divisor``, reached along a cosine.
        clip_norm: Gradients are scaled down to this norm; ``None`` leaves them.
        precision: Of the network; losses are always computed in float32.
        device: ``auto`` takes a GPU where there is one.
        memory_format: ``channels_last`` stores the channels of a pixel side by side, which many devices compute faster.
        validate_every: Epochs between two looks at the validation scenes.
        checkpoint_every: Optimiser steps between two checkpoints; one is written after every epoch in any case.
        select: Metric on the validation scenes that chooses the best checkpoint.
    """

    epochs: Positive = 25
    max_steps: Positive | None = None
    max_seconds: Annotated[float, Field(gt=0)] | None = None
    batch_size: Positive = 32
    accumulate: Positive = 1
    lr: Annotated[float, Field(gt=0)] = 5e-4
    encoder_lr_factor: Annotated[float, Field(ge=0)] = 1.0
    weight_decay: Annotated[float, Field(ge=0)] = 1e-4
    warmup_fraction: Fraction = 0.3
    start_divisor: Annotated[float, Field(ge=1)] = 25.0
    end_divisor: Annotated[float, Field(ge=1)] = 100.0
    clip_norm: Annotated[float, Field(gt=0)] | None = 0.1
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true"
    device: Literal["auto", "cpu", "cuda"] = "auto"
    memory_format: Literal["contiguous", "channels_last"] = "contiguous"
    validate_every: Positive = 1
    checkpoint_every: Positive | None = None
    select: Literal["d1", "d2", "d3", "abs_rel", "sq_rel", "rmse", "rmse_log", "log10", "silog_x100"] = "abs_rel"

    @model_validator(mode="after")
    def _one_budget(self) -> Self:
        if self.max_steps is not None and self.max_seconds is not None:
            raise ValueError("max_steps and max_seconds are two budgets for one run; give one of them")
        return self

    @model_validator(mode="after")
    def _accumulation_divides(self) -> Self:
        if self.batch_size % self.accumulate:
            raise ValueError(f"batch_size {self.batch_size} must be a multiple of accumulate {self.accumulate}")
        return self


class EvaluationSettings(Settings):
    """How predictions are scored; stored beside every score.

    Attributes:
        crop: What of a frame is scored: all of it with ``none``, else a crop of ``ensemble.metrics.protocols.CROPS``.
        flip_averaging: Average with the prediction of the mirrored image.
        batch_size: Frames per forward pass.
    """

    crop: Literal["eigen", "none"] = "eigen"
    flip_averaging: bool = True
    batch_size: Positive = 8


class LearnerSettings(Settings):
    """Everything that decides what ``train_learner`` produces.

    Attributes:
        experiment: Names the folders below ``cache/`` that belong together.
        learner: Key in ``LEARNERS``.
        seed: Initial weights, order of frames and augmentation follow from it.
        fold: Leave the scenes of this fold out of training; ``None`` fits to all of them.
        data: Frames and splits.
        encoder: Pyramid of features.
        network: Keyword arguments of the network; ``configs/base/<learner>.yaml`` lists them.
        loss: Keyword arguments of the loss recipe, likewise.
        training: Optimiser and schedule.
        evaluation: How its predictions are made and scored.
    """

    experiment: Name
    learner: str
    seed: Annotated[int, Field(ge=0)] = 0
    fold: Annotated[int, Field(ge=0)] | None = None
    data: DataSettings
    encoder: EncoderSettings = EncoderSettings()
    network: dict[str, Any] = {}
    loss: dict[str, Any] = {}
    training: TrainingSettings = TrainingSettings()
    evaluation: EvaluationSettings = EvaluationSettings()


class Alignment(Settings):
    """How scale-free depth became metres: ``scale`` times the depth, plus ``shift``.

    Attributes:
        scale: Metres per unit of the files, after ``unit``; never negative, which would be inverse depth.
        shift: Metres.
        role: Whose rows it was fitted to.
        pixels: Valid pixels it was fitted to, of that many frames.
        frames: Of training; no test frame is ever among them.
    """

    scale: Annotated[float, Field(gt=0)]
    shift: float
    role: Literal["fit", "oof"]
    pixels: Positive
    frames: Positive


class ImportSettings(Settings):
    """Everything that decides how depth maps from elsewhere became the rows of a learner.

    Attributes:
        experiment: Names the folders below ``cache/`` that belong together.
        learner: Its name; neither that of a network of ours nor that of a combiner.
        fold: The fold whose frames these rows predict; ``None`` for everything else.
        data: Frames and splits; its ``size`` is what maps are resized to.
        evaluation: How the learner is scored; those of the networks beside it.
        unit: Of the files; where absent whole numbers are millimetres and real ones metres.
        alignment: Scale and shift of depth without a scale; ``None`` leaves metres as they are.
    """

    experiment: Name
    learner: Name
    fold: Annotated[int, Field(ge=0)] | None = None
    data: DataSettings
    evaluation: EvaluationSettings = EvaluationSettings()
    unit: Literal["m", "mm"] | None = None
    alignment: Alignment | None = None


class LiveSettings(Settings):
    """How learners are trained together with the meta-learner; ``frozen`` stacks read none of it.

    Attributes:
        lr_factor: Learning rates of the learners as multiples of their own; where absent 0.1 for ``finetune``, which
            goes on from their finished runs, and 1 for ``joint``.
        lr_factors: The same for single learners, by name.
        loss_weights: Factors of the learners' own losses beside that of the stack, by name; 1 where absent.
        clip: ``parts`` holds the gradient of every learner to ``training.clip_norm`` by itself, so that one that is
            far off cannot slow down the others; ``whole`` holds them all together.
        detach: Let learners learn from their own losses alone, not from that of the stack.
    """

    lr_factor: Annotated[float, Field(gt=0)] | None = None
    lr_factors: dict[str, Annotated[float, Field(gt=0)]] = {}
    loss_weights: dict[str, Annotated[float, Field(ge=0)]] = {}
    clip: Literal["whole", "parts"] = "parts"
    detach: bool = False


class StackSettings(Settings):
    """Everything that decides what ``fit_meta`` produces.

    Attributes:
        experiment: Names the folders below ``cache/`` that belong together.
        inputs: What the meta-learner sees.
        learners: Whose cached predictions are weighed, in this order.
        rows: What it is fitted to: ``oof`` depth of frames by models that never saw their scenes, or ``fit`` depth by
            models that were trained on them (in-sample, as in the published study).
        mode: ``frozen`` reads the learners' cached depth; ``finetune`` goes on training them; ``joint`` trains
            them from the start.
        live: How learners are trained with it where they are not frozen.
        members: Settings of the learners that are trained with it, by name; empty where they are frozen.
        level0: What predicts at test time: the learners' ``full`` fits, or the mean of the models of their ``folds``.
        fold: Fold whose out-of-fold rows judge the fit in place of the validation scenes; it is fitted to the others.
        seed: Initial weights, order of frames and augmentation follow from it.
        data: Frames and splits.
        encoder: Pyramid of features.
        network: Keyword arguments of ``MetaUNet``; ``configs/meta/<inputs>.yaml`` lists them.
        loss: Keyword arguments of the scale-invariant log loss on the fused depth, likewise.
        training: Optimiser and schedule.
        evaluation: How the stack is scored.
    """

    experiment: Name
    inputs: Literal["rgb", "d", "rgb+d"]
    learners: Annotated[tuple[str, ...], Field(min_length=2)] = ("adabins", "bts", "ldrn")
    mode: Literal["frozen", "finetune", "joint"] = "frozen"
    live: LiveSettings = LiveSettings()
    members: dict[str, LearnerSettings] = {}
    rows: Literal["oof", "fit"] = "oof"
    level0: Literal["full", "folds"] = "full"
    fold: Annotated[int, Field(ge=0)] | None = None
    seed: Annotated[int, Field(ge=0)] = 0
    data: DataSettings
    encoder: EncoderSettings = EncoderSettings()
    network: dict[str, Any] = {}
    loss: dict[str, Any] = {}
    training: TrainingSettings = TrainingSettings()
    evaluation: EvaluationSettings = EvaluationSettings()

    @model_validator(mode="after")
    def _learners_differ(self) -> Self:
        if len(set(self.learners)) != len(self.learners):
            raise ValueError(f"learners must differ, found {', '.join(self.learners)}")
        return self

    @model_validator(mode="after")
    def _live_learners_are_its_own(self) -> Self:
        named = {**self.live.lr_factors, **self.live.loss_weights}
        if unknown := sorted(set(named) - set(self.learners)):
            raise ValueError(f"live: {', '.join(unknown)} is none of the learners {', '.join(self.learners)}")
        if self.mode != "frozen" and self.level0 == "folds":
            raise ValueError(f"level0 folds: mode {self.mode} trains one model of every learner; set level0 to full")
        return self

    @model_validator(mode="after")
    def _folds_predict_out_of_fold(self) -> Self:
        if self.rows == "fit" and self.level0 == "folds":
            raise ValueError("level0 folds: the models of the folds have no in-sample rows; set rows to oof")
        if self.fold is not None and (self.mode, self.rows) != ("frozen", "oof"):
            raise ValueError(
                f"fold {self.fold}: expected mode frozen and rows oof, of which a fold can be left out; found mode "
                f"{self.mode} and rows {self.rows}"
            )
        return self


ScoredSettings = LearnerSettings | ImportSettings | StackSettings
"""Of anything that is scored: all have an experiment, data and an evaluation."""
