"""Whatever predicts, by its name: an exported file, which needs no torch, a saved stack, or a run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ensemble.deploy.named import named
from ensemble.deploy.runtime import ExportedStack, runtime_of
from ensemble.pretrained import pretrained
from ensemble.settings.places import at_home
from ensemble.settings.trees import SettingsError

if TYPE_CHECKING:
    from ensemble.deploy.door import DepthStack


def open_any(
    source: str,
    *,
    device: str = "auto",
    flip: bool | None = None,
    runtime: str | None = None,
    cache_dir: Path | None = None,
) -> DepthStack | ExportedStack:
    """A stack, ready to predict.

    Args:
        source: A network that comes with the package, an exported file, a saved file or folder, or a run.
        device: ``auto``, ``cpu`` or ``cuda``.
        flip: Average with the mirrored image; as it was scored where absent. Exported files never do.
        runtime: That an exported file is for; by its ending where absent.
        cache_dir: Where runs are.

    Raises:
        ValueError: There is no such file and no such run, it is damaged, or cannot be computed there.
    """
    try:
        place = pretrained(at_home(Path(source)), runtime)
    except ValueError as error:
        raise SettingsError(str(error)) from error
    if runtime_of(place, runtime) is not None:
        if device == "cuda":
            raise SettingsError("--device cuda: exported files are computed on the CPU; expected auto or cpu")
        return ExportedStack.open(place, runtime=runtime)
    named(source, cache_dir)

    from ensemble.deploy.loading import load

    return load(source, device=device, flip=flip, cache_dir=cache_dir)
