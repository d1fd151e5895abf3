"""The page itself, in Gradio: what stands where, and what happens when somebody touches it."""

from __future__ import annotations

import asyncio
import functools
import io
import json
import re
import shutil
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr
import numpy as np
from PIL import Image

from ensemble.data.formats.photographs import read_photograph
from ensemble.deploy.page.sessions import Sessions
from ensemble.deploy.page.sight import DEPTH, Choice, Sight, chosen_learners
from ensemble.deploy.page.turns import ClosedError, Turns
from ensemble.deploy.page.wording import MEGAPIXELS, file_label, legend, reading, refused
from ensemble.deploy.points.cloud import point_cloud
from ensemble.deploy.points.files import save_points
from ensemble.deploy.points.photograph import camera_of_view
from ensemble.report.drawing.pictures import save_depth_png
from ensemble.runs.files import write_bytes
from ensemble.settings.schema import StackSettings

if TYPE_CHECKING:
    from ensemble.deploy.door import DepthStack
    from ensemble.deploy.runtime.prediction import Prediction

PIXELS = 400_000
"""Of a photograph on the page and in its files; networks see a few thousand."""

MOST_POINTS = 200_000
MEGA = 1_000_000
VIEWS, USUAL_VIEW = (2, 170), 60.0
"""Degrees that a camera may see across: from a telephoto lens of a metre to an action camera."""
CAMERA = {"video": {"facingMode": "environment", "width": {"ideal": 1920}, "height": {"ideal": 1440}}}
"""That of a phone which looks away from its owner, where there is one.

What Gradio mirrors it sends mirrored as well, and depth of a mirrored room is that of another room.
"""
VIEW_DIGITS = 1
"""Of degrees: metres are right to a thousandth so."""
_JPEG_QUALITY = 90

STACK, STUDENT = "stack", "student"
FILES_OF = {
    "ply": "points, PLY",
    "glb": "points, GLB",
    "png": "depth, 16-bit PNG in mm",
    "npy": "depth, .npy in metres",
}
"""What can be taken home, by its kind; ``file_label`` says it of depth that millimetres cannot hold."""
_NO_FILE = {"__type__": "update", "value": None, "interactive": False}
SLIDER, VALUES, SPACE, FILES, ABOUT = "slider", "values", "space", "files", "about"
_POINTED = re.compile(r"(\d+(?:\.\d+)?) (\d+(?:\.\d+)?)")
MARK = np.array([255, 255, 255], np.uint8), np.array([0, 0, 0], np.uint8)


@dataclass(frozen=True)
class Site:
    """What the page shows.

    Attributes:
        stack: Ready to predict.
        student: Likewise, to compare it with; ``None`` where there is none.
        examples: Photographs to try.
        sessions: Files of visitors.
        about: The model's card, in Markdown.
        reports: Titles of evaluation reports and the places where this server has them.
        networks: Hands over to the thread in which networks compute, one photograph at a time.
    """

    stack: DepthStack
    student: DepthStack | None
    examples: Sequence[Path]
    sessions: Sessions
    about: str
    reports: Sequence[tuple[str, str]] = ()
    networks: Turns = field(default_factory=Turns)

    @property
    def titles(self) -> dict[str, str]:
        """Names of the learners by their titles for people."""
        return {learner.title: learner.name for learner in self.stack.header.learners}

    def see(self, path: Path) -> Sight:
        """What the networks say of a photograph.

        Raises:
            ValueError: It cannot be read, or is too large.
        """
        photograph = read_photograph(path, pixels=PIXELS, most_pixels=MEGAPIXELS * MEGA)
        found, student = self._in_first_thread(self._said_of, photograph.pixels)
        settings = self.stack.network.settings
        meta = self.stack.network.meta
        logs = isinstance(settings, StackSettings) and meta is not None and meta.space == "log"
        known = None if self.stack.header.focal is None else photograph.fov
        enlarge = functools.partial(self._in_first_thread, found.enlarge)  # it is torch's work as well
        found = replace(found, names=tuple(self.titles), enlarge=enlarge)
        return Sight(photograph.pixels, found, logs, known, student)

    def warm(self, path: Path) -> None:
        """Do what networks do once, in this thread: the first visitor does not wait for it."""
        self._said_of(read_photograph(path, pixels=PIXELS).pixels)

    def _in_first_thread(self, work: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return self.networks.call(work, *arguments)
        except ClosedError as error:
            raise gr.Error(f"{error}", print_exception=False) from error  # Gradio would print where it was

    def _said_of(self, pixels: np.ndarray) -> tuple[Prediction[np.ndarray], np.ndarray | None]:
        """By the stack and by the student."""
        return self.stack(pixels), None if self.student is None else self.student(pixels).depth

    def view_of_training(self, size: tuple[int, int]) -> float | None:
        """Degrees that the camera of the training would see across such a photograph."""
        if self.stack.header.focal is None:
            return None

        from ensemble.deploy.runtime.views import view_of_training

        return view_of_training(self.stack, size)


@dataclass
class Open:
    """What a visitor has open.

    Gradio reads what it hands over when somebody touches a control, not when that has its turn, so this is changed in
    its place: an answer that was waited for meanwhile counts.

    Attributes:
        sight: What is looked at; ``None`` before there is a photograph.
        name: Of the photograph, without its ending.
        tab: That is open.
        emptied: Whether the field of view was left without a number.
        chosen: Titles of the learners that are on, and the preset, as one of them was touched last; ``None`` before.
        by_preset: Whether that was the preset.
        layers: Maps that there are to choose from, as the browser was told.
        looking: The place of the photograph, and what networks say, or are about to say, of it.
        turn: Whose it is.
    """

    sight: Sight | None = None
    name: str = ""
    tab: str = SLIDER
    emptied: bool = False
    chosen: tuple[list[str], str] | None = None
    by_preset: bool = False
    layers: tuple[str, ...] = ()
    looking: tuple[str, asyncio.Future[Sight | str]] | None = None
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)


