"""Copies that the system does not hand out, writers that meet in one folder, and images with something behind them."""

import errno
import fcntl
import io
import json
import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import h5py
import miniatures
import numpy as np
import pytest
from PIL import Image

from ensemble.data.doctor.diagnosis import diagnose
from ensemble.data.folds import folds_of_experiment
from ensemble.data.formats import images
from ensemble.data.nyu.recognition import open_nyu
from ensemble.data.packs.writing import write_pack
from ensemble.data.rooms.source import write_rooms
from ensemble.data.source import Frame
from ensemble.runs.locks import LockedError, StoreLock
from ensemble.runs.refusals import UnreadableError
from ensemble.settings.schema import RoomsSettings

PIXELS = np.random.default_rng(0).integers(300, 9000, (24, 32)).astype(np.uint16)
SMALL = RoomsSettings(scenes=2, test_scenes=1, frames=1)


@pytest.fixture
def pack(tmp_path: Path) -> Path:
    miniatures.official(tmp_path / "copy")
    write_pack(tmp_path / "copy", tmp_path / "pack", full=False)
    return tmp_path / "pack"


def refuse(monkeypatch: pytest.MonkeyPatch, owner: object, name: str, number: int) -> None:
    def refused(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(owner, name, refused)


def test_files_that_others_have_locked_are_read(pack: Path, tmp_path: Path):
    miniatures.labeled_mat(tmp_path / "mat")
    for place in (pack / "pack-00000.h5", tmp_path / "mat" / "nyu_depth_v2_labeled.mat"):
        with place.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX)  # HDF5's own kind of lock
            source = open_nyu(place.parent)
            assert source.read(source.frames[0]).valid.any()


def test_a_pack_without_locks_or_handles_is_not_damaged(pack: Path, monkeypatch: pytest.MonkeyPatch):
    before = {path.name: path.read_bytes() for path in pack.iterdir()}
    source = open_nyu(pack)
    (pack / "pack.json").rename(pack / "pack-begun.json")  # a packing that goes on looks at the shards, too
    (pack / "pack-begun.json").write_text(json.dumps(json.loads(before["pack.json"])["begun"]))
    with monkeypatch.context() as patched:
        refuse(patched, h5py, "File", errno.ENOLCK)
        for act in (
            lambda: source.read(source.frames[0]),
            lambda: write_pack(pack.parent / "copy", pack, full=False),
        ):
            with pytest.raises(UnreadableError, match=r"pack-00000\.h5.*: cannot be read \(No locks") as caught:
                act()
            assert "remove" not in str(caught.value)
    write_pack(pack.parent / "copy", pack, full=False)
    assert {path.name: path.read_bytes() for path in pack.iterdir()} == before


