"""How many numbers of a depth file are a metre, by the name of the system that writes them so."""

from collections.abc import Mapping

from ensemble.settings.trees import SettingsError, check_name

PER_METRE: Mapping[str, float] = {
    "m": 1,
    "mm": 1000,
    "tum": 5000,
    "kitti": 256,
    "vkitti": 100,
    "matterport": 4000,
    "replica": 6553.5,
    "metric3d": 200,
    "ibims": 65535 / 50,
}
"""Source: documents and code of each: TUM RGB-D (with ICL-NUIM and Bonn), KITTI, Virtual KITTI, Matterport3D (with
RealSense L515), Replica as rendered for NICE-SLAM, Metric3D's pictures, iBims-1."""

ROTATED = "sunrgbd"
"""SUN RGB-D and SUN3D turn the 16 bits of millimetres by three to the left."""


def per_metre(unit: str) -> float:
    """Numbers of a unit that are a metre; a unit is a name, or a number such as ``5000``.

    Raises:
        SettingsError: It is neither.
    """
    try:
        number = float(unit)
    except ValueError:
        check_name(unit, (*PER_METRE, ROTATED), "unit")
        return PER_METRE["mm" if unit == ROTATED else unit]
    if not 0 < number < float("inf"):
        raise SettingsError(f"unit {unit}: expected more than 0 numbers per metre")
    return number


def as_text(unit: object) -> object:
    """The same unit, a number as the text that it would be in quotes; whatever is no unit stays as it is."""
    if isinstance(unit, float) and unit.is_integer():
        unit = int(unit)
    return str(unit) if isinstance(unit, int | float) and not isinstance(unit, bool) else unit


def known_unit(unit: str) -> str:
    """The same name, once it is sure that it is one."""
    per_metre(unit)
    return unit
