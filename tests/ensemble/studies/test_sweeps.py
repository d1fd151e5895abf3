"""Sweeps: which arms there are, what is refused before work, and one that runs on rooms from switches to picture."""

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from ensemble.runs.paths import Outputs
from ensemble.settings.layers import config_folder
from ensemble.settings.trees import SettingsError
from ensemble.studies.design.study_file import read_study
from ensemble.studies.sweeps.pages import sweep_table
from ensemble.studies.sweeps.sweep import Interval, SweepRow, check_sweep, front_of, run_sweep
from ensemble.studies.sweeps.sweep_file import arms_of_sweep, read_sweep, settings_of_arm
from ensemble.study import app
from ensemble.training.cost import Profile

pytestmark = pytest.mark.slow

READY = sorted((config_folder() / "study").glob("dpt_cuts*.yaml"))
TINY = """
name: tiny
learner: dpt
config: CONFIG
set: {training.batch_size: 4, data.rooms: {scenes: 8, test_scenes: 2, frames: 1}, data.validation_fraction: 0.3}
switches:
  network.attention: [softmax, performer]
  network.hooks: [[0, 1]]
  network.decoder_width: [16, 8]
arms: one-at-a-time
budget: {steps: 2}
"""


def write_sweep_file(folder: Path, **changes: str) -> Path:
    text = TINY.replace("CONFIG", str(config_folder() / "experiments" / "rooms_tiny.yaml"))
    for old, new in changes.items():
        text = text.replace(old, new)
    path = folder / "tiny.yaml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("path", READY, ids=lambda path: path.stem)
def test_every_arm_of_a_ready_sweep_has_its_own_settings_and_the_same_budget(path: Path):
    sweep = read_sweep(path)
    assert sweep.name == path.stem
    settings = [settings_of_arm(sweep, arm) for arm in arms_of_sweep(sweep)]
    assert len({json.dumps([each.network, each.encoder.name], default=str) for each in settings}) == len(settings)
    assert {each.training.max_steps for each in settings} == {sweep.budget.steps}
    assert {each.architecture for each in settings} == {"dpt"}


def test_the_product_of_the_switches_of_the_study_and_a_slice_of_it():
    product, small = (arms_of_sweep(read_sweep(path)) for path in READY)
    assert len(product) == 2 * 3 * 3 * 2 * 2 * 2
    assert product[0].name == "softmax-12-8+11-vit_base_r50_s16_384-416+544-256"
    assert [arm.name for arm in small] == [
        *("as-it-is", "attention-performer", "heads-1", "heads-8", "hooks-0+1", "encoder.name-mobilenetv2_050"),
        *("internal_size-32+64", "decoder_width-24"),
    ]
    first = small[0].answers
    for arm in small[1:]:
        assert sum(arm.answers[switch] != first[switch] for switch in first) == 1, "one thing at a time"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "[[0, 1]]",
            "[[0, 1], [0, 2]]",
            r"arm hooks-0\+2: DPT: hooks \[0, 2\], expected two ascending numbers of the 2",
        ),
        ("decoder_width: [16, 8]", "heads: [2, 3]", "arm heads-3: attention: 3 heads do not divide a width of 32"),
        (
            "decoder_width: [16, 8]",
            "internal_size: [null, [50, 64]]",
            r"arm internal_size-50\+64: DPT: internal_size \[50, 64\], .* multiples of 32 pixels, such as \[64, 64\]",
        ),
    ],
)
def test_an_impossible_arm_is_refused_before_anything_is_trained(tmp_path: Path, old: str, new: str, message: str):
    sweep = read_sweep(write_sweep_file(tmp_path, **{old: new}))
    with pytest.raises(SettingsError, match=message):
        run_sweep(sweep, Outputs(tmp_path / "cache"))
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("decoder_width", "decoder_breadth", "no 'decoder_breadth'"),
        ("[16, 8]", "[16, wide]", "decoder_width: expected a whole number such as 256, found 'wide'"),
        ("learner: dpt", "learner: dtp", "unknown learner 'dtp'"),
        ("budget:", "metric: best\nbudget:", "metric: expected one of"),
        ("arms:", "arm:", "there is no such key; did you mean 'arms'"),
    ],
)
def test_mistakes_in_the_file_are_named(tmp_path: Path, old: str, new: str, message: str):
    path = write_sweep_file(tmp_path, **{old: new})
    with pytest.raises(SettingsError, match=message):
        check_sweep(read_sweep(path))


