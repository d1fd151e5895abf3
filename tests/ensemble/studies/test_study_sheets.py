"""A comparison as numbers: every trial with what its arm had spent, every pair with its interval."""

import csv
import io
import re
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from study_actors import found, instant, toy, work_here

from ensemble.metrics.statistics import Difference, holm
from ensemble.report.documents import pairs_report
from ensemble.studies.comparing.comparison import ArmResult, Comparison, _Scored, _with_intervals
from ensemble.studies.comparing.pages import arm_table
from ensemble.studies.comparing.sheets import arms_sheet, comparison_tree, trials_sheet
from ensemble.studies.design.arms import arms_of
from ensemble.tables.terminal import TerminalTable


def lines(sheet: str) -> list[dict[str, str]]:
    return list(csv.DictReader(sheet.splitlines()))


@pytest.fixture
def comparison(tmp_path: Path) -> Comparison:
    """Two arms of three trials, of which one failed."""

    def diverge(settings, run):
        if settings.inputs == "rgb" and run.folder.name == "1":
            raise FloatingPointError("meta rgb: at step 7 the loss is not finite")

    context = toy(tmp_path)
    work_here(context, instant(before=diverge))
    trials = found(context)
    arms = tuple(
        ArmResult(
            study="toy",
            arm=arm,
            best=None,
            value=value,
            low=value - 0.1,
            high=None,
            deviation=0.01,
            repeats=2,
            failed_repeats={3: "NaN"},
            plain_mean=None,
            learners_seconds=1.5,
            trials=tuple(trial for trial in trials if trial.arm == arm.name),
            numbers={"training.lr": 1e-3},
        )
        for arm, value in zip(arms_of(context.study), (0.2, 0.3), strict=True)
    )
    difference = Difference("toy/d", "toy/rgb", "abs_rel", -0.1, -0.15, -0.05, 0.001, 0.001, "first")
    return Comparison((context.study,), "abs_rel", arms, (difference,), 4, 8, {}, "2 steps a trial", (1, 2, 3))


def test_every_trial_has_a_line_with_reason_values_and_settings(comparison: Comparison):
    known = {(trial.arm, trial.number): trial for arm in comparison.arms for trial in arm.trials}
    told = lines(trials_sheet(comparison))
    assert len(told) == len(known) == 6
    for line in told:
        trial = known[line["arm"], int(line["number"])]
        assert (line["state"], line["reason"]) == (trial.state, trial.reason)
        assert float(line["training.lr"]) == pytest.approx(trial.numbers["training.lr"], rel=1e-5)
        assert line["abs_rel"] == ("" if trial.state == "failed" else repr(trial.values[0]))
    assert [line["cumulative_spent"] for line in told] == ["2", "4", "6", "2", "2.0", "4.0"]  # a failed one took none
    assert [line["reason"] for line in told if line["reason"]] == ["meta rgb: at step 7 the loss is not finite"]


def test_every_pair_has_a_line(comparison: Comparison):
    (line,) = lines(pairs_report(comparison.differences))
    assert line == {key: str(value) for key, value in asdict(comparison.differences[0]).items()}


def test_arms_are_told_alike_as_csv_and_as_json(comparison: Comparison):
    tree = comparison_tree(comparison)
    assert (tree["scenes"], tree["frames"], tree["studies"]) == (4, 8, ["toy"])
    assert tree["differences"] == [asdict(each) for each in comparison.differences]
    for line, arm in zip(lines(arms_sheet(comparison)), tree["arms"], strict=True):
        assert set(line) == set(arm)
        assert line["value"] == repr(arm["value"])
        assert (line["high"], arm["high"]) == ("", None)
        assert line["failed_repeats"] == "1"
        assert arm["settings"] == {"training.lr": 1e-3}
    assert [arm["failed"] for arm in tree["arms"]] == [0, 1]


def test_verdicts_of_a_page_are_corrected_over_all_its_pairs(comparison: Comparison):
    frames = [str(number) for number in range(60)]
    scene_of = {frame: str(int(frame) // 2) for frame in frames}
    noise = np.random.default_rng(0).normal(0, 0.1, (5, 60)) + np.array([0.03, 0, 0, 0, 0])[:, None]
    arms = [replace(comparison.arms[0], study=f"arm-{number}") for number in range(5)]
    scored = [
        _Scored(arm, dict(zip(frames, scores.tolist(), strict=True)), scene_of)
        for arm, scores in zip(arms, noise, strict=True)
    ]
    _, pairs, _, _ = _with_intervals(scored, "abs_rel")
    assert len(pairs) == 10
    plain = np.array([each.p for each in pairs])
    np.testing.assert_allclose([each.p_holm for each in pairs], holm(plain))
    assert [each.better is not None for each in pairs] == [*(holm(plain) < 0.05)] != [*(plain < 0.05)]


def test_what_must_be_known_of_intervals_and_of_the_time_before_stands_below_the_arms(comparison: Comparison):
    caption = arm_table(comparison).caption
    assert "p-values corrected over the 1 pair of arms (Holm). 4 scenes are few" in caption
    assert "unknown" not in caption
    gone = replace(comparison.arms[0], learners_seconds=None)
    table = arm_table(replace(comparison, arms=(gone, *comparison.arms[1:]), scenes=20))
    assert "few" not in table.caption
    assert "unknown where one came as a file" in table.caption
    assert [line.cells[-1].text for line in table.rows] == ["unknown", "2 s"]
    assert lines(arms_sheet(replace(comparison, arms=(gone,))))[0]["learners_seconds"] == ""


def test_no_cell_of_the_arms_is_broken_on_80_columns(comparison: Comparison):
    whole = replace(comparison.arms[0], high=0.3, plain_mean=0.21, learners_seconds=3600)
    terminal = Console(width=80, record=True, file=io.StringIO())
    terminal.print(TerminalTable(arm_table(replace(comparison, arms=(whole, *comparison.arms[1:])))))
    told = terminal.export_text().splitlines()
    assert max(map(len, told)) <= 80
    (line,) = (line for line in told if line.lstrip().startswith("d "))
    cells = [cell for cell in re.split(r" {2,}", line.strip()) if cell]
    assert cells[:5] == ["d", ".2000 ± .0100", ".1000 .. .3000", ".2100", "3 (0, 0)"]
    assert len(cells) == 7
