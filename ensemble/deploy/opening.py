"""What a person names, opened for photographs: an exported file without torch, anything else with it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ensemble.deploy.runtime import ExportedStack, runtime_of
from ensemble.pretrained import pretrained
from ensemble.settings.places import at_home
from ensemble.settings.trees import SettingsError

if TYPE_CHECKING:
    from ensemble.deploy.door import DepthStack
    from ensemble.options import Wanted


def opened(
    name: str, wanted: Wanted, *, runtime: str | None, device: str, cache_dir: Path | None
) -> DepthStack | ExportedStack:
    """A network that comes with the package, a saved or exported file, or a run, by its name.

    Raises:
        ValueError: There is nothing of that name, it is damaged, or it cannot be computed so.
    """
    place = pretrained(at_home(Path(name)), runtime)
    if runtime_of(place, runtime) is not None:
        if device == "cuda":
            raise SettingsError("--device cuda: exported files are computed on the CPU; expected auto or cpu")
        return ExportedStack.open(place, runtime=runtime)

    from ensemble.deploy.loading import load

    return load(name, device=device, flip=wanted.flip, cache_dir=cache_dir)
