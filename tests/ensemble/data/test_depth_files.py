"""Small files of other systems, made by their documented rules, read to the right metres; what is none is refused."""

import json
import struct
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import cv2
import h5py
import lzfse
import numpy as np
import OpenEXR
import pytest
from PIL import Image

from ensemble.data.formats.depth_files import READERS
from ensemble.data.formats.maps import DepthFile, as_metres, depth_files, read_numbers
from ensemble.settings.trees import SettingsError
from ensemble.settings.units import PER_METRE, per_metre

METRES = np.linspace(0.7, 9.5, 6 * 8, dtype=np.float32).reshape(6, 8)


def sixteen_bits(per: float) -> Callable[[Path], None]:
    return lambda path: Image.fromarray(np.rint(METRES.astype(np.float64) * per).astype(np.uint16)).save(path)


def rotated(path: Path) -> None:
    millimetres = np.rint(METRES * 1000).astype(np.uint16)
    Image.fromarray((millimetres << 3) | (millimetres >> 13)).save(path)


def pfm(order: str, scale: int, remarks: str = "") -> Callable[[Path], None]:
    head = f"Pf\n{remarks}8 6\n{remarks}{scale}\n".encode()
    return lambda path: path.write_bytes(head + METRES[::-1].astype(f"{order}f4").tobytes()) and None


def depth_pro(path: Path) -> None:
    np.savez(path, depth=METRES, focallength_px=np.float32(900.0))


def results_with_others(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["confidence"], file["depth"] = METRES * 0, METRES[None, ..., None]


def lone_dataset(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["dataset"] = METRES.astype(np.float16)


def sintel(path: Path) -> None:
    path.write_bytes(struct.pack("<fii", 202021.25, 8, 6) + METRES.tobytes())


def colmap(path: Path) -> None:
    path.write_bytes(b"8&6&1&" + METRES.tobytes())


def tartanair(path: Path) -> None:
    """As OpenCV writes a view of float32 as four bytes: it takes them for blue, green, red and alpha."""
    four = np.ascontiguousarray(METRES, "<f4").view(np.uint8).reshape(6, 8, 4)
    cv2.imwrite(str(path), four)


def exr(name: str, *others: str, kind: type = np.float32) -> Callable[[Path], None]:
    channels = {name: METRES.astype(kind), **{other: np.zeros_like(METRES) for other in others}}

    def write(path: Path) -> None:
        with OpenEXR.File({"type": OpenEXR.scanlineimage}, channels) as file:
            file.write(str(path))

    return write


CASES = {
    "tum.png": ("tum", sixteen_bits(5000), 1 / 5000),
    "kitti.png": ("kitti", sixteen_bits(256), 1 / 256),
    "vkitti.png": ("vkitti", sixteen_bits(100), 1 / 100),
    "matterport.png": ("matterport", sixteen_bits(4000), 1 / 4000),
    "replica.png": ("replica", sixteen_bits(6553.5), 1 / 6553.5),
    "metric3d.png": ("metric3d", sixteen_bits(200), 1 / 200),
    "ibims.png": ("ibims", sixteen_bits(65535 / 50), 50 / 65535),
    "any.png": ("1250", sixteen_bits(1250), 1 / 1250),
    "nyu.png": (None, sixteen_bits(1000), 1 / 1000),
    "sun.png": ("sunrgbd", rotated, 1 / 1000),
    "little.pfm": (None, pfm("<", -1), 1e-6),
    "big.pfm": (None, pfm(">", 1), 1e-6),
    "remarks.pfm": (None, pfm("<", -1, "# of a stereo rig\n# metres\n"), 1e-6),
    "depth_pro.npz": (None, depth_pro, 1e-6),
    "anything_raw_depth_meter.npy": (None, lambda path: np.save(path, METRES), 1e-6),
    "fastdepth.npy": (None, lambda path: np.save(path, METRES[None, None]), 1e-6),
    "diode.npy": (None, lambda path: np.save(path, METRES[..., None]), 1e-6),
    "others.h5": (None, results_with_others, 1e-6),
    "hypersim.hdf5": (None, lone_dataset, 0.01),
    "real.tiff": (None, lambda path: Image.fromarray(METRES).save(path, compression="tiff_lzw"), 1e-6),
    "whole.tif": ("mm", sixteen_bits(1000), 1 / 1000),
    "sintel.dpt": (None, sintel, 1e-6),
    "frame.geometric.bin": (None, colmap, 1e-6),
    "tartanair.png": (None, tartanair, 1e-6),
    "blender.exr": (None, exr("V"), 1e-6),
    "layers.exr": (None, exr("ViewLayer.Depth.Z", "ViewLayer.Combined.R", "ViewLayer.Combined.A"), 1e-6),
    "half.exr": (None, exr("Y", kind=np.float16), 0.01),
}


@pytest.mark.parametrize("name", CASES)
def test_files_of_other_systems_are_read_to_the_right_metres(tmp_path: Path, name: str):
    unit, write, quantum = CASES[name]
    write(tmp_path / name)
    found = as_metres(read_numbers(DepthFile(tmp_path / name)), unit)
    assert (found.shape, found.dtype) == ((6, 8), np.float32)
    assert np.abs(found - METRES).max() <= quantum


def test_every_reader_and_every_unit_has_a_case():
    assert {Path(name).suffix for name in CASES} == set(READERS)
    assert {unit for unit, _, _ in CASES.values()} >= {*PER_METRE} - {"m"}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.pfm", b"PF\n8 6\n-1\n" + bytes(8 * 6 * 12), r"no header of a float map with one channel"),
        ("a.pfm", b"Pf\n8 6\n-2.5\n" + bytes(192), r"found the scale -2.5, which readers treat differently"),
        ("a.pfm", b"Pf\n8 6\n-1\n" + bytes(191), r"6x8 numbers take 192 bytes, found 191"),
        ("a.dpt", bytes(204), r"no mark of a depth map"),
        ("a.dpt", struct.pack("<fii", 202021.25, -8, 6) + bytes(192), r"6x-8 numbers"),
        ("a.bin", b"8&6&3&" + bytes(576), r"no header of a map with one channel"),
        ("a.bin", b"80000&60000&1&" + bytes(16), r"60000x80000 numbers take 19200000000 bytes, found 16"),
        ("a.tif", b"text of 16 bytes", r"is no image"),
        ("a.exr", b"text of 16 bytes", r"a\.exr: damaged or not as expected \(found no whole EXR file"),
        ("a.npy", b"\x93NUMPY", r"a\.npy: damaged or not as expected"),
    ],
)
def test_what_is_no_such_file_is_refused_by_name(tmp_path: Path, name: str, content: bytes, message: str):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=message) as caught:
        read_numbers(DepthFile(tmp_path / name))
    assert str(caught.value).startswith(str(tmp_path / name))


