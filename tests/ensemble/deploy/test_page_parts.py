"""Parts of the page without a browser: what is fused of some learners, who may come, whose files stay."""

import asyncio
import base64
import json
import os
import shutil
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from starlette.requests import ClientDisconnect

from ensemble.deploy.page.guard import Guard, knows
from ensemble.deploy.page.intake import MOST_BYTES, Intake
from ensemble.deploy.page.sessions import Sessions
from ensemble.deploy.page.sight import Choice, Sight, chosen_learners, fused, shared
from ensemble.deploy.page.turns import ClosedError, Turns
from ensemble.deploy.page.wording import legend, reading, refused, without_front_matter
from ensemble.deploy.runtime.prediction import Prediction

NAMES = ("A", "B", "C")
ALL = Choice(NAMES)


def sight(*, logs: bool = False, size: tuple[int, int] = (6, 8)) -> Sight:
    generator = np.random.default_rng(0)
    logits = generator.normal(size=(3, *size)).astype(np.float32)
    weights = np.exp(logits) / np.exp(logits).sum(axis=0)
    depths = generator.uniform(1, 6, (3, *size)).astype(np.float32)
    whole = fused(depths, weights, logs=logs)
    said = {"depth": whole[None], "error": (0.1 * whole).astype(np.float32)[None], "weights": weights}
    found = Prediction({**said, "learners": depths}, NAMES, size, lambda maps, _: maps)
    return Sight(generator.integers(0, 256, (*size, 3), dtype=np.uint8), found, logs)


@pytest.mark.parametrize("logs", [False, True])
def test_two_of_three_learners_share_as_a_softmax_over_them_would(logs: bool):
    generator = np.random.default_rng(1)
    logits = generator.normal(size=(3, 4, 5))
    whole = np.exp(logits) / np.exp(logits).sum(axis=0)
    two = np.exp(logits[1:]) / np.exp(logits[1:]).sum(axis=0)
    np.testing.assert_allclose(shared(whole[1:]), two)
    seen = sight(logs=logs)
    of_all, of_one = seen.depth(ALL), seen.depth(Choice(("B",)))
    np.testing.assert_array_equal(of_all, seen.found.depth)
    np.testing.assert_allclose(of_one, seen.found.learners["B"], rtol=1e-6)
    some = seen.depth(Choice(("A", "C")))
    own = np.stack([seen.found.learners[name] for name in ("A", "C")])
    assert ((own.min(axis=0) <= some * (1 + 1e-6)) & (some <= own.max(axis=0) * (1 + 1e-6))).all()


def test_weights_that_are_all_zero_share_equally():
    np.testing.assert_array_equal(shared(np.zeros((2, 1, 1), np.float32)), 0.5)


def test_an_expected_error_is_told_of_the_whole_stack_alone():
    seen = sight()
    assert seen.error(Choice(("A", "B"))) is None
    assert "expected error" in seen.layers(ALL)
    assert seen.layers(Choice(("A", "B"))) == ("depth", "disagreement", "weight of A", "weight of B")
    assert seen.layers(Choice(("A",))) == ("depth",)
    with pytest.raises(ValueError, match="layer 'expected error': expected one of depth"):
        seen.layer("expected error", Choice(("A",)))


def test_metres_follow_the_lens():
    seen, longer = sight(), Choice(NAMES, ratio=1.5)
    np.testing.assert_allclose(seen.depth(longer), 1.5 * seen.depth(ALL), rtol=1e-6)
    np.testing.assert_allclose(seen.disagreement(longer), 1.5 * seen.disagreement(ALL), rtol=1e-5)
    assert seen.value(2, 3, longer).error == pytest.approx(1.5 * seen.found.error[2, 3])


def test_a_value_is_that_of_its_pixel():
    seen = sight()
    value = seen.value(4, 7, ALL)
    best = int(seen.found.weights[:, 4, 7].argmax())
    assert value.depth == pytest.approx(seen.found.depth[4, 7])
    assert value.leading == (NAMES[best], pytest.approx(seen.found.weights[best, 4, 7]))
    assert value.learners["C"] == pytest.approx(seen.found.learners["C"][4, 7])
    text = reading(value, 4, 7)
    assert f"{value.depth:.2f} m" in text
    assert "Values at column 7, row 4" in text


