import json
import warnings
from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
import training_runs as runs
from torch import Tensor, nn

from ensemble.data.loaders import OrderedBatches, loader
from ensemble.runs.paths import Run
from ensemble.settings.schema import AugmentationSettings
from ensemble.training import fit as engine
from ensemble.training.checkpoints import read_checkpoint
from ensemble.training.fit import fit
from ensemble.training.optimisation.schedule import one_cycle
from ensemble.training.tasks import DepthTask
from ensemble.training.weights import read_weights


def test_the_log_holds_the_learning_rate_of_every_step(tmp_path: Path) -> None:
    run = runs.toy_fit(tmp_path, epochs=3, lr=0.02)
    lines = runs.train_lines(run)
    assert [line["step"] for line in lines] == list(range(1, 13))
    assert [line["lr/decoder"] for line in lines] == pytest.approx([0.02 * one_cycle(step, 12) for step in range(12)])


def test_the_encoder_has_its_own_rate_and_follows_the_cycle(tmp_path: Path) -> None:
    for line in runs.train_lines(runs.toy_fit(tmp_path, encoder_lr_factor=0.1)):
        assert line["lr/encoder"] == pytest.approx(0.1 * line["lr/decoder"])


def test_an_encoder_with_rate_zero_stays_as_it_was(tmp_path: Path) -> None:
    torch.manual_seed(1)
    before = runs.Toy().state_dict()
    after = runs.weights(runs.toy_fit(tmp_path, encoder_lr_factor=0.0))
    assert torch.equal(after["network.encoder.weight"], before["encoder.weight"])
    assert not torch.equal(after["network.decoder.weight"], before["decoder.weight"])


def test_the_loss_falls(tmp_path: Path) -> None:
    losses = [line["train/loss"] for line in runs.train_lines(runs.toy_fit(tmp_path, epochs=8, clip_norm=None))]
    assert sum(losses[-4:]) < 0.8 * sum(losses[:4])


def test_the_same_seed_twice_is_bit_equal(tmp_path: Path) -> None:
    one, two = (runs.toy_fit(tmp_path / name) for name in ("one", "two"))
    assert one.log.read_bytes() == two.log.read_bytes()
    assert one.best.read_bytes() == two.best.read_bytes()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:This DataLoader will create")
@pytest.mark.parametrize("workers", [2, 4])
def test_loader_processes_change_no_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int) -> None:
    """Reliability row 21, with so many processes however few cores there are."""
    started: set[int] = set()

    def counted(*arguments: Any, workers: int) -> Any:
        started.add(workers)
        return loader(*arguments, workers=workers)

    monkeypatch.setattr(engine, "affordable_workers", lambda asked: asked)
    monkeypatch.setattr(engine, "loader", counted)
    plain = runs.toy_fit(tmp_path / "plain")
    other = runs.toy_fit(tmp_path / "workers", data=runs.data_settings(workers=workers))
    assert started == {0, workers}
    assert plain.log.read_bytes() == other.log.read_bytes()
    assert plain.best.read_bytes() == other.best.read_bytes()


class Watch:
    """Collects what happens within a training by way of the toy's forward pass and losses."""

    def __init__(self) -> None:
        self.dtypes: set[torch.dtype] = set()
        self.norms: list[float] = []

    def losses(self, depth: Tensor, batch: Any) -> dict[str, Tensor]:
        found = runs.silog(depth, batch)
        self.dtypes.add(found["silog"].dtype)
        return found


def test_bf16_trains_with_losses_in_float32(tmp_path: Path) -> None:
    watch, network = Watch(), runs.Toy()
    inside: set[torch.dtype] = set()
    network.encoder.register_forward_hook(lambda module, arguments, output: inside.add(output.dtype))
    run = runs.toy_fit(tmp_path, precision="bf16-mixed", task={"network": network, "losses": watch.losses})
    assert torch.bfloat16 in inside
    assert watch.dtypes == {torch.float32}
    assert {values.dtype for values in runs.weights(run).values()} == {torch.float32}
    assert len(runs.train_lines(run)) == 8


def test_fp16_without_a_gpu_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"16-mixed, which needs a GPU; set training.precision=bf16-mixed"):
        runs.toy_fit(tmp_path, precision="16-mixed")


