"""Typed settings: what can be asked of a run, in which units, and within which limits.

``ensemble.settings.layers`` reads them from YAML. Nothing here imports torch, so that a typo is answered at once.
"""

import re
import warnings
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    NonNegativeInt,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
    model_validator,
)

from ensemble.settings.kinds import KITTI, OWN, KindFacts, facts_of, reader_of
from ensemble.settings.names import NAME, check_own_learner, stacked_learners
from ensemble.settings.patterns import known_pattern, path_within
from ensemble.settings.places import at_home
from ensemble.settings.units import as_text, known_unit


class Settings(BaseModel):
    """Base of every settings class: frozen, and unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    def says(self, key: str, value: object) -> bool:
        """Whether a setting is written; one that came later is left out at its default, so that older records agree."""
        return True

    @model_serializer(mode="wrap")
    def _written(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {key: value for key, value in serialize(self).items() if self.says(key, value)}


MOST, MOST_FRAMES, MOST_PROCESSES = 1_000_000_000, 1_000_000, 256
"""Beyond these, a number is a mistake: of anything, of generated frames, of processes."""

Positive = Annotated[int, Field(gt=0, le=MOST)]
PositiveNumber = Annotated[float, Field(gt=0, le=MOST)]
NonNegativeNumber = Annotated[float, Field(ge=0, le=MOST)]
Fraction = Annotated[float, Field(ge=0, lt=1)]
Probability = Annotated[float, Field(ge=0, le=1)]
Factor = tuple[PositiveNumber, PositiveNumber]
ImageSize = tuple[Positive, Positive]
SMALLEST_SIDE, LARGEST_SIDE = 32, 16_384
"""Pixels: the deepest map of an encoder has one for 32 by 32 of these; no camera has more."""

Side = Annotated[int, Field(ge=SMALLEST_SIDE, le=LARGEST_SIDE)]
Name = Annotated[str, Field(pattern=NAME)]


def _known_kind(kind: str) -> str:
    facts_of(kind)
    return kind


class RoomsSettings(Settings):
    """Generated indoor scenes."""

    scenes: Positive = 40  # number of training scenes
    test_scenes: Positive = 10  # number of test scenes, generated from other seeds than the training scenes
    frames: Positive = 6  # camera poses per scene
    seed: NonNegativeInt = 0  # everything follows from it
    holes: bool = False  # drop depth where a Kinect would: at edges, on dark and grazing surfaces
    noise: bool = False  # depth noise that grows with the square of the distance, as a Kinect's does

    @model_validator(mode="after")
    def _affordable(self) -> Self:
        if (count := (self.scenes + self.test_scenes) * self.frames) > MOST_FRAMES:
            raise ValueError(f"scenes, test_scenes, frames: expected at most {MOST_FRAMES} frames, found {count}")
        return self


FIRST_FOLDER = "first folder"
Pattern = Annotated[str, AfterValidator(known_pattern)]
Unit = Annotated[str, BeforeValidator(as_text), AfterValidator(known_unit)]
ListFile = Annotated[str, AfterValidator(path_within)]


class CameraSettings(Settings):
    """A pinhole camera, in pixels of frames of one size; the centre of the first pixel is 0, 0."""

    frame: ImageSize  # height and width of these frames
    fx: PositiveNumber  # focal length in widths of a pixel
    fy: PositiveNumber  # focal length in heights of a pixel
    cx: NonNegativeNumber  # column that the optical axis meets
    cy: NonNegativeNumber  # row, likewise

    @model_validator(mode="after")
    def _axis_meets_the_frame(self) -> Self:
        height, width = self.frame
        if self.cx >= width or self.cy >= height:
            raise ValueError(f"cx {self.cx:g}, cy {self.cy:g}: expected a place within a frame of {height}x{width}")
        return self


class FolderSettings(Settings):
    """Images and depth maps of one's own, found by their names below ``data.root``.

    What the stars of the patterns stand for is the id of a frame, and equal in the names of its image and its depth.
    """

    images: Pattern = "rgb/**.{png,jpg,jpeg}"
    """``*`` is a part of a name, ``**`` also of several folders, ``{png,jpg}`` one of these."""
    depth: Pattern = "depth/**.{png,npy,npz,h5,hdf5,pfm,tif,tiff,exr,dpt,bin}"  # one map in a file
    unit: Unit | None = None
    """Of the depth, a name or a number per metre; where absent whole numbers are millimetres and real ones metres."""
    scene: Annotated[str, Field(max_length=1000)] = FIRST_FOLDER
    """What of a frame's id names the place it was taken in: its first folder, or a regular expression, of which the
    first group counts where there is one."""
    intrinsics: CameraSettings | None = None  # of all frames of its shape, if it is known
    training: ListFile | None = None
    """Text file below ``data.root`` with an id in each line; all frames in no other list where absent."""
    validation: ListFile | None = None  # likewise; ``data.validation_fraction`` of the training scenes where absent
    test: ListFile | None = None  # likewise; ``data.test_fraction`` of the scenes where absent

    @model_validator(mode="after")
    def _readable(self) -> Self:
        if self.images == self.depth:
            raise ValueError(f"images, depth: expected different patterns, found {self.images!r} twice")
        if self.scene != FIRST_FOLDER:
            try:
                with warnings.catch_warnings(action="error"):
                    re.compile(self.scene)
            except (re.error, OverflowError, RecursionError, Warning) as error:
                raise ValueError(
                    f"scene: expected {FIRST_FOLDER!r} or a regular expression, found {self.scene!r} ({error})"
                ) from error
        return self


KittiList = Annotated[str, AfterValidator(at_home)] | None


class KittiSettings(Settings):
    """Which frames of KITTI are used, and which depth is their truth; lists come with other projects and are not ours.

    A list is a file below ``data.root`` or anywhere else: of BTS and AdaBins (image, depth, focal length) or of
    Monodepth2 (drive, frame, side).
    """

    depth: Literal["annotated", "velodyne"] = "annotated"
    """``annotated`` was accumulated over 11 scans; ``velodyne`` is one scan, projected into the image."""
    crop: Literal["kb", "none"] = "kb"
    """``kb`` shows learners the 352x1216 pixels at the bottom of every frame; ``none`` all of it."""
    training: KittiList = None  # list of training frames; one with a known name where absent, or all annotated frames
    validation: KittiList = None  # list of frames that select checkpoints, of other drives than those of training
    test: KittiList = None
    """List of test frames; one with a known name where absent. ``val_selection_cropped`` is the 1,000 frames of the
    server's validation selection."""


