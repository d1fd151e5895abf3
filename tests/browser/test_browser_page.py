"""The page of docs/browser in a headless Chromium: the metres of ONNX Runtime on this machine, keys, no network."""

import functools
import shutil
import threading
from collections.abc import Iterator
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

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed"),
    pytest.mark.skipif(not (PAGE / "vendor").is_dir(), reason="onnxruntime-web is not there: make browser brings it"),
]


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page with a small student whose depth varies, and a photograph of another shape."""
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
    waves = np.sin(np.linspace(0, 9, 133))[None, :, None] * np.cos(np.linspace(0, 7, 171))[:, None, None]
    noise = np.random.default_rng(0).integers(-20, 20, (171, 133, 3))
    Image.fromarray(np.clip(128 + 100 * waves + noise, 0, 255).astype(np.uint8)).save(folder.parent / "photo.png")
    return folder


@pytest.fixture
def server(site: Path) -> Iterator[ThreadingHTTPServer]:
    found = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(site)))
    thread = threading.Thread(target=found.serve_forever, daemon=True)
    thread.start()
    yield found
    found.shutdown()
    found.server_close()
    thread.join()


@pytest.fixture
def page(server: ThreadingHTTPServer) -> Iterator["playwright.Page"]:
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        opened = browser.new_page(viewport={"width": 1400, "height": 900})
        told: list[str] = []
        opened.on("pageerror", lambda error: told.append(str(error)))
        opened.goto(f"http://127.0.0.1:{server.server_port}/")
        yield opened
        browser.close()
        assert told == []


def shown(page: "playwright.Page", photograph: Path) -> np.ndarray:
    page.set_input_files("#file", photograph)
    page.wait_for_function("stackdepth.shown() !== null", timeout=60_000)
    rows, columns, metres = page.evaluate(
        "(({rows, columns, metres}) => [rows, columns, [...metres]])(stackdepth.shown())"
    )
    return np.array(metres, np.float32).reshape(rows, columns)


def test_metres_are_those_of_the_runtime_here(site: Path, page: "playwright.Page"):
    photograph = site.parent / "photo.png"
    expected = ExportedStack.open(site / "student.onnx")(Image.open(photograph)).depth
    found = shown(page, photograph)
    assert np.ptp(expected) > 10 * PARITY
    np.testing.assert_allclose(found, expected, rtol=0, atol=PARITY)
    assert page.text_content("#facts dd") == "a student (FastDepth), fp32"


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


def test_it_works_without_a_server_after_the_first_visit(
    site: Path, server: ThreadingHTTPServer, page: "playwright.Page"
):
    page.evaluate("navigator.serviceWorker.ready.then(() => true)")
    page.wait_for_function("navigator.serviceWorker.controller !== null")
    server.shutdown()
    server.server_close()
    page.reload()
    assert shown(page, site.parent / "photo.png").shape == (171, 133)


def test_what_is_no_photograph_is_said(site: Path, page: "playwright.Page"):
    shown(page, site.parent / "photo.png")
    page.set_input_files("#file", site / "page.css")
    page.wait_for_selector("#status.error")
    assert "This photograph could not be read" in page.inner_text("#status")
    assert page.is_hidden("#result"), "depth of the photograph before would pass for that of this one"


def test_a_page_from_a_disk_says_what_to_do(site: Path):
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        opened = browser.new_page()
        opened.goto((site / "index.html").as_uri())
        opened.wait_for_selector("#status.error")
        assert "python -m http.server" in opened.inner_text("#status")
        browser.close()
