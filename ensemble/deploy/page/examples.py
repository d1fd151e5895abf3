"""Generated rooms to try a page with, where there is no photograph at hand."""

from pathlib import Path

from PIL import Image

from ensemble.data.rooms.camera import render_frame

ROOMS = (3, 11, 27)
SIZE = (480, 640)
_QUALITY = 92


def write_examples(folder: Path) -> list[Path]:
    """Photographs of a few rooms."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for number in ROOMS:
        path = folder / f"room_{number}.jpg"
        raw = render_frame(SIZE, seed=(0, 1, number), frame=0, holes=False, noise=False)
        Image.fromarray(raw.image).save(path, quality=_QUALITY)
        paths.append(path)
    return paths
