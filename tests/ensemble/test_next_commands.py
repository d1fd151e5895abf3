"""Every finished step says which command follows, with the options that were given, and that command is a real one."""

import json
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
from command_lines import Answer, Job, call, done, without_seals

from ensemble.data import open_source
from ensemble.settings.layers import Choice, learner_settings


def following(answer: Answer) -> list[str]:
    """The words of the command that a finished one names last."""
    (line,) = (line for line in answer.err.splitlines() if line.startswith("next: "))
    return shlex.split(line.removeprefix("next: python -m ensemble."))


def test_the_whole_job_tells_its_way(job: Job):
    made = Path(shlex.split(job.next_commands[0])[-1])  # where the shared job was made
    config = shlex.split(job.next_commands[0])[shlex.split(job.next_commands[0]).index("--config") + 1]
    given = f"--config {config}"
    fit = "meta fit --inputs rgb+d --learners adabins,bts,ldrn"
    ways = [
        f"base train bts --folds 2 {given}",
        f"base train ldrn --folds 2 {given}",
        f"base cache adabins bts ldrn --role oof {given}",
        f"{fit} --rows fit {given}",
        *3 * [f"{fit} {given}"],
        *[f"meta evaluate meta-{inputs}" for inputs in ("d", "rgb", "rgb+d")],
    ]
    assert job.next_commands == [f"next: python -m ensemble.{way} --cache-dir {made}" for way in ways]


@pytest.mark.slow
def test_a_fit_names_itself_and_an_evaluation_the_report(job: Job, tmp_path: Path):
    cache = job.copy_to(tmp_path)
    given = ("--config", job.config, "--cache-dir", cache)
    answer = done("meta", "fit", "--inputs", "d", "--name", "mine", *given)
    assert f"\nmine: best weights in {cache}/runs/tiny/mine/best.safetensors\n" in answer.err
    for expected in (["meta", "evaluate", "mine"], ["report", "mine"]):
        words = following(answer)
        assert words == [*expected, "--cache-dir", str(cache)]
        if expected != ["report", "mine"]:
            answer = done(*words)
    alone = following(done("base", "evaluate", "bts", *given))
    assert alone == ["report", "tiny/bts", "--cache-dir", str(cache)]
    assert following(done("meta", "evaluate", "meta-d", "mine", "--cache-dir", cache))[:2] == ["report", "tiny"]
    with_others = call("report", "meta-d", "--cache-dir", cache)
    assert (with_others.status, with_others.advised[:2]) == (2, ["report", "tiny"])
    several = done("meta", "evaluate", "meta-d", "mine", "--name", "both", "--cache-dir", cache)
    assert following(several)[:2] == ["report", "both"]
    done(*following(several))
    (cache / "reports/both/scores.json").write_text("{}")
    answer = call("base", "verify", "--repair", "--cache-dir", cache)
    assert answer.status == 1, answer.err
    mending = answer.out
    assert f"meta evaluate --name both --cache-dir {cache} RUN...\n" in mending
    done("base", "save", "tiny/bts", tmp_path / "bts.stack", "--cache-dir", cache)
    elsewhere = call("base", "save", "bts", tmp_path / "again.stack", "--experiment", "mine", "--cache-dir", cache)
    assert elsewhere.status == 1
    assert "bts was not trained (it was in tiny: --experiment tiny)" in elsewhere.err
    assert call("meta", "evaluate", "meta-d", "mine", "--name", "no/name", "--cache-dir", cache).status == 2
    assert not done("meta", "evaluate", "mine", "--json", "--cache-dir", cache).err.count("next: ")
    saved = done("meta", "save", "mine", tmp_path / "a.stack", "--cache-dir", cache)
    assert following(saved) == ["meta", "predict", str(tmp_path / "a.stack"), "IMAGE", "--out", "DIR"]
    saved = done("base", "save", "bts", tmp_path / "b.stack", "--experiment", "tiny", "--cache-dir", cache)
    assert following(saved) == ["base", "predict", str(tmp_path / "b.stack"), "IMAGE", "--out", "DIR"]


def test_trainings_of_folds_lead_on(job: Job, tmp_path: Path):
    given = ("--config", job.config, "--set", "training.max_steps=1", "--cache-dir", tmp_path)
    options = ["--config", str(job.config), "--experiment", "other"]
    where = ["--set", "training.max_steps=1", "--cache-dir", str(tmp_path)]
    answer = done("base", "train", "bts", "--fold", 1, "--experiment", "other", *given)
    assert following(answer) == ["base", "train", "bts", "--fold", "0", *options, *where]
    answer = done(*following(answer))
    assert following(answer) == ["base", "train", "adabins", "--folds", "2", *options, *where]
    assert "other/bts/fold-0: best weights in" in answer.err
    full = done("base", "train", "bts", "--experiment", "other", *given)
    assert following(full) == ["base", "evaluate", "bts", *options, "--cache-dir", str(tmp_path)]
    again = done("base", "train", "bts", "--resume", "other/bts", "--fold", 0, "--cache-dir", tmp_path)
    assert following(again)[:5] == ["base", "cache", "bts", "--role", "oof"]