class AugmentationSettings(Settings):
    """Random changes of a training frame."""

    flip: Probability = 0.5  # probability of a horizontal flip
    photometric: Probability = 0.5  # probability that brightness, contrast and colour change
    brightness: Factor = (0.9, 1.1)  # range of the brightness factor
    contrast: Factor = (0.9, 1.1)  # range of the contrast factor
    colour: Factor = (0.9, 1.1)  # range of the factor drawn for each channel
    rotation: Annotated[float, Field(ge=0, le=45)] = 2.5
    """Largest angle in degrees, either way; what turns in from outside is invalid, never zero depth."""

    @model_validator(mode="after")
    def _ranges_ascend(self) -> Self:
        for name in ("brightness", "contrast", "colour"):
            low, high = getattr(self, name)
            if low > high:
                raise ValueError(f"{name}: the range must ascend, found {low} .. {high}")
        return self


class DataSettings(Settings):
    """Where frames come from, at what size, and how they are split by scene."""

    kind: Annotated[str, AfterValidator(_known_kind)] = "rooms"
    """``rooms`` generates scenes; ``nyu`` reads a copy of NYU Depth v2 from disk, ``kitti`` one of KITTI, ``folder``
    images and depth of one's own; ``facts`` says what they are."""
    root: Annotated[Path, AfterValidator(at_home)] | None = None  # folder of the data, for kinds that lie in one
    infilled: bool = False
    """Take depth whose holes were filled where a copy has both kinds (the labelled set), not measured depth."""
    folder: FolderSettings = FolderSettings()  # how the files of a folder are called that no reader of its own knows
    kitti: KittiSettings = KittiSettings()  # which frames of KITTI, and which depth
    size: tuple[Side, Side] = Field(default_factory=lambda data: facts_of(data["kind"]).frame)
    """Height and width that every frame is brought to; predictions are cached at this size."""
    border: tuple[int, int, int, int] | None = None
    """Rows and columns (top, left, bottom, right, in pixels of the kind's frame) that training crops stay in."""
    crop: ImageSize | None = None
    """Height and width of a training crop, in pixels of ``size``; the whole frame where absent."""
    min_depth: PositiveNumber = 1e-3  # metres; nearer measurements are invalid
    max_depth: PositiveNumber = Field(default_factory=lambda data: facts_of(data["kind"]).max_depth)
    """Metres; farther measurements are invalid, and networks predict up to here."""
    validation_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """Share of the training scenes that selects checkpoints and is never trained on."""
    test: Literal["official", "held-out"] = Field(
        default_factory=lambda data: "held-out" if _tests_nothing(data["kind"], data["folder"]) else "official"
    )
    """``official`` scores on the data's own test split; ``held-out`` on scenes taken out of its training split, as
    where a folder has no list of test frames."""
    test_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.2  # share of scenes taken out with ``held-out``
    split_seed: NonNegativeInt = 0  # shuffles scenes before they are divided
    folds: Annotated[int, Field(ge=2, le=MOST_FRAMES)] = 5
    """Parts that the scenes to fit are divided into for out-of-fold predictions."""
    rooms: RoomsSettings = RoomsSettings()
    augmentation: AugmentationSettings = AugmentationSettings()
    preload: bool = False  # keep decoded frames of the training split in memory
    workers: Annotated[int, Field(ge=0, le=MOST_PROCESSES)] = 0  # loader processes

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

    @model_validator(mode="after")
    def _tests_something(self) -> Self:
        if self.test == "official" and _tests_nothing(self.kind, self.folder):
            raise ValueError("test official: expected a list of test frames in folder.test, found none; leave test out")
        return self

    def says(self, key: str, value: object) -> bool:
        """How files of one's own are called is written where they are read so, and what of KITTI is read likewise."""
        return {"folder": self.reader == OWN, "kitti": self.reader == KITTI}.get(key, True)

    @property
    def facts(self) -> KindFacts:
        """What is known of all data of this kind."""
        return facts_of(self.kind)

    @property
    def reader(self) -> str:
        """What reads its frames, a key in ``ensemble.data.SOURCES``."""
        return reader_of(self.kind)

    @property
    def likely_depth(self) -> tuple[float, float]:
        """Metres between which the median depth of a frame lies: as known of the kind, in step with ``max_depth``.

        What is far may be near as well, so that a larger ``max_depth`` raises the farther limit alone.
        """
        (low, high), share = self.facts.likely_depth, self.max_depth / self.facts.max_depth
        return low * min(1.0, share), high * share

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

    def at_size(self, size: ImageSize) -> Self:
        """The same frames seen at another size; a training crop keeps its share of them."""
        resized = self.model_copy(update={"size": size})
        if self.crop is None:
            return resized
        sides = zip(self.crop, self.size, size, resized.crop_region[2:], strict=True)
        crop = tuple(min(max(1, round(side * new / old)), region) for side, old, new, region in sides)
        return resized.model_copy(update={"crop": crop})


