"""Predictions of trained learners over whole frames, written to the cache and read back."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack

import torch
from torch import Tensor, nn

from ensemble.cache import CacheIdentity, PredictionReader, PredictionWriter, Role, fingerprint
from ensemble.config import DataSettings, LearnerSettings, TrainingSettings
from ensemble.console import messages, progress
from ensemble.data import open_source
from ensemble.data.loaders import FrameDataset, OrderedBatches, affordable_workers, loader
from ensemble.data.source import Frame, FrameSource
from ensemble.data.splits import training_frames
from ensemble.data.transforms import resize_image
from ensemble.networks import FRAMES, TrainedLearner, common_data, differing_sources, load_learner
from ensemble.runs import Outputs

PREPROCESSING_VERSION = 1
"""Raised whenever the same settings begin to give the networks other images."""


def device_of(settings: TrainingSettings) -> torch.device:
    """Where to predict."""
    return torch.device("cuda" if settings.device != "cpu" and torch.cuda.is_available() else "cpu")


def flip_averaged(predict: Callable[[Tensor], Tensor], image: Tensor, *, enabled: bool) -> Tensor:
    """The mean of a prediction and of the mirrored prediction of the mirrored image.

    Args:
        predict: Image [b c h w] -> map [b k h w].
        image: Anything that can be mirrored together with what is predicted.
        enabled: ``False`` predicts once.

    Source: Godard et al. 2017, section 4 (post-processing); the plain mean is what AdaBins and BTS report.
    """
    if not enabled:
        return predict(image)
    return (predict(image) + predict(image.flip(-1)).flip(-1)) / 2


def frames_of_role(source: FrameSource, data: DataSettings, role: Role) -> tuple[Frame, ...]:
    """The frames that go by a role of training: fitted on, or selected with.

    Raises:
        ValueError: The role is none of training; ``ensemble.evaluation`` knows the frames to test on.
    """
    split = training_frames(source, data)
    roles = {"fit": split.fit, "validation": split.validation}
    if role not in roles:
        raise ValueError(f"role {role}: expected one of training, {' or '.join(roles)}")
    return roles[role]


def frames_fingerprint(source: FrameSource, data: DataSettings) -> str:
    """Fingerprint of the frames that training sees and of how they are divided."""
    split = training_frames(source, data)
    return fingerprint([source.describe(split.fit), source.describe(split.validation)])


def check_trained_frames(trained: Sequence[TrainedLearner], source: FrameSource, data: DataSettings) -> None:
    """Refuse learners whose copy has changed since: scenes that they were trained on may be test scenes now.

    Raises:
        ValueError: A learner was trained on other frames than the data hold now.
    """
    now = {FRAMES: frames_fingerprint(source, data)}
    for learner in trained:
        differing = differing_sources(learner.run, now)
        if differing:
            raise ValueError(
                f"{learner.run.folder}: {learner.name} was trained on other frames than there are now "
                f"({'; '.join(differing)}), some of which may be tested on now. Bring the copy back, or train it again "
                "with --fresh"
            )


def preprocessing_fingerprint(settings: LearnerSettings) -> str:
    """Fingerprint of everything between a file and a cached row but the network itself."""
    return fingerprint(
        {
            "version": PREPROCESSING_VERSION,
            "size": list(settings.data.size),
            "min_depth": settings.data.min_depth,
            "max_depth": settings.data.max_depth,
            "flip_averaging": settings.evaluation.flip_averaging,
            "precision": settings.training.precision,
        }
    )


def identity_of(trained: TrainedLearner, source: FrameSource, frames: Sequence[Frame], role: Role) -> CacheIdentity:
    """What a learner's cached rows must have been made from."""
    return CacheIdentity(
        learner=trained.name,
        role=role,
        fold=None,
        weights=trained.weights,
        preprocessing=preprocessing_fingerprint(trained.settings),
        frames=source.describe(frames),
    )