@pytest.mark.parametrize(
    ("make", "owner", "name"),
    [(miniatures.labeled_mat, h5py, "File"), (miniatures.unidepth, h5py, "File"), (miniatures.tars, tarfile, "open")],
)
@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EMFILE, errno.EIO])
def test_the_doctor_tells_what_cannot_be_read_from_damage(
    make: Callable[[Path], None], owner: object, name: str, number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    make(tmp_path)
    refuse(monkeypatch, owner, name, number)
    diagnosis = diagnose(tmp_path)
    assert not diagnosis.trainable
    assert diagnosis.files["damaged"] == 0
    assert diagnosis.files["unreadable"] > 0
    assert any(f"cannot be read ({os.strerror(number)})" in finding.text for finding in diagnosis.findings)


def test_one_packing_has_the_folder(pack: Path):
    with StoreLock(pack), pytest.raises(LockedError, match=f"{pack}: is being written by this process"):
        write_pack(pack.parent / "copy", pack, full=False)


def test_one_writer_of_rooms_has_the_folder_and_clears_it(tmp_path: Path):
    with StoreLock(tmp_path), pytest.raises(LockedError, match="is being written by"):
        write_rooms(tmp_path, SMALL, (32, 48))
    (tmp_path / "official_splits.partial" / "train" / "old").mkdir(parents=True)
    (tmp_path / ".anything.partial").touch()
    write_rooms(tmp_path, SMALL, (32, 48))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["official_splits"]
    assert not (tmp_path / "official_splits" / "train" / "old").exists()


def test_leftovers_beside_the_folds_go_with_the_next_training(tmp_path: Path):
    frames = [Frame(f"{scene}/0", scene, "train") for scene in "abcd"]
    for _ in range(2):  # where there are none yet, and where there are
        (tmp_path / ".folds.json.999999999-00ff00ff.partial").write_text("{")
        assert folds_of_experiment(tmp_path / "folds.json", frames, 2).count == 2
        assert {path.name for path in tmp_path.iterdir()} == {"folds.json", "folds.json.sha256"}


def jpeg(**options: object) -> bytes:
    pixels = np.random.default_rng(0).integers(255, size=(48, 64, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", **options)
    return buffer.getvalue()


def png() -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.full((48, 64), 2000, np.uint16)).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.mark.parametrize("content", [jpeg(), jpeg(progressive=True), jpeg(restart_marker_blocks=1), png()])
def test_an_image_with_a_video_behind_it_is_whole(content: bytes, tmp_path: Path):
    read = images.read_depth_mm if content.startswith(b"\x89PNG") else images.read_rgb
    path = tmp_path / "image"
    path.write_bytes(content)
    plain = read(path)
    path.write_bytes(content + b"ftypmp42" + bytes(10_000))
    images.check_end(path)
    assert np.array_equal(read(path), plain)


def test_the_end_of_a_thumbnail_is_not_that_of_the_image(tmp_path: Path):
    thumbnail = b"Exif\0\0" + jpeg()[:9000]
    content = jpeg()
    content = (
        content[:2] + b"\xff\xe1" + (len(thumbnail) + 4).to_bytes(2, "big") + thumbnail + b"\xff\xd9" + content[2:]
    )
    (tmp_path / "whole.jpg").write_bytes(content)
    images.check_end(tmp_path / "whole.jpg")
    (tmp_path / "cut.jpg").write_bytes(content[:-2] + bytes(5000))
    with pytest.raises(ValueError, match=r"cut\.jpg: damaged or cut short at \d+ bytes \(its end mark is missing\)"):
        images.check_end(tmp_path / "cut.jpg")
    with pytest.raises(ValueError, match=r"cut\.jpg: (damaged or )?cut short"):
        images.read_rgb(tmp_path / "cut.jpg")


def test_no_image_a_huge_one_and_a_damaged_one_are_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    told = []
    for name, content in {"text": b"not an image at all", "huge": jpeg(), "damaged": jpeg()[:900]}.items():
        (tmp_path / name).write_bytes(content)
        with monkeypatch.context() as patched:
            patched.setattr(Image, "MAX_IMAGE_PIXELS", 1000 if name == "huge" else 10**8)
            with pytest.raises(ValueError, match=f"{name}: ") as caught:
                images.read_rgb(tmp_path / name)
        told.append(str(caught.value))
    assert "is no image" in told[0]
    assert "is larger than the limit of 1000 pixels" in told[1]
    assert "damaged or cut short at 900 bytes" in told[2]
    refuse(monkeypatch, Path, "read_bytes", errno.ESTALE)
    with pytest.raises(UnreadableError, match="huge: cannot be read"):
        images.read_rgb(tmp_path / "huge")


@pytest.mark.parametrize("kind", ["rgb", "depth", "depth, no filter"])
def test_a_flipped_bit_of_a_png_is_named_or_changes_nothing(kind: str, tmp_path: Path):
    path = tmp_path / "00001.png"
    pixels = PIXELS if kind != "rgb" else np.stack([PIXELS % 251] * 3, axis=-1).astype(np.uint8)
    Image.fromarray(pixels).save(path, compress_level=0 if "no filter" in kind else 6)
    read = images.read_rgb if kind == "rgb" else images.read_depth_mm
    whole = path.read_bytes()
    places = np.random.default_rng(1).choice(8 * len(whole), 300, replace=False)
    for place in (*places, *range(8 * (len(whole) - 12), 8 * len(whole))):
        content = bytearray(whole)
        content[place // 8] ^= 1 << int(place) % 8
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"00001\.png: "):
            read(path)
    path.write_bytes(whole + b"of a phone")
    assert np.array_equal(read(path), pixels)
