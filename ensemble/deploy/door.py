"""A fitted stack in a program of one's own: photographs or depth maps in, metres and expected error out."""

import math
import warnings
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self, TypeVar, overload

import numpy as np
import torch
from huggingface_hub import ModelHubMixin, snapshot_download
from jaxtyping import Float, Float32, Shaped
from PIL import Image
from torch import Tensor

from ensemble.data.formats.depth_files import check_map
from ensemble.data.formats.maps import aligned, check_marks, check_shape, check_values
from ensemble.data.intrinsics import Intrinsics
from ensemble.data.transforms import Original, padded, seen_at
from ensemble.deploy.card import model_card
from ensemble.deploy.foreign import FAR_APART, check_scale, numbers_read, times_the_others, times_training
from ensemble.deploy.network import StackNetwork, StackOutput
from ensemble.deploy.runtime.prediction import Prediction as Prediction
from ensemble.deploy.runtime.resizing import checked_size, pixels_of, shape_kept
from ensemble.deploy.saved import Header, SavedLearner, check_place, read_saved, save_file, save_folder
from ensemble.metrics.protocols import enlarged
from ensemble.photographs.views import focal_of_view
from ensemble.predictions.foreign.guesses import against_others, better_guess
from ensemble.settings.schema import StackSettings
from ensemble.settings.trees import SettingsError, near_names
from ensemble.training.layout import ready_for
from meta.fusion import check_depths
from meta.inputs import INPUTS

Array = TypeVar("Array", np.ndarray, Tensor)

Picture = Shaped[np.ndarray, "h w 3"] | Image.Image
Size = tuple[int, int]


class Unfused(NamedTuple):
    """What the learners say of one frame, at the working size, before it is fused.

    Attributes:
        seen: The image as networks see it; black where there is none, [1 3 h w].
        depths: Of the learners, metres, [1 k h w].
        whole: Height and width of the frame.
        given: Learners whose maps came from elsewhere; the others were asked.
    """

    seen: Tensor
    depths: Tensor
    whole: Size
    given: tuple[str, ...]


