"""Depth of the frames to test on, computed or imported: the one file beside the scores that knows which these are."""

from collections.abc import Sequence

from ensemble.console.notices import said_once
from ensemble.data import open_source
from ensemble.data.held_out import test_frames
from ensemble.predictions.foreign.checks import ImportRequest
from ensemble.predictions.foreign.import_depth import CheckedImport, check_import, import_depth, write_import
from ensemble.predictions.learners import TrainedLearner, common_data
from ensemble.predictions.level_zero import LevelZero, cache_level_zero
from ensemble.runs.paths import Outputs


def cache_test_predictions(
    trained: Sequence[TrainedLearner], outputs: Outputs, *, rebuild: bool = False, codec: str = "none", workers: int = 0
) -> int:
    """Write every asked learner's depth of every test frame, as ``cache_predictions`` does for frames of training."""
    data = common_data(trained)
    frames = test_frames(open_source(data), data)
    models = [LevelZero((model,)) for model in trained]
    return cache_level_zero(models, outputs, "test", frames, rebuild=rebuild, codec=codec, workers=workers)


def import_test_depth(asked: ImportRequest, outputs: Outputs) -> None:
    """Take depth maps of all test frames into the cache, as ``import_depth`` does for frames of training."""
    data = asked.settings.data
    import_depth(asked, outputs, test_frames(open_source(data), data))


def import_every_role(requests: Sequence[ImportRequest], outputs: Outputs) -> None:
    """Take depth maps of several roles into the cache, once all of them are checked.

    Args:
        requests: In this order: scale and shift are fitted to the first, and applied to the others.
        outputs: Where the cache is.
    """
    checked: list[CheckedImport] = []
    with said_once():
        for request in requests:
            data = request.settings.data
            frames = test_frames(open_source(data), data) if request.role == "test" else None
            checked.append(check_import(request, outputs, frames, before=checked))
    for found in checked:
        write_import(found)
