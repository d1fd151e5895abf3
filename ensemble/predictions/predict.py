"""Predictions of trained learners over whole frames, written to the cache and read back."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack
from itertools import islice

import torch
from torch import Tensor

from ensemble.console import counted, messages, progress
from ensemble.data.division import Experiment, open_experiment
from ensemble.data.loaders import Batch, FrameDataset, OrderedBatches, affordable_workers, loader
from ensemble.data.source import Frame, FrameSource
from ensemble.data.transforms import resize_image
from ensemble.predictions.foreign.record import import_command
from ensemble.predictions.learners import TrainedLearner, common_data, load_learner
from ensemble.predictions.store import CacheIdentity, PredictionReader, PredictionWriter, fill_stores
from ensemble.predictions.store.filling import Row
from ensemble.runs.claims import differing_sources
from ensemble.runs.fingerprints import fingerprint
from ensemble.runs.paths import Outputs, model_options
from ensemble.settings.names import Role
from ensemble.settings.schema import DataSettings, ImageSize, ImportSettings, LearnerSettings, TrainingSettings
from ensemble.training.layout import ready_for
from ensemble.training.networks import predict_depth

PREPROCESSING_VERSION = 1
"""Raised whenever the same settings begin to give the networks other images."""

IMPORT_VERSION = 1
"""Raised whenever the same depth maps begin to give other rows."""


def device_of(settings: TrainingSettings) -> torch.device:
    """Where to predict."""
    return torch.device("cuda" if settings.device != "cpu" and torch.cuda.is_available() else "cpu")


def check_trained_frames(trained: Sequence[TrainedLearner], experiment: Experiment) -> None:
    """Refuse learners whose copy has changed since: scenes that they were trained on may be test scenes now.

    Raises:
        ValueError: A learner was trained on other frames, or with other folds, than there are now.
    """
    for learner in trained:
        differing = differing_sources(learner.run, experiment.sources(learner.settings.fold))
        if differing and learner.is_import:
            raise ValueError(
                f"{learner.run.folder}: {learner.name} was imported for other frames than there are now "
                f"({'; '.join(differing)}). Bring the data back, or remove {learner.run.folder.parent} and import again"
            )
        if differing:
            raise ValueError(
                f"{learner.run.folder}: {learner.name} was trained on other frames than there are now "
                f"({'; '.join(differing)}), some of which may be tested on now. Bring the data back, or train it again "
                "with --fresh"
            )


def preprocessing_fingerprint(settings: LearnerSettings | ImportSettings) -> str:
    """Fingerprint of everything between a file and a cached row but the network itself."""
    data = settings.seen
    common = {"size": list(data.size), "min_depth": data.min_depth, "max_depth": data.max_depth}
    if isinstance(settings, ImportSettings):
        return fingerprint({"version": IMPORT_VERSION, **common})
    network = {"flip_averaging": settings.evaluation.flip_averaging, "precision": settings.training.precision}
    return fingerprint({"version": PREPROCESSING_VERSION, **common, **network})


def identity_of(trained: TrainedLearner, experiment: Experiment, frames: Sequence[Frame], role: Role) -> CacheIdentity:
    """What a learner's cached rows must have been made from."""
    return CacheIdentity(
        learner=trained.name,
        role=role,
        fold=trained.settings.fold,
        weights=trained.made_from(role),
        preprocessing=preprocessing_fingerprint(trained.settings),
        frames=experiment.source.describe(frames),
        folds=experiment.division.folds.fingerprint,
    )


def cache_predictions(
    trained: Sequence[TrainedLearner],
    outputs: Outputs,
    role: Role,
    frames: Sequence[Frame] | None = None,
    *,
    rebuild: bool = False,
    codec: str = "none",
    workers: int = 0,
) -> int:
    """Write every asked learner's depth of every frame of a role, in one pass over the images; returns how many frames.

    Rows that are there already, and were made from the same weights, preprocessing and files, are kept. Stores that are
    complete are not locked, so any number of processes may ask for the same rows. Models are of one experiment with the
    same frames; with role ``oof``, of one fold. Frames are those that go by the role in training where absent.

    Raises:
        ValueError: The role is none of training and no frames are given, the rows that are there were made from
            something else, the learners' data differ, or another process is writing what is missing.
    """
    data = common_data(trained)
    experiment = open_experiment(outputs, trained[0].settings)
    check_trained_frames(trained, experiment)
    if frames is None:
        frames = experiment.division.of_role(role, trained[0].settings.fold)
    _check_imported([each for each in trained if each.is_import], experiment, frames, role, rebuild=rebuild)
    trained = [each for each in trained if not each.is_import]
    writers: dict[str, PredictionWriter] = {}
    unfinished: dict[str, TrainedLearner] = {}
    for learner in trained:
        writer = writer_of(learner, experiment, frames, role, rebuild=rebuild, codec=codec)
        if not writer.is_complete():
            name = f"{learner.name}/{learner.model}"
            writers[name], unfinished[name] = writer, learner
    if not unfinished:
        return 0
    with ExitStack() as stack:
        for writer in writers.values():
            stack.enter_context(writer)
        missing = {frame_id for writer in writers.values() for frame_id in writer.missing()}
        wanted = [frame for frame in frames if frame.id in missing]
        if not wanted:  # another process has finished them in between
            return 0
        done = len(frames) - len(wanted)
        names = ", ".join(writers)
        messages.print(
            f"{role}: caching {counted(len(wanted), 'frame')} of {names}"
            + (f", {counted(done, 'is', 'are')} there" if done else "")
        )
        size = trained[0].network_settings.evaluation.batch_size
        most = min(writer.shard_frames for writer in writers.values())
        sizes = dict.fromkeys(learner.settings.seen.size for learner in unfinished.values())
        images = ImageDataset(experiment.source, wanted, data, sizes)
        blocks = _blocks(images, size, workers, most)
        fill_stores(writers, blocks, _Predictor(unfinished, outputs).rows)
    return len(wanted)


