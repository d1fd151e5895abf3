"""Depth in OpenEXR, as Blender and others render it: the one channel of depth among those of a picture."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Float32

from ensemble.data.formats.packages import needed

_DEPTH_NAMES = ("v", "z", "depth")
"""Ends of a channel's name: Blender writes ``V`` alone or ``ViewLayer.Depth.Z`` among others."""


def read_exr(path: Path) -> Float[np.ndarray, "h w"]:
    """The only channel, or the only one that is called as depth is.

    Raises:
        OSError: The system refuses to read the file.
        ValueError: It is damaged, a part of a frame, or none or several of its channels may be depth.
    """
    library = needed("OpenEXR", extra="exr", kind="EXR", where=path)
    path.open("rb").close()  # the library does not tell what is refused from what is damaged
    try:
        with library.File(str(path), separate_channels=True) as file:
            parts = range(len(file.parts))
            whole = [_is_whole(file.header(part)) for part in parts]
            channels = {name: channel for part in parts for name, channel in file.channels(part).items()}
    except (RuntimeError, ValueError) as error:
        raise ValueError(f"found no whole EXR file ({error})") from error
    if not parts:
        raise ValueError("found no whole EXR file (no part of it can be read)")
    chosen = _depth_of(channels)
    if not all(whole):
        raise ValueError("found a part of a frame (its data and display windows differ), expected all of it")
    if (chosen.xSampling, chosen.ySampling) != (1, 1):
        raise ValueError("found a channel with fewer pixels than the frame, expected all of them")
    return np.asarray(chosen.pixels)


def save_exr(path: Path, channels: Mapping[str, Float32[np.ndarray, "h w"]]) -> None:
    """Write channels of 32 bits by name, without loss."""
    library = needed("OpenEXR", extra="exr", kind="EXR", where=path)
    header = {"compression": library.ZIP_COMPRESSION, "type": library.scanlineimage}
    plain = {name: np.ascontiguousarray(values, np.float32) for name, values in channels.items()}
    with library.File(header, plain) as file:
        file.write(str(path))


def _depth_of(channels: Mapping[str, Any]) -> Any:
    named = [name for name in channels if name.rpartition(".")[2].lower() in _DEPTH_NAMES]
    chosen = [*channels] if len(channels) == 1 else named
    if len(chosen) != 1:
        raise ValueError(
            f"found the channels {', '.join(sorted(channels)) or '(none)'}, expected one, or one called V, Z or Depth"
        )
    return channels[chosen[0]]


def _is_whole(header: Mapping[str, Any]) -> bool:
    data, display = ([*map(np.ndarray.tolist, header[name])] for name in ("dataWindow", "displayWindow"))
    return data == display