def _tests_nothing(kind: str, folder: FolderSettings) -> bool:
    return reader_of(kind) == OWN and folder.test is None


class EncoderSettings(Settings):
    """The encoder whose features a decoder reads."""

    name: str = "ghostnet_100"
    """Any timm model with what the decoder needs; a pyramid of five strides for those of the study."""
    weights: Annotated[str, AfterValidator(at_home)] = "none"
    """``imagenet`` asks timm for its pretrained weights, ``none`` starts from random ones, ``nyu-small`` takes those of
    that network, anything else is a file with a state dictionary (safetensors, or a PyTorch file of plain tensors), of
    the encoder alone or of a learner that has it."""
    arguments: dict[str, Any] = {}  # further arguments of timm's ``create_model``
    mean: tuple[float, float, float] | None = None
    """Channel means that images are normalised with; timm's own where absent."""
    std: tuple[PositiveNumber, PositiveNumber, PositiveNumber] | None = None  # channel standard deviations, likewise


class LastPhaseSettings(Settings):
    """The end of a training, in which the loss weighs its parts otherwise."""

    fraction: Annotated[float, Field(gt=0, lt=1)] = 0.2
    """Share of the training that it takes: the last steps, rounded up, or seconds where these are counted."""
    loss: Annotated[dict[str, Any], Field(min_length=1)]
    """Keyword arguments of the loss recipe that change; the others stay as in ``loss``."""


