import os
import pickle
import subprocess
import sys
from pathlib import Path

import cache_samples as samples
import h5py
import numpy as np
import pytest

from ensemble.predictions.store import (
    CacheError,
    PredictionReader,
    PredictionWriter,
    StaleCacheError,
)
from ensemble.runs.fingerprints import fingerprint
from ensemble.runs.locks import LockedError

QUANTUM = samples.MAX_DEPTH / 65535


def test_rows_come_back_within_half_a_quantum(tmp_path: Path) -> None:
    samples.fill(tmp_path, 20)
    store = samples.reader(tmp_path, 20)
    for frame_id in samples.frame_ids(20):
        depth = store.read(frame_id)
        assert depth.dtype == np.float32
        assert depth.shape == samples.SIZE
        error = np.abs(depth.astype(np.float64) - samples.depth_of("bts", frame_id))
        assert error.max() <= QUANTUM / 2 + 1e-6
        assert error.max() > QUANTUM / 8
    assert samples.damaged_shards(tmp_path) == []


def test_ends_of_the_range_are_exact_and_one_quantum_beyond_is_the_end(tmp_path: Path) -> None:
    ends = np.array([0.0, samples.MAX_DEPTH, -0.9 * QUANTUM, samples.MAX_DEPTH + 0.9 * QUANTUM], np.float32)
    with samples.writer(tmp_path, 1) as store:
        store.append(samples.frame_ids(1)[0], np.resize(ends, samples.SIZE))
    read = samples.reader(tmp_path, 1).read(samples.frame_ids(1)[0])
    assert read.ravel()[:4].tolist() == [0.0, 10.0, 0.0, 10.0]


def test_layout_of_a_shard(tmp_path: Path) -> None:
    samples.fill(tmp_path, 20)
    assert sorted(samples.contents(tmp_path)) == ["shard-00000.h5", "shard-00001.h5", "shard-00002.h5"]
    with h5py.File(tmp_path / "shard-00000.h5") as file:
        depth = file["depth"]
        assert (depth.shape, depth.dtype, depth.chunks) == ((8, *samples.SIZE), np.uint16, (1, *samples.SIZE))
        assert (depth.compression, depth.shuffle, depth.fletcher32) == (None, False, False)
        assert [name.decode() for name in file["frame"]] == samples.frame_ids(8)
        described = {key: value.decode() if isinstance(value, bytes) else value for key, value in file.attrs.items()}
    assert described == samples.identity().description(size=samples.SIZE, max_depth=samples.MAX_DEPTH)
    assert described["fold"] == -1


def test_compressed_rows_are_the_same_rows(tmp_path: Path) -> None:
    samples.fill(tmp_path / "plain", 8)
    depth = [samples.reader(tmp_path / "plain", 8).read(frame_id) for frame_id in samples.frame_ids(8)]
    with samples.writer(tmp_path / "gzip", 8, codec="gzip") as store:
        for frame_id, row in zip(samples.frame_ids(8), depth, strict=True):
            store.append(frame_id, row)
    with h5py.File(tmp_path / "gzip" / "shard-00000.h5") as file:
        stored = file["depth"]
        assert (stored.compression, stored.compression_opts, stored.shuffle, stored.fletcher32) == (
            "gzip",
            1,
            True,
            True,
        )
    read = [samples.reader(tmp_path / "gzip", 8).read(frame_id) for frame_id in samples.frame_ids(8)]
    assert np.array_equal(read, depth)
    with pytest.raises(ValueError, match="codec zip is unknown; expected one of none, gzip"):
        samples.writer(tmp_path / "other", 8, codec="zip")


def test_writing_goes_on_where_it_stopped(tmp_path: Path) -> None:
    frames = samples.frame_ids(20)
    with samples.writer(tmp_path, 20) as store:
        for number, frame_id in enumerate(frames[:11], start=1):
            store.append(frame_id, samples.depth_of("bts", frame_id))
            assert samples.stored(tmp_path) == frames[: number // 8 * 8]
        assert store.missing() == frames[11:]
    assert samples.fill(tmp_path, 20) == frames[11:]
    assert samples.fill(tmp_path, 20) == []
    assert samples.damaged_shards(tmp_path) == []


def test_an_error_in_the_block_keeps_full_shards_only(tmp_path: Path) -> None:
    def stop_after(rows: int) -> None:
        with samples.writer(tmp_path, 20) as store:
            for frame_id in store.missing()[:rows]:
                store.append(frame_id, samples.depth_of("bts", frame_id))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stop_after(11)
    with samples.writer(tmp_path, 20) as store:
        assert store.missing() == samples.frame_ids(20)[8:]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda depth: depth * np.where(depth == depth.max(), np.nan, 1).astype(np.float32), "1 of 192 .* NaN or inf"),
        (lambda depth: depth + np.float32("inf"), "192 of 192 pixels are NaN or infinite"),
        (lambda depth: depth - np.float32(11), "192 of 192 pixels lie outside of 0 .. 10.0 m"),
        (lambda depth: depth * np.float32(1000), "pixels lie outside of 0 .. 10.0 m .*in metres"),
        (lambda depth: depth[:-1], r"depth is float32 \(11, 16\), expected float32 \(12, 16\)"),
        (lambda depth: depth.astype(np.float64), r"depth is float64 \(12, 16\), expected float32"),
    ],
)
def test_depth_that_a_row_cannot_hold_is_refused_by_name(tmp_path: Path, change, message: str) -> None:
    first, second = samples.frame_ids(2)
    with samples.writer(tmp_path, 2) as store:
        with pytest.raises(CacheError, match=f"frame {first}: .*{message}"):
            store.append(first, change(samples.depth_of("bts", first)))
        store.append(second, samples.depth_of("bts", second))
    with samples.writer(tmp_path, 2) as store:
        assert store.missing() == [first]


