"""The page in a real browser: what people do with it, what it refuses, and that it asks nobody else for anything."""

import asyncio
import io
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import gradio as gr
import numpy as np
import pytest
import trimesh
from command_lines import Job, done
from PIL import Image
from playwright.sync_api import Browser, BrowserContext, Locator, Page, Response, expect, sync_playwright

import ensemble
from ensemble.deploy.door import DepthStack
from ensemble.deploy.page.page import Open, Site, _Page
from ensemble.deploy.page.sessions import Sessions
from ensemble.deploy.page.turns import Turns

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
ROOT = Path(__file__).parents[3]
PATIENCE = 60_000.0
expect.set_options(timeout=PATIENCE)  # a machine may have more to do than to show this page
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here (Debian package chromium)"),
]


@dataclass(frozen=True)
class Server:
    url: str
    stack: Path
    temporary: Path
    process: subprocess.Popen[str]

    def left_behind(self) -> list[str]:
        """Files of visitors."""
        walked = os.walk(self.temporary)  # passes over folders that go meanwhile, at which rglob fails
        return sorted(name for folder, _, names in walked if "examples" not in Path(folder).parts for name in names)


@pytest.fixture(scope="module")
def server(job: Job, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("page")
    cache = job.copy_to(folder)
    done("meta", "save", "meta-rgb+d", folder / "kitchen.stack", "--cache-dir", cache)
    report = cache / "runs/tiny/meta-d/report.html"
    report.write_text("<!DOCTYPE html><title>report</title><p>a report</p>", encoding="utf-8")
    (folder / "tmp").mkdir()
    command = [sys.executable, "-m", "ensemble.view", folder / "kitchen.stack", "--port", 0, "--cache-dir", cache]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(folder / "tmp"), "STACKDEPTH_QUIET": "1"}
    process = subprocess.Popen([*map(str, command)], stderr=subprocess.PIPE, text=True, env=environment)
    assert process.stderr is not None
    said = next(line for line in process.stderr if line.startswith("page: "))
    address = re.search(r"http://\S+", said)
    assert address is not None, said
    yield Server(address.group(), folder / "kitchen.stack", folder / "tmp", process)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=60) == 143
    with process.stderr:
        assert "Traceback" not in process.stderr.read()
    assert not [path for path in (folder / "tmp").rglob("*.*") if path.is_file()], "the page leaves nothing"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """With a camera that sees what is dark on its left."""
    height, width, film = 240, 320, tmp_path_factory.mktemp("camera") / "seen.y4m"
    light, colours = np.full((height, width), 200, np.uint8), np.full(height * width // 2, 128, np.uint8)
    light[:, : width // 2] = 50
    frame = b"FRAME\n" + light.tobytes() + colours.tobytes()
    film.write_bytes(f"YUV4MPEG2 W{width} H{height} F30:1 Ip A1:1 C420jpeg\n".encode() + 5 * frame)
    camera = ["--use-fake-device-for-media-stream", f"--use-file-for-fake-video-capture={film}"]
    with sync_playwright() as started:
        flags = ["--no-sandbox", "--disable-gpu", "--enable-unsafe-swiftshader", *camera]
        browser = started.chromium.launch(executable_path=CHROMIUM, args=flags)
        yield browser
        browser.close()


@pytest.fixture
def visit(server: Server, browser: Browser) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1400, "height": 1000}, accept_downloads=True)
    page, foreign = opened(context, server)
    yield page
    context.close()
    assert foreign == [], "the page asked somebody else"


def opened(context: BrowserContext, server: Server) -> tuple[Page, list[str]]:
    page, foreign = context.new_page(), list[str]()
    page.set_default_timeout(PATIENCE)
    page.on("request", lambda asked: foreign.append(asked.url) if asked.url.startswith("http") else None)
    with page.expect_request(lambda asked: "/heartbeat/" in asked.url):  # begun when all that listens is there
        page.goto(server.url)
    expect(page.locator("#photograph")).to_be_visible()
    foreign[:] = [url for url in foreign if not url.startswith(server.url)]
    page.on("request", lambda asked: foreign.remove(asked.url) if asked.url.startswith(server.url) else None)
    return page, foreign


