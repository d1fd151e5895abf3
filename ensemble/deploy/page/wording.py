"""What the page says: scales, values of a pixel, and why a file was not taken."""

import base64
import html
import io
from pathlib import Path

import numpy as np
from PIL import Image

from ensemble.deploy.page.sight import WEIGHT, Layer, Value

TICKS = 5
MEGABYTES, MEGAPIXELS = 25, 50
"""Largest file and largest photograph that are taken."""


def legend(layer: Layer) -> str:
    """The scale of a layer, as HTML."""
    palette = layer.palette
    spaced = np.geomspace if palette.logs else np.linspace
    values = spaced(palette.low, palette.high, TICKS)
    buffer = io.BytesIO()
    Image.fromarray(palette(spaced(palette.low, palette.high, 256, dtype=np.float32)[None])).save(buffer, "PNG")
    strip = base64.b64encode(buffer.getvalue()).decode()
    unit = f" {layer.unit}" if layer.unit else ""
    ticks = "".join(f"<span>{_short(value)}{unit}</span>" for value in values)
    what = "share of the fused depth, white where all share equally" if layer.name.startswith(WEIGHT) else "metres"
    return (
        f'<figure class="scale"><figcaption>{html.escape(layer.name)}, {what}</figcaption>'
        f'<img alt="" src="data:image/png;base64,{strip}"><div class="ticks">{ticks}</div></figure>'
    )


def reading(value: Value, row: int, column: int) -> str:
    """The values of a pixel, as HTML."""
    rows = [("depth", f"<b>{value.depth:.2f} m</b>")]
    if value.error is not None:
        rows.append(("expected error", f"± {value.error:.2f} m"))
    if value.leading is not None:
        name, share = value.leading
        rows.append(("leads here", f"{html.escape(name)} with {100 * share:.0f} %"))
    for name, depth in value.learners.items() if len(value.learners) > 1 else ():
        rows.append((html.escape(name), f"{depth:.2f} m" + (" (off)" if name in value.off else "")))
    cells = "".join(f"<div><dt>{name}</dt><dd>{text}</dd></div>" for name, text in rows)
    return f'<dl class="reading" aria-label="Values at column {column}, row {row}">{cells}</dl>'


def file_label(text: str, path: Path, size: tuple[int, int]) -> str:
    """What a file holds, with the pixels of maps; a PNG has its unit from the name that it has got."""
    if path.suffix == ".png":
        text = f"depth, 16-bit PNG {'in mm' if path.stem.endswith('_mm') else 'in 1/256 m'}"
    return f"{text}, {size[0]}x{size[1]}" if path.suffix in (".png", ".npy") else text


def refused(error: Exception, path: Path) -> str:
    """Why a file was not taken, in a sentence that names it as the visitor knows it."""
    return str(error).replace(str(path), path.name).partition("\n")[0]


def without_front_matter(card: str) -> str:
    """A model card as people read it, without the fields for model hubs above it."""
    parts = card.split("---\n", 2)
    return parts[2].strip() if len(parts) == 3 and not parts[0] else card


def _short(value: float) -> str:
    return f"{value:.2f}" if value < 10 else f"{value:.1f}"
