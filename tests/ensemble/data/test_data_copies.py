"""Every copy of NYU Depth v2 in miniature: recognised, read to the same metres, and passed by the doctor (row 13)."""

import hashlib
import json
import multiprocessing
import os
import pickle
import re
import tarfile
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path, PurePosixPath
from unittest import mock

import h5py
import miniatures
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from miniatures import FOLDERS, MINIATURES, TEST, TRAIN, Miniature, content
from typer.testing import CliRunner

from ensemble.data import open_source
from ensemble.data.__main__ import app
from ensemble.data.doctor.diagnosis import diagnose
from ensemble.data.held_out import test_frames as frames_to_score
from ensemble.data.nyu.lists import read_lines
from ensemble.data.nyu.recognition import open_nyu, recognise
from ensemble.data.source import FrameSource
from ensemble.data.splits import scene_of_folder, training_frames
from ensemble.settings.schema import DataSettings


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    roots = {name: tmp_path_factory.mktemp("copy") / name.replace(", ", "_") for name in MINIATURES}
    for name, root in roots.items():
        MINIATURES[name].build(root)
    return roots


@pytest.fixture(params=MINIATURES)
def case(request: pytest.FixtureRequest, built: dict[str, Path]) -> tuple[Miniature, Path]:
    return MINIATURES[request.param], built[request.param]


def test_every_copy_is_recognised(case: tuple[Miniature, Path]):
    miniature, root = case
    assert recognise(root).key == miniature.key


def test_every_copy_lists_the_same_frames_and_scenes(case: tuple[Miniature, Path]):
    miniature, root = case
    source = open_nyu(root)
    assert isinstance(source, FrameSource)
    numbers = {
        split: {miniatures.number(f, miniature) for f in source.frames if f.split == split}
        for split in ("train", "test")
    }
    assert numbers == {"train": TRAIN, "test": TEST}
    scenes = {miniatures.number(frame, miniature): frame.scene for frame in source.frames}
    for one in scenes:
        for other in scenes:
            same = scene_of_folder(FOLDERS[one]) == scene_of_folder(FOLDERS[other])
            assert (scenes[one] == scenes[other]) == same, (one, other)


def test_every_copy_loads_to_the_same_metres(case: tuple[Miniature, Path]):
    miniature, root = case
    source = open_nyu(root)
    for frame in source.frames:
        expected = content(miniatures.number(frame, miniature))
        found = source.read(frame)
        truth = expected.filled if miniature.filled else expected.raw
        assert np.array_equal(found.valid, truth > 0)
        quantum = 5.01e-4 if miniature.key == "densedepth" and frame.split == "test" else miniature.quantum
        assert np.abs(found.depth - truth).max() <= quantum
        middle = (slice(16, -16), slice(16, -16))
        assert np.abs(found.image[middle].astype(int) - expected.image[middle]).max() <= 6
        assert np.array_equal(source.read_image(frame), found.image)


def test_the_labeled_set_has_two_kinds_of_depth(built: dict[str, Path]):
    measured, filled = (open_nyu(built["labeled mat"], infilled=infilled) for infilled in (False, True))
    for frame in measured.frames:
        assert np.array_equal(
            filled.read(frame).depth, content(miniatures.number(frame, MINIATURES["labeled mat"])).filled
        )
        assert not measured.read(frame).valid.all()
    assert measured.describe(measured.frames) != filled.describe(filled.frames)


def test_a_source_travels_to_other_processes_and_holds_nothing_open(case: tuple[Miniature, Path]):
    source = open_nyu(case[1])
    here = [source.read(frame).depth for frame in source.frames]
    open_files = {str(link.readlink()) for link in Path("/proc/self/fd").glob("*") if link.is_symlink()}
    assert not any(str(case[1]) in name for name in open_files)
    again = pickle.loads(pickle.dumps(source))
    assert again.describe(again.frames) == source.describe(source.frames)
    assert all(np.array_equal(again.read(frame).depth, depth) for frame, depth in zip(again.frames, here, strict=True))


def test_a_loader_process_reads_what_this_one_reads(built: dict[str, Path]):
    sources = [open_nyu(root) for root in built.values()]
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        for source in sources:
            frame = source.frames[0]
            assert np.array_equal(pool.submit(source.read, frame).result().depth, source.read(frame).depth)


