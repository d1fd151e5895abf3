"""Shards that the system does not hand out may be whole: no word of damage, no advice to remove them."""

import errno
import fcntl
import os
from pathlib import Path

import cache_samples as samples
import h5py
import pytest

from ensemble.predictions.store import DamagedCacheError
from ensemble.predictions.store.verify import verify_stores
from ensemble.report.tables.verification import stores_table
from ensemble.runs.paths import Outputs
from ensemble.runs.refusals import UnreadableError


def refusing(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    """No HDF5 file opens."""

    def refused(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(h5py, "File", refused)


@pytest.fixture
def where(tmp_path: Path) -> Outputs:
    outputs = Outputs(tmp_path)
    samples.fill(outputs.predictions("tiny", "bts", "fit"), 8, shard_frames=4)
    return outputs


def test_a_shard_whose_lock_another_process_has_is_read(where: Outputs):
    shard = where.predictions("tiny", "bts", "fit") / "shard-00000.h5"
    with shard.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # HDF5's own kind of lock
        (store,) = verify_stores(where)
    assert not store.damaged
    assert not store.unreadable


@pytest.mark.parametrize("error", [OSError(errno.ENOLCK, "No locks available"), MemoryError()])
def test_verify_does_not_call_damaged_what_cannot_be_read(
    where: Outputs, monkeypatch: pytest.MonkeyPatch, error: BaseException
):
    refusing(monkeypatch, error)
    (store,) = verify_stores(where)
    assert not store.damaged
    assert len(store.unreadable) == 2
    for shard in store.unreadable:
        assert shard.complaint.startswith(f"{shard.path}: cannot be read (")
        assert "rm " not in shard.complaint
    assert [column.heading for column in stores_table([store]).columns][-1] == "unreadable"


@pytest.mark.parametrize("number", [errno.EACCES, errno.EMFILE, errno.EIO, errno.ESTALE])
def test_rows_that_the_system_does_not_hand_out_are_not_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
):
    samples.fill(tmp_path, 4)
    reader = samples.reader(tmp_path, 4)

    def refused(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "open", refused)
    with pytest.raises(UnreadableError, match="cannot be read") as caught:
        reader.read(samples.frame_ids(4)[0])
    assert not isinstance(caught.value, DamagedCacheError)
    assert "rm " not in str(caught.value)


def test_a_writer_and_a_reader_say_it_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    samples.fill(tmp_path, 4)
    refusing(monkeypatch, OSError(errno.ENOLCK, "No locks available"))
    with pytest.raises(UnreadableError, match="No locks available"):
        samples.reader(tmp_path, 4)
    with pytest.raises(UnreadableError, match="No locks available"):
        samples.writer(tmp_path, 4).is_complete()