def photograph(folder: Path, *, seed: int = 0, size: tuple[int, int] = (120, 160)) -> Path:
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    path = folder / f"photo_{seed}.png"
    Image.fromarray(coarse).resize(size[::-1], Image.Resampling.BICUBIC).save(path)
    return path


def drop(page: Page, path: Path) -> None:
    page.set_input_files("#photograph input[type=file]", path)


def slider_sources(page: Page) -> list[str]:
    return [str(image.get_attribute("src")) for image in page.locator("#slider img").all()]


def answered(page: Page) -> AbstractContextManager[object]:
    """Waits until what is touched in this block is answered."""
    return page.expect_response(lambda answer: "/run/predict" in answer.url)


def dropped(page: Page, path: Path) -> list[str]:
    """Drop a photograph and wait for the pictures of it."""
    before = slider_sources(page)
    with answered(page):
        drop(page, path)
    changed(page, before)
    return slider_sources(page)


def changed(page: Page, before: list[str]) -> None:
    page.wait_for_function(
        "before => { const now = [...document.querySelectorAll('#slider img')].map(each => each.getAttribute('src'));"
        " return now.length === 2 && JSON.stringify(now) !== JSON.stringify(before) }",
        arg=before,
    )


def tab(page: Page, name: str) -> None:
    page.get_by_role("tab", name=name, exact=True).click()


def option(page: Page, group: str, name: str) -> Locator:
    return page.locator(f"#{group}").get_by_label(name, exact=True)


def test_a_photograph_shows_its_depth_with_a_scale_in_metres(visit: Page, tmp_path: Path):
    dropped(visit, photograph(tmp_path))
    legend = visit.locator("#legend")
    expect(legend).to_contain_text("depth, metres")
    ticks = [float(text.removesuffix(" m")) for text in legend.locator(".ticks span").all_inner_texts()]
    assert ticks == sorted(ticks)
    assert len(ticks) == 5
    handle = visit.locator("#slider .handle, #slider [role=slider], #slider .outer").first
    expect(handle).to_be_visible()
    for name in ("expected error", "disagreement", "weight of BTS"):
        before = slider_sources(visit)
        with answered(visit):
            option(visit, "layer", name).check()
        changed(visit, before)
        expect(legend).to_contain_text(name)


def test_a_photograph_by_the_camera_is_not_mirrored(server: Server, browser: Browser):
    context = browser.new_context(permissions=["camera"])
    page, _ = opened(context, server)
    page.get_by_label("Capture from camera").click()
    page.get_by_text("Click to Access Webcam").click()
    page.wait_for_function("() => document.querySelector('#photograph video')?.videoWidth > 0")
    with answered(page):
        page.get_by_label("capture photo").first.click()
    seen = page.locator("#slider img").first
    expect(seen).to_be_visible()
    picture = page.request.get(str(seen.get_attribute("src"))).body()
    context.close()
    pixels = np.asarray(Image.open(io.BytesIO(picture)).convert("L"))
    third = pixels.shape[1] // 3
    assert pixels[:, :third].mean() < 80 < 150 < pixels[:, -third:].mean()


def test_the_line_between_photograph_and_layer_moves_by_keyboard(visit: Page, tmp_path: Path):
    dropped(visit, photograph(tmp_path))
    line = visit.get_by_role("slider", name="Line between the photograph and the layer, per cent of the width")
    expect(line).to_have_attribute("aria-valuenow", "50")
    line.focus()
    for key, share in (("ArrowRight", 52), ("Shift+ArrowRight", 62), ("ArrowLeft", 60), ("Home", 3), ("End", 97)):
        visit.keyboard.press(key)  # Gradio keeps the line off the ends
        expect(line).to_have_attribute("aria-valuenow", str(share))
        box, within = line.bounding_box(), line.locator("..").bounding_box()
        assert box is not None
        assert within is not None
        assert 100 * (box["x"] + box["width"] / 2 - within["x"]) / within["width"] == pytest.approx(share, abs=0.6)
    assert [image.get_attribute("alt") for image in visit.locator("#examples img").all()] == [
        f"Generated room {number}" for number in (1, 2, 3)
    ]