def test_scenes_are_divided_and_tested_on(case: tuple[Miniature, Path]):
    source = open_source(DataSettings(kind="nyu", root=case[1]))
    settings = DataSettings(validation_fraction=0.3)
    training = training_frames(source, settings)
    sides = [{f.scene for f in side} for side in (training.fit, training.validation, frames_to_score(source, settings))]
    assert sum(map(len, sides)) == len(set().union(*sides)) == 5


def test_the_doctor_passes_every_copy(case: tuple[Miniature, Path]):
    diagnosis = diagnose(case[1], full=True)
    assert diagnosis.trainable, diagnosis.findings
    assert diagnosis.copy == case[0].key
    assert {split: (report.frames, report.scenes) for split, report in diagnosis.splits.items()} == {
        "train": (6, 3),
        "test": (3, 2),
    }
    assert diagnosis.splits["train"].border == "white"
    assert diagnosis.splits["test"].border == ("black" if case[0].key == "bts-official" else "white")
    assert (diagnosis.splits["train"].holes == 0) == case[0].filled
    assert {report.scale for report in diagnosis.splits.values()} == {"metres"}
    assert 1 < diagnosis.splits["train"].median < 6
    assert diagnosis.command == f"python -m ensemble.base train adabins --data nyu --root {_quoted(case[1])}"


def _quoted(root: Path) -> str:
    return f"'{root}'" if " " in str(root) else str(root)


def test_frames_are_decoded_in_processes_as_in_one(built: dict[str, Path]):
    with (
        mock.patch("ensemble.data.doctor.measurements._WORTH_PROCESSES", 1),
        mock.patch("ensemble.data.doctor.measurements._CHUNK", 2),
    ):
        counts: list[tuple[int, int]] = []
        many = diagnose(built["sync"], full=True, workers=2, on_frame=lambda *count: counts.append(count))
    assert many.summary() == diagnose(built["sync"], full=True, workers=1).summary()
    assert counts == [(done, 9) for done in range(1, 10)]


@pytest.mark.parametrize(
    ("files", "key", "advice"),
    [
        (["basement_0001a/r-1.ppm", "basement_0001a/d-1.pgm"], "raw", "take its sync/ folder"),
        (["sync/kitchen_0001/rgb_00001.jpg"], "bts-sync-without-list", "put the list file nyudepthv2_train"),
        (["nyu_depth_v2_labeled.mat"], "labeled-mat", "splits.mat, the official split"),
        (["data/nyu2_train/kitchen_0001_out/1.jpg"], "densedepth", "nyu2_train.csv in"),
        (["nyuv2.hdf5"], "unidepth", "nyuv2.hdf5: damaged or cut short"),
        (["notes.txt", "more/"], "unknown", "found more/, notes.txt. Known copies:"),
    ],
)
def test_a_copy_that_cannot_be_read_says_what_to_do(tmp_path: Path, files: list[str], key: str, advice: str):
    for name in files:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).mkdir() if name.endswith("/") else (tmp_path / name).touch()
    result = CliRunner().invoke(app, ["doctor", str(tmp_path), "--json"])
    answer = json.loads(result.stdout)
    assert (result.exit_code, answer["copy"], answer["command"]) == (1, key, None)
    assert advice in " ".join(finding["text"] for finding in answer["findings"])
    with pytest.raises(ValueError, match=re.escape(advice)):
        open_nyu(tmp_path)


def test_all_known_layouts_are_named(tmp_path: Path):
    with pytest.raises(ValueError, match="Known copies") as caught:
        recognise(tmp_path)
    for name in (
        "labeled.mat",
        "sync/",
        "official_splits/",
        "nyu2_train.csv",
        "val/official",
        ".tar",
        "nyuv2.hdf5",
        "d-*.pgm",
    ):
        assert name in str(caught.value)


def test_a_file_is_answered_with_its_folder(built: dict[str, Path]):
    with pytest.raises(ValueError, match="is a file; expected the folder that holds it"):
        open_nyu(built["unidepth"] / "nyuv2.hdf5")


