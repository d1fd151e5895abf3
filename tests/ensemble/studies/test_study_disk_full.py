"""A disk that is full under the trials of a study: one line with file and cause, nothing waits, the study goes on."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from study_actors import found, run_here, toy

PAGE = 4096


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, as large as it is made."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if os.geteuid() or subprocess.run(["mount", *_tmpfs("64k"), folder], capture_output=True, check=False).returncode:
        pytest.skip("nobody may mount anything here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def _tmpfs(size: str, *more: str) -> list[str]:
    return ["-t", "tmpfs", "-o", ",".join((f"size={size}", *more)), "tmpfs"]


@pytest.mark.parametrize("kind", ["sqlite:///", "journal:"])
def test_a_study_on_a_full_disk_names_file_and_cause_and_goes_on(disk: Path, tmp_path: Path, kind: str):
    file = disk / "trials"
    toy(tmp_path)
    words = (tmp_path / "toy.yaml", "--storage", f"{kind}{file}", "--cache-dir", tmp_path / "cache")
    refused = 0
    sizes = (1, 8, 20, 40, 44) if kind == "sqlite:///" else (1, 2)
    for size in sizes:
        subprocess.run(["mount", *_tmpfs(str(size * PAGE), "remount"), str(disk)], check=False, capture_output=True)
        answer = run_here(*words)
        assert answer.status in (0, 1), answer
        if answer.status:
            refused += 1
            (line,) = (line for line in answer.err.splitlines() if line.startswith("error: "))
            assert str(file) in line, line
            assert any(cause in line for cause in ("disk is full", "No space left", "disk I/O error", "unable to open"))
            assert line.endswith("run the same command again"), line
    assert refused
    subprocess.run(["mount", *_tmpfs("64m", "remount"), str(disk)], check=True)
    assert run_here(*words).status == 0
    records = found(toy(tmp_path, url=f"{kind}{file}"))
    assert sum(each.state == "complete" for each in records) == 6