def test_values_under_the_pointer_and_by_keyboard_are_those_of_the_stack(visit: Page, server: Server, tmp_path: Path):
    path = photograph(tmp_path)
    dropped(visit, path)
    with answered(visit):
        tab(visit, "Values")
    picture = visit.locator("#picture img")
    expect(picture).to_be_visible()
    box = picture.bounding_box()
    assert box is not None
    picture.click(position={"x": 0.25 * box["width"], "y": 0.75 * box["height"]})
    visit.wait_for_timeout(2000)  # the mouse tells its place as well, up to a pixel beside that of the click
    reading = visit.locator("#reading dl")
    expect(reading).to_have_attribute("aria-label", re.compile(r"column (3[89]|4[01]), row (8[89]|9[01])"))
    column, row = map(int, re.findall(r"\d+", str(reading.get_attribute("aria-label"))))
    with Image.open(path) as image:
        found = ensemble.load(server.stack, device="cpu")(image)
    assert found.error is not None
    expect(reading).to_contain_text(f"{found.depth[row, column]:.2f} m")
    expect(reading).to_contain_text(f"± {found.error[row, column]:.2f} m")
    best = int(found.weights[:, row, column].argmax())
    expect(reading).to_contain_text(
        f"{('AdaBins', 'BTS', 'LDRN')[best]} with {100 * found.weights[best, row, column]:.0f} %"
    )
    across = visit.locator("#across input[type=range]")
    across.focus()
    for _ in range(30):  # faster than the page answers: what comes last is what is shown
        visit.keyboard.press("ArrowRight")
    last = round(0.01 * float(across.input_value()) * 159)
    assert last > column + 40
    expect(reading).to_have_attribute("aria-label", re.compile(f"column {last},"))
    visit.mouse.move(box["x"] + 0.5 * box["width"], box["y"] + 0.5 * box["height"])
    across.focus()
    visit.keyboard.press("ArrowRight")
    last = round(0.01 * float(across.input_value()) * 159)
    expect(reading).to_have_attribute("aria-label", re.compile(f"column {last},"))
    visit.wait_for_timeout(1000)  # the place where the mouse rests would have been told again
    expect(reading).to_have_attribute("aria-label", re.compile(f"column {last},"))


def test_a_mouse_reads_values_without_a_click(visit: Page, tmp_path: Path):
    dropped(visit, photograph(tmp_path))
    with answered(visit):
        tab(visit, "Values")
    picture, reading = visit.locator("#picture img"), visit.locator("#reading dl")
    expect(reading).to_have_attribute("aria-label", re.compile("column 80, row 60"))
    picture.evaluate("image => image.decode()")  # before, it has no size
    box = picture.bounding_box()
    assert box is not None
    source = picture.get_attribute("src")
    visit.mouse.move(box["x"] + 0.25 * box["width"], box["y"] + 0.75 * box["height"], steps=5)
    expect(reading).to_have_attribute("aria-label", re.compile(r"column (39|4[01]), row (8[89]|9[01])"))
    assert picture.get_attribute("src") == source, "the cross stays where it was"
    visit.mouse.move(box["x"] - 40, box["y"] - 60)
    expect(reading).to_have_attribute("aria-label", re.compile("column 80, row 60"))


