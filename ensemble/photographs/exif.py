"""The field of view of a photograph, by what its camera wrote beside it (EXIF)."""

import math

from PIL import Image

from ensemble.photographs.views import view_of_focal

ORIENTATION = 0x0112
LYING = (5, 6, 7, 8)
"""Orientations that exchange width and height of the file where it is shown.

Source: Exif 3.0, section 4.6.5.1.6.
"""
_DETAILS = 0x8769
_FOCAL, _FOCAL_35MM, _PER_UNIT, _UNIT, _WIDTH, _HEIGHT = 0x920A, 0xA405, 0xA20E, 0xA210, 0xA002, 0xA003
_MILLIMETRES = {2: 25.4, 3: 10.0, 4: 1.0, 5: 0.001}
"""Of the units that resolutions of a sensor count by."""
_DIAGONAL_35MM = math.hypot(36, 24)

CROPPED = 0.01
"""Relative difference of two ratios of the sides from which on a photograph is a part of what the camera saw."""


def field_of_view(exif: Image.Exif, size: tuple[int, int]) -> float | None:
    """Degrees across the width of an upright photograph; ``None`` where EXIF does not tell, or it was cropped since.

    The focal length is that of 35 mm film with the same diagonal, else it follows from the pixels of the sensor.

    Args:
        exif: Of the file.
        size: Width and height as the photograph lies in the file, at any scale; where the orientation says that it lies
            on its side, its width is the height there.

    Source: Exif 3.0, section 4.6.6; CIPA DCG-001 for the diagonal.
    """
    try:
        details = {int(key): value for key, value in exif.get_ifd(_DETAILS).items()}
        focal = _focal(details, size)
    except (ValueError, TypeError, ZeroDivisionError, KeyError, SyntaxError):  # cameras and programs write anything
        return None
    if focal is None or not 0 < focal < math.inf:
        return None
    return view_of_focal(focal, size[1] if exif.get(ORIENTATION, 1) in LYING else size[0])


def _focal(details: dict[int, object], size: tuple[int, int]) -> float | None:
    """In pixels of an image of this width and height."""
    long, short = max(size), min(size)
    own = _number(details, _WIDTH), _number(details, _HEIGHT)
    if min(own) > 0 and abs(long * min(own) / (short * max(own)) - 1) > CROPPED:
        return None
    equivalent, focal, resolution = (_number(details, key) for key in (_FOCAL_35MM, _FOCAL, _PER_UNIT))
    if equivalent > 0:
        return equivalent / _DIAGONAL_35MM * math.hypot(*size)
    if min(focal, resolution, *own) > 0:
        unit = _MILLIMETRES.get(int(_number(details, _UNIT)) or 2)  # inches where it is absent
        return None if unit is None else focal * resolution / unit * long / max(own)
    return None


def _number(details: dict[int, object], key: int) -> float:
    """A number that stands there; 0 where none does, as cameras write for what they do not know."""
    value = float(details.get(key, 0))  # pyright: ignore[reportArgumentType]
    return value if math.isfinite(value) else 0.0
