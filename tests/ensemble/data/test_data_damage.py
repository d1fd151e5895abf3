"""Copies that are cut short, hostile or of the wrong kind are refused by name (RELIABILITY rows 9, 12, 13, 16)."""

import re
import tarfile
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import h5py
import miniatures
import numpy as np
import pytest
from cache_samples import opens_of
from miniatures import add_member, frame_h5, h5_name, image_bytes
from scipy.io import savemat

from ensemble.data.copies import NyuSource
from ensemble.data.doctor.diagnosis import diagnose
from ensemble.data.doctor.measurements import examine_all
from ensemble.data.nyu.recognition import open_nyu
from ensemble.data.source import Entry, Frame


def cuts(whole: bytes) -> list[int]:
    """Twenty lengths, with the hard ones: nothing, one byte, almost all."""
    return [0, 1, 7, 64, len(whole) - 1, len(whole) - 2, len(whole) - 12,
            *(int(at) for at in np.linspace(100, len(whole) - 20, 13))]  # fmt: skip


def errors(root: Path) -> list[str]:
    return [finding.text for finding in diagnose(root).findings if finding.level == "error"]


def first_frame(root: Path) -> tuple[NyuSource, Callable[[], object]]:
    source = open_nyu(root)
    frame = next(frame for frame in source.frames if frame.id.startswith("kitchen_0028a"))
    return source, lambda: source.read(frame)


ROW_9 = {
    "PNG": (miniatures.sync, "sync/kitchen_0028a/sync_depth_00000.png"),
    "JPG": (miniatures.sync, "sync/kitchen_0028a/rgb_00000.jpg"),
    "H5": (miniatures.fastdepth, h5_name(0)),
    "mat": (miniatures.labeled_mat, "nyu_depth_v2_labeled.mat"),
    "splits.mat": (miniatures.labeled_mat, "splits.mat"),
    "UniDepth": (miniatures.unidepth, "nyuv2.hdf5"),
    "tar": (miniatures.tars, "data/train-000000.tar"),
}


