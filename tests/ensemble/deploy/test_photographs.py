"""Photographs of every make become files; those that cannot be read are named, and the others are done."""

import math
import struct
import sys
import zlib
from pathlib import Path

import numpy as np
import OpenEXR
import pillow_heif
import pytest
from command_lines import Job, call, done
from PIL import Image, ImageOps

import ensemble
from ensemble.data.formats import photographs
from ensemble.data.formats.maps import DepthFile, read_numbers
from ensemble.data.formats.photographs import read_photograph
from ensemble.data.formats.search import search
from ensemble.photographs.search import SUFFIXES
from ensemble.report.drawing.pictures import save_depth_png

GREY = np.linspace(0, 255, 60 * 80).reshape(60, 80).round().astype(np.uint8)
RGB = np.stack([GREY, GREY[::-1], GREY[:, ::-1]], axis=2)


def test_every_make_becomes_rgb(tmp_path: Path):
    rgb = Image.fromarray(RGB)
    sixteen = Image.fromarray(GREY.astype(np.uint16) * 257)
    alpha = Image.fromarray(np.dstack([RGB, np.where(GREY > 127, 255, 0).astype(np.uint8)]))
    grey = np.repeat(GREY[..., None], 3, axis=2)
    cases = {
        "grey.png": (Image.fromarray(GREY), grey, 0),
        "sixteen.png": (sixteen, grey, 0),
        "alpha.png": (alpha, np.where(GREY[..., None] > 127, RGB, 255), 0),
        "grey_alpha.png": (Image.fromarray(GREY).convert("LA"), grey, 0),
        "palette.png": (rgb.quantize(256), RGB, 30),
        "cmyk.jpg": (rgb.convert("CMYK"), RGB, 60),
        "rgb.webp": (rgb, RGB, 60),
        "rgb.tif": (rgb, RGB, 0),
    }
    for name, (image, expected, tolerance) in cases.items():
        image.save(tmp_path / name)
        found = read_photograph(tmp_path / name)
        assert found.pixels.dtype == np.uint8, name
        assert np.abs(found.pixels.astype(int) - expected).max() <= tolerance, name
        assert bool(found.converted) == (not name.startswith("rgb")), name