@pytest.mark.parametrize("clip_norm", [0.1, None])
def test_gradients_are_clipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clip_norm: float | None) -> None:
    norms = []

    def note_norm(task: DepthTask, optimizer: torch.optim.Optimizer) -> None:
        gradients = [parameter.grad for group in optimizer.param_groups for parameter in group["params"]]
        norms.append(float(torch.cat([gradient.flatten() for gradient in gradients]).norm()))

    clip = DepthTask.configure_gradient_clipping

    def clipped(task: DepthTask, optimizer: Any, **arguments: Any) -> None:
        note_norm(task, optimizer)
        clip(task, optimizer, **arguments)
        note_norm(task, optimizer)

    monkeypatch.setattr(DepthTask, "configure_gradient_clipping", clipped)
    runs.toy_fit(tmp_path, clip_norm=clip_norm, task={"losses": runs.silog})
    found, kept = norms[::2], norms[1::2]
    assert len(found) == len(kept) == 8
    assert max(found) > 1.0
    if clip_norm is None:
        assert kept == found
    else:
        assert max(kept) <= 0.1 * 1.001
        assert max(kept) == pytest.approx(0.1, rel=1e-3)


def test_accumulated_batches_equal_one_large_batch(tmp_path: Path) -> None:
    one, parts = (
        runs.toy_fit(tmp_path / f"{accumulate}", batch_size=8, accumulate=accumulate) for accumulate in (1, 2)
    )
    for name, values in runs.weights(one).items():
        assert torch.allclose(values, runs.weights(parts)[name], atol=1e-6), name
    for left, right in zip(runs.log_lines(one), runs.log_lines(parts), strict=True):
        assert left == pytest.approx(right, abs=1e-5)


def test_the_batch_size_does_not_change_validation_scores(tmp_path: Path) -> None:
    network, scores = runs.Toy(), []
    for batch_size in (1, 2, 3, 5):
        settings = runs.toy_settings()
        validation = runs.datasets(runs.data_settings())[1]
        trainer = lightning.Trainer(
            accelerator="cpu", logger=False, enable_progress_bar=False, default_root_dir=tmp_path
        )
        batches = loader(validation, OrderedBatches(len(validation), batch_size), workers=0)
        task = runs.toy_task(settings, 1, network=network)
        scores.append(validated(trainer, task, batches))
        assert scores[-1]["validation/images"] == 5
    for other in scores[1:]:
        assert other == pytest.approx(scores[0], rel=1e-6)


def validated(trainer: lightning.Trainer, task: DepthTask, batches: Any) -> dict[str, float]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # advice about workers; fit() has its own filters
        return dict(trainer.validate(task, batches, verbose=False)[0])


def nan_after(steps: int) -> Any:
    calls = []

    def losses(depth: Tensor, batch: Any) -> dict[str, Tensor]:
        calls.append(batch["frame"][0])
        factor = float("nan") if len(calls) > steps else 1.0
        return {"silog": runs.silog(depth, batch)["silog"] * factor, "other": depth.mean() * 0}

    losses.calls = calls
    return losses


def test_a_loss_that_is_not_finite_names_learner_step_and_frame(tmp_path: Path) -> None:
    losses = nan_after(3)
    with pytest.raises(FloatingPointError) as caught:
        runs.toy_fit(tmp_path, task={"losses": losses})
    message = str(caught.value)
    assert "toy: at step 4 the loss is not finite (silog nan, other 0; first frame of the batch room_" in message
    assert losses.calls[-1] in message
    assert "Lower training.lr" in message
    assert not Run(tmp_path).result.exists()


def test_a_batch_without_measurements_names_its_frames(tmp_path: Path) -> None:
    nothing = runs.data_settings(min_depth=0.01, max_depth=0.02)
    with pytest.raises(ValueError, match=r"toy: at step 1 no pixel of the batch has a measurement \(frames room_\S+, "):
        runs.toy_fit(tmp_path, data=nothing)


def test_images_without_measurements_are_counted(tmp_path: Path) -> None:
    training, _ = runs.datasets(runs.data_settings())
    reach = sorted(float(training.source.read(frame).depth.max()) for frame in training.frames)
    data = runs.data_settings(min_depth=(reach[1] + reach[2]) / 2, augmentation=AugmentationSettings(rotation=0.0))
    lines = runs.log_lines(runs.toy_fit(tmp_path, data=data, epochs=2, task={"losses": runs.silog}))
    counted = [line["train/images_without_truth"] for line in lines if "train/images_without_truth" in line]
    assert sum(counted) == 2 * 2