def test_sweeps_and_studies_of_stacks_name_each_others_command(tmp_path: Path):
    with pytest.raises(SettingsError, match=r"Run: python -m ensemble\.study sweep "):
        read_study(write_sweep_file(tmp_path))
    with pytest.raises(SettingsError, match=r"Run: python -m ensemble\.study run "):
        read_sweep(config_folder() / "study" / "smoke.yaml")


def row(name: str, milliseconds: float, error: float) -> SweepRow:
    arm = next(each for each in arms_of_sweep(read_sweep(READY[1])))
    cost = Profile(1_000_000, 4.0, 10**9, milliseconds, 1e3 / milliseconds, (64, 96), "cpu", False, 5)
    interval = Interval(error, error - 0.01, error + 0.01)
    return SweepRow(type(arm)(name, arm.answers), {"d1": 0.5, "rmse": 1.0}, interval, None, cost, 60.0, 13)


def test_the_front_holds_what_nothing_beats_in_both():
    rows = [row("slow", 30.0, 0.20), row("fast", 10.0, 0.30), row("beaten", 20.0, 0.31), row("middle", 15.0, 0.25)]
    assert [each.arm.name for each in front_of(rows, "abs_rel")] == ["fast", "middle", "slow"]
    assert [each.arm.name for each in front_of(rows, "d1")] == ["fast", "beaten"], "of a score that is better higher"
    table = sweep_table(read_sweep(READY[1]), rows)
    assert [line.cells[0].best for line in table.rows] == [True, True, False, True]
    assert table.rows[0].cells[2].text == ".1900 .. .2100"
    assert "13 scenes are few" in table.caption


def test_a_sweep_runs_from_switches_to_picture_and_goes_on(tmp_path: Path):
    path, cache = write_sweep_file(tmp_path), tmp_path / "cache"
    words = ["sweep", str(path), "--repeats", "1", "--cache-dir", str(cache), "--json"]
    found = CliRunner().invoke(app, words)
    assert found.exit_code == 0, found.output
    tree = json.loads(found.stdout[found.stdout.index("{") :])
    assert [arm["arm"] for arm in tree["arms"]] == ["as-it-is", "attention-performer", "decoder_width-8"]
    first, performer, narrow = tree["arms"]
    assert first["change"] is None
    assert first["cost"]["parameters"] == performer["cost"]["parameters"] > narrow["cost"]["parameters"]
    assert narrow["error"]["low"] <= narrow["error"]["mean"] <= narrow["error"]["high"]
    gap = narrow["error"]["mean"] - first["error"]["mean"]
    assert narrow["change"]["mean"] == pytest.approx(gap)
    selected = json.loads((cache / "runs" / "tiny" / "decoder_width-8" / "full" / "result.json").read_text())
    assert np.isclose(narrow["scores"]["abs_rel"], selected["best"], rtol=1e-5)
    folder = cache / "studies" / "tiny" / "compare"
    assert (folder / "sweep.png").read_bytes().startswith(b"\x89PNG")
    assert "decoder_width-8" in (folder / "sweep.md").read_text()
    stamp = (cache / "runs" / "tiny" / "as-it-is" / "full" / "best.safetensors").stat().st_mtime_ns
    assert len(run_sweep(read_sweep(path), Outputs(cache), repeats=1)) == 3
    assert (cache / "runs" / "tiny" / "as-it-is" / "full" / "best.safetensors").stat().st_mtime_ns == stamp