def test_fingerprints_of_older_caches_still_hold(built: dict[str, Path]):
    source = open_nyu(built["sync"])
    frame = source.frames[0]
    folder = built["sync"] / "sync" / "kitchen_0028a"
    sizes = [(folder / name).stat().st_size for name in ("rgb_00000.jpg", "sync_depth_00000.png")]
    lines = f"nyu 1\ntrain kitchen_0028a/rgb_00000 {sizes[0]} {sizes[1]}\n"
    assert source.describe([frame]) == hashlib.sha256(lines.encode()).hexdigest()


@given(st.lists(st.text(alphabet="/.\\:ab \n\0,\u2028~", max_size=30), max_size=4), st.sampled_from([None, ","]))
def test_no_list_leads_out_of_its_folder(lines: list[str], separator: str | None):
    pairs, _ = read_lines("\n".join(lines), "list", separator=separator)
    root = PurePosixPath("/copies/nyu")
    for path in (path for pair in pairs for path in pair):
        assert PurePosixPath(os.path.normpath(root / path)).is_relative_to(root)
        assert not set("\\:\0") & set(str(path))


@pytest.mark.parametrize("name", ["fastdepth", "tars", "sync"])
def test_hidden_files_of_a_copy_are_no_frames(tmp_path: Path, name: str):
    MINIATURES[name].build(tmp_path)
    for path in [*tmp_path.rglob("*.h5"), *tmp_path.rglob("*.png"), *tmp_path.rglob("*.jpg")]:
        (path.parent / f"._{path.name}").write_bytes(b"")
    for path in tmp_path.rglob("*.tar"):
        with tarfile.open(path, "a") as tar:
            miniatures.add_member(tar, "train/kitchen_0028a/._00001.h5", b"of macOS")
    (tmp_path / ".#notes").symlink_to("nobody@nowhere")
    diagnosis = diagnose(tmp_path)
    assert diagnosis.trainable, diagnosis.findings
    assert {split: report.frames for split, report in diagnosis.splits.items()} == {
        "train": len(TRAIN),
        "test": len(TEST),
    }


def test_copies_that_were_put_together_are_told(built: dict[str, Path], tmp_path: Path):
    for name in ("sync", "fastdepth"):
        MINIATURES[name].build(tmp_path)
    notes = [finding.text for finding in diagnose(tmp_path).findings if finding.level == "note"]
    assert any("the folder also holds FastDepth / sparse-to-dense" in note for note in notes)


def test_8_bit_training_depth_is_told_and_allowed_where_it_belongs(tmp_path: Path):
    miniatures.densedepth(tmp_path, (112, 128))
    diagnosis = diagnose(tmp_path, full=True)
    assert diagnosis.trainable, diagnosis.findings
    assert any("255 steps of 39 mm" in finding.text for finding in diagnosis.findings)
    assert {split: report.scale for split, report in diagnosis.splits.items()} == {"train": "8-bit", "test": "metres"}


def test_a_test_image_among_the_training_images_is_found(built: dict[str, Path], tmp_path: Path):
    miniatures.fastdepth(tmp_path)
    (tmp_path / miniatures.h5_name(3)).write_bytes(miniatures.frame_h5(0))
    texts = [finding.text for finding in diagnose(tmp_path).findings if finding.level == "error"]
    assert texts == [
        "1 test image is also in the training split (first: train kitchen_0028a/00001 = test official/00004)"
    ]


@pytest.mark.parametrize(
    ("factor", "unit"),
    [(0.001, "metres read as millimetres"), (1000, "millimetres read as metres"), (0.1, "centimetres")],
)
def test_a_wrong_unit_is_named(tmp_path: Path, factor: float, unit: str):
    miniatures.fastdepth(tmp_path)
    for path in tmp_path.rglob("*.h5"):
        with h5py.File(path, "r+") as file:
            depth = file["depth"][()] * np.float32(factor)
            del file["depth"]
            file["depth"] = depth
    with mock.patch("ensemble.data.nyu.fastdepth.FARTHEST", 1e6):
        diagnosis = diagnose(tmp_path)
    texts = [finding.text for finding in diagnosis.findings if finding.level == "error"]
    assert len(texts) == 2
    assert {report.scale for report in diagnosis.splits.values()} == {"wrong"}
    assert all("median depth is" in text and unit in text for text in texts)