class TrainingSettings(Settings):
    """The optimiser, its one cycle, and when things are written."""

    epochs: Positive = 25  # passes over the training frames
    max_steps: Positive | None = None
    """Stop after so many optimiser steps (and shape the cycle to them); ``None`` leaves it to ``epochs``."""
    max_seconds: PositiveNumber | None = None
    """Stop after so many seconds of training (and shape the cycle to them), looks at the validation scenes not counted;
    how far a run gets then depends on the machine."""
    batch_size: Positive = 32  # frames per optimiser step over all processes and accumulated batches
    accumulate: Positive = 1  # batches whose gradients are added up for one step
    lr: PositiveNumber = 5e-4  # largest learning rate, reached at the end of the warm-up
    encoder_lr_factor: NonNegativeNumber = 1.0  # the encoder's learning rate as a multiple of ``lr``
    weight_decay: NonNegativeNumber = 1e-4  # of AdamW
    warmup_fraction: Fraction = 0.3  # share of the steps in which the learning rate climbs linearly
    start_divisor: Annotated[float, Field(ge=1, le=MOST)] = 25.0  # the first learning rate is ``lr / start_divisor``
    end_divisor: Annotated[float, Field(ge=1, le=MOST)] = 100.0
    """The last learning rate is ``lr / end_divisor``, reached along a cosine."""
    clip_norm: PositiveNumber | None = 0.1  # gradients are scaled down to this norm; ``None`` leaves them
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true"
    """Of the network; losses are always computed in float32."""
    device: Literal["auto", "cpu", "cuda"] = "auto"  # ``auto`` takes a GPU where there is one
    memory_format: Literal["auto", "contiguous", "channels_last"] = "auto"
    """``channels_last`` stores the channels of a pixel side by side, which many devices compute faster; ``auto`` does
    so on a processor. What is learned differs by rounding."""
    validate_every: Positive = 1  # epochs between two looks at the validation scenes
    checkpoint_every: Positive | None = None
    """Optimiser steps between two checkpoints; one is written after every epoch in any case."""
    select: Literal["d1", "d2", "d3", "abs_rel", "sq_rel", "rmse", "rmse_log", "log10", "silog_x100"] = "abs_rel"
    """Metric on the validation scenes that chooses the best checkpoint."""
    last_phase: LastPhaseSettings | None = None  # other arguments of the loss at the end; one loss throughout if absent

    def says(self, key: str, value: object) -> bool:
        """A last phase is written where there is one."""
        return key != "last_phase" or value is not None

    @model_validator(mode="after")
    def _one_budget_of_whole_steps(self) -> Self:
        if self.max_steps is not None and self.max_seconds is not None:
            raise ValueError("max_steps and max_seconds are two budgets for one run; give one of them")
        if self.batch_size % self.accumulate:
            raise ValueError(f"batch_size {self.batch_size} must be a multiple of accumulate {self.accumulate}")
        return self


