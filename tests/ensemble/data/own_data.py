"""Rooms written as a person's own files: images and ``.npy`` depth in folders of scenes, NaN where nothing is known."""

from pathlib import Path

import numpy as np
from PIL import Image

from ensemble.data.rooms.source import RoomsSource
from ensemble.settings.schema import RoomsSettings

SIZE = (60, 96)
ROOMS = RoomsSettings(scenes=6, test_scenes=2, frames=2, holes=True)


def write_own(folder: Path) -> Path:
    """``rgb/room_0000/0001.png`` and ``depth/room_0000/0001.npy``, six rooms and two halls of two frames."""
    source = RoomsSource(ROOMS, SIZE)
    for frame in source.frames:
        raw = source.read(frame)
        image, depth = folder / f"rgb/{frame.id}.png", folder / f"depth/{frame.id}.npy"
        for path in (image, depth):
            path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(raw.image).save(image)
        np.save(depth, np.where(raw.valid, raw.depth, np.nan).astype(np.float32))
    return folder
