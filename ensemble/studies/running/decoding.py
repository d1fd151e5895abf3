"""Decoded frames that the trials of a worker share: trials that train learners read them from disk only once."""

import os
from pathlib import Path
from typing import TypeVar

from ensemble.console import messages
from ensemble.data.division import open_experiment
from ensemble.data.loaders import KeptFrames
from ensemble.runs.paths import Outputs
from ensemble.settings.schema import LearnerSettings, StackSettings

PIXEL_BYTES = 8
"""An image in 8 bits, depth in 32, and whether there is any."""

SHARE = 0.5
"""Of the free memory, that decoded frames may take."""


Fitted = TypeVar("Fitted", StackSettings, LearnerSettings)


def sharing_frames(settings: Fitted, outputs: Outputs, kept: KeptFrames) -> Fitted:
    """The settings of a fit with ``data.preload`` on where learners are trained and all frames fit in memory.

    Preloading changes no result, so a run that goes on may do it or not. ``kept`` holds what earlier trials of this
    worker have decoded; where there is anything, there is room.
    """
    if settings.data.preload or (isinstance(settings, StackSettings) and settings.mode == "frozen"):
        return settings
    frames = open_experiment(outputs, settings).division.frames
    height, width = settings.data.size
    needed = (len(frames.fit) + len(frames.validation)) * height * width * PIXEL_BYTES
    free = free_memory()
    if not kept and needed > SHARE * free:
        messages.print(
            f"{settings.experiment}: decoded frames take {needed / 2**30:.1f} GB of {free / 2**30:.1f} GB that are "
            "free, so every trial decodes them again; a pack makes that cheaper (python -m ensemble.data pack)"
        )
        return settings
    return settings.model_copy(update={"data": settings.data.model_copy(update={"preload": True})})


def free_memory() -> int:
    """Bytes that this machine can give to a process without swapping."""
    known = Path("/proc/meminfo")
    if known.is_file():
        for line in known.read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