@dataclass(frozen=True)
class Asked:
    """What the controls say at the moment that somebody touches one, in the order in which Gradio hands them over.

    Attributes:
        open: What the visitor has open when this has its turn.
        learners: Titles of those that are switched on, in the browser.
        preset: That is chosen there; empty where the switches are none.
        layer: Name of the map that is wanted.
        fov: Degrees across the width of the photograph; ``None`` where the field was emptied.
        edges: Whether slopes at edges of depth are left out of points.
        across: Of the place whose values are told, per cent of the width.
        down: Likewise, per cent of the height.
    """

    open: Open
    learners: list[str]
    preset: str
    layer: str
    fov: float | None
    edges: bool
    across: float
    down: float

    @property
    def sight(self) -> Sight | None:
        """What is looked at."""
        return self.open.sight


def page(site: Site) -> gr.Blocks:
    """All of it."""
    title = site.stack.header.name
    with gr.Blocks(title=f"{title}: depth", analytics_enabled=False, delete_cache=(600, 7200)) as blocks:
        _Page(site, blocks)
    return blocks


class _Page:
    """Components, and the functions behind them."""

    def __init__(self, site: Site, blocks: gr.Blocks) -> None:
        self.site = site
        titles = list(site.titles)
        gr.Markdown(f"# {site.stack.header.name}\nMetres from one photograph, by {_listed(titles)}.", elem_id="title")
        self.open = gr.State(Open(), time_to_live=3600)
        with gr.Row(elem_id="main"):
            with gr.Column(elem_id="given", min_width=0):
                self.photograph = gr.Image(
                    label="Photograph",
                    sources=["upload", "webcam", "clipboard"],
                    webcam_options=gr.WebcamOptions(mirror=False, constraints=CAMERA),
                    type="filepath",
                    height=260,
                    elem_id="photograph",
                )
                # Gradio would decode the file and fail without a word; read below, complaints are sentences.
                self.photograph.preprocess = lambda payload: None if payload is None else payload.path
                gr.Examples(
                    [[str(path)] for path in site.examples],
                    [self.photograph],
                    label="Generated rooms",
                    elem_id="examples",
                )
            with gr.Column(elem_id="shown", min_width=0):
                self.complaint = gr.Markdown(visible=False, elem_classes="complaint", elem_id="complaint")
                with gr.Tabs():
                    with gr.Tab("Layer", id=SLIDER) as slider:
                        gr.Markdown("Left the photograph, right the layer", elem_classes="hint")
                        self.slider = gr.ImageSlider(
                            label="Photograph and layer",
                            show_label=False,
                            interactive=False,
                            buttons=["fullscreen"],
                            max_height=640,
                            elem_id="slider",
                        )
                    with gr.Tab("Values", id=VALUES) as values:
                        gr.Markdown("Point at a place; touch or click keeps it", elem_classes="hint")
                        self.picture = gr.Image(
                            label="Layer",
                            show_label=False,
                            interactive=False,
                            buttons=["fullscreen"],
                            elem_id="picture",
                        )
                        self.reading = gr.HTML(elem_id="reading")
                        self.pointer = gr.Textbox(visible="hidden", elem_id="pointer")  # page.js writes into it
                        with gr.Row():
                            self.across = gr.Slider(0, 100, value=50, step=1, label="Across, %", elem_id="across")
                            self.down = gr.Slider(0, 100, value=50, step=1, label="Down, %", elem_id="down")
                    with gr.Tab("3-D", id=SPACE) as space:
                        self.edges = gr.Checkbox(
                            value=True, label="Leave out slopes at edges of depth", elem_id="edges"
                        )
                        self.space = gr.Model3D(
                            label=f"At most {MOST_POINTS:,} points", interactive=False, height=520, elem_id="space"
                        )
                    with gr.Tab("Files", id=FILES) as files:
                        self.files = {
                            kind: gr.DownloadButton(text, interactive=False, elem_id=f"file-{kind}")
                            for kind, text in FILES_OF.items()
                        }
                    with gr.Tab("About", id=ABOUT) as about:
                        if site.reports:
                            gr.HTML(_report_links(site.reports), elem_id="reports")
                        gr.Markdown(site.about, elem_id="card")
                self.legend = gr.HTML(elem_id="legend")
            with gr.Column(elem_id="controls", min_width=0):
                presets = [STACK, *(titles if len(titles) > 1 else []), *([STUDENT] if site.student else [])]
                self.preset = gr.Radio(
                    presets, value=STACK, label="Depth by", elem_id="preset", visible=len(presets) > 1
                )
                self.learners = gr.CheckboxGroup(
                    titles, value=titles, label="Learners that are on", elem_id="learners", visible=len(titles) > 1
                )
                self.layer = gr.Radio([DEPTH], value=DEPTH, label="Layer", elem_id="layer")
                self.fov = gr.Slider(
                    *VIEWS,
                    value=USUAL_VIEW,
                    step=0.1,
                    label="Field of view across the width, degrees: metres follow it",
                    interactive=True,
                    buttons=[],  # it would go back to a number, not to the photograph's own
                    visible=site.stack.header.focal is not None,
                    elem_id="fov",
                )
                self.lens = gr.Markdown("", elem_classes="hint", elem_id="lens")
        for typed in (self.across, self.down):
            _take_what_is_typed(typed, empty=typed.value)
        _take_what_is_typed(self.fov, empty=None)
        blocks.unload(self.left)
        self._connect({SLIDER: slider, VALUES: values, SPACE: space, FILES: files, ABOUT: about})

    def _connect(self, tabs: dict[str, gr.Tab]) -> None:
        shown = [
            *(self.slider, self.picture, self.reading, self.space, *self.files.values(), self.legend, self.layer),
        ]
        asked = [self.open, self.learners, self.preset, self.layer, self.fov, self.edges, self.across, self.down]
        # Without Gradio's queue: its stream of answers is looked at every 50 ms, and what is touched in the moment in
        # which that stream ends is lost.
        how: dict[str, Any] = {"api_visibility": "private", "trigger_mode": "always_last", "queue": False}
        gr.on(
            [self.photograph.change],
            self.take,
            [self.photograph, *asked],
            [self.open, self.complaint, self.fov, self.lens, *shown],
            show_progress="minimal",
            show_progress_on=[self.slider],
            **how,
        )
        how["show_progress"] = "hidden"
        turn, files = self._in_turn, list(self.files.values())
        nothing = f"() => {json.dumps([_NO_FILE] * len(files))}"  # at once, for what is there is not of this photograph
        self.photograph.input(None, None, files, js=nothing, **how)
        self.preset.input(turn(self.preset_chosen), asked, [self.learners, self.preset, *shown], **how)
        self.learners.input(turn(self.learners_chosen), asked, [self.learners, self.preset, *shown], **how)
        moved = [self.layer.input, self.fov.input, self.edges.input, self.across.input, self.down.input]
        gr.on(moved, turn(self.show), asked, shown, **how)
        self.pointer.change(turn(self.pointed), [*asked, self.pointer], [self.reading], **how)
        self.picture.select(turn(self.touched), asked, [self.across, self.down, *shown], **how)
        self.fov.release(turn(self.view_settled), asked, [self.fov, *shown], **how)
        self.fov.input(lambda: "", None, [self.lens], **how)  # it is neither the file's nor that of the training now
        for name, tab in tabs.items():
            tab.select(turn(self.opened), [gr.State(name), *asked], shown, **how)

    def _in_turn(self, answer: Callable[..., list[Any]]) -> Callable[..., Awaitable[list[Any]]]:
        """One after the other for a visitor, as they were touched: what comes last is what is shown."""

        @functools.wraps(answer)
        async def in_turn(*asked: Any) -> list[Any]:
            async with next(each for each in asked if isinstance(each, Open)).turn:
                return await asyncio.to_thread(answer, *asked)

        return in_turn

    async def take(self, request: gr.Request, path: str | None, *asked: Any) -> list[Any]:
        """A photograph came, or went; while networks look at it, others may have their turn."""
        now, found = Asked(*asked), None
        with self.site.sessions.working(str(request.session_hash)):
            if path is None:
                now.open.looking = None
            else:  # Gradio tells twice of one that takes the place of another
                if now.open.looking is None or now.open.looking[0] != path:
                    seen = asyncio.ensure_future(asyncio.to_thread(self._seen, request, Path(path)))
                    now.open.looking = path, seen
                found = await asyncio.shield(now.open.looking[1])
            async with now.open.turn:
                return await asyncio.to_thread(self._taken, request, found, path, now)

    def _seen(self, request: gr.Request, place: Path) -> Sight | str:
        """What networks say of a photograph, or why there is nothing to say."""
        try:
            self.site.sessions.sent(str(request.session_hash), place)
            return self.site.see(place)
        except gr.Error:  # a ValueError too
            raise
        except (ValueError, OSError, FloatingPointError) as error:
            return refused(error, place)

    def _taken(self, request: gr.Request, sight: Sight | str | None, path: str | None, asked: Asked) -> list[Any]:
        asked.open.name = Path(path or "").stem
        shutil.rmtree(self._files_folder(request), ignore_errors=True)
        if not isinstance(sight, Sight):
            asked.open.sight = None
            told: dict[str, Any] = (
                {"visible": False} if sight is None else {"value": f"**Not taken.** {sight}.", "visible": True}
            )
            return [asked.open, gr.update(**told), asked.fov or USUAL_VIEW, "", *self._empty()]
        asked.open.sight, own = sight, self.site.view_of_training(sight.image.shape[:2])
        fov = self._view_of(sight, replace(asked, fov=None))
        told_view, lens = sight.fov or own, ""
        if own is not None and told_view is not None:
            by = "The file does not tell its lens: taken for that of the training," if sight.fov is None else "By EXIF"
            taken = "" if abs(told_view - fov) < 0.1 else f" Taken for {fov:g}, an end of what this page knows."
            lens = f"{by} {told_view:.3g} degrees.{taken}"
        return [asked.open, gr.update(visible=False), fov, lens, *self._shown(request, replace(asked, fov=fov))]

    def view_settled(self, request: gr.Request, *asked: Any) -> list[Any]:
        """The field of view was left: it shows what metres follow, whatever was typed."""
        now = Asked(*asked)
        now.open.emptied = now.fov is None
        return [
            now.fov or USUAL_VIEW if now.sight is None else self._view_of(now.sight, now),
            *self._shown(request, now),
        ]

    def show(self, request: gr.Request, *asked: Any) -> list[Any]:
        """A control was moved that changes no other one."""
        now = Asked(*asked)
        if now.open.emptied and now.fov == VIEWS[0]:  # Gradio's end for a field that was left empty, before or after
            now = replace(now, fov=None)
        return self._shown(request, now)

    def preset_chosen(self, request: gr.Request, *asked: Any) -> list[Any]:
        """One of the presets sets the switches."""
        now, titles = Asked(*asked), list(self.site.titles)
        learners = [] if now.preset == STUDENT else titles if now.preset == STACK else [now.preset]
        # what is told again takes back what was clicked meanwhile, so only what an earlier answer may have changed is
        preset = gr.skip() if now.open.by_preset or now.open.chosen is None else now.preset
        now.open.chosen, now.open.by_preset = (learners, now.preset), True
        return [learners, preset, *self._shown(request, now)]

    def learners_chosen(self, request: gr.Request, *asked: Any) -> list[Any]:
        """The switches are no preset any more, but for all and for one; with the last one off, all are on again."""
        now, titles = Asked(*asked), list(self.site.titles)
        chosen = list(chosen_learners(titles, now.learners))
        preset = STACK if len(chosen) == len(titles) else chosen[0] if len(chosen) == 1 else None
        before = titles if now.open.chosen is None else now.open.chosen[0]
        crossed = now.open.by_preset and len({*before} ^ {*chosen}) > 1  # clicked before a preset had set the switches
        told = chosen if crossed or chosen != [each for each in titles if each in now.learners] else gr.skip()
        now.open.chosen, now.open.by_preset = (chosen, preset or ""), False
        return [told, preset, *self._shown(request, now)]

    def touched(self, event: gr.SelectData, request: gr.Request, *asked: Any) -> list[Any]:
        """A place of the picture was touched."""
        now = Asked(*asked)
        if now.sight is not None:
            height, width = now.sight.image.shape[:2]
            column, row = event.index
            now = replace(now, across=100 * column / max(1, width - 1), down=100 * row / max(1, height - 1))
        return [round(now.across, 1), round(now.down, 1), *self._shown(request, now)]

    def pointed(self, *asked: Any) -> Any:
        """The pointer moved over the picture to these shares of its width and height, or away from it."""
        *usual, place = asked
        now = Asked(*usual)
        if now.sight is None:
            return gr.skip()
        found = _POINTED.fullmatch((place or "").strip())
        across, down = map(float, found.groups()) if found else (now.across, now.down)
        row, column = _place(now.sight, min(across, 100), min(down, 100))
        return reading(now.sight.value(row, column, self._choice(now.sight, now)), row, column)

    def opened(self, request: gr.Request, tab: str, *asked: Any) -> list[Any]:
        """Another tab was opened."""
        now = Asked(*asked)
        now.open.tab = tab
        return self._shown(request, now)

    def left(self, request: gr.Request) -> None:
        """A visitor has gone."""
        self.site.sessions.end(str(request.session_hash))

    def _shown(self, request: gr.Request, asked: Asked) -> list[Any]:
        """What the open tab shows, and nothing of the others."""
        with self.site.sessions.working(str(request.session_hash)):
            return self._made(request, asked)

    def _made(self, request: gr.Request, asked: Asked) -> list[Any]:
        sight = asked.sight
        if sight is None:
            return [gr.skip()] * (6 + len(self.files))
        fov = self._view_of(sight, asked)
        choice = self._choice(sight, asked)
        layers = sight.layers(choice)
        name = asked.layer if asked.layer in layers else DEPTH
        folder = self.site.sessions.folder(str(request.session_hash))
        slider = picture = text = space = gr.skip()
        files: list[Any] = [gr.skip()] * len(self.files)
        scale, scaled = "", asked.open.tab in (SLIDER, VALUES)
        if scaled:
            drawn = sight.layer(name, choice)
            scale = legend(drawn)
            if asked.open.tab == SLIDER:
                slider = (_jpeg(sight.image, folder), _jpeg(drawn.pixels, folder))
            else:
                row, column = _place(sight, asked.across, asked.down)
                picture = _jpeg(_marked(drawn.pixels, row, column), folder)
                text = reading(sight.value(row, column, choice), row, column)
        elif asked.open.tab == SPACE:
            place = folder / f"space-{time.monotonic_ns()}.glb"  # Gradio shows what has another name
            for earlier in sorted(folder.glob("space-*.glb"))[:-1]:
                earlier.unlink(missing_ok=True)
            space = str(self._points(sight, choice, fov, place, edges=asked.edges))
        elif asked.open.tab == FILES:
            made = self._files(sight, choice, fov, self._files_folder(request) / asked.open.name)
            files = [
                gr.update(value=str(path), interactive=True, label=file_label(text, path, sight.image.shape[:2]))
                for text, path in zip(FILES_OF.values(), made, strict=True)
            ]
        shown = layers if scaled else ()
        layer = gr.update(choices=list(layers), value=name, visible=scaled)
        same = shown == asked.open.layers and name == asked.layer  # told again it would take back a later click
        asked.open.layers = shown
        return [slider, picture, text, space, *files, scale, gr.skip() if same else layer]

    def _empty(self) -> list[Any]:
        files = [gr.update(value=None, interactive=False) for _ in self.files]
        return [None, None, "", None, *files, "", gr.skip()]

    def _view_of(self, sight: Sight, asked: Asked) -> float:
        """Degrees across a photograph: as told, else its own, or what the training would see, within the slider."""
        own = sight.fov or self.site.view_of_training(sight.image.shape[:2]) or USUAL_VIEW
        return round(min(max(own if asked.fov is None else asked.fov, VIEWS[0]), VIEWS[1]), VIEW_DIGITS)

    def _choice(self, sight: Sight, asked: Asked) -> Choice:
        learners, preset = asked.open.chosen or (asked.learners, asked.preset)
        chosen = chosen_learners(list(self.site.titles), learners)
        own = self.site.view_of_training(sight.image.shape[:2])
        fov = self._view_of(sight, asked)
        same = own is None or round(own, VIEW_DIGITS) == fov
        ratio = 1.0 if same else self.site.stack.focal_ratio(sight.image.shape[:2], fov)
        return Choice(chosen, preset == STUDENT, ratio)

    def _points(self, sight: Sight, choice: Choice, fov: float, path: Path, *, edges: bool) -> Path:
        camera, depth = camera_of_view(fov, sight.image.shape[:2]), sight.depth(choice)
        how = {"error": sight.error(choice), "most": MOST_POINTS}
        try:
            cloud = point_cloud(sight.image, depth, camera, drop_edges=edges, **how)
        except ValueError:  # nothing but slopes is left
            cloud = point_cloud(sight.image, depth, camera, **how)
        save_points(path, cloud)
        return path

    def _files_folder(self, request: gr.Request) -> Path:
        return self.site.sessions.folder(str(request.session_hash)) / "files"

    def _files(self, sight: Sight, choice: Choice, fov: float, beginning: Path) -> list[Path]:
        folder, name = beginning.parent, beginning.name
        folder.mkdir(exist_ok=True)
        depth, place = sight.depth(choice), folder / f"{name}_depth.npy"
        picture = save_depth_png(beginning, depth)
        beside = io.BytesIO()  # a browser may be reading what was there before
        np.save(beside, depth.astype(np.float32))
        write_bytes(place, beside.getvalue())
        kinds = ("ply", "glb")
        points = [self._points(sight, choice, fov, folder / f"{name}_points.{kind}", edges=False) for kind in kinds]
        return [*points, picture, place]


