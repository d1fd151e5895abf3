"""What an export is asked for, checked by itself: a mistake is told before torch is loaded."""

import math
from dataclasses import dataclass, replace
from pathlib import Path

from ensemble.deploy.export import PRECISIONS, SUFFIXES
from ensemble.settings.trees import SettingsError, check_name

Size = tuple[int, int]
"""Height and width."""


@dataclass(frozen=True)
class ExportRequest:
    """What is asked for.

    Attributes:
        kind: Key of ``PRECISIONS``.
        size: Height and width; ``None`` leaves them open.
        precision: As the kind has.
        pixels: ``uint8`` or ``float32``.
        images: Folder of photographs to compare on; the validation scenes of the training where absent.
        count: Of images to compare on.
        calibrate: Folder of photographs for the ranges of 8 bits; those to compare on where absent.
        max_loss: Of d1, that 8 bits may cost.
        qat: Steps that learners are trained further as 8 bits have it.
    """

    kind: str
    size: Size | None
    precision: str = "fp32"
    pixels: str = "uint8"
    images: Path | None = None
    count: int = 16
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

    def at(self, size: Size) -> "ExportRequest":
        """The same for images of one size."""
        return replace(self, size=size)


def check_photographs(option: str, place: Path | None) -> None:
    """Refuse a place of photographs that is not there."""
    if place is not None and not place.exists():
        raise SettingsError(f"{option} {place}: there is no such file or folder")
