"""The colour camera of NYU Depth v2, onto which every copy has its depth projected."""

from ensemble.data.intrinsics import Intrinsics

FRAME = (480, 640)
"""Height and width of its frames."""

COLOUR = Intrinsics(518.85790117450188, 519.46961112127485, 325.58244941119034, 253.73616633400465)
"""Source: ``fx_rgb`` to ``cy_rgb`` in ``camera_params.m`` of the dataset's MATLAB toolbox.

They are taken to count pixels from 0, as tools for calibration and most readers of the dataset do. The toolbox itself
counts from 1 where it makes points of pixels (``rgb_plane2rgb_world.m``), so its points lie one pixel further right and
down, 1.9 mm at a metre.
"""


def intrinsics_of(size: tuple[int, ...]) -> Intrinsics | None:
    """Of a copy's frames of this height and width; ``None`` where they are no whole frames of the camera."""
    return COLOUR if size == FRAME else None
