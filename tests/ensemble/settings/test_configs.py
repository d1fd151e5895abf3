"""Every YAML file in ``configs`` loads for every command that can use it."""

from pathlib import Path

import pytest

from base_learners import LEARNERS
from ensemble.settings.kinds import known_kinds
from ensemble.settings.layers import Choice, config_folder, experiment_name, learner_settings, stack_settings
from ensemble.settings.names import known_inputs, known_learners, learner_file
from ensemble.training.networks import build_learner, build_stack

EXPERIMENTS = sorted([config_folder() / "demo.yaml", *config_folder().glob("experiments/*.yaml")])
BARE = ["encoder.weights=none"]


def test_no_file_is_left_out():
    known = {*EXPERIMENTS, *(config_folder() / "data" / f"{kind}.yaml" for kind in known_kinds())}
    known |= {learner_file(name) for name in known_learners()}
    known |= {config_folder() / "meta" / f"{name}.yaml" for name in known_inputs()}
    known |= set((config_folder() / "study").glob("*.yaml"))  # tests/ensemble/studies loads them
    assert set(config_folder().rglob("*.yaml")) == known


def test_learners_and_files_go_by_the_same_names():
    assert set(LEARNERS) == set(known_learners())
    assert set(known_inputs()) == {"rgb", "d", "rgb+d"}


@pytest.mark.parametrize("config", EXPERIMENTS, ids=lambda path: path.stem)
@pytest.mark.parametrize("learner", known_learners())
def test_experiments_load_for_learners(config: Path, learner: str):
    settings = learner_settings(learner, Choice(config=config))
    assert settings.learner == learner
    assert settings.experiment == experiment_name(Choice(config=config))
    network = build_learner(learner_settings(learner, Choice(config=config, assignments=BARE)))
    assert {name.partition(".")[0] for name, _ in network.named_parameters()} > {"encoder"}


@pytest.mark.parametrize("config", EXPERIMENTS, ids=lambda path: path.stem)
@pytest.mark.parametrize("inputs", ["d", "rgb+d", "rgb"])
def test_experiments_load_for_stacks(config: Path, inputs: str):
    settings = stack_settings(inputs, Choice(config=config))
    assert settings.inputs == inputs
    assert settings.experiment == experiment_name(Choice(config=config))
    build_stack(stack_settings(inputs, Choice(config=config, assignments=BARE)))


@pytest.mark.parametrize("kind", known_kinds())
@pytest.mark.parametrize("learner", known_learners())
def test_defaults_load(kind: str, learner: str):
    settings = learner_settings(learner, Choice(kind=kind))
    assert (settings.data.kind, settings.experiment) == (kind, kind)
    assert stack_settings("d", Choice(kind=kind)).data.model_dump(exclude={"root"}) == settings.data.model_dump(
        exclude={"root"}
    )


def test_published_training_is_the_default():
    settings = learner_settings("bts", Choice(kind="nyu"))
    assert settings.data.size == (480, 640)
    assert settings.data.crop == (416, 544)
    assert settings.data.crop_region == (45, 43, 427, 565)
    assert (settings.training.batch_size, settings.training.weight_decay) == (32, 1e-4)
    assert (settings.loss["scale"], settings.loss["mean_weight"]) == (10.0, 0.85)