@pytest.mark.parametrize(("unit", "metres"), [("vkitti", 2.04), ("kitti", 0.796875), ("100", 2.04)])
def test_a_near_frame_is_read_where_its_unit_is_told(tmp_path: Path, unit: str, metres: float):
    near = np.full((6, 8), 204, np.uint16)
    Image.fromarray(near).save(tmp_path / "near.png")
    numbers = read_numbers(DepthFile(tmp_path / "near.png"), told=True)
    np.testing.assert_allclose(as_metres(numbers, unit), np.full((6, 8), metres))
    with pytest.raises(ValueError, match=r"near\.png: expected depth in millimetres, found values of at most 204"):
        read_numbers(DepthFile(tmp_path / "near.png"))
    Image.fromarray(near.astype(np.uint8)).save(tmp_path / "steps.png")
    with pytest.raises(ValueError, match=r"steps\.png: expected a 16-bit PNG with one channel"):
        read_numbers(DepthFile(tmp_path / "steps.png"), told=True)


def test_hidden_files_of_a_folder_are_no_maps(tmp_path: Path):
    for name in ("rgb_00002.npy", "._rgb_00002.npy", ".Trashes/rgb_00003.npy"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    assert dict(depth_files(tmp_path)) == {"rgb_00002": DepthFile(tmp_path / "rgb_00002.npy")}


def test_units_are_names_or_numbers():
    assert [per_metre(unit) for unit in ("mm", "sunrgbd", "5000", "6553.5")] == [1000, 1000, 5000, 6553.5]
    for unit, message in (
        ("tumm", "did you mean 'tum'"),
        ("0", "more than 0"),
        ("-5", "more than 0"),
        ("inf", "0"),
    ):
        with pytest.raises(SettingsError, match=message):
            per_metre(unit)


def test_pictures_in_colour_are_told_from_four_bytes_of_a_number(tmp_path: Path):
    rng = np.random.default_rng(0)
    for alpha in (0, 1, 128, 255):
        pixels = rng.integers(0, 256, (6, 8, 4), dtype=np.uint8)
        pixels[..., 3] = alpha
        Image.fromarray(pixels).save(tmp_path / "a.png")
        with pytest.raises(ValueError, match=r"a\.png: .*picture in colour, which has lost its scale"):
            read_numbers(DepthFile(tmp_path / "a.png"))


def test_which_channel_is_depth_is_not_guessed(tmp_path: Path):
    for channels in (("R", "G", "B"), ("Left.Z", "Right.Z")):
        exr(*channels)(tmp_path / "a.exr")
        with pytest.raises(ValueError, match=rf"found the channels {', '.join(sorted(channels))}, expected one"):
            read_numbers(DepthFile(tmp_path / "a.exr"))
    exr("V")(tmp_path / "a.exr")
    (tmp_path / "a.exr").write_bytes((tmp_path / "a.exr").read_bytes()[:-40])
    with pytest.raises(ValueError, match=r"found no whole EXR file"):
        read_numbers(DepthFile(tmp_path / "a.exr"))


@pytest.mark.parametrize(("module", "extra"), [("OpenEXR", "exr"), ("lzfse", "record3d")])
def test_a_package_that_is_missing_is_named_with_its_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str, extra: str
):
    exr("V")(tmp_path / "a.exr")
    recording(tmp_path / "a.r3d", {0: METRES}, {})
    monkeypatch.setitem(sys.modules, module, None)
    file = DepthFile(tmp_path / "a.exr") if extra == "exr" else DepthFile(tmp_path / "a.r3d", "0")
    with pytest.raises(ValueError, match=rf"{module}\.\nRun: pip install 'stackdepth\[{extra}\]'"):
        read_numbers(file)


