"""Frames with depth: where they come from (``SOURCES``), how they are split by scene, and how they become tensors.

Nothing here knows a network or a run; test frames are handed out by ``held_out`` alone.
"""

from collections.abc import Callable

from ensemble.data.nyu import recognition
from ensemble.data.rooms.source import RoomsSource
from ensemble.data.source import FrameSource
from ensemble.settings.schema import DataSettings


def _folder(settings: DataSettings) -> FrameSource:
    """Images and depth maps of one's own; readers of all kinds of files are loaded when they are wanted."""
    from ensemble.data.folder.source import from_settings

    return from_settings(settings)


def _kitti(settings: DataSettings) -> FrameSource:
    """Drives of KITTI."""
    from ensemble.data.kitti.source import from_settings

    return from_settings(settings)


SOURCES: dict[str, Callable[[DataSettings], FrameSource]] = {
    "rooms": RoomsSource.from_settings,
    "nyu": recognition.from_settings,
    "folder": _folder,
    "kitti": _kitti,
}


def open_source(settings: DataSettings) -> FrameSource:
    """The source that the settings name; lists its frames and reads no test frame."""
    return SOURCES[settings.reader](settings)
