"""What a person means by the name of a stack, found without torch: who mistypes it waits for no library."""

from pathlib import Path

from ensemble.deploy.runtime import ENDINGS
from ensemble.pretrained import PRETRAINED, pretrained
from ensemble.runs.paths import Run, outputs
from ensemble.settings.places import at_home
from ensemble.settings.trees import SettingsError, near_names

SAVED_ENDINGS = (".stack", *ENDINGS)
"""Of files that predict, as they are usually called."""

TORCH_ENDING = ".pt2"
"""Of exported files that torch itself opens."""

CONFIG = "config.json"
"""Name of the header in a folder that was saved."""


def opened_by(place: Path) -> str:
    """What opens an exported file, in words; empty where its name does not end as those do."""
    ending = place.suffix.lower()
    if ending == TORCH_ENDING:
        return f'torch.export.load("{place}").module() opens it'
    if ending in ENDINGS:
        return (
            f'ensemble.deploy.runtime.ExportedStack.open("{place}") opens it, and '
            f"`python -m ensemble.meta predict {place} IMAGE --out DIR` predicts with it"
        )
    return ""


def is_saved(place: Path) -> bool:
    """Whether something lies there that may be a saved stack or learner, as one file or as a folder."""
    return place.is_file() or (place / CONFIG).is_file()


def named(source: Path | str, cache_dir: Path | str | None = None) -> Path | Run:
    """A file or folder that was saved or comes with the package, else a run.

    Raises:
        SettingsError: There is neither.
    """
    place = pretrained(at_home(Path(source)))
    if is_saved(place):
        return place
    try:
        return outputs(None if cache_dir is None else Path(cache_dir)).find_run(str(source), beside=PRETRAINED)
    except SettingsError as error:
        near = _near(place)
        there = f"a folder without {CONFIG}" if place.is_dir() else "no such file"
        hint = f" (did you mean the file {' or '.join(near)}?)" if near else ""
        raise SettingsError(f"{source}: there is {there}{hint}, and no such run either; {error}") from None


def _near(place: Path) -> list[str]:
    """Saved files beside a place that are called like it, whatever they end in: endings alone make no likeness."""
    files = [path for path in sorted(place.parent.glob("*")) if path.suffix in SAVED_ENDINGS and path.name[0] != "."]
    near = near_names(place.stem, {path.stem for path in files})
    return [str(path) for stem in near for path in files if path.stem == stem]
