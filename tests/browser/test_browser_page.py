"""The page of docs/browser in a headless Chromium: the metres of ONNX Runtime on this machine, keys, no network."""

import base64
import functools
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import ensemble
from base_learners.encoders.build import build_encoder
from base_learners.fastdepth import FastDepth
from ensemble.deploy.export.module import Leaving
from ensemble.deploy.export.onnx_file import onnx_model, save_onnx
from ensemble.deploy.network import LearnerNetwork, StackNetwork
from ensemble.deploy.runtime import ExportedStack
from ensemble.deploy.runtime.header import ExportedLearner, ExportHeader
from ensemble.settings.layers import Choice, learner_settings

PAGE = Path(ensemble.__file__).parents[1] / "docs" / "browser"
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
SIZE = (64, 96)
PARITY = 1e-3
"""Metres."""
DEPTH_OF = """async ([network, rows, columns, pixels]) => {
  const { openNetwork } = await import(new URL("network.js", location.href).href);
  const bytes = new Uint8Array(await (await fetch(network)).arrayBuffer());
  const data = Uint8Array.from(atob(pixels), (letter) => letter.charCodeAt(0));
  const { depthOf } = await openNetwork(ort, bytes);
  return [...(await depthOf({ data, width: columns, height: rows })).metres];
}"""
"""Of an image in RGBA, by one of the networks beside the page."""

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed"),
    pytest.mark.skipif(not (PAGE / "vendor").is_dir(), reason="onnxruntime-web is not there: make browser brings it"),
]


def picture(rows: int, columns: int) -> np.ndarray:
    """Waves and noise [rows columns 3]."""
    waves = np.sin(np.linspace(0, 9, columns))[None, :, None] * np.cos(np.linspace(0, 7, rows))[:, None, None]
    noise = np.random.default_rng(0).integers(-20, 20, (rows, columns, 3))
    return np.clip(128 + 100 * waves + noise, 0, 255).astype(np.uint8)


