"""Learners trained together with the meta-learner, end to end: what is logged, set, recorded, resumed and scored."""

import json
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch
from command_lines import LEARNER_NAMES, Job, call, contents, done
from safetensors.torch import load_file

from base_learners import LEARNERS
from base_learners.contract import DepthPrediction
from ensemble.evaluation.results.scores import read_per_image
from ensemble.predictions.learners import load_learner
from ensemble.runs.paths import Outputs
from ensemble.stacking.stack import load_stack
from ensemble.training.tasks import DepthTask

PAIR = ("bts", "ldrn")
STEPS = 4


def given(job: Job, cache: Path, *words: object) -> tuple[object, ...]:
    """Options of a fit of two learners."""
    return ("--inputs", "d", "--learners", ",".join(PAIR), "--config", job.config, "--cache-dir", cache, *words)


def fit(job: Job, cache: Path, name: str, *words: object) -> Path:
    done("meta", "fit", *given(job, cache, "--name", name, *words))
    return cache / "runs/tiny" / name


def lines_of(run: Path) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    return [line for line in lines if "train/loss" in line]


def result_of(run: Path) -> dict[str, Any]:
    return json.loads((run / "result.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def cache(job: Job, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return job.copy_to(tmp_path_factory.mktemp("live"))


@pytest.fixture(scope="module")
def joint(job: Job, cache: Path) -> Path:
    """A joint run without anything set."""
    once_an_epoch = ("--set", "training.validate_every=5")
    return fit(job, cache, "joint", "--training", "joint", "--budget", f"{STEPS}steps", *once_an_epoch)


def test_every_part_logs_its_gradient_its_rates_and_its_losses(joint: Path):
    lines = lines_of(joint)
    assert [line["step"] for line in lines] == list(range(1, STEPS + 1))
    for line in lines:
        norms = {key: value for key, value in line.items() if key.startswith("grad_norm/")}
        assert set(norms) == {f"grad_norm/{part}" for part in (*PAIR, "meta")}
        assert all(0 < value < float("inf") for value in norms.values())
        rates = {key for key in line if key.startswith("lr/")}
        assert rates == {f"lr/{part}/{side}" for part in (*PAIR, "meta") for side in ("encoder", "decoder")}
        terms = {key: value for key, value in line.items() if key.startswith("train/") and key != "train/loss"}
        assert set(terms) == {"train/stack", *(f"train/{name}/silog" for name in PAIR)} | (
            {"train/ldrn/gradient"} & set(terms)
        )
        assert line["train/loss"] == pytest.approx(sum(terms.values()), rel=1e-5)


def test_a_learner_that_goes_nan_is_named_with_its_step(job: Job, cache: Path):
    network: Any = LEARNERS["ldrn"].network
    whole = network.forward
    calls: list[torch.Tensor] = []

    def poisoned(self, image):
        calls.append(image)
        prediction = whole(self, image)
        return DepthPrediction(prediction.depth * float("nan")) if len(calls) == 2 else prediction

    with mock.patch.object(network, "forward", poisoned):
        answer = call("meta", "fit", *given(job, cache, "--name", "nan", "--training", "finetune"))
    assert answer.status == 1
    assert "at step 2 the depth of ldrn is not finite. Lower training.lr" in " ".join(answer.err.split())
    assert not (cache / "runs/tiny/nan/result.json").exists()


def test_the_budget_stands_in_the_result(job: Job, cache: Path, joint: Path):
    result = result_of(joint)
    assert result["steps"] == STEPS
    assert result["budget"] == {"unit": "steps", "asked": STEPS, "spent": STEPS}
    timed = fit(job, cache, "timed", "--training", "finetune", "--budget", "1seconds")
    budget = result_of(timed)["budget"]
    assert (budget["unit"], budget["asked"]) == ("seconds", 1)
    assert budget["spent"] >= 1
    assert result_of(timed)["steps"] == len(lines_of(timed)) >= 1
    answer = call("meta", "fit", *given(job, cache, "--training", "joint", "--budget", "1 hour"))
    assert answer.status == 2
    assert "expected a whole number of steps or seconds" in answer.err


def test_rates_and_loss_weights_are_set_for_each_learner(job: Job, cache: Path, joint: Path):
    """The first step sees the same weights and frames as the run without them, so that only the factors differ."""
    words = ("--set", "live.lr_factors={bts: 0.25}", "--set", "live.loss_weights={ldrn: 3.0}")
    words += ("--budget", f"{STEPS}steps", "--set", "training.validate_every=5")
    plain, tuned = lines_of(joint)[0], lines_of(fit(job, cache, "tuned", "--training", "joint", *words))[0]
    for side in ("encoder", "decoder"):
        assert tuned[f"lr/bts/{side}"] == pytest.approx(0.25 * plain[f"lr/bts/{side}"], rel=1e-6)
        for part in ("ldrn", "meta"):
            assert tuned[f"lr/{part}/{side}"] == plain[f"lr/{part}/{side}"]
    assert tuned["train/ldrn/silog"] == pytest.approx(3 * plain["train/ldrn/silog"], rel=1e-5)
    for term in ("train/stack", "train/bts/silog"):
        assert tuned[term] == pytest.approx(plain[term], rel=1e-6)
    assert tuned["grad_norm/ldrn"] > 1.5 * plain["grad_norm/ldrn"]
    assert tuned["grad_norm/bts"] == pytest.approx(plain["grad_norm/bts"], rel=1e-4)


def test_learners_go_on_at_a_tenth_of_their_own_rate(job: Job, cache: Path, joint: Path):
    steps = ("--budget", f"{STEPS}steps", "--set", "training.validate_every=5")
    tuned = lines_of(fit(job, cache, "tenth", "--training", "finetune", *steps))[0]
    for name in PAIR:
        assert tuned[f"lr/{name}/decoder"] == pytest.approx(0.1 * lines_of(joint)[0][f"lr/{name}/decoder"], rel=1e-6)


def test_a_joint_run_starts_from_new_weights_and_all_parts_move(cache: Path, joint: Path):
    trained = load_file(joint / "best.safetensors")
    for name in PAIR:
        own = load_file(cache / f"runs/tiny/{name}/full/best.safetensors")
        assert set(own) == {
            key.removeprefix(f"learners.{name}.") for key in trained if key.startswith(f"learners.{name}.")
        }
        assert any(not torch.equal(trained[f"learners.{name}.{key}"], value) for key, value in own.items())
    assert any(key.startswith("meta.") for key in trained)


@pytest.fixture(scope="module")
def still(job: Job, cache: Path) -> dict[str, Any]:
    """Fine-tuning that moves nothing, scored beside the frozen stack of the same learners."""
    words = ("--training", "finetune", "--set", "live.lr_factor=1e-30", "--set", "training.lr=1e-30")
    three = ("--inputs", "d", "--config", job.config, "--cache-dir", cache, "--name", "still", *words)
    done("meta", "fit", *three, "--budget", "1steps")
    scores = json.loads(done("meta", "evaluate", "meta-d", "still", "--json", "--cache-dir", cache).out)
    return {row["name"]: row for row in scores["rows"]}


def test_fine_tuning_starts_from_the_finished_runs(cache: Path, still: dict[str, Any]):
    trained = load_file(cache / "runs/tiny/still/best.safetensors")
    for name in LEARNER_NAMES:
        for key, value in load_file(cache / f"runs/tiny/{name}/full/best.safetensors").items():
            found = trained[f"learners.{name}.{key}"]  # a weight that is exactly 0 moves by the rate itself
            torch.testing.assert_close(found, value, rtol=0, atol=1e-30, msg=f"{name}: {key}")
    sources = json.loads((cache / "runs/tiny/still/sources.json").read_text(encoding="utf-8"))
    assert {f"weights of {name}/full" for name in LEARNER_NAMES} <= set(sources)


def test_learners_that_were_not_moved_predict_as_the_frozen_ones(cache: Path, still: dict[str, Any]):
    where = Outputs(cache)
    tuned, frozen = (load_stack(where.find_run(name), where) for name in ("still", "meta-d"))
    image = torch.rand(1, 3, 48, 64, generator=torch.Generator().manual_seed(0))
    for own, other in zip(tuned.learners, frozen.learners, strict=True):
        assert own.name == other.name
        assert own.folds == ()
        with torch.inference_mode():
            depths = [load_learner(each.tested[0])(image).depth for each in (own, other)]
        torch.testing.assert_close(*depths, rtol=0, atol=1e-4)


def test_the_table_has_the_mean_of_learners_that_are_its_own(still: dict[str, Any]):
    assert [name for name in still if "still" in name] == ["mean of still", "still"]
    for name in ("mean of still", "still"):
        for metric, value in still["mean"]["scores"].items():
            assert still[name]["scores"][metric] == pytest.approx(value, rel=1e-5), (name, metric)
    assert still["mean of still"]["kind"] == "combiner"
    assert "fine-tuned" in still["still"]["title"]


def test_every_repeat_is_scored_with_the_learners_that_were_trained_with_it(job: Job, cache: Path):
    fit(job, cache, "twice", "--training", "joint", "--seeds", "0,1", "--budget", "2steps")
    both = json.loads(done("meta", "evaluate", "twice", "--json", "--cache-dir", cache).out)
    (cache / "runs/tiny/twice/per_image.csv").rename(cache / "both.csv")
    alone = json.loads(done("meta", "evaluate", "twice-seed-1", "--json", "--cache-dir", cache).out)
    together = {row["name"]: row for row in both["rows"]}
    by_itself = {row["name"]: row for row in alone["rows"]}
    assert (together["twice"]["repeats"], together["mean of twice"]["repeats"]) == (2, 2)
    images = read_per_image(cache / "both.csv")
    for row, own in (("twice", "twice-seed-1"), ("mean of twice", "mean of twice-seed-1")):
        second = [image.scores["abs_rel"] for image in images if (image.row, image.repeat) == (row, 1) if image.scores]
        name = own if own in by_itself else "mean"
        assert np.mean(second) == pytest.approx(by_itself[name]["scores"]["abs_rel"], rel=1e-6), row
        assert together[row]["deviations"]["abs_rel"] > 1e-4, row


@pytest.mark.slow
def test_repeats_share_a_row_although_they_read_their_frames_in_other_ways(job: Job, cache: Path):
    asked = ("--training", "joint", "--budget", "2steps")
    fit(job, cache, "way", *asked)
    fit(job, cache, "other-way", *asked, "--set", "seed=1", "--set", "data.preload=true")
    fit(job, cache, "longer", "--training", "joint", "--budget", "3steps", "--set", "seed=2")
    told = json.loads(done("meta", "evaluate", "way", "other-way", "longer", "--json", "--cache-dir", cache).out)
    repeats = {row["name"]: row["repeats"] for row in told["rows"] if row["kind"] == "stack"}
    assert repeats == {"way": 2, "longer": 1}


def test_own_learners_are_scored_from_their_own_rows(cache: Path, still: dict[str, Any]):
    stores = {path.parent.name for path in (cache / "predictions/tiny/bts/test").rglob("*.h5")}
    assert len([name for name in stores if name.startswith("still-")]) == 1
    assert "full" in stores


def test_a_killed_joint_run_goes_on_to_the_same_bits(job: Job, cache: Path, joint: Path):
    steps = ("--training", "joint", "--budget", f"{STEPS}steps", "--set", "training.validate_every=5")
    words = ("meta", "fit", *given(job, cache, "--name", "killed", *steps, "--set", "training.checkpoint_every=1"))
    step = DepthTask.training_step
    taken: list[int] = []

    def cut(task: DepthTask, batch: Any, batch_idx: int) -> Any:
        if len(taken) == 3:
            raise KeyboardInterrupt
        taken.append(batch_idx)
        return step(task, batch, batch_idx)

    with mock.patch.object(DepthTask, "training_step", cut), pytest.raises((KeyboardInterrupt, AssertionError)):
        done(*words)
    run = cache / "runs/tiny/killed"
    assert not (run / "result.json").exists()
    answer = call("meta", "evaluate", "killed", "--cache-dir", cache)
    assert answer.status == 1
    assert answer.advised == ["meta", "fit", "--resume", str(run), "--cache-dir", str(cache)]
    with mock.patch.object(DepthTask, "training_step", lambda *words: taken.append(-1) or step(*words)):
        done(*answer.advised)
    assert len(taken) == STEPS, "it went on after the last step that was written down"
    assert (run / "best.safetensors").read_bytes() == (joint / "best.safetensors").read_bytes()
    assert lines_of(run) == lines_of(joint)


@pytest.mark.parametrize(
    ("words", "status", "told"),
    [
        (("--set", "live.loss_weights={btx: 1.0}"), 2, "live: btx is none of the learners bts, ldrn"),
        (("--set", "live.lr_factors={adabins: 1.0}"), 2, "live: adabins is none of the learners bts, ldrn"),
        (("--set", "live.loss_weights={bts: -1.0}"), 2, "greater than or equal to 0"),
        (("--set", "live.lr_factor=0"), 2, "greater than 0"),
        (("--set", "live.clip=each"), 2, "live.clip"),
        (("--level0", "folds"), 2, "level0 folds: mode joint trains one model of every learner"),
        (("--training", "jiont"), 2, "'joint'"),
        (("--set", "training.max_seconds=3"), 2, "two budgets for one run"),
    ],
)
def test_what_cannot_be_meant_is_answered_before_anything_is_written(
    job: Job, cache: Path, words: tuple[str, ...], status: int, told: str
):
    chosen = () if "--training" in words else ("--training", "joint")
    before = contents(cache / "runs")
    answer = call("meta", "fit", *given(job, cache, "--name", "refused", *chosen, *words))
    assert answer.status == status
    assert told in " ".join(answer.err.split())
    assert contents(cache / "runs") == before


def test_fine_tuning_wants_finished_runs_and_names_the_command_that_trains_them(job: Job, tmp_path: Path):
    answer = call("meta", "fit", *given(job, tmp_path, "--training", "finetune"))
    assert answer.status == 1
    wanted = ["base", "train", "bts", "--config", job.config, "--experiment", "tiny", "--cache-dir", tmp_path]
    assert answer.advised == list(map(str, wanted))
