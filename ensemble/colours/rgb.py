"""Pictures of any kind as RGB with 8 bits."""

import numpy as np
from PIL import Image

WHOLE, NARROW = 65535, 4095
"""The largest number of 16 bits, and of 12: cameras and microscopes put these into files of 16 bits as they are."""
EIGHT, NARROW_IN_EIGHT = 255, NARROW >> 8
"""The same once 16 bits have become 8, as Pillow does by itself with those of three channels."""


def too_dark(image: Image.Image) -> str:
    """What is said of an image that leaves most of its range alone, as 12 bits in 16 do; else nothing."""
    deep = image.mode.startswith("I")
    if not deep and image.mode not in ("RGB", "RGBA"):
        return ""
    whole, narrow = (WHOLE, NARROW) if deep else (EIGHT, NARROW_IN_EIGHT)
    largest = int(np.max(np.asarray(image.getextrema(), dtype=np.int64).reshape(-1, 2)[:3, 1]))  # without transparency
    if not 0 < largest <= narrow:
        return ""
    return (
        f"its numbers reach {largest} of {whole}, as those of 12 bits or fewer in 16 do, and are read as they are, "
        f"which is nearly black; spread them over 0 .. {whole} first"
    )


def as_rgb(image: Image.Image) -> Image.Image:
    """Grey, palette, CMYK and more than 8 bits converted; what is transparent lies on white.

    Whole numbers are taken for 16 bits, real ones for shares of their largest, or of 1 where that is less.
    """
    if image.mode == "RGB" and not image.has_transparency_data:
        return image
    if image.mode.startswith(("I", "F")):  # Pillow would cut 16 bits off at 255 instead of dividing them
        values = np.asarray(image, dtype=np.float64)
        largest = WHOLE if image.mode.startswith("I") else max(float(values.max(initial=0)), 1.0)
        image = Image.fromarray((values.clip(0, largest) * (255 / largest)).round().astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")
