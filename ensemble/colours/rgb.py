"""Pictures of any kind as RGB with 8 bits."""

import numpy as np
from PIL import Image

WHOLE, NARROW = 65535, 4095
"""The largest number of 16 bits, and of 12: cameras and microscopes put these into files of 16 bits as they are."""


def too_dark(image: Image.Image) -> str:
    """What is said of whole numbers that leave most of their 16 bits alone, as those of 12 bits do; else nothing."""
    if not image.mode.startswith("I"):
        return ""
    largest = int(np.asarray(image).max(initial=0))
    if largest > NARROW:
        return ""
    return (
        f"its numbers reach {largest} of {WHOLE}, as those of 12 bits or fewer do, and are read as they are, which is "
        f"nearly black; spread them over 0 .. {WHOLE} first"
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