class EvaluationSettings(Settings):
    """How predictions are scored; stored beside every score."""

    crop: Literal["eigen", "none", "garg", "garg-kb", "eigen-kitti"] = "eigen"
    """What of a frame is scored: all of it with ``none``, else a crop of ``ensemble.metrics.protocols.CROPS``."""
    flip_averaging: bool = True  # average with the prediction of the mirrored image
    batch_size: Positive = 8  # frames per forward pass


class DistillationSettings(Settings):
    """What a learner learns from a teacher: whom it asks, and what each kind of agreement counts in its loss."""

    teacher: str | None = None
    """A fit of the meta-learner, a learner, learners joined by commas (their log-mean), or a saved stack; nobody where
    absent."""
    rows: Literal["oof", "fit"] = "oof"
    """The teacher's depth of frames to fit: ``oof`` by models that never saw their scenes, ``fit`` by ones that did."""
    unlabelled: tuple[Annotated[Path, AfterValidator(at_home)], ...] = ()  # folders of photographs without depth
    unlabelled_share: Annotated[float, Field(gt=0, lt=1)] = 0.25  # of a batch, where there are such folders
    teacher_elsewhere: NonNegativeNumber = 1.0  # weight of the teacher's depth where there is no measurement
    teacher_depth: NonNegativeNumber = 1.0  # weight of the teacher's depth everywhere
    gradient_matching: NonNegativeNumber = 0.5  # weight of agreement with the teacher's steps of log depth
    affinity: NonNegativeNumber = 0.0
    """Weight of agreement in which places of the decoders' maps are alike; above 0 the teacher runs beside the
    student."""
    affinity_of: str | None = None  # which learner of the teacher hands out its maps; its first one where absent
    mean_weight: Probability = 0.85
    """Share of the squared mean log error to the teacher that is forgiven; 1 is blind to its scale."""
    scale: PositiveNumber = 10.0  # factor of the log errors to the teacher
    scales: Annotated[int, Field(ge=1, le=16)] = 4  # sizes that steps of log depth are compared at, each half the last
    grid: Annotated[int, Field(ge=2, le=64)] = 16  # rows and columns of places that affinities are compared at
    error_floor: PositiveNumber = 0.05
    """Expected error of the teacher as a share of its depth that halves the weight of a pixel against the others of its
    batch; weights are divided by their sum, so that a batch that is unsure as a whole counts as much as any."""

    @model_validator(mode="after")
    def _somebody_teaches(self) -> Self:
        if self.unlabelled and self.teacher is None:
            raise ValueError("unlabelled: photographs have no depth but that of a teacher; set teacher as well")
        usual = {name: field.get_default() for name, field in type(self).model_fields.items()}
        chosen = [key for key in usual if getattr(self, key) != usual[key]]
        if chosen and "teacher" not in self.model_fields_set:
            raise ValueError(
                f"{', '.join(chosen)}: goes unheard where nobody teaches; set teacher as well, to null where the "
                "learner is meant to learn alone"
            )
        return self


LATER_ARGUMENTS = {"activation": "elu"}
"""Keyword arguments of networks that came later; left out of settings at these values, which networks
have of themselves, so that older records agree."""


