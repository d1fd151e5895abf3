"""Reliability row 7: a disk that fills up at ten sizes under the cache, a checkpoint, a report and a pack."""

import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import cache_samples as samples
import pytest
import report_samples
import torch
from command_lines import Answer, Job, call, done

from ensemble.data.nyu.recognition import open_nyu
from ensemble.data.packs.writing import write_pack
from ensemble.data.rooms.source import write_rooms
from ensemble.predictions.store import CacheError
from ensemble.report.writing import write_report
from ensemble.runs.files import TEMPORARY_SUFFIX
from ensemble.runs.paths import Outputs, Run
from ensemble.settings.schema import RoomsSettings
from ensemble.training.checkpoints import AtomicCheckpointIO, read_checkpoint

FullDisk = Callable[[Path, int], AbstractContextManager[None]]
PAGE = 4096
FRAMES, SHARD_FRAMES = 160, 32


@contextmanager
def tiny_filesystem(folder: Path, size: int) -> Iterator[None]:
    """A real file system with room for so many bytes; once the block ends there is room for more."""
    for option in (f"size={size}", "remount,size=64m"):
        if option.startswith("size"):
            folder.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", option, "tmpfs", str(folder)], check=True, capture_output=True)
        if option.startswith("size"):
            yield


@contextmanager
def short_files(folder: Path, size: int) -> Iterator[None]:
    """No file may be longer; for machines where nobody may mount anything."""
    folder.mkdir()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.fixture(scope="module")
def full_disk(tmp_path_factory: pytest.TempPathFactory) -> FullDisk:
    probe = tmp_path_factory.mktemp("mount")
    command = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(probe)]
    mounted = os.geteuid() == 0 and subprocess.run(command, capture_output=True, check=False).returncode == 0
    if mounted:
        subprocess.run(["umount", str(probe)], check=True)
    return tiny_filesystem if mounted else short_files


@pytest.fixture
def place(tmp_path: Path, full_disk: FullDisk) -> Iterator[Callable[[int], Path]]:
    """A new folder for every size; what was mounted is taken away."""
    folders: list[Path] = []

    def new(size: int) -> Path:
        folders.append(tmp_path / f"disk-{size}")
        return folders[-1]

    yield new
    for folder in folders:
        if os.path.ismount(folder):
            subprocess.run(["umount", str(folder)], check=True)


