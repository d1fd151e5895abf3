"""What tells the content of a frame of KITTI, with its camera and window: the same of a copy and of a pack of it."""

import json
from collections.abc import Sequence
from dataclasses import astuple

from ensemble.data.intrinsics import Intrinsics
from ensemble.data.source import Frame
from ensemble.metrics.kitti import Window
from ensemble.runs.fingerprints import lines_fingerprint
from ensemble.settings.schema import DataSettings


def described(settings: DataSettings, stamped: Sequence[tuple[Frame, str]]) -> str:
    """Fingerprint of frames and what tells their content."""
    own = settings.kitti
    lines = [f"{settings.kind} 1 {own.crop} {own.depth}"]
    return lines_fingerprint([*lines, *(f"{frame.split} {frame.id} {stamp}" for frame, stamp in stamped)])


def packed(sizes: str, camera: Intrinsics | None, window: Window | None) -> str:
    """Sizes of files, camera and window as one text, which ``unpacked`` reads."""
    told = {
        "sizes": sizes,
        "camera": None if camera is None else astuple(camera),
        "window": None if window is None else (window.top, window.left, *window.whole),
    }
    return json.dumps(told)


def unpacked(stamp: str) -> tuple[str, Intrinsics | None, Window | None]:
    """Sizes of files, camera and window."""
    told = json.loads(stamp)
    camera, window = told["camera"], told["window"]
    return (
        told["sizes"],
        None if camera is None else Intrinsics(*camera),
        None if window is None else Window(window[0], window[1], (window[2], window[3])),
    )
