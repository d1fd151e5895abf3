"""A pack of KITTI gives the frames of the copy, with their cameras and windows, and goes on where the copy was."""

from pathlib import Path

import kitti_miniatures as mini
import numpy as np
import pytest
import torch
from command_lines import call

from ensemble.data import open_source
from ensemble.data.loaders import FrameDataset
from ensemble.data.packs.writing import write_pack
from ensemble.data.source import RowSource
from ensemble.settings.schema import DataSettings, KittiSettings


def settings(root: Path, **kitti: str) -> DataSettings:
    return DataSettings(kind="kitti", root=root, kitti=KittiSettings(**kitti), crop=(352, 704))


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A copy and a pack of it."""
    copy, pack = (tmp_path_factory.mktemp(name) for name in ("kitti", "packed"))
    mini.write_kitti(copy)
    assert write_pack(copy, pack / "pack", data=settings(copy), shard_frames=9) == 22
    return copy, pack / "pack"


def test_frames_cameras_windows_and_fingerprints_are_those_of_the_copy(folders: tuple[Path, Path]):
    copy, pack = (open_source(settings(root)) for root in folders)
    assert isinstance(pack, RowSource)
    assert pack.frames == copy.frames
    assert pack.describe(pack.frames) == copy.describe(copy.frames)
    for frame in copy.frames[::5]:
        found, expected = pack.read(frame), copy.read(frame)
        assert (found.intrinsics, found.window) == (expected.intrinsics, expected.window)
        for name in ("image", "depth", "valid"):
            np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))


def test_training_crops_are_those_of_the_copy(folders: tuple[Path, Path]):
    batches = []
    for root in folders:
        data = settings(root)
        source = open_source(data)
        batches.append(FrameDataset(source, source.frames, data)[[(0, 1), (7, 2), (13, 3)]])
    for key in ("image", "depth", "valid"):
        assert torch.equal(batches[0][key], batches[1][key])


def test_other_settings_than_those_of_the_pack_are_refused(folders: tuple[Path, Path]):
    with pytest.raises(ValueError, match=r"other data\.kitti settings than depth=velodyne"):
        open_source(settings(folders[1], depth="velodyne"))
    with pytest.raises(ValueError, match="is a pack of kitti, expected one of NYU Depth v2; add --data kitti"):
        open_source(DataSettings(kind="nyu", root=folders[1]))


def test_a_pack_that_is_not_finished_says_so(tmp_path: Path):
    (tmp_path / "pack-begun.json").write_text("{}")
    with pytest.raises(ValueError, match=r"not finished, expected pack\.json; give python -m ensemble\.data pack"):
        open_source(settings(tmp_path))


def test_the_doctor_looks_at_a_pack(folders: tuple[Path, Path]):
    answer = call("data", "doctor", folders[1], "--data", "kitti")
    assert answer.status == 0, answer.out + answer.err
    assert "a training pack of stackdepth" in answer.out


def test_a_bad_copy_is_not_packed(tmp_path: Path, folders: tuple[Path, Path]):
    answer = call(
        "data", "pack", folders[0], tmp_path / "out", "--data", "kitti", "--set", "data.kitti.training=none.txt"
    )
    assert answer.status != 0
    assert "there is no such list" in answer.err
    assert not (tmp_path / "out" / "pack.json").exists()
