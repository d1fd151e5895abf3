"""The leak alarm: where depth is noise nothing can be learnt, and what looks learnt is a leak; RELIABILITY row 23."""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from command_lines import call, contents, done
from PIL import Image
from torch import Tensor

from ensemble.data import open_source
from ensemble.data.division import division_of, open_experiment
from ensemble.data.held_out import test_frames as scored_frames
from ensemble.data.source import Frame
from ensemble.data.transforms import bring_to_size
from ensemble.evaluation.constant import MeanLogDepth
from ensemble.predictions.level_zero import level_zero, open_rows
from ensemble.runs.paths import Outputs
from ensemble.settings.layers import Choice, learner_settings
from ensemble.settings.names import Role
from ensemble.stacking.stack import Stack, load_stack, stacked
from ensemble.stacking.training_rows import training_rows

LEARNERS = ("colour", "grey", "flat")
SIZE = (32, 48)
NOISE = """
experiment: noise
data:
  kind: nyu
  root: ROOT
  size: [32, 48]
  crop: null
  border: null
  workers: 0
  folds: 3
  validation_fraction: 0.3
  preload: true
  augmentation: {flip: 0.0, photometric: 0.0, rotation: 0.0}
evaluation: {crop: none, flip_averaging: false}
meta:
  encoder: {name: ghostnet_050, weights: none}
  network: {widths: [16, 12, 8, 8, 8]}
  loss: {mean_weight: 0.0}
  training: {max_steps: 24, batch_size: 8, lr: 1.0e-2, device: cpu, validate_every: 1000}
"""


@dataclass(frozen=True)
class Noise:
    """Two learners that know the depth of their training frames by heart, one that knows nothing, and their stacks."""

    config: Path
    cache: Path

    @property
    def given(self) -> tuple[object, ...]:
        return ("--config", self.config, "--cache-dir", self.cache)


@pytest.fixture(scope="module")
def noise(tmp_path_factory: pytest.TempPathFactory) -> Noise:
    folder = tmp_path_factory.mktemp("noise")
    write_noise(folder / "nyu", {"train": (20, 2), "test": (48, 1)})
    config = folder / "noise.yaml"
    config.write_text(NOISE.replace("ROOT", str(folder / "nyu")), encoding="utf-8")
    made = Noise(config, folder / "cache")
    import_memories(made, folder / "maps")
    for rows in ("oof", "fit"):
        words = ("--inputs", "d", "--learners", ",".join(LEARNERS), "--rows", rows, "--name", rows)
        done("meta", "fit", *words, *made.given)
    return made


def write_noise(root: Path, splits: dict[str, tuple[int, int]]) -> None:
    """Images of a random colour, and a random depth that has nothing to do with it."""
    rng = np.random.default_rng(7)
    for split, (scenes, frames) in splits.items():
        for scene in range(scenes):
            place = root / "official_splits" / split / f"{'room' if split == 'train' else 'hall'}_{scene:04d}"
            place.mkdir(parents=True)
            for frame in range(frames):
                pixels = rng.integers(20, 236, 3) + rng.integers(-20, 20, (*SIZE, 3))
                Image.fromarray(pixels.astype(np.uint8)).save(place / f"rgb_{frame:05d}.jpg", quality=95)
                metres = np.exp(rng.uniform(0, np.log(4)))
                depth = np.full(SIZE, round(metres * 1000), dtype=np.uint16)
                Image.fromarray(depth).save(place / f"sync_depth_{frame:05d}.png")


def import_memories(noise: Noise, maps: Path) -> None:
    """Every model answers with the depth of the frame, of those it was fitted to, whose image is the most alike.

    That is what a network does that has trained for too long: without any error on its own frames. ``flat`` answers
    with the mean log depth of its frames.
    """
    data = learner_settings("bts", Choice(config=noise.config)).data
    source = open_source(data)
    division = division_of(Outputs(noise.cache), "noise", source, data)
    fit = division.frames.fit
    asked: list[tuple[Role, int | None, Sequence[Frame]]] = [("fit", None, fit)]
    asked += [("oof", fold, division.of_role("oof", fold)) for fold in range(division.folds.count)]
    asked += [("validation", None, division.frames.validation), ("test", None, scored_frames(source, data))]
    look = {
        "colour": lambda frame: source.read_image(frame).mean(axis=(0, 1)),
        "grey": lambda frame: source.read_image(frame).mean(keepdims=True),
        "flat": None,
    }
    for learner, feature in look.items():
        for role, fold, frames in asked:
            memory = division.folds.fitted_by(fold, fit)
            known = {frame: source.read(frame).depth for frame in memory}
            mean = np.exp(np.mean([np.log(depth) for depth in known.values()], axis=0))
            for frame in frames:
                path = maps / learner / role / f"{frame.id}.npy"
                path.parent.mkdir(parents=True, exist_ok=True)
                np.save(path, mean if feature is None else known[nearest(feature, frame, memory)])
        for role in ("fit", "oof", "validation", "test"):
            done("base", "import", learner, maps / learner / role, "--role", role, *noise.given)