def save_convolution(header: ExportHeader, path: Path, *, bias: float) -> None:
    """A file of open size that takes a moment to make: depth is one convolution of the image, from ``bias`` up."""
    onnx = pytest.importorskip("onnx", reason="onnx is not installed")
    weights = np.random.default_rng(0).uniform(0, 10 / (255 * 75), (1, 3, 5, 5)).astype(np.float32)
    graph = onnx.helper.make_graph(
        [
            onnx.helper.make_node("Cast", ["image"], ["numbers"], to=onnx.TensorProto.FLOAT),
            onnx.helper.make_node("Conv", ["numbers", "weights", "bias"], ["depth"], pads=[2, 2, 2, 2]),
        ],
        "convolution",
        [onnx.helper.make_tensor_value_info("image", onnx.TensorProto.UINT8, [1, 3, "rows", "columns"])],
        [onnx.helper.make_tensor_value_info("depth", onnx.TensorProto.FLOAT, [1, 1, "rows", "columns"])],
        [
            onnx.numpy_helper.from_array(weights, "weights"),
            onnx.numpy_helper.from_array(np.array([bias], np.float32), "bias"),
        ],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=10)
    save_onnx(model, replace(header, size=None, outputs=("depth",)), path)


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page with a small student whose depth varies, two more networks, and photographs of other shapes."""
    folder = tmp_path_factory.mktemp("browser") / "site"
    shutil.copytree(PAGE, folder, ignore=shutil.ignore_patterns("node_modules", "*.onnx"))
    torch.manual_seed(0)
    encoder = build_encoder("lcnet_050", weights="none")
    settings = learner_settings("fastdepth", Choice(kind="rooms", assignments=("encoder.weights=none",)))
    network = StackNetwork(
        ["fastdepth"], [LearnerNetwork([FastDepth(encoder, widths=(64, 32, 16, 16, 8)).eval()], [settings])], settings
    ).flip_averaging(False)
    leaving = Leaving(network, SIZE, torch.uint8)
    header = ExportHeader(
        name="a student",
        learners=(ExportedLearner("fastdepth", "FastDepth"),),
        pixels="uint8",
        size=SIZE,
        stride=32,
        trained_size=SIZE,
        depth_range=(0.001, 10.0),
        focal=100.0,
        field_of_view=60.0,
        outputs=leaving.outputs,
        precision="fp32",
        scores=None,
        licence="code: Apache-2.0",
        versions={},
    )
    save_onnx(onnx_model(leaving, SIZE, open_size=False, stride=32), header, folder / "student.onnx")
    save_convolution(header, folder / "open.onnx", bias=1.0)
    save_convolution(header, folder / "blind.onnx", bias=np.nan)
    Image.fromarray(picture(171, 133)).save(folder.parent / "photo.png")
    clear = 255 * np.random.default_rng(0).integers(0, 2, (90, 140, 1), np.uint8)
    Image.fromarray(np.dstack([picture(90, 140), clear])).save(folder.parent / "clear.png")
    return folder


@pytest.fixture(scope="module")
def browser() -> Iterator["playwright.Browser"]:
    with playwright.sync_playwright() as started:
        found = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield found
        found.close()


@contextmanager
def served(folder: Path) -> Iterator[ThreadingHTTPServer]:
    found = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
    thread = threading.Thread(target=found.serve_forever, daemon=True)
    thread.start()
    yield found
    found.shutdown()
    found.server_close()
    thread.join()


@contextmanager
def visitor(browser: "playwright.Browser") -> Iterator["playwright.Page"]:
    """A page of somebody who was never here."""
    context = browser.new_context(viewport={"width": 1400, "height": 900})
    opened = context.new_page()
    told: list[str] = []
    opened.on("pageerror", lambda error: told.append(str(error)))
    yield opened
    context.close()
    assert told == []


@pytest.fixture
def page(site: Path, browser: "playwright.Browser") -> Iterator["playwright.Page"]:
    with served(site) as server, visitor(browser) as opened:
        opened.goto(f"http://127.0.0.1:{server.server_port}/")
        yield opened


def shown(page: "playwright.Page", photograph: Path) -> np.ndarray:
    page.evaluate("window.before = stackdepth.shown()")
    page.set_input_files("#file", photograph)
    page.wait_for_function("stackdepth.shown() !== before", timeout=60_000)
    rows, columns, metres = page.evaluate(
        "(({rows, columns, metres}) => [rows, columns, [...metres]])(stackdepth.shown())"
    )
    return np.array(metres, np.float32).reshape(rows, columns)


def test_metres_are_those_of_the_runtime_here(site: Path, page: "playwright.Page"):
    """Of a photograph, and of one whose transparent pixels lie on white."""
    for name in ("photo.png", "clear.png"):
        expected = ExportedStack.open(site / "student.onnx")(Image.open(site.parent / name)).depth
        found = shown(page, site.parent / name)
        assert np.ptp(expected) > 10 * PARITY
        np.testing.assert_allclose(found, expected, rtol=0, atol=PARITY, err_msg=name)
    assert page.text_content("#facts dd") == "a student (FastDepth), fp32"


def test_images_of_every_shape_are_seen_as_the_runtime_here_sees_them(site: Path, page: "playwright.Page"):
    """Files of one size and of any; strips are seen smaller, and a long one has more weights than calls arguments."""
    wide, portrait, strip, long = (90, 160), (160, 90), (20, 640), (4, 60_000)
    for network, shapes in {"student.onnx": (wide, portrait), "open.onnx": (SIZE, portrait, strip, long)}.items():
        stack = ExportedStack.open(site / network)
        for rows, columns in shapes:
            pixels = np.dstack([picture(rows, columns), np.full((rows, columns, 1), 255, np.uint8)])
            found = page.evaluate(DEPTH_OF, [network, rows, columns, base64.b64encode(pixels.tobytes()).decode()])
            expected = stack(pixels[..., :3].copy()).depth
            assert np.ptp(expected) > 10 * PARITY
            found = np.array(found, np.float32).reshape(rows, columns)
            np.testing.assert_allclose(found, expected, rtol=0, atol=PARITY, err_msg=f"{network} {rows}x{columns}")
    clear = base64.b64encode(bytes(range(4)) * 4).decode()
    with pytest.raises(playwright.Error, match="found a transparent pixel; expected an image that was drawn on white"):
        page.evaluate(DEPTH_OF, ["open.onnx", 2, 2, clear])


def test_photograph_and_depth_are_those_of_one_file(site: Path, page: "playwright.Page"):
    """The first of two is decoded behind the second."""
    page.evaluate("""() => {
      const decode = createImageBitmap, held = new Promise((done) => { window.release = done; });
      window.createImageBitmap = (...given) => {
        const decoded = decode(...given);
        return window.first ? decoded : (window.first = held.then(() => decoded));
      };
    }""")
    page.set_input_files("#file", site.parent / "photo.png")
    page.wait_for_function("Boolean(window.first)", timeout=60_000)
    found = shown(page, site.parent / "clear.png")
    page.evaluate("release(); first.then(() => new Promise((done) => setTimeout(done)))")
    sides = page.evaluate("(({width, height}) => [height, width])(document.getElementById('photo'))")
    assert tuple(sides) == found.shape == (90, 140)


def test_arrow_keys_read_the_depth(site: Path, page: "playwright.Page"):
    found = shown(page, site.parent / "photo.png")
    rows, columns = found.shape
    page.focus("#depth")
    middle = found[rows // 2, columns // 2]
    assert page.inner_text("#reading") == f"{middle:.2f} m"
    for _ in range(3):
        page.keyboard.press("Shift+ArrowLeft")
    page.keyboard.press("ArrowDown")
    there = found[rows // 2 + 1, columns // 2 - 3 * round(columns / 10)]
    assert page.inner_text("#reading") == f"{there:.2f} m"
    ticks = page.locator("#ticks li").all_inner_texts()
    assert float(ticks[0].split()[0]) < float(ticks[-1].split()[0])


def test_it_works_without_a_server_after_the_first_visit(site: Path, tmp_path: Path, browser: "playwright.Browser"):
    """With the network that was asked for, where there is no other one."""
    for each in site.iterdir():
        if each.name not in ("student.onnx", "blind.onnx"):
            (tmp_path / each.name).symlink_to(each)
    with served(tmp_path) as server, visitor(browser) as page:
        page.goto(f"http://127.0.0.1:{server.server_port}/?network=open.onnx")
        page.wait_for_selector("#kept")
        page.wait_for_function("navigator.serviceWorker.controller !== null")
        server.shutdown()
        server.server_close()
        page.reload()
        assert shown(page, site.parent / "photo.png").shape == (171, 133)
        page.goto(page.url.replace("open", "other"))
        page.wait_for_selector("#status.error")
        assert "other.onnx: no server lets it be read, and no earlier visit kept it" in page.inner_text("#status")


def test_what_fails_about_the_network_is_said_of_the_network(site: Path, page: "playwright.Page"):
    address = page.url
    page.goto(f"{address}?network=none.onnx")
    page.wait_for_selector("#status.error")
    page.set_input_files("#file", site.parent / "photo.png")
    page.evaluate("new Promise((done) => setTimeout(done))")
    missing = "none.onnx: there is no such file; python -m ensemble.export onnx makes one"
    assert page.inner_text("#status") == missing, "nothing is wrong with the photograph"
    page.goto(f"{address}?network=blind.onnx")
    page.set_input_files("#file", site.parent / "photo.png")
    page.wait_for_selector("#status.error")
    assert "The network found no depth in this photograph (depth is not finite" in page.inner_text("#status")


def test_without_its_runtime_the_page_names_the_command(site: Path, browser: "playwright.Browser"):
    with served(site) as server, visitor(browser) as page:
        page.route("**/vendor/*", lambda route: route.fulfill(status=404))
        page.goto(f"http://127.0.0.1:{server.server_port}/")
        page.wait_for_selector("#status.error")
        assert "there is no ONNX Runtime; make browser brings it" in page.inner_text("#status")


def test_what_is_no_photograph_is_said(site: Path, page: "playwright.Page"):
    shown(page, site.parent / "photo.png")
    page.set_input_files("#file", site / "page.css")
    page.wait_for_selector("#status.error")
    assert "This photograph could not be read" in page.inner_text("#status")
    assert page.is_hidden("#result"), "depth of the photograph before would pass for that of this one"


def test_a_page_from_a_disk_says_what_to_do(site: Path, browser: "playwright.Browser"):
    with visitor(browser) as opened:
        opened.goto((site / "index.html").as_uri())
        opened.wait_for_selector("#status.error")
        assert "python -m http.server" in opened.inner_text("#status")
