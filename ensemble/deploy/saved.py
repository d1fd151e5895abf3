"""A fitted stack, or a learner, as one file or one folder: everything that predicting needs, and what was known of it.

A file is safetensors: the weights by part, and a header in JSON. A folder holds the same as ``config.json`` and
``model.safetensors``, with a model card, as ``huggingface_hub`` keeps models. Neither needs data, a cache, or runs.
"""

import hashlib
import json
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as as_safetensors
from torch import Tensor

from ensemble.deploy.named import CONFIG, opened_by
from ensemble.deploy.network import LearnerNetwork, StackNetwork
from ensemble.metrics.expected_error import ExpectedError, ImagePart
from ensemble.metrics.uncertainty import Calibration
from ensemble.runs.files import write_bytes, write_text
from ensemble.runs.refusals import refuse_unreadable
from ensemble.settings.schema import ImportSettings, LearnerSettings, Settings, StackSettings
from ensemble.training.networks import build_learner, build_stack, unloaded

FORMAT = "stackdepth/1"
WEIGHTS, CARD = "model.safetensors", "README.md"
_HEADER, _ENDING = "stackdepth", ".stack"
_PACKAGES = ("stackdepth", "torch", "timm")
_LARGEST_HEADER = 100_000_000
"""Bytes, of the format."""


class SavedLearner(Settings):
    """One learner of what was saved.

    Attributes:
        name: Of a network of ours, or that its depth maps were imported under.
        title: The name for people.
        models: Settings of the models whose mean is its depth, by model; empty where it was imported.
        imported: How its depth maps became metres; ``None`` for a network of ours.
        median: Of its maps of training, as read; ``None`` where it is not known.
        rows: How these change from above to below; empty where it is not known.
    """

    name: str
    title: str
    models: dict[str, LearnerSettings]
    imported: ImportSettings | None = None
    median: float | None = None
    rows: tuple[float, ...] = ()


class Header(Settings):
    """What is saved beside the weights.

    Attributes:
        format: Of the file.
        name: Of the run.
        learners: In the order of their weights.
        settings: Of the stack; ``None`` where a learner was saved alone.
        calibration: Of the learners' disagreement, in metres and square metres; of a stack.
        image_part: What images add to the error that is to be expected, if that was fitted.
        sources: Fingerprints of the frames, folds and weights that it rests on.
        scores: On test frames, with their protocol, where it was evaluated.
        focal: Focal length of the training camera in pixels of the trained size; ``None`` where it is not known.
        medians: Of the depth of every learner on the rows of the calibration, metres; empty where it is not known.
        began: Weights that encoders began with before the training, by learner: ``imagenet``, the name of a network or
            of a file; without those that began with random ones.
        versions: Of the packages that saved it.
        half: Whether weights are kept in 16 bits.
        checksum: SHA-256 of the weights and of everything above.
    """

    format: Literal["stackdepth/1"] = FORMAT
    name: str
    learners: tuple[SavedLearner, ...]
    settings: StackSettings | None
    calibration: dict[str, list[float]] | None
    image_part: dict[str, Any] | None = None
    sources: dict[str, str]
    scores: dict[str, Any] | None
    focal: float | None = None
    medians: dict[str, float] = Field(default_factory=dict)
    began: dict[str, str] = Field(default_factory=dict)
    versions: dict[str, str]
    half: bool = False
    checksum: str = ""

    def network(self, weights: Mapping[str, Tensor]) -> StackNetwork:
        """The module that the weights belong to.

        Raises:
            RuntimeError: The weights do not fit.
        """
        members = [
            LearnerNetwork(
                [build_learner(unloaded(own)) for own in learner.models.values()], [*learner.models.values()]
            )
            if learner.models
            else None
            for learner in self.learners
        ]
        names = [learner.name for learner in self.learners]
        if self.settings is None or self.calibration is None:
            network = StackNetwork(names, members, next(iter(self.learners[0].models.values())))
        else:
            image = None if self.image_part is None else ImagePart.from_plain(self.image_part)
            expected = ExpectedError(Calibration.from_plain(self.calibration), image)
            network = StackNetwork(names, members, self.settings, build_stack(unloaded(self.settings)), expected)
        network.load_state_dict(weights)
        return network


def package_versions() -> dict[str, str]:
    """Of what a saved network depends on."""
    return {name: version(name) for name in _PACKAGES}


def check_place(place: Path) -> None:
    """Refuse to write a saved stack over something that is none.

    Raises:
        ValueError: A file of another kind, a folder in the place of a file, or the reverse, or a folder with files that
            are none of a saved stack, has this name.
    """
    if place.exists() and not (_may_take(place) if place.is_dir() else _may_be_saved(place)):
        raise ValueError(
            f"{place}: expected a name that is free or that of a saved stack, found something else of that name; "
            f"choose another one, such as {place.stem}{_ENDING}"
        )


def replaced(place: Path, name: str) -> str:
    """What is said where saving would replace a stack or learner of another name; else nothing."""
    try:
        before = str(json.loads(_header_text(place))["name"])
    except (OSError, SafetensorError, ValueError, KeyError, TypeError):
        return ""
    return f"{place}: {before}, which was saved there, is replaced" if before != name else ""


def _may_take(folder: Path) -> bool:
    """Whether a folder is empty, or holds a saved stack: its files would be replaced."""
    names = {path.name for path in folder.iterdir()}
    return not folder.suffix and (not names or names >= {CONFIG, WEIGHTS})