@pytest.mark.parametrize(
    ("millimetres", "degrees", "said"),
    [
        (240, "8.2", "8.25 degrees."),
        (3, "160.3", "160 degrees."),
        (1200, "2", "1.65 degrees. Taken for 2, an end"),
    ],
)
def test_lenses_out_of_the_ordinary_keep_their_metres(
    visit: Page, tmp_path: Path, millimetres: int, degrees: str, said: str
):
    bad, far = tmp_path / "text.jpg", tmp_path / "far.jpg"
    bad.write_text("no picture")
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0xA405] = millimetres  # of a 35-mm film: 36 mm wide
    with Image.open(photograph(tmp_path)) as image:
        image.save(far, exif=exif)
    with answered(visit):  # Gradio makes components of a page anew after what was not taken
        drop(visit, bad)
    expect(visit.locator("#complaint")).to_be_visible()
    visit.get_by_label("Remove Image").or_(visit.get_by_label("Clear")).first.click()
    dropped(visit, far)
    fov, legend = visit.locator("#fov input[type=number]"), visit.locator("#legend .ticks")
    expect(fov).to_have_value(degrees)
    expect(visit.locator("#lens")).to_contain_text(f"By EXIF {said}")
    metres = legend.inner_text()
    with answered(visit) as asked:
        tab(visit, "Values")
    assert asked.value.status == 200
    expect(visit.locator("#reading dl")).to_be_visible()
    assert legend.inner_text() == metres


def test_learners_are_switched_on_and_off(visit: Page, server: Server, tmp_path: Path):
    path = photograph(tmp_path)
    stack = dropped(visit, path)
    with answered(visit):
        option(visit, "learners", "AdaBins").uncheck()
    changed(visit, stack)
    two = slider_sources(visit)
    expect(option(visit, "layer", "expected error")).to_have_count(0)  # it was learnt of the whole stack
    with answered(visit):
        option(visit, "learners", "LDRN").uncheck()
    changed(visit, two)
    expect(option(visit, "preset", "BTS")).to_be_checked()
    with answered(visit):
        tab(visit, "Values")
    with Image.open(path) as image:
        own = ensemble.load(server.stack, device="cpu")(image).learners["bts"]
    centre = own[round(0.5 * 119), round(0.5 * 159)]
    expect(visit.locator("#reading")).to_contain_text(f"{centre:.2f} m")
    with answered(visit):
        tab(visit, "Layer")
    before = slider_sources(visit)
    option(visit, "preset", "stack").check()
    changed(visit, before)
    expect(option(visit, "learners", "AdaBins")).to_be_checked()


def test_files_hold_what_is_shown(visit: Page, server: Server, tmp_path: Path):
    path = photograph(tmp_path)
    dropped(visit, path)
    tab(visit, "Files")
    content = {}
    for kind in ("npy", "png", "ply", "glb"):
        expect(visit.locator(f"#file-{kind}")).to_be_enabled()
        with visit.expect_download() as started:
            visit.locator(f"#file-{kind}").click()
        content[kind] = Path(started.value.path()).read_bytes()
    with Image.open(path) as image:
        found = ensemble.load(server.stack, device="cpu")(image)
    np.testing.assert_allclose(np.load(io.BytesIO(content["npy"])), found.depth, rtol=1e-5)
    with Image.open(io.BytesIO(content["png"])) as picture:
        np.testing.assert_allclose(np.asarray(picture), 1000 * found.depth, atol=0.6)
    points = trimesh.load(io.BytesIO(content["ply"]), file_type="ply")
    np.testing.assert_allclose(points.vertices[:, 2].reshape(120, 160), found.depth, rtol=1e-5)
    (upright,) = trimesh.load(io.BytesIO(content["glb"]), file_type="glb").geometry.values()
    np.testing.assert_array_equal(upright.vertices.astype(np.float32), points.vertices.astype(np.float32))


def test_points_are_shown_in_space(visit: Page, tmp_path: Path):
    dropped(visit, photograph(tmp_path))
    with points_shown(visit) as asked:
        tab(visit, "3-D")
    before = vertices(asked.value)
    assert 0 < len(before) <= 200_000
    canvas = visit.locator("#space canvas")
    expect(canvas).to_be_visible()
    expect(canvas).to_have_attribute("tabindex", "0")
    expect(canvas).to_have_attribute("aria-label", re.compile("arrow keys"))
    expect(visit.locator("#layer")).to_be_hidden()  # the scene has the colours of the photograph
    with points_shown(visit) as asked:
        option(visit, "preset", "BTS").check()
    of_one = vertices(asked.value)
    assert not np.array_equal(of_one, before)
    with points_shown(visit) as asked:
        drop(visit, photograph(tmp_path, seed=1, size=(100, 160)))
    assert len(vertices(asked.value)) != len(of_one)


