"""From the name of a run, or from what was saved of one, to a stack that predicts."""

from pathlib import Path

from ensemble.deploy.door import DepthStack
from ensemble.deploy.named import named
from ensemble.runs.allocator import keep_large_blocks
from ensemble.runs.paths import Outputs, Run, outputs


def load(
    source: Path | str, *, device: str = "auto", flip: bool | None = None, cache_dir: Path | str | None = None
) -> DepthStack:
    """A fitted stack, or a learner, ready to predict.

    From then on this process keeps large blocks of memory that it frees (glibc), as networks want them again at every
    call: a stack of the published widths predicts twice as fast so. Settings of your own (``MALLOC_...``) win.

    Args:
        source: A file or folder that was saved, the name of a network that comes with the package (``nyu-small``), or
            a run: its folder, ``experiment/name``, or a name that is unique.
        device: ``auto`` takes a GPU where there is one.
        flip: Average with the mirrored image; as it was scored where absent.
        cache_dir: Where runs are; ``STACKDEPTH_CACHE``, else ``cache``, where absent.

    Raises:
        ValueError: There is no such file, run or device, or what there is is damaged or not complete.
    """
    keep_large_blocks()
    found = named(source, cache_dir)
    where = outputs(None if cache_dir is None else Path(cache_dir))
    stack = DepthStack.open(found) if isinstance(found, Path) else _of_run(found, where)
    if flip is not None:
        stack.network.flip_averaging(flip)
    return stack.to(device)


def _of_run(run: Run, where: Outputs) -> DepthStack:
    from ensemble.deploy.fitted import fitted_learner, fitted_stack
    from ensemble.predictions.available import learner_settings_of
    from ensemble.predictions.learners import trained_learner
    from ensemble.stacking.stack import load_stack

    try:
        own = learner_settings_of(run)
    except ValueError:  # it is a stack
        return fitted_stack(load_stack(run, where), where)
    return fitted_learner(trained_learner(where, own.experiment, own.learner, run.folder.name))
