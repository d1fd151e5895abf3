"""Calls the command lines as a person would, within this process, on networks and rooms that take a second."""

import contextlib
import importlib
import io
import json
import os
import shlex
import shutil
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

from ensemble import options

TINY = """
experiment: tiny
data:
  size: [48, 64]
  crop: [48, 64]
  workers: 0
  folds: 2
  rooms: {scenes: 4, test_scenes: 2, frames: 2}
encoder: {name: test_efficientnet, weights: none}
training: {max_steps: 2, batch_size: 2, device: cpu}
evaluation: {crop: none}
learners:
  adabins:
    network:
      {widths: [16, 12, 8, 8, 8], embedding: 8, bins: 8, queries: 4, patch_size: 8, positions: 16, layers: 1, heads: 2,
       feedforward: 8, hidden: 8}
  bts:
    network: {adaptor: 16, widths: [16, 12, 8, 8, 8]}
  ldrn:
    network: {adaptor: 16, context: 8, widths: [16, 12, 8, 8, 8]}
  fastdepth:
    network: {widths: [64, 32, 16, 16, 8]}
  dpt:
    network: {width: 16, blocks: 2, heads: 2, feedforward: 16, positions: [4, 4], hooks: [0, 1], decoder_width: 8}
meta:
  encoder: {name: test_efficientnet, weights: none}
  network: {widths: [16, 12, 8, 8, 8]}
  training: {max_steps: 2, batch_size: 2, lr: 1.0e-2, device: cpu}
"""
LEARNER_NAMES = ("adabins", "bts", "ldrn")


@dataclass(frozen=True)
class Answer:
    status: int
    out: str
    err: str

    @property
    def advised(self) -> list[str]:
        """The words of the command that the message ends with."""
        line = self.err.strip().splitlines()[-1]
        assert line.startswith("Run: python -m ensemble."), self.err
        return shlex.split(line.removeprefix("Run: python -m ensemble."))


def call(tool: str, *words: object, **environment: str) -> Answer:
    app = importlib.import_module(f"ensemble.{tool}.__main__" if tool in ("data", "report") else f"ensemble.{tool}").app
    kept = {name: value for name, value in os.environ.items() if name not in ("NYU_ROOT", "STACKDEPTH_CACHE")}
    out, err = io.StringIO(), io.StringIO()
    status = 0
    with (
        mock.patch.dict(os.environ, {**kept, "COLUMNS": "80", **environment}, clear=True),
        mock.patch.object(sys, "argv", [tool, *map(str, words)]),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            options.run(app)
        except SystemExit as stop:
            status = stop.code if isinstance(stop.code, int) else 0
    return Answer(status, out.getvalue(), err.getvalue())


def done(tool: str, *words: object, **environment: str) -> Answer:
    """Call what must succeed."""
    answer = call(tool, *words, **environment)
    assert answer.status == 0, answer.err
    return answer


@contextlib.contextmanager
def signalled(owner: object, name: str, number: int, *, call: int = 1) -> Iterator[None]:
    """This process gets a signal at the start of call ``call`` of a function, once."""
    original, calls = getattr(owner, name), [0]

    def struck(*given: object, **named: object) -> object:
        calls[0] += 1
        if calls[0] == call:
            os.kill(os.getpid(), number)
        return original(*given, **named)

    with mock.patch.object(owner, name, struck):
        yield
    assert calls[0] >= call, "there was nothing left to do before the signal"


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def without_seals(folder: Path) -> None:
    """Make the runs below a folder such as were written before there were checksums; then files may be changed."""
    for path in folder.rglob("*.sha256"):
        path.unlink()
    for path in folder.rglob("result.json"):
        content = json.loads(path.read_text())
        content.pop("seal", None)
        path.write_text(json.dumps(content, indent=2) + "\n")


@dataclass(frozen=True)
class Job:
    config: Path
    cache: Path
    untouched: Path
    first_lines: list[str]
    images_read: dict[str, Counter[str]]
    next_commands: list[str]
    table: Answer

    @property
    def scores(self) -> dict:
        return json.loads(self.table.out)

    def copy_to(self, folder: Path) -> Path:
        """A copy of what was made, without what other tests have left in the cache of their process."""
        return shutil.copytree(self.untouched, folder / "cache")
