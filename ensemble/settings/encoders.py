"""Whether timm can have an encoder, told from its files: importing it takes longer than the answer to a typo may."""

import re
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from ensemble.settings.schema import EncoderSettings
from ensemble.settings.trees import SettingsError, near_names

PACKAGED = Path(__file__).parents[1] / "pretrained"
"""Where the networks lie that come with the package."""

_NAMED = re.compile(r"^def (\w+)\(|^ +['\"](\w+)['\"]: *['\"]", re.MULTILINE)
"""A function that builds a model, or a former name of one."""


def check_encoder(settings: EncoderSettings) -> None:
    """Refuse a name that stands nowhere in timm, and a file of weights that is not there.

    Raises:
        SettingsError: The encoder cannot be built.
    """
    name, elsewhere = settings.name.partition(".")[0], ":" in settings.name
    if not elsewhere and name not in _names():
        near = near_names(name, _names())
        hint = f"; nearest: {', '.join(near)}" if near else ""
        raise SettingsError(f"encoder.name: timm has no such model {settings.name!r}{hint}")
    if settings.weights not in ("imagenet", "none") and not Path(weights_file(settings.weights)).is_file():
        networks = ", ".join(sorted(path.stem for path in PACKAGED.glob("*.stack")))
        raise SettingsError(
            f"encoder.weights: {settings.weights}: no such file of encoder weights; expected imagenet, none, a file, "
            f"or a network that comes with the package ({networks})"
        )


def weights_file(weights: str) -> str:
    """The file behind the name of a network that comes with the package; any other word, and a file here, as it is."""
    file = PACKAGED / f"{weights}.stack"
    return str(file) if file.is_file() and not Path(weights).exists() else weights


@cache
def _names() -> frozenset[str]:
    found = find_spec("timm")
    places = [] if found is None else found.submodule_search_locations or []
    texts = (path.read_text("utf-8") for place in places for path in Path(place, "models").glob("*.py"))
    return frozenset(one or other for text in texts for one, other in _NAMED.findall(text))