def cache_predictions(
    trained: Sequence[TrainedLearner],
    outputs: Outputs,
    role: Role,
    frames: Sequence[Frame] | None = None,
    *,
    rebuild: bool = False,
    workers: int = 0,
) -> None:
    """Write every asked learner's depth of every frame of a role, in one pass over the images.

    Rows that are there already, and were made from the same weights, preprocessing and files, are kept.

    Args:
        trained: Learners of one experiment with the same frames.
        outputs: Where to write.
        role: What the frames are to the learners.
        frames: The frames; where absent, those that go by the role in training.
        rebuild: Throw these learners' rows away first.
        workers: Loader processes.

    Raises:
        ValueError: The role is none of training and no frames are given, the rows that are there were made from
            something else, or the learners' data differ.
    """
    data = common_data(trained)
    source = open_source(data)
    check_trained_frames(trained, source, data)
    if frames is None:
        frames = frames_of_role(source, data, role)
    with ExitStack() as stack:
        writers: dict[str, PredictionWriter] = {}
        for learner in trained:
            identity = identity_of(learner, source, frames, role)
            folder = outputs.predictions(learner.settings.experiment, learner.name, role)
            writer = PredictionWriter(
                folder,
                identity,
                [frame.id for frame in frames],
                size=data.size,
                max_depth=data.max_depth,
                rebuild=rebuild,
                mend=_filling(outputs, learner, role),
            )
            writers[learner.name] = stack.enter_context(writer)
        missing = {name: set(writer.missing()) for name, writer in writers.items()}
        wanted = [frame for frame in frames if any(frame.id in ids for ids in missing.values())]
        done = len(frames) - len(wanted)
        names = ", ".join(writers)
        if not wanted:
            messages.print(f"{role}: all {len(frames)} frames of {names} are cached")
            return
        messages.print(f"{role}: caching {len(wanted)} frames of {names}" + (f", {done} are there" if done else ""))
        unfinished = {learner.name: learner for learner in trained if missing[learner.name]}
        for name, ids, depth in _predictions(unfinished, source, wanted, workers):
            for frame_id, row in zip(ids, depth, strict=True):
                if frame_id in missing[name]:
                    writers[name].append(frame_id, row.numpy())


def open_predictions(
    trained: Sequence[TrainedLearner], outputs: Outputs, source: FrameSource, frames: Sequence[Frame], role: Role
) -> dict[str, PredictionReader]:
    """Readers over the cached rows of learners, checked for origin and cover.

    Raises:
        ValueError: Rows are missing, doubled or stale; the message holds the command that mends it.
    """
    readers = {}
    for learner in trained:
        readers[learner.name] = PredictionReader(
            outputs.predictions(learner.settings.experiment, learner.name, role),
            identity_of(learner, source, frames, role),
            [frame.id for frame in frames],
            size=learner.settings.data.size,
            max_depth=learner.settings.data.max_depth,
            mend=_filling(outputs, learner, role),
        )
    return readers


def _filling(outputs: Outputs, learner: TrainedLearner, role: Role) -> str:
    experiment = learner.settings.experiment
    return outputs.command("base", "cache", learner.name, "--role", role, "--experiment", experiment)


class ImageDataset(FrameDataset):
    """Images alone: what is predicted cannot depend on the truth, not even on whether its file can be read."""

    def sample(self, index: int) -> dict[str, Tensor]:
        """The image of a frame at the working size."""
        return {"image": resize_image(self.source.read_image(self.frames[index]), self.settings.size)}


@torch.inference_mode()
def _predictions(
    trained: Mapping[str, TrainedLearner], source: FrameSource, frames: Sequence[Frame], workers: int
) -> Iterator[tuple[str, list[str], Tensor]]:
    """Learner, frame ids and depth [b h w] in metres for batch after batch, every image read once."""
    first = next(iter(trained.values())).settings
    devices = {name: device_of(learner.settings.training) for name, learner in trained.items()}
    networks = {name: load_learner(learner).to(devices[name]) for name, learner in trained.items()}
    images = ImageDataset(source, frames, first.data)
    order = OrderedBatches(len(frames), first.evaluation.batch_size)
    batches = loader(images, order, workers=affordable_workers(workers))
    for batch in progress(batches, "predicting"):
        for name, network in networks.items():
            image = batch["image"].to(devices[name])
            yield name, batch["frame"], predict_depth(network, image, trained[name].settings)[:, 0].cpu()


def predict_depth(network: nn.Module, image: Tensor, settings: LearnerSettings) -> Tensor:
    """Depth [b 1 h w] in metres, float32, of images [b 3 h w] at the working size."""
    precision = settings.training.precision
    kind = torch.float16 if precision == "16-mixed" else torch.bfloat16
    with torch.autocast(image.device.type, dtype=kind, enabled=precision != "32-true"):
        return flip_averaged(
            lambda view: network(view).depth.float(), image, enabled=settings.evaluation.flip_averaging
        )
