import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from ensemble.runs import files


def test_written_text_and_bytes_come_back_and_nothing_else_is_left(tmp_path: Path) -> None:
    files.write_text(tmp_path / "deep" / "scores.json", "größe 1 m\n")
    files.write_bytes(tmp_path / "deep" / "blob", bytes(range(256)))
    assert (tmp_path / "deep" / "scores.json").read_bytes() == "größe 1 m\n".encode()
    assert (tmp_path / "deep" / "blob").read_bytes() == bytes(range(256))
    assert sorted(path.name for path in (tmp_path / "deep").iterdir()) == ["blob", "scores.json"]


def test_an_error_inside_leaves_the_former_file_and_no_leftover(tmp_path: Path) -> None:
    target = tmp_path / "last.ckpt"
    files.write_text(target, "former")

    def write_half() -> None:
        with files.atomic_file(target) as temporary:
            temporary.write_text("half")
            assert temporary.parent == tmp_path
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_half()
    assert target.read_text() == "former"
    assert list(tmp_path.iterdir()) == [target]


def test_writing_nothing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), files.atomic_file(tmp_path / "empty"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_content_and_name_are_on_disk_before_the_call_returns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    events = []
    real_fsync, real_replace = os.fsync, Path.replace

    def fsync(descriptor: int) -> None:
        events.append("sync " + Path(f"/proc/self/fd/{descriptor}").readlink().name.split(".")[-1])
        real_fsync(descriptor)

    def replace(self: Path, target: Path) -> Path:
        events.append("rename")
        return real_replace(self, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(Path, "replace", replace)
    files.write_text(tmp_path / "a.txt", "a")
    assert events == ["sync partial", "rename", f"sync {tmp_path.name}"]


def test_a_file_that_does_not_fit_says_so_and_leaves_nothing(tmp_path: Path) -> None:
    target = tmp_path / "scores.json"
    files.write_text(target, "former")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(OSError, match=r"scores\.json: 5000 bytes could not be written .*run the same command"):
            files.write_bytes(target, bytes(5000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert target.read_text() == "former"
    assert list(tmp_path.iterdir()) == [target]


def kill_inside(block: str, half: str, target: Path) -> None:
    """A process dies inside a block for a target, after it has written to ``half``, an expression of its ``place``."""
    script = (
        "import os, signal, sys; from pathlib import Path; from ensemble.runs import files\n"
        f"with files.{block}(Path(sys.argv[1])) as place:\n"
        f"    {half}.write_text('half')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    ended = subprocess.run([sys.executable, "-c", script, str(target)], check=False, cwd=Path(__file__).parents[3])
    assert ended.returncode == -9


def test_a_killed_process_leaves_the_former_file_and_a_leftover_that_is_known(tmp_path: Path) -> None:
    target = tmp_path / "last.ckpt"
    files.write_text(target, "former")
    kill_inside("atomic_file", "place", target)
    assert target.read_text() == "former"
    assert len(files.remove_leftovers(tmp_path)) == 1
    assert list(tmp_path.iterdir()) == [target]


def test_a_folder_that_a_killed_process_left_is_removed_by_the_next_one_for_the_same_target(tmp_path: Path) -> None:
    target = tmp_path / "kitchen.onnx"
    kill_inside("folder_beside", "(place / 'half')", target)
    (left,) = tmp_path.iterdir()
    others = [
        tmp_path / left.name.replace("kitchen", "other.kitchen"),
        tmp_path / f".kitchen.onnx.{os.getppid()}-0123abcd.making",  # of a process that lives
        tmp_path / ".kitchen.onnx.making",
    ]
    for other in others:
        other.mkdir()
    with files.folder_beside(target) as folder:
        assert (left.exists(), folder.parent, list(folder.iterdir())) == (False, tmp_path, [])
    assert sorted(tmp_path.iterdir()) == sorted(others)
