"""Films that browsers play, and depth in whole millimetres or in metres beside them, written as frames come."""

import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from jaxtyping import Float32, Shaped, UInt8

from ensemble.report.drawing.pictures import LARGEST_STEPS
from ensemble.settings.trees import SettingsError

TICKS = 90_000
"""Of a second, that times of frames are counted in."""
_QUALITY = {"crf": "20", "preset": "veryfast"}
_BT709 = 1
"""FFmpeg's number for the colours of HDTV, which browsers take films of unknown ones for."""

Write = Callable[[Shaped[np.ndarray, "h w ..."], float], None]
"""Takes the pixels of a frame, and its time in seconds."""

Writer = Callable[[Path, tuple[int, int], Fraction], AbstractContextManager[Write]]
"""Opens a file for frames of a height and width, so many a second on average."""


def check_endings(film: Path, depth: Path | None) -> None:
    """Refuse names that say of no film that is written here.

    Raises:
        SettingsError: One ends in something else.
    """
    if film.suffix.lower() != ".mp4":
        raise SettingsError(f"--out {film}: expected a name that ends in .mp4")
    if depth is not None and depth.suffix.lower() not in DEPTH_WRITERS:
        raise SettingsError(f"--depth {depth}: expected a name that ends in {' or '.join(DEPTH_WRITERS)}")


@contextmanager
def film_writer(path: Path, size: tuple[int, int], rate: Fraction) -> Iterator[Write]:
    """Writes RGB frames of a height and width as H.264 (yuv420p), its index first, as players on the web want."""
    height, width = (side + side % 2 for side in size)
    with av.open(str(path), "w", format="mp4", options={"movflags": "+faststart"}) as container:
        stream = container.add_stream("libx264", rate=rate, options=_QUALITY)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        context = stream.codec_context
        context.time_base = Fraction(1, TICKS)
        context.colorspace = context.color_primaries = context.color_trc = _BT709
        context.color_range = 1  # limited, as it is called

        def write(image: UInt8[np.ndarray, "h w 3"], seconds: float) -> None:
            padded = np.pad(image, ((0, height - size[0]), (0, width - size[1]), (0, 0)), mode="edge")
            frame = av.VideoFrame.from_ndarray(padded if padded.shape != image.shape else image, format="rgb24")
            yuv = frame.reformat(format="yuv420p", dst_colorspace="ITU709", dst_color_range="MPEG")
            container.mux(stream.encode(_timed(yuv, seconds)))

        yield write
        container.mux(stream.encode())


@contextmanager
def millimetre_writer(path: Path, size: tuple[int, int], rate: Fraction) -> Iterator[Write]:
    """Writes depth in metres as a film of 16-bit grey in whole millimetres, without loss (FFV1 in MKV); 0 is none.

    Raises:
        ValueError: From what it yields: a depth that 16 bits of millimetres cannot hold.
    """
    with av.open(str(path), "w", format="matroska") as container:
        stream = container.add_stream("ffv1", rate=rate)
        stream.height, stream.width, stream.pix_fmt = *size, "gray16le"
        stream.codec_context.time_base = Fraction(1, TICKS)

        def write(depth: Float32[np.ndarray, "h w"], seconds: float) -> None:
            millimetres = np.rint(np.where(np.isnan(depth), 0, depth) * np.float32(1000))
            if not (millimetres.min() >= 0 and millimetres.max() <= LARGEST_STEPS):
                raise ValueError(
                    f"at {seconds:.2f} s found depth of {np.nanmax(depth):.3f} m, expected at most 65.535 m, which 16 "
                    "bits of millimetres hold; name a file for depth that ends in .npz"
                )
            frame = av.VideoFrame.from_ndarray(millimetres.astype(np.uint16), format="gray16le")
            container.mux(stream.encode(_timed(frame, seconds)))

        yield write
        container.mux(stream.encode())


@contextmanager
def metre_writer(path: Path, size: tuple[int, int], rate: Fraction) -> Iterator[Write]:
    """Writes depth as NumPy's ``.npz``: ``frame_000000`` and so on in metres (float32, NaN: none), and ``seconds``."""
    del size, rate  # every array tells its own
    times: list[float] = []
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:

        def add(name: str, values: np.ndarray) -> None:
            with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                np.lib.format.write_array(file, values, allow_pickle=False)

        def write(depth: Float32[np.ndarray, "h w"], seconds: float) -> None:
            add(f"frame_{len(times):06d}", depth.astype(np.float32))
            times.append(seconds)

        yield write
        add("seconds", np.array(times))


DEPTH_WRITERS: Mapping[str, Writer] = {".mkv": millimetre_writer, ".npz": metre_writer}
"""How depth is written, by the ending of the file's name."""


def _timed(frame: "av.VideoFrame", seconds: float) -> "av.VideoFrame":
    frame.pts, frame.time_base = round(seconds * TICKS), Fraction(1, TICKS)
    return frame
