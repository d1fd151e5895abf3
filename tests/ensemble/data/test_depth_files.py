"""Small files of other systems, made by their documented rules, read to the right metres; what is none is refused."""

import struct
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image

from ensemble.data.formats.depth_files import READERS
from ensemble.data.formats.maps import DepthFile, as_metres, read_numbers
from ensemble.settings.trees import SettingsError
from ensemble.settings.units import PER_METRE, per_metre

METRES = np.linspace(0.7, 9.5, 6 * 8, dtype=np.float32).reshape(6, 8)


def sixteen_bits(per: float) -> Callable[[Path], None]:
    return lambda path: Image.fromarray(np.rint(METRES.astype(np.float64) * per).astype(np.uint16)).save(path)


def rotated(path: Path) -> None:
    millimetres = np.rint(METRES * 1000).astype(np.uint16)
    Image.fromarray((millimetres << 3) | (millimetres >> 13)).save(path)


def pfm(order: str, scale: int) -> Callable[[Path], None]:
    head = f"Pf\n8 6\n{scale}\n".encode()
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
        ("a.npy", b"\x93NUMPY", r"a\.npy: damaged or not as expected"),
    ],
)
def test_what_is_no_such_file_is_refused_by_name(tmp_path: Path, name: str, content: bytes, message: str):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=message) as caught:
        read_numbers(DepthFile(tmp_path / name))
    assert str(caught.value).startswith(str(tmp_path / name))


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
