"""A line of dots where a command is silent: when it begins, what it says, how it ends; the clock is the test's own."""

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ensemble.console import streams
from ensemble.console.pulse import DOTS, QUIET, Pulse


class Silence:
    """A pulse with its clock and what it wrote."""

    def __init__(self) -> None:
        self.time, self.written = 0.0, ""
        self.pulse = Pulse(self._write, lambda: self.time)
        self.pulse.doing = "training step 3"

    def _write(self, text: str) -> None:
        self.written += text

    def pass_by(self, seconds: float) -> str:
        """What is on the screen after so much silence, in which the pulse looked every half second."""
        for _ in range(int(2 * seconds)):
            self.time += 0.5
            self.pulse.tick()
        return self.written


def test_a_dot_ends_every_silence():
    silence = Silence()
    assert silence.pass_by(QUIET - 0.5) == ""
    assert silence.pass_by(0.5) == "  training step 3 ."
    assert silence.pass_by(2 * QUIET) == "  training step 3 ..."
    silence.pulse.heard()
    assert silence.written == "  training step 3 ...\n", "what is said next begins a line"
    silence.pulse.heard()
    assert silence.written.count("\n") == 1
    assert silence.pass_by(QUIET - 0.5).count(".") == 3, "the clock began anew"


def test_a_long_line_ends_and_says_anew_what_is_done():
    silence = Silence()
    silence.pass_by(DOTS * QUIET)
    silence.pulse.doing = "training step 99"
    assert silence.pass_by(QUIET) == f"  training step 3 {DOTS * '.'}\n  training step 99 ."


def test_nothing_is_written_beside_a_bar():
    silence = Silence()
    with silence.pulse.muted(), silence.pulse.muted():
        assert silence.pass_by(10 * QUIET) == ""
    assert silence.pass_by(QUIET - 0.5) == ""
    assert silence.pass_by(0.5) != ""


def test_there_is_no_pulse_where_standard_error_is_somebody_elses(capsys: pytest.CaptureFixture[str]):
    silence = Silence()
    with silence.pulse.beating():
        assert silence.pulse.doing == "training step 3"


def test_a_console_ends_the_line_of_dots(monkeypatch: pytest.MonkeyPatch):
    silence = Silence()
    monkeypatch.setattr(streams, "pulse", silence.pulse)
    said = streams.HeardConsole(file=io.StringIO())
    for say in (said.print, said.out, said.rule):
        silence.pass_by(QUIET)
        say("words")
        assert silence.written.endswith(".\n")


def test_a_loop_says_where_it_is(monkeypatch: pytest.MonkeyPatch):
    silence = Silence()
    monkeypatch.setattr(streams, "pulse", silence.pulse)
    assert [silence.pulse.doing for _ in streams.progress("ab", "scoring")] == ["scoring 1 of 2", "scoring 2 of 2"]
    assert [silence.pulse.doing for _ in streams.progress(iter("a"), "scoring")] == ["scoring 1"]


SILENT = """
import time
from ensemble import options
from ensemble.console import pulse

pulse.QUIET = 0.05
app = options.application("")

@app.command()
def wait():
    until = time.monotonic() + 60
    while pulse.pulse._dots < 3 and time.monotonic() < until:
        time.sleep(0.01)
    print("done", pulse.pulse._dots)

options.run(app)
"""


@pytest.mark.parametrize(("quiet", "dots"), [({}, True), ({"STACKDEPTH_QUIET": "1"}, False), ({"RANK": "1"}, False)])
def test_a_command_that_waits_shows_that_it_lives(quiet: dict[str, str], dots: bool):
    program = SILENT if dots else SILENT.replace("+ 60", "+ 0.5")
    ran = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), **quiet},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    if dots:
        assert ran.stderr.startswith("  loading libraries ...")
        assert ran.stderr.endswith("\n")
    else:
        assert ran.stderr == ""
    assert ran.stdout.startswith("done ")


def test_what_a_signal_says_while_something_is_said_is_said():
    silence = Silence()

    def interrupted(text: str) -> None:
        silence.written += text
        silence.pulse.heard()

    silence.pulse._write = interrupted
    silence.pass_by(QUIET)
    silence.pulse.heard()
    assert silence.written.startswith("  training step 3 .\n")


def test_a_reader_that_has_gone_changes_nothing():
    silence = Silence()
    silence.pass_by(QUIET)

    def gone(_: str) -> None:
        raise BrokenPipeError

    silence.pulse._write = gone
    silence.pulse.heard()
    assert silence.pulse._dots == 0