class DepthStack(ModelHubMixin):
    """Learners, meta-learner and calibration, ready to predict; ``ensemble.load`` makes one.

    ``save_pretrained``, ``push_to_hub`` and ``from_pretrained`` are those of ``huggingface_hub``.

    Args:
        network: From image to depth, at the working size.
        header: What is known of it.
    """

    def __init__(self, network: StackNetwork, header: Header) -> None:
        self.network, self.header = ready_for(network.as_scored(), _device_of(network)), header

    @classmethod
    def open(cls, place: Path | str) -> Self:
        """What was saved as a file or folder.

        Raises:
            ValueError: It is no saved stack, or damaged.
        """
        header, weights = read_saved(Path(place))
        return cls(header.network(weights), header)

    @property
    def learners(self) -> tuple[str, ...]:
        """Names, in the order of the weights."""
        return self.network.names

    @property
    def kinds(self) -> tuple[str, ...]:
        """What it says of an image: no ``error`` where it is a learner alone."""
        return "depth", "weights", "learners", *(() if self.network.calibration is None else ("error",))

    @property
    def trained_size(self) -> Size:
        """Height and width of the images that it was trained with."""
        return self.network.settings.data.size

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return _device_of(self.network)

    def to(self, device: str | torch.device) -> Self:
        """Compute there.

        Args:
            device: ``cpu``, ``cuda``, or ``auto``, which takes a GPU where there is one.

        Raises:
            SettingsError: Torch finds no such device.
        """
        ready_for(self.network, _device(device))
        return self

    def __repr__(self) -> str:
        """What it is, in a line."""
        height, width = self.trained_size
        return f"DepthStack({self.header.name}: {', '.join(self.learners)}; {height}x{width} on {self.device})"

    def save(self, place: Path | str) -> None:
        """Write what ``ensemble.load`` reads: a file, or a folder with a model card where the name has no ending."""
        path = Path(place)
        check_place(path)
        if path.suffix:
            save_file(path, self.header, self.network)
        else:
            self._save_pretrained(path)

    def halved(self) -> Self:
        """The same with weights rounded to the 16 bits that a saved file then keeps; it computes in 32."""
        weights = {
            name: value.half().to(value.dtype) if value.is_floating_point() else value
            for name, value in self.network.state_dict().items()
        }
        header = self.header.model_copy(update={"half": True})
        return type(self)(header.network(weights).to(self.device), header)

    def _save_pretrained(self, save_directory: Path) -> None:
        save_folder(save_directory, self.header, self.network, model_card(self.header))

    @classmethod
    def _from_pretrained(
        cls,
        *,
        model_id: str,
        revision: str | None,
        cache_dir: str | Path | None,
        force_download: bool,
        local_files_only: bool,
        token: str | bool | None,
        **model_kwargs: Any,
    ) -> Self:
        if Path(model_id).is_dir():
            return cls.open(model_id)
        folder = snapshot_download(
            model_id,
            revision=revision,
            cache_dir=cache_dir,
            force_download=force_download,
            local_files_only=local_files_only,
            token=token,
        )
        return cls.open(folder)

    @overload
    def __call__(
        self,
        image: Picture,
        *,
        size: Size | None = None,
        fov: float | None = None,
        flip: bool | None = None,
        device: str | torch.device | None = None,
    ) -> Prediction[np.ndarray]: ...

    @overload
    def __call__(
        self,
        image: Tensor,
        *,
        size: Size | None = None,
        fov: float | None = None,
        flip: bool | None = None,
        device: str | torch.device | None = None,
    ) -> Prediction[Tensor]: ...

    @torch.inference_mode()
    def __call__(
        self,
        image: Picture | Tensor,
        *,
        size: Size | None = None,
        fov: float | None = None,
        flip: bool | None = None,
        device: str | torch.device | None = None,
    ) -> Prediction[Any]:
        """Depth, expected error and weights of an image, at its size.

        Args:
            image: RGB: [h w 3] in 8 bits or as floats in [0, 1], a Pillow image of any mode, or a batch [b 3 h w] of
                floats.
            size: Height and width that the networks see. Where absent the image keeps its shape: its short side becomes
                that of ``trained_size``, and the long one is padded to what encoders can halve. At another scale than
                that, networks say other metres.
            fov: Degrees that the image sees across its width. Where absent it counts as taken by a camera with the
                focal length of training, in pixels of what the networks see; else metres grow as the focal length does.
            flip: Average with the mirrored image in this call; as it was loaded where absent.
            device: To compute on, from this call on; as ``to`` takes it.

        Raises:
            ValueError: It is no such image, size or device, a learner was imported and has no network, or there is a
                field of view and that of training is not known.
            FloatingPointError: Depth is not finite.
        """
        if size is not None:
            size = checked_size(size)
        if device is not None:
            self.to(device)
        with self.network.flipping(flip):
            if isinstance(image, Tensor):
                return self._predict(_checked_batch(image), size, fov)
            return _first(self._predict(_pixels(image), size, fov))

    def stream(
        self,
        frames: Iterable[Picture],
        *,
        size: Size | None = None,
        fov: float | None = None,
        flip: bool | None = None,
        device: str | torch.device | None = None,
    ) -> Iterator[Prediction[np.ndarray]]:
        """The prediction of every frame of a video, as soon as the frame is there; arguments as of a call."""
        for frame in frames:
            yield self(frame, size=size, fov=fov, flip=flip, device=device)

    @torch.inference_mode()
    def fuse(
        self, maps: Mapping[str, Shaped[np.ndarray, "_ _"]], image: Picture | None = None
    ) -> Prediction[np.ndarray]:
        """Depth, expected error and weights from depth maps of the learners, at the size of the image or the first map.

        Args:
            maps: By learner, each of any size: of an imported one as its files hold them, to which unit, scale and
                shift of the import are applied; of a network of ours in metres, or in millimetres where they are whole
                numbers, and not needed where there is an image.
            image: That they were predicted of; a stack that sees depth alone needs none.

        Raises:
            ValueError: A learner has no map, a map belongs to no learner, has another shape, unit or scale, holes or
                numbers that are not finite, or the image is missing.
        """
        frame = self.unfused(maps, image)
        self._warn_of_others(frame)
        return self.fused(frame)

    @torch.inference_mode()
    def fused(self, frame: Unfused) -> Prediction[np.ndarray]:
        """The last half of ``fuse``."""
        return _first(self._answer(self.network.fuse(frame.seen, frame.depths), frame.whole))

    @torch.inference_mode()
    def unfused(self, maps: Mapping[str, Shaped[np.ndarray, "_ _"]], image: Picture | None = None) -> Unfused:
        """The first half of ``fuse``, with its arguments and errors."""
        self._check_maps(maps, image)
        shapes = {name: check_map(np.shape(values), np.asarray(values).dtype) for name, values in maps.items()}
        frame = Counter(shapes.values()).most_common(1)[0][0] if image is None else np.asarray(image).shape[:2]
        for name, shape in shapes.items():
            check_shape(shape, f"{self.header.name}: map of {name}", [frame])
        if image is None:
            pixels, whole = torch.zeros(1, 3, *self.trained_size), frame
        else:
            pixels = _pixels(image)
            whole = pixels.shape[-2], pixels.shape[-1]
        seen, original = seen_at(pixels, self.trained_size).to(self.device), Original(pixels, self.trained_size)
        depths = [
            self._metres(learner, maps[learner.name]) if learner.name in maps else member(seen, original)
            for learner, member in zip(self.header.learners, self.network.members, strict=True)
        ]
        together = torch.cat(depths, dim=1)
        check_depths(together, self.learners)
        return Unfused(seen, together, whole, tuple(name for name in self.learners if name in maps))

    def focal_ratio(self, whole: Size, fov: float, size: Size | None = None) -> float:
        """How many times the focal length of training an image has, in pixels of what the networks see.

        What is k times as far looks the same through k times the focal length, so depth is k times what they say.

        Args:
            whole: Height and width of the image.
            fov: Degrees that it sees across its width.
            size: As for a call.

        Raises:
            ValueError: The focal length of training is not known, or there is no such field of view.
        """
        if self.header.focal is None:
            tool = "base" if self.header.settings is None else "meta"
            raise ValueError(
                f"{self.header.name}: the focal length of its training camera is not known, so a field of view says "
                "nothing; leave it out, or save it again from its run.\n"
                f"Run: python -m ensemble.{tool} save {self.header.name} OUT"
            )
        focal = focal_of_view(fov, whole[1])
        seen = Intrinsics(focal, focal, 0, 0).resized(whole, size or self.keeping_shape(*whole))
        return seen.focal / self.header.focal

    def _predict(self, pixels: Tensor, size: Size | None, fov: float | None) -> Prediction[Tensor]:
        whole = pixels.shape[-2], pixels.shape[-1]
        ratio = 1.0 if fov is None else self.focal_ratio(whole, fov, size)
        working = self.keeping_shape(*whole) if size is None else size
        seen = seen_at(pixels, working).to(self.device)
        if working != self.trained_size and size is None:
            seen = padded(seen)
        said = self.network(seen, Original(pixels, working))
        error = None if said.error is None else ratio * said.error
        return self._answer(StackOutput(ratio * said.depth, error, said.weights, ratio * said.learners), whole, working)

    def keeping_shape(self, height: int, width: int) -> Size:
        """The size that networks see of an image: its own shape, with the short side of ``trained_size``."""
        return shape_kept(self.trained_size, height, width)

    @property
    def needs_images(self) -> bool:
        """Whether maps of imported learners alone are not enough: it sees images, or has networks of its own."""
        return self._sees_images or len(self.network.imported) < len(self.learners)

    @property
    def _sees_images(self) -> bool:
        settings = self.network.settings
        return isinstance(settings, StackSettings) and (INPUTS[settings.inputs].image or settings.corrects)

    def _check_maps(self, maps: Mapping[str, Any], image: Picture | None) -> None:
        if not isinstance(maps, Mapping):
            raise ValueError(f"expected maps by the names of their learners, found {type(maps).__name__}")
        self.check_named(maps, image=image is not None)

    def check_named(self, given: Collection[str], *, image: bool) -> None:
        """Look at the names of those who have maps, before any map is.

        Args:
            given: The names.
            image: Whether there is an image.

        Raises:
            SettingsError: A learner has no map, one that has is none of the stack's, or the image is missing.
        """
        ours = [name for name in self.learners if name not in self.network.imported]
        optional = {*ours} if image else set[str]()
        if not given or not {*self.learners} - optional <= {*given} <= {*self.learners}:
            raise SettingsError(
                f"{self.header.name}: found maps of {', '.join(given) or 'nobody'}, expected those of "
                f"{', '.join(self.learners)}"
                + (f" ({', '.join(sorted(optional))} may be left out)" if optional else "")
                + (f"; with an image (--images DIR) {_need_none(ours)}" if ours and not image else "")
                + _meant(given, self.learners)
            )
        settings = self.network.settings
        if not image and isinstance(settings, StackSettings) and self._sees_images:
            how = "correct" if settings.corrects else settings.inputs
            raise SettingsError(
                f"{self.header.name}: this stack sees the image as well ({how}), expected one (--images DIR)"
            )

    def _warn_of_others(self, frame: Unfused) -> None:
        """Say which map lies otherwise than those of the other learners, or has another scale.

        One frame proves nothing, so it is fused.
        """
        depths = dict(zip(self.learners, frame.depths[0].cpu().numpy(), strict=True))
        names = frame.given if len(depths) > 1 else ()
        samples = {name: against_others(depths, name) for name in names}
        guesses = {
            name: guess for name in names if (guess := better_guess([samples[name]])) is not None and guess.turned
        }
        times = {name: times_the_others([sample], name, self.header.medians) for name, sample in samples.items()}
        apart = max(names, key=lambda name: abs(math.log(times[name])), default=None)
        told = None
        if guesses:
            worst = min(guesses, key=lambda name: guesses[name].error / guesses[name].told)
            whose = " or of ".join(guesses) if len(depths) == 2 else worst  # of two either may be wrong
            told = f"the pixels of the map of {whose} {guesses[worst].described('the depth of the others')}"
        elif apart is not None and abs(math.log(times[apart])) > math.log(FAR_APART):
            told = f"the map of {apart} is {times[apart]:.2f} times as far from those of the others as in training"
        elif len(names) == len(depths) and (change := times_training(depths, self.header.medians)) is not None:
            told = (
                f"the maps of all learners are {change:.2g} times as far as those of training, as if all were in "
                "another unit"
            )
        if told is not None:
            warnings.warn(f"{self.header.name}: {told}", stacklevel=5)  # above the guard of inference mode

    def _metres(self, learner: SavedLearner, numbers: np.ndarray) -> Tensor:
        own, array = learner.imported, np.asarray(numbers)
        array = array.reshape(check_map(array.shape, array.dtype))
        values, known = numbers_read(learner, array), own is None or own.alignment is None
        where = f"{self.header.name}: map of {learner.name}"
        check_marks(array, where)
        check_values(values, where, positive=known)
        check_scale(learner, [values], array, self.header.medians)
        metres = values if own is None else aligned(values, own)[0]
        return enlarged(torch.from_numpy(metres)[None, None], self.trained_size).to(self.device)

    def _answer(self, said: StackOutput, size: Size, inside: Size | None = None) -> Prediction[Tensor]:
        """What the network said, at a size; ``inside`` leaves out what was padded."""
        parts = {"depth": said.depth, "weights": said.weights, "learners": said.learners, "error": said.error}
        height, width = inside or said.depth.shape[-2:]
        working = {kind: maps[..., :height, :width] for kind, maps in parts.items() if maps is not None}
        if not all(maps.isfinite().all() for maps in working.values()):
            raise FloatingPointError(f"{self.header.name}: depth is NaN or infinite; nothing is repaired here")
        return Prediction(working, self.learners, size, _enlarged)


