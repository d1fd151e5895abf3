"""What an export is asked for, checked by itself: a mistake is told before torch is loaded."""

import math
from dataclasses import dataclass, replace
from pathlib import Path

from ensemble.deploy.export import PRECISIONS, SUFFIXES
from ensemble.settings.trees import SettingsError, check_name

Size = tuple[int, int]
"""Height and width."""
COMPARED, COMPARED_SMALL = 16, 64
"""Images that a file is compared on where nothing is said; of 8 bits more, for its loss is told by means of scores."""


@dataclass(frozen=True)
class ExportRequest:
    """What is asked for.

    Attributes:
        kind: Key of ``PRECISIONS``.
        size: Height and width; ``None`` leaves them open.
        precision: As the kind has.
        pixels: ``uint8`` or ``float32``.
        images: Folder of photographs to compare on; the validation scenes of the training where absent.
        count: Of images to compare on; ``COMPARED``, or ``COMPARED_SMALL`` for 8 bits, where absent.
        calibrate: Folder of photographs for the ranges of 8 bits; those to compare on where absent.
        max_loss: Of d1, that 8 bits may cost; what REL may is a multiple of it (``parity.REL_FOR_D1``).
        qat: Steps that learners are trained further as 8 bits have it.
    """

    kind: str
    size: Size | None
    precision: str = "fp32"
    pixels: str = "uint8"
    images: Path | None = None
    count: int | None = None
    calibrate: Path | None = None
    max_loss: float = 0.02
    qat: int = 0

    def __post_init__(self) -> None:
        check_name(self.kind, tuple(PRECISIONS), "kind of export")
        check_name(self.precision, PRECISIONS[self.kind], f"precision of {self.kind}")
        check_name(self.pixels, ("uint8", "float32"), "kind of pixels")
        if self.calibrate is not None and self.precision != "int8":
            raise SettingsError("--calibrate: is for --precision int8 alone; leave it out")
        if self.qat and self.precision != "int8":
            raise SettingsError("--qat: is for --precision int8 alone; leave it out")
        if not math.isfinite(self.max_loss):
            raise SettingsError(f"--max-loss {self.max_loss}: expected a share of d1, such as 0.02")
        check_photographs("--images", self.images)
        check_photographs("--calibrate", self.calibrate)

    def check_place(self, path: Path) -> None:
        """Refuse a name that does not end as files of this kind do."""
        if path.suffix.lower() != SUFFIXES[self.kind]:
            raise SettingsError(f"{path}: expected a name that ends in {SUFFIXES[self.kind]} for {self.kind}")

    def check_size(self) -> None:
        """Refuse to leave the size open where the kind cannot."""
        if self.kind == "executorch" and self.size is None:
            raise SettingsError("--size dynamic: a file for ExecuTorch takes images of one size; expected HxW")

    @property
    def compared(self) -> int:
        """How many images to compare on."""
        return self.count or (COMPARED_SMALL if self.precision == "int8" else COMPARED)

    def at(self, size: Size) -> "ExportRequest":
        """The same for images of one size."""
        return replace(self, size=size)


def check_photographs(option: str, place: Path | None) -> None:
    """Refuse a place of photographs that is not there."""
    if place is not None and not place.exists():
        raise SettingsError(f"{option} {place}: there is no such file or folder")