class LearnerSettings(Settings):
    """Everything that decides what ``train_learner`` produces."""

    experiment: Name  # names the folders below ``cache/`` that belong together
    learner: str  # its name: key in ``LEARNERS``, or one that an experiment file gave to a learner of its own
    architecture: str = Field(default_factory=lambda data: data["learner"])
    """Its network and loss, a key in ``LEARNERS``; its name where absent."""
    size: tuple[Side, Side] | None = None
    """Height and width that it sees frames at, is trained with and predicts at; ``data.size`` where absent, which its
    depth is brought to wherever it stands beside that of others."""
    seed: NonNegativeInt = 0  # initial weights, order of frames and augmentation follow from it
    fold: NonNegativeInt | None = None  # leave the scenes of this fold out of training; ``None`` fits to all of them
    data: DataSettings
    encoder: EncoderSettings = EncoderSettings()  # pyramid of features
    network: dict[str, Any] = {}  # keyword arguments of the network; ``configs/base/<learner>.yaml`` lists them
    loss: dict[str, Any] = {}  # keyword arguments of the loss recipe, likewise
    distillation: DistillationSettings = DistillationSettings()  # what it learns from a teacher, where it has one
    training: TrainingSettings = TrainingSettings()  # optimiser and schedule
    evaluation: EvaluationSettings = EvaluationSettings()  # how its predictions are made and scored

    @field_validator("network")
    @classmethod
    def _as_older_records(cls, network: dict[str, Any]) -> dict[str, Any]:
        return {key: value for key, value in network.items() if LATER_ARGUMENTS.get(key) != value}

    @property
    def seen(self) -> DataSettings:
        """Its data at the size that it sees them at."""
        return self.data if self.size is None else self.data.at_size(self.size)

    @model_validator(mode="after")
    def _named_as_it_is_built(self) -> Self:
        if self.architecture != self.learner:
            check_own_learner(self.learner, self.architecture)
        return self

    def says(self, key: str, value: object) -> bool:
        """Architecture, size and distillation are written where they differ from its name, its data and no teacher."""
        usual = {"architecture": self.learner, "size": None}
        if key == "distillation":
            return self.distillation.teacher is not None
        return key not in usual or value != usual[key]


class Alignment(Settings):
    """How scale-free depth became metres: ``scale`` times the depth, plus ``shift``."""

    scale: PositiveNumber  # metres per unit of the files, after ``unit``; never negative, which would be inverse depth
    shift: float  # metres; of inverse depth, both are of 1 / metres
    role: Literal["fit", "oof"]  # whose rows it was fitted to
    pixels: Positive  # valid pixels it was fitted to, of that many frames
    frames: Positive  # of training; no test frame is ever among them


class Rays(Settings):
    """The camera of depth maps that hold distances to its centre in place of depth along its axis."""

    focal: PositiveNumber  # focal length in pixels of a map of ``size``
    centre: tuple[float, float] | None = None
    """Column and row, counted from 0, where the axis meets the map; its middle where absent."""
    size: ImageSize | None = None  # height and width of the maps that these are pixels of; the first map decides it


class ImportSettings(Settings):
    """Everything that decides how depth maps from elsewhere became the rows of a learner."""

    experiment: Name  # names the folders below ``cache/`` that belong together
    learner: Name  # its name; neither that of a network of ours nor that of a combiner
    fold: NonNegativeInt | None = None  # the fold whose frames these rows predict; ``None`` for everything else
    data: DataSettings  # frames and splits; its ``size`` is what maps are resized to
    evaluation: EvaluationSettings = EvaluationSettings()  # how the learner is scored; those of the networks beside it
    unit: Unit | None = None
    """Of the files, a name or a number per metre; where absent whole numbers are millimetres and real ones metres."""
    inverse: bool = False  # the files hold inverse depth, and ``alignment`` makes 1 / metres of it
    rays: Rays | None = None  # the files hold distances to the centre of this camera; ``None`` for depth along the axis
    alignment: Alignment | None = None  # scale and shift of depth without a scale; ``None`` leaves metres as they are

    @property
    def seen(self) -> DataSettings:
        """Its data: maps are brought to their size when they are imported."""
        return self.data


class LiveSettings(Settings):
    """How learners are trained together with the meta-learner; ``frozen`` stacks read none of it."""

    lr_factor: PositiveNumber | None = None
    """Learning rates of the learners as multiples of their own; where absent 0.1 for ``finetune``, which goes on from
    their finished runs, and 1 for ``joint``."""
    lr_factors: dict[str, PositiveNumber] = {}  # the same for single learners, by name
    loss_weights: dict[str, NonNegativeNumber] = {}
    """Factors of the learners' own losses beside that of the stack, by name; 1 where absent."""
    clip: Literal["whole", "parts"] = "parts"
    """``parts`` holds the gradient of every learner to ``training.clip_norm`` by itself, so that one that is far off
    cannot slow down the others; ``whole`` holds them all together."""
    detach: bool = False  # let learners learn from their own losses alone, not from that of the stack


