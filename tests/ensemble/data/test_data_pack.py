"""Training packs: the same tensors as from the copy, from fewer bytes decoded; killed, damaged and foreign ones."""

import json
import os
import pickle
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import h5py
import miniatures
import numpy as np
import pytest
import torch
from cache_samples import opens_of
from command_lines import call, done, signalled
from miniatures import MINIATURES
from typer.testing import CliRunner

from ensemble.data import open_source
from ensemble.data.__main__ import app
from ensemble.data.augmentation import changed, draw_change
from ensemble.data.doctor.diagnosis import diagnose
from ensemble.data.loaders import FrameDataset, OrderedBatches, TrainingBatches, loader
from ensemble.data.nyu.recognition import open_nyu, recognise
from ensemble.data.packs import writing
from ensemble.data.packs.reading import PackSource
from ensemble.data.packs.writing import BAND_ROWS, write_pack
from ensemble.data.source import RawFrame, RowSource
from ensemble.runs.seals import checksum_file
from ensemble.settings.schema import AugmentationSettings, DataSettings

REPOSITORY = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("copy")
    miniatures.sync(root)
    return root


@pytest.fixture(scope="module")
def pack(copy: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("pack") / "pack"
    assert write_pack(copy, out, shard_frames=4) == 9
    return out


def settings(root: Path, **changes: object) -> DataSettings:
    return DataSettings(**{"kind": "nyu", "root": root, "size": miniatures.SIZE, "crop": (20, 30), **changes})


def files_of(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(out.iterdir())}


@pytest.mark.parametrize("name", MINIATURES)
def test_every_copy_comes_back_to_the_last_bit(name: str, tmp_path: Path) -> None:
    MINIATURES[name].build(tmp_path / "copy")
    write_pack(tmp_path / "copy", tmp_path / "pack", shard_frames=4)
    original, packed = open_nyu(tmp_path / "copy"), open_nyu(tmp_path / "pack")
    assert isinstance(packed, PackSource)
    assert packed.frames == original.frames
    assert packed.describe(packed.frames) == original.describe(original.frames), "what was cached stays good"
    for frame in original.frames:
        first, second = original.read(frame), packed.read(frame)
        assert np.array_equal(first.image, second.image)
        assert np.array_equal(first.depth, second.depth)
        assert np.array_equal(first.valid, second.valid)
        assert np.array_equal(original.read_image(frame), packed.read_image(frame))


def test_infilled_depth_is_packed_where_it_is_asked_for(tmp_path: Path) -> None:
    miniatures.labeled_mat(tmp_path / "copy")
    write_pack(tmp_path / "copy", tmp_path / "pack", infilled=True)
    frame = open_nyu(tmp_path / "pack").frames[0]
    assert open_nyu(tmp_path / "pack").read(frame).valid.all()
    assert not open_nyu(tmp_path / "copy").read(frame).valid.all()
    with pytest.raises(ValueError, match=r"begun with other .*infilled; name another folder, or give --rebuild"):
        write_pack(tmp_path / "copy", tmp_path / "pack")


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("rotation", [0.0, 10.0])
def test_training_and_caching_see_the_same_tensors(copy: Path, pack: Path, workers: int, rotation: float) -> None:
    seen = []
    for root in (copy, pack):
        data = settings(root, augmentation=AugmentationSettings(rotation=rotation))
        source = open_source(data)
        dataset = FrameDataset(source, source.frames, data)
        batches = list(loader(dataset, TrainingBatches(9, 3, seed=5), workers=workers))
        seen.append(batches + list(loader(dataset, OrderedBatches(9, 4), workers=workers)))
    for first, second in zip(*seen, strict=True):
        assert first["frame"] == second["frame"]
        assert all(torch.equal(first[key], second[key]) for key in ("image", "depth", "valid"))


def test_other_sizes_and_preloading_see_the_same_tensors(copy: Path, pack: Path) -> None:
    for changes in ({"size": (37, 40), "crop": (16, 20)}, {"crop": None}):
        seen = []
        for root, preload in ((copy, False), (pack, False), (pack, True)):
            data = settings(root, **changes)
            dataset = FrameDataset(open_source(data), open_source(data).frames, data)
            if preload:
                dataset.preload()
            seen.append(dataset[[(index, 40 + index) for index in range(9)]])
        for other in seen[1:]:
            assert all(torch.equal(seen[0][key], other[key]) for key in ("image", "depth", "valid"))


def test_a_crop_decodes_its_rows_only(tmp_path: Path) -> None:
    for number, folder in enumerate(miniatures.FOLDERS):
        miniatures.put_pair(tmp_path / "copy" / "official_splits" / "train" / folder, number, (240, 64))
    write_pack(tmp_path / "copy", tmp_path / "pack")
    source = open_nyu(tmp_path / "pack")
    assert isinstance(source, RowSource)
    assert source.size == (240, 64)
    whole, frame = source.read(source.frames[2]), source.frames[2]
    part = source.read_rows(frame, slice(50, 90))
    assert np.array_equal(part.depth[50:90], whole.depth[50:90])
    assert np.array_equal(part.image[50:90], whole.image[50:90])
    assert not part.valid[:50].any()
    assert not part.valid[90:].any()
    with h5py.File(tmp_path / "pack" / "pack-00000.h5", "r", locking=False) as file:
        assert file["image"].chunks == (1, 3, BAND_ROWS, 64)
        assert file["depth"].chunks == (1, BAND_ROWS, 64)


@pytest.mark.parametrize(
    ("size", "crop", "rotation"),
    [((48, 64), (32, 40), 45.0), ((48, 64), (20, 24), 2.5), ((37, 51), None, 10.0), ((240, 320), (208, 272), 2.5)],
)
def test_a_change_looks_at_the_pixels_that_it_names(size: tuple, crop: tuple | None, rotation: float) -> None:
    """Every pixel that is not read is poisoned; what comes out is cut from what the whole frame turns into."""
    generator = np.random.default_rng(0)
    pixels = torch.from_numpy(generator.integers(256, size=(3, *size), dtype=np.uint8))
    depth = torch.from_numpy(generator.random((1, *size), dtype=np.float32))
    data = DataSettings(size=size, crop=crop, augmentation=AugmentationSettings(rotation=rotation))
    for seed in range(20):
        change = draw_change(data, np.random.default_rng(seed))
        sample = {"image": pixels, "depth": depth, "valid": depth > 0.3}
        poisoned = {"image": torch.full_like(pixels, 77), "depth": torch.full_like(depth, torch.nan)}
        for name, values in (("image", pixels), ("depth", depth)):
            read = (slice(None), *change.area_read(size).slices)
            poisoned[name][read] = values[read]
        moved, whole = changed({**poisoned, "valid": depth > 0.3}, change), changed(sample, change)
        assert all(torch.equal(moved[name], whole[name]) for name in whole)
        turned = changed(sample, replace(change, area=None, mirrored=False, tint=None))
        rows, columns = change.area.slices if change.area else (slice(None), slice(None))
        cut = turned["depth"][:, rows, columns]
        same = moved["depth"] == (cut.flip(-1) if change.mirrored else cut)
        assert same.float().mean() > 0.99, "rounding may choose the neighbour"


def test_a_source_reaches_other_processes_without_its_files(pack: Path) -> None:
    source = open_nyu(pack)
    source.read(source.frames[0])
    again = pickle.loads(pickle.dumps(source))
    assert np.array_equal(again.read(again.frames[5]).depth, source.read(source.frames[5]).depth)


def test_the_doctor_knows_a_pack_and_the_pack_keeps_what_the_doctor_said(copy: Path, pack: Path) -> None:
    assert recognise(pack).key == "pack"
    diagnosis = diagnose(pack, full=True)
    assert diagnosis.trainable
    assert diagnosis.splits["train"].frames == 6
    kept = json.loads((pack / "pack.json").read_text())["begun"]["diagnosis"]
    assert kept["copy"] == "bts-sync"
    assert kept["full"]
    assert kept["splits"] == json.loads(json.dumps(diagnose(copy, full=True).summary()))["splits"]


def test_a_finished_pack_is_left_as_it_is(copy: Path, pack: Path) -> None:
    before = {path.name: path.stat().st_mtime_ns for path in pack.iterdir()}
    result = CliRunner().invoke(app, ["pack", str(copy), str(pack)])
    assert result.exit_code == 1, "another number of frames per shard was asked for than the pack has"
    assert write_pack(copy, pack, shard_frames=4) == 9
    assert {path.name: path.stat().st_mtime_ns for path in pack.iterdir()} == before


def test_the_command_packs_and_says_how_to_train(copy: Path, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["pack", str(copy), str(tmp_path / "out")])
    assert result.exit_code == 0, result.output
    assert f"9 frames, read back and compared; train with --data nyu --root {tmp_path / 'out'}" in result.output


def check_kills(copy: Path, out: Path, expected: dict[str, bytes], *, kills: int) -> None:
    """Kill -9 whenever one more file has appeared; go on; the outcome is that of a packing that nobody disturbed."""
    program = (  # slow enough to be killed between two files
        "import sys, time; from pathlib import Path; from ensemble.data.packs.writing import write_pack; "
        "wait = lambda done, total: time.sleep(0.2); "
        "write_pack(Path(sys.argv[1]), Path(sys.argv[2]), shard_frames=2, on_frame=wait)"
    )
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    killed = 0
    while killed < kills:
        process = subprocess.Popen([sys.executable, "-c", program, str(copy), str(out)], env=environment)
        while process.poll() is None and len(list(out.glob("pack-*.h5"))) <= killed:
            time.sleep(0.0005)
        if process.poll() is not None:
            break
        process.send_signal(signal.SIGKILL)
        killed += process.wait() == -signal.SIGKILL
        assert recognise(out).key == "unfinished-pack"
    assert killed == kills
    stamps = {path: path.stat().st_mtime_ns for path in out.glob("pack-*.h5")}
    assert kills <= len(stamps) < len(expected) - 1
    write_pack(copy, out, shard_frames=2)
    assert all(path.stat().st_mtime_ns == stamp for path, stamp in stamps.items()), "whole shards were kept"
    assert files_of(out) == expected


def test_a_killed_packing_goes_on(copy: Path, tmp_path: Path) -> None:
    write_pack(copy, tmp_path / "undisturbed", shard_frames=2)
    check_kills(copy, tmp_path / "killed", files_of(tmp_path / "undisturbed"), kills=3)


def test_a_smaller_pack_holds_the_same_frames(copy: Path, pack: Path, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["pack", str(copy), str(tmp_path / "small"), "--codec", "lz4"])
    assert result.exit_code == 0, result.output
    assert frames_equal(tmp_path / "small", [open_nyu(pack).read(frame) for frame in open_nyu(pack).frames])
    with h5py.File(tmp_path / "small" / "pack-00000.h5", "r") as small, h5py.File(pack / "pack-00000.h5", "r") as plain:
        assert small["depth"].id.get_storage_size() / len(small["depth"]) < plain["depth"].id.get_storage_size() / 4
    result = CliRunner().invoke(app, ["pack", str(copy), str(tmp_path / "small")])
    assert result.exit_code == 1
    assert "begun with other codec; name another folder, or give --rebuild" in f"{result.output} {result.exception}"
    with pytest.raises(ValueError, match=r"unknown codec 'zip'; .*Known: lz4, none"):
        write_pack(copy, tmp_path / "other", codec="zip")


def test_an_unfinished_pack_is_not_trained_on(copy: Path, tmp_path: Path) -> None:
    write_pack(copy, tmp_path, shard_frames=4)
    (tmp_path / "pack-begun.json").write_text("{}")
    (tmp_path / "pack.json").unlink()
    with pytest.raises(ValueError, match="pack ROOT OUT once more, it goes on where it was"):
        open_nyu(tmp_path)


@pytest.mark.parametrize("begun", ["", "{}", '{"plan": {}, "size": [48], "depth": "<u2", "diagnosis": {}}'])
def test_a_damaged_beginning_is_named(copy: Path, tmp_path: Path, begun: str) -> None:
    (tmp_path / "pack-begun.json").write_text(begun)
    with pytest.raises(ValueError, match=r"(?s)pack-begun\.json: damaged .*give --rebuild"):
        write_pack(copy, tmp_path)
    assert write_pack(copy, tmp_path, rebuild=True) == 9


def test_shards_that_changed_places_are_refused(copy: Path, tmp_path: Path) -> None:
    write_pack(copy, tmp_path, shard_frames=3)
    first, second = tmp_path / "pack-00000.h5", tmp_path / "pack-00001.h5"
    first.rename(tmp_path / "aside")
    second.rename(first)
    (tmp_path / "aside").rename(second)
    source = open_nyu(tmp_path)
    assert isinstance(source, PackSource)
    for read in (source.read, source.read_image, lambda frame: source.read_rows(frame, slice(0, 9))):
        with pytest.raises(ValueError, match=r"pack-00000\.h5: holds other frames than pack\.json says"):
            read(source.frames[0])
    assert not diagnose(tmp_path, full=True).trainable


def test_a_frame_that_is_not_what_was_packed_is_refused(copy: Path, tmp_path: Path) -> None:
    write_pack(copy, tmp_path, shard_frames=9)
    with h5py.File(tmp_path / "pack-00000.h5", "r+") as file:
        file["depth"][2, 5, 5] = 1234
    source = open_nyu(tmp_path)
    with pytest.raises(ValueError, match=r"row 2: damaged \(checksum"):
        source.read(source.frames[2])
    assert source.read(source.frames[1]).depth.max() > 0


def frames_equal(root: Path, expected: list[RawFrame]) -> bool:
    source = open_nyu(root)
    try:
        read = [source.read(frame) for frame in source.frames]
    finally:
        source.reader.close()
    pairs = list(zip(read, expected, strict=True))
    return all(np.array_equal(a.depth, b.depth) and np.array_equal(a.image, b.image) for a, b in pairs)


def test_every_flipped_bit_of_a_shard_is_found(copy: Path, tmp_path: Path) -> None:
    """Reading names the shard, or gives the same frames: a bit of unused space."""
    write_pack(copy, tmp_path, shard_frames=9)
    shard, source = tmp_path / "pack-00000.h5", open_nyu(tmp_path)
    whole, expected = shard.read_bytes(), [source.read(frame) for frame in source.frames]
    messages = []
    for place in np.random.default_rng(0).integers(len(whole) * 8, size=60):
        damaged = bytearray(whole)
        damaged[place // 8] ^= 1 << (place % 8)
        shard.unlink()  # HDF5 remembers a file by its inode
        shard.write_bytes(damaged)
        try:
            assert frames_equal(tmp_path, expected), f"bit {place} changed a frame unnoticed"
        except ValueError as error:
            messages.append(str(error))
    assert len(messages) > 30
    assert all(str(shard) in message for message in messages)


@pytest.mark.parametrize("name", ["pack.json", "pack.json.sha256"])
def test_every_flipped_bit_of_an_index_is_refused(copy: Path, tmp_path: Path, name: str) -> None:
    write_pack(copy, tmp_path, shard_frames=9)
    whole = (tmp_path / name).read_bytes()
    for place in np.random.default_rng(0).integers(len(whole) * 8, size=100):
        damaged = bytearray(whole)
        damaged[place // 8] ^= 1 << (place % 8)
        (tmp_path / name).write_bytes(damaged)
        with pytest.raises(ValueError, match=rf"{re.escape(name)}: .*--rebuild"):
            open_nyu(tmp_path)
    assert write_pack(copy, tmp_path, shard_frames=9, rebuild=True) == 9
    assert (tmp_path / name).read_bytes() == whole


def test_a_pack_of_a_time_before_checksums_is_read(copy: Path, tmp_path: Path) -> None:
    write_pack(copy, tmp_path, shard_frames=9)
    expected = [open_nyu(tmp_path).read(frame) for frame in open_nyu(tmp_path).frames]
    checksum_file(tmp_path / "pack.json").unlink()
    assert frames_equal(tmp_path, expected)


def test_a_damaged_shard_is_packed_again_and_no_other(copy: Path, tmp_path: Path) -> None:
    write_pack(copy, tmp_path, shard_frames=3)
    whole = files_of(tmp_path)
    (tmp_path / "pack-00001.h5").write_bytes(whole["pack-00001.h5"][:-100])
    assert not diagnose(tmp_path).trainable
    with pytest.raises(ValueError, match=r"pack-00001.h5: (damaged or )?cut short"):
        open_nyu(tmp_path).read(open_nyu(tmp_path).frames[3])
    flipped = bytearray(whole["pack-00001.h5"])
    flipped[len(flipped) // 2] ^= 1
    (tmp_path / "pack-00001.h5").unlink()
    (tmp_path / "pack-00001.h5").write_bytes(flipped)
    write_pack(copy, tmp_path, shard_frames=3)
    assert files_of(tmp_path) == whole
    (tmp_path / "pack-00001.h5").unlink()
    with pytest.raises(ValueError, match="missing files: 1"):
        open_nyu(tmp_path)
    stamp = (tmp_path / "pack-00000.h5").stat().st_mtime_ns
    write_pack(copy, tmp_path, shard_frames=3)
    assert files_of(tmp_path) == whole
    assert (tmp_path / "pack-00000.h5").stat().st_mtime_ns == stamp


def test_depth_that_only_begins_in_millimetres_keeps_its_fractions(tmp_path: Path, monkeypatch) -> None:
    miniatures.fastdepth(tmp_path / "copy")
    first = open_nyu(tmp_path / "copy").frames[0]
    with h5py.File(tmp_path / "copy" / miniatures.h5_name(0), "r+") as file:
        file["depth"][...] = miniatures.millimetres(file["depth"][...]) / np.float32(1000)
    monkeypatch.setattr(writing, "_LOOKED_AT", 1)
    write_pack(tmp_path / "copy", tmp_path / "pack")
    original, packed = open_nyu(tmp_path / "copy"), open_nyu(tmp_path / "pack")
    assert original.frames[0] == first
    for frame in original.frames:
        assert np.array_equal(packed.read(frame).depth, original.read(frame).depth)


def test_copies_that_would_train_wrongly_are_not_packed(tmp_path: Path) -> None:
    miniatures.sync(tmp_path / "copy")
    shard = next((tmp_path / "copy").rglob("sync_depth_*.png"))
    shard.write_bytes(shard.read_bytes()[:200])
    with pytest.raises(ValueError, match=r"not packed, training on it would be wrong: .*sync_depth"):
        write_pack(tmp_path / "copy", tmp_path / "pack")
    assert not list((tmp_path / "pack").glob("*"))


SHARD = (9, *miniatures.SIZE)


def external_link(file: h5py.File, secret: Path) -> None:
    file["depth"] = h5py.ExternalLink(str(secret), "depth")


def soft_link(file: h5py.File, secret: Path) -> None:
    file["gate"] = h5py.ExternalLink(str(secret), "/")
    file["depth"] = h5py.SoftLink("/gate/depth")


def virtual_dataset(file: h5py.File, secret: Path) -> None:
    layout = h5py.VirtualLayout(SHARD, np.uint16)
    layout[:] = h5py.VirtualSource(str(secret), "depth", SHARD)
    file.create_virtual_dataset("depth", layout)


def external_storage(file: h5py.File, secret: Path) -> None:
    raw = secret.with_suffix(".raw")
    file.create_dataset("depth", SHARD, np.uint16, external=[(str(raw), 0, raw.stat().st_size)])


@pytest.mark.parametrize("way", [external_link, soft_link, virtual_dataset, external_storage])
def test_shards_that_point_elsewhere_are_refused(copy: Path, tmp_path: Path, way: Callable) -> None:
    root, secret = tmp_path / "pack", tmp_path / "secret.h5"
    write_pack(copy, root, shard_frames=9)
    with h5py.File(secret, "w") as file:
        file["depth"] = np.full(SHARD, 3000, np.uint16)
    secret.with_suffix(".raw").write_bytes(np.full(SHARD, 3000, np.uint16).tobytes())
    with h5py.File(root / "pack-00000.h5", "r+") as file:
        del file["depth"]
        way(file, secret)
        assert (file["depth"][...] == 3000).all(), "whoever does not look is led there"
    source = open_nyu(root)
    with opens_of(secret) as read, opens_of(secret.with_suffix(".raw")) as read_raw:
        for frame in (source.frames[0], source.frames[-1]):
            with pytest.raises(ValueError, match=r"pack-00000\.h5: points out of itself"):
                source.read(frame)
        assert not diagnose(root).trainable
    assert (read, read_raw) == ([], [])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text[:-40], "damaged"),
        (lambda text: text.replace('"stackdepth pack":1', '"stackdepth pack":2'), "version 2, expected 1"),
        (lambda text: text.replace("pack-00000.h5", "../../secret.h5"), "foreign"),
        (lambda text: text.replace('"size"', '"sizes"'), "size"),
        (lambda text: text.replace('"size":[48,64]', '"size":[10000000,10000000]'), "less than or equal to 20000"),
        (lambda text: text.replace('"size":[48,64]', '"size":"ab"'), "valid list"),
        (lambda text: text.replace('"bytes":', '"byte":'), "bytes"),
        (lambda text: text.replace('"begun":', '"began":'), "begun"),
        (lambda text: text.replace('"kitchen_0028a/rgb_00000"', "5", 1), "foreign"),
    ],
)
def test_a_bad_index_is_refused(copy: Path, tmp_path: Path, change, message: str) -> None:
    write_pack(copy, tmp_path, shard_frames=9)
    index = tmp_path / "pack.json"
    checksum_file(index).unlink()  # a hostile one has a checksum that fits
    index.write_text(change(index.read_text()))
    with pytest.raises(ValueError, match=message):
        open_nyu(tmp_path)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_packing_that_is_stopped_says_so_and_the_same_command_goes_on(number: int, copy: Path, tmp_path: Path):
    words = ("pack", copy, tmp_path / "pack")
    with signalled(writing, "_shard", number, call=1):
        answer = call("data", *words)
    assert answer.status == 128 + number
    assert answer.err.splitlines()[-1] == f"stopped by {signal.Signals(number).name}; the same command goes on"
    assert {path.name for path in (tmp_path / "pack").iterdir()} == {writing.BEGUN, f"{writing.BEGUN}.sha256"}
    done("data", *words)
    write_pack(copy, tmp_path / "undisturbed")
    assert files_of(tmp_path / "pack") == files_of(tmp_path / "undisturbed")