def _device_of(network: StackNetwork) -> torch.device:
    return next(network.parameters()).device


def _device(asked: str | torch.device) -> torch.device:
    """A device that torch has.

    Raises:
        SettingsError: It has none of this name.
    """
    there = ("cpu", *(["cuda"] if torch.cuda.is_available() else []))
    try:
        found = torch.device(there[-1] if asked == "auto" else asked)
    except RuntimeError as error:
        raise SettingsError(f"device {asked}: expected auto, {' or '.join(there)}") from error
    if found.type == "cuda" and "cuda" not in there:
        raise SettingsError(f"device {asked}: torch finds no CUDA device here; expected auto or cpu")
    return found


def _pixels(image: Picture) -> Float[Tensor, "1 3 h w"] | Shaped[Tensor, "1 3 h w"]:
    """A picture as 8 bits, or as floats in [0, 1].

    Raises:
        ValueError: It is something else.
    """
    return torch.from_numpy(np.require(pixels_of(image), requirements=("C", "W"))).permute(2, 0, 1)[None]


def _checked_batch(images: Tensor) -> Float[Tensor, "b 3 h w"]:
    if images.ndim != 4 or images.shape[1] != 3 or not images.is_floating_point() or not images.numel():
        raise ValueError(f"expected images [b 3 h w] of floats in [0, 1], found {tuple(images.shape)} {images.dtype}")
    if not bool(((images >= 0) & (images <= 1)).all()):  # neither holds for NaN
        raise ValueError(f"expected floats in [0, 1], found {float(images.min()):g} .. {float(images.max()):g}")
    return images.float()


def _meant(given: Collection[str], known: Sequence[str]) -> str:
    """Which of the learners that have no map the strange names look like."""
    lacking = [name for name in known if name not in given]
    pairs = [(name, near[0]) for name in given if name not in known and (near := near_names(name, lacking))]
    return f"; did you mean {', '.join(f'{near} by {name}' for name, near in pairs)}?" if pairs else ""


def _need_none(names: Sequence[str]) -> str:
    return f"{', '.join(names)} {'needs' if len(names) == 1 else 'need'} none"


def _first(found: Prediction[Tensor]) -> Prediction[np.ndarray]:
    """The one image of a batch, as arrays."""
    return Prediction(found.working, found.names, found.size, _as_array)


def _as_array(maps: Float[Tensor, "1 k _h _w"], size: Size) -> Float32[np.ndarray, "k h w"]:
    return _enlarged(maps, size)[0].cpu().numpy()


def _enlarged(maps: Float[Tensor, "b k _h _w"], size: Size) -> Float[Tensor, "b k h w"]:
    """Every map by itself: the kernel for several at once rounds otherwise, and maps are asked for one by one too."""
    return enlarged(maps.flatten(0, 1)[:, None], size).unflatten(0, maps.shape[:2])[:, :, 0]