class StackSettings(Settings):
    """Everything that decides what ``fit_meta`` produces."""

    experiment: Name  # names the folders below ``cache/`` that belong together
    inputs: Literal["rgb", "d", "rgb+d"]  # what the meta-learner sees
    learners: Annotated[tuple[str, ...], Field(min_length=2)] = Field(default_factory=stacked_learners)
    """Whose cached predictions are weighed, in this order; ``ldrn#1`` is LDRN from seed 1 (``settings/members.py``)."""
    copies: dict[str, Positive] = {}
    """How often a learner counts in the weights that a fit begins with, by name; once where absent."""
    mode: Literal["frozen", "finetune", "joint"] = "frozen"
    """``frozen`` reads the learners' cached depth; ``finetune`` goes on training them; ``joint`` trains them from the
    start."""
    live: LiveSettings = LiveSettings()  # how learners are trained with it where they are not frozen
    members: dict[str, LearnerSettings] = {}
    """Settings of the learners that are trained with it, by name; empty where they are frozen."""
    rows: Literal["oof", "fit"] = "oof"
    """What it is fitted to: ``oof`` depth of frames by models that never saw their scenes, or ``fit`` depth by models
    that were trained on them (in-sample, as in the published study)."""
    level0: Literal["full", "folds"] = "full"
    """What predicts at test time: the learners' ``full`` fits, or the mean of the models of their ``folds``."""
    fold: NonNegativeInt | None = None
    """Fold whose out-of-fold rows judge the fit in place of the validation scenes; it is fitted to the others."""
    seed: NonNegativeInt = 0  # initial weights, order of frames and augmentation follow from it
    data: DataSettings
    encoder: EncoderSettings = EncoderSettings()  # pyramid of features
    network: dict[str, Any] = {}  # keyword arguments of ``MetaUNet``; ``configs/meta/<inputs>.yaml`` lists them
    loss: dict[str, Any] = {}  # keyword arguments of the scale-invariant log loss on the fused depth, likewise
    training: TrainingSettings = TrainingSettings()  # optimiser and schedule
    evaluation: EvaluationSettings = EvaluationSettings()  # how the stack is scored

    @model_validator(mode="after")
    def _learners_differ_and_are_its_own(self) -> Self:
        if len(set(self.learners)) != len(self.learners):
            raise ValueError(f"learners must differ, found {', '.join(self.learners)}")
        named = {**self.live.lr_factors, **self.live.loss_weights}
        if unknown := sorted(set(named) - set(self.learners)):
            raise ValueError(f"live: {', '.join(unknown)} is none of the learners {', '.join(self.learners)}")
        if unknown := sorted(set(self.copies) - set(self.learners)):
            raise ValueError(f"copies: {', '.join(unknown)} is none of the learners {', '.join(self.learners)}")
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

    @model_validator(mode="after")
    def _corrects_what_it_never_saw(self) -> Self:
        if self.corrects and (self.mode, self.rows) != ("frozen", "oof"):
            raise ValueError(
                "network.weights correct: expected mode frozen and rows oof, because what learners miss on frames that "
                f"they were trained on is not what they miss on new ones; found mode {self.mode} and rows {self.rows}"
            )
        return self

    def says(self, key: str, value: object) -> bool:
        """How often learners count is written where one counts more than once."""
        return key != "copies" or bool(value)

    @property
    def corrects(self) -> bool:
        """Whether it is the weighted log-mean with corrections by image and by pixel."""
        return self.network.get("weights") == "correct"


ScoredSettings = LearnerSettings | ImportSettings | StackSettings
"""Of anything that is scored: all have an experiment, data and an evaluation."""