def test_an_import_leads_to_the_next_role_and_to_a_stack(job: Job, tmp_path: Path):
    cache, maps = job.copy_to(tmp_path), tmp_path / "maps"
    source = open_source(learner_settings("bts", Choice(config=job.config)).data)
    for frame in source.frames:
        path = maps / f"{frame.id}.npy"
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, source.read(frame).depth)
    given = ("--config", job.config, "--unit", "m", "--cache-dir", cache)
    tail = ["--unit", "m", "--config", str(job.config), "--experiment", "tiny", "--cache-dir", str(cache)]
    answer = done("base", "import", "other", maps, "--role", "oof", *given)
    assert following(answer) == ["base", "import", "other", str(maps), "--role", "validation", *tail]
    answer = done(*following(answer))
    assert following(answer) == ["base", "import", "other", "DIR", "--role", "test", *tail]
    answer = done("base", "import", "other", maps, "--role", "test", *given)
    assert following(answer)[:6] == ["meta", "fit", "--inputs", "rgb+d", "--learners", "adabins,bts,ldrn,other"]
    done(*following(answer))
    state = json.loads(done("base", "runs", "--json", "--cache-dir", cache).out)
    assert {"run": "tiny/other", "state": "complete"} in state


def test_a_stack_is_proposed_of_learners_that_are_ready_for_one(job: Job, tmp_path: Path):
    cache = job.copy_to(tmp_path)
    shutil.rmtree(cache / "runs/tiny/bts/fold-1")
    given = ("--config", job.config, "--unit", "m", "--cache-dir", cache)
    for name, change in (("flat", np.full_like), ("other", None)):
        folder = tmp_path / name
        for frame in (source := open_source(learner_settings("bts", Choice(config=job.config)).data)).frames:
            path = folder / f"{frame.id}.npy"
            path.parent.mkdir(parents=True, exist_ok=True)
            depth = source.read(frame).depth
            np.save(path, depth if change is None else change(depth, 2.5))
        answer = done("base", "import", name, folder, "--role", "all", *given)
    assert following(answer)[:6] == ["meta", "fit", "--inputs", "rgb+d", "--learners", "adabins,ldrn,other"]
    done(*following(answer))
    answer = done("base", "cache", "ldrn", "--role", "oof", "--config", job.config, "--cache-dir", cache)
    assert following(answer)[:6] == ["meta", "fit", "--inputs", "rgb+d", "--learners", "adabins,ldrn,other"]
    for name in ("adabins", "other"):
        shutil.rmtree(cache / f"runs/tiny/{name}/fold-0")
    answer = done("base", "cache", "ldrn", "--role", "oof", "--config", job.config, "--cache-dir", cache)
    assert following(answer)[:3] == ["base", "evaluate", "ldrn"]
    told = "a stack wants two learners with all rows of training, found ldrn; adabins lacks fold-0; bts lacks fold-1; "
    assert f"{told}flat lacks maps without a doubt; other lacks rows of oof\n" in answer.err


def stored(run: Path) -> dict:
    return json.loads((run / "settings.json").read_text(encoding="utf-8"))


def test_a_fit_without_full_fits_asks_for_them_with_the_settings_of_the_models_of_folds(job: Job, tmp_path: Path):
    cache = job.copy_to(tmp_path)
    runs = cache / "runs/tiny"
    for name in ("adabins", "bts", "ldrn"):
        shutil.rmtree(runs / name / "full")
    words = ("meta", "fit", "--inputs", "d", "--learners", "adabins,bts", "--experiment", "tiny", "--cache-dir", cache)
    for name in ("adabins", "bts"):
        answer = call(*words)
        given = ["--full", "--resume", str(runs / name / "fold-0"), "--cache-dir", str(cache)]
        assert answer.advised == ["base", "train", name, *given]
        done(*answer.advised)
        full, fold = (stored(runs / name / model) for model in ("full", "fold-0"))
        assert {**full, "fold": 0} == fold, "what was set for the folds holds for the full fit"
        shutil.rmtree(runs / name / "fold-1")
        answer = call(*words)
        assert answer.advised[:5] == ["base", "train", name, "--fold", "1"]
        assert answer.advised[5:7] == ["--resume", str(runs / name / "full")]
        done(*answer.advised)
        assert stored(runs / name / "fold-1") == {**full, "fold": 1}
    answer = call("meta", "compare-subsets", "--learners", "adabins,ldrn", "--experiment", "tiny", "--cache-dir", cache)
    assert answer.advised[:4] == ["base", "train", "ldrn", "--full"]
    shutil.rmtree(runs / "bts")
    answer = call(*words, "--config", job.config, "--set", "data.workers=0", "--set", "training.lr=1e-3")
    given = ["--data", "rooms", "--config", str(job.config), "--set", "data.workers=0", "--experiment", "tiny"]
    given += ["--cache-dir", str(cache)]
    assert answer.advised == ["base", "train", "bts", *given], "the rate is that of the meta-learner"


@pytest.mark.parametrize("words", [("--seeds", "2"), ("--fold", "1"), ("--full",)])
def test_further_models_do_not_come_from_a_run_of_another_seed(words: tuple[str, ...], job: Job, tmp_path: Path):
    cache = job.copy_to(tmp_path)
    run = Path(shutil.copytree(cache / "runs/tiny/bts/full", cache / "runs/tiny/bts/seed-1"))
    without_seals(run)
    (run / "settings.json").write_text(json.dumps({**stored(run), "seed": 1}), encoding="utf-8")
    answer = call("base", "train", "bts", "--resume", run, *words, "--cache-dir", cache)
    assert answer.status == 2
    assert "want a run whose seed is the experiment's own, this is seed-1" in answer.err
    assert call("base", "train", "bts", "--full", "--cache-dir", cache).status == 2
