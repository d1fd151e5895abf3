"""What an export is asked for, checked by itself: a mistake is told before torch is loaded."""

import math
from dataclasses import dataclass, replace
from pathlib import Path

from ensemble.deploy.export import PRECISIONS, SUFFIXES
from ensemble.settings.places import folder_to_write
from ensemble.settings.trees import SettingsError, check_name

Size = tuple[int, int]
"""Height and width."""
COMPARED, COMPARED_SMALL = 16, 64
"""Images that a file is compared on where nothing is said; more where a loss is limited, which scores tell."""

MAX_LOSS = 0.02
"""Share of d1 that 8 bits may cost where nothing is said."""


@dataclass(frozen=True)
class ExportRequest:
    """What is asked for.

    Attributes:
        kind: Key of ``PRECISIONS``.
        size: Height and width; ``None`` leaves them open.
        precision: As the kind has.
        pixels: ``uint8`` or ``float32``.
        images: Folder of photographs to compare on; the validation scenes of the training where absent.
        count: Of images to compare on; ``COMPARED``, or ``COMPARED_SMALL`` where a loss is limited, where absent.
        calibrate: Folder of photographs for the ranges of 8 bits; as ``GateFrames.to_calibrate`` has it where absent.
        max_loss: Of d1, that 8 bits or bf16 may cost; what REL may is a multiple of it (``parity.REL_FOR_D1``). Where
            absent ``MAX_LOSS`` for 8 bits, and any for bf16.
        qat: Steps that learners are trained further as 8 bits have it, by their own loss alone.
    """

    kind: str
    size: Size | None
    precision: str = "fp32"
    pixels: str = "uint8"
    images: Path | None = None
    count: int | None = None
    calibrate: Path | None = None
    max_loss: float | None = None
    qat: int = 0

    def __post_init__(self) -> None:
        check_name(self.kind, tuple(PRECISIONS), "kind of export")
        check_name(self.precision, PRECISIONS[self.kind], f"precision of {self.kind}")
        check_name(self.pixels, ("uint8", "float32"), "kind of pixels")
        if self.calibrate is not None and self.precision != "int8":
            raise SettingsError("--calibrate: is for --precision int8 alone; leave it out")
        if self.qat and self.precision != "int8":
            raise SettingsError("--qat: is for --precision int8 alone; leave it out")
        if self.max_loss is not None and self.precision not in ("int8", "bf16"):
            raise SettingsError("--max-loss: is for --precision int8 and bf16 alone; leave it out")
        if self.max_loss is not None and not math.isfinite(self.max_loss):
            raise SettingsError(f"--max-loss {self.max_loss}: expected a share of d1, such as {MAX_LOSS}")
        if self.images is not None and self.loss_allowed is not None:
            raise SettingsError(f"--images: of photographs no depth is known, so {self._without_depth()}")
        check_photographs("--images", self.images)
        check_photographs("--calibrate", self.calibrate)

    def _without_depth(self) -> str:
        if self.precision == "int8":
            return (
                "what int8 costs cannot be told; leave it out where the data of the training are, and give photographs "
                "for the ranges of int8 as --calibrate DIR"
            )
        return f"what {self.precision} costs cannot be held to --max-loss; leave out one of them"

    def check_place(self, path: Path) -> None:
        """Refuse a name that does not end as files of this kind do, or that no file can have."""
        suffix = SUFFIXES[self.kind]
        if path.suffix != suffix:  # OpenVINO writes no .XML
            raise SettingsError(f"{path}: expected a name that ends in {suffix} for {self.kind}")
        for part in (path, path.with_suffix(".bin")) if self.kind == "openvino" else (path,):
            if part.is_dir():
                raise SettingsError(f"{part}: expected the name of a file to write, found a folder; choose another one")
        folder_to_write(path.parent, f"{path.name} in")

    def check_size(self) -> None:
        """Refuse to leave the size open where the kind cannot."""
        if self.kind == "executorch" and self.size is None:
            raise SettingsError("--size dynamic: a file for ExecuTorch takes images of one size; expected HxW")

    @property
    def loss_allowed(self) -> float | None:
        """Share of d1 that the file may lose; ``None`` where scores do not decide."""
        return MAX_LOSS if self.max_loss is None and self.precision == "int8" else self.max_loss

    @property
    def compared(self) -> int:
        """How many images to compare on."""
        return self.count or (COMPARED if self.loss_allowed is None else COMPARED_SMALL)

    def at(self, size: Size) -> "ExportRequest":
        """The same for images of one size."""
        return replace(self, size=size)


def check_photographs(option: str, place: Path | None) -> None:
    """Refuse a place of photographs that is no folder."""
    if place is not None and not place.is_dir():
        found = "a file" if place.exists() else "none of that name"
        raise SettingsError(f"{option} {place}: expected a folder with photographs, found {found}")