def save_file(path: Path, header: Header, network: StackNetwork) -> None:
    """Write one file.

    Raises:
        OSError: It cannot be written.
    """
    weights = _weights(network, half=header.half)
    write_bytes(path, as_safetensors(weights, {_HEADER: _sealed(header, weights).model_dump_json()}))


def save_folder(folder: Path, header: Header, network: StackNetwork, card: str) -> None:
    """Write a folder as ``huggingface_hub`` keeps models: settings, weights and a model card."""
    folder.mkdir(parents=True, exist_ok=True)
    weights = _weights(network, half=header.half)
    write_bytes(folder / WEIGHTS, as_safetensors(weights, {"format": "pt"}))
    write_text(folder / CONFIG, _sealed(header, weights).model_dump_json(indent=2) + "\n")
    write_text(folder / CARD, card)


def read_saved(place: Path) -> tuple[Header, dict[str, Tensor]]:
    """Header and weights of a file or folder; nothing in it is executed.

    Raises:
        ValueError: It is no saved stack, of another format, or not as it was written.
    """
    weights_file = place / WEIGHTS if place.is_dir() else place
    try:
        with safe_open(weights_file, "pt") as file:
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (it is no dictionary)
        text = _header_text(place)
    except (OSError, SafetensorError, UnicodeDecodeError) as error:
        refuse_unreadable(weights_file, error)
        if how := opened_by(place):
            raise ValueError(
                f"{place}: is an exported file by its ending, expected what `python -m ensemble.meta save` or "
                f"`python -m ensemble.base save` writes; {how}"
            ) from error
        if missing := _missing_bytes(weights_file):
            raise ValueError(
                f"{weights_file}: cut short, {missing:,} bytes are missing; save or fetch it again"
            ) from error
        raise _something_else(place, str(error).partition("\n")[0] or type(error).__name__) from error
    try:
        header = Header.model_validate_json(text)
    except ValidationError as error:
        raise _header_refused(place, text, error) from error
    if _checksum(json.loads(text), weights) != header.checksum:  # of what stands there, whatever was added since
        raise ValueError(f"{place}: damaged since it was written (its checksum does not fit); save or fetch it again")
    return header, weights


def _weights(network: StackNetwork, *, half: bool) -> dict[str, Tensor]:
    return {
        name: (value.half() if half and value.is_floating_point() else value).detach().cpu().contiguous()
        for name, value in network.state_dict().items()
    }


def _sealed(header: Header, weights: Mapping[str, Tensor]) -> Header:
    return header.model_copy(update={"checksum": _checksum(header.model_dump(mode="json"), weights)})


def _checksum(header: Mapping[str, Any], weights: Mapping[str, Tensor]) -> str:
    told = {name: value for name, value in header.items() if name != "checksum"}
    digest = hashlib.sha256(json.dumps(told, sort_keys=True).encode())
    for name in sorted(weights):
        digest.update(f"{name} {weights[name].dtype} {tuple(weights[name].shape)}\n".encode())
        digest.update(weights[name].numpy().tobytes())
    return digest.hexdigest()


def _may_be_saved(file: Path) -> bool:
    """Whether a file is a saved stack; one that is damaged is known by its ending alone."""
    if file.suffix == _ENDING:
        return True
    try:
        return bool(_header_text(file))
    except (OSError, SafetensorError):
        return False


def _header_text(place: Path) -> str:
    """The header of a file or folder as it stands there; empty where a file has none."""
    if place.is_dir():
        return (place / CONFIG).read_text("utf-8")
    with safe_open(place, "pt") as file:
        return (file.metadata() or {}).get(_HEADER, "")


def _something_else(place: Path, found: str) -> ValueError:
    return ValueError(
        f"{place}: expected what `python -m ensemble.meta save` or `python -m ensemble.base save` writes, found "
        f"something else ({found})"
    )


def _header_refused(place: Path, text: str, error: ValidationError) -> ValueError:
    """What is said of a header that is none, of another format, or does not hold what it should."""
    try:
        told = json.loads(text)
    except ValueError:
        told = None
    if not isinstance(told, dict) or "format" not in told:
        return _something_else(place, "no header of a saved stack" if text else "weights without a header")
    if told["format"] != FORMAT:
        return ValueError(
            f"{place}: of the format {told['format']!r}, expected {FORMAT!r}; load it with the version of stackdepth "
            "that saved it, or save it again"
        )
    first = error.errors()[0]
    where = ".".join(map(str, first["loc"]))
    return ValueError(
        f"{place}: damaged since it was written, or of a newer version: {where} in its header: {first['msg']}; save or "
        "fetch it again"
    )


def _missing_bytes(file: Path) -> int:
    """How many bytes a safetensors file lacks by what its first ones say; 0 where these are of no such file.

    Source: the format's description: eight bytes with the length of a header in JSON, which tells where tensors end.
    """
    with file.open("rb") as stream:
        start = stream.read(8)
        length = int.from_bytes(start, "little")
        if len(start) < 8 or not 2 <= length <= _LARGEST_HEADER:
            return 0
        header = stream.read(length)
    if not header.startswith(b"{"):
        return 0
    if len(header) < length:
        return length - len(header)
    try:
        ends = [entry["data_offsets"][1] for name, entry in json.loads(header).items() if name != "__metadata__"]
        return max(0, 8 + length + max(ends, default=0) - file.stat().st_size)
    except (ValueError, TypeError, KeyError, IndexError, AttributeError):
        return 0