def _check_imported(
    learners: Sequence[TrainedLearner], experiment: Experiment, frames: Sequence[Frame], role: Role, *, rebuild: bool
) -> None:
    """Rows that were imported are all there, or are refused: there is no network to compute them with."""
    for learner in learners:
        if rebuild:
            raise ValueError(
                f"{learner.name} was imported and has no network to compute rows with: --rebuild works on the import.\n"
                f"Run: {_filling(experiment.outputs, learner, role)} --rebuild"
            )
        open_predictions(learner, experiment, frames, role)


def writer_of(
    trained: TrainedLearner,
    experiment: Experiment,
    frames: Sequence[Frame],
    role: Role,
    *,
    rebuild: bool,
    codec: str = "none",
    mend: str = "",
) -> PredictionWriter:
    """The writer of the rows of one model; ``mend`` is the command that fills the store, where it is a special one."""
    return PredictionWriter(
        experiment.outputs.predictions(trained.settings.experiment, trained.name, role, trained.store),
        identity_of(trained, experiment, frames, role),
        [frame.id for frame in frames],
        size=trained.settings.seen.size,
        max_depth=trained.settings.data.max_depth,
        rebuild=rebuild,
        codec=codec,
        mend=mend or _filling(experiment.outputs, trained, role),
    )


def open_predictions(
    trained: TrainedLearner, experiment: Experiment, frames: Sequence[Frame], role: Role
) -> PredictionReader:
    """A reader over the cached rows of one model, checked for origin and cover.

    Raises:
        ValueError: Rows are missing, doubled or stale; the message holds the command that mends it.
    """
    outputs = experiment.outputs
    return PredictionReader(
        outputs.predictions(trained.settings.experiment, trained.name, role, trained.store),
        identity_of(trained, experiment, frames, role),
        [frame.id for frame in frames],
        size=trained.settings.seen.size,
        max_depth=trained.settings.data.max_depth,
        mend=_filling(outputs, trained, role),
    )


def _filling(outputs: Outputs, learner: TrainedLearner, role: Role) -> str:
    model = model_options(learner.model)
    experiment = learner.settings.experiment
    if isinstance(learner.settings, ImportSettings):
        folder = learner.imported[role].folder if role in learner.imported else None
        return import_command(outputs, learner.settings, role, model=learner.model, folder=folder)
    return outputs.command("base", "cache", learner.name, "--role", role, *model, "--experiment", experiment)


def _training_anew(outputs: Outputs, learner: TrainedLearner) -> str:
    trained = ("meta", "fit") if learner.prefix else ("base", "train", learner.name)
    return outputs.command(*trained, "--resume", str(learner.run.folder), "--fresh")


class ImageDataset(FrameDataset):
    """Images alone: what is predicted cannot depend on the truth, not even on whether its file can be read.

    Every image is read once, whatever number of ``sizes`` networks see it at.
    """

    def __init__(
        self, source: FrameSource, frames: Sequence[Frame], settings: DataSettings, sizes: Collection[ImageSize]
    ) -> None:
        super().__init__(source, frames, settings)
        self.sizes = tuple(sizes)

    def sample(self, index: int) -> dict[str, Tensor]:
        """The image of a frame at every size, by ``view_at``."""
        image = self.source.read_image(self.frames[index])
        return {view_at(size): resize_image(image, size) for size in self.sizes}


def view_at(size: ImageSize) -> str:
    """What the image at a size is called in a batch."""
    return f"image at {size[0]}x{size[1]}"


def _blocks(images: ImageDataset, batch_size: int, workers: int, most: int) -> Iterator[tuple[list[str], list[Batch]]]:
    """Batches of images that fill a shard, with the ids of their frames; every image is read once."""
    size = min(batch_size, most)
    loaded = loader(images, OrderedBatches(len(images), size), workers=affordable_workers(workers))
    batches = iter(progress(loaded, "predicting"))
    while block := list(islice(batches, most // size)):
        yield [frame for batch in block for frame in batch["frame"]], block


class _Predictor:
    """Networks in main memory, of which one at a time is on the device."""

    def __init__(self, trained: Mapping[str, TrainedLearner], outputs: Outputs) -> None:
        self._again = {name: _training_anew(outputs, learner) for name, learner in trained.items()}
        self._settings = {name: learner.network_settings for name, learner in trained.items()}
        self._networks = {name: load_learner(learner) for name, learner in trained.items()}

    @torch.inference_mode()
    def rows(self, name: str, batches: Sequence[Batch]) -> Iterator[Row]:
        """The rows that a model predicts of a block.

        Raises:
            ValueError: A depth is not finite; the message holds the command that trains the model anew.
        """
        settings = self._settings[name]
        device = device_of(settings.training)
        network = ready_for(self._networks[name], device)
        for batch in batches:
            depth = predict_depth(network, batch[view_at(settings.seen.size)].to(device), settings)[:, 0].cpu()
            finite = depth.isfinite().flatten(1).all(dim=1).tolist()
            if not all(finite):
                raise ValueError(
                    f"{name}: the depth of frame {batch['frame'][finite.index(False)]} is NaN or infinite; its weights "
                    f"or the frame are broken, nothing is repaired here.\nRun: {self._again[name]}"
                )
            yield from zip(batch["frame"], depth.numpy(), strict=True)
        if len(self._networks) > 1:
            network.cpu()
