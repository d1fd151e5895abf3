"""What a pinhole camera sees across its width, in degrees, and the focal length that belongs to it."""

import math
from numbers import Real


def focal_of_view(degrees: float, width: int) -> float:
    """Focal length in pixels of a frame so wide that it sees so many degrees across.

    Raises:
        ValueError: No pinhole camera sees that many.
    """
    if not isinstance(degrees, Real) or not 0 < degrees < 180:
        raise ValueError(
            f"a field of view of {degrees!r} degrees: expected more than 0 and less than 180 across the width"
        )
    return width / (2 * math.tan(math.radians(degrees) / 2))


def view_of_focal(focal: float, width: int) -> float:
    """Degrees that a frame so wide sees across."""
    return math.degrees(2 * math.atan(width / (2 * focal)))
