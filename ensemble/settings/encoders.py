"""Whether timm can have an encoder, told from its files: importing it takes longer than the answer to a typo may."""

import json
import re
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from safetensors import SafetensorError, safe_open

from ensemble.settings.schema import EncoderSettings
from ensemble.settings.trees import SettingsError, near_names

PACKAGED = Path(__file__).parents[1] / "pretrained"
"""Where the networks lie that come with the package."""

_NAMED = re.compile(r"^def (\w+)\(|^ +['\"](\w+)['\"]: *['\"]", re.MULTILINE)
"""A function that builds a model, or a former name of one."""


def check_encoder(settings: EncoderSettings) -> None:
    """Refuse a name that stands nowhere in timm, and a file of weights that is not there or of other encoders.

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
    saved = _encoders_of(Path(weights_file(settings.weights)))
    if saved and name not in saved:
        raise SettingsError(
            f"encoder.weights: {settings.weights} holds those of {', '.join(sorted(saved))}, and encoder.name is "
            f"{settings.name}; expected weights of that encoder, or --set encoder.name={min(saved)}"
        )


def weights_file(weights: str) -> str:
    """The file behind the name of a network that comes with the package; any other word, and a file here, as it is."""
    file = PACKAGED / f"{weights}.stack"
    return str(file) if file.is_file() and not Path(weights).exists() else weights


def _encoders_of(file: Path) -> frozenset[str]:
    """Names of the encoders in a saved stack, by its header; none where it is no such file."""
    if file.suffix != ".stack":
        return frozenset()
    try:
        with safe_open(file, "np") as opened:
            header = json.loads((opened.metadata() or {})["stackdepth"])
        models = [own for learner in header["learners"] for own in learner["models"].values()]
        return frozenset(own["encoder"]["name"].partition(".")[0] for own in models)
    except (
        OSError,
        SafetensorError,
        ValueError,
        LookupError,
        TypeError,
        AttributeError,
    ):  # reading it says what is wrong
        return frozenset()


@cache
def _names() -> frozenset[str]:
    found = find_spec("timm")
    places = [] if found is None else found.submodule_search_locations or []
    texts = (path.read_text("utf-8") for place in places for path in Path(place, "models").glob("*.py"))
    return frozenset(one or other for text in texts for one, other in _NAMED.findall(text))