def points_shown(page: Page) -> AbstractContextManager[Any]:
    return page.expect_response(re.compile(r"space-\d+\.glb"))


def vertices(answer: Response) -> np.ndarray:
    (points,) = trimesh.load(io.BytesIO(answer.body()), file_type="glb").geometry.values()
    return points.vertices


def slow(page: Page, milliseconds: int) -> None:
    """Let every answer take so long on its way."""
    line = page.context.new_cdp_session(page)
    line.send("Network.enable")
    conditions = {"offline": False, "latency": milliseconds, "downloadThroughput": -1, "uploadThroughput": -1}
    line.send("Network.emulateNetworkConditions", conditions)


def taken_home(page: Page, kind: str) -> np.ndarray:
    with page.expect_download() as started:
        page.locator(f"#file-{kind}").click()
    return np.load(started.value.path())


def test_files_are_of_the_preset_that_was_chosen_before_they_were_asked_for(
    visit: Page, server: Server, tmp_path: Path
):
    path = photograph(tmp_path)
    dropped(visit, path)
    with Image.open(path) as image:
        own = ensemble.load(server.stack, device="cpu")(image).learners["bts"]
    slow(visit, 150)
    option(visit, "preset", "BTS").check()
    tab(visit, "Files")  # before the preset is answered
    for _ in range(3):  # and after
        expect(visit.locator("#file-npy")).to_be_enabled()
        np.testing.assert_allclose(taken_home(visit, "npy"), own, rtol=1e-5)
        visit.wait_for_timeout(250)


def clicked_quickly(page: Page, path: Path, group: str, *names: str) -> None:
    """Drop a photograph, then click on these faster than a slow line answers."""
    dropped(page, path)
    slow(page, 300)
    for name in names:
        option(page, group, name).click()
        page.wait_for_timeout(100)


def test_no_click_on_a_learner_is_lost_on_a_slow_line(visit: Page, tmp_path: Path):
    clicked_quickly(visit, photograph(tmp_path), "learners", "AdaBins", "BTS")
    expect(option(visit, "preset", "LDRN")).to_be_checked()
    assert [option(visit, "learners", name).is_checked() for name in ("AdaBins", "BTS", "LDRN")] == [False, False, True]
    tab(visit, "Values")
    expect(visit.locator("#reading")).to_contain_text(re.compile(r"\(off\).*\(off\)", re.S))


def test_no_click_on_a_layer_is_lost_on_a_slow_line(visit: Page, tmp_path: Path):
    clicked_quickly(visit, photograph(tmp_path), "layer", "expected error", "disagreement")
    expect(visit.locator("#legend")).to_contain_text("disagreement")
    expect(option(visit, "layer", "disagreement")).to_be_checked()


def test_files_of_the_photograph_before_go_at_once(visit: Page, tmp_path: Path):
    dropped(visit, photograph(tmp_path))
    tab(visit, "Files")
    expect(visit.locator("#file-npy")).to_be_enabled()
    slow(visit, 500)
    with answered(visit):
        drop(visit, photograph(tmp_path, seed=1))
        expect(visit.locator("#file-npy")).to_be_disabled()
    expect(visit.locator("#file-npy")).to_be_enabled()
    with visit.expect_download() as started:
        visit.locator("#file-npy").click()
    assert started.value.suggested_filename == "photo_1_depth.npy"


