import random
import re
from collections.abc import Callable
from pathlib import Path

import cache_samples as samples
import h5py
import numpy as np
import pytest

from ensemble.predictions.store import CacheError, DamagedCacheError

FRAMES = 24


def shard(directory: Path, number: int = 1) -> Path:
    return directory / f"shard-{number:05d}.h5"


def read_all(directory: Path) -> list[bytes]:
    store = samples.reader(directory, FRAMES)
    return [store.read(frame_id).tobytes() for frame_id in store.frame_ids]


def read_or_complaint(directory: Path) -> list[bytes] | str:
    try:
        return read_all(directory)
    except CacheError as error:
        return str(error)


def check_flips(directory: Path, *, flips: int, seed: int) -> None:
    samples.fill(directory, FRAMES)
    truth, whole = read_all(directory), samples.contents(directory)
    generator = random.Random(seed)
    detected = 0
    for _ in range(flips):
        path = shard(directory, generator.randrange(3))
        content = bytearray(whole[path.name])
        content[generator.randrange(len(content))] ^= 1 << generator.randrange(8)
        path.write_bytes(content)
        detected += samples.damaged_shards(directory) == [path]
        with pytest.raises(DamagedCacheError, match=f"rm '{re.escape(str(path))}'"):
            samples.fill(directory, FRAMES)
        found = read_or_complaint(directory)
        assert found == truth or (isinstance(found, str) and str(path) in found), "a flipped bit came out as depth"
        path.unlink()
        assert samples.fill(directory, FRAMES) == samples.frame_ids(FRAMES)[8 * int(path.stem[-5:]) :][:8]
        assert samples.contents(directory) == whole
    assert detected == flips


def test_flipped_bits_are_found_named_and_mended(tmp_path: Path) -> None:
    check_flips(tmp_path, flips=25, seed=8)


@pytest.mark.long
@pytest.mark.slow
def test_a_hundred_flipped_bits_are_found_named_and_mended(tmp_path: Path) -> None:
    check_flips(tmp_path, flips=100, seed=80)


