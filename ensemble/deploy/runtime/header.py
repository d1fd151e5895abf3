"""What an exported file says of itself, in JSON beside its weights."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from ensemble.deploy.runtime.seals import UNSEALED

KEY = "stackdepth"
"""Of the header among what a file says of itself."""

FORMAT = "stackdepth-export/1"


@dataclass(frozen=True)
class ExportedLearner:
    """One learner: its name, and the one for people."""

    name: str
    title: str


@dataclass(frozen=True)
class ExportHeader:
    """What is known of an exported file.

    Attributes:
        name: Of the stack, or of the learner.
        learners: In the order of the weights.
        pixels: Kind of the numbers of an image: ``uint8`` for 0 to 255, ``float32`` for 0 to 1.
        size: Height and width that the file takes; ``None`` where they are open.
        stride: Sides of other images than those of ``trained_size`` are whole multiples of it, where they are open; a
            program of torch takes such multiples alone, from 2 on.
        trained_size: Height and width of the images of the training.
        depth_range: Metres between which depth was learnt.
        focal: Focal length of the training camera in pixels of the trained size; ``None`` where it is not known.
        field_of_view: Degrees that this camera saw across its width, likewise.
        outputs: Names of what comes out, in this order.
        precision: ``fp32``, ``fp16`` (weights alone), ``bf16`` (it computes so) or ``int8``.
        parity: What the gate measured against the network that it was made of.
        scores: On the test frames, with their protocol, of that network.
        licence: Of weights and code.
        versions: Of the packages that made it.
        format: Of this header.
        checksum: SHA-256 of all bytes of the file, and of the weights beside it, without this one.
    """

    name: str
    learners: tuple[ExportedLearner, ...]
    pixels: str
    size: tuple[int, int] | None
    stride: int
    trained_size: tuple[int, int]
    depth_range: tuple[float, float]
    focal: float | None
    field_of_view: float | None
    outputs: tuple[str, ...]
    precision: str
    scores: Mapping[str, Any] | None
    licence: str
    versions: Mapping[str, str]
    parity: Mapping[str, Any] | None = None
    format: str = FORMAT
    checksum: str = UNSEALED

    def to_json(self) -> str:
        """One line."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str, where: str) -> "ExportHeader":
        """Out of a file.

        Raises:
            ValueError: It is none of ours, or of another format.
        """
        try:
            known = {field.name for field in fields(cls)}
            plain: dict[str, Any] = {
                name: tuple(value) if isinstance(value, list) else value for name, value in json.loads(text).items()
            }
            plain["learners"] = tuple(ExportedLearner(**learner) for learner in plain["learners"])
            header = cls(**{name: value for name, value in plain.items() if name in known})
        except (ValueError, TypeError, KeyError) as error:
            raise ValueError(
                f"{where}: expected a file that `python -m ensemble.export` has written, found another one ({error})"
            ) from error
        if header.format != FORMAT:
            raise ValueError(f"{where}: expected format {FORMAT}, found {header.format}; export it again")
        return header