@pytest.mark.parametrize("name", ["depth", "expected error", "disagreement", "weight of B"])
def test_every_layer_has_a_scale(name: str):
    layer = sight().layer(name, ALL)
    assert layer.pixels.shape == (6, 8, 3)
    assert layer.pixels.dtype == np.uint8
    assert legend(layer).count("<span>") == 5


def test_somebody_is_always_on():
    assert chosen_learners(NAMES, ["C", "A"]) == ("A", "C")
    assert chosen_learners(NAMES, []) == NAMES


def test_complaints_name_files_as_visitors_do(tmp_path: Path):
    assert refused(ValueError(f"{tmp_path / 'a.png'}: is no image\nRun: x"), tmp_path / "a.png") == "a.png: is no image"
    assert without_front_matter("---\na: b\n---\n\n# Title\n") == "# Title"
    assert without_front_matter("# Title") == "# Title"


def answers(guard: Guard, headers: dict[str, str], kind: str = "http") -> list[dict]:
    sent: list[dict] = []

    async def send(message: dict) -> None:
        sent.append(message)

    pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
    asyncio.run(guard({"type": kind, "headers": pairs}, None, send))
    return sent


async def inside(scope: object, receive: object, send: object) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})  # pyright: ignore[reportCallIssue]


def test_a_password_opens_everything_and_nothing_without_it():
    guard = Guard(inside, "a long secret")
    right, wrong = (base64.b64encode(f"me:{word}".encode()).decode() for word in ("a long secret", "another"))
    assert answers(guard, {"authorization": f"Basic {right}"})[0]["status"] == 200
    for headers in ({}, {"authorization": f"Basic {wrong}"}, {"authorization": "Basic ???"}, {"host": "localhost"}):
        assert answers(guard, headers)[0]["status"] == 401
    assert answers(guard, {}, "websocket") == [{"type": "websocket.close", "code": 1008}]
    assert not knows("Bearer " + right, "a long secret")


def test_a_photograph_of_two_visitors_stays_until_both_are_gone(tmp_path: Path):
    sessions, shared = Sessions(tmp_path), tmp_path / "abc" / "photo.png"
    shared.parent.mkdir()
    shared.write_bytes(b"")
    outside = tmp_path.parent / "outside.png"
    outside.write_bytes(b"")
    for name in ("one", "two"):
        sessions.sent(name, shared)
        with pytest.raises(ValueError, match=r"outside\.png: expected a photograph that was sent to this page"):
            sessions.sent(name, outside)
        (sessions.folder(name) / "depth.npy").write_bytes(b"")
    sessions.end("one")
    assert shared.is_file()
    assert sorted(path.name for path in tmp_path.rglob("*.npy")) == ["depth.npy"]
    sessions.end("two")
    assert not shared.exists()
    assert outside.is_file()
    assert list(tmp_path.rglob("*.npy")) == []


def test_an_example_stays_when_a_visitor_goes(tmp_path: Path):
    sessions, example = Sessions(tmp_path, tmp_path / "examples"), tmp_path / "examples" / "room.jpg"
    example.parent.mkdir()
    example.write_bytes(b"")
    sessions.sent("one", example)
    sessions.end("one")
    assert example.is_file()


def test_what_is_made_while_a_visitor_goes_goes_when_it_is_made(tmp_path: Path):
    sessions, sent = Sessions(tmp_path), tmp_path / "abc" / "photo.png"
    sent.parent.mkdir()
    with sessions.working("one"):
        sent.write_bytes(b"")
        sessions.end("one")
        sessions.sent("one", sent)
        (sessions.folder("one") / "depth.npy").write_bytes(b"")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    with sessions.working("one"), sessions.working("one"):  # the line was broken, and is there again
        (sessions.folder("one") / "depth.npy").write_bytes(b"")
    sessions.sweep()
    assert len(list(tmp_path.rglob("*.npy"))) == 1
    sessions.sweep(silent=0)
    assert list(tmp_path.rglob("*.npy")) == []
    with sessions.here("two"), sessions.working("two"):
        (sessions.folder("two") / "depth.npy").write_bytes(b"")
        sessions.sweep(silent=0)
    assert len(list(tmp_path.rglob("*.npy"))) == 1
    sessions.sweep(silent=0)
    assert list(tmp_path.rglob("*.npy")) == []


