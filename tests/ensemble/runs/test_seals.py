"""Checksums of the files of a run: what was not written is not read; a kill at any moment leaves a pair that fits."""

import errno
import itertools
import json
import multiprocessing
import resource
from pathlib import Path

import pytest

from ensemble.runs.paths import Outputs, Run
from ensemble.runs.refusals import DamagedError
from ensemble.runs.seals import (
    checksum_file,
    read_bytes,
    read_result,
    sealed_files,
    write_checked,
    write_result,
    write_sealed,
)
from ensemble.runs.verify import verify_run


def flip(path: Path, at: int, bit: int = 0) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 1 << bit
    path.write_bytes(content)


def sealed_run(folder: Path) -> Run:
    run = Run(folder)
    for file in (run.sources, run.settings, run.best, run.last):
        write_checked(file, file.name.encode() * 20)
    run.log.write_text('{"step": 1}\n')
    write_result(run.result, {"best": 0.25}, run.written, weights="of a network")
    return run


def test_a_kill_between_a_checksum_and_its_file_leaves_the_former_content_readable(tmp_path: Path):
    path = tmp_path / "last.ckpt"
    for step in range(5):
        write_checked(path, b"step %d" % step)
        before = path.read_bytes()
        write_checked(path, b"step %d, never there" % step)
        path.write_bytes(before)  # as a kill leaves it whose rename did not come
        assert read_bytes(path) == before
    write_checked(path, b"the end")
    assert read_bytes(path) == b"the end"
    assert checksum_file(path).read_text().count("# or ") <= 7
    path.write_bytes(b"of nobody")
    with pytest.raises(DamagedError, match=r"last\.ckpt: damaged since it was written \(SHA-256 ") as caught:
        read_bytes(path)
    assert not any(word in str(caught.value) for word in ("--rebuild", "--fresh", "rm "))


def test_a_disk_that_stays_full_does_not_push_out_the_checksum_of_what_is_there(tmp_path: Path):
    path = tmp_path / "last.ckpt"
    write_checked(path, b"kept")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    for attempt in range(12):
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
        try:
            with pytest.raises(OSError, match=r"last\.ckpt: 5000 bytes could not be written") as caught:
                write_checked(path, bytes([attempt]) * 5000)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert caught.value.errno == errno.EFBIG
    assert read_bytes(path) == b"kept"
    assert {each.name for each in tmp_path.iterdir()} == {"last.ckpt", "last.ckpt.sha256"}


@pytest.mark.slow
def test_every_flipped_bit_of_a_sealed_run_is_detected_and_named(tmp_path: Path):
    run, where = sealed_run(tmp_path / "runs/run"), Outputs(tmp_path)
    assert not verify_run(run.folder, where).complaints
    for file in sorted(run.folder.iterdir()):
        whole = file.read_bytes()
        for at in range(len(whole)):
            flip(file, at, at % 8)
            (first, *_) = verify_run(run.folder, where).complaints
            assert first.damaged
            assert first.path == file
            assert "--rebuild" not in first.told
            file.write_bytes(whole)


def test_a_result_cannot_pass_for_one_that_was_never_sealed(tmp_path: Path):
    run = sealed_run(tmp_path)
    whole = run.result.read_bytes()
    assert run.read_result()["best"] == 0.25
    for mark in (b'"seal"', b'"itself"'):
        start = whole.index(mark)
        for at, bit in itertools.product(range(start, start + len(mark)), range(8)):
            flip(run.result, at, bit)
            with pytest.raises(DamagedError, match=r"result\.json: damaged"):
                read_result(run.result)
            run.result.write_bytes(whole)


def test_what_an_evaluation_adds_is_sealed_and_a_kill_before_it_is_there_does_no_harm(tmp_path: Path):
    run, where = sealed_run(tmp_path / "runs/run"), Outputs(tmp_path)
    write_sealed(run.scores, b"first")
    write_sealed(run.scores, b"second")
    run.scores.write_bytes(b"first")  # as a kill leaves it
    assert read_bytes(run.scores) == b"first"
    assert not verify_run(run.folder, where).complaints
    run.scores.write_bytes(b"firsu")
    with pytest.raises(DamagedError, match=r"scores\.json: damaged .* expected by result\.json"):
        read_bytes(run.scores)
    assert not checksum_file(run.scores).exists()


def _evaluate(folder: Path, name: str) -> None:
    for count in range(20):
        write_sealed(folder / f"{name}.json", f"{name} {count}".encode())


def test_two_evaluations_at_once_seal_the_files_of_both(tmp_path: Path):
    run = sealed_run(tmp_path / "runs/run")
    both = [multiprocessing.get_context("spawn").Process(target=_evaluate, args=(run.folder, n)) for n in ("a", "b")]
    for each in both:
        each.start()
    for each in both:
        each.join(60)
        assert each.exitcode == 0
    assert {"a.json", "b.json"} <= sealed_files(run.folder).keys()
    assert not verify_run(run.folder, Outputs(tmp_path)).complaints


def test_where_there_is_no_seal_checksums_stand_beside_what_is_read_and_go_with_one(tmp_path: Path):
    run = Run(tmp_path)
    run.result.write_text(json.dumps({"best": 1.0}))  # of a run that was begun before there were any
    write_sealed(run.scores, b"{}")
    write_sealed(run.table, b"| |", beside=False)
    assert {path.name for path in tmp_path.glob("*.sha256")} == {"scores.json.sha256"}
    flip(run.scores, 0)
    with pytest.raises(DamagedError, match=r"scores\.json: damaged"):
        read_bytes(run.scores)
    write_result(run.result, {"best": 1.0}, (), weights=None)
    write_sealed(run.scores, b"[]")
    assert read_bytes(run.scores) == b"[]"
    assert not list(tmp_path.glob("*.sha256"))


def test_a_checksum_that_is_damaged_is_named_in_place_of_its_file(tmp_path: Path):
    run = sealed_run(tmp_path)
    flip(checksum_file(run.best), 3)
    with pytest.raises(DamagedError, match=r"best\.safetensors\.sha256: damaged"):
        read_bytes(run.best)


def test_a_folder_that_nobody_may_write_to_is_read_and_verified(tmp_path: Path):
    run = sealed_run(tmp_path / "runs/run")
    run.folder.chmod(0o555)
    try:
        assert read_bytes(run.best)
        assert not verify_run(run.folder, Outputs(tmp_path)).complaints
    finally:
        run.folder.chmod(0o755)
