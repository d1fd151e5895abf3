"""Rooms are rendered once in a process of tests: equal arguments give equal bits, and many tests ask again."""

from dataclasses import replace
from functools import lru_cache
from typing import Any

from ensemble.data.rooms import source
from ensemble.data.source import RawFrame

MOST_PIXELS = 96 * 128
"""Larger frames are rendered anew, so that memory stays small."""

_rendered = source.render_frame
_kept = lru_cache(maxsize=2048)(_rendered)


def render_frame(size: tuple[int, int], **drawn: Any) -> RawFrame:
    """A frame of its own, as ``ensemble.data.rooms.camera.render_frame`` gives it."""
    if size[0] * size[1] > MOST_PIXELS:
        return _rendered(size, **drawn)
    frame = _kept(size, **drawn)
    return replace(frame, image=frame.image.copy(), depth=frame.depth.copy(), valid=frame.valid.copy())


def render_once() -> None:
    """From now on, in this process and in those that it forks."""
    source.render_frame = render_frame