def recording(path: Path, frames: dict[int, np.ndarray], told: object) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("metadata", json.dumps(told))
        for number, metres in frames.items():
            archive.writestr(f"rgbd/{number}.depth", lzfse.compress(metres.astype("<f4").tobytes()))
            archive.writestr(f"rgbd/{number}.jpg", b"")


def test_a_recording_of_record3d_is_read_frame_by_frame(tmp_path: Path):
    lidar = np.linspace(0.5, 4, 256 * 192, dtype=np.float32).reshape(256, 192)
    recording(tmp_path / "a.r3d", {number: lidar * number for number in (10, 2, 1)}, {"w": 1440, "h": 1920})
    found = dict(depth_files(tmp_path / "a.r3d"))
    assert [*found] == ["1", "2", "10"]
    for number, file in found.items():
        np.testing.assert_array_equal(read_numbers(file), lidar * int(number))
    recording(tmp_path / "told.r3d", {0: METRES}, {"dh": 6, "dw": 8})
    np.testing.assert_array_equal(read_numbers(DepthFile(tmp_path / "told.r3d", "0")), METRES)
    recording(tmp_path / "odd.r3d", {0: METRES}, {})
    with pytest.raises(ValueError, match=r"odd\.r3d, frame 0: .*frame 0 has 48 numbers, expected 256x192 or"):
        read_numbers(DepthFile(tmp_path / "odd.r3d", "0"))
    with zipfile.ZipFile(tmp_path / "bad.r3d", "w") as archive:
        archive.writestr("rgbd/0.depth", b"no such bytes")
    with pytest.raises(ValueError, match="frame 0 is no LZFSE"):
        read_numbers(DepthFile(tmp_path / "bad.r3d", "0"))
    (tmp_path / "text.r3d").write_bytes(b"text")
    with pytest.raises(ValueError, match=r"text\.r3d: damaged or no recording"):
        [*depth_files(tmp_path / "text.r3d")]


def test_what_systems_put_behind_a_name_may_stay(tmp_path: Path):
    names = {
        "a/x.jpg.geometric.bin": "a/x",
        "frame.0004.depth_meters.hdf5": "frame.0004",
        "room_raw_depth_meter.npy": "room",
        "b.jpg.npy": "b.jpg",
    }
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    assert {str(file.path.relative_to(tmp_path)): name for name, file in depth_files(tmp_path)} == names