def test_bad_files_are_a_sentence(visit: Page, tmp_path: Path):
    complaint = visit.locator("#complaint")
    text, cut, large = (tmp_path / name for name in ("text.png", "cut.png", "large.png"))
    text.write_bytes(b"this is no picture")
    whole = photograph(tmp_path).read_bytes()
    cut.write_bytes(whole[: len(whole) // 2])
    Image.new("L", (8000, 6400)).save(large)
    for path, said in (
        (text, "text.png: is no image, found 18 bytes"),
        (cut, "cut.png: damaged or cut short at"),
        (large, "large.png: is larger than the limit of 50000000 pixels"),
    ):
        drop(visit, path)
        expect(complaint).to_contain_text(f"Not taken. {said}")
        assert "Traceback" not in visit.content()
        visit.locator("#photograph").get_by_label("Remove Image").or_(
            visit.locator("#photograph button[aria-label=Clear]")
        ).first.click()
        expect(complaint).to_be_hidden()
    heavy = tmp_path / "heavy.png"
    heavy.write_bytes(whole + bytes(26 * 2**20))
    drop(visit, heavy)
    expect(visit.get_by_text(re.compile("maximum|exceed|too large", re.I)).first).to_be_visible()
    dropped(visit, photograph(tmp_path))


def test_two_people_see_their_own_and_take_it_with_them(server: Server, browser: Browser, tmp_path: Path):
    contexts = [browser.new_context() for _ in range(2)]
    pages = [opened(context, server)[0] for context in contexts]
    for number, page in enumerate(pages):
        drop(page, photograph(tmp_path, seed=number + 1))
    shown = []
    for page in pages:
        changed(page, [])
        first = page.locator("#slider img").first
        shown.append(page.request.get(str(first.get_attribute("src"))).body())
    means = [np.asarray(Image.open(io.BytesIO(content)).convert("RGB")).mean(axis=(0, 1)) for content in shown]
    wanted = [np.asarray(Image.open(photograph(tmp_path, seed=number))).mean(axis=(0, 1)) for number in (1, 2)]
    assert {tuple(np.abs(np.array(wanted) - mean).sum(axis=1).round(-1)).index(0) for mean in means} == {0, 1}
    assert any("photo_1" in name for name in server.left_behind())
    for context in contexts:
        context.close()
    for _ in range(200):
        if not server.left_behind():
            break
        browser.new_context().close()  # gives the server its turn
    assert server.left_behind() == []


def test_an_example_is_there_for_whoever_comes_next(server: Server, browser: Browser):
    for _ in range(2):
        context = browser.new_context()
        page, _ = opened(context, server)
        with answered(page):
            page.locator("#given button.gallery-item, #given .gallery button").first.click()
        expect(page.locator("#slider img").first).to_be_visible()
        context.close()


def test_no_view_that_is_typed_fails(visit: Page, tmp_path: Path):
    dropped(visit, photograph(tmp_path))
    statuses = list[int]()
    visit.on("response", lambda answer: statuses.append(answer.status) if "/run/predict" in answer.url else None)
    for typed in ("900", "", "70"):
        before = len(statuses)
        visit.locator("#fov input[type=number]").fill(typed)
        for _ in range(100):  # it asks for the layer, and for the hint to go
            if len(statuses) >= before + 2:
                break
            visit.wait_for_timeout(100)
    assert statuses == [200] * 6


def test_a_view_that_was_left_is_the_one_that_metres_follow(visit: Page, tmp_path: Path):
    dropped(visit, photograph(tmp_path))
    fov, legend = visit.locator("#fov input[type=number]"), visit.locator("#legend .ticks")
    own, metres = fov.input_value(), legend.inner_text()
    fov.fill("")
    fov.blur()
    expect(fov).to_have_value(own)
    expect(legend).to_have_text(metres, use_inner_text=True)
    fov.fill("400")
    fov.blur()
    expect(fov).to_have_value("170")
    with answered(visit):
        tab(visit, "Files")
    expect(visit.locator("#file-png")).to_contain_text("16-bit PNG in mm")
    fov.fill("2")
    fov.blur()
    expect(visit.locator("#file-png")).to_contain_text("16-bit PNG in 1/256 m")


def test_files_have_the_metres_of_a_view_that_is_typed_while_their_tab_opens(visit: Page, tmp_path: Path):
    dropped(visit, photograph(tmp_path))
    tab(visit, "Files")  # files are made for a while
    fov = visit.locator("#fov input[type=number]")
    fov.fill("2")
    fov.blur()
    expect(visit.locator("#file-png")).to_contain_text("16-bit PNG in 1/256 m")


def test_what_is_typed_beyond_a_slider_is_its_end(visit: Page, tmp_path: Path):
    dropped(visit, photograph(tmp_path))
    number = visit.locator("#across input[type=number]")
    tab(visit, "Values")
    expect(visit.locator("#reading")).to_contain_text("depth")
    for typed in ("900", ""):
        with answered(visit) as asked:
            number.fill(typed)
        assert asked.value.status == 200
    visit.locator("#learners input").first.wait_for()
    for box in visit.locator("#learners input").all():
        with answered(visit):
            box.click()
    expect(visit.locator("#learners input:checked")).to_have_count(3)  # the last one off: all are on again


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_shows_it_without_scrolling_sideways(server: Server, browser: Browser, tmp_path: Path, scheme: str):
    context = browser.new_context(viewport={"width": 390, "height": 844}, color_scheme=scheme, has_touch=True)  # pyright: ignore[reportArgumentType]
    page, _ = opened(context, server)
    dropped(page, photograph(tmp_path))
    for name in ("Layer", "Values"):
        if page.get_by_role("tab", name=name, exact=True).is_visible():
            tab(page, name)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
    dark = page.evaluate(
        "getComputedStyle(document.body).backgroundColor.match(/\\d+/g).slice(0, 3).every(v => v < 60)"
    )
    assert dark == (scheme == "dark")
    context.close()


def test_the_page_is_for_this_machine_and_lists_its_reports(visit: Page, server: Server):
    tab(visit, "About")
    link = visit.locator("#reports a").first
    expect(link).to_have_text("runs/tiny/meta-d")
    assert "a report" in visit.request.get(f"{server.url}{link.get_attribute('href')}").text()
    expect(visit.locator("#card")).to_contain_text("Limits")
    foreign = visit.request.get(server.url, headers={"host": "elsewhere.example"})
    assert (foreign.status, foreign.text()) == (403, "This page is for this machine alone.")


def test_networks_look_once_at_a_photograph_that_is_told_twice(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    networks, seen = Turns(), []
    site = Site(ensemble.load(server.stack, device="cpu"), None, [], Sessions(tmp_path), "", networks=networks)
    see = Site.see
    monkeypatch.setattr(Site, "see", lambda site, path: seen.append(path) or see(site, path))
    with gr.Blocks() as blocks:
        whole = _Page(site, blocks)
    sent = photograph(tmp_path)
    controls = (Open(), list(site.titles), "stack", "depth", 60.0, True, 50, 50)
    request = cast(gr.Request, SimpleNamespace(session_hash="visitor"))

    async def twice() -> list[Any]:
        return await asyncio.gather(*(whole.take(request, str(sent), *controls) for _ in range(2)))

    with ThreadPoolExecutor(1) as threads:
        answers = threads.submit(asyncio.run, twice())
        answers.add_done_callback(lambda _: networks.end())
        networks.work()
    assert seen == [sent]
    one, other = answers.result()
    assert one[:6] == other[:6]
    assert all(Path(picture).is_file() for picture in one[4])


def test_a_visitor_who_waits_when_the_page_is_closed_reads_so_and_the_terminal_has_no_traceback(tmp_path: Path):
    networks = Turns()
    site = Site(cast(DepthStack, None), None, [], Sessions(tmp_path, tmp_path), "", networks=networks)
    networks.end()
    networks.work()
    with pytest.raises(gr.Error) as told:
        site.see(photograph(tmp_path))
    assert (told.value.message, told.value.print_exception) == ("the page is closed", False)