def nearest(feature: Callable[[Frame], np.ndarray], frame: Frame, memory: Sequence[Frame]) -> Frame:
    """The frame of a memory whose image is the most alike; a frame that is in it is nearest to itself."""
    own = feature(frame)
    return min(memory, key=lambda other: float(np.square(feature(other).ravel() - own.ravel()).sum()))


def log_error(depth: Tensor, target: Tensor) -> float:
    """Root mean squared error of the logarithm: over noise it is smallest for the mean log depth, a constant."""
    return float((depth.log() - target.log()).square().mean().sqrt())


def stacked_depth(stack: Stack, image: Tensor, depths: Tensor) -> Tensor:
    with torch.inference_mode():
        return stacked(stack, image, depths).depth


def stack_of(noise: Noise, name: str) -> Stack:
    return load_stack(Outputs(noise.cache).find_run(f"noise/{name}"), Outputs(noise.cache))


def constant_of(stack: Stack) -> Tensor:
    source = open_source(stack.settings.data)
    division = division_of(Outputs(stack.run.folder.parents[2]), "noise", source, stack.settings.data)
    return MeanLogDepth(division.frames.fit, stack.settings.data).depth(source)


def training_errors(noise: Noise, name: str, role: Role) -> tuple[float, float]:
    """Mean log error of a stack and of the constant over rows of training."""
    stack, where = stack_of(noise, name), Outputs(noise.cache)
    constant = constant_of(stack)
    learners = [level_zero(where, "noise", each, rows=role, level0="full") for each in LEARNERS]
    rows = list(training_rows(learners, where, stack.settings, role))
    own = [log_error(stacked_depth(stack, row.image, row.depths), row.target) for row in rows]
    return float(np.mean(own)), float(np.mean([log_error(constant, row.target) for row in rows]))


def held_out_errors(noise: Noise, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Log error of a stack and of the best constant there is, on every held-out scene, which has one frame."""
    stack, where = stack_of(noise, name), Outputs(noise.cache)
    source = open_source(stack.settings.data)
    experiment = open_experiment(where, stack.settings)
    frames = scored_frames(source, stack.settings.data)
    rows = [open_rows(learner, experiment, frames, "test") for learner in stack.learners]
    errors, logs = [], []
    for frame in frames:
        sample = bring_to_size(source.read(frame), stack.settings.data.size)
        depths = torch.stack([torch.from_numpy(each.read(frame.id)) for each in rows])[None]
        target = sample["depth"][None]
        errors.append(log_error(stacked_depth(stack, sample["image"][None], depths), target))
        logs.append(float(target.log().mean()))
    return np.array(errors), np.abs(logs - np.median(logs))


@pytest.mark.slow
def test_in_sample_rows_would_have_looked_like_a_success(noise: Noise):
    """Without this the alarm below proves nothing: the learners do know their own frames by heart."""
    stack, constant = training_errors(noise, "fit", "fit")
    assert stack < 0.7 * constant
    assert stack < 0.7 * held_out_errors(noise, "fit")[0].mean(), "the same stack where nobody knows the answer"


def test_on_out_of_fold_rows_there_is_nothing_to_learn(noise: Noise):
    stack, constant = training_errors(noise, "oof", "oof")
    assert stack > 0.85 * constant, "the meta-learner has seen these rows, and so has the constant"


def test_on_held_out_scenes_no_stack_is_better_than_a_constant(noise: Noise):
    """The constant is the best there is, so that it does not matter how near the scenes of training happen to be.

    The margin is two standard errors of the paired difference over scenes: 2.5 % of fair draws would exceed it. This
    draw lies on the other side, where memories make the error larger, as most do.
    """
    for name in ("oof", "fit"):
        stack, constant = held_out_errors(noise, name)
        differences = stack - constant
        assert len(differences) == 48
        assert differences.mean() > -2 * differences.std(ddof=1) / np.sqrt(len(differences)), name


def test_in_sample_rows_offered_as_out_of_fold_are_refused(noise: Noise, tmp_path: Path):
    cache = shutil.copytree(noise.cache, tmp_path / "cache")
    for fold in range(3):
        place = cache / f"predictions/noise/colour/oof/fold-{fold}"
        shutil.rmtree(place)
        shutil.copytree(cache / "predictions/noise/colour/fit/full", place)
    before = contents(cache)
    given = ("--config", noise.config, "--cache-dir", cache)
    answer = call("meta", "fit", "--inputs", "d", "--learners", ",".join(LEARNERS), "--name", "leak", *given)
    assert answer.status == 1
    assert "role changed: stored fit, expected oof" in answer.err
    assert answer.advised[:3] == ["base", "import", "colour"]
    assert not (cache / "runs/noise/leak/result.json").exists()
    after = contents(cache)
    assert {name: after[name] for name in before} == before
