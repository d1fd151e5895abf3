"""Films and cameras: depth is smoothed and never invented, files are those that browsers and programs read."""

import io
import itertools
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from command_lines import Job, call, contents, done, signalled
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from ensemble.data.rooms.camera import render_frame
from ensemble.deploy.door import DepthStack
from ensemble.deploy.video.film import LEAST_BAR, Picture
from ensemble.deploy.video.queues import ahead, behind
from ensemble.deploy.video.reading import CameraStoppedError, FilmSource, _Pipe
from ensemble.deploy.video.shapes import place_of, seen_by_people
from ensemble.deploy.video.sharing import leaves_one, sharing
from ensemble.deploy.video.smoothing import LARGEST_STEP, Smoothing, change, following, is_cut, thumbnail
from ensemble.deploy.video.writing import film_writer, metre_writer, millimetre_writer
from ensemble.report.drawing.colours import depth_colours, depth_scale
from ensemble.report.drawing.palettes import Palette

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
SIZE = (60, 80)


def room(number: int) -> tuple[np.ndarray, np.ndarray]:
    """Image and exact depth of a generated room."""
    raw = render_frame((120, 160), seed=(0, 0, number), frame=0, holes=False, noise=False)
    return raw.image, raw.depth


def moving(number: int, frames: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """A window that moves over a room."""
    image, depth = room(number)
    for at in range(frames):
        yield image[10:70, at : at + 80], depth[10:70, at : at + 80]


def save_film(path: Path, frames: list[np.ndarray], rate: int = 10) -> Path:
    with film_writer(path, (frames[0].shape[0], frames[0].shape[1]), Fraction(rate)) as write:
        for number, image in enumerate(frames):
            write(np.ascontiguousarray(image), number / rate)
    return path


@given(st.integers(0, 2**32 - 1), st.floats(0.001, 1.0))
def test_smoothed_depth_lies_between_what_was_and_what_is(seed: int, share: float):
    generator = np.random.default_rng(seed)
    running, depth = (generator.uniform(0.5, 8, (9, 7)).astype(np.float32) for _ in range(2))
    found = following(running, depth, share)
    slack = 1e-5
    assert (found >= np.minimum(running, depth) * (1 - slack)).all()
    assert (found <= np.maximum(running, depth) * (1 + slack)).all()
    assert (np.abs(np.log(found / depth)) <= np.log(LARGEST_STEP) + slack).all()
    other = np.abs(np.log(depth / running)) > np.log(LARGEST_STEP) + slack
    np.testing.assert_array_equal(found[other], depth[other])


def test_noise_becomes_less_and_a_cut_shows_the_depth_of_its_own_frame():
    generator, smoothing = np.random.default_rng(0), Smoothing(0.5)
    time, errors = 0.0, []
    for number in (1, 2):
        image, depth = room(number)
        for at in range(15):
            seen = depth * np.exp(generator.normal(0, 0.03, depth.shape)).astype(np.float32)
            shown = smoothing(image, seen, time)
            if at == 0:
                np.testing.assert_array_equal(shown, seen)
            errors.append((np.abs(shown / depth - 1).mean(), np.abs(seen / depth - 1).mean()))
            time += 0.1
    assert smoothing.cuts == 1
    assert errors[-1][0] < 0.5 * errors[-1][1]


def test_between_two_surfaces_there_is_none():
    """Where an edge moves, every pixel keeps the depth of one of the two sides."""
    smoothing, image = Smoothing(1.0), np.full((*SIZE, 3), 128, np.uint8)
    for at in range(20, 60, 2):
        depth = np.where(np.arange(SIZE[1]) < at, 1.0, 3.0).astype(np.float32) * np.ones(SIZE, np.float32)
        shown = smoothing(image, depth, at / 20)
        np.testing.assert_allclose(shown, depth)


def test_motion_and_noise_are_no_cuts_and_another_room_is():
    frames = [image for number in (1, 2, 3) for image, _ in moving(number, 12)]
    smoothing = Smoothing(0.5)
    for number, image in enumerate(frames):
        smoothing(image, np.ones(SIZE, np.float32), number / 10)
    assert smoothing.cuts == 2
    before, now = (thumbnail(frames[number]) for number in (11, 12))
    assert is_cut(before, now)
    assert not is_cut(before, now, usual=change(before, now)), "where every frame is so different, there is no cut"


@pytest.mark.parametrize("size", [(1, 1), (5, 7), (60, 80), (480, 640)])
def test_thumbnails_of_every_size_keep_the_colour(size: tuple[int, int]):
    image = np.full((*size, 3), (51, 102, 255), np.uint8)
    np.testing.assert_allclose(thumbnail(image), np.broadcast_to([0.2, 0.4, 1.0], (18, 32, 3)), atol=1e-6)


def test_a_film_is_one_that_browsers_play(tmp_path: Path):
    frames = [image for image, _ in moving(1, 12)]
    path = save_film(tmp_path / "a.mp4", [frame[:59, :79] for frame in frames])
    with av.open(str(path)) as film:
        stream = film.streams.video[0]
        assert (stream.codec_context.name, stream.pix_fmt, stream.width, stream.height) == ("h264", "yuv420p", 80, 60)
        decoded = list(film.decode(stream))
    assert [round(float(frame.time), 3) for frame in decoded] == [round(at / 10, 3) for at in range(12)]
    assert path.read_bytes().index(b"moov") < path.read_bytes().index(b"mdat"), "its index comes first"
    shown = decoded[3].to_ndarray(format="rgb24", src_colorspace="ITU709").astype(int)[:59, :79]
    assert np.abs(shown - frames[3][:59, :79]).mean() < 6


def test_depth_beside_it_is_exact(tmp_path: Path):
    depths = [depth[:59, :79] for _, depth in moving(1, 5)]
    with millimetre_writer(tmp_path / "d.mkv", (59, 79), Fraction(10)) as write:
        for number, depth in enumerate(depths):
            write(depth, number / 10)
    with av.open(str(tmp_path / "d.mkv")) as film:
        read = [frame.to_ndarray() for frame in film.decode(video=0)]
    assert read[0].dtype == np.uint16
    np.testing.assert_array_equal(read, np.rint(np.array(depths) * np.float32(1000)).astype(np.uint16))
    with metre_writer(tmp_path / "d.npz", (59, 79), Fraction(10)) as write:
        for number, depth in enumerate(depths):
            write(depth, number / 10)
    with np.load(tmp_path / "d.npz") as arrays:
        np.testing.assert_array_equal(arrays["frame_000004"], depths[4])
        np.testing.assert_allclose(arrays["seconds"], [0, 0.1, 0.2, 0.3, 0.4])
    with (
        pytest.raises(ValueError, match=r"at 0\.30 s found depth of 70\.000 m, expected at most 65\.535 m"),
        millimetre_writer(tmp_path / "far.mkv", (4, 4), Fraction(10)) as write,
    ):
        write(np.full((4, 4), 70.0, np.float32), 0.3)


def test_colours_by_table_are_those_of_the_report():
    depth = np.geomspace(0.1, 20, 3000, dtype=np.float32).reshape(50, 60)
    found = Palette.of(depth_scale(0.5, 8.0))(depth).astype(int)
    assert np.abs(found - depth_colours(depth, 0.5, 8.0)).max() <= 3


def test_a_picture_that_is_made_smaller_shows_depth_of_places_and_invents_none():
    palette, size = Palette.of(depth_scale(0.5, 8.0)), (108, 192)
    generator = np.random.default_rng(0)
    image, depth = generator.integers(0, 256, (*size, 3), np.uint8), np.full(size, 1.0, np.float32)
    depth[:, 101:] = 6.0
    whole, smaller = (Picture.of(palette, size, alone=False, width=width) for width in (1920, 192))
    assert (whole.pane, whole.size) == (size, (108 + LEAST_BAR, 384))
    assert (smaller.pane, smaller.size) == ((54, 96), (54 + LEAST_BAR, 192))
    np.testing.assert_array_equal(whole(image, depth)[:108, :192], image)
    pixels = smaller(image, depth)
    shown, near = pixels[:54, 96:], round(101 / 2)
    np.testing.assert_array_equal(shown[:, :near], np.broadcast_to(palette(np.float32([[1.0]])), (54, near, 3)))
    np.testing.assert_array_equal(shown[:, near:], np.broadcast_to(palette(np.float32([[6.0]])), (54, 96 - near, 3)))
    means = image.reshape(54, 2, 96, 2, 3).mean(axis=(1, 3))
    assert np.abs(pixels[:54, :96] - means).max() <= 1
    same = smaller(image, smaller.places(depth))
    np.testing.assert_array_equal(same, pixels)
    assert Picture.of(palette, size, alone=True, width=192).pane == size
    assert Picture.of(palette, (3, 4), alone=False, width=1).pane == (1, 1)


@pytest.mark.parametrize("ends", [(1.67, 3.01), (0.4, 9.87), (0.5, 80.0), (2.0, 2.1), (0.01, 0.11), (3.0, 655.0)])
@pytest.mark.parametrize(("high", "wide"), [(16, 16), (60, 80), (120, 160), (240, 320), (480, 640), (1080, 1920)])
def test_labels_of_a_scale_have_room_and_the_same_decimals(high: int, wide: int, ends: tuple[float, float]):
    picture = Picture.of(Palette.of(depth_scale(*ends)), (high, wide), alone=True, width=1920)
    labels = picture.palette.labels(wide, picture.bar, "m")
    assert len(labels) in ((0,) if wide == 16 else (0, 2) if wide == 80 else (2, 3) if wide == 160 else (3, 5))
    assert len({len(label.text.removesuffix(" m").partition(".")[2]) for label in labels}) <= 1
    assert len({label.text for label in labels}) == len(labels)
    for before, now in itertools.pairwise(labels):
        assert now.left - before.right >= 4, "they can be told apart"
    assert all(4 <= label.left < label.right <= wide - 4 for label in labels)
    assert picture.palette.bar(wide, picture.bar, "m").shape == (picture.bar, wide, 3)


def test_labels_of_a_scale_are_as_large_as_the_film_wants():
    rows = [
        Picture.of(Palette.of(depth_scale(1, 5)), (high, high), alone=True, width=1920).bar
        for high in (16, 300, 480, 720, 1080, 4000)
    ]
    assert rows == [20, 20, 32, 48, 64, 64]


@pytest.mark.parametrize(("beside", "left"), [(0.25, 1), (0.0, 2)])
def test_networks_leave_a_core_to_what_takes_as_long_as_they_do(beside: float, left: int):
    threads = torch.get_num_threads()
    torch.set_num_threads(2)

    def busy(_: None) -> None:
        until = time.process_time() + beside
        while time.process_time() < until:
            pass

    try:
        with sharing(lambda: time.sleep(0.2 / torch.get_num_threads()), busy):
            found = torch.get_num_threads()
        assert (found, torch.get_num_threads()) == (left, 2)
    finally:
        torch.set_num_threads(threads)
    assert not leaves_one(alone=1.3, fewer=2.1, beside=0.03)  # a large stack; nyu-small on films of 1080 rows:
    assert leaves_one(alone=0.014, fewer=0.025, beside=0.031)


def test_what_threads_cannot_do_is_raised_where_it_was_asked_for():
    def failing() -> Iterator[int]:
        yield 1
        raise ValueError("no more")

    with ahead(failing()) as numbers:
        assert next(numbers) == 1
        with pytest.raises(ValueError, match="no more"):
            next(numbers)
    with ahead(iter(int, 1)) as endless:
        assert next(endless) == 0
    done_so_far: list[int] = []
    with behind(done_so_far.append) as hand_over:
        for number in range(10):
            hand_over(number)
    assert done_so_far == list(range(10))
    with pytest.raises(ZeroDivisionError), behind(lambda number: 1 / number) as hand_over:
        hand_over(0)


def test_a_film_that_is_cut_short_and_what_is_none_are_named(tmp_path: Path):
    (tmp_path / "text.mp4").write_bytes(b"text")
    with (
        pytest.raises(ValueError, match=r"text\.mp4: cannot be read as a film"),
        FilmSource.named(str(tmp_path / "text.mp4")).opened(),
    ):
        pass
    for ending in ("jpg", "png"):
        photograph = tmp_path / f"photo.{ending}"
        Image.fromarray(np.zeros((48, 64, 3), np.uint8)).save(photograph)
        found = FilmSource.named(str(photograph))
        with pytest.raises(ValueError, match=rf"photo\.{ending}: is a photograph; .*predict"), found.opened():
            pass
        with pytest.raises(ValueError, match=rf"photo\.{ending}: is a photograph; .*predict"):
            next(found.samples(3))
    with pytest.raises(ValueError, match=r"none\.mp4: there is no such film"):
        FilmSource.named(str(tmp_path / "none.mp4"))
    with pytest.raises(ValueError, match="is a folder"):
        FilmSource.named(str(tmp_path))
    assert FilmSource.named("0").camera


def save_matroska(path: Path, frames: int) -> None:
    """A film that can be read from a pipe, ten frames a second."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=10)
        stream.height, stream.width, stream.pix_fmt = *SIZE, "yuv420p"
        for image, _ in moving(1, frames):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")))
        container.mux(stream.encode())


def save_part(path: Path, frames: list[np.ndarray], *, aspect: Fraction | None = None, rate: int = 10) -> bytes:
    """A film that others may be joined to, as broadcasts are, with pixels of an aspect ratio."""
    with av.open(str(path), "w", format="mpegts") as container:
        stream = container.add_stream("libx264", rate=rate, options={"crf": "10"})
        stream.height, stream.width, stream.pix_fmt = *frames[0].shape[:2], "yuv420p"
        if aspect is not None:
            stream.codec_context.sample_aspect_ratio = aspect
        for image in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")))
        container.mux(stream.encode())
    return path.read_bytes()


def test_a_film_is_seen_in_square_pixels(job: Job, tmp_path: Path):
    image = room(1)[0][:, :120]  # 120 x 120, squeezed to half its width
    save_part(tmp_path / "narrow.ts", [image[:, ::2]] * 4, aspect=Fraction(2))
    with FilmSource.named(str(tmp_path / "narrow.ts")).opened() as film:
        assert film.size == (120, 120)
        frames = list(film.frames)
    assert np.abs(frames[2].image.astype(int) - image).mean() < 8
    assert next(FilmSource.named(str(tmp_path / "narrow.ts")).samples(1)).shape == (120, 120, 3)
    words = ("--out", tmp_path / "out.mp4", "--depth", tmp_path / "d.mkv", "--cache-dir", job.cache)
    done("video", "meta-d", tmp_path / "narrow.ts", *words)
    with av.open(str(tmp_path / "out.mp4")) as made, av.open(str(tmp_path / "d.mkv")) as depth:
        assert (made.streams.video[0].width, made.streams.video[0].height) == (240, 120 + LEAST_BAR)
        assert (depth.streams.video[0].width, depth.streams.video[0].height) == (120, 120)


def test_square_pixels_come_before_the_turn_of_a_phone_and_mistakes_are_refused(tmp_path: Path):
    frame = av.VideoFrame.from_ndarray(np.zeros((30, 20, 3), np.uint8), format="rgb24")
    assert seen_by_people(frame, Fraction(64, 45)).shape == (30, 28, 3)
    assert seen_by_people(frame, Fraction(1, 2)).shape == (30, 10, 3)
    save_part(tmp_path / "odd.ts", [room(1)[0]] * 2, aspect=Fraction(100))
    with (
        pytest.raises(ValueError, match=r"odd\.ts: says that its pixels are 100 times as wide as high, expected 1/8"),
        FilmSource.named(str(tmp_path / "odd.ts")).opened(),
    ):
        pass


def joined_film(tmp_path: Path, *, cropped: bool = False, aspect: Fraction | None = None) -> Path:
    """A second of a room at 120 x 160, and then half as large, or a square of it, or with pixels of an aspect ratio."""
    image = room(1)[0]
    other = image if aspect is not None else image[:, 20:140] if cropped else image[::2, ::2]
    parts = save_part(tmp_path / "a.ts", [image] * 10) + save_part(tmp_path / "b.ts", [other] * 10, aspect=aspect)
    (tmp_path / "joined.ts").write_bytes(parts)
    return tmp_path / "joined.ts"


def test_frames_that_change_their_size_are_brought_to_that_of_the_first_and_none_is_lost(tmp_path: Path):
    with FilmSource.named(str(joined_film(tmp_path))).opened() as film:
        frames = list(film.frames)
    assert [round(frame.seconds, 3) for frame in frames] == [round(at / 10, 3) for at in range(20)], "times begin anew"
    assert {frame.image.shape for frame in frames} == {(120, 160, 3)}
    assert [frame.found for frame in frames] == [(120, 160)] * 10 + [(60, 80)] * 10
    assert all(frame.whole for frame in frames)
    assert np.abs(frames[-1].image.astype(int) - frames[0].image).mean() < 8


@pytest.mark.parametrize("aspect", [None, Fraction(4, 3)])
def test_a_picture_of_another_shape_has_bars_and_is_not_squeezed(aspect: Fraction | None, tmp_path: Path):
    with FilmSource.named(str(joined_film(tmp_path, cropped=aspect is None, aspect=aspect))).opened() as film:
        last = list(film.frames)[-1]
    assert last.image.shape == (120, 160, 3)
    assert not last.whole
    assert last.found == ((120, 120) if aspect is None else (120, 213))
    assert last.picture.shape == ((120, 120, 3) if aspect is None else (90, 160, 3))
    assert (last.image[:, :20] if aspect is None else last.image[:15]).max() == 0


@given(st.integers(1, 400), st.integers(1, 400), st.integers(1, 400), st.integers(1, 400))
def test_a_place_lies_in_the_frame_and_keeps_the_shape(height: int, width: int, rows: int, columns: int):
    place = place_of((height, width), (rows, columns))
    high, wide = (each.stop - each.start for each in place)
    assert 0 <= place.rows.start < place.rows.stop <= rows
    assert 0 <= place.columns.start < place.columns.stop <= columns
    assert high == rows or wide == columns
    assert abs(high / height - wide / width) <= max(2.1, 0.021 * max(rows, columns)) / min(height, width)


@pytest.mark.parametrize("depth", [None, "d.mkv", "d.npz"])
@pytest.mark.parametrize("cropped", [False, True])
def test_a_film_that_changes_its_size_is_written_whole_and_said(
    cropped: bool, depth: str | None, job: Job, tmp_path: Path
):
    film, out = joined_film(tmp_path, cropped=cropped), tmp_path / "out.mp4"
    beside = () if depth is None else ("--depth", tmp_path / depth)
    told = done("video", "meta-d", film, "--out", out, "--smooth", 1, *beside, "--cache-dir", job.cache).err
    new, bars = ("120x120", ", with bars beside them, where there is no depth") if cropped else ("80x60", "")
    said = f"at 1.00 s its frames become {new} after 160x120: from there they are brought to 160x120{bars}, and metres"
    assert f"{film}: {said} follow the changed picture" in told
    with av.open(str(out)) as made:
        frames = [frame.to_ndarray(format="rgb24") for frame in made.decode(video=0)]
    assert (len(frames), frames[0].shape) == (20, (120 + LEAST_BAR, 320, 3))
    if cropped:
        assert frames[-1][5:115, 165:175].max() < 40, "no colour of depth where there is none"
    if depth == "d.npz":
        with np.load(tmp_path / depth) as arrays:
            assert np.isnan(arrays["frame_000019"]).sum() == (120 * 40 if cropped else 0)
            assert np.isfinite(arrays["frame_000009"]).all()
    elif depth is not None:
        with av.open(str(tmp_path / depth)) as made:
            last = [frame.to_ndarray() for frame in made.decode(video=0)][-1]
        assert (last == 0).sum() == (120 * 40 if cropped else 0)


def sent_of(film: Path) -> bytes:
    """What a camera sends of a film before it falls silent."""
    return film.read_bytes()[: -film.stat().st_size // 10]


def piped_film(tmp_path: Path, *, closing: bool) -> tuple[FilmSource, threading.Thread, threading.Event]:
    """A pipe that is read as a camera: it sends eight frames, and then ends or falls silent."""
    pipe, film = tmp_path / "camera", tmp_path / "sent.mkv"
    os.mkfifo(pipe)
    save_matroska(film, 8)
    content, silent = film.read_bytes() if closing else sent_of(film), threading.Event()

    def send() -> None:
        with pipe.open("wb") as file:
            file.write(content)
            file.flush()
            if not closing:
                silent.wait(60)

    thread = threading.Thread(target=send, daemon=True)
    thread.start()
    return FilmSource.named(str(pipe)), thread, silent


def test_a_pipe_that_is_closed_ends_as_a_film_does(tmp_path: Path):
    source, thread, _ = piped_film(tmp_path, closing=True)
    assert source.camera
    with source.opened() as film:
        seen = list(film.frames)
    thread.join()
    assert len(seen) == 8


@pytest.mark.parametrize(("name", "number"), [("-", 0), ("/dev/stdin", 0), ("/dev/fd/{}", None)])
def test_a_pipe_that_was_closed_before_it_is_read_is_read_whole(name: str, number: int | None, tmp_path: Path):
    content = save_part(tmp_path / "a.ts", [image for image, _ in moving(1, 5)])
    reading, writing = os.pipe()
    os.write(writing, content)
    os.close(writing)
    before = None if number is None else os.dup(number)
    try:
        if number is not None:
            os.dup2(reading, number)
        with replace(FilmSource.named(name.format(reading)), patience=5.0).opened() as film:
            assert sum(1 for _ in film.frames) == 5
    finally:
        os.close(reading)
        if number is not None and before is not None:
            os.dup2(before, number)
            os.close(before)


def test_a_pipe_of_something_else_and_a_standard_input_of_nothing_are_told_so(tmp_path: Path):
    reading, writing = os.pipe()
    os.write(writing, b"no film" * 1000)
    os.close(writing)
    with (
        pytest.raises(ValueError, match=r"what came through the pipe cannot be read as a film \(.*MKV or MPEG-TS"),
        FilmSource.named(f"/dev/fd/{reading}").opened(),
    ):
        pass
    os.close(reading)
    nothing = os.open(os.devnull, os.O_RDONLY)
    with pytest.raises(ValueError, match=r"nothing is sent there .* cat FILM \| stackdepth video STACK - --out x\.mp4"):
        FilmSource.named(f"/dev/fd/{nothing}")
    os.close(nothing)


def test_a_film_through_a_pipe_is_written_and_no_error(job: Job, tmp_path: Path):
    save_part(tmp_path / "plain.ts", [image for image, _ in moving(1, 5)])
    out = tmp_path / "x.mp4"
    words = ("video", "meta-d", "-", "--out", str(out), "--cache-dir", str(job.cache))
    with subprocess.Popen(["cat", tmp_path / "plain.ts"], stdout=subprocess.PIPE) as cat:
        answer = subprocess.run(
            [sys.executable, "-m", "ensemble", *words], stdin=cat.stdout, capture_output=True, text=True, check=False
        )
    assert answer.returncode == 0, answer.stderr
    assert f"{out}: 5 frames, " in answer.stderr
    with av.open(str(out)) as made:
        assert made.streams.video[0].frames == 5


def test_a_camera_that_falls_silent_has_stopped(tmp_path: Path):
    source, thread, silent = piped_film(tmp_path, closing=False)
    seen = []
    with (
        replace(source, patience=0.5).opened() as film,
        pytest.raises(CameraStoppedError, match=r"the camera stopped after \d frames \(it sends nothing more\)"),
    ):
        seen.extend(film.frames)
    silent.set()
    thread.join()
    assert len(seen) >= 4


def test_a_pipe_without_a_writer_sends_nothing(tmp_path: Path):
    os.mkfifo(tmp_path / "camera")
    source = replace(FilmSource.named(str(tmp_path / "camera")), patience=0.3)
    with pytest.raises(ValueError, match=r"camera: the camera sends nothing"), source.opened():
        pass


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("begun", [True, False])
def test_a_silent_camera_is_stopped_by_a_signal(
    job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, begun: bool
):
    out, silent, last = tmp_path / "out.mp4", threading.Event(), threading.Event()
    if begun:
        _, thread, silent = piped_film(tmp_path, closing=False)
    else:
        os.mkfifo(tmp_path / "camera")
    read, sent = _Pipe.read, sent_of(tmp_path / "sent.mkv") if begun else b""
    received = [0]

    def reading(pipe: _Pipe, size: int) -> bytes:
        if received[0] == len(sent):
            last.set()
        found = read(pipe, size)
        received[0] += len(found)
        return found

    def interrupt() -> None:
        if last.wait(60):
            time.sleep(1.0)  # it has come to the silence
            os.kill(os.getpid(), number)

    monkeypatch.setattr(_Pipe, "read", reading)
    interrupting = threading.Thread(target=interrupt, daemon=True)
    interrupting.start()
    answer = call("video", "meta-d", tmp_path / "camera", "--out", out, "--cache-dir", job.cache)
    silent.set()
    interrupting.join()
    assert answer.status == 128 + number
    then = "the film until then is kept" if begun else "nothing of it is kept, the same command begins anew"
    assert answer.err.splitlines()[-1] == f"stopped by {signal.Signals(number).name}; {then}"
    assert out.exists() is begun
    if begun:
        thread.join()


@pytest.mark.slow
def test_a_film_that_was_cut_off_is_said(job: Job, tmp_path: Path):
    film, cut = tmp_path / "in.mkv", tmp_path / "cut.mkv"
    save_matroska(film, 40)
    cut.write_bytes(film.read_bytes()[: film.stat().st_size // 2])
    where = ("--cache-dir", job.cache)
    assert "cut off" not in done("video", "meta-d", film, "--out", tmp_path / "whole.mp4", *where).err
    told = done("video", "meta-d", cut, "--out", tmp_path / "half.mp4", *where).err
    assert re.search(r"cut\.mkv: its frames end after \d\.\d of 4\.0 s: was it cut off\?", told), told


@pytest.mark.parametrize("option", ["--out", "--depth"])
def test_a_film_never_takes_the_place_of_the_one_that_is_read(option: str, job: Job, tmp_path: Path):
    film = save_film(tmp_path / ("film.mp4" if option == "--out" else "film.mkv"), [room(1)[0]] * 3)
    before = film.read_bytes()
    (tmp_path / "here").symlink_to(tmp_path)
    places = {"--out": tmp_path / "new.mp4", option: tmp_path / "here" / film.name}
    words = [word for pair in places.items() for word in pair]
    answer = call("video", "meta-rgb+d", film, *words, "--cache-dir", job.cache)
    assert answer.status == 1
    assert "is the film itself, which would be lost; choose another name" in answer.err
    assert film.read_bytes() == before
    assert not (tmp_path / "new.mp4").exists()


@pytest.mark.slow
def test_a_film_of_a_stack_is_written_and_says_so(job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    frames = [image for number in (1, 2) for image, _ in moving(number, 6)]
    film, where = save_film(tmp_path / "in.mp4", frames), ("--cache-dir", job.cache)
    out = tmp_path / "out.mp4"
    answer = done("video", "meta-d", film, "--out", out, "--depth", tmp_path / "d.mkv", "--smooth", 1, *where)
    assert f"{out}: 12 frames, 1 cut, " in answer.err
    with av.open(str(out)) as made:
        assert (made.streams.video[0].width, made.streams.video[0].height, made.streams.video[0].frames) == (
            160,
            60 + LEAST_BAR,
            12,
        )
    short = done("video", "meta-d", film, "--out", out, "--seconds", 0.05, "--smooth", 1, *where)
    assert f"{out}: 1 frame, 0 cuts, " in short.err
    alone = done("video", "meta-d", film, "--out", out, "--alone", "--range", "1,5", "--seconds", 0.35, *where)
    assert "4 frames" in alone.err
    small = ("--width", 100, "--depth", tmp_path / "d.mkv")
    done("video", "meta-d", film, "--out", out, "--range", "1,5", "--seconds", 0.35, *small, *where)
    with av.open(str(out)) as made, av.open(str(tmp_path / "d.mkv")) as whole:
        assert (made.streams.video[0].width, made.streams.video[0].height) == (100, 38 + LEAST_BAR)
        assert (whole.streams.video[0].width, whole.streams.video[0].height) == (80, 60)
    assert "colours from 1.00 to 5.00 m in every frame" in alone.err
    source, thread, silent = piped_film(tmp_path, closing=False)
    monkeypatch.setattr(FilmSource, "named", lambda text: replace(source, patience=2.0))
    stopped = call("video", "meta-d", source.place, "--out", tmp_path / "camera.mp4", *where)
    silent.set()
    thread.join()
    assert stopped.status == 1
    said = re.search(r"stopped after (\d) frames \(it sends nothing more\); what it has sent is in (\S+)", stopped.err)
    assert said is not None
    assert said[2] == str(tmp_path / "camera.mp4")
    with av.open(str(tmp_path / "camera.mp4")) as made:
        assert made.streams.video[0].frames == int(said[1]) >= 4


BOTH = pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])


@BOTH
def test_a_film_that_is_stopped_leaves_nothing_and_the_same_command_goes_on(number: int, job: Job, tmp_path: Path):
    film = save_film(tmp_path / "in.mp4", [image for image, _ in moving(1, 12)])
    out = tmp_path / "out.mp4"
    out.write_bytes(b"the film of before")
    before = contents(tmp_path)
    words = ("video", "meta-d", film, "--out", out, "--depth", tmp_path / "d.mkv", "--cache-dir", job.cache)
    with signalled(DepthStack, "__call__", number, call=10):  # samples of the film, then its frames
        answer = call(*words)
    said = f"stopped by {signal.Signals(number).name}; nothing of it is kept, the same command begins anew"
    assert (answer.status, answer.out, answer.err.splitlines()[-1]) == (128 + number, "", said)
    assert "Traceback" not in answer.err
    assert contents(tmp_path) == before, "a film is there when it is whole"
    done(*words)
    for path in (out, tmp_path / "d.mkv"):
        with av.open(str(path)) as made:
            assert sum(1 for _ in made.decode(video=0)) == 12
    assert set(contents(tmp_path)) == {"in.mp4", "out.mp4", "d.mkv"}


@BOTH
def test_the_film_of_a_camera_that_is_stopped_is_whole_until_there(number: int, job: Job, tmp_path: Path):
    source, thread, _ = piped_film(tmp_path, closing=True)
    out = tmp_path / "out.mp4"
    with signalled(DepthStack, "__call__", number, call=5):
        answer = call("video", "meta-d", source.place, "--out", out, "--cache-dir", job.cache)
    thread.join()
    assert answer.status == 128 + number
    said = f"stopped by {signal.Signals(number).name}; the film until then is kept"
    assert answer.err.splitlines()[-1] == said
    assert f"{out}: 4 frames, " in answer.err
    with av.open(str(out)) as made:
        assert sum(1 for _ in made.decode(video=0)) == 4


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here (Debian package chromium)")
def test_a_browser_plays_the_film_in_its_colours(job: Job, tmp_path: Path):
    from playwright.sync_api import sync_playwright

    frames = [image for number in (1, 2) for image, _ in moving(number, 10)]
    film, out = save_film(tmp_path / "in.mp4", frames), tmp_path / "out.mp4"
    done("video", "meta-d", film, "--out", out, "--cache-dir", job.cache)
    page = tmp_path / "page.html"
    page.write_text('<!DOCTYPE html><body style="margin: 0"><video muted src="out.mp4"></video>', encoding="utf-8")
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        opened = browser.new_page(viewport={"width": 400, "height": 300})
        opened.goto(page.as_uri())
        opened.evaluate("document.querySelector('video').play()")
        opened.wait_for_function("document.querySelector('video').currentTime > 0.5")
        told = opened.evaluate(
            "(({videoWidth, videoHeight, duration, error}) => [videoWidth, videoHeight, duration, error])"
            "(document.querySelector('video'))"
        )
        opened.evaluate(
            "new Promise(done => { const video = document.querySelector('video'); video.pause();"
            " video.onseeked = () => requestAnimationFrame(() => requestAnimationFrame(done));"
            " video.currentTime = 1.55 })"
        )
        shown = opened.locator("video").screenshot()
        browser.close()
    assert told == [160, 60 + LEAST_BAR, 2, None]
    with Image.open(io.BytesIO(shown)) as picture:
        pixels = np.asarray(picture.convert("RGB"))[:60, :80].astype(int)
    assert np.abs(pixels - frames[15]).mean() < 8
    assert np.abs(pixels.mean(axis=(0, 1)) - frames[15].mean(axis=(0, 1))).max() < 3, "a wrong matrix or range shows"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--out", "x.avi"), "--out x.avi: expected a name that ends in .mp4"),
        (("--out", "x.mp4", "--depth", "x.png"), "--depth x.png: expected a name that ends in .mkv or .npz"),
        (("--out", "x.mp4", "--range", "3,1"), "--range '3,1': expected NEAR,FAR in metres"),
        (("--out", "x.mp4", "--smooth", "0"), "--smooth: expected a number"),
    ],
)
def test_mistakes_are_answered_before_anything_is_read(words: tuple[str, ...], said: str):
    answer = call("video", "nowhere.stack", "nowhere.mp4", *words)
    assert answer.status == 2
    assert said in answer.err
