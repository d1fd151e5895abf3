"""From the name of a run, or from what was saved of one, to a stack that predicts."""

from pathlib import Path

import torch

from ensemble.deploy.door import DepthStack
from ensemble.deploy.saved import CONFIG
from ensemble.pretrained import pretrained
from ensemble.runs.paths import outputs
from ensemble.settings.places import at_home
from ensemble.settings.trees import SettingsError


def load(
    source: Path | str, *, device: str = "auto", flip: bool | None = None, cache_dir: Path | str | None = None
) -> DepthStack:
    """A fitted stack, or a learner, ready to predict.

    Args:
        source: A file or folder that was saved, the name of a network that comes with the package (``nyu-small``), or
            a run: its folder, ``experiment/name``, or a name that is unique.
        device: ``auto`` takes a GPU where there is one.
        flip: Average with the mirrored image; as it was scored where absent.
        cache_dir: Where runs are; ``STACKDEPTH_CACHE``, else ``cache``, where absent.

    Raises:
        ValueError: There is no such file and no such run, or it is damaged or not complete.
    """
    place = pretrained(at_home(Path(source)))
    saved = place.is_file() or (place / CONFIG).is_file()
    stack = DepthStack.open(place) if saved else _of_run(str(source), None if cache_dir is None else Path(cache_dir))
    if flip is not None:
        stack.network.flip_averaging(flip)
    chosen = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
    return stack.to(chosen)


def _of_run(name: str, cache_dir: Path | None) -> DepthStack:
    where = outputs(cache_dir)
    try:
        run = where.find_run(name)
    except SettingsError as error:
        raise SettingsError(f"{name}: there is no such file, and as a run it is not found either ({error})") from None

    from ensemble.deploy.fitted import fitted_learner, fitted_stack
    from ensemble.predictions.available import learner_settings_of
    from ensemble.predictions.learners import trained_learner
    from ensemble.stacking.stack import load_stack

    try:
        own = learner_settings_of(run)
    except ValueError:  # it is a stack
        return fitted_stack(load_stack(run, where), where)
    return fitted_learner(trained_learner(where, own.experiment, own.learner, run.folder.name))
