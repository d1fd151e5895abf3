"""Frames with depth: where they come from (``SOURCES``), how they are split by scene, and how they become tensors.

Nothing here knows a network or a run; test frames are handed out by ``held_out`` alone.
"""

from collections.abc import Callable

from ensemble.data.nyu import recognition
from ensemble.data.rooms.source import RoomsSource
from ensemble.data.source import FrameSource
from ensemble.settings.schema import DataSettings

SOURCES: dict[str, Callable[[DataSettings], FrameSource]] = {
    "rooms": RoomsSource.from_settings,
    "nyu": recognition.from_settings,
}


def open_source(settings: DataSettings) -> FrameSource:
    """The source that the settings name; lists its frames and reads none."""
    return SOURCES[settings.kind](settings)