def test_unknown_and_doubled_frames_are_refused(tmp_path: Path) -> None:
    first = samples.frame_ids(1)[0]
    depth = samples.depth_of("bts", first)
    with samples.writer(tmp_path, 4, shard_frames=1) as store:
        with pytest.raises(CacheError, match="frame group_9/x is not in the list of 4 frames"):
            store.append("group_9/x", depth)
        store.append(first, depth)
        with pytest.raises(CacheError, match=f"frame {first} has a row already"):
            store.append(first, depth)
    with pytest.raises(CacheError, match="outside of the writer's with block"):
        store.append(samples.frame_ids(2)[1], depth)


@pytest.mark.parametrize(
    ("frames", "message"), [([], "empty"), (["a", "b", "a"], "frame a stands twice"), (["a\0"], "printable")]
)
def test_unusable_lists_of_frames_are_refused(tmp_path: Path, frames: list[str], message: str) -> None:
    given = {"size": samples.SIZE, "max_depth": samples.MAX_DEPTH, "mend": samples.MEND}
    for make in (PredictionWriter, PredictionReader):
        with pytest.raises(ValueError, match=message):
            make(tmp_path, samples.identity(), frames, **given)


def test_fingerprints_must_be_hexadecimal_and_do_not_depend_on_key_order() -> None:
    with pytest.raises(ValueError, match="weights: expected a fingerprint"):
        samples.identity(weights="best.ckpt")
    assert fingerprint({"a": 1, "b": [2, None]}) == fingerprint({"b": [2, None], "a": 1})
    assert fingerprint({"a": 1}) != fingerprint({"a": "1"})
    with pytest.raises(ValueError, match="JSON"):
        fingerprint(float("nan"))


@pytest.mark.parametrize(
    ("field", "title"), [("weights", "weights"), ("preprocessing", "preprocessing"), ("frames", "file list")]
)
def test_stale_rows_are_refused_naming_both_fingerprints(tmp_path: Path, field: str, title: str) -> None:
    samples.fill(tmp_path, 20)
    old, new = getattr(samples.identity(), field), fingerprint("changed")
    changed = samples.identity(**{field: new})
    arguments = {"size": samples.SIZE, "max_depth": samples.MAX_DEPTH, "mend": samples.MEND}
    expected = (
        f"{title} changed: stored {old}, expected {new}.\nRun: python -m ensemble.base cache bts --role fit --rebuild"
    )
    with pytest.raises(StaleCacheError) as caught:
        PredictionReader(tmp_path, changed, samples.frame_ids(20), **arguments)
    assert str(caught.value).endswith(expected)
    with (
        pytest.raises(StaleCacheError) as caught,
        PredictionWriter(tmp_path, changed, samples.frame_ids(20), **arguments),
    ):
        pass
    assert str(caught.value).endswith(expected)


def test_a_changed_schema_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    samples.fill(tmp_path, 20)
    for module in ("identity", "shards"):
        monkeypatch.setattr(f"ensemble.predictions.store.{module}.SCHEMA", 99)
    with pytest.raises(StaleCacheError, match=r"schema changed: stored 2, expected 99\.\nRun: .* --rebuild$"):
        samples.reader(tmp_path, 20)
    with pytest.raises(StaleCacheError, match="schema changed: stored 2, expected 99"):
        samples.fill(tmp_path, 20)


def test_other_learners_roles_folds_and_ranges_are_refused(tmp_path: Path) -> None:
    samples.fill(tmp_path, 4)
    for field, value in (("learner", "ldrn"), ("role", "oof"), ("fold", 3)):
        with pytest.raises(StaleCacheError, match=f"{field} changed: stored .*, expected {value}"):
            PredictionReader(
                tmp_path,
                samples.identity(**{field: value}),
                samples.frame_ids(4),
                size=samples.SIZE,
                max_depth=10.0,
                mend=samples.MEND,
            )
    for size, max_depth, message in (
        ((12, 16), 8.0, "largest depth"),
        ((12, 8), 10.0, "width"),
        ((6, 16), 10.0, "height"),
    ):
        with pytest.raises(StaleCacheError, match=f"{message} changed"):
            PredictionReader(
                tmp_path, samples.identity(), samples.frame_ids(4), size=size, max_depth=max_depth, mend=samples.MEND
            )