def test_large_ones_are_read_at_a_reduced_scale(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    large = Image.fromarray(RGB).resize((1600, 1200), Image.Resampling.BICUBIC)
    for name in ("large.jpg", "large.png"):
        large.save(tmp_path / name, quality=95)
        found = read_photograph(tmp_path / name, pixels=60 * 80).pixels
        assert found.shape == (60, 80, 3)
        assert np.abs(found[2:-2, 2:-2].astype(int) - RGB[2:-2, 2:-2]).mean() < 6
        assert read_photograph(tmp_path / name).pixels.shape == (1200, 1600, 3)
    monkeypatch.setattr(photographs, "MOST_PIXELS", 1_000_000)
    with pytest.raises(ValueError, match=r"large\.jpg: is larger than the limit of 1000000 pixels"):
        read_photograph(tmp_path / "large.jpg", pixels=4800)


def test_phones_that_were_turned(tmp_path: Path):
    exif = Image.Exif()
    exif[0x0112] = 6  # turned a quarter to the right
    Image.fromarray(RGB).save(tmp_path / "turned.png", exif=exif)
    np.testing.assert_array_equal(read_photograph(tmp_path / "turned.png").pixels, np.rot90(RGB, -1))


def test_heic_of_phones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "phone.heic"
    pillow_heif.register_heif_opener()
    Image.fromarray(RGB).save(path, quality=95)
    found = read_photograph(path)
    assert not found.converted
    assert np.abs(found.pixels.astype(int) - RGB).mean() < 3
    assert read_photograph(path, pixels=1200).pixels.shape == (30, 40, 3)
    whole = path.read_bytes()
    for kept in (100, len(whole) // 2, len(whole) - 10):
        path.write_bytes(whole[:kept])
        with pytest.raises(ValueError, match=rf"phone\.heic: damaged or cut short at {kept} bytes"):
            read_photograph(path)
    monkeypatch.setitem(sys.modules, "pillow_heif", None)  # as where it is not installed
    with pytest.raises(ValueError, match=r"HEIC needs pillow_heif\.\nRun: pip install 'stackdepth\[heic\]'"):
        read_photograph(path)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("ending", ["png", "jpg", "tif"])
def test_every_turn_is_that_of_pillow_at_every_scale(tmp_path: Path, orientation: int, ending: str):
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = Image.fromarray(RGB).resize((320, 240), Image.Resampling.BICUBIC)
    image.save(tmp_path / f"p.{ending}", exif=exif)
    with Image.open(tmp_path / f"p.{ending}") as file:
        expected = ImageOps.exif_transpose(file)
    np.testing.assert_array_equal(read_photograph(tmp_path / f"p.{ending}").pixels, np.asarray(expected))
    small = read_photograph(tmp_path / f"p.{ending}", pixels=4800).pixels
    assert np.abs(small.astype(int) - np.asarray(expected.resize(small.shape[1::-1], Image.Resampling.BOX))).mean() < 5


def test_folders_keep_their_places_and_names_must_differ(tmp_path: Path):
    for name in ("a/x.png", "b/x.jpg", "b/c/y.png", "b/notes.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    assert [*search([tmp_path]).photographs] == ["a/x", "b/c/y", "b/x"]
    assert [*search([tmp_path / "a", tmp_path / "b" / "c" / "y.png"]).photographs] == ["x", "y"]
    both = search([tmp_path / "a", tmp_path / "b"]).photographs
    assert both == {"a/x": tmp_path / "a/x.png", "c/y": tmp_path / "b/c/y.png", "b/x": tmp_path / "b/x.jpg"}
    assert [*search([tmp_path / "a", tmp_path / "a" / "x.png"]).photographs] == ["x"]
    for name in ("b/x.png", "d/b/x.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    alike = search([tmp_path / "a" / "x.png", tmp_path / "b" / "x.png", tmp_path / "b" / "c"]).photographs
    assert [*alike] == ["a/x", "b/x", "y"]
    with pytest.raises(ValueError, match=r"x\.png.*: photographs of one name, x\.png; their results would collide"):
        search([tmp_path / "b" / "x.png", tmp_path / "d" / "b" / "x.png"])


def put(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"")


def test_names_do_not_follow_from_other_folders_and_from_files_that_are_not_there(tmp_path: Path):
    put(tmp_path, "0/a.jpg", "1/a.jpg", "2/b.jpg", "2/b.png", "2/b.png.jpg")
    assert [*search([tmp_path / "0", tmp_path / "1"]).photographs] == ["0/a", "1/a"]
    assert [*search([tmp_path / "0" / "a.jpg", tmp_path / "1" / "a.jpg"]).photographs] == ["0/a", "1/a"]
    assert [*search([tmp_path / "2" / "b.jpg", tmp_path / "2" / "b.png"]).photographs] == ["b.jpg", "b.png"]
    assert len(search([tmp_path / "2"]).photographs) == 3
    found = search([tmp_path / "0" / "a.jpg", tmp_path / "gone" / "a.png"])
    assert found.photographs == {"a": tmp_path / "0" / "a.jpg"}
    assert found.missing == [tmp_path / "gone" / "a.png"]


def test_what_is_left_out_of_a_folder_is_counted(tmp_path: Path):
    put(tmp_path, "a.jpg", "a_depth.npy", "notes.txt", "photo", "film.mp4", "list.csv", ".DS_Store", "b/a_weights.png")
    put(tmp_path, "a_depth_mm.png", "a.jpg_depth_colour.png", "a_error.tiff", "out/a_weights.png", "out/x.png")
    found = search([tmp_path], tmp_path / "out")
    assert [*found.photographs] == ["a", "b/a_weights"]
    written = "a.jpg_depth_colour.png, a_depth_mm.png, a_error.tiff, ..."
    assert found.left_out() == [
        f"5 results of a prediction in {tmp_path} were left out: {written}",
        f"4 other files in {tmp_path} were left out: film.mp4, list.csv, notes.txt, ...",
    ]
    assert "out/x" in search([tmp_path], tmp_path).photographs
    put(tmp_path / "one", "a.jpg", "notes.txt")
    assert search([tmp_path / "one"]).left_out() == [f"1 other file in {tmp_path}/one was left out: notes.txt"]


@pytest.mark.parametrize("ending", sorted({*SUFFIXES} - {".heic", ".heif", ".j2k", ".jfif", ".jpe"}))
def test_every_ending_of_a_folder_is_read(tmp_path: Path, ending: str):
    image = Image.fromarray(RGB)
    (image.convert("L") if ending == ".pgm" else image).save(tmp_path / f"p{ending}")
    (path,) = search([tmp_path]).photographs.values()
    assert read_photograph(path).pixels.shape == RGB.shape


def test_predicting_a_folder_into_itself_twice_is_predicting_it_once(job: Job, tmp_path: Path):
    for out in (tmp_path / "p", tmp_path / "p" / "out"):
        folder = tmp_path / "p"
        folder.mkdir(exist_ok=True)
        Image.fromarray(RGB).save(folder / "plain.png")
        words = ("--out", out, "--format", "npy,png,tiff", "--cache-dir", job.cache)
        for _ in range(2):
            told = done("meta", "predict", "meta-rgb", folder, *words).err
            assert "1 of 1 predicted" in told
        assert "results of a prediction in" in told
        assert not [*folder.rglob("*_depth_mm_depth*")]


def test_a_png_of_another_unit_is_said_once(tmp_path: Path, job: Job, monkeypatch: pytest.MonkeyPatch):
    from ensemble.report.drawing import pictures

    for name in ("a", "b"):
        Image.fromarray(RGB).save(tmp_path / f"{name}.png")
    monkeypatch.setitem(pictures.PER_METRE, "mm", 1e6)  # so that any depth is beyond the reach of the first unit
    words = ("--out", tmp_path / "o", "--only", "depth", "--format", "png", "--cache-dir", job.cache)
    told = done("meta", "predict", "meta-rgb", tmp_path, *words).err
    assert told.count("a_depth_kitti.png: depth beyond 65.5 m, so it is in 1/256 m in place of millimetres") == 1
    assert told.count("1/256 m") == 1
    assert "1/256 m" in " ".join(call("meta", "predict", "--help", COLUMNS="200").out.split())


def test_hidden_files_of_a_folder_are_no_photographs(tmp_path: Path):
    for name in ("plain.jpg", "._plain.jpg", ".thumbnails/plain.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    assert search([tmp_path]).photographs == {"plain": tmp_path / "plain.jpg"}
    assert [*search([tmp_path / "._plain.jpg"]).photographs.values()] == [tmp_path / "._plain.jpg"]
    (tmp_path / ".kept").mkdir()
    (tmp_path / ".kept" / "x.png").write_bytes(b"")
    assert [*search([tmp_path / ".kept"]).photographs] == ["x"]


def test_bad_files_are_named_and_the_others_done(job: Job, tmp_path: Path):
    photos = tmp_path / "photos"
    photos.mkdir()
    Image.fromarray(GREY).save(photos / "good.png")
    Image.fromarray(GREY[:, :50]).save(photos / "tall.png")
    (photos / "text.png").write_bytes(b"text")
    whole = (photos / "good.png").read_bytes()
    (photos / "cut.png").write_bytes(whole[: len(whole) // 2])
    answer = call("meta", "predict", "meta-d", photos, "--out", tmp_path / "o", "--cache-dir", job.cache)
    assert answer.status == 1
    assert answer.err.endswith(f"error: 2 of 4 predicted, files in {tmp_path / 'o'}\n")
    lines = answer.err.splitlines()
    assert sum(line.startswith("error: ") for line in lines) == 3
    assert any("text.png: is no image" in line for line in lines)
    assert any("cut.png: damaged or cut short" in line for line in lines)
    assert [index for index, line in enumerate(lines) if line.startswith("error: ")] == [0, 1, len(lines) - 1]
    assert sum("became RGB with 8 bits" in line for line in lines) == 1
    assert np.load(tmp_path / "o" / "tall_depth.npy").shape == (60, 50)
    assert not list((tmp_path / "o").glob("cut*"))


def test_a_learner_alone_predicts_photographs(job: Job, tmp_path: Path):
    Image.fromarray(RGB).save(tmp_path / "p.png")
    words = ("base", "predict", "tiny/bts", tmp_path / "p.png", "--out", tmp_path / "o", "--cache-dir", job.cache)
    unknown, told = done(*words).err.splitlines()
    assert "p.png: no focal length in EXIF: metres as if it saw 63 degrees across its width" in unknown
    assert told == f"1 of 1 predicted, files in {tmp_path / 'o'}"
    expected = ensemble.load("tiny/bts", device="cpu", cache_dir=job.cache)(RGB).depth
    np.testing.assert_array_equal(np.load(tmp_path / "o" / "p_depth.npy"), expected)
    names = {path.name for path in (tmp_path / "o").iterdir()}
    assert names == {"p_depth.npy", "p_depth_mm.png", "p_depth_colour.png"}


def test_what_is_written_can_be_chosen(job: Job, tmp_path: Path):
    Image.fromarray(RGB).save(tmp_path / "p.png")
    given = ("meta", "predict", "meta-rgb", tmp_path / "p.png", "--cache-dir", job.cache)
    done(*given, "--out", tmp_path / "all", "--only", "depth,error,weights", "--format", "npy,npz,tiff,exr")
    expected = ensemble.load("meta-rgb", device="cpu", cache_dir=job.cache)(RGB)
    assert expected.error is not None
    for name, values in (("depth", expected.depth), ("error", expected.error), ("weights", expected.weights)):
        np.save(tmp_path / "as_numpy.npy", values)
        assert (tmp_path / "all" / f"p_{name}.npy").read_bytes() == (tmp_path / "as_numpy.npy").read_bytes()
        np.testing.assert_array_equal(np.load(tmp_path / "all" / f"p_{name}.npz")["arr_0"], values)
        with Image.open(tmp_path / "all" / f"p_{name}.tiff") as pages:
            for page, each in enumerate(values.reshape(-1, 60, 80)):
                pages.seek(page)
                np.testing.assert_array_equal(np.asarray(pages), each)
        with OpenEXR.File(str(tmp_path / "all" / f"p_{name}.exr"), separate_channels=True) as file:
            channels = file.channels()
            assert [*channels] == (["V"] if values.ndim == 2 else ["weight.0", "weight.1", "weight.2"])
            np.testing.assert_array_equal([channel.pixels for channel in channels.values()], values.reshape(-1, 60, 80))
    np.testing.assert_array_equal(read_numbers(DepthFile(tmp_path / "all" / "p_depth.exr")), expected.depth)
    assert len([*(tmp_path / "all").iterdir()]) == 12
    done(*given, "--out", tmp_path / "small", "--only", "depth", "--size", "working", "--no-flip")
    assert {path.name for path in (tmp_path / "small").iterdir()} == {"p_depth.npy", "p_depth_mm.png"}
    small = np.load(tmp_path / "small" / "p_depth.npy")
    assert small.shape == (48, 64)
    unflipped = ensemble.load("meta-rgb", device="cpu", flip=False, cache_dir=job.cache)
    assert np.abs(np.median(small / unflipped(RGB, size=(48, 64)).depth.mean()) - 1) < 0.2
    for words, message in (
        (("--only", "dept"), "unknown kind of file 'dept'; did you mean 'depth'"),
        (("--format", "bmp"), "unknown format 'bmp'"),
        (("--size", "large"), "unknown size 'large'"),
        (("--device", "gpu"), "unknown device 'gpu'"),
    ):
        answer = call(*given, "--out", tmp_path / "none", *words)
        assert answer.status == 2
        assert message in answer.err
    assert not (tmp_path / "none").exists()


def test_a_photograph_of_a_phone_takes_little_room(job: Job, tmp_path: Path):
    noise = np.random.default_rng(0).integers(0, 256, (300, 400, 3), dtype=np.uint8)
    Image.fromarray(noise).resize((4000, 3000), Image.Resampling.BILINEAR).save(tmp_path / "p.jpg")
    done("meta", "predict", "meta-rgb+d", tmp_path / "p.jpg", "--out", tmp_path / "o", "--cache-dir", job.cache)
    files = {path.name: path.stat().st_size for path in (tmp_path / "o").iterdir()}
    assert sum(files.values()) < 15e6
    height, width = np.load(tmp_path / "o" / "p_depth.npy").shape
    assert (height / width, height * width) == (pytest.approx(0.75, abs=0.002), pytest.approx(1e6, rel=0.01))


def test_depth_that_a_png_cannot_hold_is_left_out(tmp_path: Path, job: Job, monkeypatch: pytest.MonkeyPatch):
    from ensemble.report.drawing import pictures

    Image.fromarray(RGB).save(tmp_path / "p.png")
    monkeypatch.setattr(pictures, "LARGEST_STEPS", 1)
    words = ("--out", tmp_path / "o", "--only", "depth", "--cache-dir", job.cache)
    told = done("meta", "predict", "meta-rgb", tmp_path / "p.png", *words).err
    assert "left out: " in told
    assert "cannot be 16 bits" in told
    assert {path.name for path in (tmp_path / "o").iterdir()} == {"p_depth.npy"}


@pytest.mark.parametrize(
    ("run", "options", "status", "message"),
    [
        ("tiny/bts", ("--only", "error"), 2, "bts is a learner alone, which says no expected error; expected depth or"),
        ("tiny/bts", ("--only", "weights"), 2, "bts is a learner alone, which says no weights; expected depth or"),
        ("tiny/bts", ("--only", "weights,error"), 2, "which says no weights and no expected error; expected depth or"),
        ("meta-d", ("--only", "weights,error", "--format", "png"), 2, "png holds depth alone; expected --format npy,"),
        ("meta-d", ("nothing",), 1, "nothing: found no photograph, expected files that end in .jpg, "),
    ],
)
def test_a_call_that_would_write_nothing_is_refused(
    job: Job,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    run: str,
    options: tuple[str, ...],
    status: int,
    message: str,
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "nothing").mkdir()
    Image.fromarray(RGB).save("p.png")
    place = () if options == ("nothing",) else ("p.png",)
    tool = "base" if run == "tiny/bts" else "meta"
    answer = call(tool, "predict", run, *place, *options, "--out", "o", "--cache-dir", job.cache)
    assert answer.status == status
    assert message in answer.err
    assert not Path("o").exists()


def test_an_error_that_is_not_there_is_said(job: Job, tmp_path: Path):
    Image.fromarray(RGB).save(tmp_path / "p.png")
    words = ("tiny/bts", tmp_path / "p.png", "--out", tmp_path / "o", "--cache-dir", job.cache)
    told = done("base", "predict", *words, "--only", "depth,error").err
    assert told.startswith("bts is a learner alone, which says no expected error: none is written\n")
    assert {path.name for path in (tmp_path / "o").iterdir()} == {"p_depth.npy", "p_depth_mm.png"}
    told = done("base", "predict", *words[:3], tmp_path / "w", *words[4:], "--only", "depth,weights").err
    assert told.startswith("bts is a learner alone, which says no weights: none is written\n")
    assert {path.name for path in (tmp_path / "w").iterdir()} == {"p_depth.npy", "p_depth_mm.png"}


def test_twelve_bits_in_a_file_of_sixteen_are_said(job: Job, tmp_path: Path):
    narrow = np.random.default_rng(0).integers(0, 4096, (48, 64), dtype=np.uint16)
    narrow[0, 0] = 4095
    Image.fromarray(narrow).save(tmp_path / "narrow.png")
    Image.fromarray(narrow * 16).save(tmp_path / "wide.png")
    words = ("--out", tmp_path / "o", "--only", "depth", "--cache-dir", job.cache)
    told = done("meta", "predict", "meta-d", tmp_path / "narrow.png", tmp_path / "wide.png", *words).err
    assert "narrow.png: its numbers reach 4095 of 65535, as those of 12 bits or fewer in 16 do" in told
    assert "wide.png: its numbers" not in told


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def save_deep_png(path: Path, pixels: np.ndarray) -> None:
    """RGB with 16 bits, which Pillow reads and does not write."""
    height, width, _ = pixels.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    head = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    parts = [chunk(b"IHDR", head), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))


def test_three_channels_of_sixteen_bits_are_said_and_so_are_twelve_in_them(job: Job, tmp_path: Path):
    pixels = np.random.default_rng(0).integers(0, 4096, (48, 64, 3))
    save_deep_png(tmp_path / "narrow.png", pixels)
    save_deep_png(tmp_path / "wide.png", pixels * 16)
    words = ("--out", tmp_path / "o", "--only", "depth", "--cache-dir", job.cache)
    told = done("meta", "predict", "meta-d", tmp_path / "narrow.png", tmp_path / "wide.png", *words).err
    assert "narrow.png: its numbers reach 15 of 255, as those of 12 bits or fewer in 16 do" in told
    assert "wide.png: its numbers" not in told
    assert told.count("RGB with 16 bits became RGB with 8 bits") == 1


def test_what_is_not_there_is_named_and_the_rest_is_done(job: Job, tmp_path: Path):
    Image.fromarray(RGB).save(tmp_path / "p.png")
    (tmp_path / "empty").mkdir()
    words = ("--out", tmp_path / "o", "--only", "depth", "--cache-dir", job.cache)
    answer = call("meta", "predict", "meta-d", tmp_path / "p.png", tmp_path / "no.png", tmp_path / "empty", *words)
    assert answer.status == 1
    lines = answer.err.splitlines()
    assert f"error: {tmp_path}/no.png: there is no such file or folder" in lines
    assert any(line.startswith(f"{tmp_path}/empty: found no photograph, expected") for line in lines)
    assert lines[-1].startswith("error: 1 of 2 predicted")
    assert (tmp_path / "o/p_depth.npy").exists()


@pytest.mark.parametrize("ending", ["tiff", "bmp", "webp"])
def test_what_no_end_mark_tells_to_be_whole_is_named_before_work_begins(job: Job, tmp_path: Path, ending: str):
    Image.fromarray(RGB).save(tmp_path / f"a.{ending}", **({"compression": "tiff_lzw"} if ending == "tiff" else {}))
    whole = (tmp_path / f"a.{ending}").read_bytes()
    (tmp_path / f"z.{ending}").write_bytes(whole[: len(whole) // 2])
    words = ("--out", tmp_path / "o", "--only", "depth", "--cache-dir", job.cache)
    answer = call("meta", "predict", "meta-d", tmp_path / f"a.{ending}", tmp_path / f"z.{ending}", *words)
    assert answer.status == 1
    assert answer.err.startswith(f"error: {tmp_path}/z.{ending}: damaged or cut short")
    assert "1 of 2 predicted" in answer.err


def test_no_png_of_another_depth_stays(tmp_path: Path):
    place = tmp_path / "p"
    names = ("p_depth_mm.png", "p_depth_kitti.png")
    assert save_depth_png(place, np.full((4, 4), 20.0)).name == names[0]
    assert save_depth_png(place, np.full((4, 4), 70.0)).name == names[1]
    assert [path.name for path in tmp_path.iterdir()] == [names[1]]
    with pytest.raises(ValueError, match="300"):
        save_depth_png(place, np.full((4, 4), 300.0))
    assert not [*tmp_path.iterdir()]


def test_a_format_whose_package_is_missing_is_refused_before_work_begins(
    job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(sys.modules, "OpenEXR", None)
    Image.fromarray(RGB).save(tmp_path / "p.png")
    words = ("--out", tmp_path / "o", "--format", "npy,exr", "--cache-dir", job.cache)
    answer = call("meta", "predict", "meta-rgb", tmp_path / "p.png", *words)
    assert answer.status == 1
    assert "--format exr: EXR needs OpenEXR.\nRun: pip install 'stackdepth[exr]'" in answer.err
    assert not (tmp_path / "o").exists()


DETAILS = 0x8769
FOCAL, FOCAL_35MM, PER_UNIT, UNIT, WIDTH, HEIGHT = 0x920A, 0xA405, 0xA20E, 0xA210, 0xA002, 0xA003


def save_with(path: Path, size: tuple[int, int], details: dict[int, float], orientation: int = 1) -> Path:
    """A photograph of a width and height as it lies in the file, with what a camera writes beside it."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    exif.get_ifd(DETAILS).update(details)
    Image.fromarray(RGB).resize(size).save(path, exif=exif)
    return path


def across(focal: float, width: float) -> float:
    return 2 * math.degrees(math.atan(width / 2 / focal))


FULL_FRAME = {FOCAL_35MM: 28}
PHONE = {FOCAL_35MM: 26, WIDTH: 4000, HEIGHT: 3000}
SENSOR = {FOCAL: 5.0, PER_UNIT: 20000.0, UNIT: 3, WIDTH: 4000, HEIGHT: 3000}  # 2000 pixels a millimetre: 10000 pixels
IN_INCHES = {key: value for key, value in SENSOR.items() if key != UNIT} | {PER_UNIT: 20000 * 2.54}
VIEWS = {
    "28 mm of 36x24 mm": ((360, 240), FULL_FRAME, 1, across(28, 36)),
    "a phone's 4:3, by the diagonal": ((400, 300), PHONE, 1, across(26, 0.8 * math.hypot(36, 24))),
    "turned": ((400, 300), PHONE, 6, across(26, 0.6 * math.hypot(36, 24))),
    "made smaller": ((200, 150), SENSOR, 1, across(10000, 4000)),
    "turned and made smaller": ((200, 150), SENSOR, 8, across(10000, 3000)),
    "inches where no unit is told": ((400, 300), IN_INCHES, 1, across(10000, 4000)),
    "turned by a program": ((300, 400), SENSOR, 1, across(10000, 3000)),
    "cropped": ((300, 300), PHONE, 1, None),
    "not known to the camera": ((400, 300), {FOCAL_35MM: 0}, 1, None),
    "focal length alone": ((400, 300), {FOCAL: 4.2}, 1, None),
    "of an unknown unit": ((400, 300), {**SENSOR, UNIT: 9}, 1, None),
    "nothing": ((400, 300), {}, 1, None),
}


@pytest.mark.parametrize("case", VIEWS)
@pytest.mark.parametrize("pixels", [None, 5000])
def test_the_field_of_view_is_what_the_camera_wrote(tmp_path: Path, case: str, pixels: int | None):
    size, details, orientation, expected = VIEWS[case]
    found = read_photograph(save_with(tmp_path / "p.jpg", size, details, orientation), pixels=pixels)
    assert found.fov == (None if expected is None else pytest.approx(expected, rel=1e-6))


def test_metres_grow_with_the_focal_length(job: Job, tmp_path: Path):
    photos = tmp_path / "photos"
    photos.mkdir()
    for name, equivalent in (("wide", 13), ("tele", 77), ("usual", 28), ("second", 77)):
        save_with(photos / f"{name}.jpg", (400, 300), {FOCAL_35MM: equivalent})
    save_with(photos / "none.jpg", (400, 300), {})
    given = (
        "meta",
        "predict",
        "meta-rgb",
        photos,
        "--only",
        "depth,error",
        "--format",
        "npy",
        "--cache-dir",
        job.cache,
    )
    lines = [line for line in done(*given, "--out", tmp_path / "o").err.splitlines() if ".jpg" in line]
    assert len(lines) == 3
    assert "none.jpg: no focal length in EXIF" in lines[0]
    assert "second.jpg: sees 25 degrees across its width (EXIF), the camera of the training would see 63" in lines[1]
    assert "wide.jpg: sees 106 degrees across its width (EXIF), the camera of the training would see 63" in lines[2]
    stack = ensemble.load("meta-rgb", device="cpu", cache_dir=job.cache)
    plain = stack(read_photograph(photos / "none.jpg").pixels)
    for name, equivalent in (("wide", 13), ("tele", 77), ("usual", 28), ("second", 77)):
        ratio = equivalent / math.hypot(36, 24) * math.hypot(640, 480) / math.sqrt(518.8579 * 519.4696)
        for kind, values in (("depth", plain.depth), ("error", plain.error)):
            np.testing.assert_allclose(np.load(tmp_path / "o" / f"{name}_{kind}.npy"), ratio * values, rtol=1e-5)
    told = done(*given, "--out", tmp_path / "told", "--fov", across(77, 0.8 * math.hypot(36, 24))).err
    assert told.count("degrees across its width (--fov)") == 1
    found, expected = (np.load(tmp_path / name) for name in ("told/none_depth.npy", "o/tele_depth.npy"))
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    for degrees in (0, 180, -3):
        answer = call(*given, "--out", tmp_path / "none", "--fov", degrees)
        assert answer.status == 2
        assert "expected degrees across the width" in answer.err
