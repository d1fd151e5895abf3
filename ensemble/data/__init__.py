"""Frames with depth: where they come from (``SOURCES``), how they are split by scene, and how they become tensors."""

from collections.abc import Callable

from ensemble.config import DataSettings
from ensemble.data import nyu_copies
from ensemble.data.rooms import RoomsSource
from ensemble.data.source import FrameSource

SOURCES: dict[str, Callable[[DataSettings], FrameSource]] = {
    "rooms": RoomsSource.from_settings,
    "nyu": nyu_copies.from_settings,
}


def open_source(settings: DataSettings) -> FrameSource:
    """The source that the settings name; lists its frames and reads none."""
    return SOURCES[settings.kind](settings)