def test_a_visitor_who_looks_on_in_silence_keeps_their_files_and_one_without_a_line_does_not(tmp_path: Path):
    sessions = Sessions(tmp_path)
    with sessions.here("browser"):
        for name in ("browser", "program"):
            with sessions.working(name):
                (sessions.folder(name) / "depth.npy").write_text(name)
        sessions.sweep(silent=0)
        assert [path.read_text() for path in tmp_path.rglob("*.npy")] == ["browser"]
        with sessions.here("browser"):  # a second line, as after a break of the first
            assert sessions.folder("browser").is_dir()
        sessions.sweep(silent=0)
        assert [path.read_text() for path in tmp_path.rglob("*.npy")] == ["browser"]


@pytest.mark.parametrize("name", ["../../beside", "a/../../beside", "/beside", "\ud800", ""])
def test_no_session_has_a_folder_elsewhere(tmp_path: Path, name: str):
    beside = tmp_path / "beside"
    beside.mkdir()
    sessions = Sessions(tmp_path / "root" / "page")
    folder = sessions.folder(name)
    assert folder.parent == sessions.root
    assert sorted(path.name for path in tmp_path.iterdir()) == ["beside", "root"]
    sessions.end(name)
    assert (beside.is_dir(), folder.exists()) == (True, False)