def _take_what_is_typed(slider: gr.Slider, *, empty: Any) -> None:
    """A number beyond the ends of a slider stands for the nearer end, none for ``empty``: Gradio would fail.

    It lasts as long as the slider is given values and no updates, ``gr.skip()`` included: for these Gradio makes a new
    one. (A class of our own would last, but Gradio writes a stub file beside the source of such a class.)
    """
    least, most = slider.minimum, slider.maximum
    slider.preprocess = lambda payload: empty if payload is None else min(max(payload, least), most)


def _listed(titles: Sequence[str]) -> str:
    return titles[0] if len(titles) == 1 else f"{', '.join(titles[:-1])} and {titles[-1]}"


def _report_links(reports: Sequence[tuple[str, str]]) -> str:
    links = "".join(f'<li><a href="{place}" target="_blank">{title}</a></li>' for title, place in reports)
    return f"<h2>Reports of evaluations</h2><ul>{links}</ul>"


def _jpeg(pixels: np.ndarray, folder: Path) -> str:
    """A file of the session with these pixels, under a name that no earlier picture has."""
    path = folder / f"{abs(hash(pixels.tobytes())):x}.jpg"
    if not path.exists():
        Image.fromarray(pixels).save(path, quality=_JPEG_QUALITY)
    return str(path)


def _place(sight: Sight, across: float, down: float) -> tuple[int, int]:
    height, width = sight.image.shape[:2]
    return round(down / 100 * (height - 1)), round(across / 100 * (width - 1))


def _marked(pixels: np.ndarray, row: int, column: int) -> np.ndarray:
    """The picture with a cross around a pixel."""
    marked = pixels.copy()
    for wide, colour in zip((2, 1), MARK[::-1], strict=True):
        near, far = 4, 16
        for start, end in ((-far, -near), (near, far)):
            rows, columns = slice(max(0, row + start), max(0, row + end)), slice(max(0, column - wide), column + wide)
            marked[rows, columns] = colour
            rows, columns = slice(max(0, row - wide), row + wide), slice(max(0, column + start), max(0, column + end))
            marked[rows, columns] = colour
    return marked
