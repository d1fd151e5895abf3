"""What the system refuses is never called damage, and never answered with the advice to remove a file."""

import errno
import fcntl
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from ensemble.data.folds import read_folds
from ensemble.data.packs.reading import read_begun, read_index
from ensemble.predictions.foreign.record import read_roles
from ensemble.runs.claims import differing_sources
from ensemble.runs.locks import LOCK_NAME, LockedError, StoreLock
from ensemble.runs.paths import Run
from ensemble.runs.refusals import UnreadableError, refusal, refuse_unreadable
from ensemble.studies.storage.addresses import storage_url
from ensemble.studies.storage.folders import StudyFolder

SYSTEM = (errno.ENOLCK, errno.EACCES, errno.EMFILE, errno.EIO, errno.ESTALE, errno.EAGAIN, errno.ENOMEM, errno.ENOSPC)


@pytest.mark.parametrize("number", SYSTEM)
def test_errors_of_the_system_are_refusals(number: int):
    with pytest.raises(UnreadableError, match=r"a\.h5: cannot be read \(") as caught:
        refuse_unreadable(Path("a.h5"), OSError(number, "as HDF5 words it"))
    assert os.strerror(number) in str(caught.value)
    assert not any(word in str(caught.value) for word in ("rm ", "damaged", "remove"))


def test_lack_of_memory_is_a_refusal_and_damage_is_not():
    assert refusal(MemoryError()) == refusal(RuntimeError("DefaultCPUAllocator: can't allocate memory"))
    for damage in (OSError("file signature not found"), KeyError("x"), ValueError("bad"), OSError(errno.EINVAL, "x")):
        assert refusal(damage) is None


def _without_locks(monkeypatch: pytest.MonkeyPatch, number: int = errno.ENOLCK) -> None:
    def refused(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "lockf", refused)


def test_a_writer_goes_on_without_locks_after_a_warning_that_names_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    _without_locks(monkeypatch)
    with StoreLock(tmp_path / "store"):
        told = capsys.readouterr().err
        assert f"{tmp_path}/store: its file system has no locks" in told
        assert os.strerror(errno.ENOLCK) in told
    with StoreLock(tmp_path / "store"):
        pass


def test_without_locks_the_record_of_a_live_writer_keeps_others_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    _without_locks(monkeypatch)
    record = {"host": socket.gethostname(), "start": "2026-01-01T00:00:00+00:00"}
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        (tmp_path / LOCK_NAME).write_text(json.dumps({**record, "pid": other.pid}))
        lock = StoreLock(tmp_path)
        with pytest.raises(LockedError, match=rf"pid {other.pid} on .* if it was killed, remove .*{LOCK_NAME}"):
            lock.acquire()
    with lock:  # its process is gone now
        pass
    (tmp_path / LOCK_NAME).write_text(json.dumps({**record, "pid": other.pid, "host": "elsewhere"}))
    with pytest.raises(LockedError, match=r"on elsewhere since"):
        lock.acquire()
    (tmp_path / LOCK_NAME).write_text(json.dumps({**record, "pid": os.getpid()}))
    with lock:  # the number of a writer that was killed is ours now
        pass


def test_other_errors_of_locking_name_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    _without_locks(monkeypatch, errno.EIO)
    with pytest.raises(OSError, match=rf"{LOCK_NAME}: cannot be locked \(Input/output error\)"):
        StoreLock(tmp_path).acquire()


def test_whoever_locks_a_folder_removes_what_killed_writers_left(tmp_path: Path):
    with subprocess.Popen([sys.executable, "-c", "pass"]) as dead:
        dead.wait()
    left = [tmp_path / f".folds.json.{dead.pid}-00ff00ff.partial", tmp_path / ".report.md.partial"]
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        kept = tmp_path / f".scores.json.{other.pid}-00ff00ff.partial"
        for path in (*left, kept):
            path.write_text("half")
        with StoreLock(tmp_path):
            assert [path.exists() for path in (*left, kept)] == [False, False, True]
        os.utime(kept, (0, 0))  # the number of a dead process may be that of another one by now
        with StoreLock(tmp_path, keep=False):
            assert not kept.exists()
    assert list(tmp_path.iterdir()) == []


def test_a_lock_that_is_waited_for_comes(tmp_path: Path):
    code = (
        "import sys, time; from pathlib import Path; from ensemble.runs.locks import StoreLock\n"
        f"with StoreLock(Path({str(tmp_path)!r}), keep=False): print('held', flush=True); time.sleep(0.5)"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, env=environment) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(LockedError, match=f"pid {other.pid}"):
            StoreLock(tmp_path).acquire()
        with StoreLock(tmp_path, patience=20):
            assert other.wait() == 0


def test_records_that_the_system_does_not_hand_out_are_not_to_be_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    folder = StudyFolder(tmp_path)
    folder.storage.write_text('{"address": "sqlite:///a.db"}')
    (tmp_path / "folds.json").write_text("{}")
    run = Run(tmp_path)
    run.sources.write_text("{}")
    run.result.write_text("{}")

    def refused(*_: object, **__: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    for name in ("read_text", "read_bytes"):
        monkeypatch.setattr(Path, name, refused)
    for act in (
        lambda: storage_url(None, folder),
        lambda: read_folds(tmp_path / "folds.json"),
        lambda: differing_sources(run, {}),
        lambda: read_roles(run),
        lambda: read_index(tmp_path / "pack.json"),
        lambda: read_begun(tmp_path / "pack-begun.json"),
    ):
        with pytest.raises(UnreadableError, match=r"\.json: cannot be read \(Input/output error\)") as caught:
            act()
        assert not any(word in str(caught.value) for word in ("emove", "--fresh", "--rebuild", "damaged", "pack again"))