@pytest.mark.parametrize("kind", ROW_9)
def test_twenty_cuts_are_all_reported_before_training(tmp_path: Path, kind: str):
    build, name = ROW_9[kind]
    build(tmp_path)
    path = tmp_path / name
    _, read = first_frame(tmp_path)
    whole = path.read_bytes()
    if kind == "tar":  # what follows the two blocks of zeros that end an archive is padding
        with tarfile.open(path) as tar:
            whole = whole[: tar.getmembers()[-1].offset_data + -(-tar.getmembers()[-1].size // 512) * 512 + 512]
    assert len(set(cuts(whole))) == 20
    for cut in cuts(whole):
        path.write_bytes(whole[:cut])
        found = errors(tmp_path)
        assert any(str(path) in text for text in found), (cut, found)
        if kind not in ("splits.mat", "tar"):  # read once, and read by offset
            with pytest.raises(ValueError, match=re.escape(str(path))):
                read()
        if kind in ("mat", "splits.mat", "UniDepth", "tar"):
            with pytest.raises(ValueError, match=re.escape(str(path))):
                open_nyu(tmp_path)


@pytest.mark.parametrize("kind", ["PNG", "JPG", "H5"])
def test_files_outside_of_the_sample_are_looked_at_too(tmp_path: Path, kind: str):
    build, name = ROW_9[kind]
    build(tmp_path)
    path = tmp_path / name.replace("kitchen_0028a", "office_0003").replace("00000", "00008").replace("00001", "00009")
    whole = path.read_bytes()
    with mock.patch("ensemble.data.doctor.diagnosis.QUICK_SAMPLE", 1):
        assert diagnose(tmp_path).splits["train"].decoded == 1
        assert errors(tmp_path) == []
        for cut in cuts(whole):
            path.write_bytes(whole[:cut])
            assert any(str(path) in text for text in errors(tmp_path)), cut
        path.write_bytes(b"\0" * len(whole))
        assert any(str(path) in text for text in errors(tmp_path))


def test_a_process_that_dies_ends_the_look_with_a_message(tmp_path: Path):
    entries = tuple(Entry(Frame(f"room_0000/{number}", "room_0000", "train"), number) for number in range(4))
    source = NyuSource(tmp_path, entries, miniatures.DeadlyReader())
    tasks = [(frame, True) for frame in source.frames]
    with (
        mock.patch("ensemble.data.doctor.measurements._WORTH_PROCESSES", 1),
        pytest.raises(ValueError, match="a process that decodes frames was killed"),
    ):
        list(examine_all(source, tasks, workers=2))


def test_a_member_of_an_archive_that_was_cut_later_is_refused(tmp_path: Path):
    miniatures.tars(tmp_path)
    path = tmp_path / "data/train-000000.tar"
    _, read = first_frame(tmp_path)
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(ValueError, match=r"train-000000\.tar, train/kitchen_0028a/00001\.h5: cut short"):
        read()
    path.unlink()
    with pytest.raises(ValueError, match=r"train-000000\.tar: cannot be read"):
        read()


def test_a_folder_of_hdf5_files_that_is_a_dead_link_is_missing(tmp_path: Path):
    miniatures.fastdepth(tmp_path)
    folder = next(tmp_path.glob("**/train/*"))
    folder.rename(tmp_path / "moved")
    folder.symlink_to(tmp_path / "elsewhere")
    diagnosis = diagnose(tmp_path)
    assert not diagnosis.trainable
    assert diagnosis.files["missing"] == 1
    assert any(f"{folder}, a link to" in finding.text for finding in diagnosis.findings)


def test_an_archive_that_is_not_there_is_missed(tmp_path: Path):
    miniatures.tars(tmp_path)
    (tmp_path / "data/train-000000.tar").unlink()
    assert any("missing files: 1" in text and "train-000000.tar" in text for text in errors(tmp_path))


def test_a_frame_in_two_archives_is_doubled(tmp_path: Path):
    miniatures.tars(tmp_path)
    with tarfile.open(tmp_path / "data/train-000001.tar", "a") as tar:
        add_member(tar, h5_name(0), frame_h5(0))
    assert errors(tmp_path) == [
        "doubled frames: 1 (first: train kitchen_0028a/00001); expected every frame once, remove one of the two"
    ]


HOSTILE = {
    "absolute": {"name": "/etc/kitchen_0001/00001.h5"},
    "parent": {"name": "../kitchen_0001/00001.h5"},
    "hidden parent": {"name": "train/kitchen_0001/../../../00001.h5"},
    "backslash": {"name": "..\\kitchen_0001\\00001.h5"},
    "symbolic link": {"type": tarfile.SYMTYPE, "linkname": "/etc/passwd"},
    "hard link": {"type": tarfile.LNKTYPE, "linkname": "train/kitchen_0028a/00001.h5"},
    "device": {"type": tarfile.CHRTYPE},
    "pipe": {"type": tarfile.FIFOTYPE},
    "no folder": {"name": "00001.h5"},
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_archive_is_refused(tmp_path: Path, kind: str):
    miniatures.tars(tmp_path)
    fields = {"name": "train/kitchen_0009/00001.h5", **HOSTILE[kind]}
    with tarfile.open(tmp_path / "data/train-000001.tar", "a") as tar:
        add_member(tar, str(fields.pop("name")), b"", **fields)
    with pytest.raises(ValueError, match=r"entries that lead out of the copy: 1 .*train-000001\.tar"):
        open_nyu(tmp_path)
    assert len(errors(tmp_path)) == 1


def test_a_member_that_claims_to_be_huge_is_refused(tmp_path: Path):
    miniatures.tars(tmp_path)
    member = tarfile.TarInfo("train/kitchen_0009/00001.h5")
    member.size = 1 << 40
    path = tmp_path / "data/train-000001.tar"
    path.write_bytes(member.tobuf() + path.read_bytes())
    with pytest.raises(ValueError, match=r"train-000001\.tar"):
        open_nyu(tmp_path)


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """A file outside of every copy, with data of the right shape."""
    path = tmp_path / "secret.h5"
    with h5py.File(path, "w") as file:
        file["depth"] = np.full(miniatures.SIZE, 3.0, np.float32)
        file["rgb"] = np.zeros((3, *miniatures.SIZE), np.uint8)
        file["blob"] = np.frombuffer(image_bytes(np.full(miniatures.SIZE, 3000, np.uint16), "PNG"), np.uint8)
    (tmp_path / "secret.raw").write_bytes(bytes(4 * miniatures.SIZE[0] * miniatures.SIZE[1]))
    return path


def external_link(file: h5py.File, name: str, secret: Path) -> None:
    file[name] = h5py.ExternalLink(str(secret), "depth")


def soft_link(file: h5py.File, name: str, secret: Path) -> None:
    file["gate"] = h5py.ExternalLink(str(secret), "/")
    file[name] = h5py.SoftLink("/gate/depth")


def virtual_dataset(file: h5py.File, name: str, secret: Path) -> None:
    layout = h5py.VirtualLayout(miniatures.SIZE, np.float32)
    layout[:] = h5py.VirtualSource(str(secret), "depth", miniatures.SIZE)
    file.create_virtual_dataset(name, layout)


def external_storage(file: h5py.File, name: str, secret: Path) -> None:
    raw = secret.with_suffix(".raw")
    file.create_dataset(name, miniatures.SIZE, np.float32, external=[(str(raw), 0, raw.stat().st_size)])


OUTSIDE = [external_link, soft_link, virtual_dataset, external_storage]
TARGETS = {
    "fastdepth": (miniatures.fastdepth, h5_name(0), "depth"),
    "unidepth": (miniatures.unidepth, "nyuv2.hdf5", "kitchen_0028a/sync_depth_00000.png"),
    "unidepth list": (miniatures.unidepth, "nyuv2.hdf5", "nyu_train.txt"),
    "unidepth folder": (miniatures.unidepth, "nyuv2.hdf5", "kitchen_0028a"),
    "mat": (miniatures.labeled_mat, "nyu_depth_v2_labeled.mat", "rawDepths"),
    "mat scenes": (miniatures.labeled_mat, "nyu_depth_v2_labeled.mat", "scenes"),
}


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("way", OUTSIDE)
def test_hdf5_that_points_outside_is_refused(tmp_path: Path, secret: Path, way: Callable, target: str):
    build, name, member = TARGETS[target]
    root = tmp_path / "copy"
    build(root)
    with h5py.File(root / name, "r+") as file:
        del file[member]
        way(file, member, secret)
    reason = "link" if way in (external_link, soft_link) else "other file|another file"
    if target == "unidepth folder" and way not in (external_link, soft_link):
        reason = "missing"
    with opens_of(secret) as read, opens_of(secret.with_suffix(".raw")) as read_raw:
        with pytest.raises(ValueError, match=re.escape(str(root / name))) as caught:
            first_frame(root)[1]()
        assert re.search(reason, str(caught.value))
        assert any(str(root / name) in text for text in errors(root))
    assert (read, read_raw) == ([], [])


def test_whoever_reads_outside_of_a_copy_is_seen(tmp_path: Path, secret: Path):
    """The witness of the test above sees HDF5 follow every way out."""
    for way in OUTSIDE:
        path = tmp_path / f"{way.__name__}.h5"
        with h5py.File(path, "w") as file:
            way(file, "depth", secret)
        with opens_of(secret) as read, opens_of(secret.with_suffix(".raw")) as read_raw, h5py.File(path) as file:
            assert file["depth"][0, 0] in (0, 3)
        assert read or read_raw, way.__name__


def test_a_scene_that_is_stored_elsewhere_is_refused(tmp_path: Path):
    miniatures.labeled_mat(tmp_path / "copy")
    (tmp_path / "secret.raw").write_bytes(b"secret")
    with h5py.File(tmp_path / "copy" / "nyu_depth_v2_labeled.mat", "r+") as file:
        data = file.create_dataset("elsewhere", (6,), np.uint8, external=[(str(tmp_path / "secret.raw"), 0, 6)])
        file["scenes"][0, 0] = data.ref
    stopped = pytest.raises(ValueError, match="'scenes' is stored in another file")
    with opens_of(tmp_path / "secret.raw") as read, stopped:
        open_nyu(tmp_path / "copy")
    assert read == []


@pytest.mark.parametrize("chunks", [None, (24, 64)])
def test_depth_that_was_never_written_does_not_read_as_zeros(tmp_path: Path, chunks: tuple[int, int] | None):
    miniatures.fastdepth(tmp_path)
    with h5py.File(tmp_path / h5_name(0), "r+") as file:
        del file["depth"]
        depth = file.create_dataset("depth", miniatures.SIZE, np.float32, chunks=chunks)
        if chunks:
            depth[:24] = 2
    with pytest.raises(ValueError, match=r"00001\.h5: .*(1 of 2 chunks|was never written)"):
        first_frame(tmp_path)[1]()


def replace(root: Path, **members: np.ndarray | None) -> None:
    with h5py.File(root / h5_name(0), "r+") as file:
        for name, values in members.items():
            del file[name]
            if values is not None:
                file[name] = values


WRONG_H5 = {
    "channels last": ({"rgb": np.zeros((48, 64, 3), np.uint8)}, "expected uint8 .3, height, width"),
    "RGBA": ({"rgb": np.zeros((4, 48, 64), np.uint8)}, "expected uint8 .3, height, width"),
    "greyscale": ({"rgb": np.zeros((48, 64), np.uint8)}, "expected uint8 .3, height, width"),
    "float image": ({"rgb": np.zeros((3, 48, 64), np.float32)}, "expected uint8 .3, height, width"),
    "other size": ({"depth": np.ones((48, 60), np.float32)}, "expected the size of its image, 48x64, found 48x60"),
    "stacked depth": ({"depth": np.ones((1, 48, 64), np.float32)}, "expected float32 or float16 .height, width"),
    "8-bit depth": ({"depth": np.ones((48, 64), np.uint8)}, "expected float32 or float16"),
    "millimetres": ({"depth": np.full((48, 64), 2000, np.float32)}, "expected metres: these may be millimetres"),
    "negative depth": ({"depth": np.full((48, 64), -1, np.float32)}, "3072 values that are negative or not finite"),
    "no number": ({"depth": np.full((48, 64), np.nan, np.float32)}, "3072 values that are negative or not finite"),
    "no depth": ({"depth": None}, "'depth' is missing"),
}


@pytest.mark.parametrize("kind", WRONG_H5)
def test_the_wrong_kind_of_array_is_refused(tmp_path: Path, kind: str):
    members, message = WRONG_H5[kind]
    miniatures.fastdepth(tmp_path)
    replace(tmp_path, **members)
    with pytest.raises(ValueError, match=message) as caught:
        first_frame(tmp_path)[1]()
    assert str(tmp_path / h5_name(0)) in str(caught.value)


def test_a_dataset_that_claims_to_fill_the_memory_is_refused(tmp_path: Path):
    miniatures.fastdepth(tmp_path)
    with h5py.File(tmp_path / h5_name(0), "r+") as file:
        del file["depth"]
        chunked = file.create_dataset("depth", (1 << 15, 1 << 15), np.float32, chunks=(1 << 11, 1 << 15), compression=9)
        for row in range(0, 1 << 15, 1 << 11):
            chunked.id.write_direct_chunk((row, 0), b"x")
    with pytest.raises(ValueError, match="'depth' claims 4294967296 bytes"):
        first_frame(tmp_path)[1]()


WRONG_MAT = {
    "no depth": ({"rawDepths": None}, "'rawDepths' is missing"),
    "not transposed": ({"images": np.zeros((9, 48, 64, 3), np.uint8)}, "expected uint8 .n, 3, width, height"),
    "other count": ({"rawDepths": np.ones((8, 64, 48), np.float32)}, "expected uint8 .n, 3, width, height"),
    "whole numbers": ({"rawDepths": np.ones((9, 64, 48), np.uint16)}, "expected floating point metres"),
    "scenes as text": ({"scenes": np.array([[b"kitchen"] * 9])}, "expected 9 references to texts"),
    "millimetres": ({"rawDepths": np.full((9, 64, 48), 2000, np.float32)}, "expected metres: these may be"),
}


@pytest.mark.parametrize("kind", WRONG_MAT)
def test_a_labeled_set_of_another_layout_is_refused(tmp_path: Path, kind: str):
    members, message = WRONG_MAT[kind]
    miniatures.labeled_mat(tmp_path)
    with h5py.File(tmp_path / "nyu_depth_v2_labeled.mat", "r+") as file:
        for name, values in members.items():
            del file[name]
            if values is not None:
                file[name] = values
    with pytest.raises(ValueError, match=message):
        first_frame(tmp_path)[1]()


@pytest.mark.parametrize(
    ("train", "test"), [([1, 2, 2], [3]), ([1, 2], [2, 3]), ([0, 1], [2]), ([1, 2], [10]), ([], [])]
)
def test_a_split_that_does_not_divide_the_images_is_refused(tmp_path: Path, train: list[int], test: list[int]):
    miniatures.labeled_mat(tmp_path)
    savemat(tmp_path / "splits.mat", {"trainNdxs": np.array(train), "testNdxs": np.array(test)})
    with pytest.raises(ValueError, match=r"splits\.mat: expected every number of 1 \.\. 9 at most once"):
        open_nyu(tmp_path)


def test_a_small_split_that_unpacks_to_a_huge_one_is_refused(tmp_path: Path):
    miniatures.labeled_mat(tmp_path)
    assert len(open_nyu(tmp_path).frames) == 9
    huge = {"trainNdxs": np.zeros(20_000_000, np.uint8), "testNdxs": np.array([1])}
    savemat(tmp_path / "splits.mat", huge, do_compression=True)
    assert (tmp_path / "splits.mat").stat().st_size < 1 << 20
    tracemalloc.start()
    with pytest.raises(ValueError, match=r"splits\.mat: damaged .*trainNdxs has more than 100000 values"):
        open_nyu(tmp_path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * 20_000_000, "as indices of 8 bytes they would take twice as much"


def test_a_split_without_its_keys_is_refused(tmp_path: Path):
    miniatures.labeled_mat(tmp_path)
    savemat(tmp_path / "splits.mat", {"trainNdxs": np.array([1])})
    with pytest.raises(ValueError, match=r"splits\.mat: .* expected trainNdxs and testNdxs"):
        open_nyu(tmp_path)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (image_bytes(np.full((48, 64), 200, np.uint16), "PNG"), "expected an 8-bit image with one channel"),
        (image_bytes(np.full((48, 64), 4, np.uint8), "PNG"), "metres in place of steps"),
        (image_bytes(np.zeros((48, 64, 3), np.uint8), "PNG"), "expected an 8-bit image with one channel"),
    ],
)
def test_8_bit_depth_of_the_wrong_kind_is_refused(tmp_path: Path, data: bytes, message: str):
    miniatures.densedepth(tmp_path)
    (tmp_path / "data/nyu2_train/kitchen_0028a_out/0.png").write_bytes(data)
    with pytest.raises(ValueError, match=message):
        first_frame(tmp_path)[1]()


@pytest.mark.parametrize("name", ["../x/1.jpg", "data/../../x/1.jpg", "C:\\x\\1.jpg", "\\\\host\\x\\1.jpg"])
def test_a_csv_cannot_leave_the_copy(tmp_path: Path, name: str):
    miniatures.densedepth(tmp_path)
    with (tmp_path / "data/nyu2_train.csv").open("a") as file:
        file.write(f"{name},data/nyu2_train/kitchen_0028a_out/0.png\n")
    with pytest.raises(ValueError, match=r"nyu2_train\.csv:7: expected a path .* inside the copy"):
        open_nyu(tmp_path)


def test_members_that_the_list_inside_names_but_nobody_wrote_are_missed(tmp_path: Path):
    miniatures.unidepth(tmp_path)
    with h5py.File(tmp_path / "nyuv2.hdf5", "r+") as file:
        del file["bedroom_0004/rgb_00005.jpg"], file["office_0003"]
    (text,) = errors(tmp_path)
    assert text.startswith("missing files: 3 (first: ")
    assert "bedroom_0004/rgb_00005.jpg" in text


def test_a_blob_that_is_no_row_of_bytes_is_refused(tmp_path: Path):
    miniatures.unidepth(tmp_path)
    with h5py.File(tmp_path / "nyuv2.hdf5", "r+") as file:
        del file["kitchen_0028a/rgb_00000.jpg"]
        file["kitchen_0028a/rgb_00000.jpg"] = np.zeros((48, 64, 3), np.float32)
    with pytest.raises(ValueError, match=r"rgb_00000\.jpg' is float32 .* expected the bytes of a file"):
        first_frame(tmp_path)[1]()