@pytest.mark.parametrize("cut", range(20))
def test_truncated_shards_are_refused(tmp_path: Path, cut: int) -> None:
    samples.fill(tmp_path, FRAMES)
    truth = read_all(tmp_path)
    content = shard(tmp_path).read_bytes()
    shard(tmp_path).write_bytes(content[: len(content) * cut // 20])
    assert samples.damaged_shards(tmp_path) == [shard(tmp_path)]
    with pytest.raises(DamagedCacheError, match=r"shard-00001\.h5: not a shard as it was written"):
        samples.fill(tmp_path, FRAMES)
    with pytest.raises(DamagedCacheError, match=r"shard-00001\.h5: not a shard as it was written"):
        read_all(tmp_path)
    assert len(truth) == FRAMES


def test_verify_names_every_damaged_shard(tmp_path: Path) -> None:
    samples.fill(tmp_path, FRAMES)
    assert samples.damaged_shards(tmp_path) == []
    for number in (0, 2):
        content = bytearray(shard(tmp_path, number).read_bytes())
        content[-1] ^= 1
        shard(tmp_path, number).write_bytes(content)
    assert samples.damaged_shards(tmp_path) == [shard(tmp_path, 0), shard(tmp_path, 2)]


def test_rows_in_each_others_place_are_found(tmp_path: Path) -> None:
    samples.fill(tmp_path, FRAMES)
    with h5py.File(shard(tmp_path), "r+") as file:
        rows = file["depth"][:]
        file["depth"][0], file["depth"][1] = rows[1], rows[0]
    store = samples.reader(tmp_path, FRAMES)
    with pytest.raises(DamagedCacheError, match="does not fit its checksum"):
        store.read(samples.frame_ids(FRAMES)[8])


def test_rows_that_were_never_written_are_not_zeros(tmp_path: Path) -> None:
    samples.fill(tmp_path, FRAMES)
    with h5py.File(shard(tmp_path), "r+") as file:
        del file["depth"]
        file.create_dataset("depth", shape=(8, *samples.SIZE), dtype="<u2", chunks=(1, *samples.SIZE))
    with pytest.raises(DamagedCacheError, match="row 0 of 'depth' was never written"):
        samples.reader(tmp_path, FRAMES)


def external_link(file: h5py.File, outside: Path) -> None:
    del file["depth"]
    file["depth"] = h5py.ExternalLink(outside, "depth")


def soft_link(file: h5py.File, outside: Path) -> None:
    file["elsewhere"] = file["depth"]
    del file["depth"]
    file["depth"] = h5py.SoftLink("/elsewhere")


def virtual_dataset(file: h5py.File, outside: Path) -> None:
    del file["depth"]
    layout = h5py.VirtualLayout(shape=(8, *samples.SIZE), dtype="<u2")
    layout[:] = h5py.VirtualSource(outside, "depth", shape=(8, *samples.SIZE))
    file.create_virtual_dataset("depth", layout)


def virtual_names(file: h5py.File, outside: Path) -> None:
    kind = file["frame"].dtype
    del file["frame"]
    layout = h5py.VirtualLayout(shape=(8,), dtype=kind)
    layout[:] = h5py.VirtualSource(outside, "frame", shape=(8,))
    file.create_virtual_dataset("frame", layout)


def external_storage(file: h5py.File, outside: Path) -> None:
    del file["depth"]
    file.create_dataset("depth", (8, *samples.SIZE), "<u2", external=[(outside, 0, h5py.h5f.UNLIMITED)])


def external_checksums(file: h5py.File, outside: Path) -> None:
    del file["crc32"]
    file.create_dataset("crc32", (8,), "<u4", external=[(outside, 0, h5py.h5f.UNLIMITED)])


def absurd_shape(file: h5py.File, outside: Path) -> None:
    del file["depth"]
    file.create_dataset("depth", (8, 200_000, 200_000), "<u2", chunks=(1, 1000, 1000), compression=1)


def absurd_chunks(file: h5py.File, outside: Path) -> None:
    del file["depth"]
    file.create_dataset("depth", (8, *samples.SIZE), "<u2", maxshape=(None, None, None), chunks=(1000, 1000, 1000))


def absurd_names(file: h5py.File, outside: Path) -> None:
    del file["frame"]
    file.create_dataset("frame", (10**9,), "S1000", chunks=(1000,), compression=1)


def absurd_checksums(file: h5py.File, outside: Path) -> None:
    del file["crc32"]
    file.create_dataset("crc32", (10**9,), "<u4", chunks=(1000,), compression=1)


def objects_for_names(file: h5py.File, outside: Path) -> None:
    del file["frame"]
    file.create_dataset("frame", data=samples.frame_ids(8), dtype=h5py.string_dtype())


def group_for_depth(file: h5py.File, outside: Path) -> None:
    del file["depth"]
    file.create_group("depth")


def float_depth(file: h5py.File, outside: Path) -> None:
    del file["depth"]
    file.create_dataset("depth", data=np.ones((8, *samples.SIZE), np.float32), chunks=(1, *samples.SIZE))


def unknown_filter(file: h5py.File, outside: Path) -> None:
    rows = file["depth"][:]
    del file["depth"]
    file.create_dataset("depth", data=rows, chunks=(1, *samples.SIZE), compression="lzf")


def guest(file: h5py.File, outside: Path) -> None:
    file["guest"] = np.zeros(3)


def missing_attribute(file: h5py.File, outside: Path) -> None:
    del file.attrs["weights"]


def long_attribute(file: h5py.File, outside: Path) -> None:
    file.attrs["weights"] = np.bytes_(b"a" * 5000)


@pytest.mark.parametrize(
    ("attack", "message"),
    [
        (external_link, "'depth' is a soft or external link"),
        (soft_link, "'depth' is a soft or external link"),
        (virtual_dataset, "'depth' is a virtual dataset"),
        (virtual_names, "'frame' is a virtual dataset"),
        (external_storage, "'depth' is stored outside of the file"),
        (external_checksums, "'crc32' is stored outside of the file"),
        (absurd_shape, r"'depth' is uint16 \(8, 200000, 200000\), expected uint16 \(8, 12, 16\)"),
        (absurd_chunks, "not stored in one chunk per frame of 12x16 pixels"),
        (absurd_names, "'frame' claims 1000000000 names, more than the file holds"),
        (absurd_checksums, r"'crc32' is uint32 \(1000000000,\), expected"),
        (objects_for_names, "'frame' is object"),
        (group_for_depth, "'depth' is not a dataset"),
        (float_depth, r"'depth' is float32 .*, expected uint16"),
        (unknown_filter, r"'depth' uses the unknown filters \[32000\]"),
        (guest, "expected .*'crc32', 'depth', 'frame'"),
        (missing_attribute, "it has no attribute 'weights'"),
        (long_attribute, "attribute 'weights' is .*, expected one text or number"),
    ],
)
def test_files_that_reach_out_or_pretend_are_refused_unread(
    tmp_path: Path, attack: Callable[[h5py.File, Path], None], message: str
) -> None:
    store, outside = tmp_path / "store", tmp_path / "outside.h5"
    samples.fill(store, FRAMES)
    outside.write_bytes(shard(store).read_bytes())
    with h5py.File(shard(store), "r+") as file:
        attack(file, outside)
    with samples.opens_of(outside) as opened, pytest.raises(DamagedCacheError, match=message) as caught:
        read_all(store)
    assert opened == []
    assert str(caught.value).endswith(f"rm '{shard(store)}' && python -m ensemble.base cache bts --role fit")


def test_the_witness_of_outside_reads_sees_them(tmp_path: Path) -> None:
    outside = tmp_path / "outside.h5"
    outside.write_bytes(b"content")
    with samples.opens_of(outside) as opened:
        outside.read_bytes()
    assert opened


def test_a_shard_that_is_a_link_is_refused(tmp_path: Path) -> None:
    store, outside = tmp_path / "store", tmp_path / "outside.h5"
    samples.fill(store, FRAMES)
    shard(store).rename(outside)
    shard(store).symlink_to(outside)
    with samples.opens_of(outside) as opened, pytest.raises(DamagedCacheError, match="is a link or no regular file"):
        read_all(store)
    with pytest.raises(DamagedCacheError, match=r"shard-00001\.h5"):
        samples.fill(store, FRAMES)
    assert opened == []
    assert samples.damaged_shards(store) == [shard(store)]


def test_a_reader_that_met_damage_reads_the_mended_shard(tmp_path: Path) -> None:
    samples.fill(tmp_path, FRAMES)
    truth = read_all(tmp_path)
    frame_id = samples.frame_ids(FRAMES)[8]
    with h5py.File(shard(tmp_path)) as file:
        chunk = file["depth"].id.read_direct_chunk((0, 0, 0))[1]
    content = bytearray(shard(tmp_path).read_bytes())
    content[content.index(chunk) + len(chunk) // 2] ^= 1
    shard(tmp_path).write_bytes(content)
    store = samples.reader(tmp_path, FRAMES)
    with pytest.raises(DamagedCacheError, match=rf"row of frame {frame_id}"):
        store.read(frame_id)
    shard(tmp_path).unlink()
    samples.fill(tmp_path, FRAMES)
    assert [store.read(known).tobytes() for known in store.frame_ids] == truth
