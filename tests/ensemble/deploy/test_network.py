"""One module from image to depth says what evaluation says of the same image, with and without the mirrored one."""

import numpy as np
import pytest
import torch
from command_lines import Job

from ensemble.data.division import open_experiment
from ensemble.data.held_out import test_frames as frames_to_score
from ensemble.data.transforms import bring_to_size
from ensemble.deploy.fitted import fitted_learner, fitted_stack
from ensemble.deploy.network import LearnerNetwork
from ensemble.evaluation.calibration import calibration_of
from ensemble.evaluation.networks import score_networks
from ensemble.predictions.learners import trained_learner
from ensemble.predictions.level_zero import open_rows
from ensemble.runs.paths import Outputs
from ensemble.stacking.stack import Stack, load_stack, stacked

STACKS = ("meta-d", "meta-rgb", "meta-rgb+d")


def loaded(job: Job, name: str) -> tuple[Stack, Outputs]:
    outputs = Outputs(job.cache)
    return load_stack(outputs.find_run(name), outputs), outputs


def test_depth_weights_and_error_are_those_of_cached_rows(job: Job):
    for name in STACKS:
        stack, outputs = loaded(job, name)
        network = fitted_stack(stack, outputs).network
        experiment = open_experiment(outputs, stack.settings)
        frames = frames_to_score(experiment.source, stack.settings.data)
        rows = [open_rows(learner, experiment, frames, "test") for learner in stack.learners]
        calibration = calibration_of(stack, outputs)
        for frame in frames:
            image = bring_to_size(experiment.source.read(frame), stack.settings.data.size)["image"][None]
            cached = torch.from_numpy(np.stack([own.read(frame.id) for own in rows]))[None]
            with torch.inference_mode():
                expected, found, whole = stacked(stack, image, cached), network.fuse(image, cached), network(image)
            assert torch.equal(found.depth, expected.depth)
            assert torch.equal(found.weights, expected.maps[:, :3])
            assert found.error is not None
            assert torch.equal(found.error, calibration.of(expected))
            torch.testing.assert_close(whole.learners, cached, rtol=5e-4, atol=0)  # rows are kept in 16 bits
            torch.testing.assert_close(whole.depth, expected.depth, rtol=5e-4, atol=0)


def test_networks_score_as_their_rows_do(job: Job):
    rows = {row["name"]: row["scores"]["abs_rel"] for row in job.scores["rows"]}
    stack, outputs = loaded(job, "meta-d")
    found = score_networks({"own": fitted_stack(stack, outputs).network}, stack.settings, outputs)
    assert found["own"] == pytest.approx(rows["meta-d"], rel=1e-5)


def test_the_mirrored_image_may_be_left_out(job: Job):
    stack, outputs = loaded(job, "meta-rgb+d")
    image = torch.rand(2, 3, 48, 64, generator=torch.Generator().manual_seed(0))
    network = fitted_stack(stack, outputs).network
    with torch.inference_mode():
        both, mirrored = network(image).depth, network(image.flip(-1)).depth.flip(-1)
        torch.testing.assert_close(both, mirrored, rtol=1e-5, atol=1e-5)
        alone = network.flip_averaging(False)(image)
        assert (alone.depth - both).abs().max() > 1e-4
        for index, learner in enumerate(stack.learners):
            own = fitted_learner(learner.tested[0]).network.flip_averaging(False)(image)
            torch.testing.assert_close(own.depth[:, 0], alone.learners[:, index])
        torch.testing.assert_close(network.flip_averaging(True)(image).depth, both)


def test_a_learner_alone_has_no_expected_error(job: Job):
    learner = fitted_learner(trained_learner(Outputs(job.cache), "tiny", "bts"))
    image = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    found = learner(image)
    assert found.error is None
    assert found.weights.tolist() == np.ones((1, 48, 64)).tolist()
    np.testing.assert_array_equal(found.depth, found.learners["bts"])


def test_a_network_of_mixed_precision_leaves_in_full_precision(job: Job):
    """An export of what was trained in 16 bits would hold operators that no runtime has."""
    stack, outputs = loaded(job, "meta-d")
    image = torch.rand(1, 3, 48, 64, generator=torch.Generator().manual_seed(0))
    plain, mixed = fitted_stack(stack, outputs).network, fitted_stack(stack, outputs).network
    for member in mixed.members:
        assert isinstance(member, LearnerNetwork)
        member.settings = tuple(
            own.model_copy(update={"training": own.training.model_copy(update={"precision": "bf16-mixed"})})
            for own in member.settings
        )
    with torch.inference_mode():
        assert (mixed(image).depth - plain(image).depth).abs().max() > 1e-4
        assert torch.equal(mixed.in_full_precision()(image).depth, plain(image).depth)