def test_rebuild_redoes_only_that_learner(tmp_path: Path) -> None:
    for learner in ("adabins", "bts"):
        samples.fill(tmp_path / learner, 20, learner=learner)
    before = samples.contents(tmp_path / "adabins")
    times = [path.stat().st_mtime_ns for path in sorted((tmp_path / "adabins").iterdir())]
    changed = samples.identity(weights=fingerprint("new weights"))
    arguments = {"size": samples.SIZE, "max_depth": samples.MAX_DEPTH, "mend": samples.MEND}
    with PredictionWriter(tmp_path / "bts", changed, samples.frame_ids(20), rebuild=True, **arguments) as store:
        assert store.missing() == samples.frame_ids(20)
        for frame_id in store.missing():
            store.append(frame_id, samples.depth_of("new", frame_id))
    rebuilt = PredictionReader(tmp_path / "bts", changed, samples.frame_ids(20), **arguments)
    assert len(samples.read_all(rebuilt)) == 20
    assert samples.damaged_shards(tmp_path / "bts") == []
    assert samples.contents(tmp_path / "adabins") == before
    assert [path.stat().st_mtime_ns for path in sorted((tmp_path / "adabins").iterdir())] == times


def test_missing_doubled_and_foreign_rows_are_refused(tmp_path: Path) -> None:
    samples.fill(tmp_path, 20)
    arguments = {
        "size": samples.SIZE,
        "max_depth": samples.MAX_DEPTH,
        "mend": "python -m ensemble.base cache bts --set a=1",
    }
    frames = samples.frame_ids(23)
    with pytest.raises(CacheError, match=rf"3 of 23 fit frames .*first: {frames[20]}\)\.\nRun: .* --set a=1$"):
        PredictionReader(tmp_path, samples.identity(), frames, **arguments)
    with pytest.raises(CacheError, match=rf"frame {frames[19]} is not among the 19 .*\nRun: .* --set a=1 --rebuild$"):
        PredictionReader(tmp_path, samples.identity(), frames[:19], **arguments)
    (tmp_path / "shard-00007.h5").write_bytes((tmp_path / "shard-00001.h5").read_bytes())
    with pytest.raises(CacheError, match=rf"shard-00007.h5: frame {frames[8]} is doubled.*shard-00001.h5.* as well"):
        PredictionReader(tmp_path, samples.identity(), frames[:20], **arguments)
    with pytest.raises(CacheError, match="8 rows are doubled or not in the list"):
        samples.fill(tmp_path, 20)


def test_an_empty_store_names_the_command(tmp_path: Path) -> None:
    with pytest.raises(CacheError, match=r"4 of 4 fit frames have no prediction .*\nRun: .* --role fit$"):
        samples.reader(tmp_path / "nowhere", 4)
    samples.fill(tmp_path, 4)
    store = samples.reader(tmp_path, 4)
    with pytest.raises(CacheError, match="frame nobody is not in the list of 4 frames"):
        store.read("nobody")


def test_a_second_writer_of_this_process_is_refused(tmp_path: Path) -> None:
    with samples.writer(tmp_path, 4):
        with (
            pytest.raises(LockedError, match=f"this process \\(pid {os.getpid()}\\)"),
            samples.writer(tmp_path, 4),
        ):
            pass
        with samples.writer(tmp_path / "other", 4):
            pass
    assert samples.fill(tmp_path, 4) == samples.frame_ids(4)


def test_a_reader_can_be_pickled_after_it_read(tmp_path: Path) -> None:
    samples.fill(tmp_path, 20)
    store = samples.reader(tmp_path, 20)
    first = store.read(samples.frame_ids(1)[0])
    copy = pickle.loads(pickle.dumps(store))
    np.testing.assert_array_equal(copy.read(samples.frame_ids(1)[0]), first)


def test_open_files_stay_few(tmp_path: Path) -> None:
    samples.fill(tmp_path, 60, shard_frames=1)
    store = samples.reader(tmp_path, 60)
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(3):
        for frame_id in store.frame_ids:
            store.read(frame_id)
    assert len(list(Path("/proc/self/fd").iterdir())) <= before + 32


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_workers_read_what_their_parent_reads(tmp_path: Path, method: str) -> None:
    samples.fill(tmp_path, 20)
    command = [sys.executable, samples.__file__, "workers", str(tmp_path), method]
    ended = subprocess.run(command, check=True, capture_output=True, text=True, env=samples.environment(), timeout=60)
    assert ended.stdout == "equal\n"


def test_the_cache_starts_without_torch() -> None:
    script = "import sys, ensemble.predictions.store; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False, env=samples.environment()).returncode == 0