def test_a_page_holds_what_was_sent_to_it_and_nothing_else(tmp_path: Path):
    root = tmp_path / "page"
    sessions = Sessions(root, root / "examples")
    for path in (root / "abc" / "photo.png", root / "examples" / "room.jpg", tmp_path / "own.png"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    made = sessions.folder("one") / "depth.png"
    made.write_bytes(b"")
    (root / "abc" / "link.png").symlink_to(tmp_path / "own.png")
    held = {"abc/photo.png", "examples/room.jpg"}
    for path in (*(root / each for each in held), made, root / "abc" / "link.png", tmp_path / "own.png", root):
        assert sessions.holds(path) == (str(path.relative_to(tmp_path)).removeprefix("page/") in held), path
    assert not any(map(sessions.holds, ("own.png", str(root / "abc" / ".." / ".." / "own.png"), "a\0b", "")))


def called(app: Intake, body: bytes, path: str = "/gradio_api/run/predict") -> list[dict]:
    sent: list[dict] = []
    parts = [body[: len(body) // 2], body[len(body) // 2 :]]
    told = [{"type": "http.request", "body": part, "more_body": not last} for last, part in enumerate(parts)]

    async def send(message: dict) -> None:
        sent.append(message)

    async def receive() -> dict:
        return told.pop(0) if told else {"type": "http.disconnect"}

    asyncio.run(app({"type": "http", "method": "POST", "path": path}, receive, send))
    return sent


async def echo(_: object, receive: Any, send: Any) -> None:
    body, more = b"", True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        body, more = body + message["body"], message["more_body"]
    await send({"type": "http.response.body", "body": body})


def test_calls_name_files_of_the_page_alone(tmp_path: Path):
    own, other = tmp_path / "page" / "abc" / "photo.png", tmp_path / "own.png"
    for path in (own, other):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    intake = Intake(echo, Sessions(tmp_path / "page"))
    for taken in ({"data": [{"path": str(own)}, 60, None]}, {"data": [None, ["A"], {"path": None}]}, None):
        body = json.dumps(taken).encode()
        assert called(intake, body) == [{"type": "http.response.body", "body": body}]
    for named in (str(other), "http://localhost/room.jpg", str(own.parent / ".." / ".." / "own.png"), 3):
        for data in ({"data": [{"path": named}]}, [{"a": [[{"b": {"path": named}}]]}]):
            start, told = called(intake, json.dumps(data).encode())
            assert start["status"] == 403
            assert told["body"] == b"This page looks at photographs that were sent to it, and at no other file."
    assert called(intake, b"path")[1]["body"] == b"A call of this page is JSON."
    assert b"at most 1048576 bytes" in called(intake, b" " * (MOST_BYTES + 1))[1]["body"]
    assert called(intake, b"--form\r\n", "/gradio_api/upload")[0]["body"] == b"--form\r\n"
    assert called(intake, b"--form\r\n", "/gradio_api/run/upload")[0]["status"] == 403


def test_who_breaks_a_call_off_leaves_no_traceback(tmp_path: Path):
    async def gone() -> dict:
        return {"type": "http.disconnect"}

    for path in ("/gradio_api/upload", "/gradio_api/run/predict"):
        scope = {"type": "http", "method": "POST", "path": path}
        assert asyncio.run(Intake(echo, Sessions(tmp_path))(scope, gone, None)) is None


def test_what_was_sent_and_never_looked_at_is_swept(tmp_path: Path):
    sessions = Sessions(tmp_path, tmp_path / "examples")
    places = {name: tmp_path / name for name in ("abc/left.png", "half-sent", "examples/room.jpg", "abd/seen.png")}
    for place in places.values():
        place.parent.mkdir(exist_ok=True)
        place.write_bytes(b"")
    sessions.sent("one", places["abd/seen.png"])
    (sessions.folder("one") / "depth.npy").write_bytes(b"")
    sessions.sweep()
    assert all(place.is_file() for place in places.values())
    sessions.sweep(orphan=-1)
    assert [name for name, place in places.items() if place.is_file()] == ["examples/room.jpg", "abd/seen.png"]
    assert len(list(tmp_path.rglob("*.npy"))) == 1


def test_a_photograph_that_another_visitor_has_sent_anew_stays(tmp_path: Path):
    sessions, photograph = Sessions(tmp_path), tmp_path / "abc" / "photo.png"
    photograph.parent.mkdir()
    photograph.write_bytes(b"")
    sessions.sent("one", photograph)
    anew = tmp_path / "anew"
    anew.write_bytes(b"")
    anew.replace(photograph)  # as Gradio does
    sessions.end("one")
    assert photograph.is_file()


def test_sweeping_goes_on_until_the_end(tmp_path: Path):
    sessions = Sessions(tmp_path)
    sweeps = threading.Semaphore(0)
    sessions.sweep = sweeps.release  # type: ignore[method-assign]
    with sessions.swept(every=0.01):
        assert all(sweeps.acquire(timeout=10) for _ in range(3))
    assert not [thread for thread in threading.enumerate() if thread.name == "sweeper"]


class Ended(BaseException):
    """As a signal ends the work of the first thread."""


def test_work_of_many_threads_is_done_by_the_one_that_works_alone():
    turns, done, said = Turns(), [], {}

    def networks(name: str) -> tuple[str, threading.Thread]:
        done.append(name)
        return name, threading.current_thread()

    def visitor(name: str) -> None:
        said[name] = turns.call(networks, name)

    threads = [threading.Thread(target=visitor, args=(name,)) for name in "abcdef"]
    for thread in threads:
        thread.start()
    ending = threading.Thread(target=lambda: ([thread.join() for thread in threads], turns.end()))
    ending.start()
    turns.work()
    ending.join()
    assert sorted(done) == [*"abcdef"]
    assert said == {name: (name, threading.current_thread()) for name in "abcdef"}


def test_an_error_goes_to_whoever_has_asked_and_work_goes_on():
    turns, said = Turns(), []

    def visitor() -> None:
        with pytest.raises(ValueError, match="no photograph"):
            turns.call(_fail, ValueError("no photograph"))
        said.append(turns.call(int, "7"))
        turns.end()

    thread = threading.Thread(target=visitor)
    thread.start()
    turns.work()
    thread.join()
    assert said == [7]


def test_with_the_end_of_the_work_nobody_waits_for_an_answer():
    turns, told = Turns(), []

    def visitor(work: Callable[[], None]) -> None:
        try:
            turns.call(work)
        except ClosedError as error:
            told.append(str(error))

    threads = [threading.Thread(target=visitor, args=(partial(_fail, Ended()),)) for _ in range(3)]
    for thread in threads:
        thread.start()
    with pytest.raises(Ended):
        turns.work()
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()
    visitor(lambda: None)  # one who comes later
    assert told == ["the page is closed"] * 4


def _fail(error: BaseException) -> None:
    raise error


def test_a_sweep_passes_over_folders_that_go_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """As those of visitors do: one sweep that fails would be the last."""
    sessions, scan = Sessions(tmp_path), os.scandir
    for folder in ("a", "b", "c"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "photo.png").write_bytes(b"")

    def going(place: Any) -> Any:
        if place in (str(tmp_path / "b"), tmp_path / "b"):
            shutil.rmtree(tmp_path / "b")
        return scan(place)

    monkeypatch.setattr(os, "scandir", going)
    sessions.sweep(orphan=-1)
    assert not [path for path in (tmp_path / "a", tmp_path / "c") if (path / "photo.png").exists()]