def sizes_up_to(needed: int, *, grain: int) -> list[int]:
    """Ten sizes that are all too small, in whole grains."""
    return [max(grain, needed * part // 11 // grain * grain) for part in range(1, 11)]


def leftovers(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.name.endswith(TEMPORARY_SUFFIX)]


def check(
    full_disk: FullDisk,
    place: Callable[[int], Path],
    needed: int,
    write: Callable[[Path], None],
    whole: Callable[[Path], None],
) -> None:
    """Writes until the disk is full, looks at what is there, makes room and writes again.

    Args:
        full_disk: Makes a folder with little room.
        place: Names it.
        needed: Bytes that ``write`` wants at least.
        write: What is tested.
        whole: Fails where a file under a final name is not whole.
    """
    sizes = sizes_up_to(needed, grain=PAGE if full_disk is tiny_filesystem else 1)
    assert len(set(sizes)) == 10
    for size in sizes:
        folder = place(size)
        with full_disk(folder, size):
            with pytest.raises(OSError, match=r"bytes could not be written .*Make room or rights, then run"):
                write(folder)
            assert not leftovers(folder)
            whole(folder)
        write(folder)
        whole(folder)
        assert not leftovers(folder)


def test_the_cache(full_disk: FullDisk, place, tmp_path: Path) -> None:
    samples.fill(tmp_path / "expected", FRAMES, shard_frames=SHARD_FRAMES)
    expected = samples.contents(tmp_path / "expected")
    needed = sum(map(len, expected.values())) if full_disk is tiny_filesystem else max(map(len, expected.values()))

    def whole(folder: Path) -> None:
        found = samples.contents(folder / "store") if (folder / "store").is_dir() else {}
        assert found.items() <= expected.items()

    def write(folder: Path) -> None:
        samples.fill(folder / "store", FRAMES, shard_frames=SHARD_FRAMES)

    check(full_disk, place, needed, write, whole)
    for folder in tmp_path.glob("disk-*"):
        assert samples.contents(folder / "store") == expected
    with pytest.raises(CacheError, match="outside of the writer's with block"):
        samples.writer(tmp_path / "expected", 1).append(samples.frame_ids(1)[0], samples.depth_of("bts", "x"))


def test_a_checkpoint(full_disk: FullDisk, place) -> None:
    """The state before stays loadable whatever happens to the next one."""
    states = [{"global_step": step, "weights": torch.full((30_000,), float(step))} for step in (1, 2)]

    def write(folder: Path) -> None:
        for state in states:
            AtomicCheckpointIO().save_checkpoint(state, folder / "run" / "last.ckpt")

    def whole(folder: Path) -> None:
        path = folder / "run" / "last.ckpt"
        if path.exists():
            checkpoint = read_checkpoint(path)
            assert torch.equal(checkpoint["weights"], states[checkpoint["global_step"] - 1]["weights"])

    needed = (2 if full_disk is tiny_filesystem else 1) * 120_000
    check(full_disk, place, needed, write, whole)


def test_a_second_checkpoint_leaves_the_first_one(full_disk: FullDisk, place) -> None:
    first, second = ({"global_step": step, "weights": torch.ones(size)} for step, size in ((1, 1000), (2, 100_000)))
    folder = place(200_000 // PAGE * PAGE)
    with full_disk(folder, 200_000 // PAGE * PAGE):
        AtomicCheckpointIO().save_checkpoint(first, folder / "last.ckpt")
        with pytest.raises(OSError, match="what was there before is untouched"):
            AtomicCheckpointIO().save_checkpoint(second, folder / "last.ckpt")
        assert read_checkpoint(folder / "last.ckpt")["global_step"] == 1


@pytest.mark.slow
def test_a_report(full_disk: FullDisk, place, tmp_path: Path) -> None:
    run = report_samples.write_evaluation(tmp_path / "cache" / "runs" / "samples" / "evaluation")
    where = Outputs(tmp_path / "cache")

    def write(folder: Path) -> None:
        write_report([run], where, out=folder / "report", resamples=20)

    write(tmp_path)
    expected = {path.name: path.read_bytes() for path in (tmp_path / "report").iterdir()}

    def whole(folder: Path) -> None:
        for path in (folder / "report").glob("*"):
            assert path.read_bytes() == expected[path.name]

    sizes = [len(content) for content in expected.values()]
    check(full_disk, place, sum(sizes) if full_disk is tiny_filesystem else max(sizes), write, whole)


def test_a_pack(full_disk: FullDisk, place, tmp_path: Path) -> None:
    write_rooms(tmp_path / "copy", RoomsSettings(scenes=3, test_scenes=1, frames=3), (48, 64))
    write_pack(tmp_path / "copy", tmp_path / "expected", full=False, shard_frames=2)
    expected = {path.name: path.read_bytes() for path in (tmp_path / "expected").iterdir()}

    def whole(folder: Path) -> None:
        for path in (folder / "pack").glob("pack-0*.h5"):
            assert path.read_bytes() == expected[path.name]

    sizes = [len(content) for content in expected.values()]
    needed = sum(sizes) if full_disk is tiny_filesystem else max(sizes)
    write = lambda folder: write_pack(tmp_path / "copy", folder / "pack", full=False, shard_frames=2)  # noqa: E731
    check(full_disk, place, needed, write, whole)
    assert open_nyu(next(tmp_path.glob("disk-*")) / "pack").frames == open_nyu(tmp_path / "copy").frames


def told(answer: Answer, full_disk: FullDisk, file: Path) -> None:
    """The command ended with one message that names the file and with status 1."""
    assert answer.status == 1, answer
    (line,) = (line for line in answer.err.splitlines() if line.startswith("error: "))
    assert line.startswith(f"error: [Errno {28 if full_disk is tiny_filesystem else 27}] {file}: ")
    assert "bytes could not be written" in line
    assert line.endswith("Make room or rights, then run the same command again")
    assert "Traceback" not in answer.err


def test_a_caching_that_fills_the_disk_says_so_and_goes_on(full_disk: FullDisk, place, job: Job, tmp_path: Path):
    cache, folder = job.copy_to(tmp_path), place(PAGE)
    rows = cache / "predictions/tiny/bts/test"
    shutil.rmtree(rows)
    rows.symlink_to(folder)  # the disk that is full
    words = ("base", "cache", "bts", "--role", "test", "--config", job.config, "--cache-dir", cache)
    with full_disk(folder, PAGE):
        told(call(*words), full_disk, rows / "full/shard-00000.h5")
        assert [path.name for path in folder.rglob("*") if path.is_file()] == ["writer.lock"]
    done(*words)
    expected = (job.cache / "predictions/tiny/bts/test/full/shard-00000.h5").read_bytes()
    assert (folder / "full/shard-00000.h5").read_bytes() == expected


def test_a_training_that_fills_the_disk_says_so_and_goes_on(full_disk: FullDisk, place, job: Job, tmp_path: Path):
    folder = place(64 * PAGE)
    runs = tmp_path / "cache/runs"
    runs.parent.mkdir()
    runs.symlink_to(folder)
    words = ("base", "train", "bts", "--config", job.config, "--cache-dir", runs.parent)
    with full_disk(folder, 64 * PAGE):
        answer = call(*words)
        told(answer, full_disk, runs / "tiny/bts/full/best.safetensors")
        assert not leftovers(folder)
        assert not [*folder.rglob("*.ckpt"), *folder.rglob("*.safetensors")]
    done(*words)
    expected = (job.cache / "runs/tiny/bts/full/best.safetensors").read_bytes()
    assert (folder / "tiny/bts/full/best.safetensors").read_bytes() == expected


def test_a_report_that_fills_the_disk_says_so_and_goes_on(full_disk: FullDisk, place, tmp_path: Path):
    run, folder = report_samples.write_evaluation(tmp_path / "cache/runs/samples/evaluation"), place(PAGE)
    words = ("--out", folder / "report", "--resamples", 100, "--cache-dir", tmp_path / "cache")
    command = [sys.executable, "-m", "ensemble.report", str(run.folder), *map(str, words)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    with full_disk(folder, PAGE):
        ended = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
        told(Answer(ended.returncode, ended.stdout, ended.stderr), full_disk, folder / "report/report.md")
        assert not list(folder.rglob("report.*"))
        assert not leftovers(folder)
    written = write_report([run], Outputs(tmp_path / "cache"), out=folder / "report", resamples=100)
    assert all(path.is_file() for path in Run(folder / "report").reports), written


def test_rooms_that_fill_the_disk_say_so_and_begin_anew(full_disk: FullDisk, place, tmp_path: Path):
    words = ("--scenes", 2, "--test-scenes", 1, "--frames", 2, "--size", "48x64")
    size = PAGE if full_disk is short_files else 4 * PAGE
    folder = place(size)
    with full_disk(folder, size):
        answer = call("data", "rooms", folder / "rooms", *words, "--size", "240x320")
        assert answer.status == 1, answer
        (line,) = (line for line in answer.err.splitlines() if line.startswith("error: "))
        assert line.startswith(
            f"error: [Errno {28 if full_disk is tiny_filesystem else 27}] {folder}/rooms/official_splits"
        )
        assert line.endswith("Make room or rights, then run the same command again")
        assert not [path for path in folder.rglob("*") if path.is_file()]
    done("data", "rooms", folder / "rooms", *words)
    done("data", "rooms", tmp_path / "expected", *words)
    written = [sorted(path.rglob("*.png")) for path in (folder / "rooms", tmp_path / "expected")]
    assert len(written[0]) == 6
    assert [path.read_bytes() for path in written[0]] == [path.read_bytes() for path in written[1]]