def test_a_predicted_depth_that_is_not_finite_names_its_frame(tmp_path: Path) -> None:
    training, _ = runs.datasets(runs.data_settings())
    bad = training.frames[5].id

    def forward(network: nn.Module, batch: Any) -> Tensor:
        depth = network(batch["image"])
        spoilt = torch.tensor([frame == bad for frame in batch["frame"]])
        return torch.where(spoilt[:, None, None, None], float("nan"), depth)

    with pytest.raises(FloatingPointError, match=rf"toy: at step \d the predicted depth .*first in frame {bad}\)"):
        runs.toy_fit(tmp_path, task={"forward": forward})


def scripted_task(settings: Any, steps: int, levels: list[float]) -> DepthTask:
    """A task whose depth in the n-th validation is the true depth times ``levels[n]``."""
    task = runs.toy_task(settings, steps)
    turn = iter(levels)
    state = {}

    def start() -> None:
        state["level"] = next(turn)

    task.on_validation_epoch_start = start
    answer = task._answer
    task._answer = lambda network, batch: (
        answer(network, batch) if network.training else batch["depth"].clamp(min=1e-2) * state["level"]
    )
    return task


@pytest.mark.parametrize(
    ("select", "levels", "best"),
    [
        ("abs_rel", [1.3, 1.1, 1.2, 1.4], 2),
        ("rmse", [1.3, 1.2, 1.1, 1.4], 3),
        ("d1", [1.3, 1.4, 1.3, 1.0], 4),
    ],
)
def test_the_best_weights_have_the_best_score(tmp_path: Path, select: str, levels: list[float], best: int) -> None:
    settings, run = runs.toy_settings(epochs=4, select=select), Run(tmp_path)
    training, validation = runs.datasets(runs.data_settings())
    kept = []
    fit(
        lambda steps: kept.append(scripted_task(settings, steps, levels)) or kept[-1],
        training,
        validation,
        settings,
        run,
        seed=3,
    )
    scores = [line[f"validation/{select}"] for line in runs.validation_lines(run)]
    result = json.loads(run.result.read_text())
    assert len(scores) == 4
    assert result["best"] == scores[best - 1] == (max(scores) if select == "d1" else min(scores))
    assert result["best_step"] == 4 * best
    assert result["metric"] == select
    last = runs.weights(run)
    same = all(torch.equal(values, last[f"network.{name}"]) for name, values in read_weights(run.best).items())
    assert same == (best == 4)


def test_the_last_step_is_validated_where_the_cycle_ends_within_an_epoch(tmp_path: Path) -> None:
    run = runs.toy_fit(tmp_path, max_steps=6)
    assert [line["step"] for line in runs.validation_lines(run)] == [4, 6]
    assert read_checkpoint(run.last)["global_step"] == 6
    assert json.loads(run.result.read_text())["steps"] == 6


def test_the_last_step_is_validated_where_not_every_epoch_is(tmp_path: Path) -> None:
    run = runs.toy_fit(tmp_path, epochs=3, validate_every=2)
    assert [line["step"] for line in runs.validation_lines(run)] == [8, 12]


def test_what_a_finished_run_leaves(tmp_path: Path) -> None:
    run = runs.toy_fit(tmp_path, checkpoint_every=1)
    names = {"last.ckpt", "best.safetensors", "log.jsonl", "result.json", "writer.lock"}
    names |= {"last.ckpt.sha256", "best.safetensors.sha256"}
    assert {path.name for path in tmp_path.iterdir()} == names
    result = json.loads(run.result.read_text())
    assert result.keys() == {"metric", "best", "best_step", "steps", "budget", "seconds", "device", "seal"}
    assert result["budget"] == {"unit": "epochs", "asked": 2, "spent": 2.0}
    assert result["device"] == "cpu"


class WithDropout(runs.Toy):
    def __init__(self) -> None:
        super().__init__()
        self.dropout = nn.Dropout(0.5)

    def forward(self, image: Tensor) -> Tensor:
        return super().forward(self.dropout(image))


def test_dropout_follows_from_the_seed_whatever_was_drawn_before(tmp_path: Path) -> None:
    logs = []
    for name in ("one", "two"):
        logs.append(runs.toy_fit(tmp_path / name, task={"network": seeded(WithDropout)}).log.read_bytes())
        torch.rand(13)
    assert logs[0] == logs[1]


def seeded(network: type[nn.Module]) -> nn.Module:
    torch.manual_seed(1)
    return network()
